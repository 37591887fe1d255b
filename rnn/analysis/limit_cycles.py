"""Limit cycles: period, Floquet multipliers and phase-response curves of a network that keeps a rhythm."""

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

__all__ = ["LimitCycle", "NoRhythm", "find_period", "limit_cycle"]


NEUTRAL = 1e-6  # a multiplier this near to 1 counts as 1


class NoRhythm(ValueError):
    """The network does not oscillate here."""


@dataclass(frozen=True, eq=False)
class LimitCycle(Result):
    """A closed orbit of a network under constant input.

    Attributes:
        steps: length of a turn in steps, a real number.
        dt: seconds per step (1 if the cell has no time step).
        states: packed states along one turn, one per step [n, S]; the next, within a step, is the first again.
        outputs: outputs of those steps [n, O].
        residual: distance by which the orbit fails to close.
        multipliers: Floquet multipliers, largest modulus first [S], complex. One is 1 (along the cycle).
        response: infinitesimal phase response, cycles of lasting advance per unit added to each entry of the state,
            by step [n, S].
        input_response: the same per unit of each input and second of its duration, by step [n, I].
    """

    steps: float
    dt: float
    states: Tensor
    outputs: Tensor
    residual: float
    multipliers: Tensor
    response: Tensor
    input_response: Tensor

    @property
    def period(self) -> float:
        """Duration of a turn, s."""
        return self.steps * self.dt

    @property
    def frequency(self) -> float:
        """Turns per second."""
        return 1 / self.period

    @property
    def neutral(self) -> int:
        """Directions besides the one along the cycle in which a push neither fades nor grows (silent oscillators)."""
        return max(0, int(((self.multipliers - 1).abs() < NEUTRAL).sum()) - 1)

    @property
    def contraction(self) -> float:
        """Largest modulus of the multipliers across the cycle: below 1, a push fades by this factor in each turn.

        The multiplier nearest to 1 is the one along the cycle; others that equal 1 are counted by `neutral`.
        """
        away = (self.multipliers - 1).abs()
        rest = self.multipliers[(away >= NEUTRAL) & (torch.arange(len(away)) != away.argmin())]
        return float(rest.abs().max()) if len(rest) else 0.0

    @property
    def stable(self) -> bool:
        """Whether no push grows."""
        return self.contraction < 1

    @property
    def phases(self) -> Tensor:
        """Phase of each state, cycles in [0, 1) [n]."""
        return torch.arange(len(self.states), dtype=torch.float64) / self.steps

    def draw(self, axes: Axes) -> None:
        most = self.input_response.abs().amax(0).argsort(descending=True)[:6]
        for i in most.tolist():
            axes.plot(self.phases, self.input_response[:, i], label=f"input {i}")
        axes.axhline(0, color="grey", lw=0.8)
        title = f"{self.frequency:.4g} turns per unit time, multiplier across {self.contraction:.2g}"
        axes.set(xlabel="phase, cycles", ylabel="advance, cycles per unit second", title=title)
        if len(most):
            axes.legend(fontsize="small", ncols=2)


def find_period(signal: Tensor, least: float = 0.3) -> float | None:
    """Period of a signal [T, n] in steps, from the first high peak of its autocorrelation; None without a rhythm.

    Args:
        signal: settled course of some units.
        least: autocorrelation that counts as a rhythm.

    >>> t = torch.arange(400)
    >>> round(find_period(torch.sin(2 * math.pi * t / 31.4)[:, None]), 1)
    31.4
    """
    centred = (signal - signal.mean(0)).double()
    if float(centred.std()) < 1e-6 * (1 + float(signal.abs().max())):
        return None
    n = len(centred)
    spectrum = torch.fft.rfft(centred, 2 * n, dim=0)
    correlation = torch.fft.irfft(spectrum.abs().square(), dim=0)[: n // 2].sum(1)
    correlation = correlation / torch.arange(n, n - n // 2, -1)
    correlation = correlation / correlation[0]
    below = (correlation < 0.5).nonzero()
    if not len(below):
        return None
    first = int(below[0])
    rest = correlation[first:]
    if len(rest) < 3 or float(rest.max()) < least:
        return None
    peaks = ((rest[1:-1] >= rest[:-2]) & (rest[1:-1] >= rest[2:]) & (rest[1:-1] > 0.9 * rest[1:-1].max())).nonzero()
    if not len(peaks):
        return None
    k = first + 1 + int(peaks[0])
    a, b, c = (float(correlation[i]) for i in (k - 1, k, k + 1))
    return k + 0.5 * (a - c) / (a - 2 * b + c)


def limit_cycle(
    cell: Cell,
    x: Tensor | Sequence[float] | None = None,
    state: Any = None,
    *,
    edits: Sequence[Edit] = (),
    transient: int = 500,
    watch: int = 500,
    iterations: int = 30,
    tolerance: float = 1e-9,
) -> LimitCycle:
    r"""Find the limit cycle that a network settles on, by shooting.

    Between the steps the orbit is a polynomial of fifth order in time, so that the period need not be a whole number
    of steps. Newton's method solves for a state on the section through the first guess and for the period P,

    .. math:: \Phi_P(s) - s = 0, \qquad f \cdot (s - s_0) = 0,

    the multipliers are the eigenvalues of `M = dPhi_P / ds`, and the phase response Z is its left eigenvector of
    eigenvalue 1, scaled to `Z . f = 1 / P` and carried round the cycle by the transposed Jacobians.

    Args:
        cell: any cell.
        x: constant input [I]; None for zero.
        state: where to start; None for the cell's own first state.
        edits: edits that act at every step.
        transient: steps left out at the start.
        watch: steps in which the period is looked for; if there is none, in four times as many.
        iterations: Newton steps at most.
        tolerance: largest residual, relative to the size of the state.

    Raises:
        NoRhythm: the network comes to rest, drifts or is irregular under this input.
    """
    system = StepMap(cell, x, edits=edits)
    start = system.initial() if state is None else system.packed(state)[:1]
    orbit = system.orbit(start, transient + watch)[transient:, 0]
    period = find_period(_seen(system, orbit))
    if period is None:  # perhaps a slow one
        orbit = torch.cat([orbit, system.orbit(orbit[-1:], 3 * watch)[1:, 0]])
        period = find_period(_seen(system, orbit))
    if period is None or period < 4:
        raise NoRhythm(
            "no rhythm of more than four steps in the settled run: the network rests, drifts or is irregular"
        )
    s, P, residual = _shoot(system, orbit[0], period, iterations)
    if not residual < tolerance * (1 + float(s.norm())):
        raise NoRhythm(f"the orbit does not close after {period:.1f} steps (off by {residual:.2g}); it is not periodic")
    return _describe(system, s, P, residual)


NODES = torch.arange(-2, 4, dtype=torch.float64)


def _weights(theta: float) -> tuple[Tensor, Tensor]:
    """Weights of the nodes for the value at theta, and their derivatives (Lagrange), each [6]."""
    value = torch.ones(6, dtype=torch.float64)
    slope = torch.zeros(6, dtype=torch.float64)
    for j in range(6):
        others = [k for k in range(6) if k != j]
        gaps = torch.stack([NODES[j] - NODES[k] for k in others])
        away = torch.stack([theta - NODES[k] for k in others])
        value[j] = (away / gaps).prod()
        slope[j] = sum((away[torch.arange(5) != m].prod() for m in range(5)), torch.tensor(0.0)) / gaps.prod()
    return value, slope


def _unwrapped(system: StepMap, s: Tensor, steps: int) -> Tensor:
    """Orbit [steps + 1, S] whose angles go on growing."""
    orbit = [s]
    with torch.no_grad():
        for _ in range(steps):
            last = orbit[-1]
            orbit.append(last + system.difference(system(last[None])[0], last))
    return torch.stack(orbit)


def _seen(system: StepMap, orbit: Tensor) -> Tensor:
    """A signal without jumps: angles as cosine and sine."""
    plain = orbit[:, ~system.angles]
    angles = orbit[:, system.angles]
    return torch.cat([plain, angles.cos(), angles.sin()], 1) if angles.shape[1] else plain


def _shoot(system: StepMap, s: Tensor, P: float, iterations: int) -> tuple[Tensor, float, float]:
    eye, size = torch.eye(system.size, dtype=torch.float64), system.size
    section = None
    best = (s, P, math.inf)
    for _ in range(iterations):
        n, theta = int(P), P - int(P)
        orbit = _unwrapped(system, s, n + 3)
        value, slope = _weights(theta)
        ends = orbit[n - 2 : n + 4]
        miss = system.difference(value @ ends, s)
        along = slope @ ends
        residual = float(miss.norm())
        if residual < best[2]:
            best = (s, P, residual)
        if residual < 1e-12 * (1 + float(s.norm())) or not math.isfinite(residual):
            break
        section = along if section is None else section
        M = _monodromy(system.jacobian(orbit[: n + 3]), n, value)
        top = torch.cat([M - eye, along[:, None]], 1)
        bottom = torch.cat([section, torch.zeros(1, dtype=torch.float64)])[None]
        matrix = torch.cat([top, bottom])
        right = torch.cat([-miss, torch.zeros(1, dtype=torch.float64)])
        change = torch.linalg.pinv(matrix, rtol=1e-9) @ right
        change = change * min(1.0, 0.2 * P / (abs(float(change[size])) + 1e-12))
        s, P = s + change[:size], P + float(change[size])
        if P < 4:
            break
    return best


def _monodromy(jacobians: Tensor, n: int, value: Tensor) -> Tensor:
    """`dPhi_P / ds` [S, S] from the Jacobians of the steps [n + 3 or more, S, S]."""
    product = torch.eye(jacobians.shape[-1], dtype=torch.float64)
    total = torch.zeros_like(product)
    for k in range(n + 4):
        if k >= n - 2:
            total = total + value[k - n + 2] * product
        if k < n + 3:
            product = jacobians[k] @ product
    return total


def _describe(system: StepMap, s: Tensor, P: float, residual: float) -> LimitCycle:
    n, ahead = int(P), 4
    value, slope = _weights(P - n)
    orbit = _unwrapped(system, s, n + 3 + ahead)
    jacobians = system.jacobian(orbit[:-1])
    M = _monodromy(jacobians, n, value)
    multipliers = torch.linalg.eigvals(M)
    multipliers = multipliers[multipliers.abs().argsort(descending=True)]
    flow = slope @ orbit[n - 2 : n + 4]
    _, singular, right = torch.linalg.svd((M - torch.eye(system.size, dtype=torch.float64)).T)
    null = right[singular < max(1e-6 * float(singular[0]), 2 * float(singular[-1]))]
    across = null @ flow
    Z0 = (across / across.square().sum() / P) @ null  # the shortest row with Z M = Z and Z . flow = 1 / P
    count = n + 1 + ahead
    first = _carried_back(Z0, jacobians, n, 0, value)[: n - 2]
    second = _carried_back(first[ahead], jacobians, n, ahead, value)[n - 2 : count]
    response = torch.cat([first, second])
    x = system.x.expand(count, -1).clone().requires_grad_(True)
    following, outputs = system.step(orbit[:count], x)
    input_response = torch.zeros(n + 1, len(system.x), dtype=torch.float64)
    (pull,) = torch.autograd.grad((response[1 : n + 2] * following[: n + 1]).sum(), x, allow_unused=True)
    if pull is not None:
        input_response = pull[: n + 1] / system.dt
    outputs = outputs.detach()[: n + 1]
    return LimitCycle(P, system.dt, orbit[: n + 1], outputs, residual, multipliers, response[: n + 1], input_response)


def _carried_back(Z: Tensor, jacobians: Tensor, n: int, start: int, value: Tensor) -> Tensor:
    """Phase response at the states before `start + n - 2`, [n + 4 + start, S], from that at state `start`."""
    last = start + n + 3
    rows = torch.zeros(last + 1, len(Z), dtype=torch.float64)
    z = value[5] * Z
    rows[last] = z
    for k in range(last - 1, -1, -1):
        z = z @ jacobians[k]
        node = k - start - n + 2
        if node >= 0:
            z = z + value[node] * Z
        rows[k] = z
    return rows
