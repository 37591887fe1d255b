"""The classical answer to a linear task with hidden velocity: a Kalman filter and a quadratic regulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_discrete_are

from sim.oscillator_tasks import Damped, Forced
from sim.oscillators import damped_hold

__all__ = ["LQG", "RhythmLQG", "damped_lqg"]


class LQG:
    r"""An actor for `agents.rollout` that estimates the state and feeds it back.

    .. math:: x_{t+1} = A x_t + B u_t + w_t, \quad y_t = C x_t + v_t, \qquad
        u_t = -K \hat x_t, \quad \hat x_t = \bar x_t + L (y_t - C \bar x_t), \quad \bar x_{t+1} = A \hat x_t + B u_t

    K minimises the sum of x'Qx + r u^2; L is the stationary Kalman gain. Linear-quadratic-Gaussian control as in
    "Optimal Control and Estimation" (Stengel, 1994).

    Args:
        A: [S, S]. B: [S]. C: [S].
        Q: state cost [S, S]. r: cost of the input.
        W: covariance of the disturbance [S, S]. v: variance of the reading.
        forces: the inputs that may be chosen from, in units of u; None for any in [-1, 1].

    >>> lqg = LQG(np.array([[0.9]]), np.array([1.0]), np.array([1.0]), np.eye(1), 1.0, np.eye(1), 1e-9)
    >>> action, _ = lqg.act(np.array([[0.5]]), lqg.initial_state(1), step=0, first=np.array([True]))
    >>> bool(-0.5 < action[0, 0] < -0.2)
    True
    """

    def __init__(
        self,
        A: np.ndarray,
        B: np.ndarray,
        C: np.ndarray,
        Q: np.ndarray,
        r: float,
        W: np.ndarray,
        v: float,
        forces: np.ndarray | None = None,
    ):
        self.A, self.B, self.C, self.forces = A, B, C, forces
        P = solve_discrete_are(A, B[:, None], Q, np.array([[r]]))
        self.K = (B @ P @ A) / (r + B @ P @ B)
        S = solve_discrete_are(A.T, C[:, None], W, np.array([[v]]))
        self.L = S @ C / (C @ S @ C + v)

    def initial_state(self, batch: int) -> np.ndarray:
        """Prediction for the next step, [B, S]."""
        return np.zeros((batch, len(self.A)))

    def act(self, obs: Any, state: np.ndarray, *, step: int, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.asarray(obs, dtype=np.float64)[:, 0]
        predicted = np.where(first[:, None], 0.0, state)
        estimate = predicted + (y - predicted @ self.C)[:, None] * self.L
        u = np.clip(-estimate @ self.K, -1, 1)
        if self.forces is not None:
            chosen = np.abs(self.forces[None] - u[:, None]).argmin(1)
            return chosen, estimate @ self.A.T + self.forces[chosen][:, None] * self.B
        return u[:, None], estimate @ self.A.T + u[:, None] * self.B


def damped_lqg(r: float = 1.0, forces: np.ndarray | None = None) -> LQG:
    """The regulator of `oscillator/Damped-v0` with nominal parameters; the spread of omega counts as disturbance.

    Args:
        r: cost of the input against that of the squared amplitude.
        forces: actions of the discrete form.
    """
    omega = 2 * np.pi
    A, B = damped_hold(np.array([omega]), Damped.zeta, Damped.dt)
    Q = np.diag([1.0, omega**-2])
    W = np.diag([1e-4, 1e-4 * omega**2])
    return LQG(A[0], Damped.max_force * B[0], np.array([1.0, 0.0]), Q, r, W, 1e-5, forces)


class RhythmLQG:
    r"""The regulator of `oscillator/Forced-v0`: it follows the wanted rhythm and estimates what shakes the mass.

    With the reference phase :math:`\phi`, whose rate follows from two readings, and the mass's nominal omega and zeta,

    .. math:: \ddot x = -\omega^2 x - 2 \zeta \omega \dot x + F u + d, \qquad
        F u = \ddot x^\ast + \omega^2 x^\ast + 2 \zeta \omega \dot x^\ast - \hat d - F K (\hat x - x^\ast)

    A Kalman filter over (x, x', d), with d a random walk, sees the position; K is the quadratic regulator of the
    error, in which the cost of the input is r. The step is held, so the wanted motion is taken at its middle.

    Args:
        r: cost of the input against that of the squared error of position.
        walk: standard deviation of a step of d, position units per s^2.
        forces: actions of the discrete form; None for any in [-1, 1].
    """

    def __init__(self, r: float = 1e-3, walk: float = 0.5, forces: np.ndarray | None = None):
        self.omega, self.zeta, self.dt, self.force, self.forces = (
            2 * np.pi,
            Forced.zeta,
            Forced.dt,
            Forced.max_force,
            forces,
        )
        A, B = damped_hold(np.array([self.omega]), self.zeta, self.dt)
        self.A = np.block([[A[0], B[0][:, None]], [np.zeros((1, 2)), np.eye(1)]])
        self.B = np.append(self.force * B[0], 0.0)
        P = solve_discrete_are(A[0], self.B[:2, None], np.diag([1.0, 0.0]), np.array([[r]]))
        self.K = (self.B[:2] @ P @ A[0]) / (r + self.B[:2] @ P @ self.B[:2])
        W, v = np.diag([1e-6, 1e-6 * self.omega**2, walk**2]), 1e-6
        C = np.array([1.0, 0.0, 0.0])
        S = solve_discrete_are(self.A.T, C[:, None], W, np.array([[v]]))
        self.L = S @ C / (C @ S @ C + v)

    def initial_state(self, batch: int) -> np.ndarray:
        """Prediction of (x, x', d) for the next step, the last phase, and the rate of the reference, [B, 5]."""
        return np.zeros((batch, 5))

    def act(self, obs: Any, state: np.ndarray, *, step: int, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        obs = np.asarray(obs, dtype=np.float64)
        x, phase = obs[:, 0], np.arctan2(obs[:, -1], obs[:, -2])
        moved = np.angle(np.exp(1j * (phase - state[:, 3]))) / self.dt
        rate = np.where(first, 0.825 * self.omega, moved)  # before two readings: the middle of the task's range
        predicted = np.where(first[:, None], np.stack([x, 0 * x, 0 * x], 1), state[:, :3])
        estimate = predicted + (x - predicted[:, 0])[:, None] * self.L
        middle = phase + rate * self.dt / 2
        wanted = (self.omega**2 - rate**2) * np.cos(middle) - 2 * self.zeta * self.omega * rate * np.sin(middle)
        error = estimate[:, :2] - np.stack([np.cos(phase), -rate * np.sin(phase)], 1)
        u = np.clip((wanted - estimate[:, 2]) / self.force - error @ self.K, -1, 1)
        if self.forces is not None:
            action = np.abs(self.forces[None] - u[:, None]).argmin(1)
            u = self.forces[action]
        after = estimate @ self.A.T + u[:, None] * self.B
        return (u[:, None] if self.forces is None else action), np.column_stack([after, phase, rate])
