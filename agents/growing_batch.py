"""All transitions that were ever seen, for learners that fit everything again."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.held_windows import held_windows

__all__ = ["GrowingBatch"]


class GrowingBatch:
    """States, actions, costs, what followed and how it counts, in the order in which they came.

    `obs` [N, S], `action` [N], `cost` [N], `after` [N, S] and `discount` [N] are those of windows of up to `reach`
    steps (`agents.held_windows`): `cost + gamma * discount * V(after)` is the target of a pair.

    Args:
        size: S.
        worlds: how many stand side by side.
        gamma: discount of a step.
        reach: steps of a window, at most.
        most: transitions that are kept, the oldest going first.
    """

    def __init__(self, size: int, worlds: int, *, gamma: float, reach: int = 1, most: int = 200_000):
        self.worlds, self.gamma, self.reach, self.most = worlds, gamma, reach, most
        none, state = np.zeros(0, np.float32), np.zeros((0, size), np.float32)
        self.steps: list[np.ndarray] = [state, np.zeros(0, np.int64), none, state, none, np.zeros(0, bool)]
        self.fresh: list[tuple[np.ndarray, ...]] = []
        self._join()

    def __len__(self) -> int:
        return len(self.obs)

    def add(
        self,
        s_tm1: np.ndarray,
        a_tm1: np.ndarray,
        cost_t: np.ndarray,
        s_t: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> None:
        """One step of all worlds; it takes part from the next `gather` on."""
        self.fresh.append((s_tm1, a_tm1, cost_t, s_t, (~terminated).astype(np.float32), terminated | truncated))

    def gather(self) -> int:
        """Join what was seen since the last time; returns how many transitions there are."""
        if self.fresh:
            new = [np.concatenate(column) for column in zip(*self.fresh, strict=True)]
            self.steps = [
                np.concatenate([old, part.astype(old.dtype)])[-self.most :]
                for old, part in zip(self.steps, new, strict=True)
            ]
            self.fresh = []
            self._join()
        return len(self)

    def _join(self) -> None:
        self.obs, self.action, cost, after, discount, ended = self.steps
        total, last, power = held_windows(
            self.action, cost, ended, gamma=self.gamma, reach=self.reach, worlds=self.worlds
        )
        self.cost, self.after = total.astype(np.float32), after[last]
        self.discount = (power * discount[last]).astype(np.float32)

    def snapshot(self) -> dict[str, Any]:
        return {"steps": self.steps, "fresh": [list(part) for part in self.fresh]}

    def restore(self, stored: dict[str, Any]) -> None:
        self.steps, self.fresh = list(stored["steps"]), [tuple(part) for part in stored["fresh"]]
        self._join()
