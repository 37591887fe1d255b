"""Sensitivity to the initial state: small pushes followed, and where far-apart starts end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result
from rnn.analysis.step_map import StepMap
from rnn.cell import Cell

__all__ = ["EndMap", "Separation", "end_map", "follow_push"]


@dataclass(frozen=True, eq=False)
class Separation(Result):
    """The distance between pushed runs and the run that was not pushed.

    Attributes:
        distance: by step and push [T + 1, K].
        dt: seconds per step.
    """

    distance: Tensor
    dt: float

    @property
    def growth(self) -> Tensor:
        """`ln(d_T / d_0) / (T dt)` by push [K]; compare the largest Lyapunov exponent."""
        steps = len(self.distance) - 1
        return (self.distance[-1] / self.distance[0]).log() / (steps * self.dt)

    def draw(self, axes: Axes) -> None:
        time = torch.arange(len(self.distance)) * self.dt
        axes.semilogy(time, self.distance.clamp(min=1e-17), color="tab:blue", alpha=0.3, lw=0.8)
        mean = self.distance.clamp(min=1e-17).log().mean(1).exp()
        axes.semilogy(time, mean, color="black", label=f"mean, growth {float(self.growth.mean()):.3g} per unit time")
        axes.set(xlabel="time", ylabel="distance", title="a push of the first state, followed")
        axes.legend()


def follow_push(
    cell: Cell,
    xs: Tensor | None = None,
    state: Any = None,
    *,
    steps: int = 100,
    size: float = 1e-6,
    pushes: int = 32,
    seed: int = 0,
) -> Separation:
    """Push the first state in random directions and follow the distance to the run that was not pushed.

    Args:
        cell: any cell.
        xs: inputs [T, 1, I], or one constant input [I], or None for zero.
        state: first state, one row; None for the cell's own.
        steps: followed, where xs does not say.
        size: length of the push.
        pushes: K.
        seed: of the directions.

    >>> from rnn.linear import LinearCell
    >>> half = LinearCell.from_matrices(*(torch.tensor([[w]]) for w in (0.0, 1.0, 1.0, 0.5)))
    >>> round(follow_push(half, steps=10).growth.exp().mean().item(), 6)
    0.5
    """
    course = xs.detach().double() if xs is not None and xs.dim() == 3 else None
    system = StepMap(cell, None if course is not None else xs)
    s = (system.initial() if state is None else system.packed(state))[:1]
    draw = torch.randn(pushes, system.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.cat([s, s + size * draw / draw.norm(dim=1, keepdim=True)])
    orbit = system.orbit(rows, steps if course is None else len(course), course)
    return Separation(system.difference(orbit[:, 1:], orbit[:, :1]).norm(dim=-1), system.dt)


@dataclass(frozen=True, eq=False)
class EndMap(Result):
    """The last state as a function of one entry of the first.

    Attributes:
        first: values of that entry at the start [n].
        last: and at the end [n].
        entry: its number. steps: between them.
    """

    first: Tensor
    last: Tensor
    entry: int
    steps: int

    @property
    def steepest(self) -> float:
        """Largest slope between neighbours."""
        return float((self.last.diff() / self.first.diff()).abs().max())

    def draw(self, axes: Axes) -> None:
        axes.plot(self.first, self.last, lw=1)
        axes.set(xlabel="at the start", ylabel=f"after {self.steps} steps", title=f"entry {self.entry} of the state")


def end_map(cell: Cell, first: Tensor, x: Tensor | None = None, *, entry: int = 0, steps: int = 100) -> EndMap:
    """Start from many values of one entry of the state, the rest as the cell begins, and see where it ends.

    Args:
        cell: any cell.
        first: values [n].
        x: constant input [I].
        entry: which number of the packed state.
        steps: to the end.
    """
    system = StepMap(cell, x)
    s = system.initial(len(first)).clone()
    s[:, entry] = first.double()
    return EndMap(first, system.orbit(s, steps)[-1][:, entry], entry, steps)
