"""What training minimises: losses per step with masks, for numbers, labels, unaligned labels and densities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Objective", "accuracy", "connectionist", "cross_entropy", "last_step", "mixture_density", "mixture_sample",
    "reduce_steps", "squared_error",
]  # fmt: skip

Objective = Callable[[Tensor, Tensor], Tensor]
"""From outputs [T, B, O] and targets [T, B, ...] to one loss per step and row [T, B]."""


def reduce_steps(losses: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
    """One number from losses per step [T, B], over the steps that count [T, B].

    "mean" is over all counted steps, "sum" sums over time and averages over rows, J = sum_t J_t.

    >>> losses, mask = torch.tensor([[1.0, 2.0], [3.0, 9.0]]), torch.tensor([[True, True], [True, False]])
    >>> float(reduce_steps(losses, mask)), float(reduce_steps(losses, mask, "sum"))
    (2.0, 3.0)

    Raises:
        ValueError: an unknown reduction, or no step that counts.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"unknown reduction {reduction!r}; the reductions are 'mean' and 'sum'")
    if not mask.any():
        raise ValueError("no step counts: the washout or the mask leaves nothing of any section; take longer sections")
    total = torch.where(mask, losses, losses.new_zeros(())).sum()
    return total / (mask.sum() if reduction == "mean" else mask.shape[1])


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over outputs of `(y_hat - y)^2`, [T, B]."""
    return (outputs - targets).square().mean(-1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """`-log softmax(outputs)[label]`, labels [T, B] as integers."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten().long(), reduction="none").view(targets.shape[:2])


def last_step(mask: Tensor) -> Tensor:
    """Only the last real step of every row counts: one label per sequence.

    >>> last_step(torch.tensor([[True, True], [True, False]])).tolist()
    [[False, True], [True, False]]
    """
    following = torch.cat([mask[1:], torch.zeros_like(mask[:1])])
    return mask & ~following


def accuracy(outputs: Tensor, targets: Tensor, mask: Tensor) -> float:
    """Share of counted steps whose largest output is the label's."""
    right = (outputs.argmax(-1) == targets.reshape(mask.shape)) & mask
    return float(right.sum() / mask.sum())


def connectionist(outputs: Tensor, labels: Tensor, lengths: Tensor, label_lengths: Tensor) -> Tensor:
    """Connectionist temporal classification: labels in order, without their times; class 0 is the blank.

    Args:
        outputs: [T, B, classes]. labels: [B, L], padded. lengths: steps of each row [B]. label_lengths: [B].

    Returns:
        The mean negative log-likelihood per label.

    Source: "Connectionist temporal classification" (Graves et al., 2006).
    """
    return F.ctc_loss(outputs.log_softmax(-1), labels, lengths, label_lengths, zero_infinity=True)


def _mixture(outputs: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    components = outputs.shape[-1] // (2 * size + 1)
    if components * (2 * size + 1) != outputs.shape[-1] or components == 0:
        raise ValueError(f"a mixture over {size} numbers needs K (2 {size} + 1) outputs, received {outputs.shape[-1]}")
    logits, mean, log_std = outputs.split([components, components * size, components * size], -1)
    shape = (*outputs.shape[:-1], components, size)
    return logits.log_softmax(-1), mean.reshape(shape), log_std.reshape(shape).clamp(-7.0, 7.0)


def mixture_density(outputs: Tensor, targets: Tensor) -> Tensor:
    """`-log sum_k pi_k N(y; mu_k, diag sigma_k^2)` with K (2 O + 1) outputs, [T, B].

    Source: "Mixture density networks" (Bishop, 1994).

    >>> outputs = torch.zeros(1, 1, 3)  # one standard normal
    >>> round(float(mixture_density(outputs, torch.zeros(1, 1, 1))), 4)
    0.9189
    """
    log_pi, mean, log_std = _mixture(outputs, targets.shape[-1])
    z = (targets.unsqueeze(-2) - mean) * torch.exp(-log_std)
    log_normal = -0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + log_normal.sum(-1), -1)


def mixture_sample(outputs: Tensor, size: int, *, temperature: float = 1.0, generator: torch.Generator) -> Tensor:
    """A draw from the mixture [..., size]; temperature 0 gives the mean of the likeliest component."""
    log_pi, mean, log_std = _mixture(outputs, size)
    flat = log_pi.reshape(-1, log_pi.shape[-1])
    if temperature == 0:
        chosen = flat.argmax(-1)
    else:
        chosen = torch.multinomial((flat / temperature).softmax(-1), 1, generator=generator).squeeze(-1)
    index = chosen.reshape(*log_pi.shape[:-1], 1, 1).expand(*log_pi.shape[:-1], 1, size)
    mu, sigma = mean.gather(-2, index).squeeze(-2), log_std.exp().gather(-2, index).squeeze(-2)
    noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + math.sqrt(temperature) * sigma * noise
