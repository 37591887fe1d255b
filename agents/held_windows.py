"""Actions that are kept up, and transitions that reach over as many steps as they were."""

from __future__ import annotations

import numpy as np

__all__ = ["KeptActions", "held_windows"]


def held_windows(
    action: np.ndarray, cost: np.ndarray, ended: np.ndarray, *, gamma: float, reach: int, worlds: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""From every step, on while the action stays the same, the episode lasts, and at most `reach` steps.

    .. math:: C_t = \sum_{j<m} \gamma^j c_{t+j}, \qquad Q(s_t, a_t) = C_t + \gamma^m \min_b Q(s_{t+m}, b)

    Where a step is small beside the distance between samples, an average over neighbours carries a value further than
    the body moves; m steps at a time there are m times fewer averages along a path. (Persistent fitted Q: "Control
    Frequency Adaptation via Action Persistence", Metelli et al., 2020, with m fixed.)

    Args:
        action, cost, ended: of the steps in the order in which they came, worlds in turn, [N]; `ended` where an episode
            ended after the step, by termination or by its time limit.
        gamma: discount of a step.
        reach: greatest m.
        worlds: how many stood side by side.

    Returns:
        Costs C [N], the number of each window's last step [N], and gamma^(m - 1) [N].

    >>> held_windows(np.array([1, 1, 1, 0]), np.ones(4), np.zeros(4, bool), gamma=0.5, reach=2)[0].tolist()
    [1.5, 1.5, 1.0, 1.0]
    """
    count = len(action)
    last, total, power = np.arange(count), np.array(cost, dtype=np.float64), np.ones(count)
    going = np.ones(count, dtype=bool)
    for _ in range(reach - 1):
        after = np.minimum(last + worlds, count - 1)
        going &= ~np.asarray(ended, dtype=bool)[last] & (last + worlds < count) & (action[after] == action)
        last = np.where(going, after, last)
        power = np.where(going, power * gamma, power)
        total += np.where(going, power * cost[last], 0.0)
    return total, last, power


class KeptActions:
    """Keeps every world's action for a number of steps, or until its episode ends.

    >>> kept = KeptActions(1, 3)
    >>> [int(kept(np.array([a]), np.array([a == 0]))[0]) for a in range(5)]
    [0, 0, 0, 3, 3]
    """

    def __init__(self, worlds: int, steps: int):
        self.steps = steps
        self.action, self.left = np.zeros((2, worlds), dtype=np.int64)

    def __call__(self, action: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Actions [N] in place of those wanted now; `first` [N] where an episode begins. Another number of worlds than
        N (a single one that is asked about, say) gets what it wants."""
        if len(action) != len(self.action):
            return action
        going = (self.left > 0) & ~first
        self.action = np.where(going, self.action, action)
        self.left = np.where(going, self.left, self.steps) - 1
        return self.action

    def snapshot(self) -> list[np.ndarray]:
        return [self.action, self.left]

    def restore(self, stored: list[np.ndarray]) -> None:
        self.action, self.left = stored
