"""Returns and temporal differences as pure functions of [T, B] tensors.

Time index as in the formulas: `_tm1` is before the step, `_t` after it. `discount_t` is gamma, or 0 where the episode
terminated at t; `cut_t` marks steps after which the next row belongs to another episode although nothing terminated
(truncation): no value may be carried over such a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["lambda_returns", "n_step_returns", "rescale", "shortfalls", "td_errors", "unrescale"]


def n_step_returns(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, n: int, cut_t: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Bootstrapped n-step returns [T, B] and where they are valid, [T, B].

    .. math:: G_t = r_{t+1} + d_{t+1} (r_{t+2} + d_{t+2} (\dots + d_{t+n} v_{t+n}))

    At the end of the sequence the bootstrap moves in: fewer than n rewards, then the last value. A return that would
    reach over a cut is invalid, unless the episode terminated before it.

    Args:
        r_t: rewards [T, B].
        discount_t: discounts [T, B].
        v_t: values of the states after each step [T, B].
        n: number of rewards.
        cut_t: truncated steps [T, B].

    >>> r, d, v = torch.ones(3, 1), torch.full((3, 1), 0.5), torch.full((3, 1), 8.0)
    >>> n_step_returns(r, d, v, 2)[0].flatten().tolist()
    [3.5, 3.5, 5.0]
    """
    steps = len(r_t)
    cut_t = torch.zeros_like(r_t, dtype=torch.bool) if cut_t is None else cut_t
    beyond = r_t.new_zeros(n - 1, *r_t.shape[1:])  # after the end: no reward, no discount, no cut, the last value
    r = torch.cat([r_t, beyond])
    d = torch.cat([discount_t, beyond + 1])
    cut = torch.cat([cut_t, beyond.bool()])
    target = torch.cat([v_t, v_t[-1:].expand_as(beyond)])[n - 1 :]
    valid = torch.ones_like(cut_t)
    for k in range(n - 1, -1, -1):
        here = slice(k, k + steps)
        target = r[here] + d[here] * target
        valid = (d[here] == 0) | (valid & ~cut[here])
    return target, valid


def lambda_returns(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, lambda_: float | Tensor, cut_t: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Returns that mix all horizons, [T, B], and where they are valid.

    .. math:: G_t = r_{t+1} + d_{t+1} \big((1 - \lambda) v_{t+1} + \lambda G_{t+1}\big), \qquad G_{T} = v_{T}

    With lambda 0 this is the one-step target, with 1 the bootstrapped Monte Carlo return. Given per step, 0 where the
    action that follows was not greedy, it is Q(lambda) of Learning from Delayed Rewards (Watkins, 1989): what
    exploration or an older policy did afterwards does not count. Before a cut the return ends
    with the last value that belongs to the episode, so only the truncated step itself is invalid.

    >>> one = torch.ones(2, 1)
    >>> lambda_returns(one, 0.5 * one, 8 * one, 1.0)[0].flatten().tolist()
    [3.5, 5.0]
    """
    cut_t = torch.zeros_like(r_t, dtype=torch.bool) if cut_t is None else cut_t
    valid = ~cut_t | (discount_t == 0)
    share = torch.as_tensor(lambda_).expand_as(r_t)
    target = v_t[-1]
    following = torch.ones_like(cut_t[0])  # is the return of the next step one to lean on?
    returns = []
    for t in range(len(r_t) - 1, -1, -1):
        mixed = torch.where(following, (1 - share[t]) * v_t[t] + share[t] * target, v_t[t])
        target = r_t[t] + discount_t[t] * mixed
        following = valid[t]
        returns.append(target)
    return torch.stack(returns[::-1]), valid


def td_errors(q_tm1: Tensor, a_tm1: Tensor, target_tm1: Tensor) -> Tensor:
    """Targets minus the values of the actions taken: q_tm1 [..., A], a_tm1 [...] -> [...]."""
    return target_tm1 - q_tm1.gather(-1, a_tm1[..., None]).squeeze(-1)


def shortfalls(q_tm1: Tensor, a_tm1: Tensor) -> Tensor:
    """How much less the actions taken are worth than the best: q_tm1 [..., A], a_tm1 [...] -> [...], 0 or more.

    >>> shortfalls(torch.tensor([[1.0, 4.0]]), torch.tensor([0])).tolist()
    [3.0]
    """
    return q_tm1.amax(-1) - q_tm1.gather(-1, a_tm1[..., None]).squeeze(-1)


def rescale(x: Tensor, eps: float = 1e-3) -> Tensor:
    r"""Squash values of any size, `h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x`.

    From Observe and Look Further (Pohlen et al., 2018), used by R2D2 in place of clipped rewards.

    >>> x = torch.tensor([-30.0, 0.0, 5.0])
    >>> bool(torch.allclose(unrescale(rescale(x)), x, atol=1e-3))
    True
    """
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + eps * x


def unrescale(x: Tensor, eps: float = 1e-3) -> Tensor:
    """The inverse of `rescale`."""
    root = (1 + 4 * eps * (x.abs() + 1 + eps)).sqrt()
    return x.sign() * (((root - 1) / (2 * eps)) ** 2 - 1)
