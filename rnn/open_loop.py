"""What a dynamics model's open loop is worth: error against time, rhythm and amplitude, calibration, cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["amplitude_drift", "coverage", "frequency_error", "rmse_curve", "steps_per_second"]

STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Steps ahead at which errors are reported."""


def rmse_curve(error: Tensor, steps: Sequence[int] = STEPS) -> dict[int, float]:
    """Root-mean-square error k steps ahead, over episodes, from `open_loop_error` [K, B]; longer than K is left out.

    >>> rmse_curve(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), (1, 2, 5))[1]
    3.535533905029297
    """
    return {k: error[k - 1].square().mean().sqrt().item() for k in steps if k <= len(error)}


def coverage(samples: Tensor, truth: Tensor, level: float = 0.9) -> Tensor:
    """Share [K] of readings inside the central interval of a model's courses, per step; of a calibrated one, `level`.

    Args:
        samples: courses, [S, K, B, D].
        truth: [K, B, D].
        level: probability of the interval.

    Raises:
        ValueError: too few courses to say where the interval ends.

    >>> draws, truth = torch.randn(400, 2, 500, 1), torch.randn(2, 500, 1)
    >>> [bool(abs(share - 0.9) < 0.05) for share in coverage(draws, truth)]
    [True, True]
    """
    if not 0 < level < 1 or len(samples) * (1 - level) < 1:
        raise ValueError(
            f"an interval of {level} needs a level in (0, 1) and at least {1 / max(1 - level, 1e-9):.0f} courses, "
            f"received {len(samples)}"
        )
    tail = (1 - level) / 2
    low, high = samples.quantile(tail, 0), samples.quantile(1 - tail, 0)
    return ((truth >= low) & (truth <= high)).float().mean((1, 2))


def frequency_error(predicted: Tensor, truth: Tensor) -> float:
    """Relative error of the dominant frequency of courses [K, B], median over episodes.

    The frequency is that of the highest peak of the windowed spectrum, eight times finer than 1 / K.

    >>> t = torch.arange(400.0)[:, None]
    >>> round(frequency_error(torch.sin(0.33 * t), torch.sin(0.30 * t)), 2)
    0.1
    """
    a, b = _dominant(predicted), _dominant(truth)
    return ((a - b).abs() / b).nanmedian().item()


def amplitude_drift(predicted: Tensor, truth: Tensor) -> float:
    """Deviation of courses [K, B] over their last quarter against the truth's, less 1: median over episodes.

    >>> t = torch.arange(400.0)[:, None]
    >>> round(amplitude_drift(0.5 * torch.sin(t), torch.sin(t)), 6)
    -0.5
    """
    last = len(truth) - len(truth) // 4
    return (predicted[last:].std(0) / truth[last:].std(0) - 1).nanmedian().item()


def steps_per_second(step: Callable[[], object], rows: int, *, seconds: float = 0.2) -> float:
    """Predicted steps per CPU-second of a model that advances `rows` of them per call."""
    step()
    began, count = time.process_time(), 0
    while (spent := time.process_time() - began) < seconds:
        step()
        count += 1
    return rows * count / spent


def _dominant(x: Tensor) -> Tensor:
    """Cycles per step of the highest peak, [B]; the mean is taken out."""
    x = torch.nan_to_num(x - x.mean(0)) * torch.hann_window(len(x), dtype=x.dtype)[:, None]
    size = 8 * len(x)
    power = torch.fft.rfft(x, size, dim=0).abs()
    power[: size // len(x)] = 0.0  # slower than one cycle in the whole course
    return power.argmax(0).clamp_min(1) / size
