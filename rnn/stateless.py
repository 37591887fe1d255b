"""Models without a recurrent state, in the form of cells: by frame, by sliding window, by causal convolution."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import squashing, uniform
from rnn.fused import TooHard

__all__ = ["ConvolutionCell", "FrameCell", "WindowCell"]


class FrameState(NamedTuple):
    h: Tensor


class FrameCell(Cell):
    """Each frame by itself, `y_t = h_t = s(V x_t + b) - c`. Its state is what it said last, which it never hears.

    Args:
        input_size: I.
        hidden_size: H.
        squash: s, as in `rnn.elman.ElmanCell`.
        offset: learn c [H], which starts at 0; without it c = 0.

    >>> cell = FrameCell(2, 3)
    >>> x, a, b = torch.ones(1, 2), FrameState(torch.zeros(1, 3)), FrameState(torch.ones(1, 3))
    >>> bool((cell(x, a)[0] == cell(x, b)[0]).all())
    True
    """

    sequence_path = "scan"
    sequence_seen = ("h",)

    def __init__(self, input_size: int, hidden_size: int, *, squash: str = "tanh", offset: bool = False):
        super().__init__()
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.squash, self.s = squash, squashing(squash)
        self.weight = uniform(hidden_size, input_size, input_size)
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.offset = nn.Parameter(torch.zeros(hidden_size)) if offset else None

    def initial_state(self, batch: int) -> FrameState:
        return FrameState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: FrameState, tap: Tap = no_tap) -> tuple[Tensor, FrameState]:
        h = tap("h", self._say(tap("input", x)))
        return h, FrameState(h)

    def sequence(
        self, xs: Tensor, state: FrameState, resets: Tensor | None, fresh: FrameState | None, holds: tuple[()] = ()
    ) -> tuple[Tensor, FrameState, dict[str, Tensor]]:
        """All frames at once; resets change nothing, since the past is never heard."""
        ys = self._say(xs)
        return ys, FrameState(ys[-1]), {"h": ys}

    def _say(self, x: Tensor) -> Tensor:
        y = self.s(linear(x, self.weight, self.bias))
        return y if self.offset is None else y - self.offset

    @torch.no_grad()
    def standardise(self, xs: Tensor) -> None:
        """Start from data: `V x + b` has mean 0 and variance 1 over xs [..., I], and so, with an offset, y has mean 0.

        What follows may then add up many frames without adding up a constant, which would drown the rest. The weights
        are drawn anew, in random directions. As in "Weight Normalization" (Salimans & Kingma, 2016), section 3.

        Raises:
            ValueError: an input that is constant over xs in every channel.

        >>> cell = FrameCell(2, 3, squash="relu", offset=True)
        >>> xs = torch.rand(1000, 2)
        >>> cell.standardise(xs)
        >>> bool(cell(xs, cell.initial_state(1000))[0].mean(0).abs().max() < 1e-5)
        True
        """
        xs = xs.reshape(-1, self.input_size)
        if not xs.std(0).any():
            raise ValueError("inputs that never change cannot be standardised; pass the inputs of a batch of sequences")
        self.weight.normal_()
        self.weight.div_((xs @ self.weight.T).std(0)[:, None])
        self.bias.copy_(-self.weight @ xs.mean(0))
        if self.offset is not None:
            self.offset.copy_(self.s(linear(xs, self.weight, self.bias)).mean(0))


class WindowState(NamedTuple):
    past: Tensor


class WindowCell(Cell):
    """The last n frames, `y_t = h_t = s(V_0 x_t + V_1 x_{t-1} + ... + V_{n-1} x_{t-n+1} + b)`; before the start they
    are 0.

    Nothing older than the window can reach the output. Quantities: `input`, `past` (channels of x_{t-1}, then of
    x_{t-2}, ...), `h`.

    Args:
        input_size: I.
        hidden_size: H.
        window: n, frames.
        squash: s, as in `rnn.elman.ElmanCell`.

    >>> WindowCell(2, 3, window=5).initial_state(1).past.shape
    torch.Size([1, 8])
    """

    def __init__(self, input_size: int, hidden_size: int, *, window: int = 8, squash: str = "tanh"):
        super().__init__()
        if window < 2:
            raise ValueError(f"a window has at least 2 frames, received {window}; for 1 use FrameCell")
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.window, self.squash, self.s = window, squash, squashing(squash)
        self.weight = uniform(hidden_size, window * input_size, window * input_size)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch: int) -> WindowState:
        return WindowState(self.zeros(batch, (self.window - 1) * self.input_size))

    def forward(self, x: Tensor, state: WindowState, tap: Tap = no_tap) -> tuple[Tensor, WindowState]:
        x = tap("input", x)
        seen = torch.cat([x, tap("past", state.past)], -1)  # [B, n I]
        h = tap("h", self.s(linear(seen, self.weight, self.bias)))
        return h, WindowState(seen[:, : state.past.shape[1]])

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, window={self.window}"


class ConvolutionCell(Cell):
    r"""Causal 1-D convolutions on top of each other, each looking twice as far back as the one below.

    .. math:: h^l_t = s\Big(\sum_{j<k} V^l_j\, h^{l-1}_{t - j 2^l} + b^l\Big), \qquad h^{-1} = x

    The output sees `1 + (k - 1)(2^L - 1)` frames. As a cell it keeps what each layer still has to look back on; over
    a whole sequence (`path="scan"`) it is L convolutions. Quantities: `input`, `layer0`, `layer1`, ..., `h` (the last).

    References:
        An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling (Bai et al.,
        2018).

    Args:
        input_size: I.
        hidden_size: H, channels of each layer.
        layers: L.
        kernel: k, frames.
        squash: s, as in `rnn.elman.ElmanCell`.

    >>> ConvolutionCell(2, 3, layers=4).reach
    31
    """

    sequence_path = "scan"
    sequence_seen = ("h",)

    def __init__(self, input_size: int, hidden_size: int, *, layers: int = 4, kernel: int = 3, squash: str = "tanh"):
        super().__init__()
        if layers < 1 or kernel < 2:
            raise ValueError(f"a convolution needs layers >= 1 and kernel >= 2, received {layers} and {kernel}")
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.layers, self.kernel, self.squash, self.s = layers, kernel, squash, squashing(squash)
        widths = [input_size] + [hidden_size] * (layers - 1)
        self.weights = nn.ParameterList(
            nn.Parameter(uniform(hidden_size, w * kernel, w * kernel).unflatten(1, (w, kernel)).detach().clone())
            for w in widths
        )  # [H, channels, kernel], the present frame last, as conv1d has it
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(hidden_size)) for _ in widths)
        self.widths = widths
        self.State = namedtuple("ConvolutionState", [f"past{l}" for l in range(layers)])  # type: ignore[misc]

    @property
    def reach(self) -> int:
        """Frames that the output sees."""
        return 1 + (self.kernel - 1) * (2**self.layers - 1)

    def initial_state(self, batch: int) -> Any:
        spans = [(self.kernel - 1) * 2**l for l in range(self.layers)]
        return self.State(*(self.zeros(batch, n, w) for n, w in zip(spans, self.widths, strict=True)))

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        h, kept = tap("input", x), []
        for l, past in enumerate(state):
            seen = torch.cat([past, h[:, None]], 1)  # [B, (k - 1) 2^l + 1, channels], oldest first
            kept.append(seen[:, 1:])
            z = torch.einsum("hck,bkc->bh", self.weights[l], seen[:, :: 2**l]) + self.biases[l]
            h = tap(f"layer{l}", self.s(z))
        return tap("h", h), self.State(*kept)

    def sequence(
        self, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[()] = ()
    ) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """The whole sequence, layer by layer."""
        if resets is not None:
            raise TooHard("a convolution looks across resets")
        h, kept = xs.permute(1, 2, 0), []  # [B, channels, T]
        for l, past in enumerate(state):
            seen = torch.cat([past.transpose(1, 2), h], -1)
            kept.append(seen[..., seen.shape[-1] - past.shape[1] :].transpose(1, 2))
            h = self.s(conv1d(seen, self.weights[l], self.biases[l], dilation=2**l))
        ys = h.permute(2, 0, 1)
        return ys, self.State(*kept), {"h": ys}

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, layers={self.layers}, kernel={self.kernel}"
