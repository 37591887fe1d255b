"""Features scaled by what was seen of them so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["RunningScale"]


class RunningScale(nn.Module):
    """Scales features by their running mean and deviation, clipped to ten deviations.

    Args:
        size: I.
        signs: of the features in a mirror, if they shall keep them: those that change sign are not shifted.

    >>> scale = RunningScale(1)
    >>> scale.update(torch.tensor([[1.0], [3.0]])); scale(torch.tensor([[3.0]])).round().item()
    1.0
    """

    def __init__(self, size: int, signs: Sequence[float] | None = None):
        super().__init__()
        even = torch.ones(size) if signs is None else (torch.tensor(signs) > 0).float()
        self.register_buffer("even", even, persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.zeros(()))
        self.even: Tensor
        self.mean: Tensor
        self.var: Tensor
        self.count: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean * self.even) / (self.var + 1e-8).sqrt()).clamp(-10, 10)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take in features [..., I] (parallel variance of Chan, Golub & LeVeque, 1979)."""
        x = x.reshape(-1, x.shape[-1])
        mean, var, n = x.mean(0), x.var(0, correction=0), float(len(x))
        total = self.count + n
        delta = mean - self.mean
        var = (self.var * self.count + var * n + delta**2 * self.count * n / total) / total
        # A feature that never varies (a hidden velocity) keeps the scale 1.
        self.var.copy_(torch.where(var > 1e-12, var, 1.0))
        self.mean += delta * n / total
        self.count += n
