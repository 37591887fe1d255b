"""Linear recurrences: moving averages, filters, and the learned linear state space with steered dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import uniform

__all__ = ["DYNAMICS", "FiniteAverage", "LinearCell", "MovingAverage", "dynamics_penalty", "filter_cell"]


class MovingAverageState(NamedTuple):
    h: Tensor


class MovingAverage(Cell):
    """Exponential moving average, `h_t = g h_{t-1} + (1 - g) x_t`, read one step late, `y_t = h_{t-1}`.

    Args:
        size: number of channels.
        decay: g in [0, 1), per step.
    """

    def __init__(self, size: int, *, decay: float):
        super().__init__()
        self.input_size = self.output_size = size
        self.register_buffer("g", torch.tensor(float(decay)))
        self.g: Tensor

    def initial_state(self, batch: int) -> MovingAverageState:
        return MovingAverageState(self.zeros(batch, self.input_size))

    def forward(self, x: Tensor, state: MovingAverageState, tap: Tap = no_tap) -> tuple[Tensor, MovingAverageState]:
        x = tap("input", x)
        h = tap("h", self.g * state.h + (1 - self.g) * x)
        return state.h, MovingAverageState(h)


class FiniteAverageState(NamedTuple):
    past: Tensor


class FiniteAverage(Cell):
    """Finite moving average, `y_t = a x_t + b x_{t-1} + c x_{t-2} + ...`: its memory is the last inputs and no more.

    Quantities: `input`, `past` (channels of x_{t-1}, then of x_{t-2}, ...), `y`.

    Args:
        size: number of channels.
        weights: a, b, c ..., one per step back in time, the present first.

    >>> from rnn.unroll import unroll
    >>> pulse = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    >>> unroll(FiniteAverage(1, weights=(0.5, 0.25, 0.125)), pulse).outputs.flatten().tolist()
    [0.5, 0.25, 0.125, 0.0]
    """

    activity = "y"

    def __init__(self, size: int, *, weights: Sequence[float]):
        super().__init__()
        if len(weights) < 1:
            raise ValueError("`weights` is empty; give at least the weight of the present input")
        self.input_size = self.output_size = size
        self.register_buffer("weights", torch.tensor([float(w) for w in weights]))
        self.weights: Tensor

    def initial_state(self, batch: int) -> FiniteAverageState:
        return FiniteAverageState(self.zeros(batch, (len(self.weights) - 1) * self.input_size))

    def forward(self, x: Tensor, state: FiniteAverageState, tap: Tap = no_tap) -> tuple[Tensor, FiniteAverageState]:
        x = tap("input", x)
        window = torch.cat([x, tap("past", state.past)], -1)  # [B, n I]
        y = torch.einsum("k,bki->bi", self.weights, window.unflatten(-1, (-1, self.input_size)))
        return tap("y", y), FiniteAverageState(window[:, : state.past.shape[1]])


class LinearState(NamedTuple):
    h: Tensor


DYNAMICS = ("free", "slow", "damped", "oscillating")


class LinearCell(Cell):
    r"""Linear state space, all four matrices learned.

    .. math::
        \begin{bmatrix} y_t \\ h_t \end{bmatrix} = \begin{bmatrix} A & B \\ C & D \end{bmatrix}
        \begin{bmatrix} x_t \\ h_{t-1} \end{bmatrix}

    The output is read one step late. Moving averages, filters with memory and discretised oscillators are instances
    (`from_matrices`). The dynamics can be steered by how D is made, for any value of the parameters:

    - "free": any D; `dynamics_penalty` steers it by a cost instead.
    - "slow": real eigenvalues in (1 - 1/horizon, 1): nothing fades in fewer steps than the horizon.
    - "damped": pairs `rho e^{+-i theta}` with rho in (0, 1): it rings and fades.
    - "oscillating": pairs on the unit circle: it rings for ever.

    In the last three D is diagonal or built of 2 x 2 rotations, which by a change of basis (that B and C absorb) covers
    every diagonalisable D of that kind.

    Args:
        input_size: I.
        hidden_size: H; even for "damped" and "oscillating".
        output_size: O; None for O = H.
        dynamics: how D is made.
        horizon: steps, for "slow".

    >>> cell = LinearCell(1, 4, dynamics="oscillating")
    >>> bool(torch.allclose(torch.linalg.eigvals(cell.D).abs(), torch.ones(4)))
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
        dynamics: str = "free",
        horizon: float = 20.0,
    ):
        super().__init__()
        if dynamics not in DYNAMICS:
            raise ValueError(f"unknown dynamics {dynamics!r}; choose one of {', '.join(DYNAMICS)}")
        paired = dynamics in ("damped", "oscillating")
        if paired and hidden_size % 2:
            raise ValueError(f"{dynamics!r} dynamics come in pairs of units, received H={hidden_size}; pass an even H")
        if horizon <= 1:
            raise ValueError(f"`horizon` must exceed 1 step, received {horizon}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = hidden_size if output_size is None else output_size
        self.dynamics, self.horizon = dynamics, float(horizon)
        self.A = uniform(self.output_size, input_size, hidden_size)
        self.B = uniform(self.output_size, hidden_size, hidden_size)
        self.C = uniform(hidden_size, input_size, hidden_size)
        n = hidden_size // 2 if paired else hidden_size
        self.matrix = uniform(hidden_size, hidden_size, hidden_size) if dynamics == "free" else None
        self.rate = nn.Parameter(torch.linspace(-1.0, 4.0, n)) if dynamics in ("slow", "damped") else None
        self.theta = nn.Parameter(torch.linspace(0.05, 1.5, n)) if paired else None

    @property
    def D(self) -> Tensor:
        """State transition [H, H]."""
        if self.matrix is not None:
            return self.matrix
        if self.theta is None:
            return torch.diag(1 - torch.sigmoid(-self.rate) / self.horizon)  # type: ignore[operator]
        rho = torch.sigmoid(self.rate) if self.rate is not None else torch.ones_like(self.theta)
        cos, sin = rho * torch.cos(self.theta), rho * torch.sin(self.theta)
        return torch.block_diag(*torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2)).unbind(0))

    def initial_state(self, batch: int) -> LinearState:
        return LinearState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: LinearState, tap: Tap = no_tap) -> tuple[Tensor, LinearState]:
        x = tap("input", x)
        h = tap("h", linear(x, self.C) + linear(state.h, self.D))
        return tap("y", linear(x, self.A) + linear(state.h, self.B)), LinearState(h)

    def sequence(
        self, xs: Tensor, state: LinearState, resets: Tensor | None, fresh: LinearState | None, holds: tuple[()] = ()
    ) -> tuple[Tensor, LinearState, dict[str, Tensor]]:
        """The whole sequence, with all that does not hang on the state done at once."""
        D, h, before, after = self.D.T, state.h, [], []
        again = [False] * len(xs) if resets is None else resets.any(1).tolist()
        for t, u in enumerate(linear(xs, self.C).unbind(0)):
            if again[t] and resets is not None and fresh is not None:
                h = torch.where(resets[t][:, None], fresh.h, h)
            before.append(h)
            h = torch.addmm(u, h, D)
            after.append(h)
        y = linear(xs, self.A) + linear(torch.stack(before), self.B)
        return y, LinearState(h), {"h": torch.stack(after), "y": y}

    def eigenvalues(self) -> Tensor:
        """Eigenvalues of the state transition, complex [H], largest modulus first."""
        values = torch.linalg.eigvals(self.D)
        return values[values.abs().argsort(descending=True, stable=True)]

    @classmethod
    def from_matrices(cls, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> LinearCell:
        """A cell with given matrices: A [O, I], B [O, H], C [H, I], D [H, H], in their dtype."""
        (outputs, inputs), hidden = A.shape, D.shape[0]
        if B.shape != (outputs, hidden) or C.shape != (hidden, inputs) or D.shape != (hidden, hidden):
            shapes = [tuple(m.shape) for m in (A, B, C, D)]
            raise ValueError(f"A, B, C, D must be [O, I], [O, H], [H, I], [H, H], received {shapes}")
        cell = cls(inputs, hidden, output_size=outputs).to(A)
        assert cell.matrix is not None
        with torch.no_grad():
            for parameter, value in ((cell.A, A), (cell.B, B), (cell.C, C), (cell.matrix, D)):
                parameter.copy_(value)
        return cell

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, output_size={self.output_size}, dynamics={self.dynamics!r}"


def filter_cell(w1: float, w2: float, w3: float | None = None, w4: float | None = None) -> LinearCell:
    """The first-order filter `y_t = w1 x_t + w2 y_{t-1}`, or, with w3 and w4, the filter with a memory of its own,
    `y_t = w1 x_t + w2 m_{t-1}`, `m_t = w3 x_t + w4 m_{t-1}`, as linear cells. The first is the second with m = y.

    >>> from rnn.unroll import unroll
    >>> unroll(filter_cell(0.5, 0.5), torch.ones(3, 1, 1)).outputs.flatten().tolist()
    [0.5, 0.75, 0.875]
    """
    w3, w4 = w1 if w3 is None else w3, w2 if w4 is None else w4
    return LinearCell.from_matrices(*(torch.tensor([[float(w)]]) for w in (w1, w2, w3, w4)))


def dynamics_penalty(D: Tensor, kind: str, rho: float = 0.95) -> Tensor:
    """A cost on a state transition D [H, H] that steers the dynamics of what is being learned.

    - "slow": `||D - I||^2`, the state changes little per step.
    - "damped": `sum max(0, |lambda| - rho)^2`, no mode outlives `-1 / ln(rho)` steps.
    - "oscillating": `||D^T D - I||^2`, modes keep their amplitude.

    Raises:
        ValueError: another kind.
    """
    eye = torch.eye(D.shape[-1], dtype=D.dtype, device=D.device)
    if kind == "slow":
        return (D - eye).square().sum()
    if kind == "damped":
        return torch.relu(torch.linalg.eigvals(D).abs() - rho).square().sum()
    if kind == "oscillating":
        return (D.T @ D - eye).square().sum()
    raise ValueError(f"unknown dynamics {kind!r}; choose one of {', '.join(DYNAMICS[1:])}")
