"""Policies on normalised muscles or on drives, as actors on the muscles of the recorded animal."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.drive_level import HOLD, drives
from agents.motor import SpinalMotor
from agents.policies import select_rows
from rnn.cpg import PhaseCell
from sim.anatomy import MAX_ACTIVATION

__all__ = ["Activations", "DrivenMuscles", "DrivenState"]


class Activations:
    """An actor whose actions in [-1, 1] are turned into activations.

    Args:
        actor: for environments with `normalise_actions`.
    """

    def __init__(self, actor: Any):
        self.actor = actor

    def initial_state(self, batch: int) -> Any:
        return self.actor.initial_state(batch)

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = self.actor.act(obs, state, step=step, first=first)
        return 0.5 * MAX_ACTIVATION * (np.clip(action, -1, 1) + 1), state


class DrivenState(NamedTuple):
    """State of the actor, of the pattern generator, its input, and which rows are new to the actor."""

    actor: Any
    generator: Any
    x: Tensor
    fresh: np.ndarray


class DrivenMuscles:
    """An actor on drives (see `agents.drive_level.DriveLevel`) with its pattern generator and muscles.

    Args:
        actor: of drives, which is asked every `hold` control steps.
        hold: control steps per action.
    """

    def __init__(self, actor: Any, *, hold: int = HOLD):
        self.actor, self.hold = actor, hold
        self.cell, self.motor = PhaseCell().eval(), SpinalMotor()

    def initial_state(self, batch: int) -> DrivenState:
        x = torch.zeros(batch, self.cell.input_size)
        fresh = np.ones(batch, dtype=bool)
        return DrivenState(self.actor.initial_state(batch), self.cell.initial_state(batch), x, fresh)

    @torch.inference_mode()
    def act(self, obs: Any, state: DrivenState, *, step: int, first: np.ndarray) -> tuple[np.ndarray, DrivenState]:
        inner, generator, x, fresh = state
        fresh = fresh | first
        if first.any():
            generator = select_rows(torch.as_tensor(first), self.cell.initial_state(len(first)), generator)
        if step % self.hold == 0:
            action, inner = self.actor.act(obs, inner, step=step // self.hold, first=fresh)
            x, fresh = drives(self.cell, action), np.zeros_like(fresh)
        y, generator = self.cell(x, generator)
        return self.motor(y).numpy(), DrivenState(inner, generator, x, fresh)
