"""Linear recurrences of independent modes: the linear recurrent unit and damped oscillatory state space."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from rnn.cell import Cell, Tap, no_tap
from rnn.scan import linear_recurrence

__all__ = ["LRUCell", "LinOSSCell"]


class LRUState(NamedTuple):
    h: Tensor


class LRUCell(Cell):
    r"""Linear recurrent unit: N complex modes that turn and fade, each by itself.

    .. math::
        h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t, \qquad y_t = \mathrm{Re}(C h_t) + D x_t, \qquad
        \lambda = e^{-e^\nu + i e^\theta}

    Stable for every value of the parameters. The eigenvalues start uniformly on the ring `r_min <= |lambda| <= r_max`,
    and gamma at `sqrt(1 - |lambda|^2)`, which gives every mode unit variance under white input. Quantities: `input`,
    `h` (N real parts, then N imaginary parts), `y`. Being linear inside, it learns more in a stack with norm and gate
    (`rnn.stack`).

    References:
        Resurrecting Recurrent Neural Networks for Long Sequences (Orvieto et al., 2023).

    Args:
        input_size: I.
        hidden_size: N, number of complex modes.
        output_size: O; None for O = N.
        r_min: smallest modulus at the start; close to 1 for long memories.
        r_max: largest modulus at the start, below 1.
        max_phase: largest angle at the start, radians per step. Angles above pi say nothing new, since the output is
            real; to copy over a long lag at full time resolution use pi, to sum up slowly use less.

    >>> cell = LRUCell(2, 8, r_min=0.9)
    >>> bool((cell.eigenvalues().abs() >= 0.9 - 1e-6).all())
    True
    """

    sequence_path = "scan"
    sequence_seen = ("h", "y")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        r_min: float = 0.4,
        r_max: float = 0.99,
        max_phase: float = math.pi,
    ):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = hidden_size if output_size is None else output_size
        modulus, angle = _ring(hidden_size, r_min, r_max, max_phase)
        self.nu = nn.Parameter(torch.log(-torch.log(modulus)))
        self.theta = nn.Parameter(torch.log(angle))
        self.gamma = nn.Parameter(torch.log(torch.sqrt(1 - modulus**2)))  # its logarithm
        self.B = nn.Parameter(torch.randn(2, hidden_size, input_size) / math.sqrt(2 * input_size))
        self.C = nn.Parameter(torch.randn(self.output_size, 2 * hidden_size) / math.sqrt(hidden_size))
        self.D = nn.Parameter(torch.randn(self.output_size, input_size) / math.sqrt(input_size))

    def eigenvalues(self) -> Tensor:
        """The modes lambda, complex [N]."""
        return torch.exp(torch.complex(-torch.exp(self.nu), torch.exp(self.theta)))

    def transition(self) -> Tensor:
        """One real 2 x 2 matrix per mode, acting on (real, imaginary), [2, 2, N]."""
        modulus, angle = torch.exp(-torch.exp(self.nu)), torch.exp(self.theta)
        re, im = modulus * torch.cos(angle), modulus * torch.sin(angle)
        return torch.stack([torch.stack([re, -im]), torch.stack([im, re])])

    def initial_state(self, batch: int) -> LRUState:
        return LRUState(self.zeros(batch, 2 * self.hidden_size))

    def forward(self, x: Tensor, state: LRUState, tap: Tap = no_tap) -> tuple[Tensor, LRUState]:
        x = tap("input", x)
        (a, b), (c, d) = self.transition().unbind(0)
        re, im = state.h.chunk(2, -1)
        h = tap("h", torch.cat([a * re + b * im, c * re + d * im], -1) + linear(x, self._input_weights()))
        return tap("y", linear(h, self._output_weights()) + linear(x, self.D)), LRUState(h)

    def sequence(
        self, xs: Tensor, state: LRUState, resets: Tensor | None, fresh: LRUState | None, holds: tuple[()] = ()
    ) -> tuple[Tensor, LRUState, dict[str, Tensor]]:
        """The whole sequence at once: outputs, final state and what was seen, by quantity."""
        split = lambda h: h.unflatten(-1, (2, -1))
        h = linear_recurrence(
            self.transition(),
            split(linear(xs, self._input_weights())),
            split(state.h),
            resets=resets,
            fresh=None if fresh is None else split(fresh.h),
        ).flatten(-2)
        y = linear(h, self._output_weights()) + linear(xs, self.D)
        return y, LRUState(h[-1]), {"h": h, "y": y}

    def _input_weights(self) -> Tensor:
        return (torch.exp(self.gamma)[:, None] * self.B).flatten(0, 1)

    def _output_weights(self) -> Tensor:
        real, imaginary = self.C.chunk(2, -1)
        return torch.cat([real, -imaginary], -1)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, output_size={self.output_size}"


class LinOSSState(NamedTuple):
    velocity: Tensor
    position: Tensor


class LinOSSCell(Cell):
    r"""Damped linear oscillators driven by the input, N of them, uncoupled: `p'' = -A p - G p' + B x`.

    .. math::
        v_t = v_{t-1} + dt\,(-A p_* - G v_t + B x_t), \qquad p_t = p_{t-1} + dt\, v_t, \qquad y_t = C p_t + D x_t

    with `p_* = p_{t-1}` in the symplectic scheme (an undamped oscillator keeps its amplitude) and `p_* = p_t` in the
    implicit scheme (stable at any step, and always dissipative). Stiffness and damping stay positive; in the symplectic
    scheme the stiffness is held where the pair of eigenvalues is complex, so that both are stable for every value of
    the parameters. Because A and G carry units, a trained cell can be run at another `dt`.

    Quantities: `input`, `velocity`, `position`, `y`; the position is what others receive.

    References:
        Oscillatory State-Space Models (Rusch & Rus, 2025); Learning to Dissipate Energy in Oscillatory State-Space
        Models (Boyer, Rusch & Rus, 2025).

    Args:
        input_size: I.
        hidden_size: N, number of oscillators.
        output_size: O; None for O = N.
        dt: time step, s (or 1, to count in steps).
        scheme: "symplectic" or "implicit".
        r_min: smallest modulus of the eigenvalues at the start, per step.
        r_max: largest modulus at the start, below 1.
        max_phase: largest angle at the start, radians per step; frequencies start uniformly below it.

    >>> cell = LinOSSCell(1, 4, r_min=0.95, max_phase=0.5)
    >>> z = cell.eigenvalues()
    >>> bool(((z.abs() > 0.949) & (z.abs() < 1) & (z.angle().abs() < 0.51)).all())
    True
    """

    activity = "position"
    sequence_path = "scan"
    sequence_seen = ("velocity", "position", "y")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        dt: float = 1.0,
        scheme: str = "symplectic",
        r_min: float = 0.9,
        r_max: float = 0.999,
        max_phase: float = math.pi / 2,
    ):
        super().__init__()
        if scheme not in ("symplectic", "implicit"):
            raise ValueError(f"unknown scheme {scheme!r}; choose 'symplectic' or 'implicit'")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = hidden_size if output_size is None else output_size
        self.dt, self.scheme = float(dt), scheme
        modulus, angle = _ring(hidden_size, r_min, r_max, max_phase)
        damping, stiffness = self._from_eigenvalues(modulus, angle)
        inverse_softplus = lambda v: v + torch.log(-torch.expm1(-v))
        self.stiffness = nn.Parameter(inverse_softplus(stiffness))  # before softplus
        self.damping = nn.Parameter(inverse_softplus(damping))
        size = torch.sqrt(1 - modulus**2) * angle / self.dt**2  # gives positions of order one under white input
        self.B = nn.Parameter(size[:, None] * torch.randn(hidden_size, input_size) / math.sqrt(input_size))
        self.C = nn.Parameter(torch.randn(self.output_size, hidden_size) / math.sqrt(hidden_size))
        self.D = nn.Parameter(torch.randn(self.output_size, input_size) / math.sqrt(input_size))

    def physical(self) -> tuple[Tensor, Tensor]:
        """Stiffness A [N], 1/s^2, and damping G [N], 1/s, as they act at this dt."""
        A, G = softplus(self.stiffness), softplus(self.damping)
        if self.scheme == "symplectic":
            root = torch.sqrt(1 + self.dt * G)
            A = torch.clamp(A, (root - 1) ** 2 / self.dt**2, (root + 1) ** 2 / self.dt**2)
        return A, G

    def transition(self) -> Tensor:
        """One 2 x 2 matrix per oscillator, acting on (velocity, position), [2, 2, N]."""
        (A, G), dt = self.physical(), self.dt
        s = self._shrink(A, G)
        return torch.stack([torch.stack([s, -dt * A * s]), torch.stack([dt * s, 1 - dt**2 * A * s])])

    def eigenvalues(self) -> Tensor:
        """One of each pair of eigenvalues per step, complex [N], the one with positive angle."""
        M = self.transition()
        half, det = (M[0, 0] + M[1, 1]) / 2, M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0]
        root = torch.sqrt(torch.complex(half**2 - det, torch.zeros_like(det)))
        return half + root

    def initial_state(self, batch: int) -> LinOSSState:
        return LinOSSState(self.zeros(batch, self.hidden_size), self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: LinOSSState, tap: Tap = no_tap) -> tuple[Tensor, LinOSSState]:
        x = tap("input", x)
        (A, G), dt = self.physical(), self.dt
        drive = state.velocity - dt * A * state.position + dt * linear(x, self.B)
        v = tap("velocity", self._shrink(A, G) * drive)
        p = tap("position", state.position + dt * v)
        return tap("y", linear(p, self.C) + linear(x, self.D)), LinOSSState(v, p)

    def sequence(
        self, xs: Tensor, state: LinOSSState, resets: Tensor | None, fresh: LinOSSState | None, holds: tuple[()] = ()
    ) -> tuple[Tensor, LinOSSState, dict[str, Tensor]]:
        """The whole sequence at once: outputs, final state and what was seen, by quantity."""
        A, G = self.physical()
        force = self.dt * self._shrink(A, G) * linear(xs, self.B)
        h = linear_recurrence(
            self.transition(),
            torch.stack([force, self.dt * force], -2),
            torch.stack([state.velocity, state.position], -2),
            resets=resets,
            fresh=None if fresh is None else torch.stack([fresh.velocity, fresh.position], -2),
        )
        v, p = h.unbind(-2)
        y = linear(p, self.C) + linear(xs, self.D)
        return y, LinOSSState(v[-1], p[-1]), {"velocity": v, "position": p, "y": y}

    def _shrink(self, A: Tensor, G: Tensor) -> Tensor:
        return 1 / (1 + self.dt * G + (self.dt**2 * A if self.scheme == "implicit" else 0))

    def _from_eigenvalues(self, modulus: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Damping and stiffness whose transition has determinant |z|^2 and trace 2 |z| cos(angle)."""
        s, trace = modulus**2, 2 * modulus * torch.cos(angle)
        stiffness = (1 + s - trace) / s
        damping = 1 / s - 1 - (stiffness if self.scheme == "implicit" else 0)
        return damping.clamp(min=1e-6) / self.dt, stiffness / self.dt**2

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, output_size={self.output_size}, scheme={self.scheme!r}"


def _ring(n: int, r_min: float, r_max: float, max_phase: float) -> tuple[Tensor, Tensor]:
    """Moduli and angles of n points, uniform in area on the ring r_min <= r <= r_max."""
    if not 0 <= r_min < r_max < 1:
        raise ValueError(f"moduli need 0 <= r_min < r_max < 1, received r_min={r_min}, r_max={r_max}")
    u = torch.rand(n, dtype=torch.float64) * (1 - 2e-6) + 1e-6
    modulus = torch.sqrt(u * (r_max**2 - r_min**2) + r_min**2)
    angle = (torch.rand(n, dtype=torch.float64) * (1 - 2e-6) + 1e-6) * max_phase
    return modulus.to(torch.get_default_dtype()), angle.to(torch.get_default_dtype())
