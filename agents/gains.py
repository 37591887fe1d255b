"""Levers on a network's joint targets: swings made smaller, greater or reversed, as multipliers and constants.

What a unit of a learned network cannot do, since all units share one rhythm, its outputs can: each joint's swing about
its own mean has a gain of its own, as though the motoneurons of that joint were inhibited or excited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.directions import SETTLE, driven
from rnn.cell import Cell
from sim.anatomy import JOINT_NAMES

__all__ = ["QUANTITY", "Gain", "gains"]

QUANTITY = "output"
"""What is scaled: joint targets, rad."""
INNER, OUTER = 2.5, 0.5
"""By how much a dose of 1 lowers the gain of the limbs' yaw on the inner side of a turn, and raises it on the other: at
1 the inner limbs step backwards. Played to the body (`agents.trials.played`), gains of -1.5 and 1.5 turn it by 21
degrees/s on land, 0 and 1.5 by 10."""
FLIPPED = ("axis.3", "axis.4", "axis.7", "axis.8")
"""Half a cycle more at every second pair of joints makes of a lag of 1.16 / 8 cycle per joint, averaged over the body,
a lead: the swimming wave runs from tail to head. Of eight choices of joints that were played to the body in the pool
this one goes backwards well and straight, at 0.35 BL/s."""
WATCH = 600
"""Steps over which a joint's mean is taken: five cycles of a walk at 0.9 Hz."""


@dataclass(frozen=True)
class Gain:
    """What a dose does to the joint targets q with means m: `q <- m + factor(dose) (q - m)`.

    Attributes:
        means: m [24], rad. factor: from dose to multipliers [24]; ones at dose 0.
    """

    means: Tensor
    factor: Callable[[float], Tensor]

    def edit(self, dose: float) -> tuple[Tensor, Tensor]:
        """Multipliers and constants [24] of `q <- factor q + (1 - factor) m`."""
        factor = self.factor(dose)
        return factor, (1 - factor) * self.means


def gains(cell: Cell, drive: float, *, limb: float = 0.0) -> dict[str, Gain]:
    """Gains about a network's own means under a drive; none for a network without joint targets.

    "yaw": positive doses turn to the left, the left limbs' yaw weaker, then reversed, the right ones' stronger.
    "wave": dose 1 reverses `FLIPPED`, 0.5 holds them still. "stride": dose 1 reverses the spine and the limbs' yaw, so
    that what steps forwards steps backwards. "swing": all joints by `1 + dose`; -1 holds them still.

    Args:
        limb: offset of the limbs' drive.
    """
    if list(cell.groups().get(QUANTITY, ())) != list(JOINT_NAMES):
        return {}
    run = driven(cell, torch.tensor([[drive, drive, limb]]), SETTLE + WATCH).outputs[SETTLE:, 0]
    means = run.mean(0)
    yaw = {
        "left": _mask(lambda name: name.endswith("left.yaw")),
        "right": _mask(lambda name: name.endswith("right.yaw")),
    }
    flipped = _mask(lambda name: name in FLIPPED)
    striding = _mask(lambda name: name.startswith("axis") or name.endswith("yaw"))

    def turning(dose: float) -> Tensor:
        inner, outer = ("left", "right") if dose >= 0 else ("right", "left")
        return 1 - INNER * abs(dose) * yaw[inner] + OUTER * abs(dose) * yaw[outer]

    return {
        "yaw": Gain(means, turning),
        "wave": Gain(means, lambda dose: 1 - 2 * dose * flipped),
        "stride": Gain(means, lambda dose: 1 - 2 * dose * striding),
        "swing": Gain(means, lambda dose: torch.full_like(means, 1 + dose)),
    }


def _mask(chosen: Callable[[str], bool]) -> Tensor:
    return torch.tensor([float(chosen(name)) for name in JOINT_NAMES])
