"""Linear readouts in closed form, the models they make of reservoirs, and what reservoirs remember."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, map_state
from rnn.unroll import unroll

__all__ = ["EchoStateNetwork", "forgetting", "kernel_ridge", "memory_capacity", "ridge"]

FEATURES = ("bias", "input", "state", "square")


def ridge(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    r"""Weights W [..., O, F] that minimise `||X W^T - Y||^2 + penalty ||W||^2`, for X [..., n, F] and Y [..., n, O].

    Solved in float64 by a QR decomposition of X above sqrt(penalty) I, which keeps all digits where the normal
    equations lose half of them. Leading dimensions are problems of their own.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> ridge(X, X @ torch.tensor([[3.0], [-1.0]]), penalty=0.0).tolist()
    [[3.0, -1.0]]
    """
    if penalty < 0:
        raise ValueError(f"the penalty must not be negative, received {penalty}")
    if not (bool(features.isfinite().all()) and bool(targets.isfinite().all())):
        raise ValueError("features or targets contain NaN or infinity; remove those samples or check the model's input")
    X, Y = features.double(), targets.double()
    n_features = X.shape[-1]
    if penalty > 0:
        eye = penalty**0.5 * torch.eye(n_features, dtype=X.dtype, device=X.device)
        X = torch.cat([X, eye.expand(*X.shape[:-2], -1, -1)], -2)
        Y = torch.cat([Y, Y.new_zeros(*Y.shape[:-2], n_features, Y.shape[-1])], -2)
    elif X.shape[-2] < n_features:
        raise ValueError(f"{X.shape[-2]} samples do not determine {n_features} weights; give a penalty above 0")
    Q, R = torch.linalg.qr(X)
    return torch.linalg.solve_triangular(R, Q.mT @ Y, upper=True).mT.to(features.dtype)


def kernel_ridge(features: Tensor, targets: Tensor, penalty: float, queries: Tensor) -> Tensor:
    """The same predictions [m, O] from inner products alone, `k(q, X) (k(X, X) + penalty I)^-1 Y`: a reservoir is a
    kernel, `k(x, x') = <phi(x), phi(x')>`, over input histories."""
    X, Y, Q = features.double(), targets.double(), queries.double()
    K = X @ X.mT + penalty * torch.eye(len(X), dtype=X.dtype, device=X.device)
    return (Q @ X.mT @ torch.linalg.solve(K, Y)).to(features.dtype)


class Echoed(NamedTuple):
    """Outputs [T, B, O] and the final state."""

    outputs: Tensor
    state: Any


class EchoStateNetwork(nn.Module):
    r"""A cell that is not trained, with a readout that is fitted in one step.

    .. math:: y_t = W_{out} [1; x_t; h_t; h_t^2]

    where `features` chooses among the four parts. With a `ReservoirBatch` each reservoir has a readout of its own.

    Args:
        cell: a reservoir, or any cell.
        output_size: O.
        features: what the readout sees, among "bias", "input", "state", "square" (the squared state).
        penalty: of `ridge`.

    >>> from rnn.reservoir import EchoStateCell
    >>> xs = torch.sin(torch.arange(300.0) / 5).reshape(-1, 1, 1)
    >>> model = EchoStateNetwork(EchoStateCell(1, 50, seed=0), 1).fit(xs[:200], xs[1:201], washout=50)
    >>> bool((model(xs[:-1]).outputs - xs[1:])[50:].abs().max() < 1e-3)
    True
    """

    readout: Tensor

    def __init__(
        self,
        cell: Cell,
        output_size: int,
        *,
        features: Sequence[str] = ("bias", "input", "state"),
        penalty: float = 1e-6,
    ):
        super().__init__()
        if not features or set(features) - set(FEATURES):
            raise ValueError(f"`features` must be some of {', '.join(FEATURES)}, received {tuple(features)}")
        self.cell, self.output_size, self.features, self.penalty = cell, output_size, tuple(features), penalty
        self.number = getattr(cell, "number", None)  # of reservoirs side by side
        widths = {"bias": 1, "input": cell.input_size, "state": cell.output_size, "square": cell.output_size}
        shape = (output_size, sum(widths[f] for f in features))
        self.register_buffer("readout", cell.zeros(*shape) if self.number is None else cell.zeros(self.number, *shape))

    @torch.no_grad()
    def fit(self, xs: Tensor, ys: Tensor, *, washout: int = 100) -> EchoStateNetwork:
        """Drive the cell with xs [T, B, I] and fit the readout to ys [T, B, O], without the first `washout` steps.

        Raises:
            ValueError: lengths that differ, too few steps, or a run that is not finite.
        """
        if xs.shape[:2] != ys.shape[:2] or ys.shape[-1] != self.output_size:
            raise ValueError(
                f"inputs {tuple(xs.shape)} and targets {tuple(ys.shape)} must agree in T and B, with "
                f"O={self.output_size} targets"
            )
        if washout >= len(xs):
            raise ValueError(f"the washout of {washout} steps leaves nothing of T={len(xs)}")
        Z = self.see(xs, unroll(self.cell, xs).outputs)[washout:]
        Y = ys[washout:]
        if self.number is None:
            self.readout = ridge(Z.flatten(0, 1), Y.flatten(0, 1), self.penalty)
        else:
            self.readout = ridge(Z.transpose(0, 1), Y.transpose(0, 1), self.penalty)
        return self

    def see(self, x: Tensor, h: Tensor) -> Tensor:
        """What the readout sees, [..., F]."""
        parts = {
            "bias": lambda: torch.ones_like(h[..., :1]),
            "input": lambda: x,
            "state": lambda: h,
            "square": lambda: h**2,
        }
        return torch.cat([parts[name]() for name in self.features], -1)

    def read(self, z: Tensor) -> Tensor:
        """Outputs [..., B, O] of features [..., B, F]."""
        return z @ self.readout.mT if self.number is None else torch.einsum("...rf,rof->...ro", z, self.readout)

    def forward(self, xs: Tensor, state: Any = None) -> Echoed:
        """Outputs for inputs [T, B, I]."""
        run = unroll(self.cell, xs, state)
        return Echoed(self.read(self.see(xs, run.outputs)), run.state)

    @torch.no_grad()
    def generate(self, steps: int, x: Tensor, state: Any) -> Echoed:
        """Run free: the output [B, O] becomes the next input, `steps` times, beginning with input x after `state`."""
        outputs = []
        for _ in range(steps):
            h, state = self.cell(x, state)
            x = self.read(self.see(x, h))
            outputs.append(x)
        return Echoed(torch.stack(outputs), state)


@torch.no_grad()
def forgetting(cell: Cell, xs: Tensor, *, spread: float = 1.0, seed: int = 0) -> Tensor:
    """The empirical echo-state test: the distance over time [T, B] between two runs under the same input whose initial
    states are random; it tends to zero where the network forgets how it began.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        spread: standard deviation of the initial states.
        seed: their seed.

    >>> from rnn.reservoir import EchoStateCell
    >>> course = forgetting(EchoStateCell(1, 40, radius=0.8, seed=0), torch.zeros(200, 1, 1))
    >>> bool(course[-1] < 1e-6 * course[0])
    True
    """
    generator = torch.Generator().manual_seed(seed)
    rows = xs.shape[1]
    draw = lambda leaf: spread * torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf)
    start = [map_state(draw, cell.initial_state(rows)) for _ in range(2)]
    first, second = (unroll(cell, xs, state).outputs for state in start)
    return (first - second).norm(dim=-1)


@torch.no_grad()
def memory_capacity(
    cell: Cell,
    *,
    delays: int | None = None,
    steps: int = 6000,
    washout: int = 1000,
    penalty: float = 1e-12,
    seed: int = 0,
) -> Tensor:
    """How well each past input can be read from the state: the squared correlation per delay 1, 2, ..., [delays].

    The input is uniform in [-0.8, 0.8]; readouts are fitted on the first half after the washout and judged on the
    second. The sum is the memory capacity, at most the number of units.

    References:
        Short Term Memory in Echo State Networks (Jaeger, 2002).

    Args:
        cell: a cell with one input.
        delays: how far back to ask; None for twice the number of units.
        steps: length of the input.
        washout: steps that are not used.
        penalty: of `ridge`.
        seed: of the input.
    """
    delays = 2 * cell.output_size if delays is None else delays
    generator = torch.Generator().manual_seed(seed)
    u = (torch.rand(steps, generator=generator, dtype=torch.float64) - 0.5) * 1.6
    states = unroll(cell, u.reshape(-1, 1, 1).to(cell.zeros(1))).outputs[:, 0].double()
    past = torch.stack([torch.roll(u, k) for k in range(1, delays + 1)], 1)
    begin = max(washout, delays)
    middle = begin + (steps - begin) // 2
    if middle - begin < states.shape[1]:
        raise ValueError(f"{steps} steps are too few for {states.shape[1]} units and {delays} delays; give more")
    Z = torch.cat([states, torch.ones(steps, 1, dtype=torch.float64)], 1)
    W = ridge(Z[begin:middle], past[begin:middle], penalty)
    guess, truth = Z[middle:] @ W.T, past[middle:]
    guess, truth = guess - guess.mean(0), truth - truth.mean(0)
    return (guess * truth).sum(0) ** 2 / (guess.square().sum(0) * truth.square().sum(0) + 1e-300)
