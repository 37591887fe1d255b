"""Recurrence that neither shrinks nor stretches: orthogonal and unitary cells."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrizations

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import squashing

__all__ = ["OrthogonalCell", "mod_relu"]


class OrthogonalState(NamedTuple):
    h: Tensor


class OrthogonalCell(Cell):
    r"""A recurrent network whose recurrent matrix stays orthogonal, `Q^T Q = I`, while it is learned.

    .. math::
        z_t = V x_t + Q h_{t-1}, \qquad y_t = h_t = s(z_t)

    The default s, modReLU, changes only the modulus: `z / |z| max(0, |z| + b)`. With b = 0 the gradient keeps its
    norm over any number of steps. Q starts as rotations by random angles, one per pair of units. With
    `unitary` the units are complex numbers, H/2 real parts then H/2 imaginary parts, and Q is unitary.

    Q is computed by torch's orthogonal parametrisation once per sequence (`unroll` keeps it), not once per step. Its
    parameters like a learning rate about ten times smaller than the rest.

    References:
        Unitary Evolution Recurrent Neural Networks (Arjovsky, Shah & Bengio, 2016); Cheap Orthogonal Constraints in
        Neural Networks (Lezcano-Casado & Martinez-Rubio, 2019).

    Args:
        input_size: I.
        hidden_size: H; even if unitary.
        squash: "modrelu", or "tanh", "identity" ... as in `ElmanCell`.
        unitary: complex units.
        parametrization: "matrix_exp", "cayley" or "householder".
        max_phase: largest angle at the start, radians per step. The default, pi, is for copying at full time
            resolution; to sum up over n steps use less than 1 / n.
        gain: factor on the starting V. Inputs that add up over n steps keep a state of unit size with n^(-1/2).

    Raises:
        ValueError: an odd H if unitary; a max_phase outside [0, pi]; a gain that is not positive.

    >>> cell = OrthogonalCell(1, 6)
    >>> bool(torch.allclose(cell.Q.T @ cell.Q, torch.eye(6), atol=1e-5))
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        squash: str = "modrelu",
        unitary: bool = False,
        parametrization: str = "matrix_exp",
        max_phase: float = math.pi,
        gain: float = 1.0,
    ):
        super().__init__()
        if not 0 <= max_phase <= math.pi or not gain > 0:
            raise ValueError(f"max_phase lies in [0, pi] and gain is positive, received {max_phase} and {gain}")
        if unitary and hidden_size % 2:
            raise ValueError(f"a unitary cell has pairs of units, received H={hidden_size}; pass an even H")
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.squash, self.unitary = squash, unitary
        self.s = None if squash == "modrelu" else squashing(squash)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        nn.init.kaiming_normal_(self.weight_ih, nonlinearity="relu")
        with torch.no_grad():
            self.weight_ih.mul_(gain)
        units = hidden_size // 2 if unitary else hidden_size
        self.bias = nn.Parameter(torch.zeros(units))
        start = _turns(units, unitary, max_phase)
        self.weight_hh = nn.Parameter(start.clone())
        parametrizations.orthogonal(self, "weight_hh", orthogonal_map=parametrization)
        self.weight_hh = start  # type: ignore[assignment]

    @property
    def Q(self) -> Tensor:
        """The recurrent matrix [H, H]; for a unitary cell its real form [[Re, -Im], [Im, Re]]."""
        if not self.unitary:
            return self.weight_hh
        re, im = (part.to(self.weight_ih) for part in (self.weight_hh.real, self.weight_hh.imag))
        return torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])

    def initial_state(self, batch: int) -> OrthogonalState:
        return OrthogonalState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: OrthogonalState, tap: Tap = no_tap) -> tuple[Tensor, OrthogonalState]:
        x = tap("input", x)
        z = tap("z", linear(x, self.weight_ih) + linear(state.h, self.Q))
        h = tap("h", self._squash(z))
        return h, OrthogonalState(h)

    def _squash(self, z: Tensor) -> Tensor:
        if self.s is not None:
            return self.s(z if self.unitary else z + self.bias)
        if not self.unitary:
            return mod_relu(z, self.bias)
        re, im = z.chunk(2, -1)
        modulus = torch.sqrt(re**2 + im**2 + 1e-12)
        gain = torch.relu(modulus + self.bias) / modulus
        return torch.cat([gain * re, gain * im], -1)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, squash={self.squash!r}, unitary={self.unitary}"


def mod_relu(z: Tensor, bias: Tensor) -> Tensor:
    """`sign(z) max(0, |z| + b)`: the identity at b = 0, a dead zone of width 2 |b| below.

    >>> mod_relu(torch.tensor([-2.0, 0.25, 3.0]), torch.tensor(-0.5)).tolist()
    [-1.5, 0.0, 2.5]
    """
    return torch.sign(z) * torch.relu(z.abs() + bias)


def _turns(units: int, unitary: bool, largest: float) -> Tensor:
    """Rotations by random angles: a diagonal of e^{i theta}, or 2 x 2 blocks (and a 1, if the number is odd)."""
    if unitary:
        return torch.diag(torch.exp(1j * (torch.rand(units) * 2 - 1) * largest))
    theta = (torch.rand(units // 2) * 2 - 1) * largest
    cos, sin = torch.cos(theta), torch.sin(theta)
    blocks = list(torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2)).unbind(0))
    return torch.block_diag(*blocks, *[torch.ones(1, 1)] * (units % 2))
