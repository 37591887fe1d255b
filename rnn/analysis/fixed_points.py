"""Fixed points of a network under constant input, their stability and time scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result
from rnn.analysis.step_map import StepMap
from rnn.cell import Cell
from rnn.edits import Edit

__all__ = ["FixedPoints", "fixed_points"]


@dataclass(frozen=True, eq=False)
class FixedPoints(Result):
    """Fixed points `s = F(s, x)`, the stable first.

    Attributes:
        states: packed states [N, S].
        q: `0.5 ||F(s) - s||^2` after polishing [N].
        eigenvalues: of the Jacobian, largest modulus first [N, S], complex.
        hits: how many of the starts ended in each [N].
        dt: seconds per step (1 if the cell has no time step).
    """

    states: Tensor
    q: Tensor
    eigenvalues: Tensor
    hits: Tensor
    dt: float

    def __len__(self) -> int:
        return len(self.states)

    @property
    def unstable_directions(self) -> Tensor:
        """How many eigenvalues lie outside the unit circle [N]."""
        return (self.eigenvalues.abs() > 1 + 1e-9).sum(1)

    @property
    def stable(self) -> Tensor:
        """Whether all eigenvalues lie inside the unit circle [N]."""
        return (self.eigenvalues.abs() < 1).all(1)

    @property
    def time_constants(self) -> Tensor:
        """`-dt / ln |lambda|` of every direction, seconds; negative where it grows [N, S]."""
        return -self.dt / self.eigenvalues.abs().clamp(min=1e-300).log()

    @property
    def frequencies(self) -> Tensor:
        """`|arg lambda| / (2 pi dt)` of every direction, Hz [N, S]."""
        return self.eigenvalues.angle().abs() / (2 * math.pi * self.dt)

    def draw(self, axes: Axes) -> None:
        angle = torch.linspace(0, 2 * math.pi, 200)
        axes.plot(angle.cos(), angle.sin(), color="grey", lw=0.8)
        grows = self.unstable_directions > 0
        kinds = {"stable": self.stable, "neutral": ~self.stable & ~grows, "unstable": grows}
        for (name, kind), colour in zip(kinds.items(), ("tab:blue", "grey", "tab:red"), strict=True):
            values = self.eigenvalues[kind].flatten()
            if len(values):
                axes.plot(values.real, values.imag, ".", color=colour, label=f"{int(kind.sum())} {name}")
        axes.set(xlabel="real", ylabel="imaginary", title="eigenvalues at the fixed points", aspect="equal")
        if len(self):
            axes.legend()


def fixed_points(
    cell: Cell,
    states: Any,
    x: Tensor | Sequence[float] | None = None,
    *,
    edits: Sequence[Edit] = (),
    adam_steps: int = 200,
    learning_rate: float = 0.05,
    newton_steps: int = 60,
    tolerance: float = 1e-20,
    distinct: float = 1e-4,
) -> FixedPoints:
    r"""Find fixed points from many starts at once: Adam on q, then Newton's method in float64.

    .. math:: q(s) = \tfrac12 \|F(s, x) - s\|^2, \qquad s \leftarrow s - (J - I)^{-1} (F(s, x) - s)

    Newton steps that raise q are halved. Source: "Opening the black box: low-dimensional dynamics in high-dimensional
    recurrent neural networks" (Sussillo & Barak, 2013).

    Args:
        cell: any cell.
        states: starts, packed [B, S] or a state; best taken from runs of the network.
        x: constant input [I]; None for zero.
        edits: edits that act at every step.
        adam_steps: 0 to go to Newton's method at once.
        learning_rate: of Adam.
        newton_steps: at most.
        tolerance: largest q of a fixed point.
        distinct: two points nearer than this (relative to the size of the state) are one.

    >>> from rnn.linear import LinearCell
    >>> cell = LinearCell.from_matrices(*(torch.tensor([[w]]) for w in (0.0, 1.0, 1.0, 0.5)))
    >>> fixed_points(cell, torch.zeros(1, 1), [1.0]).states.item()
    2.0
    """
    system = StepMap(cell, x, edits=edits)
    s = _descend(system, system.packed(states).clone(), adam_steps, learning_rate)
    s, q = _newton(system, s, newton_steps)
    good = q < tolerance
    keep, hits = _distinct(system, s[good], q[good], distinct)
    states, q = s[good][keep], q[good][keep]
    eigenvalues = torch.linalg.eigvals(system.jacobian(states)) if len(states) else torch.zeros(0, system.size) + 0j
    order = eigenvalues.abs().argsort(dim=1, descending=True)
    eigenvalues = eigenvalues.gather(1, order)
    rank = (eigenvalues.abs() > 1).sum(1).argsort(stable=True)
    return FixedPoints(states[rank], q[rank], eigenvalues[rank], hits[rank], system.dt)


def _miss(system: StepMap, s: Tensor) -> Tensor:
    return system.difference(system(s), s)


def _descend(system: StepMap, s: Tensor, steps: int, rate: float) -> Tensor:
    if not steps:
        return s
    s = s.requires_grad_(True)
    optimiser = torch.optim.Adam([s], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, rate / 100)
    for _ in range(steps):
        optimiser.zero_grad()
        (0.5 * _miss(system, s).square().sum()).backward()
        optimiser.step()
        schedule.step()
    return s.detach()


def _newton(system: StepMap, s: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    eye = torch.eye(system.size, dtype=torch.float64)
    with torch.no_grad():
        miss = _miss(system, s)
        q = 0.5 * miss.square().sum(1)
        for _ in range(steps):
            active = (q > 1e-28) & q.isfinite()
            if not bool(active.any()):
                break
            towards = -_least_squares(system.jacobian(s[active]) - eye, miss[active])
            length = torch.ones(int(active.sum()), 1, dtype=torch.float64)
            start, before = s[active], q[active]
            for _ in range(12):
                trial = start + length * towards
                after = 0.5 * _miss(system, trial).square().sum(1)
                worse = ~(after < before)
                if not bool(worse.any()):
                    break
                length = torch.where(worse[:, None], length / 2, length)
            better = (after < before)[:, None]
            s[active] = torch.where(better, trial, start)
            miss = _miss(system, s)
            q = 0.5 * miss.square().sum(1)
            if not bool(better.any()):
                break
    return s, q


def _least_squares(matrix: Tensor, right: Tensor) -> Tensor:
    """The shortest solution of `matrix z = right`, row by row, singular or not."""
    return (torch.linalg.pinv(matrix, rtol=1e-10) @ right.unsqueeze(-1)).squeeze(-1)


def _distinct(system: StepMap, s: Tensor, q: Tensor, distance: float) -> tuple[Tensor, Tensor]:
    """Indices of one representative per cluster, and the size of the clusters."""
    left, keep, hits = torch.arange(len(s)), [], []
    scale = 1 + s.norm(dim=1).mean() if len(s) else 1.0
    while len(left):
        first = left[q[left].argmin()]
        near = system.difference(s[left], s[first]).norm(dim=1) < distance * scale
        keep.append(int(first))
        hits.append(int(near.sum()))
        left = left[~near]
    return torch.tensor(keep, dtype=torch.long), torch.tensor(hits, dtype=torch.long)
