"""Dynamical systems with known answers, as cells: exact maps and flows stepped by Runge-Kutta."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rnn.cell import Cell, Tap, no_tap

__all__ = ["FlowCell", "MapCell", "henon", "logistic", "lorenz", "stuart_landau", "van_der_pol"]


class FlowState(NamedTuple):
    h: Tensor


class MapCell(Cell):
    """Any map as a cell, `h_t = f(x_t, h_{t-1})`.

    Args:
        f: from x [B, I] and h [B, H] to the next h.
        input_size: I.
        hidden_size: H.
        start: h before the first step, [H]; zero by default.

    >>> cell = MapCell(lambda x, h: 4 * h * (1 - h), 1, 1)
    >>> cell(torch.zeros(1, 1), FlowState(torch.tensor([[0.75]])))[0].item()
    0.75
    """

    def __init__(
        self, f: Callable[[Tensor, Tensor], Tensor], input_size: int, hidden_size: int, *, start: Tensor | None = None
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.f = f
        self.register_buffer("start", torch.zeros(hidden_size) if start is None else start)
        self.start: Tensor

    def initial_state(self, batch: int) -> FlowState:
        return FlowState(self.start.expand(batch, -1).clone())

    def advance(self, x: Tensor, h: Tensor) -> Tensor:
        """The next h."""
        return self.f(x, h)

    def forward(self, x: Tensor, state: FlowState, tap: Tap = no_tap) -> tuple[Tensor, FlowState]:
        h = tap("h", self.advance(tap("input", x), state.h))
        return h, FlowState(h)


class FlowCell(MapCell):
    """Any flow `h' = f(x, h)`, one classical Runge-Kutta step of fourth order per time step dt (s).

    Args:
        f: the field. input_size: I. hidden_size: H. dt: step. start: h before the first step.
    """

    def __init__(
        self,
        f: Callable[[Tensor, Tensor], Tensor],
        input_size: int,
        hidden_size: int,
        *,
        dt: float,
        start: Tensor | None = None,
    ):
        super().__init__(f, input_size, hidden_size, start=start)
        self.dt = float(dt)

    def advance(self, x: Tensor, h: Tensor) -> Tensor:
        k1 = self.f(x, h)
        k2 = self.f(x, h + self.dt / 2 * k1)
        k3 = self.f(x, h + self.dt / 2 * k2)
        k4 = self.f(x, h + self.dt * k3)
        return h + self.dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def lorenz(dt: float = 0.01) -> FlowCell:
    """Deterministic Nonperiodic Flow (Lorenz, 1963): sigma 10, rho 28, beta 8/3."""

    def field(x: Tensor, h: Tensor) -> Tensor:
        a, b, c = h.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)

    return FlowCell(field, 1, 3, dt=dt, start=torch.tensor([1.0, 1.0, 20.0], dtype=torch.float64))


def henon() -> MapCell:
    """A Two-dimensional Mapping with a Strange Attractor (Henon, 1976): a = 1.4, b = 0.3."""
    return MapCell(lambda x, h: torch.stack([1 - 1.4 * h[:, 0] ** 2 + h[:, 1], 0.3 * h[:, 0]], -1), 1, 2)


def logistic(r: float = 4.0) -> MapCell:
    """The logistic map `h <- r h (1 - h)`."""
    return MapCell(lambda x, h: r * h * (1 - h), 1, 1, start=torch.tensor([0.3], dtype=torch.float64))


def van_der_pol(mu: float = 1.0, dt: float = 0.02) -> FlowCell:
    """On "relaxation-oscillations" (van der Pol, 1926): `x'' = mu (1 - x^2) x' - x`, pushed by the input."""

    def field(x: Tensor, h: Tensor) -> Tensor:
        return torch.stack([h[:, 1], mu * (1 - h[:, 0] ** 2) * h[:, 1] - h[:, 0] + x[:, 0]], -1)

    return FlowCell(field, 1, 2, dt=dt, start=torch.tensor([2.0, 0.0], dtype=torch.float64))


def stuart_landau(mu: float = 1.0, omega: float = 2.0, dt: float = 0.02) -> FlowCell:
    """The normal form of a Hopf bifurcation, `r' = (mu + x - r^2) r`, `phi' = omega`, in the plane; x is the input."""

    def field(x: Tensor, h: Tensor) -> Tensor:
        growth = mu + x[:, :1] - (h * h).sum(-1, keepdim=True)
        return growth * h + omega * torch.stack([-h[:, 1], h[:, 0]], -1)

    return FlowCell(field, 1, 2, dt=dt, start=torch.tensor([1.0, 0.0], dtype=torch.float64))
