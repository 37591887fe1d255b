"""A body as a reservoir: masses on nonlinear springs, pushed by the input and read out linearly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.spatial import Delaunay
from torch import Tensor

from rnn.cell import Cell, Tap, no_tap

__all__ = ["MassSpringCell"]


class MassSpringState(NamedTuple):
    position: Tensor
    velocity: Tensor


class MassSpringCell(Cell):
    r"""Masses in the plane, joined by damped nonlinear springs, as a physical reservoir. Nothing in it is trained.

    .. math::
        m\, \ddot q_i = \sum_j \big(k_1 e_{ij} + k_3 e_{ij}^3 + d_1 \dot e_{ij}\big) n_{ij} + W_{in} x, \qquad y = e,

    with e the elongations of the springs, n their directions, some masses fixed to the ground. Integrated by the
    symplectic Euler method in `substeps`. The elongations carry an echo of the input's history, mixed nonlinearly; a
    linear readout on them (`rnn.ridge.EchoStateNetwork`) does the rest: the body computes. Quantities: `input`,
    `force` (on the masses, x then y), `position`, `velocity`, `y`.

    References:
        Towards a theoretical foundation for morphological computation with compliant bodies (Hauser et al., 2011).

    Args:
        input_size: I.
        masses: number of masses, m = 1 kg each; every seventh is fixed.
        dt: time step, s.
        substeps: integration steps per time step.
        frequency: typical angular frequency of a spring with its mass, rad/s; `k_1` is spread about its square.
        damping: typical damping ratio of a spring.
        hardening: typical k_3 relative to k_1, 1/m^2; the body is about 1 m wide.
        input_scale: forces are uniform in +- this per unit of input, N, on a third of the masses.
        seed: of all random choices; None draws from torch's global generator.

    >>> body = MassSpringCell(1, 20, seed=0)
    >>> y, _ = body(torch.zeros(1, 1), body.initial_state(1))
    >>> bool(y.abs().max() < 1e-6)  # at rest without input
    True
    """

    activity = "y"
    rest_position: Tensor
    free: Tensor
    weight_ih: Tensor
    ends: Tensor
    rest_length: Tensor
    stiffness: Tensor

    def __init__(
        self,
        input_size: int,
        masses: int = 40,
        *,
        dt: float = 0.01,
        substeps: int = 4,
        frequency: float = 30.0,
        damping: float = 0.1,
        hardening: float = 100.0,
        input_scale: float = 5.0,
        seed: int | None = None,
    ):
        super().__init__()
        if masses < 7:
            raise ValueError(f"a body has at least 7 masses, received {masses}")
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())) if seed is None else seed)
        draw = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
        side = int(masses**0.5 + 0.999)
        grid = torch.stack([torch.arange(masses) % side, torch.arange(masses) // side], 1) / side
        q = grid + 0.5 / side * (draw(masses, 2) - 0.5)
        corners = torch.from_numpy(Delaunay(q.numpy()).simplices).long()
        pairs = torch.cat([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]).sort(1).values.unique(dim=0)
        springs, spread = len(pairs), lambda: torch.exp(draw(len(pairs)) * 2 - 1)
        k1 = frequency**2 * spread()
        coefficients = torch.stack([k1, hardening * k1 * spread(), 2 * damping * frequency * spread()])
        pushed = (draw(masses) < 1 / 3).double()
        W = input_scale * (draw(2, masses, input_size) * 2 - 1) * pushed[:, None]
        free = (torch.arange(masses) % 7 != 0).double()
        to = torch.get_default_dtype()
        self.input_size, self.output_size, self.masses, self.dt, self.substeps = (
            input_size,
            springs,
            masses,
            dt,
            substeps,
        )
        self.register_buffer("rest_position", q.T.contiguous().to(to))  # [2, masses]
        self.register_buffer("free", free.to(to))
        self.register_buffer("weight_ih", W.flatten(0, 1).to(to))
        self.register_buffer("ends", pairs.T.contiguous())  # [2, springs]
        self.register_buffer("rest_length", (q[pairs[:, 0]] - q[pairs[:, 1]]).norm(dim=1).to(to))
        self.register_buffer("stiffness", coefficients.to(to))  # k_1, k_3, d_1: [3, springs]

    def initial_state(self, batch: int) -> MassSpringState:
        rest = self.rest_position.flatten().expand(batch, -1).clone()
        return MassSpringState(rest, torch.zeros_like(rest))

    def forward(self, x: Tensor, state: MassSpringState, tap: Tap = no_tap) -> tuple[Tensor, MassSpringState]:
        x = tap("input", x)
        force = tap("force", x @ self.weight_ih.T).unflatten(-1, (2, -1))
        q, v = (part.unflatten(-1, (2, -1)) for part in state)  # [B, 2, masses]
        h = self.dt / self.substeps
        for _ in range(self.substeps):
            v = v + h * self.free * (force + self._pull(q, v)[0])
            q = q + h * v
        q, v = tap("position", q.flatten(1)), tap("velocity", v.flatten(1))
        y = self._pull(q.unflatten(-1, (2, -1)), v.unflatten(-1, (2, -1)))[1]
        return tap("y", y), MassSpringState(q, v)

    def energy(self, state: MassSpringState) -> Tensor:
        """Kinetic and elastic energy, J, [B]."""
        e = self._pull(*(part.unflatten(-1, (2, -1)) for part in state))[1]
        elastic = (0.5 * self.stiffness[0] * e**2 + 0.25 * self.stiffness[1] * e**4).sum(-1)
        return elastic + 0.5 * state.velocity.square().sum(-1)

    def _pull(self, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Forces of the springs on the masses [B, 2, masses], and elongations [B, springs]."""
        a, b = self.ends
        apart = q[..., b] - q[..., a]
        length = apart.norm(dim=-2)
        n = apart / length[..., None, :]
        e = length - self.rest_length
        rate = ((v[..., b] - v[..., a]) * n).sum(-2)
        k1, k3, d1 = self.stiffness
        tension = ((k1 * e + k3 * e**3 + d1 * rate)[..., None, :]) * n
        forces = torch.zeros_like(q)
        return forces.index_add(-1, a, tension).index_add(-1, b, -tension), e

    def extra_repr(self) -> str:
        return f"{self.input_size}, masses={self.masses}, springs={self.output_size}"
