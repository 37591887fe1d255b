"""Directions of a network's state that do to it what a change of its drive does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rnn.cell import Cell
from rnn.model import pack, unpack
from rnn.unroll import unroll

__all__ = ["directions", "drive_push", "driven"]

SETTLE = 300
"""Steps after which a run from rest has settled: 3 s, ten cycles swimming."""
HALF = 0.5
"""Change of drive to either side by which a response is measured, drive units."""
WALK, SWIM = 2.0, 4.0
"""Drives in the middle of both gaits (Ijspeert et al., 2007)."""
Drives = tuple[float, float, float]


def directions(cell: Cell, drive: float, *, quantity: str | None = None, steps: int = 600) -> dict[str, Tensor]:
    """Pushes of a quantity that stand for changes of the drive, each per drive unit [H].

    "turning": left side driven more, right side less; "drive": both more; "limb": limb centres more; "gait": both from
    the middle of walking to the middle of swimming. Pushed along at every step by a dose, a network behaves as
    though its drive had changed by about that much.

    Args:
        cell: the network. drive: about which. quantity: what is pushed; None for the activity.
        steps: over how many steps of the rhythm the push is averaged.
    """
    quantity = quantity or cell.activity
    d, e = drive, HALF
    cases: dict[str, tuple[Drives, Drives, float]] = {
        "turning": ((d + e, d - e, 0.0), (d - e, d + e, 0.0), 2 * e),
        "drive": ((d + e, d + e, 0.0), (d - e, d - e, 0.0), 2 * e),
        "limb": ((d, d, e), (d, d, -e), 2 * e),
        "gait": ((SWIM, SWIM, 0.0), (WALK, WALK, 0.0), SWIM - WALK),
    }
    along = (d, d, 0.0)
    return {
        name: drive_push(cell, along, high, low, quantity=quantity, steps=steps) / units
        for name, (high, low, units) in cases.items()
    }


@torch.no_grad()
def drive_push(cell: Cell, along: Drives, high: Drives, low: Drives, *, quantity: str, steps: int = 600) -> Tensor:
    r"""What one drive in place of another adds to a quantity in one step, averaged along a rhythm [H].

    .. math:: p = \langle f(s_t, x_{high}) - f(s_t, x_{low}) \rangle_t

    A quantity that is no memory of the cell (a gate, an output) forgets a push at once; there, p is the difference of
    its means in runs that have settled under both drives.

    Args:
        cell: the network. along: drives (left, right, limb offset) under which the states s_t are visited.
        high: drives that are compared. low: with these.
        quantity: what shall be pushed. steps: of the average.
    """
    ends = torch.tensor([high, low])
    if quantity not in getattr(cell.initial_state(1), "_fields", ()):
        means = driven(cell, ends, SETTLE + steps, record=(quantity,)).trace[quantity][SETTLE:].mean(0)
    else:
        states = _orbit(cell, torch.tensor(along), steps)
        x = torch.stack([_input(cell, end) for end in ends]).repeat_interleave(len(states), 0)
        run = unroll(cell, x[None], unpack(cell, states.repeat(2, 1)), record=(quantity,))
        means = run.trace[quantity][0].unflatten(0, (2, -1)).mean(1)
    return means[0] - means[1]


@torch.no_grad()
def driven(cell: Cell, drives: Tensor, steps: int, **options: Any) -> Any:
    """A run of any cell that reads drives, under constant ones [B, 3] (left, right, limb offset).

    Args:
        options: of `rnn.unroll`.
    """
    return unroll(cell, torch.stack([_input(cell, row) for row in drives]).expand(steps, -1, -1), **options)


def _input(cell: Cell, drives: Tensor) -> Tensor:
    left, right, limb = drives
    return torch.cat([left.expand(2), right.expand(2), limb.expand(4), torch.zeros(cell.input_size - 8)])


def _orbit(cell: Cell, drives: Tensor, steps: int) -> Tensor:
    """Packed states [T, S] of a settled run."""
    x = _input(cell, drives)[None]
    state: Any = driven(cell, drives[None], SETTLE).state
    states = []
    for _ in range(steps):
        _, state = cell(x, state)
        states.append(pack(state))
    return torch.cat(states)
