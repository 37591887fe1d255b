"""Real-time recurrent learning: gradients carried forward in time, exact, cheap where exact, and approximate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from rnn.model import Model, pack, unpack
from rnn.objectives import Objective, squared_error

__all__ = ["METHODS", "OnlineGradient", "cosine", "forward_gradient"]

METHODS = ("exact", "diagonal", "snap1", "rflo")


class OnlineGradient:
    r"""Gradient of a model's summed loss, carried along with the state instead of back through time.

    The influence of the parameters on the state, `P_t = ds_t/dtheta` [B, S, K], obeys

        P_t = (ds_t/ds_{t-1}) P_{t-1} + (ds_t/dtheta)|_{s_{t-1}},    dJ_t/dtheta = (dJ_t/ds_{t-1}) P_{t-1} + direct.

    - "exact": the whole influence: O(S K) memory and O(S^2 K) time per step, independent of the length (for n fully
      connected units n^3 and n^4).
    - "diagonal": exact for cells whose units do not act on each other (`h_t = lambda * h_{t-1} + ...`): a trace of the
      size of the parameters.
    - "snap1": only the entries that a parameter influences within one step.
    - "rflo": recurrent paths dropped: `P_t = leak P_{t-1} + direct`.

    Args:
        model: the model; its parameters with `requires_grad` are followed.
        batch: rows, B.
        method: one of `METHODS`.
        leak: for "rflo", the share of the state that stays for a step (0 for a cell without leak).
        objective: loss per step.
        state: packed initial state [B, S]; None for the model's own, its influence counted from zero.

    Sources: "A learning algorithm for continually running fully recurrent neural networks" (Williams, Zipser, 1989);
    "Practical real time recurrent learning with a sparse approximation" (Menick et al., 2021); "Local online learning
    in recurrent networks with random feedback" (Murray, 2019), here with the true feedback weights.

    Raises:
        ValueError: an unknown method, or "diagonal" for a cell whose units act on each other.
    """

    def __init__(
        self,
        model: Model,
        batch: int,
        *,
        method: str = "exact",
        leak: float = 0.0,
        objective: Objective = squared_error,
        state: Tensor | None = None,
    ):
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; the methods are {', '.join(METHODS)}")
        self.model, self.method, self.leak, self.objective = model, method, leak, objective
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.shapes = [model.get_parameter(name).shape for name in self.names]
        start = pack(model.cell.initial_state(batch)) if state is None else state
        self.state = start.detach()
        self.gradient = {name: torch.zeros_like(model.get_parameter(name)) for name in self.names}
        K, S = sum(shape.numel() for shape in self.shapes), self.state.shape[-1]
        if method == "diagonal":
            self._find_units()
            self.traces = {name: [self.state.new_zeros(batch, *p.shape) for _ in range(self.fields)]
                           for name, p in self.gradient.items() if name in self.unit_dim}  # fmt: skip
        else:
            self.influence = self.state.new_zeros(batch, S, K)
            self.pattern = self._immediate_pattern() if method == "snap1" else None

    def step(self, x: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
        """One step: input [B, I'], target [B, ...], rows that count [B]. Adds to `gradient`; returns losses [B]."""
        weight = x.new_ones(len(x)) if counts is None else counts.to(x.dtype)
        if self.method == "diagonal":
            return self._diagonal_step(x, target, weight)
        theta = torch.cat([self.model.get_parameter(name).detach().flatten() for name in self.names])
        slopes, (loss, following) = vmap(jacrev(self._row, argnums=(0, 1), has_aux=True), (None, 0, 0, 0))(
            theta, self.state, x, target
        )
        (loss_theta, state_theta), (loss_state, state_state) = (tuple(pair) for pair in zip(*slopes, strict=True))
        total = loss_theta + torch.einsum("bs,bsk->bk", loss_state, self.influence)
        self._add(torch.einsum("b,bk->k", weight, total))
        if self.method == "rflo":
            self.influence = self.leak * self.influence + state_theta
        else:
            self.influence = state_state @ self.influence + state_theta
            if self.pattern is not None:
                self.influence = self.influence * self.pattern
        self.state = following
        return loss * weight

    def take(self) -> dict[str, Tensor]:
        """The gradient summed since the last `take`, which starts it anew (the influence stays)."""
        taken, self.gradient = self.gradient, {name: torch.zeros_like(g) for name, g in self.gradient.items()}
        return taken

    def _row(self, theta: Tensor, packed: Tensor, x: Tensor, target: Tensor) -> tuple[Any, Any]:
        parts = theta.split([shape.numel() for shape in self.shapes])
        values = {n: p.reshape(shape) for n, p, shape in zip(self.names, parts, self.shapes, strict=True)}
        loss, following = self._apply(values, packed, x, target)
        return (loss, following), (loss, following)

    def _apply(self, values: dict[str, Tensor], packed: Tensor, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        step: Callable[..., Any] = lambda: functional_call(
            _Step(self.model), {f"model.{n}": v for n, v in values.items()}, (x[None], packed[None])
        )
        y, following = step()
        return self.objective(y[None], target[None, None])[0, 0], following[0]

    def _add(self, flat: Tensor) -> None:
        parts = flat.split([shape.numel() for shape in self.shapes])
        for name, part, shape in zip(self.names, parts, self.shapes, strict=True):
            self.gradient[name] += part.reshape(shape)

    def _probe(self) -> tuple[Tensor, Tensor]:
        """Jacobians of one step at a random point: ds'/dtheta [S, K] and ds'/ds [S, S]."""
        generator = torch.Generator().manual_seed(0)
        draw = lambda n: torch.randn(n, generator=generator, dtype=torch.float64).to(self.state)
        theta = torch.cat([self.model.get_parameter(name).detach().flatten() for name in self.names])
        theta = theta + 0.1 * draw(len(theta))
        x = draw(self.model.cell.input_size)

        def following(theta: Tensor, packed: Tensor) -> Tensor:
            parts = theta.split([shape.numel() for shape in self.shapes])
            values = {n: p.reshape(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}
            named = {f"model.{n}": v for n, v in values.items()}
            return functional_call(_Step(self.model), named, (x[None], packed[None]))[1][0]

        return jacrev(following, argnums=(0, 1))(theta, draw(self.state.shape[-1]))

    def _immediate_pattern(self) -> Tensor:
        return (self._probe()[0] != 0).to(self.state.dtype)

    def _find_units(self) -> None:
        """Which dimension of each parameter counts units, checked on the Jacobians of one step."""
        by_theta, by_state = self._probe()
        S = self.state.shape[-1]
        n = int(getattr(self.model.cell, "hidden_size", S))
        unit = torch.arange(S) % n
        if S % n or (by_state[unit[:, None] != unit[None, :]] != 0).any():
            raise ValueError(
                f"the units of {type(self.model.cell).__name__} act on each other; the diagonal form is exact only for "
                "cells such as 'lru', 'linoss' and uncoupled oscillators: use method='exact' or 'snap1'"
            )
        self.fields, self.unit_dim = S // n, {}
        position = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            block = by_theta[:, position : position + shape.numel()].reshape(S, *shape)
            position += shape.numel()
            if not (block != 0).any():
                continue
            fits = [d for d, size in enumerate(shape) if size == n and _only_own(block, d, unit)]
            if not fits:
                raise ValueError(f"the parameter {name} acts on several units at once; use method='exact'")
            self.unit_dim[name] = fits[0]

    def _diagonal_step(self, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        values = {name: self.model.get_parameter(name).detach() for name in self.names}
        n = self.state.shape[-1] // self.fields

        def row(values: dict[str, Tensor], packed: Tensor, x: Tensor, target: Tensor) -> tuple[Any, Any]:
            loss, following = self._apply(values, packed, x, target)
            return torch.cat([loss[None], following.reshape(self.fields, n).sum(1)]), (loss, following)

        slopes, (loss, following) = vmap(jacrev(row, argnums=(0, 1), has_aux=True), (None, 0, 0, 0))(
            values, self.state, x, target
        )
        by_value, by_state = slopes
        by_state = by_state.reshape(len(x), self.fields + 1, self.fields, n)  # [B, loss and fields', fields, n]
        for name in self.names:
            direct = by_value[name]  # [B, 1 + fields, *shape]
            total = direct[:, 0]
            if name in self.unit_dim:
                shape = [len(x), *(n if d == self.unit_dim[name] else 1 for d in range(values[name].dim()))]
                old = self.traces[name]
                total = total + sum(by_state[:, 0, j].reshape(shape) * old[j] for j in range(self.fields))
                self.traces[name] = [
                    direct[:, 1 + i] + sum(by_state[:, 1 + i, j].reshape(shape) * old[j] for j in range(self.fields))
                    for i in range(self.fields)
                ]
            self.gradient[name] += torch.einsum("b,b...->...", weight, total)
        self.state = following
        return loss * weight


class _Step(torch.nn.Module):
    """One step of a model on packed states: input [B, I'] and state [B, S] to output [B, O] and state [B, S]."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        z, state = self.model.cell(x, unpack(self.model.cell, packed))
        return self.model.readout(z, x), pack(state)


def _only_own(block: Tensor, dim: int, unit: Tensor) -> bool:
    """Whether entry i of the parameter's dimension touches states of unit i only."""
    moved = block.movedim(dim + 1, 1).abs().reshape(len(block), block.shape[dim + 1], -1).sum(-1)  # [S, n]
    others = unit[:, None] != torch.arange(moved.shape[1])[None]
    return not (moved[others] != 0).any()


def forward_gradient(
    model: Model,
    us: Tensor,
    ys: Tensor,
    mask: Tensor | None = None,
    *,
    method: str = "exact",
    leak: float = 0.0,
    objective: Objective = squared_error,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient, summed over steps and rows, by running forward once over inputs [T, B, I].

    Raises:
        ValueError: see `OnlineGradient`.
    """
    online = OnlineGradient(model, us.shape[1], method=method, leak=leak, objective=objective)
    total = 0.0
    for t in range(len(us)):
        total += float(online.step(us[t], ys[t], None if mask is None else mask[t]).sum())
    return total, online.take()


def cosine(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Cosine of the angle between two gradients.

    >>> round(cosine({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([1.0, 1.0])}), 4)
    0.7071
    """
    a = torch.cat([one[name].flatten() for name in one])
    b = torch.cat([other[name].flatten() for name in one])
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))
