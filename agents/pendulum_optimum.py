"""The most that a choice of torques can earn on Pendulum-v1 with everything seen: dynamic programming on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["PendulumOptimum"]

G, M, L, DT, MAX_SPEED, STEPS = 10.0, 1.0, 1.0, 0.05, 8.0, 200  # Gymnasium's, SI units; its time limit


class PendulumOptimum:
    r"""Actor for Pendulum-v1 that sees the velocity and knows the equations and the time that is left.

    .. math:: V_t(s) = \max_u \big(r(s, u) + V_{t+1}(f(s, u))\big), \qquad V_{200} = 0, \qquad
        r = -(\theta^2 + 0.1 \dot\theta^2 + 0.001 u^2)

    V_t is kept on a grid of angles and velocities and read between its points by bilinear interpolation, which blurs it
    a little: what the actor earns is at most the optimum, and not far below it.

    Args:
        torques: to choose from, N m.
        angles, velocities: points of the grid.

    >>> actor = PendulumOptimum(np.linspace(-2, 2, 3), angles=21, velocities=21)
    >>> hanging = np.array([[-1.0, 0.0, 0.1], [-1.0, 0.0, -0.1]])  # cos, sin, rad/s: push with the swing
    >>> actor.act(hanging, 0, step=0, first=np.ones(2, dtype=bool))[0].tolist()
    [2, 0]
    """

    def __init__(self, torques: np.ndarray, *, angles: int = 181, velocities: int = 161):
        self.torques, self.shape = torques, (angles, velocities)
        axes = np.linspace(-np.pi, np.pi, angles, endpoint=False), np.linspace(-MAX_SPEED, MAX_SPEED, velocities)
        angle, velocity = (part.ravel() for part in np.meshgrid(*axes, indexing="ij"))
        after = [_advance(angle, velocity, u) for u in torques]
        corners = [self._corners(*parts) for _, *parts in after]
        V = [np.zeros(angles * velocities)]
        for _ in range(STEPS):
            V.append(
                np.max([r + (V[-1][i] * w).sum(0) for (r, *_), (i, w) in zip(after, corners, strict=True)], axis=0)
            )
        self.values = V[::-1]  # V_0 to V_200

    def _corners(self, angle: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Four neighbours on the grid and their weights, [4, N] each; the grid is closed in the angle."""
        n, m = self.shape
        i, f = np.divmod((angle + np.pi) / (2 * np.pi) * n, 1.0)
        j, g = np.divmod(np.clip((velocity + MAX_SPEED) / (2 * MAX_SPEED), 0, 1 - 1e-12) * (m - 1), 1.0)
        near, far, j = i.astype(int) % n, (i.astype(int) + 1) % n, j.astype(int)
        places = np.stack([near * m + j, near * m + j + 1, far * m + j, far * m + j + 1])
        return places, np.stack([(1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g])

    def initial_state(self, batch: int) -> np.ndarray:
        return np.zeros(batch, dtype=int)

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions for cos, sin and velocity [N, 3]; the state counts the steps of the episode."""
        obs = np.asarray(obs, dtype=float)
        t = np.where(first, 0, state)
        worth = []
        for u in self.torques:
            r, *after = _advance(np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2], u)
            places, weights = self._corners(*after)
            V = np.stack([self.values[min(k + 1, STEPS)][places[:, row]] for row, k in enumerate(t)], 1)
            worth.append(r + (V * weights).sum(0))
        return np.argmax(worth, 0), t + 1


def _advance(angle: np.ndarray, velocity: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reward, angle and velocity after one step of Gymnasium's pendulum (angle 0 is upright)."""
    r = -(angle**2 + 0.1 * velocity**2 + 0.001 * u**2)
    acceleration = 3 * G / (2 * L) * np.sin(angle) + 3.0 / (M * L**2) * u
    faster = np.clip(velocity + acceleration * DT, -MAX_SPEED, MAX_SPEED)
    return r, angle + faster * DT, faster
