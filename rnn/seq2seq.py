"""Read a whole sequence, then generate another: encoder and decoder, with attention and residual layers if wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.attention import attention_weights
from rnn.cell import Cell, map_state
from rnn.models import make_cell
from rnn.stack import Bidirectional, Stack
from rnn.unroll import unroll

__all__ = ["EncoderDecoder", "Generated"]


class Generated(NamedTuple):
    """Outputs [S, B, O]; where each step looked, [S, B, T], if there is attention; the decoder's final state."""

    outputs: Tensor
    attention: Tensor | None
    state: Any


class EncoderDecoder(nn.Module):
    r"""The whole input is read before the first output is made.

    .. math::
        s = \mathrm{encoder}(x_1 \ldots x_T), \qquad g_0 = \tanh(M s), \qquad
        g_t = \mathrm{decoder}([y_{t-1}; c_t], g_{t-1}), \qquad y_t = W [g_t; c_t] + b

    The summary s is the encoder's state after the last sample. With `attention`, `c_t` is the average of the encoder's
    outputs at all times, weighted by `softmax(K e_s . Q g_{t-1})`; without, c_t is absent and everything must pass
    through s. Decoding is teacher-forced (y_{t-1} is the target) or free-running (it is its own output).

    References:
        Sequence to Sequence Learning with Neural Networks (Sutskever, Vinyals & Le, 2014); Neural Machine Translation
        by Jointly Learning to Align and Translate (Bahdanau, Cho & Bengio, 2014); for the bidirectional first layer
        and the residual stack: Google's Neural Machine Translation System (Wu et al., 2016).

    Args:
        input_size: I.
        output_size: O.
        hidden_size: H.
        cell: name of the cells, see `rnn.models`.
        layers: layers of encoder and decoder, residual from the second on.
        bidirectional: let the encoder's first layer read from both ends.
        attention: let the decoder look at the encoder's outputs.

    >>> model = EncoderDecoder(2, 1, 8, attention=True)
    >>> model(torch.zeros(7, 3, 2), steps=4).attention.shape
    torch.Size([4, 3, 7])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        attention: bool = False,
    ):
        super().__init__()
        self.input_size, self.output_size, self.hidden_size = input_size, output_size, hidden_size
        heard = input_size
        self.ends: Bidirectional | None = None
        if bidirectional:
            self.ends = Bidirectional(
                make_cell(cell, input_size, hidden_size), make_cell(cell, input_size, hidden_size)
            )
            heard = self.ends.output_size
        deep = lambda inputs: Stack(
            [make_cell(cell, inputs if i == 0 else hidden_size, hidden_size) for i in range(layers)], residual=True
        )
        self.encoder = deep(heard)
        self.decoder = deep(output_size + (hidden_size if attention else 0))
        width = sum(leaf[0].numel() for leaf in _leaves(self.encoder.initial_state(1)))
        self.bridge = nn.Linear(width, width)
        self.query = nn.Linear(hidden_size, hidden_size) if attention else None
        self.key = nn.Linear(hidden_size, hidden_size) if attention else None
        self.readout = nn.Linear(hidden_size + (hidden_size if attention else 0), output_size)

    def encode(self, xs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encoder outputs [T, B, H] and the summary [B, S] of sequences xs [T, B, I] of these lengths [B]."""
        if self.ends is not None:
            xs = self.ends(xs, lengths=lengths).outputs
        if lengths is None:
            run = unroll(self.encoder, xs)
            return run.outputs, _flat(run.state)
        outputs, summary = [], None
        state = self.encoder.initial_state(xs.shape[1])
        for t, x in enumerate(xs.unbind(0)):
            y, new = self.encoder(x, state)
            live = (t < lengths).to(x.device)
            going = lambda n, o, live=live: torch.where(live.reshape(-1, *[1] * (n.dim() - 1)), n, o)
            state = map_state(going, new, state)
            outputs.append(y)
        summary = _flat(state)
        return torch.stack(outputs), summary

    def forward(
        self, xs: Tensor, *, steps: int | None = None, targets: Tensor | None = None, lengths: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Generated:  # fmt: skip
        """Read xs [T, B, I], then generate.

        Args:
            xs: inputs.
            steps: S; None for the length of the targets.
            targets: [S, B, O]; given, the decoder is fed with them (teacher forcing), else with its own outputs.
            lengths: true length of each input [B].
            first: what stands for the output before the first, [B, O]; None for zeros.

        Raises:
            ValueError: neither steps nor targets.
        """
        if steps is None and targets is None:
            raise ValueError("give `steps` to run free, or `targets` to be led by a teacher")
        steps = len(targets) if steps is None else steps  # type: ignore[arg-type]
        encoded, summary = self.encode(xs, lengths)
        state = _unflat(self.decoder, torch.tanh(self.bridge(summary)))
        y = xs.new_zeros(xs.shape[1], self.output_size) if first is None else first
        g = _top(state)
        keys = self.key(encoded).transpose(0, 1) if self.key is not None else None  # [B, T, H]
        may = None if lengths is None else torch.arange(len(xs), device=xs.device) < lengths[:, None].to(xs.device)
        outputs, looks = [], []
        for t in range(steps):
            context = []
            if keys is not None and self.query is not None:
                weights = attention_weights(self.query(g)[:, None], keys, None if may is None else may[:, None])[:, 0]
                context = [torch.einsum("bt,tbh->bh", weights, encoded)]
                looks.append(weights)
            g, state = self.decoder(torch.cat([y, *context], -1), state)
            outputs.append(self.readout(torch.cat([g, *context], -1)))
            y = outputs[-1] if targets is None else targets[t]
        return Generated(torch.stack(outputs), torch.stack(looks) if looks else None, state)


def _leaves(state: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(leaf: Tensor) -> Tensor:
        found.append(leaf)
        return leaf

    map_state(keep, state)
    return found


def _flat(state: Any) -> Tensor:
    return torch.cat([leaf.flatten(1) for leaf in _leaves(state)], -1)


def _unflat(cell: Cell, flat: Tensor) -> Any:
    shapes = [leaf.shape for leaf in _leaves(cell.initial_state(len(flat)))]
    parts = iter(flat.split([shape[1:].numel() for shape in shapes], -1))
    return map_state(lambda leaf: next(parts).reshape(leaf.shape), cell.initial_state(len(flat)))


def _top(state: Any) -> Tensor:
    """What the last layer said last: its field h."""
    return state[-1].h
