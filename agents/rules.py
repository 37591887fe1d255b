"""Actors that nobody trained: a bearing rule, and the best memoryless maps that a search finds."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BearingRule", "LinearMap", "PositionMap", "search_map", "search_weights"]


class PositionMap:
    """A memoryless actor: one force for each of some bins of the position between -1.5 and 1.5."""

    def __init__(self, table: np.ndarray):
        self.table = table

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, tuple[()]]:
        place = (np.asarray(obs)[:, 0] + 1.5) / 3 * len(self.table)
        return self.table[place.astype(int).clip(0, len(self.table) - 1)], ()


def search_map(score: Any, choices: int, *, bins: int = 9, rounds: int = 10, size: int = 15) -> PositionMap:
    """The best memoryless map that the cross-entropy method finds."""
    rng, share = np.random.default_rng(0), np.full((bins, choices), 1 / choices)
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(rounds):
        tables = [np.array([rng.choice(choices, p=p) for p in share]) for _ in range(size)]
        found += [(score(PositionMap(table)), table) for table in tables]
        elite = sorted(found, key=lambda pair: -pair[0])[: size // 3]
        counts = np.stack([np.bincount(column, minlength=choices) for column in np.stack([t for _, t in elite], 1)])
        share = 0.4 * share + 0.6 * counts / len(elite)
    return PositionMap(max(found, key=lambda pair: pair[0])[1])


class LinearMap:
    """A memoryless actor: the force nearest to a weighted sum of what is seen and 1."""

    def __init__(self, weights: np.ndarray, forces: np.ndarray):
        self.weights, self.forces = weights, forces

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, tuple[()]]:
        seen = np.asarray(obs)[:, [0, -2, -1]]  # between them lies the velocity, which is 0
        u = seen @ self.weights[:3] + self.weights[3]
        return np.abs(self.forces[None] - u[:, None]).argmin(1), ()


def search_weights(score: Any, forces: np.ndarray, *, rounds: int = 10, size: int = 15) -> LinearMap:
    """The best linear map that the cross-entropy method finds."""
    rng, mean, spread = np.random.default_rng(0), np.zeros(4), np.ones(4)
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(rounds):
        tried = mean + spread * rng.normal(size=(size, 4))
        scored = sorted(((score(LinearMap(w, forces)), w) for w in tried), key=lambda pair: -pair[0])
        elite = np.stack([w for _, w in scored[: size // 3]])
        mean, spread = elite.mean(0), elite.std(0) + 0.02
        found.append(scored[0])
    return LinearMap(max(found, key=lambda pair: pair[0])[1], forces)


class BearingRule:
    """Turns towards the target where it lies further than `within` rad to a side, goes straight otherwise.

    Args:
        names: of the observation.
        holds: whether a bearing that blinked out is taken to be what it was when it was seen last; else straight on.
    """

    def __init__(self, names: tuple[str, ...], *, holds: bool, within: float = 0.2):
        self.cos, self.sin, self.visible = (names.index(n) for n in ("bearing.cos", "bearing.sin", "visible"))
        self.holds, self.within = holds, within

    def initial_state(self, batch: int) -> np.ndarray:
        return np.zeros(batch)

    def act(self, obs: Any, state: np.ndarray, *, step: int, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen, before = np.arctan2(obs[:, self.sin], obs[:, self.cos]), np.where(first | (not self.holds), 0.0, state)
        bearing = np.where(obs[:, self.visible] > 0, seen, before)
        return np.where(bearing > self.within, 1, np.where(bearing < -self.within, 2, 0)), bearing
