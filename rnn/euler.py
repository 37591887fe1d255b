"""Recurrent networks read off a dynamical system: discretised oscillators and Euler steps of any flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap
from rnn.linear import LinearCell

__all__ = [
    "SCHEMES", "EulerCell", "euler_error", "euler_matrix", "forced_oscillator", "gain", "largest_stable_step",
    "oscillator_matrix",
]  # fmt: skip

SCHEMES = ("backward", "symplectic", "forward")


def oscillator_matrix(gamma: float, scheme: str = "backward") -> Tensor:
    r"""Step of the oscillator `r'' = -gamma r` on the state `[r_t, r_{t-1}]`, with time in steps, [2, 2] float64.

    The second difference `r_t - 2 r_{t-1} + r_{t-2}` is set to `-gamma r` at one of three times:

    - "backward", r_t: `[[2 beta, -beta], [1, 0]]`, beta = 1 / (1 + gamma). It fades, modulus `beta^(1/2)` per step at
      the angle `arctan(gamma^(1/2))`: the damping comes from the discretisation alone.
    - "symplectic", r_{t-1}: modulus 1 for 0 < gamma < 4, at the angle `arccos(1 - gamma / 2)`.
    - "forward", r_{t-2}: it grows, modulus `(1 + gamma)^(1/2)`.

    >>> torch.linalg.eigvals(oscillator_matrix(0.05)).abs()[0].item()  # doctest: +ELLIPSIS
    0.9759...
    """
    if scheme == "backward":
        beta = 1 / (1 + gamma)
        top = [2 * beta, -beta]
    elif scheme == "symplectic":
        top = [2 - gamma, -1.0]
    elif scheme == "forward":
        top = [2.0, -(1 + gamma)]
    else:
        raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    return torch.tensor([top, [1.0, 0.0]], dtype=torch.float64)


def forced_oscillator(gamma: float, scheme: str = "backward", alpha: float | None = None) -> LinearCell:
    r"""The oscillator pulled towards its input, `r'' = -gamma (r - x)`, as a linear cell with output `y_t = r_t`.

    .. math:: h_t = \begin{bmatrix} \alpha & 2\beta & -\beta \\ 0 & 1 & 0 \end{bmatrix}
        \begin{bmatrix} x_t \\ h_{t-1} \end{bmatrix}, \qquad \alpha = \gamma / (1 + \gamma)

    in the backward scheme; in the others the force of the input is gamma. Only this alpha lets a constant input
    settle at `r = x`; `gamma / (1 - gamma)`, sometimes printed, settles above it.

    Args:
        gamma: stiffness, 1/steps^2.
        scheme: as in `oscillator_matrix`.
        alpha: another input weight, to see what it does.
    """
    D = oscillator_matrix(gamma, scheme)
    force = alpha if alpha is not None else gamma / (1 + gamma) if scheme == "backward" else gamma
    C = torch.tensor([[force], [0.0]], dtype=torch.float64)
    return LinearCell.from_matrices(A=C[:1], B=D[:1], C=C, D=D)


def gain(cell: LinearCell, omega: Tensor) -> Tensor:
    """Amplitude of the steady answer to a sine, `|A + B (z I - D)^-1 C|` at z = e^{i omega}; [n] to [n, O, I].

    Args:
        cell: a linear cell.
        omega: angular frequencies, radians per step, [n].

    >>> round(gain(forced_oscillator(0.05), torch.tensor([0.2187])).item(), 2)
    4.58
    """
    with torch.no_grad():
        D = cell.D.to(torch.complex128)
        z = torch.polar(torch.ones_like(omega, dtype=torch.float64), omega.double())
        resolvent = torch.linalg.inv(z[:, None, None] * torch.eye(len(D)) - D)
        return (cell.A + cell.B.to(D) @ resolvent @ cell.C.to(D)).abs()


def euler_matrix(A: Tensor, dt: float) -> Tensor:
    """Recurrent weights of the flow `r' = A r` by Euler's step, `W_rec = I + dt A`."""
    return torch.eye(len(A), dtype=A.dtype, device=A.device) + dt * A


def euler_error(A: Tensor, dt: float) -> float:
    """Distance per step to the exact flow, `||I + dt A - expm(A dt)||_2`; about `dt^2 ||A^2|| / 2`."""
    return float(torch.linalg.matrix_norm(euler_matrix(A, dt) - torch.linalg.matrix_exp(A * dt), 2))


def largest_stable_step(A: Tensor) -> float:
    """The dt below which Euler's step of `r' = A r` is stable, `min -2 Re(l) / |l|^2`; 0 if it never is.

    >>> largest_stable_step(torch.tensor([[-4.0]]))
    0.5
    >>> largest_stable_step(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    0.0
    """
    l = torch.linalg.eigvals(A)
    bound = float((-2 * l.real / l.abs().square()).min())
    return bound if bound > 0 else 0.0


class EulerState(NamedTuple):
    h: Tensor


class EulerCell(Cell):
    """Any flow `h' = f(x, h)` as a recurrent network: `h_t = h_{t-1} + dt / substeps f(x_t, h)`, `substeps` times.

    Args:
        field: f, from x [B, I] and h [B, H] to the rate of change [B, H]; a module's parameters are learned.
        input_size: I.
        hidden_size: H.
        dt: time step, s.
        substeps: Euler steps per time step.

    >>> fall = EulerCell(lambda x, h: -2.0 * h, 1, 1, dt=0.25)
    >>> fall(torch.zeros(1, 1), EulerState(torch.ones(1, 1)))[0].item()
    0.5
    """

    def __init__(
        self,
        field: nn.Module | Callable[[Tensor, Tensor], Tensor],
        input_size: int,
        hidden_size: int,
        *,
        dt: float,
        substeps: int = 1,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.field, self.dt, self.substeps = field, float(dt), int(substeps)

    def initial_state(self, batch: int) -> EulerState:
        return EulerState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: EulerState, tap: Tap = no_tap) -> tuple[Tensor, EulerState]:
        x = tap("input", x)
        h = state.h
        for _ in range(self.substeps):
            h = h + self.dt / self.substeps * self.field(x, h)
        h = tap("h", h)
        return h, EulerState(h)
