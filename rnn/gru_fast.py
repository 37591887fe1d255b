"""A GRU through time on a CPU: few operations per step, and its gradient written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnn.gru import GRUCell

__all__ = ["gru_through_time"]


def gru_through_time(cell: GRUCell, xs: Tensor, h0: Tensor, resets: Tensor | None = None) -> Tensor:
    r"""Outputs [T, B, H] of a GRU, equal to those of `unroll` in value and gradient up to rounding.

    With the gates of `rnn.gru.GRUCell`, `p_t = k_t h_{t-1}` (k is 0 where a row starts anew, else 1) and the gradient
    g_t of the loss with respect to h_t, the only recurrence of the backward pass is

    .. math:: e_t = g_t \odot \big[\dot n_t m_t r_t (1 - r_t);\; (p_t - n_t) u_t (1 - u_t);\; \dot n_t r_t\big], \qquad
        g_{t-1} \mathrel{+}= k_t (g_t u_t + e_t W_h), \qquad \dot n_t = (1 - u_t)(1 - n_t^2)

    where m is what the reset gate lets through; everything else is one product over all steps. Against torch's CPU
    kernel and the plain loop this halves the time of training steps, which at the sizes of control is overhead.

    Args:
        cell: the cell, whose weights are used as they are.
        xs: inputs [T, B, I].
        h0: state before the first step, [B, H].
        resets: true where a row starts anew, [T, B].

    >>> cell = GRUCell(2, 3)
    >>> xs, h0 = torch.randn(4, 5, 2), torch.zeros(5, 3)
    >>> from rnn import unroll
    >>> bool(torch.allclose(gru_through_time(cell, xs, h0), unroll(cell, xs).outputs, atol=1e-6))
    True
    """
    keep = None if resets is None or not bool(resets.any()) else (~resets)[..., None].to(xs.dtype)
    gates = linear(xs, cell.weight_ih, cell.bias)
    outputs: Tensor = _GRU.apply(gates, h0, keep, cell.weight_hh, cell.bias_candidate)  # type: ignore[no-untyped-call]
    return outputs


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, gates: Tensor, h0: Tensor, keep: Tensor | None, weight: Tensor, bias_n: Tensor
    ) -> Tensor:
        steps, batch, size = len(gates), *h0.shape
        bias = torch.cat([bias_n.new_zeros(2 * size), bias_n])
        weight_t = weight.t().contiguous()
        ru, heard = gates.new_empty(steps, batch, 2 * size), gates.new_empty(steps, batch, 3 * size)
        n, before, out = (gates.new_empty(steps, batch, size) for _ in range(3))
        reset_step = [False] * steps if keep is None else (keep == 0).any(2).any(1).tolist()
        h = h0
        rows = zip(
            gates[..., : 2 * size].unbind(0),
            gates[..., 2 * size :].unbind(0),
            ru.unbind(0),
            ru[..., :size].unbind(0),
            ru[..., size:].unbind(0),
            heard.unbind(0),
            heard[..., : 2 * size].unbind(0),
            heard[..., 2 * size :].unbind(0),
            n.unbind(0),
            out.unbind(0),
            strict=True,
        )
        for t, (x_ru, x_n, ru_t, r_t, u_t, heard_t, heard_ru, m_t, n_t, out_t) in enumerate(rows):
            if reset_step[t]:
                h = h * keep[t]  # type: ignore[index]
            before[t] = h
            torch.addmm(bias, h, weight_t, out=heard_t)
            torch.add(x_ru, heard_ru, out=ru_t).sigmoid_()
            torch.addcmul(x_n, r_t, m_t, out=n_t).tanh_()
            h = torch.lerp(n_t, h, u_t, out=out_t)
        ctx.save_for_backward(ru, n, heard, before, weight, keep)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor]:  # type: ignore[override]
        ru, n, heard, before, weight, keep = ctx.saved_tensors
        steps, batch, size = n.shape
        r, u, m = ru[..., :size], ru[..., size:], heard[..., 2 * size :]
        slope = (1 - u) * (1 - n * n)
        # what a unit of gradient at h_t sends to the gates [T, B, 3, H], and to what they heard from before
        share = torch.stack([slope * m * r * (1 - r), (before - n) * u * (1 - u), slope * r], 2)
        sent = torch.empty_like(share)
        total = grad.contiguous().clone()
        reset_step = [False] * steps if keep is None else (keep == 0).any(2).any(1).tolist()
        back = total.new_zeros(batch, size)
        rows = zip(total.unbind(0), share.unbind(0), sent.unbind(0), u.unbind(0), strict=True)
        for t, (g_t, share_t, sent_t, u_t) in reversed(list(enumerate(rows))):
            g_t += back
            torch.mul(g_t[:, None], share_t, out=sent_t)
            back = torch.addmm(g_t * u_t, sent_t.view(batch, 3 * size), weight)
            if reset_step[t]:
                back = back * keep[t]
        flat = sent.view(steps * batch, 3 * size)
        grad_weight = flat.t() @ before.view(steps * batch, size)
        grad_gates = sent.clone()
        grad_gates[:, :, 2] = total * slope
        return grad_gates.view(steps, batch, 3 * size), back, None, grad_weight, sent[:, :, 2].sum((0, 1))
