"""Linear prediction from past readings and actions, fitted to each episode's own beginning."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fitted_per_episode", "least_squares"]


def _regressors(obs: Tensor, actions: Tensor, lags: int) -> Tensor:
    """Rows [W - lags, B, lags (D + A) + 1]: the last `lags` readings and actions before each reading from `lags` on."""
    W = len(obs)
    parts = [obs[lags - k : W - k] for k in range(1, lags + 1)]
    parts += [actions[lags - k : W - k] for k in range(1, lags + 1)]
    return torch.cat([*parts, torch.ones_like(obs[lags:, :, :1])], -1)


def _open_loop(weights: Tensor, obs: Tensor, actions: Tensor, lags: int) -> Tensor:
    """Predictions [T - W + 1, B, D] of readings W to T; weights [B, R, D] or [R, D]."""
    past = list(obs[-lags:].unbind(0))
    predictions = []
    for t in range(len(obs), len(actions) + 1):
        recent = [past[-k] for k in range(1, lags + 1)] + [actions[t - k] for k in range(1, lags + 1)]
        row = torch.cat([*recent, torch.ones_like(past[-1][:, :1])], -1)
        past.append((row.unsqueeze(1) @ weights).squeeze(1))
        predictions.append(past[-1])
    return torch.stack(predictions)


def fitted_per_episode(obs: Tensor, actions: Tensor, *, lags: int = 4, ridge: float = 1e-10) -> Tensor:
    r"""Identify each row's own linear recurrence on what was measured, then run it open loop.

    .. math::
        o_t = \sum_{k=1}^{p} (F_k o_{t-k} + G_k a_{t-k}) + c

    A linear system of order n shaken by m unknown sinusoids obeys such a recurrence exactly once p readings span
    n + 2 m states, whatever its parameters: nothing has to be learned beforehand.

    Args:
        obs: measured, [W, B, D].
        actions: [T, B, A], action t leads from reading t to t + 1.
        lags: p.
        ridge: Tikhonov term relative to the mean square of the regressors.

    Returns:
        predictions of readings W to T, [T - W + 1, B, D], in double precision.

    Raises:
        ValueError: fewer measurements than unknowns.

    >>> t = torch.arange(60.0, dtype=torch.double)
    >>> wave = torch.sin(0.3 * t)[:, None, None]
    >>> ahead = fitted_per_episode(wave[:30], torch.zeros(59, 1, 1), lags=2)
    >>> bool((ahead - wave[30:]).abs().max() < 1e-3)
    True
    """
    obs, actions = obs.double(), actions.double()
    x = _regressors(obs, actions, lags).transpose(0, 1)  # [B, W - p, R]
    if x.shape[1] < x.shape[2]:
        raise ValueError(f"{len(obs)} measured steps cannot fix {x.shape[2]} unknowns; give more, or fewer lags")
    y = obs[lags:].transpose(0, 1)
    scale = x.square().mean((1, 2), keepdim=True)
    gram = x.mT @ x + ridge * scale * x.shape[1] * torch.eye(x.shape[2], dtype=x.dtype)
    return _open_loop(torch.linalg.solve(gram, x.mT @ y), obs, actions, lags)


def least_squares(train_obs: Tensor, train_actions: Tensor, obs: Tensor, actions: Tensor, *, lags: int = 1) -> Tensor:
    """One linear recurrence for all, fitted to training sequences (dynamic mode decomposition with control)."""
    x = _regressors(train_obs.double(), train_actions.double(), lags).flatten(0, 1)
    weights = torch.linalg.lstsq(x, train_obs[lags:].double().flatten(0, 1)).solution
    return _open_loop(weights, obs.double(), actions.double(), lags)
