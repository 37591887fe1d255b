"""Actions that are kept up, and transitions that reach over as many steps as they were."""

from __future__ import annotations

import numpy as np

__all__ = ["held_windows", "keep_actions"]


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


def keep_actions(
    wanted: np.ndarray, kept: np.ndarray, left: np.ndarray, first: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every world's action for `steps` steps, or until its episode ends.

    Args:
        wanted: actions that would be taken now, [N].
        kept, left: what was taken last, and for how many steps yet it is to be, [N].
        first: where an episode begins, [N].

    Returns:
        Actions [N], and for how many steps they are to be kept after this one [N].

    >>> action, left, taken = np.zeros(1, int), np.zeros(1, int), []
    >>> for t in range(5):
    ...     action, left = keep_actions(np.array([t]), action, left, np.array([t == 0]), 3)
    ...     taken.append(int(action[0]))
    >>> taken
    [0, 0, 0, 3, 3]
    """
    going = (left > 0) & ~first
    return np.where(going, kept, wanted), np.where(going, left, steps) - 1
