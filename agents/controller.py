"""A network that drives the body: drive in, neurons stepped (edits act here), muscles out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rnn.cpg
from agents.motor import SpinalMotor
from agents.schedule import Schedule
from rnn.board import ClampBoard
from rnn.cell import Cell, quantities, resolve, unit_labels
from rnn.cpg import drive_input
from rnn.edits import Edit, EditPlan, Lesion
from rnn.unroll import unroll

__all__ = ["CONTROLLERS", "NetworkController", "clamped_mask", "make_controller"]

CONTROLLERS = {"phase": "PhaseCell", "leaky": "LeakyCell", "rate": "RateCell"}
"""Names of the networks and of their classes in `rnn.cpg`."""

DRIVES = ("drive.left", "drive.right", "drive.limb")


class NetworkController:
    """An actor for `agents.rollout`: a pattern generator under a drive, and the motor layer behind it.

    Args:
        cell: the network.
        motor: from its outputs to actions.
        drive: descending drive of both sides over time; one schedule, or one per world. Girdles differ by edits of
            `drive.left[0]` (fore) and `drive.left[1]` (hind).
        limb_drive: offset added to the drive that the limb centres receive (+4 silences them: slow swimming).
        edits: clamps and other edits, or a live board.
        dt: control period, s.
        feedback: a function that returns joint angles [B, 24] (rad), for stretch feedback; None for open loop.
        name: what films call it.
    """

    def __init__(
        self,
        cell: Cell,
        motor: SpinalMotor,
        drive: Schedule | Sequence[Schedule],
        *,
        limb_drive: float = 0.0,
        edits: Sequence[Edit] | ClampBoard = (),
        dt: float = 0.01,
        feedback: Callable[[], np.ndarray] | None = None,
        name: str = "network",
    ):
        self.name = name
        self.cell, self.motor, self.dt, self.feedback = cell, motor, dt, feedback
        self.schedules = [drive] if isinstance(drive, Schedule) else list(drive)
        self.limb_drive = limb_drive
        record = (cell.activity, *DRIVES)
        self.board = edits if isinstance(edits, ClampBoard) else None
        self.plan = EditPlan(cell, () if self.board else edits, record)  # type: ignore[arg-type]
        self.neuron_names = unit_labels(cell) + [
            f"{name}[{i}]" for name in DRIVES for i in range(len(resolve(cell, name)[0].units or ()))
        ]
        self.neurons: Tensor | None = None

    def initial_state(self, batch: int) -> Any:
        return self.cell.initial_state(batch)

    def input(self, step: int, batch: int) -> Tensor:
        """The network's input [B, I] at a control step."""
        drives = torch.tensor(np.stack([schedule(step * self.dt) for schedule in self.schedules]), dtype=torch.float32)
        left, right = drives.expand(batch, 2).unbind(1)
        x = drive_input(self.cell, left, right, limb=self.limb_drive, batch=batch)
        if self.feedback is not None:
            angles = torch.as_tensor(self.feedback()[:, :8], dtype=x.dtype)
            for name, value in (("stretch.left", -angles), ("stretch.right", angles)):
                x[:, list(resolve(self.cell, name)[0].units or ())] = value
        return x

    @torch.inference_mode()
    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        resets = None
        if first.any() and step > 0:
            resets = torch.as_tensor(first)[None]
        plan: EditPlan = self.plan
        if self.board is not None:
            live = self.board.plan(step)
            live.record, live.watched = plan.record, plan.watched
            plan = live
        xs = self.input(step, len(first))[None]
        run = unroll(self.cell, xs, state, start=step, resets=resets, edits=plan)
        self.neurons = torch.cat([value[0] for value in run.trace.values()], 1)
        return self.motor(run.outputs[0]).numpy(), run.state

    def edits(self) -> list[Edit]:
        """All that was done to the network, with its steps."""
        return self.board.history() if self.board else list(self.plan.edits)


def make_controller(
    name: str,
    drive: Schedule | Sequence[Schedule],
    *,
    profile: str = "newt",
    control: str = "muscle",
    **options: Any,
) -> NetworkController:
    """A controller by name: "phase", "leaky" or "rate".

    Raises:
        ValueError: no controller of that name.
    """
    if name not in CONTROLLERS:
        raise ValueError(f"unknown controller {name!r}; the controllers are {', '.join(CONTROLLERS)}")
    dt = options.get("dt", 0.01)
    keywords: dict[str, Any] = {"profile": profile} if name == "phase" else {}
    cell = getattr(rnn.cpg, CONTROLLERS[name])(dt=dt, **keywords).eval()
    return NetworkController(cell, SpinalMotor(name, control=control), drive, name=f"{name} network", **options)


def clamped_mask(cell: Cell, edits: Sequence[Edit], steps: int) -> np.ndarray:
    """Which recorded neurons (activity units, then drives) are under an edit, [T, U]."""
    columns: list[tuple[str, int]] = [(cell.activity, i) for i in range(quantities(cell)[cell.activity])]
    for name in DRIVES:
        columns += [("input", unit) for unit in resolve(cell, name)[0].units or ()]
    mask = np.zeros((steps, len(columns)), dtype=bool)
    for edit in edits:
        span = edit.steps or slice(0, None)
        touched: set[tuple[str, int]] = set()
        for target in resolve(cell, edit.address, lesion=isinstance(edit, Lesion)):
            quantity = cell.activity if target.quantity == cell.silenced else target.quantity
            width = quantities(cell).get(quantity, 0)
            touched |= {(quantity, unit) for unit in (target.units or range(width))}
        mask[span, [column in touched for column in columns]] = True
    return mask
