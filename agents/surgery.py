"""Operations on a network at work: lesions, silence, cuts, and the state of one run played into another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from agents.directions import driven
from rnn.cell import Cell
from rnn.edits import Edit, Lesion, Noise, Patch

__all__ = ["OPERATIONS", "Operation", "busiest_units", "state_patches"]

SETTLE = 400
"""Steps after which a run from rest has settled: 4 s."""


@dataclass(frozen=True)
class Operation:
    """A worked example.

    Attributes:
        network: name of a pattern generator, or zoo/NAME.
        world: where the animal is. drive: of both sides.
        edits: what is done, from the network, the first and the last step.
        look: what the film should show.
    """

    network: str
    world: str
    drive: float
    edits: Callable[[Cell, int, int], list[Edit]]
    look: str


def busiest_units(cell: Cell, drive: float, count: int) -> list[int]:
    """The units that swing most in a settled free run, most first."""
    drives = torch.tensor([[drive, drive, 0.0]])
    course = driven(cell, drives, SETTLE + 200, record=(cell.activity,)).trace[cell.activity][SETTLE:, 0]
    return course.std(0).argsort(descending=True)[:count].tolist()


def state_patches(cell: Cell, left: float, right: float, start: int, stop: int) -> list[Edit]:
    """The course of everything that the cell remembers, h and c, from a settled run under other drives.

    Args:
        cell: the network. left, right: drives of the run whose state is taken.
        start, stop: steps during which it is played.

    Raises:
        ValueError: the state has no h or c.
    """
    state = cell.initial_state(1)
    names = [name for name in getattr(state, "_fields", ()) if name in ("h", "c")]
    if not names:
        raise ValueError(
            f"the state of this network has no h or c to be played into another, only {type(state).__name__}"
        )
    drives = torch.tensor([[left, right, 0.0]])
    trace = driven(cell, drives, SETTLE + stop - start, record=names).trace
    return [Patch(name, trace[name][SETTLE:, 0].numpy(), steps=slice(start, stop)) for name in names]


def _lesion(cell: Cell, start: int, stop: int) -> list[Edit]:
    return [Lesion(f"{cell.activity}[{u}]", steps=slice(start, stop)) for u in busiest_units(cell, 4.0, 4)]


def _silence(cell: Cell, start: int, stop: int) -> list[Edit]:
    return [Lesion("body.left", steps=slice(start, stop))]


def _patch(cell: Cell, start: int, stop: int) -> list[Edit]:
    return state_patches(cell, 4.9, 3.1, start, stop)


def _transplant(cell: Cell, start: int, stop: int) -> list[Edit]:
    return state_patches(cell, 4.0, 4.0, start, stop)


def _cut(cell: Cell, start: int, stop: int) -> list[Edit]:
    kick = Noise("phase", std=0.6, seed=7, steps=slice(start + 10, start + 20))
    return [Lesion("coupling.midbody", steps=slice(start, stop)), kick]


OPERATIONS = {
    "lesion": Operation(
        "zoo/newt_gru", "pool", 4.0, _lesion, "the four units that swing most are gone; the swim weakens or stops"
    ),
    "silence": Operation(
        "phase", "pool", 4.0, _silence, "one side of the cord is silent: it bends and turns to the other side"
    ),
    "patch": Operation(
        "zoo/newt_lstm", "pool", 4.0, _patch, "the state of a run that turns left: it turns while the patch lasts"
    ),
    "transplant": Operation(
        "zoo/newt_lstm", "land", 2.0, _transplant, "the state of a swimming run: the walker wriggles as if in water"
    ),
    "cut": Operation(
        "phase", "pool", 4.0, _cut, "the chain is cut at mid-body and kicked: head and tail no longer find their phase"
    ),
}
"""The worked examples by name."""
