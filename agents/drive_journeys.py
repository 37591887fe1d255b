"""Going somewhere under drives: journeys to targets, rules that steer, and practice from place to place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.drive_world import SUBMERGED, DriveWorlds, RandomDrives, scatter
from sim.arena import get_world

__all__ = ["Journey", "Pilot", "by_bearing", "by_medium", "by_whim", "practise", "travel"]

Array = NDArray[np.float64]
Pilot = Callable[[DriveWorlds, Array, Array], Array]
"""From worlds, readings [B, D] and targets [B, 2] to actions [B, 2]; called at every reading."""


class Journey(NamedTuple):
    """What came of it, per world.

    Attributes:
        seconds: until the target was reached [B]; infinite if it was not.
        least: least distance to it, BL [B].
        track: centre of mass at every reading, BL [K + 1, B, 2].
        readings: [K + 1, B, D].
        actions: [K, B, 2].
    """

    seconds: Array
    least: Array
    track: Array
    readings: Array
    actions: Array


def travel(
    worlds: DriveWorlds, readings: Array, targets: Array, pilot: Pilot, seconds: float, radius: float = 0.5
) -> Journey:
    """Let a pilot steer from where the animals are until all have come within `radius` BL of their targets [B, 2].

    Args:
        readings: the present ones, [B, D].
        seconds: after which it ends in any case.
    """
    period = worlds.hold * worlds.body.dt
    track, seen, done = [worlds.pose()[0]], [readings], list[Array]()
    arrival = np.full(worlds.num_worlds, np.inf)
    for k in range(1, round(seconds / period) + 1):
        done.append(pilot(worlds, readings, targets))
        readings = worlds.step(done[-1])
        track.append(worlds.pose()[0])
        seen.append(readings)
        there = np.linalg.norm(track[-1] - targets, axis=1) < radius
        arrival[there & ~np.isfinite(arrival)] = k * period
        if np.isfinite(arrival).all():
            break
    distance = np.linalg.norm(np.array(track) - targets, axis=2)
    return Journey(arrival, distance.min(0), np.array(track), np.array(seen), np.array(done))


def by_bearing(drive: float = 0.55, gain: float = 1.0) -> Pilot:
    """A rule without a model: turn towards the target in proportion to its bearing (rad), at a constant drive.

    The bearing is averaged over half a second, as the trunk swings with every stroke. An action of 0.55 is a drive of
    4, which swims, and -0.33 one of 2, which walks.
    """
    past: list[Array] = []

    def pilot(worlds: DriveWorlds, readings: Array, targets: Array) -> Array:
        position, heading = worlds.pose()
        way = targets - position
        angle = np.arctan2(way[:, 1], way[:, 0]) - heading
        past.append(np.remainder(angle + np.pi, 2 * np.pi) - np.pi)
        mean = np.angle(np.exp(1j * np.array(past[-5:])).mean(0))
        return np.stack([np.full(len(mean), drive), np.clip(gain * mean, -1, 1)], 1)

    return pilot


def by_whim(num_worlds: int, rng: np.random.Generator, gain: float = 1.0) -> Pilot:
    """Turns towards the target like `by_bearing`, at drives that are drawn anew every 0.3 to 2.5 s.

    What explores with a direction meets what random drives seldom do: a swimmer that runs aground and goes on beating,
    a walker that comes out of the water.
    """
    whims, steering = RandomDrives(num_worlds, rng), by_bearing(0.0, gain)

    def pilot(worlds: DriveWorlds, readings: Array, targets: Array) -> Array:
        return np.stack([whims()[:, 0], steering(worlds, readings, targets)[:, 1]], 1)

    return pilot


def practise(world: str, pilot: Pilot, num_worlds: int, steps: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Readings [T + 1, B, D] and actions [T, B, 2] of animals that a pilot steers from one random place to the next.

    A model is asked about the motions that plans ask for: where it errs in its favour plans go, and there it then
    learns ("A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", Ross, Gordon &
    Bagnell, 2011).
    """
    rng, worlds = np.random.default_rng(seed), DriveWorlds(num_worlds, world=world)
    readings, actions = [worlds.start(*scatter(world, num_worlds, rng))], []
    targets = np.full((num_worlds, 2), np.nan)
    for _ in range(steps):
        position = worlds.pose()[0]
        distance = np.linalg.norm(targets - position, axis=1)
        for row in np.flatnonzero(~(distance > 0.5)):  # there, or not yet sent anywhere
            targets[row] = position[row] + rng.uniform(-3, 3, 2)
            if world == "shore":
                targets[row, 0] = get_world(world).waterline + rng.uniform(-1.5, 2.5)
        actions.append(pilot(worlds, readings[-1], targets))
        readings.append(worlds.step(actions[-1]))
    return tuple(torch.as_tensor(np.array(part), dtype=torch.float32) for part in (readings, actions))  # type: ignore[return-value]


def by_medium(depth: float = 0.8) -> Pilot:
    """The rule that knows which gait belongs where: swims while more than `depth` of the body is under water (0.9 in
    the deep, as the back stays above), and walks otherwise."""
    swimming, walking = by_bearing(0.55), by_bearing(-0.33)

    def pilot(worlds: DriveWorlds, readings: Array, targets: Array) -> Array:
        wet = readings[:, SUBMERGED].mean(1, keepdims=True) > depth
        return np.where(wet, swimming(worlds, readings, targets), walking(worlds, readings, targets))

    return pilot
