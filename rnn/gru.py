"""Gated recurrent units, and the smallest gated memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import squashing, uniform
from rnn.fused import Hold, gru_sequence

__all__ = ["GRUCell", "MinimalCell"]


class GRUState(NamedTuple):
    h: Tensor


class GRUCell(Cell):
    r"""A gated unit without a separate memory, with the reset gate after the recurrent product, as in `torch.nn.GRU`.

    .. math::
        r_t &= \sigma(W_r x_t + U_r h_{t-1} + b_r), \qquad u_t = \sigma(W_u x_t + U_u h_{t-1} + b_u) \\
        n_t &= \tanh(W_n x_t + b_n + r_t (U_n h_{t-1} + b'_n)), \qquad y_t = h_t = (1 - u_t) n_t + u_t h_{t-1}

    Quantities: `input`, `reset`, `update`, `candidate`, `h`.

    References:
        Learning Phrase Representations using RNN Encoder-Decoder (Cho et al., 2014).

    Args:
        input_size: I.
        hidden_size: H.
        update_bias: b_u at the start; positive values keep the old state.

    >>> from rnn.cell import quantities
    >>> quantities(GRUCell(3, 4))
    {'input': 3, 'reset': 4, 'update': 4, 'candidate': 4, 'h': 4}
    """

    sequence_path = "fused"
    sequence_seen = ("h",)
    sequence_holds = ("h",)

    def __init__(self, input_size: int, hidden_size: int, *, update_bias: float = 0.0):
        super().__init__()
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.weight_ih = uniform(3 * hidden_size, input_size, hidden_size)
        self.weight_hh = uniform(3 * hidden_size, hidden_size, hidden_size)
        bias = torch.zeros(3, hidden_size)
        bias[1] = update_bias
        self.bias = nn.Parameter(bias.flatten())
        self.bias_candidate = nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch: int) -> GRUState:
        return GRUState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: GRUState, tap: Tap = no_tap) -> tuple[Tensor, GRUState]:
        x = tap("input", x)
        x_r, x_u, x_n = linear(x, self.weight_ih, self.bias).chunk(3, -1)
        h_r, h_u, h_n = linear(state.h, self.weight_hh).chunk(3, -1)
        r = tap("reset", torch.sigmoid(x_r + h_r))
        u = tap("update", torch.sigmoid(x_u + h_u))
        n = tap("candidate", torch.tanh(x_n + r * (h_n + self.bias_candidate)))
        h = tap("h", n + u * (state.h - n))
        return h, GRUState(h)

    def sequence(
        self, xs: Tensor, state: GRUState, resets: Tensor | None, fresh: GRUState | None, holds: tuple[Hold, ...] = ()
    ) -> tuple[Tensor, GRUState, dict[str, Tensor]]:
        """Many steps in torch's fused kernel (see `rnn.fused`)."""
        return gru_sequence(self, xs, state, resets, fresh, holds)

    @classmethod
    def from_torch(cls, module: nn.GRU, layer: int = 0) -> GRUCell:
        """A cell with the weights of one layer of a `torch.nn.GRU`."""
        cell = cls(module.input_size if layer == 0 else module.hidden_size, module.hidden_size)
        part = {name: getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        cell.to(part["weight_ih"])
        gates = 2 * module.hidden_size
        with torch.no_grad():
            cell.weight_ih.copy_(part["weight_ih"])
            cell.weight_hh.copy_(part["weight_hh"])
            cell.bias.copy_(part["bias_ih"])
            cell.bias[:gates] += part["bias_hh"][:gates]
            cell.bias_candidate.copy_(part["bias_hh"][gates:])
        return cell

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class MinimalState(NamedTuple):
    h: Tensor


class MinimalCell(Cell):
    r"""The smallest gated memory: one gate decides between keeping and renewing.

    .. math::
        u_t = \sigma(w_5 x_t + w_6 h_{t-1} + b), \qquad
        h_t = u_t\, s(w_3 x_t + w_4 h_{t-1}) + (1 - u_t) h_{t-1}

    read out as `y_t = h_t`, or with an output size as `y_t = w_1 x_t + w_2 h_{t-1}`. With u = 1 and s the identity it
    is the linear filter with memory (`rnn.linear.LinearCell`). Quantities: `input`, `update`, `candidate`, `h`.

    Args:
        input_size: I.
        hidden_size: H.
        output_size: O of the linear readout; None reads h itself.
        squash: s; "identity" is the equation as taught, "tanh" keeps the memory bounded.
        update_bias: b at the start; negative values keep the old state.

    >>> cell = MinimalCell(1, 1, update_bias=-100.0)
    >>> cell(torch.ones(1, 1), MinimalState(torch.full((1, 1), 0.25)))[0].item()
    0.25
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        squash: str = "identity",
        update_bias: float = 0.0,
    ):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = hidden_size if output_size is None else output_size
        self.squash = squash
        self.s = squashing(squash)
        self.weight_ih = uniform(2 * hidden_size, input_size, hidden_size)
        self.weight_hh = uniform(2 * hidden_size, hidden_size, hidden_size)
        self.bias = nn.Parameter(torch.full((hidden_size,), float(update_bias)))
        self.w1 = uniform(output_size, input_size, hidden_size) if output_size is not None else None
        self.w2 = uniform(output_size, hidden_size, hidden_size) if output_size is not None else None

    def initial_state(self, batch: int) -> MinimalState:
        return MinimalState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: MinimalState, tap: Tap = no_tap) -> tuple[Tensor, MinimalState]:
        x = tap("input", x)
        z_u, z_n = (linear(x, self.weight_ih) + linear(state.h, self.weight_hh)).chunk(2, -1)
        u = tap("update", torch.sigmoid(z_u + self.bias))
        n = tap("candidate", self.s(z_n))
        h = tap("h", u * n + (1 - u) * state.h)
        if self.w1 is None or self.w2 is None:
            return h, MinimalState(h)
        return linear(x, self.w1) + linear(state.h, self.w2), MinimalState(h)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, squash={self.squash!r}"
