"""First weights of a network that shall change its gait at an edge of its drive."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["EDGE", "KEEN", "sharpen"]

KEEN = 4.0
"""Factor on the first weights from the drives to the core: the gait changes within a few hundredths of a drive at 3."""
EDGE = (10.0, 5000.0)
"""Half of the units begin with weights from the drives that are this much greater, evenly over the logarithm, and see
what the limb centres see, the mean drive and the limb offset less 3. Without them the change of gait is blurred over a
tenth of a drive, in which a network swims 1 to 3 % too fast and 15 to 25 % too weakly."""


def sharpen(weight: Tensor, hidden: int) -> None:
    """Change first weights [G H, I] from encoded inputs so that units see the drives keenly (`KEEN`, `EDGE`), in place.

    Of a gated cell only the candidate, the third block of torch's order, sees the edge: a gate that is shut for good
    on one side of it would make a unit an integrator.
    """
    weight[:, :3] *= KEEN
    blocks = weight.unflatten(0, (-1, hidden))
    written, edge = blocks[min(2, len(blocks) - 1)], hidden // 2
    low, high = (math.log10(factor) for factor in EDGE)
    size = written[:edge, :1] / KEEN * torch.logspace(low, high, edge)[:, None]
    written[:edge, :3] = size * torch.tensor([0.5, 0.5, 2.0])  # of left - 3, right - 3, limb / 2
