"""Linear recurrences over time with resets: in a plain loop, by doubling, or in chunks; one value, one gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["METHODS", "linear_recurrence"]

METHODS = ("loop", "doubling", "chunked")
CHUNK = 32  # steps; the doubling inside a chunk costs log2 of it, the carry between chunks T / CHUNK


def linear_recurrence(
    M: Tensor,
    b: Tensor,
    h0: Tensor,
    *,
    resets: Tensor | None = None,
    fresh: Tensor | None = None,
    method: str = "auto",
) -> Tensor:
    r"""All states of `h_t = M h_{t-1} + b_t`, where M is one small matrix for each of N independent channels.

    With k = 1 the channels are real numbers; k = 2 holds complex numbers (real and imaginary part) and oscillators
    (velocity and position). Where `resets` is true, `h_{t-1}` is replaced by the fresh state.

    The doubling scan takes ceil(log2 T) passes, each adding `M^(2^l) h_{t - 2^l}` unless a reset lies between; because
    M is constant only its powers are needed. The backward pass is the same recurrence in reverse with M transposed, so
    the memory is that of the states, and higher derivatives exist.

    Args:
        M: transition, [k, k, N].
        b: input, [T, B, k, N].
        h0: state before the first step, [B, k, N].
        resets: where a row starts anew, [T, B].
        fresh: the state it starts from, [B, k, N]; None for zeros.
        method: "loop", "doubling", "chunked", or "auto": the loop on a CPU, where every scan is slower, doubling on a
            GPU.

    Returns:
        The states, [T, B, k, N].

    >>> M = torch.full((1, 1, 1), 0.5)
    >>> b = torch.tensor([1.0, 0.0, 0.0, 1.0]).reshape(4, 1, 1, 1)
    >>> resets = torch.tensor([[False], [False], [True], [False]])
    >>> linear_recurrence(M, b, torch.zeros(1, 1, 1), resets=resets, method="doubling").flatten().tolist()
    [1.0, 0.5, 0.0, 1.0]
    """
    if method == "auto":
        method = "doubling" if b.is_cuda else "loop"
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose auto, {', '.join(METHODS)}")
    gates = None
    if resets is not None and bool(resets.any()):
        gates = (~resets).to(b.dtype)
        if fresh is not None:
            b = b + resets.to(b.dtype)[:, :, None, None] * _carry(M, fresh)
    return _Recurrence.apply(M, b, h0, gates, False, method)


class _Recurrence(torch.autograd.Function):
    """`h_t = gates_t M h_{t-1} + b_t` from h0, or, reversed, `h_t = gates_t M h_{t+1} + b_t`."""

    @staticmethod
    def forward(ctx: Any, M: Tensor, b: Tensor, h0: Tensor, gates: Tensor | None, reverse: bool, method: str) -> Tensor:
        if method == "loop":
            h = _loop(M, b, h0, gates, reverse)
        else:
            first = _carry(M, h0) if gates is None else gates[-1 if reverse else 0][:, None, None] * _carry(M, h0)
            order = (lambda v: v.flip(0)) if reverse else (lambda v: v)
            scan = _doubling if method == "doubling" else _chunked
            start = order(b).clone()
            start[0] += first
            h = order(scan(M, start, None if gates is None else order(gates)))
        ctx.save_for_backward(M, h0, h, *(() if gates is None else (gates,)))
        ctx.reverse, ctx.method = reverse, method
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        M, h0, h, *rest = ctx.saved_tensors
        gates = rest[0] if rest else None
        Mt = M.transpose(0, 1)
        g = _Recurrence.apply(Mt, grad, torch.zeros_like(h0), _shifted(gates, ctx.reverse), not ctx.reverse, ctx.method)
        before = torch.cat([h[1:], h0[None]]) if ctx.reverse else torch.cat([h0[None], h[:-1]])
        if gates is not None:
            before = before * gates[:, :, None, None]
        grad_M = None
        if ctx.needs_input_grad[0]:
            k = M.shape[0]
            grad_M = torch.stack(
                [torch.stack([(g[:, :, i] * before[:, :, j]).sum((0, 1)) for j in range(k)]) for i in range(k)]
            )
        edge = -1 if ctx.reverse else 0
        grad_h0 = _carry(Mt, g[edge]) if gates is None else gates[edge][:, None, None] * _carry(Mt, g[edge])
        return grad_M, g, grad_h0, None, None, None


def _carry(M: Tensor, h: Tensor) -> Tensor:
    """M h for every channel: M [k, k, N], h [..., k, N]."""
    if M.shape[0] == 1:
        return M[0] * h
    return (M * h.unsqueeze(-3)).sum(-2)


def _shifted(gates: Tensor | None, reverse: bool) -> Tensor | None:
    """The gates of the recurrence that runs the other way: what gates the way into t gates the way back out of it."""
    if gates is None:
        return None
    one = torch.ones_like(gates[:1])
    return torch.cat([one, gates[:-1]]) if reverse else torch.cat([gates[1:], one])


def _loop(M: Tensor, b: Tensor, h0: Tensor, gates: Tensor | None, reverse: bool) -> Tensor:
    k = M.shape[0]
    columns = [M[:, j] for j in range(k)]
    out = torch.empty_like(b)
    inputs, slots = b.unbind(0), out.unbind(0)
    closed = [False] * len(b) if gates is None else (gates != 1).any(1).tolist()
    h = h0
    for t in range(len(b) - 1, -1, -1) if reverse else range(len(b)):
        if closed[t]:
            h = h * gates[t][:, None, None]  # type: ignore[index]
        torch.addcmul(inputs[t], columns[0], h[:, :1], out=slots[t])
        for j in range(1, k):
            slots[t].addcmul_(columns[j], h[:, j : j + 1])
        h = slots[t]
    return out


def _doubling(M: Tensor, b: Tensor, gates: Tensor | None) -> Tensor:
    """Scan along the first dimension; gates [T, ...] cut the way into a step."""
    episode = None if gates is None else (1 - gates).cumsum(0)
    h, power, span = b, M, 1
    while span < len(h):
        reach = _carry(power, h[:-span])
        if episode is not None:
            reach = reach * (episode[span:] == episode[:-span]).to(h.dtype)[..., None, None]
        h = torch.cat([h[:span], h[span:] + reach])
        power, span = _carry_matrix(power, power), 2 * span
    return h


def _chunked(M: Tensor, b: Tensor, gates: Tensor | None) -> Tensor:
    steps, tail = len(b), -len(b) % CHUNK
    b = torch.cat([b, b.new_zeros(tail, *b.shape[1:])])
    if gates is not None:
        gates = torch.cat([gates, gates.new_ones(tail, gates.shape[1])])
    b = b.unflatten(0, (-1, CHUNK)).transpose(0, 1)  # [CHUNK, chunks, B, k, N]
    cut = None if gates is None else gates.unflatten(0, (-1, CHUNK)).transpose(0, 1)
    inside = _doubling(M, b, cut)
    powers = [M]
    for _ in range(CHUNK - 1):
        powers.append(_carry_matrix(M, powers[-1]))
    table = torch.stack(powers)  # M, M^2, ... [CHUNK, k, k, N]
    open_ = None if cut is None else cut.cumprod(0)[..., None, None]
    chunks, carry = [], None
    for c in range(inside.shape[1]):
        h = inside[:, c]
        if carry is not None:
            reach = (table.unsqueeze(1) * carry[:, None]).sum(-2)  # [CHUNK, B, k, N]
            h = h + (reach if open_ is None else reach * open_[:, c])
        chunks.append(h)
        carry = h[-1]
    return torch.cat(chunks)[:steps]


def _carry_matrix(P: Tensor, Q: Tensor) -> Tensor:
    """P Q for every channel, both [k, k, N]."""
    return (P.unsqueeze(2) * Q.unsqueeze(0)).sum(1)
