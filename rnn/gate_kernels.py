"""Whole sequences of gated cells in numpy, forward and backward written out, for K cells of one kind side by side.

Inside, everything lies [T, K, gate H, B] with the batch last, so that the gates of a step are contiguous blocks: at the
small batches of a CPU the time goes into calls, and a call on contiguous numbers costs a third of one on rows. The
logistic is a tanh, `1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2`, with the half inside the weights, so that one tanh
serves neighbouring gates. States lie [T + 1, K, H, B]; before a step with resets they are multiplied by 0 where a row
starts anew. All weights' gradients are single products over all steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["GRUSequence", "LSTMSequence", "MinimalSequence"]

Array = np.ndarray[Any, Any]


def _array(x: Tensor) -> Array:
    return x.detach().numpy()


def _batch_last(x: Tensor) -> Array:
    return np.array(_array(x).swapaxes(-1, -2), order="C")


def _batch_first(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.swapaxes(-1, -2)))


def _turned(x: Array) -> Array:
    """A copy: from [T, K, H, B] to [K, T, B, H], or back."""
    return np.array(x.transpose(1, 0, 3, 2), order="C")


def _halved(weight: Array, logistic: slice) -> Array:
    """A copy of weights [K, G, H, ...] with the rows of logistic gates halved, as [K, G H, ...]."""
    out = weight.copy()
    out[:, logistic] *= 0.5
    return out.reshape(len(out), -1, *weight.shape[3:])


def _heard(x: Array, weight: Array) -> Array:
    """What the gates hear of inputs [T, B, I] through weights [K, G H, I], [T, K, G H, B]."""
    K, rows, inputs = weight.shape
    return np.matmul(weight.reshape(K * rows, inputs), x.swapaxes(1, 2)).reshape(len(x), K, rows, x.shape[1])


class _Resets:
    """Which steps begin with a reset, and the factors 0 or 1 there, [T, B]."""

    def __init__(self, keep: Tensor | None, steps: int):
        self.keep = None if keep is None else _array(keep)
        self.at = [False] * steps if self.keep is None else (self.keep == 0).any(1).tolist()

    def before(self, states: Array) -> Array:
        """States [T, K, H, B] as the steps after them see them."""
        return states if self.keep is None else states * self.keep[:, None, None]


def _weight_gradients(d: Array, before: Array) -> tuple[Array, Array]:
    """Gradients [K, G H, T B] in one piece, and those of the recurrent weights [K, G H, H]."""
    T, K, rows, B = d.shape
    flat = d.transpose(1, 2, 0, 3).reshape(K, rows, T * B)
    return flat, flat @ before.transpose(1, 0, 3, 2).reshape(K, T * B, -1)


def _input_gradients(flat: Array, x: Array, weight: Array, needed: bool) -> tuple[Tensor | None, Array]:
    """Gradients of inputs [T, B, I] and of input weights [K, G H, I]."""
    dx = torch.from_numpy((flat.swapaxes(1, 2) @ weight).sum(0).reshape(x.shape)) if needed else None
    return dx, flat @ x.reshape(-1, x.shape[-1])


class GRUSequence(torch.autograd.Function):
    r"""`h_t = n_t + u_t (h_{t-1} - n_t)`, gates in the order r, u, n (see `rnn.gru.GRUCell`).

    From xs [T, B, I], h0 [K, B, H], what is kept at resets [T, B] and weights with a leading K, all h [K, T, B, H].
    """

    @staticmethod
    def forward(
        ctx: Any, xs: Tensor, h0: Tensor, keep: Tensor | None, w_ih: Tensor, w_hh: Tensor, bias: Tensor, b_n: Tensor
    ) -> Tensor:
        x, W, U, b = (_array(part) for part in (xs, w_ih, w_hh, bias))
        K, B, H = h0.shape
        T, gates, resets = len(x), slice(0, 2), _Resets(keep, len(x))
        z = _heard(x, _halved(W.reshape(K, 3, H, -1), gates))
        z += _halved(b.reshape(K, 3, H), gates)[:, :, None]
        halved, of_n = _halved(U.reshape(K, 3, H, H), gates), _array(b_n)[:, :, None]
        hs, heard = np.empty((T + 1, K, H, B), x.dtype), np.empty((T, K, 3 * H, B), x.dtype)
        hs[0], part = _batch_last(h0), np.empty((K, H, B), x.dtype)
        ru, n_all = z[:, :, : 2 * H], z[:, :, 2 * H :]
        steps = zip(hs, hs[1:], ru, z[:, :, :H], z[:, :, H : 2 * H], n_all, heard, heard[:, :, 2 * H :], strict=False)
        for t, (p, h, gate, r, u, n, l, l_n) in enumerate(steps):
            if resets.at[t]:
                p = p * resets.keep[t]  # type: ignore[index]
            np.matmul(halved, p, out=l)
            gate += l[:, : 2 * H]
            np.tanh(gate, out=gate)
            gate *= 0.5
            gate += 0.5
            l_n += of_n
            np.multiply(r, l_n, out=part)
            n += part
            np.tanh(n, out=n)
            np.subtract(p, n, out=h)
            h *= u
            h += n
        ctx.saved = x, resets, W, U, z, hs, heard[:, :, 2 * H :]
        ctx.needs_x = xs.requires_grad
        return torch.from_numpy(_turned(hs[1:]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, resets, W, U, z, hs, l_n = ctx.saved
        T, (_, K, H, B) = len(z), hs.shape
        r, u, n = (z[:, :, j * H : (j + 1) * H] for j in range(3))
        before = resets.before(hs[:-1])
        to_n = (1 - u) * (1 - n * n)
        d = np.empty((T, K, 3, H, B), z.dtype)
        np.multiply(to_n, r, out=d[:, :, 2])
        np.multiply(d[:, :, 2], l_n * (1 - r), out=d[:, :, 0])
        np.multiply((before - n) * u, 1 - u, out=d[:, :, 1])
        dh = _turned(_array(grads[0]))  # becomes the whole gradient of h_t
        carry, back = np.zeros((K, H, B), z.dtype), np.ascontiguousarray(U.swapaxes(1, 2))
        rows = d.reshape(T, K, 3 * H, B)
        for t in range(T - 1, -1, -1):
            g = dh[t]
            g += carry
            d[t] *= g[:, None]
            np.matmul(back, rows[t], out=carry)
            carry += g * u[t]
            if resets.at[t]:
                carry *= resets.keep[t]
        flat, dU = _weight_gradients(rows, before)
        db_n = flat[:, 2 * H :].sum(2)
        dh *= to_n
        flat[:, 2 * H :] = dh.transpose(1, 2, 0, 3).reshape(K, H, T * B)
        dx, dW = _input_gradients(flat, x, W, ctx.needs_x)
        weights = (torch.from_numpy(part) for part in (dW, dU, flat.sum(2), db_n))
        return dx, _batch_first(carry), None, *weights


class LSTMSequence(torch.autograd.Function):
    r"""`c_t = f_t c_{t-1} + i_t g_t`, `h_t = o_t \tanh(c_t)`, gates given as i, f, g, o (see `rnn.lstm.LSTMCell`).

    From xs [T, B, I], h0 and c0 [K, B, H], what is kept at resets [T, B] and weights with a leading K, all h
    [K, T, B, H] and the last c [K, B, H]. Inside, the gates lie o, i, f, g: the logistic ones are neighbours, and so
    are those whose gradients come through c.
    """

    @staticmethod
    def forward(
        ctx: Any,
        xs: Tensor,
        h0: Tensor,
        c0: Tensor,
        keep: Tensor | None,
        w_ih: Tensor,
        w_hh: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        x = _array(xs)
        K, B, H = h0.shape
        W, U, b = (np.roll(_array(part).reshape(K, 4, H, -1), 1, axis=1) for part in (w_ih, w_hh, bias))
        T, gates, resets = len(x), slice(0, 3), _Resets(keep, len(x))
        z = _heard(x, _halved(W, gates))
        z += _halved(b, gates)
        halved = _halved(U, gates)
        hs, cs = np.empty((T + 1, K, H, B), x.dtype), np.empty((T + 1, K, H, B), x.dtype)
        hs[0], cs[0] = _batch_last(h0), _batch_last(c0)
        squashed, l, part = np.empty((T, K, H, B), x.dtype), np.empty((K, 4 * H, B), x.dtype), np.empty_like(hs[0])
        o, i, f, g = (z[:, :, j * H : (j + 1) * H] for j in range(4))
        steps = zip(hs, hs[1:], cs, cs[1:], z, z[:, :, : 3 * H], o, i, f, g, squashed, strict=False)
        for t, (p, h, q, c, all_t, gate, o_t, i_t, f_t, g_t, s) in enumerate(steps):
            if resets.at[t]:
                p, q = p * resets.keep[t], q * resets.keep[t]  # type: ignore[index]
            np.matmul(halved, p, out=l)
            all_t += l
            np.tanh(all_t, out=all_t)
            gate *= 0.5
            gate += 0.5
            np.multiply(f_t, q, out=c)
            np.multiply(i_t, g_t, out=part)
            c += part
            np.tanh(c, out=s)
            np.multiply(o_t, s, out=h)
        ctx.saved = x, resets, W, U, z, hs, cs, squashed
        ctx.needs_x = xs.requires_grad
        return torch.from_numpy(_turned(hs[1:])), _batch_first(cs[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, resets, W, U, z, hs, cs, squashed = ctx.saved
        T, K, H, B = squashed.shape
        o, i, f, g = (z[:, :, j * H : (j + 1) * H] for j in range(4))
        d = np.empty((T, K, 4, H, B), z.dtype)
        np.multiply(o * (1 - o), squashed, out=d[:, :, 0])
        np.multiply(i * (1 - i), g, out=d[:, :, 1])
        np.multiply(f * (1 - f), resets.before(cs[:-1]), out=d[:, :, 2])
        np.multiply(i, 1 - g * g, out=d[:, :, 3])
        to_c = o * (1 - squashed * squashed)
        dy, dc = _turned(_array(grads[0])), _batch_last(grads[1])
        dh, part, back = (
            np.zeros_like(dc),
            np.empty_like(dc),
            np.ascontiguousarray(U.reshape(K, 4 * H, H).swapaxes(1, 2)),
        )
        rows, through_o, through_c = d.reshape(T, K, 4 * H, B), d[:, :, 0], d[:, :, 1:]
        for t in range(T - 1, -1, -1):
            dh += dy[t]
            np.multiply(dh, to_c[t], out=part)
            dc += part
            through_o[t] *= dh
            through_c[t] *= dc[:, None]
            np.matmul(back, rows[t], out=dh)
            dc *= f[t]
            if resets.at[t]:
                dh *= resets.keep[t]
                dc *= resets.keep[t]
        flat, dU = _weight_gradients(rows, resets.before(hs[:-1]))
        dx, dW = _input_gradients(flat, x, W.reshape(K, 4 * H, -1), ctx.needs_x)
        parts = ((dW, (K, 4 * H, -1)), (dU, (K, 4 * H, H)), (flat.sum(2), (K, 4 * H)))
        weights = (torch.from_numpy(np.roll(p.reshape(K, 4, H, -1), -1, axis=1).reshape(size)) for p, size in parts)
        return dx, _batch_first(dh), _batch_first(dc), None, *weights


class MinimalSequence(torch.autograd.Function):
    r"""`h_t = h_{t-1} + u_t (\tanh(z_t) - h_{t-1})`, rows in the order u, z (see `rnn.gru.MinimalCell`).

    From xs [T, B, I], h0 [K, B, H], what is kept at resets [T, B] and weights with a leading K, all h [K, T, B, H].
    """

    @staticmethod
    def forward(
        ctx: Any, xs: Tensor, h0: Tensor, keep: Tensor | None, w_ih: Tensor, w_hh: Tensor, bias: Tensor
    ) -> Tensor:
        x, W, U = (_array(part) for part in (xs, w_ih, w_hh))
        K, B, H = h0.shape
        T, gates, resets = len(x), slice(0, 1), _Resets(keep, len(x))
        z = _heard(x, _halved(W.reshape(K, 2, H, -1), gates))
        u, n = z[:, :, :H], z[:, :, H:]
        u += 0.5 * _array(bias)[:, :, None]
        halved = _halved(U.reshape(K, 2, H, H), gates)
        hs, l = np.empty((T + 1, K, H, B), x.dtype), np.empty((K, 2 * H, B), x.dtype)
        hs[0] = _batch_last(h0)
        for t, (p, h, all_t, u_t, n_t) in enumerate(zip(hs, hs[1:], z, u, n, strict=False)):
            if resets.at[t]:
                p = p * resets.keep[t]  # type: ignore[index]
            np.matmul(halved, p, out=l)
            all_t += l
            np.tanh(all_t, out=all_t)
            u_t *= 0.5
            u_t += 0.5
            np.subtract(n_t, p, out=h)
            h *= u_t
            h += p
        ctx.saved = x, resets, W, U, z, hs
        ctx.needs_x = xs.requires_grad
        return torch.from_numpy(_turned(hs[1:]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, resets, W, U, z, hs = ctx.saved
        T, (_, K, H, B) = len(z), hs.shape
        u, n = z[:, :, :H], z[:, :, H:]
        before, kept = resets.before(hs[:-1]), 1 - u
        d = np.empty((T, K, 2, H, B), z.dtype)
        np.multiply((n - before) * u, kept, out=d[:, :, 0])
        np.multiply(u, 1 - n * n, out=d[:, :, 1])
        dy = _turned(_array(grads[0]))
        carry, back = np.zeros((K, H, B), z.dtype), np.ascontiguousarray(U.swapaxes(1, 2))
        rows = d.reshape(T, K, 2 * H, B)
        for t in range(T - 1, -1, -1):
            g = dy[t]
            g += carry
            d[t] *= g[:, None]
            np.matmul(back, rows[t], out=carry)
            carry += g * kept[t]
            if resets.at[t]:
                carry *= resets.keep[t]
        flat, dU = _weight_gradients(rows, before)
        dx, dW = _input_gradients(flat, x, W, ctx.needs_x)
        weights = (torch.from_numpy(part) for part in (dW, dU, flat[:, :H].sum(2)))
        return dx, _batch_first(carry), None, *weights
