"""Lyapunov exponents: how fast neighbouring states part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result
from rnn.analysis.step_map import ROWS, StepMap
from rnn.cell import Cell

__all__ = ["Lyapunov", "kaplan_yorke", "lyapunov_exponents"]


@dataclass(frozen=True, eq=False)
class Lyapunov(Result):
    """A Lyapunov spectrum, largest first.

    Attributes:
        exponents: per second if the cell has a time step `dt`, else per step, [k].
        error: standard error over the runs of the batch, [k]; NaN for a single run.
        runs: exponents of every run [B, k].
        course: estimate of the exponents as the run grows, mean over the batch [n, k].
    """

    exponents: Tensor
    error: Tensor
    runs: Tensor
    course: Tensor

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension of the attractor; exponents within a thousandth of the largest modulus count as 0."""
        finite = self.exponents[self.exponents.isfinite()]
        floor = 1e-3 * float(finite.abs().max()) if len(finite) else 0.0
        return kaplan_yorke(torch.where(self.exponents.abs() < floor, 0.0, self.exponents))

    @property
    def entropy(self) -> float:
        """Entropy rate, the sum of the positive exponents (Pesin)."""
        return float(self.exponents.clamp(min=0).sum())

    def draw(self, axes: Axes) -> None:
        shown = self.exponents[self.exponents.isfinite()]
        axes.plot(torch.arange(1, len(shown) + 1), shown, "o-", ms=3)
        axes.axhline(0, color="grey", lw=0.8)
        axes.set(xlabel="number", ylabel="exponent", title=f"Lyapunov spectrum, dimension {self.dimension:.2f}")


def lyapunov_exponents(
    cell: Cell,
    xs: Tensor | None = None,
    state: Any = None,
    *,
    steps: int = 1000,
    transient: int = 100,
    count: int | None = None,
    batch: int = 8,
    spread: float = 0.1,
    seed: int = 0,
) -> Lyapunov:
    r"""Push an orthonormal frame through the Jacobians and average the logarithms of its stretching.

    .. math:: J_t Q_t = Q_{t+1} R_{t+1}, \qquad \lambda_i = \langle \ln |R_{ii}| \rangle / dt

    Source: "Lyapunov characteristic exponents for smooth dynamical systems" (Benettin et al., 1980).

    Args:
        cell: any cell.
        xs: inputs: None for zero, [I] constant, or [transient + steps, B, I].
        state: first states, [B, S] packed or a state; None for the cell's own, spread out at random.
        steps: steps averaged over.
        transient: steps before, in which the state settles and the frame turns.
        count: k, number of exponents; None for all.
        batch: runs side by side, if neither xs nor state says.
        spread: standard deviation of the first states about the cell's own.
        seed: of the spread and of the first frame.

    Raises:
        FloatingPointError: a run diverges.

    >>> from rnn.linear import LinearCell
    >>> D = torch.diag(torch.tensor([0.5, 2.0]))
    >>> cell = LinearCell.from_matrices(torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(2, 1), D)
    >>> lyapunov_exponents(cell, steps=50, transient=20, batch=1).exponents.exp().tolist()  # doctest: +ELLIPSIS
    [2.0..., 0.5...]
    """
    course = xs.detach().double() if xs is not None and xs.dim() == 3 else None
    system = StepMap(cell, xs if course is None else None)
    generator = torch.Generator().manual_seed(seed)
    if state is None:
        batch = batch if course is None else course.shape[1]
        s = system.initial(batch)
        s = s + spread * torch.randn(s.shape, generator=generator, dtype=torch.float64)
    else:
        s = system.packed(state)
    batch = len(s)
    k = system.size if count is None else min(count, system.size)
    frame = torch.linalg.qr(torch.randn(batch, system.size, k, generator=generator, dtype=torch.float64))[0]
    walk = _by_direction if 3 * k <= system.size else _by_jacobian
    logs = torch.cat(list(walk(system, s, frame, transient + steps, course)))
    stretch = logs[transient:] / system.dt  # [steps, B, k]
    runs = stretch.mean(0)
    runs = runs.sort(dim=1, descending=True).values
    error = runs.std(0) / batch**0.5 if batch > 1 else torch.full((k,), torch.nan, dtype=torch.float64)
    estimate = stretch.mean(1).cumsum(0) / torch.arange(1, steps + 1)[:, None]
    return Lyapunov(runs.mean(0), error, runs, estimate)


def _by_jacobian(system: StepMap, s: Tensor, frame: Tensor, steps: int, course: Tensor | None) -> Iterator[Tensor]:
    """Logarithms of the stretching [n, B, k], with the Jacobians of many steps in one batch."""
    chunk = max(1, ROWS // (len(s) * system.size))
    for first in range(0, steps, chunk):
        n = min(chunk, steps - first)
        inputs = None if course is None else course[first : first + n]
        states = system.orbit(s, n, inputs)
        s, logs = states[-1], []
        for jacobian in system.jacobians(states[:-1], inputs):
            frame, R = torch.linalg.qr(jacobian @ frame)
            logs.append(R.diagonal(dim1=1, dim2=2).abs().log())
        yield torch.stack(logs)


def _by_direction(system: StepMap, s: Tensor, frame: Tensor, steps: int, course: Tensor | None) -> Iterator[Tensor]:
    """The same step by step, for few exponents of a large state."""
    for t in range(steps):
        s, pushed = system.push(s, frame, None if course is None else course[t])
        if not bool(s.isfinite().all()):
            raise FloatingPointError(
                f"the state is not finite after {t + 1} steps; the network diverges from this start"
            )
        frame, R = torch.linalg.qr(pushed)
        yield R.diagonal(dim1=1, dim2=2).abs().log()[None]


def kaplan_yorke(exponents: Tensor) -> float:
    r"""Dimension `j + \sum_{i \le j} \lambda_i / |\lambda_{j+1}|`, j the last with a non-negative sum.

    >>> round(kaplan_yorke(torch.tensor([0.9056, 0.0, -14.572])), 3)  # Lorenz's attractor
    2.062
    """
    sums = exponents.cumsum(0)
    j = int((sums >= 0).sum())
    if j == 0 or j == len(exponents):
        return float(j)
    return j + float(sums[j - 1] / exponents[j].abs())
