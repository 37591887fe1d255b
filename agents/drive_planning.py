"""Going somewhere by planning drives: in a learned model of the animal, or in the simulator itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.drive_world import BODY, READINGS, SUBMERGED, DriveWorlds, path
from agents.efference import EfferentDynamics
from agents.planning import Planner
from agents.promises import Promises, displacement
from rnn.dynamics import DynamicsState, RecurrentDynamics, spread

__all__ = ["ModelPilot", "SimulatorPilot", "awake", "closeness", "to_go"]

Array = NDArray[np.float64]

RADIUS = (1.7, 0.85)
"""Of the smallest circle that the animal goes, on land and in water, BL: 0.27 BL/s over 9 deg/s at a mean drive of 2.2,
0.57 over 39 at 4, with the whole difference between the sides."""
ARC = (1.6, 1.1)
"""How many BL it would have gone straight ahead in the time of one BL on that circle, on land and in water."""
NEAR = 0.4
"""Distance from the target at which a plan has arrived, BL: a little less than what a journey asks for."""
SPEED = 0.05
"""BL that are gone between two readings."""
STRIDE = 10
"""Readings over which place and direction at the end of a plan are averaged, 1 s: trunk and centre of mass swing with
every stroke, at 1 Hz when walking."""


def to_go(position: Tensor, heading: Tensor, targets: Tensor, wet: Tensor) -> Tensor:
    r"""What is left to go [N] from `position` [N, 2] and `heading` [N] to targets [N, 2], BL of straight way.

    What goes forward and turns on no smaller circle than one of radius R goes an arc and then straight on ("On curves
    of minimal length", Dubins, 1957): with the target at (x, y), y >= 0, seen from the animal, and the circle's centre
    at distance c,

    .. math::
        c^2 = x^2 + (y - R)^2, \qquad s = \sqrt{c^2 - R^2}, \qquad
        \varphi = \text{atan2}(y - R, x) - \arccos (R / c) + \pi / 2, \qquad \ell = s + \kappa R \varphi

    kappa is `ARC`: turning is slow. Who has the target inside the circle cannot turn to it and has to go away first,
    which is counted as half a circle. R and kappa lie between their values on land and in water as `wet` [N], the part
    of the body that is under water now, says: the same for all plans, as going ashore shall not look like going astray.

    >>> ahead, behind = torch.tensor([[1.4, 0.0]]), torch.tensor([[-1.4, 0.0]])
    >>> [round(to_go(torch.zeros(1, 2), torch.zeros(1), where, torch.zeros(1)).item(), 2) for where in (ahead, behind)]
    [1.0, 14.34]
    """
    afloat = (wet / 0.9).clamp(0, 1)
    R, arc = (land + (water - land) * afloat for land, water in (RADIUS, ARC))
    way = targets - position
    distance = way.square().sum(-1).sqrt()
    bearing = torch.atan2(way[..., 1], way[..., 0]) - heading
    x, y = distance * bearing.cos(), distance * bearing.sin().abs()
    c = torch.hypot(x, y - R)
    angle = torch.atan2(y - R, x) - (R / c.clamp(min=1e-6)).clamp(max=1.0).arccos() + torch.pi / 2
    angle = torch.remainder(angle + 1e-4, 2 * torch.pi) - 1e-4
    inside = (c < R - NEAR) & (distance > NEAR)
    length = (c.square() - R.square()).clamp(min=0).sqrt() + arc * R * (angle + torch.pi * inside)
    return torch.where(distance > NEAR, (length - NEAR).clamp(min=0), torch.zeros_like(length))


def closeness(position: Tensor, heading: Tensor, wet: Tensor, targets: Tensor) -> Tensor:
    """What a plan is worth [N]: minus what is left `to_go` at the end of the way [K, N, 2], or, once the target is
    reached, as much as would be gone in the time left.

    Args:
        heading: along the way [K, N], rad.
        wet: part of the body under water when it begins [N].
        targets: [N, 2].
    """
    last = slice(-min(STRIDE, len(heading)), None)
    left = to_go(position[last].mean(0), heading[last].mean(0), targets, wet)
    there = ((targets - position).square().sum(-1).sqrt() < NEAR).float()
    early = there.cummax(0).values.sum(0) * SPEED
    return torch.where(early > 0, early, -left)


def awake(planned: Tensor) -> Tensor:
    """Actions [..., 2] for planned ones in [-1, 1]: mean drives from 1.25 to 5: whoever goes somewhere does not rest.

    At rest nothing moves, and of the many ways to rest a planner would find the one at which a model errs most.

    >>> [[round(x, 3) for x in row] for row in awake(torch.tensor([[-1.0, 0.5], [1.0, 0.5]])).tolist()]
    [[-0.667, 0.5], [1.0, 0.5]]
    """
    least = -1.5 / 2.25
    mean = least + (1 - least) * (planned[..., :1] + 1) / 2
    return torch.cat([mean, planned[..., 1:]], -1)


PROPOSALS = [(mean, turn) for mean in (-0.4, 0.0, 0.5) for turn in (-1.0, -0.4, 0.0, 0.4, 1.0)]
"""Planned actions, each kept up for a whole plan, among which every plan chooses: what a rule would do."""


class _Pilot:
    """Plans anew every `every` readings: pieces of constant drive, `pieces` of them."""

    def __init__(self, *, every: int = 10, pieces: int = 4, seed: int = 0, **planner: Any):
        self.every, self.pieces, self.clock = every, pieces, 0
        settings = {"method": "icem", "candidates": 64, "elites": 8, "iterations": 3, "floor": 0.1, **planner}
        self.planner = Planner(
            lambda start, planned: self.worth(start, awake(planned)), 2, horizon=pieces, seed=seed, **settings
        )
        self.action: Array = np.zeros((0, 2))
        self.targets = self.heading = self.position = self.wet = torch.zeros(0)
        self.ways, self.worths = torch.zeros(0), torch.zeros(0)
        self.plans: list[Tensor] = []
        """For each plan the way that it promised, [K, B, 2] (BL)."""

    def __call__(self, worlds: DriveWorlds, readings: Array, targets: Array) -> Array:
        if self.clock % self.every == 0:
            position, heading = (torch.as_tensor(part, dtype=torch.float32) for part in worlds.pose())
            before = self.heading if self.clock else heading
            turned = torch.remainder(heading - before + torch.pi, 2 * torch.pi) - torch.pi
            self.position, self.heading = position, before + turned  # a whole turn is not the same as none
            self.targets = torch.as_tensor(targets, dtype=torch.float32)
            self.wet = torch.as_tensor(readings[:, SUBMERGED].mean(1), dtype=torch.float32)
            start, B = self.begin(worlds, readings), worlds.num_worlds
            constant = torch.tensor(PROPOSALS).expand(self.pieces, B, -1, -1)
            planned = awake(self.planner.plan(start, B, constant))
            self.action = planned.double().numpy()
            self.plans.append(self.ways[:, torch.arange(B), self.worths.argmax(1)])
            self.expect(start, planned)
        self.follow(readings)
        self.clock += 1
        return self.action

    def begin(self, worlds: DriveWorlds, readings: Array) -> Any:
        raise NotImplementedError

    def expect(self, start: Any, action: Tensor) -> None:
        """Take in what was chosen, [B, 2]."""

    def follow(self, readings: Array) -> None:
        """Take in what was read and what is done now."""

    def worth(self, start: Any, actions: Tensor) -> Tensor:
        """Of actions [H, B, P, 2], [B, P]; leaves these as `worths`, and where they lead as `ways` [K, B, P, 2]."""
        raise NotImplementedError


class ModelPilot(_Pilot):
    """Plans in a recurrent model, which hears every reading and every action and so knows the phase of the gait.

    Where the animal is comes from outside (as the target does); the model says how it will move.

    Args:
        model: of the readings of `agents.drive_world`.
        every: readings between plans, and in each piece of a plan.
        pieces: of a plan.
        wary: remember how far the animal got with each action and how far it should have, and expect like errors of
            like actions (`agents.promises`).
        planner: settings of `agents.planning.Planner`.

    Raises:
        BodyMismatch: the model is of something else.
    """

    def __init__(self, model: RecurrentDynamics | EfferentDynamics, *, wary: bool = True, **settings: Any):
        super().__init__(**settings)
        told = model.model if isinstance(model, EfferentDynamics) else model
        if isinstance(told, RecurrentDynamics):
            told.check(BODY, len(READINGS), 2 if told is model else told.action_size)
        self.model, self.wary = model, wary
        self.state: DynamicsState | None = None
        self.promises = Promises()
        self.promised: list[tuple[Tensor, ...]] = []

    def begin(self, worlds: DriveWorlds, readings: Array) -> DynamicsState:
        obs = torch.as_tensor(readings, dtype=torch.float32)
        if self.state is None:
            self.state = self.model.begin(obs)
        elif self.wary:
            self.promises.add(self.promised[-1][2], self.broken())
        return self.state._replace(obs=obs)

    def broken(self) -> Tensor:
        """By how much what came of the last action was less than promised [B, 3], per piece.

        If like ones went before it, since the first of these (as far back as a plan looks ahead): what a model promises
        of a thing that is kept up is often broken late.
        """
        last = self.promised[-1][2]
        alike, error = torch.ones(len(last), 1, dtype=torch.bool), torch.zeros(len(last), 3)
        for n, (position, heading, action, promised) in enumerate(reversed(self.promised)):
            alike = alike & ((action - last).abs() < self.promises.width).all(-1, keepdim=True)
            found = displacement(position, heading, self.position, self.heading) - promised[n]
            error = torch.where(alike, found / (n + 1), error)
        return error

    @torch.no_grad()
    def expect(self, start: DynamicsState, action: Tensor) -> None:
        state, readings = start, []
        for _ in range(self.pieces * self.every):
            state, reading = self.model.step(state, action)
            readings.append(reading)
        way = zip(*path(torch.stack(readings), self.position, self.heading), strict=True)
        promised = [displacement(self.position, self.heading, *pose) for pose in [*way][self.every - 1 :: self.every]]
        told = self.position, self.heading, action, torch.stack(promised)
        self.promised = [*self.promised[-self.pieces + 1 :], told]

    @torch.no_grad()
    def follow(self, readings: Array) -> None:
        assert self.state is not None  # `begin` comes first
        obs, action = (torch.as_tensor(part, dtype=torch.float32) for part in (readings, self.action))
        self.state, _ = self.model.step(self.state._replace(obs=obs), action)

    def worth(self, start: DynamicsState, actions: Tensor) -> Tensor:
        H, B, P, A = actions.shape
        state, readings = spread(start, P), []
        for action in actions.unbind(0):
            error = self.promises(action).reshape(B * P, 3) / self.every
            for _ in range(self.every):
                state, reading = self.model.step(state, action.reshape(B * P, A))
                readings.append(torch.cat([reading[:, :-3], reading[:, -3:] + error], -1))
        here = (self.position, self.heading, self.wet, self.targets)
        position, heading, wet, targets = (x.repeat_interleave(P, 0) for x in here)
        way, facing = path(torch.stack(readings), position, heading)
        self.ways, self.worths = way.unflatten(1, (B, P)), closeness(way, facing, wet, targets).reshape(B, P)
        return self.worths


class SimulatorPilot(_Pilot):
    """Plans in copies of the very world that it acts in: what a perfect model of it would do, and what that costs."""

    def __init__(self, world: str, **settings: Any):
        super().__init__(**settings)
        self.world, self.copies = world, dict[int, DriveWorlds]()

    def begin(self, worlds: DriveWorlds, readings: Array) -> DriveWorlds:
        return worlds

    def worth(self, start: DriveWorlds, actions: Tensor) -> Tensor:
        H, B, P, A = actions.shape
        if P not in self.copies:
            self.copies[P] = DriveWorlds(P, world=self.world)
        copies, worth, ways = self.copies[P], torch.empty(B, P), []
        for row in range(B):
            copies.become(start, row)
            track, headings = [], []
            for action in actions[:, row].unbind(0):
                for _ in range(self.every):
                    copies.step(action.numpy())
                    position, heading = copies.pose()
                    track.append(position)
                    headings.append(heading)
            along = np.array(track), np.unwrap(headings, axis=0)
            way, facing = (torch.as_tensor(part, dtype=torch.float32) for part in along)
            ways.append(way)
            worth[row] = closeness(way, facing, self.wet[row].expand(P), self.targets[row].expand(P, 2))
        self.ways, self.worths = torch.stack(ways, 1), worth
        return worth
