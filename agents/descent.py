"""A clipped step of Adam in few calls: at the networks of a controller the time goes into calls, not arithmetic."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["clipped_step"]


def clipped_step(optimiser: torch.optim.Adam, loss: Tensor, max_norm: float) -> float:
    r"""One step down a loss with a gradient of norm at most `max_norm`; returns the norm before clipping.

    .. math::
        g \leftarrow g \min(1, \bar g / (|g| + 10^{-6}))

    and Adam's step, as `zero_grad`, `backward`, `torch.nn.utils.clip_grad_norm_` and `step` give it, but the gradients
    are never stored in the parameters, and the factor is applied inside the step.

    Args:
        optimiser: Adam with `fused=True`; its state stays its own.
        loss: a scalar.
        max_norm: clip of the gradient's norm.

    Raises:
        FloatingPointError: the gradient is not finite; no weight has changed.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> clipped_step(torch.optim.Adam([weight], lr=0.5, fused=True), (weight**2 / 2).sum(), 0.5)
    5.0
    >>> weight.tolist()
    [2.5, 3.5]
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"] if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    gradients = {p: g for p, g in zip(parameters, found, strict=True) if g is not None}
    norm = float(torch.cat([g.reshape(-1) for g in gradients.values()]).norm())
    if not math.isfinite(norm):
        raise FloatingPointError("the gradient is not finite; lower the learning rate or shorten the sequences")
    scale = torch.tensor(max(1.0, (norm + 1e-6) / max_norm), device=loss.device)
    for settings in optimiser.param_groups:
        live = [p for p in settings["params"] if p in gradients]
        states: list[dict[str, Any]] = [optimiser.state[p] for p in live]
        for p, state in zip(live, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), device=p.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        adam(
            live,
            [gradients[p] for p in live],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=False,
        )
    return norm
