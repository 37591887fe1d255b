"""Whole sequences of an LSTM in the kernel of oneDNN, which knows no resets: a reset becomes a step with shut gates.

Before a step with a reset one step more is put in whose input, forget and output gates are shut by an input of their
own: after it c and h are 0, and no gradient comes through. Rows with fewer resets than others are idle at the end,
with the input gate shut and the forget gate open, which keeps c. At the batches of a CPU the kernel takes half of what
the same arithmetic costs in numpy (`rnn.gate_kernels`), and a longer sequence a fraction of what more rows do
(`rnn.fused.Episodes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import _VF, Tensor

from rnn.fused import OPEN, SHUT

__all__ = ["has_lstm_kernel", "lstm_sequences"]


def has_lstm_kernel(xs: Tensor) -> bool:
    """Whether torch has the kernel for inputs like these: single precision on a CPU that oneDNN serves."""
    return xs.dtype == torch.float32 and xs.device.type == "cpu" and torch.backends.mkldnn.is_available()


class _Stretched:
    """Time with a shut step before each reset, and idle steps that make all rows equally long: T steps become L.

    Attributes:
        index: where the steps [T, B] stand among those of the longer time, flat, [T B].
        flags: further inputs [L, B, 2]: whether a step is shut, and whether it is idle.
    """

    def __init__(self, resets: np.ndarray):
        steps, batch = resets.shape
        at = np.arange(steps)[:, None] + resets.cumsum(0)
        rows = np.broadcast_to(np.arange(batch), at.shape)
        flags = np.zeros((int(at[-1].max()) + 1, batch, 2), dtype=np.float32)
        flags[..., 1] = 1.0
        flags[at, rows] = 0.0
        flags[at[resets] - 1, rows[resets]] = 1.0, 0.0
        self.index, self.flags = torch.from_numpy((at * batch + rows).ravel()), torch.from_numpy(flags)

    def inputs(self, xs: Tensor) -> Tensor:
        """Inputs [L, B, I + 2] from those of the steps [T, B, I]."""
        length, batch, _ = self.flags.shape
        long = xs.new_zeros(length * batch, xs.shape[-1]).index_copy(0, self.index, xs.flatten(0, 1))
        return torch.cat([long.unflatten(0, (length, batch)), self.flags], -1)

    @staticmethod
    def weights(weight_ih: Tensor) -> Tensor:
        """Input weights [4H, I + 2] (i, f, g, o): what the two flags do to the gates."""
        column = weight_ih.new_tensor([[SHUT, SHUT], [SHUT, OPEN], [0.0, 0.0], [SHUT, 0.0]])
        return torch.cat([weight_ih, column.repeat_interleave(len(weight_ih) // 4, 0)], 1)

    def outputs(self, ys: Tensor, steps: int) -> Tensor:
        """Outputs [T, B, H] of the steps from those of the longer time."""
        return ys.flatten(0, 1).index_select(0, self.index).unflatten(0, (steps, ys.shape[1]))


def lstm_sequences(
    weights: Sequence[tuple[Tensor, Tensor, Tensor]],
    xs: Tensor,
    states: Sequence[tuple[Tensor, Tensor]],
    resets: Tensor | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Outputs [T, B, H] and the last c [B, H] of LSTMs that hear the same inputs.

    Args:
        weights: of each, [4H, I], [4H, H] and [4H], in the order i, f, g, o.
        xs: inputs [T, B, I], for which `has_lstm_kernel`.
        states: h and c of each before the first step, [B, H].
        resets: a reset at t acts before step t, [T, B].

    >>> from rnn.lstm import LSTMCell
    >>> cell, xs, zero = LSTMCell(2, 3), torch.randn(4, 1, 2), torch.zeros(1, 3)
    >>> again = torch.tensor([[False], [False], [True], [False]])  # the last two steps are as if they were the first
    >>> (ys, _), = lstm_sequences([(*cell.weights(), cell.bias)], xs, [(zero, zero)], again)
    >>> torch.allclose(ys[2:], lstm_sequences([(*cell.weights(), cell.bias)], xs[2:], [(zero, zero)])[0][0], atol=1e-6)
    True
    """
    steps, longer = len(xs), None
    if resets is not None and resets.any():
        kept = ~resets[0][:, None]
        states = [(h * kept, c * kept) for h, c in states]
        inside = resets.numpy().copy()
        inside[0] = False
        if inside.any():
            longer = _Stretched(inside)
            xs = longer.inputs(xs)
    runs = []
    for (w_ih, w_hh, bias), (h, c) in zip(weights, states, strict=True):
        parts = [w_ih if longer is None else longer.weights(w_ih), w_hh, bias, torch.zeros_like(bias)]
        ys, _, last = _VF.lstm(xs, (h[None], c[None]), parts, True, 1, 0.0, torch.is_grad_enabled(), False, False)
        runs.append((ys if longer is None else longer.outputs(ys, steps), last[0]))
    return runs
