"""Long short-term memory, opened up: every gate and state has a name, and every part can be left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import squashing, uniform
from rnn.fused import Hold, lstm_sequence

__all__ = ["LSTMCell", "LSTMState"]

ROWS = ("input_gate", "forget", "candidate", "output_gate")  # the order of torch.nn.LSTM: i, f, g, o
GATES = ("input_gate", "forget", "output_gate")


class LSTMState(NamedTuple):
    h: Tensor
    c: Tensor


class LSTMCell(Cell):
    r"""A memory cell behind gates.

    .. math::
        i_t &= \sigma(W_i x_t + U_i h_{t-1} + b_i), \quad f_t, o_t \text{ likewise}, \quad
        g_t = \tanh(W_g x_t + U_g h_{t-1} + b_g) \\
        c_t &= f_t c_{t-1} + i_t g_t, \qquad y_t = h_t = o_t \tanh(c_t)

    Quantities: `input`, `input_gate`, `forget`, `candidate`, `output_gate`, `c`, `h`. A gate that is left out is 1 and
    has no quantity. Without any gate what remains is the constant-error carousel, `c_t = c_{t-1} + g_t`; without the
    forget gate c is a running sum.

    References:
        Long Short-Term Memory (Hochreiter & Schmidhuber, 1997); Learning to Forget (Gers, Schmidhuber & Cummins, 2000).

    Args:
        input_size: I.
        hidden_size: H.
        gates: which of "input_gate", "forget", "output_gate" exist.
        reads: what a gate or the candidate hears, "xh" (default), "x", "h" or "" (its bias alone), by name.
        blocks: number of equal groups of units; recurrent weights stay inside a group.
        squash: output squashing of c, "tanh" or "identity".
        forget_bias: b_f at the start; 1 keeps the memory open, as in "An Empirical Exploration of Recurrent Network
            Architectures" (Jozefowicz, Zaremba & Sutskever, 2015).
        input_gate_bias: b_i at the start; negative values keep long sequences from flooding the memory.

    >>> cell = LSTMCell(3, 4, gates=(), squash="identity")
    >>> from rnn.cell import quantities
    >>> list(quantities(cell))
    ['input', 'candidate', 'c', 'h']

    Raises:
        ValueError: an unknown gate or reading, or a width that the blocks do not divide.
    """

    mask_ih: Tensor | None
    mask_hh: Tensor | None
    sequence_seen = ("h",)
    sequence_holds = ("h", "c")
    sequence_on_cpu = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        gates: Collection[str] = GATES,
        reads: Mapping[str, str] | None = None,
        blocks: int = 1,
        squash: str = "tanh",
        forget_bias: float = 1.0,
        input_gate_bias: float = 0.0,
    ):
        super().__init__()
        reads = dict(reads or {})
        _check(gates, reads, blocks, hidden_size)
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.gates, self.reads, self.blocks, self.squash = tuple(gates), reads, blocks, squash
        self.s = squashing(squash)
        self.weight_ih = uniform(4 * hidden_size, input_size, hidden_size)
        self.weight_hh = uniform(4 * hidden_size, hidden_size, hidden_size)
        bias = torch.zeros(4, hidden_size)
        bias[ROWS.index("input_gate")] = input_gate_bias
        bias[ROWS.index("forget")] = forget_bias
        self.bias = nn.Parameter(bias.flatten())
        self._make_masks()

    @property
    def standard(self) -> bool:
        """Whether this is the network of `torch.nn.LSTM`, up to weights that are held at zero."""
        return set(self.gates) == set(GATES) and self.squash == "tanh"

    @property
    def sequence_path(self) -> str | None:
        """The fast path that `unroll` may take."""
        return "fused" if self.standard else None

    def initial_state(self, batch: int) -> LSTMState:
        return LSTMState(self.zeros(batch, self.hidden_size), self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: LSTMState, tap: Tap = no_tap) -> tuple[Tensor, LSTMState]:
        x = tap("input", x)
        weight_ih, weight_hh = self.weights()
        z_i, z_f, z_g, z_o = (linear(x, weight_ih, self.bias) + linear(state.h, weight_hh)).chunk(4, -1)
        g = tap("candidate", torch.tanh(z_g))
        if "input_gate" in self.gates:
            g = tap("input_gate", torch.sigmoid(z_i)) * g
        kept = tap("forget", torch.sigmoid(z_f)) * state.c if "forget" in self.gates else state.c
        c = tap("c", kept + g)
        h = self.s(c)
        if "output_gate" in self.gates:
            h = tap("output_gate", torch.sigmoid(z_o)) * h
        h = tap("h", h)
        return h, LSTMState(h, c)

    def sequence(
        self, xs: Tensor, state: LSTMState, resets: Tensor | None, fresh: LSTMState | None, holds: tuple[Hold, ...] = ()
    ) -> tuple[Tensor, LSTMState, dict[str, Tensor]]:
        """Many steps in torch's fused kernel (see `rnn.fused`)."""
        return lstm_sequence(self, xs, state, resets, fresh, holds)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Input and recurrent weights [4H, I] and [4H, H] in the order i, f, g, o, zero where nothing is connected."""
        weight_ih = self.weight_ih if self.mask_ih is None else self.weight_ih * self.mask_ih
        weight_hh = self.weight_hh if self.mask_hh is None else self.weight_hh * self.mask_hh
        return weight_ih, weight_hh

    @classmethod
    def from_torch(cls, module: nn.LSTM, layer: int = 0) -> LSTMCell:
        """A cell with the weights of one layer of a `torch.nn.LSTM`."""
        cell = cls(module.input_size if layer == 0 else module.hidden_size, module.hidden_size)
        part = {name: getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        cell.to(part["weight_ih"])
        with torch.no_grad():
            cell.weight_ih.copy_(part["weight_ih"])
            cell.weight_hh.copy_(part["weight_hh"])
            cell.bias.copy_(part["bias_ih"] + part["bias_hh"])
        return cell

    def _make_masks(self) -> None:
        size = self.hidden_size // self.blocks
        block = torch.block_diag(*[torch.ones(size, size)] * self.blocks)
        hears_x = torch.tensor([float("x" in self.reads.get(name, "xh")) for name in ROWS])
        hears_h = torch.tensor([float("h" in self.reads.get(name, "xh")) for name in ROWS])
        mask_ih = hears_x.repeat_interleave(self.hidden_size)[:, None].expand_as(self.weight_ih)
        mask_hh = hears_h.repeat_interleave(self.hidden_size)[:, None] * block.repeat(4, 1)
        self.register_buffer("mask_ih", None if mask_ih.all() else mask_ih.clone(), persistent=False)
        self.register_buffer("mask_hh", None if mask_hh.all() else mask_hh.clone(), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, gates={self.gates}, squash={self.squash!r}"


def _check(gates: Collection[str], reads: Mapping[str, str], blocks: int, hidden_size: int) -> None:
    if unknown := set(gates) - set(GATES):
        raise ValueError(f"unknown gates {sorted(unknown)}; an LSTM has {', '.join(GATES)}")
    if unknown := set(reads) - set(ROWS):
        raise ValueError(f"`reads` names {sorted(unknown)}; the names are {', '.join(ROWS)}")
    if wrong := {name: what for name, what in reads.items() if set(what) - set("xh")}:
        raise ValueError(f"`reads` says {wrong}; each entry is 'xh', 'x', 'h' or ''")
    if blocks < 1 or hidden_size % blocks:
        raise ValueError(f"`blocks` is {blocks}, but H={hidden_size} units must divide into equal blocks")
