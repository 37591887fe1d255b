"""The optimum of a deterministic task of two state variables: value iteration on a fine grid, a bound for learners."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["GridValues"]


class GridValues:
    r"""Fewest steps to the goal from every state of a `sim.nfq_tasks.Task` with two state variables.

    .. math:: J(s) = \min_a \begin{cases} 1 & s' \text{ in the goal} \\ \infty & s' \text{ forbidden} \\
        1 + J(s') & \text{else} \end{cases}

    J is kept on a grid and read between its points by bilinear interpolation, which blurs the switching line a little:
    the greedy policy's own count of steps, not J, is what to compare with.

    Args:
        task: its dynamics must draw nothing at random.
        low, high: corners of the grid.
        points: per side of the grid.
        sweeps: greatest number of sweeps.

    >>> from sim.nfq_tasks import MountainCar
    >>> grid = GridValues(MountainCar(), (-1.0, -6.0), (0.7, 6.0), points=41)
    >>> grid.act(np.array([[0.65, 0.5]])).tolist()  # close to the top: push on
    [1]
    """

    def __init__(
        self,
        task: Any,
        low: tuple[float, float],
        high: tuple[float, float],
        *,
        points: int = 401,
        sweeps: int = 300,
    ):
        self.task, self.low, self.high, self.points = task, np.array(low), np.array(high), points
        axes = [np.linspace(a, b, points) for a, b in zip(low, high, strict=True)]
        states = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        self.never = 1e3  # steps; stands for infinity, so that interpolation stays finite
        self.values = np.full((points, points), 100.0)
        after = [self._after(states, action) for action in range(len(task.forces))]
        for _ in range(sweeps):
            best = np.min([self._count(*parts) for parts in after], 0).reshape(points, points)
            change = np.abs(best - self.values).max()
            self.values = best
            if change < 1e-3:
                break

    def _after(self, states: np.ndarray, action: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        state = self.task.step(states, np.full(len(states), action), np.random.default_rng(0))
        return state, self.task.reached(state), self.task.failed(state)

    def _count(self, state: np.ndarray, reached: np.ndarray, failed: np.ndarray) -> np.ndarray:
        return np.where(failed, self.never, np.where(reached, 1.0, 1.0 + self.read(state)))

    def read(self, state: np.ndarray) -> np.ndarray:
        """J of states [N, 2], interpolated; states beyond the grid read its edge."""
        place = np.clip((state - self.low) / (self.high - self.low), 0, 1 - 1e-12) * (self.points - 1)
        (i, j), (f, g) = place.astype(int).T, (place % 1).T
        J = self.values
        near = J[i, j] * (1 - g) + J[i, j + 1] * g
        far = J[i + 1, j] * (1 - g) + J[i + 1, j + 1] * g
        return near * (1 - f) + far * f

    def act(self, state: np.ndarray) -> np.ndarray:
        """Best actions [N] in states [N, 2], looking one step ahead."""
        return np.argmin([self._count(*self._after(state, a)) for a in range(len(self.task.forces))], 0)
