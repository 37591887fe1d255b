"""Whole sequences of the standard gated cells, forward and backward written out: the fast way on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn.cell import Cell
from rnn.gru import GRUCell, GRUState
from rnn.lstm import LSTMCell, LSTMState
from rnn.unroll import unroll

__all__ = ["has_fast_path", "run_sequence"]


def has_fast_path(cell: Cell) -> bool:
    """Whether `run_sequence` has the cell's equations written out (its standard form, on a CPU)."""
    if next(cell.parameters(), torch.empty(0)).device.type != "cpu":
        return False
    return type(cell) is GRUCell or (type(cell) is LSTMCell and cell.standard)


def run_sequence(cell: Cell, xs: Tensor, state: Any, resets: Tensor | None = None) -> tuple[Tensor, Any]:
    """Outputs [T, B, O] and final state of a cell over inputs [T, B, I]; a reset at t acts before step t.

    Equal to `unroll` in value and gradient. For the standard GRU and LSTM the loop over time runs in numpy and the
    backward pass is the adjoint recurrence, since at the small batches of a CPU the dispatch of a step's dozen
    tensor operations costs several times their arithmetic; the weight gradients are single products over all steps.

    >>> from rnn.gru import GRUCell
    >>> cell, xs = GRUCell(2, 3), torch.randn(5, 4, 2)
    >>> fast, plain = run_sequence(cell, xs, None)[0], unroll(cell, xs).outputs
    >>> torch.allclose(fast, plain, atol=1e-6)
    True
    """
    if not has_fast_path(cell):
        run = unroll(cell, xs, state, resets=resets)
        return run.outputs, run.state
    if xs.dim() != 3 or xs.shape[-1] != cell.input_size:
        raise ValueError(f"`xs` has shape {tuple(xs.shape)}; pass [T, B, {cell.input_size}], time first")
    state = cell.initial_state(xs.shape[1]) if state is None else state
    keep = None if resets is None or not resets.any() else (~resets).to(xs.dtype).unsqueeze(-1)
    if isinstance(cell, GRUCell):
        h = _GRU.apply(xs, state.h, keep, cell.weight_ih, cell.weight_hh, cell.bias, cell.bias_candidate)
        return h, GRUState(h[-1])
    assert isinstance(cell, LSTMCell)
    h, c = _LSTM.apply(xs, state.h, state.c, keep, *cell.weights(), cell.bias)
    return h, LSTMState(h[-1], c)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def _sigmoid(z: np.ndarray) -> None:
    """In place, `1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2`."""
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, xs: Tensor, h0: Tensor, keep: Tensor | None, w_ih: Tensor, w_hh: Tensor, bias: Tensor, b_n: Tensor
    ) -> Tensor:
        x, h, W, U = _array(xs), _array(h0), _array(w_ih), _array(w_hh)
        k = None if keep is None else _array(keep)
        T, B, H = x.shape[0], x.shape[1], h.shape[1]
        gates = (x.reshape(T * B, -1) @ W.T).reshape(T, B, 3 * H)
        gates += _array(bias)
        before, listened = np.empty((T, B, H), x.dtype), np.empty((T, B, 3 * H), x.dtype)
        out = np.empty((T, B, H), x.dtype)
        UT, b = np.ascontiguousarray(U.T), _array(b_n)
        for t in range(T):
            p, g, l, n = before[t], gates[t], listened[t], gates[t, :, 2 * H :]
            if k is None:
                p[:] = h
            else:
                np.multiply(h, k[t], out=p)
            np.matmul(p, UT, out=l)
            g[:, : 2 * H] += l[:, : 2 * H]
            _sigmoid(g[:, : 2 * H])
            l[:, 2 * H :] += b
            n += g[:, :H] * l[:, 2 * H :]
            np.tanh(n, out=n)
            h = out[t]
            np.subtract(p, n, out=h)
            h *= g[:, H : 2 * H]
            h += n
        ctx.saved = (x, k, W, U, gates, before, listened)
        ctx.needs_x = xs.requires_grad
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, k, W, U, gates, before, listened = ctx.saved
        dy = _array(grads[0].contiguous())
        T, B, H = dy.shape
        r, u, n = gates[..., :H], gates[..., H : 2 * H], gates[..., 2 * H :]
        a = (1 - u) * (1 - n * n)
        b = (before - n) * u * (1 - u)
        c = listened[..., 2 * H :] * r * (1 - r)
        d, dn_all = np.empty((T, B, 3 * H), dy.dtype), np.empty((T, B, H), dy.dtype)
        carry = np.zeros((B, H), dy.dtype)
        for t in range(T - 1, -1, -1):
            dh = dy[t] + carry
            dn, dt = dn_all[t], d[t]
            np.multiply(dh, a[t], out=dn)
            np.multiply(dn, c[t], out=dt[:, :H])
            np.multiply(dh, b[t], out=dt[:, H : 2 * H])
            np.multiply(dn, r[t], out=dt[:, 2 * H :])
            np.matmul(dt, U, out=carry)
            dh *= u[t]
            carry += dh
            if k is not None:
                carry *= k[t]
        d_hh = d.reshape(T * B, 3 * H)
        dU = d_hh.T @ before.reshape(T * B, H)
        db_n = d_hh[:, 2 * H :].sum(0)
        d[..., 2 * H :] = dn_all
        dW = d_hh.T @ x.reshape(T * B, -1)
        dx = (d_hh @ W).reshape(x.shape) if ctx.needs_x else None
        arrays = (dx, carry, None, dW, dU, d_hh.sum(0), db_n)
        return tuple(None if g is None else torch.from_numpy(g) for g in arrays)


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, xs: Tensor, h0: Tensor, c0: Tensor, keep: Tensor | None, w_ih: Tensor, w_hh: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, h, c, W, U = _array(xs), _array(h0), _array(c0), _array(w_ih), _array(w_hh)
        k = None if keep is None else _array(keep)
        T, B, H = x.shape[0], x.shape[1], h.shape[1]
        gates = (x.reshape(T * B, -1) @ W.T).reshape(T, B, 4 * H)
        gates += _array(bias)
        h_before, c_before = np.empty((T, B, H), x.dtype), np.empty((T, B, H), x.dtype)
        out, squashed = np.empty((T, B, H), x.dtype), np.empty((T, B, H), x.dtype)
        UT = np.ascontiguousarray(U.T)
        for t in range(T):
            p, q, g = h_before[t], c_before[t], gates[t]
            if k is None:
                p[:], q[:] = h, c
            else:
                np.multiply(h, k[t], out=p)
                np.multiply(c, k[t], out=q)
            g += p @ UT
            _sigmoid(g[:, : 2 * H])
            _sigmoid(g[:, 3 * H :])
            np.tanh(g[:, 2 * H : 3 * H], out=g[:, 2 * H : 3 * H])
            c = g[:, H : 2 * H] * q
            c += g[:, :H] * g[:, 2 * H : 3 * H]
            np.tanh(c, out=squashed[t])
            h = out[t]
            np.multiply(g[:, 3 * H :], squashed[t], out=h)
        ctx.saved = (x, k, W, U, gates, h_before, c_before, squashed)
        ctx.needs_x = xs.requires_grad
        return torch.from_numpy(out), torch.from_numpy(c)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, k, W, U, gates, h_before, c_before, squashed = ctx.saved
        dy, dc = _array(grads[0].contiguous()), _array(grads[1]).copy()
        T, B, H = dy.shape
        i, f, g, o = (gates[..., j * H : (j + 1) * H] for j in range(4))
        to_c = o * (1 - squashed * squashed)
        factor = np.concatenate([g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)], -1).reshape(T, B, 3, H)
        to_o = squashed * o * (1 - o)
        d = np.empty((T, B, 4, H), dy.dtype)
        dh = np.zeros((B, H), dy.dtype)
        for t in range(T - 1, -1, -1):
            dh += dy[t]
            dc += dh * to_c[t]
            np.multiply(factor[t], dc[:, None], out=d[t, :, :3])
            np.multiply(dh, to_o[t], out=d[t, :, 3])
            dh = d[t].reshape(B, 4 * H) @ U
            dc *= f[t]
            if k is not None:
                dh *= k[t]
                dc *= k[t]
        flat = d.reshape(T * B, 4 * H)
        dU, dW = flat.T @ h_before.reshape(T * B, H), flat.T @ x.reshape(T * B, -1)
        dx = (flat @ W).reshape(x.shape) if ctx.needs_x else None
        arrays = (dx, dh, dc, None, dW, dU, flat.sum(0))
        return tuple(None if a is None else torch.from_numpy(a) for a in arrays)
