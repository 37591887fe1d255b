"""Random actions among greedy ones, each kept up for a while."""

from __future__ import annotations

import numpy as np

__all__ = ["HeldActions"]


class HeldActions:
    """Replaces a share of actions by random ones that last `hold` steps, world by world.

    A single random push is undone by the next; one that is kept up carries a body away from where it rests, as in
    the temporally extended form of epsilon-greedy exploration (Dabney, Ostrovski & Barreto, 2021). Whatever `hold`,
    the given share of all steps is random.

    Args:
        worlds: N.
        actions: to draw from.
        hold: steps that a random action lasts.

    >>> held = HeldActions(2, 5, hold=3)
    >>> rng = np.random.default_rng(0)
    >>> steps = [held(np.array([7, 7]), 1.0, rng).tolist() for _ in range(4)]
    >>> steps[0] == steps[1] == steps[2]
    True
    """

    def __init__(self, worlds: int, actions: int, hold: int = 1):
        self.actions, self.hold = actions, hold
        self.action, self.left = np.zeros((2, worlds), dtype=np.int64)

    def __call__(self, greedy: np.ndarray, share: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions [N] in place of the greedy ones; `share` of all steps, a number or [N]. Another number of worlds than
        N (a single one that is asked about, say) is explored step by step."""
        begin = rng.random(len(greedy)) < share / (self.hold - (self.hold - 1) * np.asarray(share))
        drawn = rng.integers(self.actions, size=len(greedy))
        if len(greedy) != len(self.action):
            return np.where(rng.random(len(greedy)) < share, drawn, greedy)
        begin &= self.left == 0
        self.action = np.where(begin, drawn, self.action)
        self.left = np.where(begin, self.hold, self.left)
        chosen = np.where(self.left > 0, self.action, greedy)
        self.left = np.maximum(self.left - 1, 0)
        return chosen

    def snapshot(self) -> list[np.ndarray]:
        return [self.action, self.left]

    def restore(self, stored: list[np.ndarray]) -> None:
        self.action, self.left = stored
