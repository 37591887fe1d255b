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
        o^i_{t+1} = o^i_t + \sum_{|\alpha| \le p} c_{i \alpha} (\tilde z^i_t, \tilde a_t)^\alpha

    z^i is the last reading, but with the new values of readings that were predicted before the i-th: where it helps the
    rest, a reading's new value takes the place of its old one. So a position moves by the speed that a stop has left,
    not by the one that was wanted. The order is found by the fit: what is foreseen best comes first.

    Readings and actions are divided by their greatest size. Rows that a polynomial misses by far (where something
    hits a stop) are left out and the rest is fitted again; predictions are kept within the range of the data, which is
    where such stops are.

    Args:
        degree: p.
        trim: rows are left out beyond so many median errors.
        rounds: of leaving out, at most; fewer if no row changes.
        rows: used, evenly spread over the data, where there are more.
        ordered: False predicts all readings from old values.

    >>> x = torch.linspace(-1, 1, 50, dtype=torch.double).reshape(-1, 1, 1)
    >>> model = Polynomial(3).fit(torch.cat([x[:1], x[:-1] - x[:-1] ** 3]), torch.zeros(49, 1, 1))
    >>> model.simulate(torch.zeros(1, 1), torch.zeros(3, 1, 1)).shape
    torch.Size([3, 1, 1])
    """

    def __init__(
        self, degree: int = 5, *, trim: float = 6.0, rounds: int = 15, rows: int = 20_000, ordered: bool = True
    ):
        self.degree, self.trim, self.rounds, self.rows, self.ordered = degree, trim, rounds, rows, ordered

    def fit(self, obs: Tensor, actions: Tensor) -> Polynomial:
        """Fit to sequences, obs [T + 1, B, D] and actions [T, B, A], in double precision."""
        self.resolution = torch.finfo(obs.dtype).eps
        before, after = obs[:-1].double().flatten(0, 1), obs[1:].double().flatten(0, 1)
        x = torch.cat([before, actions.double().flatten(0, 1)], 1)
        self.low, self.high = after.amin(0), after.amax(0)
        if len(x) > self.rows:
            some = torch.linspace(0, len(x) - 1, self.rows).long()
            x, before, after = x[some], before[some], after[some]
        self.scale = x.abs().amax(0).clamp(min=1e-12)
        size = x.shape[1]
        powers = [c for p in range(self.degree + 1) for c in combinations_with_replacement(range(size), p)]
        self.factors = torch.full((len(powers), self.degree), size)
        for row, factors in enumerate(powers):
            self.factors[row, : len(factors)] = torch.tensor(factors, dtype=torch.long)
        self.course: list[tuple[int, Tensor, bool]] = []
        """In order: a reading, its weights [R], and whether its new value takes the place of the old one."""
        fitted = self._fit_each(x, before, after, list(range(before.shape[1])))
        while fitted:
            first = min(fitted, key=lambda i: fitted[i][1])
            weights, _ = fitted.pop(first)
            moved, better = x.clone(), {}
            moved[:, first] = after[:, first]
            if self.ordered and fitted:
                better = self._fit_each(moved, before, after, list(fitted))
            helps = sum(error for _, error in better.values()) < sum(error for _, error in fitted.values())
            self.course.append((first, weights, bool(better) and helps))
            if self.course[-1][2]:
                x, fitted = moved, better
        return self

    def _fit_each(self, x: Tensor, before: Tensor, after: Tensor, some: list[int]) -> dict[int, tuple[Tensor, float]]:
        """Weights [R] of the change of each of `some` readings, and the error that is left, in its deviations.

        A polynomial of high degree bends to follow a stop, and so does not miss it by far. What a linear map misses is
        therefore another beginning of the leaving out; the better of the two is taken.
        """
        features, found, linear = self._features(x), {}, 1 + x.shape[1]
        gram = features.mT @ features
        for i in some:
            change = after[:, i] - before[:, i]
            rounding = 4 * self.resolution * after[:, i].abs().max().item()
            every = torch.ones(len(x), dtype=torch.bool)
            _, straight = self._trimmed(features[:, :linear], change, gram[:linear, :linear], rounding, every)
            found[i] = every.double(), torch.inf
            for start in (every, straight):
                weights, _ = self._trimmed(features, change, gram, rounding, start)
                ahead = (before[:, i] + features @ weights).clamp(self.low[i], self.high[i])
                error = (ahead - after[:, i]).square().mean().sqrt() / change.std().clamp(min=1e-12)
                found[i] = min(found[i], (weights, error.item()), key=lambda pair: pair[1])
        return found

    def _trimmed(
        self, features: Tensor, change: Tensor, gram: Tensor, rounding: float, keep: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights [R] by least squares on the rows that are not missed by far, nor by more than readings are rounded,
        and these rows [N], beginning with the rows `keep` [N]; `gram` is that of all rows [R, R]."""
        ridge = 1e-12 * torch.eye(len(gram), dtype=gram.dtype)  # cos^2 + sin^2 = 1 makes features dependent
        cross = features.mT @ change
        for _ in range(self.rounds):
            out = features[~keep]  # few rows: what is left is had by taking them away
            left, wanted, count = gram - out.mT @ out, cross - out.mT @ change[~keep], keep.sum()
            weights = torch.linalg.solve(left / count + ridge, wanted / count)
            error, last = (features @ weights - change).abs(), keep
            keep = error <= (self.trim * error[keep].median()).clamp(min=rounding)
            if torch.equal(keep, last):
                break
        return weights, keep

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
            x = torch.cat([now, action], 1)
            features, ahead = self._features(x), now.clone()
            for i, weights, moves in self.course:
                ahead[:, i] = (now[:, i] + features @ weights).clamp(self.low[i], self.high[i])
                if moves:
                    x[:, i] = ahead[:, i]
                    features = self._features(x)
            now = ahead
            predictions.append(now)
        return torch.stack(predictions)
