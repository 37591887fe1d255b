"""Whole sequences of an LSTM in the kernel of oneDNN, which knows no resets: a reset becomes a step with shut gates.

Before a step with a reset one step more is put in whose input, forget and output gates are shut by an input of their
own: after it c and h are 0, and no gradient comes through. Rows with fewer resets than others are idle at the end,
with the input gate shut and the forget gate open, which keeps c. At the batches of a CPU the kernel takes half of what
the same arithmetic costs in numpy (`rnn.gate_kernels`), and a longer sequence a fraction of what more rows do
(`rnn.fused.Episodes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import _VF, Tensor

from rnn.fused import OPEN, SHUT

__all__ = ["has_lstm_kernel", "lstm_sequences"]


def has_lstm_kernel(xs: Tensor) -> bool:
    """Whether torch has the kernel for inputs like these: single precision on a CPU that oneDNN serves."""
    return xs.dtype == torch.float32 and xs.device.type == "cpu" and torch.backends.mkldnn.is_available()


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
    if resets is not None and resets[0].any():
        fresh = resets[0][:, None]
        states = [(torch.where(fresh, 0.0, h), torch.where(fresh, 0.0, c)) for h, c in states]
    weights, longer = list(weights), None
    if resets is not None and resets[1:].any():
        longer, further = map(torch.from_numpy, _stretch(resets.numpy().tobytes(), len(resets)))
        long = xs.new_zeros(*further.shape[:2], xs.shape[-1]).flatten(0, 1).index_copy(0, longer, xs.flatten(0, 1))
        xs = torch.cat([long.view(*further.shape[:2], -1), further], -1)
        weights = [(torch.cat([w_ih, _columns(len(w_ih) // 4)], 1), w_hh, bias) for w_ih, w_hh, bias in weights]
    runs = []
    for (w_ih, w_hh, bias), (h, c) in zip(weights, states, strict=True):
        parts = [w_ih, w_hh, bias, torch.zeros_like(bias)]
        ys, _, last = _VF.lstm(xs, (h[None], c[None]), parts, True, 1, 0.0, torch.is_grad_enabled(), False, False)
        if longer is not None:
            ys = ys.flatten(0, 1).index_select(0, longer).view(-1, *ys.shape[1:])
        runs.append((ys, last[0]))
    return runs


@lru_cache(maxsize=64)  # of a rollout that is learned from in one piece, all epochs have the same
def _stretch(flags: bytes, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the steps stand in the longer time, flat [T B], and its further inputs, shut and idle, [L, B, 2]."""
    resets = np.frombuffer(flags, dtype=bool).reshape(steps, -1).copy()
    resets[0] = False
    at = np.arange(steps)[:, None] + resets.cumsum(0)
    rows = np.broadcast_to(np.arange(resets.shape[1]), at.shape)
    further = np.zeros((int(at[-1].max()) + 1, resets.shape[1], 2), dtype=np.float32)
    further[..., 1] = 1.0
    further[at, rows] = 0.0
    further[at[resets] - 1, rows[resets]] = 1.0, 0.0
    return (at * resets.shape[1] + rows).ravel(), further


def _columns(hidden: int) -> Tensor:
    """Input weights of the two further inputs, [4H, 2]: what they do to the gates i, f, g, o."""
    gates = np.array([[SHUT, SHUT], [SHUT, OPEN], [0.0, 0.0], [SHUT, 0.0]], dtype=np.float32)
    return torch.from_numpy(gates.repeat(hidden, axis=0))
