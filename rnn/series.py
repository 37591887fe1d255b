"""Chaotic series to predict, integrated accurately: Mackey-Glass and Lorenz."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

__all__ = ["LORENZ_EXPONENT", "lorenz", "mackey_glass", "valid_time"]

LORENZ_EXPONENT = 0.9056  # largest Lyapunov exponent, 1/s; Chaos and Time-Series Analysis (Sprott, 2003)


def mackey_glass(
    steps: int, *, tau: float = 17.0, dt: float = 1.0, substeps: int = 10, settle: int = 1000, seed: int = 0
) -> np.ndarray:
    r"""`x' = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x`, sampled every dt after `settle` samples, [steps].

    Fourth-order Runge-Kutta with dt / substeps; the delayed value at half steps by Hermite interpolation. The history
    before time 0 is 1.2 plus a little noise of the given seed.

    References:
        Oscillation and Chaos in Physiological Control Systems (Mackey & Glass, 1977).

    >>> x = mackey_glass(500)
    >>> bool(0.2 < x.min() and x.max() < 1.4)
    True
    """
    h = dt / substeps
    lag = round(tau / h)
    if abs(lag * h - tau) > 1e-9 * tau or lag < 2:
        raise ValueError(f"tau={tau} must be a multiple of dt / substeps = {h:g}, at least twice it")
    total = (settle + steps) * substeps
    x = np.empty(total + lag + 1)
    x[: lag + 1] = 1.2 + 0.05 * np.random.default_rng(seed).standard_normal()
    rate = lambda now, past: 0.2 * past / (1 + past**10) - 0.1 * now
    slope = np.zeros_like(x)
    for n in range(lag, lag + total):
        d0, d1 = x[n - lag], x[n - lag + 1]
        middle = (d0 + d1) / 2 + h / 8 * (slope[n - lag] - slope[n - lag + 1]) if n >= 2 * lag else d0
        k1 = slope[n] = rate(x[n], d0)
        k2 = rate(x[n] + h / 2 * k1, middle)
        k3 = rate(x[n] + h / 2 * k2, middle)
        k4 = rate(x[n] + h * k3, d1)
        x[n + 1] = x[n] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[lag::substeps][1 + settle : 1 + settle + steps]


def lorenz(
    steps: int,
    *,
    dt: float = 0.025,
    settle: float = 20.0,
    seed: int = 0,
    method: str = "DOP853",
    tolerance: float = 1e-10,
) -> np.ndarray:
    """Lorenz's flow with sigma = 10, rho = 28, beta = 8/3, sampled every dt seconds after `settle` seconds, [steps, 3].

    References:
        Deterministic Nonperiodic Flow (Lorenz, 1963).

    >>> lorenz(3, settle=1.0).shape
    (3, 3)
    """
    flow = lambda t, s: [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]
    start = np.random.default_rng(seed).normal([0, 0, 25], [8, 8, 5])
    times = settle + dt * np.arange(steps)
    answer = solve_ivp(flow, (0, times[-1]), start, method, t_eval=times, rtol=tolerance, atol=tolerance)
    return answer.y.T


def valid_time(prediction: np.ndarray, truth: np.ndarray, *, threshold: float = 0.4) -> int:
    """Steps until the error, `|y - y*|` over the total standard deviation of the truth, first exceeds the threshold.

    >>> valid_time(np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [1.0], [-1.0]]))
    2
    """
    scale = np.sqrt(np.var(truth, axis=0).sum())
    wrong = ~(np.linalg.norm(prediction - truth, axis=-1) / scale <= threshold)
    return int(wrong.argmax()) if wrong.any() else len(truth)
