"""Reservoirs: fixed random recurrent networks, dense or sparse, of which only a linear readout is fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence, eigs
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from rnn.cell import Cell, Tap, no_tap

__all__ = ["EchoState", "EchoStateCell", "EdgeOfStabilityCell", "spectral_radius"]

DENSE_LIMIT = 1500  # units; beyond this the recurrent weights are sparse unless told otherwise


class EchoState(NamedTuple):
    h: Tensor


class EchoStateCell(Cell):
    r"""Echo state network: a random network that echoes its input.

    .. math::
        \tilde h_t = \tanh(W_{in} x_t + W_{rec} h_{t-1} + b), \qquad y_t = h_t = (1 - a) h_{t-1} + a \tilde h_t

    Nothing in it is trained: the weights are buffers. Each unit hears `fan_in` random others (all, if it is None and
    the network is small), W_rec is scaled to the given spectral radius, W_in and b are uniform. Fit a readout with
    `rnn.ridge`. Quantities: `input`, `h`.

    References:
        The "echo state" approach to analysing and training recurrent neural networks (Jaeger, 2001); A Practical
        Guide to Applying Echo State Networks (Lukosevicius, 2012).

    Args:
        input_size: I.
        hidden_size: H; 10,000 and more are fine.
        radius: spectral radius of W_rec. Below 1 is neither sufficient for fading memory nor, under input, necessary.
        leak: a in (0, 1].
        input_scale: W_in is uniform in +- this.
        bias_scale: b is uniform in +- this.
        fan_in: recurrent connections per unit; None for all up to 1,500 units, and 10 beyond.
        distribution: of the recurrent weights, "uniform" or "normal".
        seed: seed of the weights; None draws from torch's global generator.

    >>> cell = EchoStateCell(1, 50, radius=0.9, seed=0)
    >>> round(spectral_radius(cell.weight_hh), 4)
    0.9
    """

    weight_ih: Tensor
    bias: Tensor
    weight_hh: Tensor
    sources: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        radius: float = 0.9,
        leak: float = 1.0,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
        fan_in: int | None = None,
        distribution: str = "uniform",
        seed: int | None = None,
    ):
        super().__init__()
        _check(hidden_size, leak, fan_in, distribution)
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.leak = float(leak)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())) if seed is None else seed)
        if fan_in is None and hidden_size > DENSE_LIMIT:
            fan_in = 10
        draw = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1
        self.register_buffer("weight_ih", (input_scale * draw(hidden_size, input_size)).to(torch.get_default_dtype()))
        self.register_buffer("bias", (bias_scale * draw(hidden_size)).to(torch.get_default_dtype()))
        columns = hidden_size if fan_in is None else fan_in
        normal = distribution == "normal"
        weights = (
            torch.randn(hidden_size, columns, generator=generator, dtype=torch.float64)
            if normal
            else draw(hidden_size, columns)
        )
        sources = None if fan_in is None else _random_sources(hidden_size, fan_in, generator)
        weights *= radius / max(spectral_radius(weights, sources), 1e-12)
        self.register_buffer(
            "weight_hh", weights.to(torch.get_default_dtype())
        )  # [H, H], or [H, fan_in] beside their sources
        self.register_buffer("sources", sources)

    def initial_state(self, batch: int) -> EchoState:
        return EchoState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: EchoState, tap: Tap = no_tap) -> tuple[Tensor, EchoState]:
        x = tap("input", x)
        new = torch.tanh(linear(x, self.weight_ih, self.bias) + self.recur(state.h))
        h = tap("h", new if self.leak == 1 else (1 - self.leak) * state.h + self.leak * new)
        return h, EchoState(h)

    def recur(self, h: Tensor) -> Tensor:
        """`W_rec h`, [B, H]."""
        if self.sources is None:
            return linear(h, self.weight_hh)
        return embedding_bag(self.sources, h.T.contiguous(), per_sample_weights=self.weight_hh, mode="sum").T

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, leak={self.leak:g}"


class EdgeOfStabilityCell(EchoStateCell):
    r"""Echo state network kept at the edge of stability by an orthogonal path beside the tanh.

    .. math:: y_t = h_t = (1 - \beta)\, O\, h_{t-1} + \beta \tanh(W_{in} x_t + W_{rec} h_{t-1} + b), \qquad O^T O = I

    The eigenvalues of its Jacobian lie near the circle of radius 1 - beta, so the memory reaches as far as there are
    units.

    References:
        Edge of stability echo state network (Ceni & Gallicchio, 2023).

    Args:
        proximity: beta in (0, 1].
        others: as in `EchoStateCell`, without `leak`; dense.

    >>> cell = EdgeOfStabilityCell(1, 20, proximity=0.1, seed=0)
    >>> bool(torch.allclose(cell.orthogonal @ cell.orthogonal.T, torch.eye(20), atol=1e-5))
    True
    """

    orthogonal: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        proximity: float = 0.1,
        radius: float = 0.9,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
        seed: int | None = None,
    ):
        if not 0 < proximity <= 1:
            raise ValueError(f"`proximity` must lie in (0, 1], received {proximity}")
        seed = int(torch.randint(2**31, ())) if seed is None else seed
        super().__init__(
            input_size, hidden_size, radius=radius, input_scale=input_scale, bias_scale=bias_scale,
            fan_in=hidden_size if hidden_size > DENSE_LIMIT else None, seed=seed,
        )  # fmt: skip
        self.proximity = float(proximity)
        generator = torch.Generator().manual_seed(seed + 1)
        q, r = torch.linalg.qr(torch.randn(hidden_size, hidden_size, generator=generator, dtype=torch.float64))
        self.register_buffer(
            "orthogonal", (q * torch.sign(torch.diagonal(r))).to(torch.get_default_dtype())
        )  # uniform over rotations

    def forward(self, x: Tensor, state: EchoState, tap: Tap = no_tap) -> tuple[Tensor, EchoState]:
        x = tap("input", x)
        new = torch.tanh(linear(x, self.weight_ih, self.bias) + self.recur(state.h))
        h = tap("h", (1 - self.proximity) * linear(state.h, self.orthogonal) + self.proximity * new)
        return h, EchoState(h)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, proximity={self.proximity:g}"


def spectral_radius(weights: Tensor, sources: Tensor | None = None) -> float:
    """Largest modulus of the eigenvalues of a matrix [H, H], or of sparse weights [H, k] with their sources [H, k].

    Dense up to 1,500 units; beyond, by Arnoldi iteration (a few seconds at 10,000).

    >>> spectral_radius(torch.tensor([[0.0, 2.0], [-0.5, 0.0]]))
    1.0
    """
    n = len(weights)
    if sources is None and n <= DENSE_LIMIT:
        return float(torch.linalg.eigvals(weights.double()).abs().max())
    values = weights.detach().double().cpu().numpy()
    if sources is None:
        matrix = csr_array(values)
    else:
        rows = np.repeat(np.arange(n), sources.shape[1])
        matrix = csr_array((values.ravel(), (rows, sources.cpu().numpy().ravel())), shape=(n, n))
    if n <= 300:
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.random.default_rng(0).standard_normal(n)
    try:
        found = eigs(matrix, k=6, ncv=60, v0=start, maxiter=300, tol=1e-5, return_eigenvectors=False)
    except ArpackNoConvergence as partial:
        found = partial.eigenvalues
        if not len(found):
            raise
    return float(np.abs(found).max())


def _random_sources(units: int, fan_in: int, generator: torch.Generator) -> Tensor:
    """For each unit the distinct units that it hears, [H, fan_in]."""
    sources = torch.randint(units, (units, fan_in), generator=generator)
    while True:
        ordered = sources.sort(1).values
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(1)
        if not bool(twice.any()):
            return ordered
        if fan_in > units // 4:
            return torch.stack(
                [torch.randperm(units, generator=generator)[:fan_in].sort().values for _ in range(units)]
            )
        sources[twice] = torch.randint(units, (int(twice.sum()), fan_in), generator=generator)


def _check(hidden_size: int, leak: float, fan_in: int | None, distribution: str) -> None:
    if not 0 < leak <= 1:
        raise ValueError(f"`leak` must lie in (0, 1], received {leak}")
    if fan_in is not None and not 1 <= fan_in <= hidden_size:
        raise ValueError(f"`fan_in` must lie between 1 and H={hidden_size}, received {fan_in}")
    if distribution not in ("uniform", "normal"):
        raise ValueError(f"unknown distribution {distribution!r}; choose 'uniform' or 'normal'")
