"""Prediction from past readings and actions by least squares: linear, of each episode's own beginning, polynomial."""

from __future__ import annotations

from itertools import combinations_with_replacement

import torch
from torch import Tensor

__all__ = ["Polynomial", "fitted_per_episode", "least_squares"]


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


class Polynomial:
    r"""The next reading as a polynomial of the last reading and action, by least squares.

    .. math::
        o_{t+1} = o_t + \sum_{|\alpha| \le p} c_\alpha (\tilde o_t, \tilde a_t)^\alpha

    Readings and actions are divided by their greatest size. Rows that the polynomial misses by far (where something
    hits a stop) are left out and the rest is fitted again; predictions are kept within the range of the data, which is
    where such stops are.

    Args:
        degree: p.
        trim: rows are left out beyond so many median errors.
        rounds: of leaving out.

    >>> x = torch.linspace(-1, 1, 50, dtype=torch.double).reshape(-1, 1, 1)
    >>> model = Polynomial(3).fit(torch.cat([x[:1], x[:-1] - x[:-1] ** 3]), torch.zeros(49, 1, 1))
    >>> model.simulate(torch.zeros(1, 1), torch.zeros(3, 1, 1)).shape
    torch.Size([3, 1, 1])
    """

    def __init__(self, degree: int = 5, *, trim: float = 6.0, rounds: int = 15):
        self.degree, self.trim, self.rounds = degree, trim, rounds

    def fit(self, obs: Tensor, actions: Tensor) -> Polynomial:
        """Fit to sequences, obs [T + 1, B, D] and actions [T, B, A], in double precision."""
        before, after = obs[:-1].double().flatten(0, 1), obs[1:].double().flatten(0, 1)
        x = torch.cat([before, actions.double().flatten(0, 1)], 1)
        self.scale = x.abs().amax(0).clamp(min=1e-12)
        self.low, self.high = after.amin(0), after.amax(0)
        size = x.shape[1]
        powers = [c for p in range(self.degree + 1) for c in combinations_with_replacement(range(size), p)]
        self.factors = torch.full((len(powers), self.degree), size)
        for row, factors in enumerate(powers):
            self.factors[row, : len(factors)] = torch.tensor(factors, dtype=torch.long)
        features, change = self._features(x), after - before
        keep = torch.ones(len(x), dtype=torch.bool)
        for _ in range(self.rounds):
            chosen = features[keep]
            gram = chosen.mT @ chosen / len(chosen)
            ridge = 1e-12 * torch.eye(len(gram), dtype=gram.dtype)  # cos^2 + sin^2 = 1 makes features dependent
            self.weights = torch.linalg.solve(gram + ridge, chosen.mT @ change[keep] / len(chosen))
            error = (features @ self.weights - change).abs().amax(1)
            keep = error <= self.trim * error[keep].median()
        return self

    def _features(self, x: Tensor) -> Tensor:
        """Monomials [N, R] of readings and actions [N, D + A]."""
        x = torch.cat([x / self.scale, torch.ones_like(x[:, :1])], 1)
        product = x[:, self.factors[:, 0]]
        for k in range(1, self.degree):
            product = product * x[:, self.factors[:, k]]
        return product

    def simulate(self, start: Tensor, actions: Tensor) -> Tensor:
        """Open loop [T, B, D] from readings [B, D] under actions [T, B, A]."""
        now, predictions = start.double(), []
        for action in actions.double().unbind(0):
            change = self._features(torch.cat([now, action], 1)) @ self.weights
            now = torch.minimum(torch.maximum(now + change, self.low), self.high)
            predictions.append(now)
        return torch.stack(predictions)
