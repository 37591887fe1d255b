"""What fitted Q fits: a network by Adam, or a forest that is grown anew each time."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from torch import Tensor, nn

__all__ = ["Perceptron", "Regressor", "Trees"]


class Regressor(Protocol):
    """Costs to go of all actions from states, fitted to targets of the actions taken."""

    def fit(self, state: np.ndarray, action: np.ndarray, target: np.ndarray) -> float: ...

    def values(self, state: np.ndarray) -> np.ndarray: ...


class Perceptron:
    """A ReLU network with one output per action, fitted by Adam on standardised states.

    >>> rng = np.random.default_rng(0)
    >>> state, action = rng.uniform(-1, 1, (256, 1)), rng.integers(2, size=256)
    >>> fit = Perceptron(1, 2, (32,), lr=1e-2, batch=64, epochs=60, generator=torch.Generator().manual_seed(0))
    >>> fit.fit(state, action, state[:, 0] * (2 * action - 1)) < 0.01
    True
    """

    def __init__(
        self,
        size: int,
        actions: int,
        hidden: tuple[int, ...],
        *,
        lr: float,
        batch: int,
        epochs: int,
        generator: torch.Generator,
        refit: bool = False,
    ):
        self.batch, self.epochs, self.generator, self.lr, self.refit = batch, epochs, generator, lr, refit
        widths = [size, *hidden]
        layers: list[nn.Module] = []
        for inside, out in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(inside, out), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], actions))
        self.net.register_buffer("mean", torch.zeros(size))
        self.net.register_buffer("std", torch.ones(size))
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr)

    def _standard(self, state: np.ndarray) -> Tensor:
        return (torch.as_tensor(state, dtype=torch.float32) - self.net.mean) / self.net.std  # type: ignore[operator]

    def fit(self, state: np.ndarray, action: np.ndarray, target: np.ndarray) -> float:
        if self.refit:
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    bound = layer.in_features**-0.5
                    for part in (layer.weight, layer.bias):
                        nn.init.uniform_(part, -bound, bound, generator=self.generator)
            self.optimiser = torch.optim.Adam(self.net.parameters(), self.lr)
        spread = torch.as_tensor(state.std(0), dtype=torch.float32).clamp_min(1e-6)
        self.net.mean.copy_(torch.as_tensor(state.mean(0)))  # type: ignore[operator, union-attr]
        self.net.std.copy_(spread)  # type: ignore[operator, union-attr]
        x, a = self._standard(state), torch.as_tensor(action)[:, None]
        y = torch.as_tensor(target, dtype=torch.float32)[:, None]
        total = 0.0
        for _ in range(self.epochs):
            total = 0.0
            for rows in torch.randperm(len(x), generator=self.generator).split(self.batch):
                loss = (self.net(x[rows]).gather(1, a[rows]) - y[rows]).square().mean()
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
                total += loss.item() * len(rows) / len(x)
        return total

    @torch.no_grad()
    def values(self, state: np.ndarray) -> np.ndarray:
        return self.net(self._standard(state)).numpy()


class Trees:
    """Extremely randomised trees over (state, action), fitted anew every time."""

    def __init__(self, actions: int, trees: int, seed: int):
        self.actions = actions
        self.forest = ExtraTreesRegressor(trees, min_samples_leaf=2, random_state=seed)
        self.fitted = False

    def fit(self, state: np.ndarray, action: np.ndarray, target: np.ndarray) -> float:
        x = np.column_stack([state, action])
        self.forest.fit(x, target)
        self.fitted = True
        return float(np.square(self.forest.predict(x) - target).mean())

    def values(self, state: np.ndarray) -> np.ndarray:
        if not self.fitted:
            return np.zeros((len(state), self.actions))
        columns = [self.forest.predict(np.column_stack([state, np.full(len(state), a)])) for a in range(self.actions)]
        return np.stack(columns, 1)
