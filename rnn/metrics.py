"""How good a simulation is: errors, error against steps ahead, and how far ahead it can be trusted."""

from __future__ import annotations

import numpy as np

__all__ = ["k_step_errors", "k_step_indices", "nrmse", "prediction_horizon", "rmse"]

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def rmse(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Root of the mean squared error over samples and outputs, in the data's unit; inf where the simulation blew up.

    >>> rmse(np.array([[0.0], [0.0]]), np.array([[3.0], [4.0]]))
    3.5355339059327378
    """
    _check(y, y_hat)
    if not np.isfinite(y_hat).all():
        return float("inf")
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.mean(np.square(y_hat - y))))


def nrmse(y: np.ndarray, y_hat: np.ndarray) -> float:
    """RMSE of each output over its standard deviation, averaged as squares; 1 is what a constant achieves.

    >>> y = np.arange(10.0)[:, None]
    >>> round(nrmse(y, np.full_like(y, y.mean())), 6)
    1.0
    """
    _check(y, y_hat)
    std = np.where(np.ptp(y, 0) > 0, y.std(0), 1.0)
    return rmse(y / std, y_hat / std)


def prediction_horizon(y: np.ndarray, y_hat: np.ndarray, std: np.ndarray, threshold: float = 0.4) -> int:
    """First sample at which the error, over the standard deviation, exceeds the threshold; the length if it never does.

    Args:
        y: measured [T, O]. y_hat: simulated free from the first sample [T, O].
        std: standard deviations of the outputs [O], of the training record.
        threshold: 0.4 is the usual one for valid prediction time.
    """
    _check(y, y_hat)
    error = np.sqrt(np.mean(np.square((y_hat - y) / std), 1))
    above = np.flatnonzero(~(error <= threshold))
    return int(above[0]) if len(above) else len(y)


def k_step_indices(length: int, window: int, rollouts: int, longest: int) -> np.ndarray:
    """Evenly spaced samples from which free runs of `longest` steps can start, at least `window` after the first."""
    last = length - longest
    return np.unique(np.linspace(window, last, rollouts).astype(int)) if last >= window else np.array([], dtype=int)


def k_step_errors(y: np.ndarray, rollouts: np.ndarray, starts: np.ndarray, std: np.ndarray) -> dict[int, float]:
    """Open-loop error k steps ahead, root mean square over rollouts and outputs, over the standard deviation.

    Args:
        y: measured [T, O].
        rollouts: free runs [R, K, O]; the first of each is one step ahead of what was known.
        starts: sample of the first prediction of each rollout [R].
        std: standard deviations [O].
    """
    K = rollouts.shape[1]
    errors = {}
    for k in (k for k in STEPS if k <= K):
        difference = (rollouts[:, k - 1] - y[starts + k - 1]) / std
        errors[k] = float(np.sqrt(np.mean(np.square(difference)))) if np.isfinite(difference).all() else float("inf")
    return errors


def _check(y: np.ndarray, y_hat: np.ndarray) -> None:
    if y.shape != y_hat.shape:
        raise ValueError(f"measured outputs have shape {y.shape}, simulated ones {y_hat.shape}; they must agree")
