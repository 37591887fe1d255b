"""An efference copy: what the pattern generator tells the muscles, told to a model of the body as well."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.drive_world import drives_of
from agents.motor import SpinalMotor
from rnn.cpg import PhaseCell, drive_input
from rnn.dynamics import DynamicsState, RecurrentDynamics
from sim.anatomy import JOINT_NAMES

__all__ = ["EfferenceCopy", "EfferentDynamics", "EfferentState"]


class EfferenceCopy(nn.Module):
    """The angles at which joints are to be, foretold by a copy of the pattern generator and of its motor layer.

    The generator is the animal's own and hears nothing from the body, so that its drives say what it will do: a copy
    that hears the same drives from the same beginning needs no reading to know the phase of the gait. That an animal
    foretells what it will feel from a copy of its commands is an old idea ("Das Reafferenzprinzip", von Holst &
    Mittelstaedt, 1950). The copy takes one Euler step where the generator takes four.

    Args:
        dt: step of the generator, s.
        hold: steps between readings.
        looks: how many times between readings the angles are taken, evenly, the last time at the end.

    >>> copy = EfferenceCopy()
    >>> copy.log(torch.zeros(3, 2, 2)).shape  # the two actions, and 24 angles (rad) at two times
    torch.Size([3, 2, 50])
    """

    def __init__(self, *, dt: float = 0.01, hold: int = 10, looks: int = 2):
        super().__init__()
        if hold % looks:
            raise ValueError(f"looks divide the {hold} steps between readings evenly, received {looks}; use 1, 2 or 5")
        self.hold, self.looks = hold, looks
        self.cell, self.motor = PhaseCell(dt=dt, substeps=1).eval(), SpinalMotor(control="joint")
        self.size = len(JOINT_NAMES) * looks

    def initial_state(self, batch: int) -> Any:
        """Of the generator of an animal that was just placed."""
        return self.cell.initial_state(batch)

    @torch.no_grad()
    def forward(self, action: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Angles [B, 24 * looks] asked for while an action [B, 2] is held for one reading, and the state after it."""
        left, right = (torch.as_tensor(drive) for drive in drives_of(action.numpy()))
        x, angles = drive_input(self.cell, left, right, batch=len(action)), []
        for k in range(1, self.hold + 1):
            y, state = self.cell(x, state)
            if k % (self.hold // self.looks) == 0:
                angles.append(self.motor(y))
        return torch.cat(angles, -1), state

    def log(self, actions: Tensor) -> Tensor:
        """Actions [T, B, 2] of animals from their placing on, and with each what was asked for, [T, B, 2 + size]."""
        state, asked = self.initial_state(actions.shape[1]), []
        for action in actions:
            angles, state = self(action, state)
            asked.append(angles)
        return torch.cat([actions, torch.stack(asked)], -1)


class EfferentState(NamedTuple):
    """The model's state, and that of the copy."""

    cell: Any
    copy: Any


class EfferentDynamics(nn.Module):
    """A model that is asked about drives alone, as the copy adds what these ask of the joints.

    Args:
        model: of readings under actions [B, 2 + size] as `EfferenceCopy.log` gives them.
        copy: of the generator.

    >>> model = RecurrentDynamics(46, 50, hidden=4)
    >>> efferent = EfferentDynamics(model, EfferenceCopy())
    >>> state, reading = efferent.step(efferent.begin(torch.zeros(3, 46)), torch.zeros(3, 2))
    >>> reading.shape
    torch.Size([3, 46])
    """

    def __init__(self, model: RecurrentDynamics, copy: EfferenceCopy | None = None):
        super().__init__()
        self.model, self.copy = model, copy or EfferenceCopy()
        if model.action_size != 2 + self.copy.size:
            raise ValueError(
                f"the model hears {model.action_size} actions, the copy tells {2 + self.copy.size} (two drives and "
                f"{self.copy.size} angles); fit the model to what `EfferenceCopy.log` gives"
            )

    def begin(self, obs: Tensor) -> DynamicsState:
        """The state of animals that were just placed, at readings [B, D]."""
        state = self.model.begin(obs)
        return DynamicsState(EfferentState(state.cell, self.copy.initial_state(len(obs))), obs)

    def step(self, state: DynamicsState, action: Tensor) -> tuple[DynamicsState, Tensor]:
        """The next reading [B, D] after an action [B, 2]."""
        angles, copy = self.copy(action, state.cell.copy)
        after, obs = self.model.step(DynamicsState(state.cell.cell, state.obs), torch.cat([action, angles], -1))
        return DynamicsState(EfferentState(after.cell, copy), obs), obs
