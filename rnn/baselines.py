"""Least-squares baselines that stand beside every network: linear, and with cubic terms; orders found by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnn.data import Record, Scaling, split
from rnn.metrics import rmse

__all__ = ["LeastSquaresModel", "fit_cubic", "fit_linear"]

ORDERS = (1, 2, 3, 4, 6, 8, 10, 15, 20)
GROWTH = 100.0  # times: a linear model whose own motion grows so over the longest record runs away
RIDGE = 1e-10  # relative to the mean diagonal of the Gram matrix: only against exactly singular regressors


@dataclass(frozen=True, eq=False)
class LeastSquaresModel:
    """`y_t = sum_k A_k y_{t-k} + sum_k B_k u_{t-k} + c (+ N m(y_{t-1} ... y_{t-products}))`, fitted one step ahead.

    m holds all products of two and three of the named past outputs. Everything is in scaled units inside.
    """

    coefficients: np.ndarray
    order: int
    products: int
    scaling: Scaling

    @property
    def warm_up(self) -> int:
        """Measured samples needed before a free run."""
        return max(self.order, self.products)

    def simulate(self, record: Record, window: int) -> np.ndarray:
        """Free run [T, O] in the data's unit; the first `window` outputs are known, the rest are its own.

        With fewer known outputs than the order needs, the missing ones are taken to be the mean. A run that leaves a
        thousand standard deviations has blown up and is NaN from there.
        """
        scaled = self.scaling.scale(record)
        history = self.warm_up
        known = min(window, len(record))
        u, y = _padded(scaled, history)
        out = y.copy()
        out[history + known :] = 0.0
        linear, rest = self._split(u.shape[1], y.shape[1])
        AT = linear[: self.order * y.shape[1]]
        driven = _input_terms(u, self.order, history) @ linear[self.order * y.shape[1] :]
        i2, i3 = _product_indices(self.products * y.shape[1])
        for t in range(history + known, len(out)):
            past = out[t - self.order : t][::-1].ravel() if self.order else out[:0].ravel()
            value = past @ AT + driven[t - history]
            if self.products:
                p = out[t - self.products : t][::-1].ravel()
                value = value + p[i2].prod(0) @ rest[: i2.shape[1]] + p[i3].prod(0) @ rest[i2.shape[1] :]
            if not np.abs(value).max() < 1e3:
                out[t:] = np.nan
                break
            out[t] = value
        return self.scaling.unscale(out[history:])

    def _split(self, I: int, O: int) -> tuple[np.ndarray, np.ndarray]:
        size = self.order * O + (self.order + 1) * I + 1
        return self.coefficients[:size], self.coefficients[size:]

    def poles(self) -> np.ndarray:
        """Eigenvalues per step of the recursion over past outputs."""
        O = self.coefficients.shape[1]
        n = self.order * O
        companion = np.eye(n, k=-O)
        companion[:O] = self.coefficients[:n].T
        return np.linalg.eigvals(companion)


def fit_linear(
    records: Sequence[Record], *, order: int | None = None, window: int = 0, orders: Sequence[int] = ORDERS
) -> LeastSquaresModel:
    """Linear model with exogenous inputs (ARX) by least squares; the order by free run on held-out data.

    >>> t = np.arange(200)
    >>> model = fit_linear([Record(None, 0.99**t * np.cos(0.3 * t))], order=2)
    >>> np.abs(model.poles()).round(6).tolist()
    [0.99, 0.99]

    Raises:
        ValueError: no record is longer than the smallest order.
    """
    return _fit(records, [(n, 0) for n in ([order] if order else orders)], window)


def fit_cubic(
    records: Sequence[Record], *, order: int | None = None, products: int | None = None, window: int = 0
) -> LeastSquaresModel:
    """The same with all products of two and three of the last outputs (polynomial NARX); terms by free run."""
    O = records[0].sizes[1]
    deepest = 3 if O == 1 else 2 if O == 2 else 1
    choices = [(n, m) for n in ([order] if order else (2, 4, 10)) for m in range(1, deepest + 1) if m <= n]
    return _fit(records, [(n, m) for n, m in choices if products in (None, m)], window)


def _fit(records: Sequence[Record], choices: list[tuple[int, int]], window: int) -> LeastSquaresModel:
    longest = max(len(r) for r in records)
    choices = [(n, m) for n, m in choices if longest > 2 * (max(n, m) + 1)]
    if not choices:
        raise ValueError(f"the longest record has {longest} samples, too few for a least-squares model of any order")
    scaling = Scaling.of(records)
    if len(choices) == 1:
        return _solve(records, scaling, *choices[0])
    train, valid = split(records)
    valid = [r for r in valid if len(r) > 2 * (max(c[0] for c in choices) + 1)] or list(records)
    scored = []
    for n, m in choices:
        model = _solve(train, scaling, n, m)
        errors = [_score(model, r[:5000], max(window, model.warm_up)) for r in valid]
        growing = m == 0 and np.abs(model.poles()).max(initial=0) ** longest > GROWTH
        scored.append((float(np.sqrt(np.mean(np.square(errors)))), n, m, growing))
    return _solve(records, scaling, *_choose(scored))


def _choose(scored: list[tuple[float, int, int, bool]]) -> tuple[int, int]:
    """Order and products of the first choice nearly as good as the best; one that runs away only if far better.

    >>> _choose([(0.5, 1, 0, False), (0.4, 2, 0, True)]), _choose([(0.5, 1, 0, False), (0.1, 2, 0, True)])
    ((1, 0), (2, 0))
    """
    finite = [s for s in scored if np.isfinite(s[0])]
    if not finite:
        return scored[0][1:3]
    calm = [s for s in finite if not s[3]]
    if calm and min(s[0] for s in calm) <= 2 * min(s[0] for s in finite):
        finite = calm
    best = min(s[0] for s in finite)
    return next(s for s in finite if s[0] <= 1.005 * best + 1e-6)[1:3]


def _score(model: LeastSquaresModel, record: Record, known: int) -> float:
    scaled = lambda y: (y - np.array(model.scaling.y_mean)) / np.array(model.scaling.y_std)
    return rmse(scaled(record.y[known:]), scaled(model.simulate(record, known)[known:])) if len(record) > known else 0.0


def _solve(records: Sequence[Record], scaling: Scaling, order: int, products: int) -> LeastSquaresModel:
    history = max(order, products)
    gram = moment = np.zeros((0, 0))
    for record in records:
        if len(record) <= history:
            continue
        scaled = scaling.scale(record)
        X = _regressors(scaled, order, products)
        ours = X.T @ X, X.T @ scaled.y[history:]
        gram, moment = ours if not gram.size else (gram + ours[0], moment + ours[1])
    if not gram.size:
        raise ValueError(f"no record is longer than the order {history}")
    gram = gram + RIDGE * np.mean(np.diag(gram)) * np.eye(len(gram))
    return LeastSquaresModel(np.linalg.solve(gram, moment), order, products, scaling)


def _regressors(record: Record, order: int, products: int) -> np.ndarray:
    history, T = max(order, products), len(record)
    past = [record.y[history - k : T - k] for k in range(1, order + 1)]
    terms = [*past, _input_terms(record.u, order, history)]
    if products:
        p = np.concatenate([record.y[history - k : T - k] for k in range(1, products + 1)], 1)
        i2, i3 = _product_indices(p.shape[1])
        terms += [p[:, i2].prod(1), p[:, i3].prod(1)]
    return np.concatenate(terms, 1)


def _input_terms(u: np.ndarray, order: int, history: int) -> np.ndarray:
    """Inputs now and up to `order` samples ago, and a one."""
    T = len(u)
    return np.concatenate([*(u[history - k : T - k] for k in range(order + 1)), np.ones((T - history, 1))], 1)


def _product_indices(n: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    triples = [(i, j, k) for i, j in pairs for k in range(j, n)]
    return np.array(pairs, dtype=int).reshape(-1, 2).T, np.array(triples, dtype=int).reshape(-1, 3).T


def _padded(record: Record, history: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and outputs with `history` samples put before them: the first input held, outputs at their mean."""
    before = np.repeat(record.u[:1], history, 0)
    return np.concatenate([before, record.u]), np.concatenate([np.zeros((history, record.y.shape[1])), record.y])
