"""What fitted Q fits: a network by Adam, or a forest that is grown anew each time."""

from __future__ import annotations

import copy
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


class Standard(nn.Module):
    """Inputs [N, S] less the mean of what was seen, over its standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def see(self, state: np.ndarray) -> None:
        """Take mean and spread from states [N, S]."""
        self.mean.copy_(torch.as_tensor(state.mean(0)))
        self.std.copy_(torch.as_tensor(state.std(0), dtype=torch.float32).clamp_min(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Perceptron:
    """A ReLU network with one output per action, fitted by Adam on standardised states.

    Args:
        size: S.
        actions: A.
        hidden: units per layer.
        lr, batch, epochs: of Adam; the rate can be changed by `pace`.
        generator: of the order of the data, and of new weights.
        refit: start every fit from new weights.
        target_rate: how much of the fitted weights the weights that value take on in one pass over the data, however
            many steps it has; with 1 they are the same weights.

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
        target_rate: float = 1.0,
    ):
        self.batch, self.epochs, self.generator, self.lr, self.refit = batch, epochs, generator, lr, refit
        self.target_rate, self.share = target_rate, 1.0
        widths = [size, *hidden]
        self.scale = Standard(size)
        layers: list[nn.Module] = [self.scale]
        for inside, out in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(inside, out), nn.ReLU()]
        layers.append(nn.Linear(widths[-1], actions))
        self.net = nn.Sequential(*layers)
        self.judge = self.net
        if target_rate < 1:
            self.judge = nn.Sequential(self.scale, *copy.deepcopy(layers[1:]))
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr)

    def networks(self) -> dict[str, nn.Module]:
        """The network that is fitted and, where it is another, the one that values."""
        return {"q": self.net} if self.judge is self.net else {"q": self.net, "judge": self.judge}

    def pace(self, share: float) -> None:
        """Fit with a share of the learning rate from now on."""
        self.share = share

    def fit(self, state: np.ndarray, action: np.ndarray, target: np.ndarray) -> float:
        if self.refit:
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    bound = layer.in_features**-0.5
                    for part in (layer.weight, layer.bias):
                        nn.init.uniform_(part, -bound, bound, generator=self.generator)
            self.optimiser = torch.optim.Adam(self.net.parameters(), self.lr)
        for group in self.optimiser.param_groups:
            group["lr"] = self.share * self.lr
        self.scale.see(state)
        fitted: list[Tensor] = list(self.net.parameters())
        judging: list[Tensor] = list(self.judge.parameters())
        rate = 1 - (1 - self.target_rate) ** (1 / -(-len(state) // self.batch))
        x, a = torch.as_tensor(state, dtype=torch.float32), torch.as_tensor(action)[:, None]
        y = torch.as_tensor(target, dtype=torch.float32)[:, None]
        total = 0.0
        for _ in range(self.epochs):
            total = 0.0
            for rows in torch.randperm(len(x), generator=self.generator).split(self.batch):
                loss = (self.net(x[rows]).gather(1, a[rows]) - y[rows]).square().mean()
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
                if self.judge is not self.net:
                    with torch.no_grad():
                        torch._foreach_lerp_(judging, fitted, rate)
                total += loss.item() * len(rows) / len(x)
        return total

    @torch.no_grad()
    def values(self, state: np.ndarray) -> np.ndarray:
        return self.judge(torch.as_tensor(state, dtype=torch.float32)).numpy()


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
