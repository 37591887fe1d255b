"""Branches of fixed points as a weight or an input varies: folds, pitchforks, Hopf points."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.func import functional_call

from rnn.analysis.fixed_points import fixed_points
from rnn.analysis.result import Result
from rnn.analysis.step_map import StepMap
from rnn.cell import Cell
from rnn.edits import Edit
from rnn.model import pack, unpack

__all__ = ["Branch", "Family", "Special", "continue_branch", "other_branch"]


class Family:
    """A cell whose behaviour depends on one number p: an input, or one entry (or all) of a parameter.

    Args:
        cell: any cell.
        vary: `input[2]`, or the name of a parameter with an index, `weight_hh[0,1]`; without one all its entries are p.
        x: the constant input [I]; None for zero.
        edits: edits that act at every step.

    Raises:
        ValueError: there is no such input or parameter.
    """

    def __init__(self, cell: Cell, vary: str, x: Tensor | Sequence[float] | None = None, *, edits: Sequence[Edit] = ()):
        self.system = StepMap(cell, x, edits=edits)
        name, _, index = vary.partition("[")
        self.name, self.index = name, tuple(int(i) for i in index.rstrip("]").split(",")) if index else None
        self.parameters = {**dict(self.system.cell.named_parameters()), **dict(self.system.cell.named_buffers())}
        if name != "input" and name not in self.parameters:
            raise ValueError(f"nothing to vary is called {name!r}; there are input, {', '.join(self.parameters)}")
        self.label = vary

    def step(self, s: Tensor, p: Tensor) -> Tensor:
        """F(s; p) [B, S] for states [B, S] and one number p []."""
        system = self.system
        x = system.x
        if self.name == "input":
            x = self._put(x, p)
            return system(s, x)
        value = self._put(self.parameters[self.name], p)
        state = unpack(system.cell, s)
        _, following = functional_call(
            system.cell, {self.name: value}, (x.expand(len(s), -1), state), {"tap": system.tap()}
        )
        return pack(following).expand(len(s), -1)

    def _put(self, old: Tensor, p: Tensor) -> Tensor:
        if self.index is None:
            return p.expand_as(old)
        mask = torch.zeros_like(old, dtype=torch.bool)
        mask[self.index] = True
        return torch.where(mask, p, old)

    def at(self, p: float) -> Cell:
        """A copy of the cell with the parameter set."""
        cell = copy.deepcopy(self.system.cell)
        if self.name != "input":
            value = dict(cell.named_parameters()) | dict(cell.named_buffers())
            with torch.no_grad():
                value[self.name].copy_(self._put(self.parameters[self.name], torch.tensor(p).double()))
        return cell

    def input_at(self, p: float) -> Tensor:
        """The input at p."""
        return self._put(self.system.x, torch.tensor(p).double()) if self.name == "input" else self.system.x

    def linearised(self, s: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`F(s) - s` [S], `dF/ds` [S, S] and `dF/dp` [S] at one state [S]."""
        size = self.system.size
        with torch.enable_grad():
            rows = s.detach().expand(size, -1).clone().requires_grad_(True)
            p = p.detach().requires_grad_(True)
            following = self.step(rows, p)
            (J,) = torch.autograd.grad(following.diagonal().sum(), rows, retain_graph=True, allow_unused=True)
            J = torch.zeros(size, size, dtype=torch.float64) if J is None else J
            Fp = torch.zeros(size, dtype=torch.float64)
            for i in range(size):
                (g,) = torch.autograd.grad(following[0, i], p, retain_graph=True, allow_unused=True)
                Fp[i] = 0.0 if g is None else g
        return self.system.difference(following[0].detach(), s), J, Fp


@dataclass(frozen=True)
class Special:
    """A point of a branch where something changes: a fold, a branching point, a Hopf point or a doubling of the period.

    Attributes:
        kind: "fold", "branching" (a pitchfork, by symmetry, or a transcritical point), "hopf" or "doubling".
        parameter: p there.
        state: packed state there [S].
        frequency: of the rhythm that is born at a Hopf point, Hz.
    """

    kind: str
    parameter: float
    state: Tensor
    frequency: float = 0.0


@dataclass(frozen=True, eq=False)
class Branch(Result):
    """A curve of fixed points.

    Attributes:
        parameters: p along the curve [n].
        states: packed states [n, S].
        stable: whether each is stable [n].
        special: where something changes.
        label: what p is.
    """

    parameters: Tensor
    states: Tensor
    stable: Tensor
    special: tuple[Special, ...]
    label: str

    def draw(self, axes: Axes) -> None:
        first = self.states[:, 0]
        nothing = torch.full_like(first, torch.nan)
        axes.plot(self.parameters, torch.where(self.stable, first, nothing), color="tab:blue", label="stable")
        axes.plot(self.parameters, torch.where(self.stable, nothing, first), "--", color="tab:red", label="unstable")
        for point in self.special:
            axes.plot(point.parameter, point.state[0], "ko", ms=4)
            axes.annotate(f"{point.kind} {point.parameter:.4g}", (point.parameter, float(point.state[0])), fontsize=8)
        axes.set(xlabel=self.label, ylabel="first entry of the state", title="fixed points")


def continue_branch(
    family: Family,
    state: Any,
    start: float,
    stop: float,
    *,
    step: float = 0.02,
    most: int = 2000,
    direction: Tensor | None = None,
) -> Branch:
    r"""Follow a fixed point through folds, by pseudo-arclength.

    Predict along the tangent of the curve `F(s; p) - s = 0`, correct by Newton's method on the plane across it. Folds
    are where the tangent turns in p, branching points where `det(J - I)` changes sign without that, Hopf points where
    a complex pair crosses the unit circle, doublings where an eigenvalue passes -1. Each is located by bisection of
    the step, to about 1e-8 of its length.

    Source: "Numerical solution of bifurcation and nonlinear eigenvalue problems" (Keller, 1977).

    Args:
        family: what varies.
        state: packed state near a fixed point at `start`.
        start: p there.
        stop: p where to end; the curve also ends when p comes back past start.
        step: arclength from point to point.
        most: points at most.
        direction: first tangent [S + 1], to leave a branching point sideways; None to go towards `stop`.

    Raises:
        ValueError: no fixed point is found at the start.
    """
    s, p = family.system.packed(state)[0], torch.tensor(start).double()
    if direction is None:
        found = fixed_points(family.at(start), s[None], family.input_at(start), adam_steps=0)
        if not len(found):
            raise ValueError(f"no fixed point is found at {family.label} = {start} from the given state")
        s = found.states[0]
    point = torch.cat([s, p[None]])
    tangent = _tangent(family, point, None if direction is None else direction.double())
    if direction is None and tangent[-1] * (stop - start) < 0:
        tangent = -tangent
    low, high = min(start, stop), max(start, stop)
    points, special, marks = [point], [], [_marks(family, point, tangent)]
    while len(points) < most:
        following = _advance(family, point, tangent, step)
        if following is None:
            break
        after = _tangent(family, following, tangent)
        mark = _marks(family, following, after)
        if direction is None or len(points) > 1:  # a branch that leaves sideways begins at a special point
            special += _crossings(family, point, tangent, marks[-1], mark, step)
        point, tangent = following, after
        points.append(point)
        marks.append(mark)
        if not low - 1e-9 <= float(point[-1]) <= high + 1e-9:
            break
    curve = torch.stack(points)
    stable = torch.tensor([bool((m[3].abs() < 1).all()) for m in marks])
    return Branch(curve[:, -1], curve[:, :-1], stable, tuple(special), family.label)


def other_branch(family: Family, point: Special, stop: float, *, side: int = 1, step: float = 0.02) -> Branch:
    """The branch that crosses at a branching point, on one side (+1 or -1) of the null direction.

    Args:
        family: what varies.
        point: of kind "branching".
        stop: p where to end.
        side: which of the two new halves.
        step: arclength from point to point.
    """
    _, J, _ = family.linearised(point.state, torch.tensor(point.parameter).double())
    eye = torch.eye(len(J), dtype=torch.float64)
    null = torch.linalg.svd(J - eye)[2][-1]
    null = null * torch.sign(null[null.abs().argmax()]) * side
    direction = torch.cat([null, torch.zeros(1, dtype=torch.float64)])
    return continue_branch(family, point.state, point.parameter, stop, step=step, direction=direction)


def _tangent(family: Family, point: Tensor, last: Tensor | None) -> Tensor:
    _, J, Fp = family.linearised(point[:-1], point[-1])
    if last is not None:
        rows = torch.cat([J - torch.eye(len(J), dtype=torch.float64), Fp[:, None]], 1)
        matrix = torch.cat([rows, last[None]])
        right = torch.zeros(len(matrix), dtype=torch.float64)
        right[-1] = 1.0
        tangent = torch.linalg.pinv(matrix, rtol=1e-12) @ right
    else:
        rows = torch.cat([J - torch.eye(len(J), dtype=torch.float64), Fp[:, None]], 1)
        tangent = torch.linalg.svd(rows)[2][-1]
    return tangent / tangent.norm()


def _advance(family: Family, point: Tensor, tangent: Tensor, step: float) -> Tensor | None:
    guess = point + step * tangent
    eye = torch.eye(len(point) - 1, dtype=torch.float64)
    for _ in range(20):
        miss, J, Fp = family.linearised(guess[:-1], guess[-1])
        off = tangent @ (guess - point) - step
        residual = torch.cat([miss, off[None]])
        if float(residual.norm()) < 1e-12 * (1 + float(guess.norm())):
            return guess
        matrix = torch.cat([torch.cat([J - eye, Fp[:, None]], 1), tangent[None]])
        guess = guess - torch.linalg.pinv(matrix, rtol=1e-13) @ residual
        if not bool(guess.isfinite().all()):
            return None
    return guess if float(residual.norm()) < 1e-8 else None


def _marks(family: Family, point: Tensor, tangent: Tensor) -> tuple[float, float, int, Tensor]:
    """Slope in p, determinant of J - I, complex eigenvalues outside the circle, and all eigenvalues."""
    _, J, _ = family.linearised(point[:-1], point[-1])
    values = torch.linalg.eigvals(J)
    determinant = float(torch.linalg.det(J - torch.eye(len(J), dtype=torch.float64)))
    outside = int(((values.abs() > 1) & (values.imag.abs() > 1e-9)).sum())
    return float(tangent[-1]), determinant, outside, values


def _kinds(a: tuple[float, float, int, Tensor], b: tuple[float, float, int, Tensor]) -> list[str]:
    kinds = []
    if a[0] * b[0] < 0:
        kinds.append("fold")
    elif a[1] * b[1] < 0:
        kinds.append("branching")
    if abs(a[2] - b[2]) == 2:
        kinds.append("hopf")
    below = [int(((v.real < -1) & (v.imag.abs() < 1e-9)).sum()) for v in (a[3], b[3])]
    if below[0] != below[1]:
        kinds.append("doubling")
    return kinds


def _crossings(family: Family, point: Tensor, tangent: Tensor, a: Any, b: Any, step: float) -> list[Special]:
    found = []
    for kind in _kinds(a, b):
        low, high, place = 0.0, step, point
        for _ in range(30):
            middle = (low + high) / 2
            trial = _advance(family, point, tangent, middle)
            if trial is None:
                break
            place = trial
            mark = _marks(family, trial, _tangent(family, trial, tangent))
            low, high = (low, middle) if kind in _kinds(a, mark) else (middle, high)
        values = _marks(family, place, tangent)[3]
        pair = values[values.imag > 1e-9]
        turn = float(pair[(pair.abs() - 1).abs().argmin()].angle()) if kind == "hopf" and len(pair) else 0.0
        frequency = turn / (2 * torch.pi * family.system.dt)
        found.append(Special(kind, float(place[-1]), place[:-1], frequency))
    return found
