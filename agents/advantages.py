"""Advantages of a rollout, with termination and truncation apart."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gae", "normalised"]


def gae(r_t: Tensor, discount_t: Tensor, ended_t: Tensor, v_tm1: Tensor, v_t: Tensor, lambda_: float) -> Tensor:
    r"""Generalised advantage estimates, [T, B].

    .. math::
        \delta_t = r_t + \gamma_t v(s_t) - v(s_{t-1}), \qquad
        A_{t-1} = \delta_t + \gamma_t \lambda (1 - e_t) A_t

    lambda = 0 is the one-step error, lambda = 1 the return to the end of the rollout minus the value.
    Source: "High-Dimensional Continuous Control Using Generalized Advantage Estimation" (Schulman et al., 2016).

    Args:
        r_t: reward that follows the action, [T, B].
        discount_t: gamma, or 0 where the episode terminated (not where it was truncated), [T, B].
        ended_t: e, true where the episode ended in either way, so that nothing is carried over the seam, [T, B].
        v_tm1: value of the state acted in, [T, B].
        v_t: value of the state reached: at an end that of the true last observation, [T, B].
        lambda_: lambda, 0 to 1.

    Raises:
        ValueError: shapes that differ.

    >>> one = torch.ones(2, 1)
    >>> gae(one, 0.5 * one, one > 1, 0 * one, 0 * one, 1.0).flatten().tolist()
    [1.5, 1.0]
    """
    shapes = {tuple(x.shape) for x in (r_t, discount_t, ended_t, v_tm1, v_t)}
    if len(shapes) != 1 or r_t.dim() != 2:
        raise ValueError(f"all arguments have one shape [T, B], received {sorted(shapes)}")
    delta = r_t + discount_t * v_t - v_tm1
    carry = discount_t * lambda_ * (~ended_t)
    advantage = torch.zeros_like(r_t[0])
    advantages = []
    for d, c in zip(reversed(delta.unbind(0)), reversed(carry.unbind(0)), strict=True):
        advantage = d + c * advantage
        advantages.append(advantage)
    return torch.stack(advantages[::-1])


def normalised(x: Tensor, floor: float = 0.0) -> Tensor:
    """`x` with mean 0 and standard deviation 1, or less where its own deviation is below a floor.

    >>> normalised(torch.tensor([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    return (x - x.mean()) / (x.std(correction=0).clamp(min=floor) + 1e-8)
