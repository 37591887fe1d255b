"""Whole sequences of LSTM, GRU and Elman cells in torch's fused kernels, with resets and held units."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import _VF, Tensor

__all__ = ["Episodes", "Hold", "TooHard", "elman_sequence", "gru_sequence", "lstm_sequence"]

SHUT, OPEN = -200.0, 200.0  # gate inputs whose logistic is 0 and 1 to the last bit, whatever the weights add


class TooHard(Exception):
    """Why a fast path cannot do what is asked."""


class Hold(NamedTuple):
    """Units of a quantity held at a value through a piece of time: indices [m], values [B, m]."""

    quantity: str
    units: Tensor
    values: Tensor


class Episodes:
    """The episodes inside a piece of time, laid side by side as rows of one batch.

    A row that is reset twice in a piece becomes three rows, each from a state of its own, so that one kernel call
    without resets does the work. Rows shorter than the longest are continued with any input; what they give is not
    read.

    Args:
        resets: where rows start anew, [T, B].

    >>> resets = torch.tensor([[False, False], [False, True], [False, False]])
    >>> Episodes(resets).rows.tolist()  # row 1 twice: from its state, and from a fresh start at step 1
    [0, 1, 1]
    """

    def __init__(self, resets: Tensor):
        steps, batch = resets.shape
        device = resets.device
        first = torch.arange(batch, device=device)
        row, begin = resets[1:].T.nonzero(as_tuple=True)
        self.rows = torch.cat([first, row])
        self.begins = torch.cat([torch.zeros_like(first), begin + 1])
        self.started_fresh = torch.cat([resets[0], torch.ones_like(row, dtype=torch.bool)])
        # which episode is running at [T, B]: the row's first, or one of those after it, which lie in order of time
        later = resets.clone()
        later[0] = False
        count = later.long().cumsum(0)
        before = torch.cat([count.new_zeros(1), count[-1].cumsum(0)[:-1]])
        self.running = torch.where(count > 0, batch - 1 + before + count, first)
        time = torch.arange(steps, device=device)[:, None]
        self.offset = time - self.begins[self.running]  # steps since the episode began, [T, B]
        self.longest = int(self.offset.max()) + 1
        lived = self.offset.flatten() + 1
        lengths = torch.zeros_like(self.rows).scatter_reduce(0, self.running.flatten(), lived, "amax")
        self.idle = torch.arange(self.longest, device=device)[:, None] >= lengths  # [longest, n]
        self.last = self.running[-1]
        read = self.begins + torch.arange(self.longest, device=device)[:, None]
        self._read = (read.clamp(max=steps - 1), self.rows)

    def gather(self, xs: Tensor) -> Tensor:
        """From [T, B, ...] to one row per episode, [longest, n, ...]."""
        time, rows = self._read
        return xs.flatten(0, 1).index_select(0, (time * xs.shape[1] + rows).flatten()).unflatten(0, time.shape)

    def scatter(self, ys: Tensor) -> Tensor:
        """Back from [longest, n, ...] to [T, B, ...]."""
        index = self.offset * ys.shape[1] + self.running
        return ys.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, index.shape)

    def begin(self, state: Tensor, fresh: Tensor) -> Tensor:
        """The state [n, ...] before each episode's first step."""
        flags = self.started_fresh.reshape(-1, *[1] * (state.dim() - 1))
        return torch.where(flags, fresh[self.rows], state[self.rows])


def lstm_sequence(
    cell: Any, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[Hold, ...]
) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """A piece of an LSTM's run. A held unit of h is heard by the others as an input of its own (its recurrent weights
    move there), and its output is overwritten; a held unit of c starts at its value, with its forget gate open and
    its input gate shut. An episode that has ended keeps c by gates held by one further input."""
    weight_ih, weight_hh = cell.weights()
    bias, size = cell.bias, cell.hidden_size
    held_h, held_c = _of("h", holds), _of("c", holds)
    if held_c is not None:
        gate = torch.zeros(4, size, dtype=torch.bool, device=xs.device)
        gate[0, held_c.units] = gate[1, held_c.units] = True
        level = torch.zeros(4, size, dtype=xs.dtype, device=xs.device)
        level[0, held_c.units], level[1, held_c.units] = SHUT, OPEN
        gate, level = gate.flatten(), level.flatten()
        weight_ih, weight_hh = (torch.where(gate[:, None], 0.0, w) for w in (weight_ih, weight_hh))
        bias = torch.where(gate, level, bias)
        c0 = state.c.index_copy(-1, held_c.units, held_c.values)
        fresh = fresh._replace(c=fresh.c.index_copy(-1, held_c.units, held_c.values)) if fresh is not None else None
    else:
        c0 = state.c
    layout, data, h0 = _lay_out(xs, state.h, resets, fresh.h if fresh is not None else None)
    if layout is not None:
        c0 = layout.begin(c0, fresh.c)
        column = xs.new_zeros(4, size)
        column[0], column[1] = SHUT, OPEN
        data = torch.cat([data, layout.idle.to(xs.dtype)[..., None]], -1)
        weight_ih = torch.cat([weight_ih, column.reshape(-1, 1)], 1)
    if held_h is not None:
        data, weight_ih, weight_hh = _hear(held_h, layout, data, h0, weight_ih, weight_hh)
    weights = [weight_ih.contiguous(), weight_hh.contiguous(), bias, torch.zeros_like(bias)]
    ys, h, c = _VF.lstm(data, (h0[None], c0[None]), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    c = c[0] if layout is None else c[0].index_select(0, layout.last)
    if held_c is not None:
        c = c.index_copy(-1, held_c.units, held_c.values)
    ys = _overwrite(ys if layout is None else layout.scatter(ys), held_h)
    return ys, type(state)(ys[-1], c), {"h": ys}


def elman_sequence(
    cell: Any, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[Hold, ...]
) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """A piece of a simple recurrent network's run; a held unit is heard by the others as an input of its own."""
    held = _of("h", holds)
    layout, data, h0 = _lay_out(xs, state.h, resets, fresh.h if fresh is not None else None)
    weight_ih, weight_hh = cell.weight_ih, cell.weight_hh
    if held is not None:
        data, weight_ih, weight_hh = _hear(held, layout, data, h0, weight_ih, weight_hh)
    bias = cell.bias if cell.bias is not None else weight_hh.new_zeros(len(weight_hh))
    weights = [weight_ih.contiguous(), weight_hh.contiguous(), bias, torch.zeros_like(bias)]
    kernel = _VF.rnn_tanh if cell.squash == "tanh" else _VF.rnn_relu
    ys, _ = kernel(data, h0[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    ys = _overwrite(ys if layout is None else layout.scatter(ys), held)
    return ys, type(state)(ys[-1]), {"h": ys}


def gru_sequence(
    cell: Any, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[Hold, ...]
) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """A piece of a GRU's run. A held unit keeps itself, by its update gate held at 1; only the first step hears what
    it was before, and is done by the cell. With resets inside there are such steps in between too: then the loop is
    right."""
    held = _of("h", holds)
    if held is not None and resets is not None:
        raise TooHard("units of a GRU are held while rows are reset")
    if held is not None:
        return _gru_held(cell, xs, state, held)
    layout, data, h0 = _lay_out(xs, state.h, resets, fresh.h if fresh is not None else None)
    ys = _gru(data, h0, cell.weight_ih, cell.weight_hh, cell.bias, cell.bias_candidate)
    ys = ys if layout is None else layout.scatter(ys)
    return ys, type(state)(ys[-1]), {"h": ys}


def _gru_held(cell: Any, xs: Tensor, state: Any, held: Hold) -> tuple[Tensor, Any, dict[str, Tensor]]:
    def hold(name: str, value: Tensor) -> Tensor:
        return value.index_copy(-1, held.units, held.values) if name == "h" else value

    first, state = cell(xs[0], state, hold)
    gate = torch.zeros(3, cell.hidden_size, dtype=torch.bool, device=xs.device)
    gate[1, held.units] = True
    gate = gate.flatten()
    weight_ih, weight_hh = (torch.where(gate[:, None], 0.0, w) for w in (cell.weight_ih, cell.weight_hh))
    bias = torch.where(gate, OPEN, cell.bias)
    rest = _gru(xs[1:], state.h, weight_ih, weight_hh, bias, cell.bias_candidate) if len(xs) > 1 else xs.new_zeros(0)
    ys = _overwrite(torch.cat([first[None], rest]) if len(xs) > 1 else first[None], held)
    return ys, type(state)(ys[-1]), {"h": ys}


def _gru(xs: Tensor, h0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, candidate: Tensor) -> Tensor:
    bias_hh = torch.cat([candidate.new_zeros(2 * len(candidate)), candidate])
    ys, _ = _VF.gru(
        xs, h0[None], [weight_ih, weight_hh, bias, bias_hh], True, 1, 0.0, torch.is_grad_enabled(), False, False
    )
    return ys


def _lay_out(
    xs: Tensor, h: Tensor, resets: Tensor | None, fresh: Tensor | None
) -> tuple[Episodes | None, Tensor, Tensor]:
    if resets is None or fresh is None:
        return None, xs, h
    layout = Episodes(resets)
    return layout, layout.gather(xs), layout.begin(h, fresh)


def _hear(
    held: Hold, layout: Episodes | None, data: Tensor, h0: Tensor, weight_ih: Tensor, weight_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Let held units reach the others through the input: what they were at the first step, then what they are held
    at."""
    values = held.values if layout is None else held.values[layout.rows]
    heard = torch.cat([h0.index_select(-1, held.units)[None], values.expand(len(data) - 1, *values.shape)])
    weight_ih = torch.cat([weight_ih, weight_hh.index_select(1, held.units)], 1)
    return torch.cat([data, heard], -1), weight_ih, weight_hh.index_fill(1, held.units, 0.0)


def _overwrite(ys: Tensor, held: Hold | None) -> Tensor:
    return ys if held is None else ys.index_copy(-1, held.units, held.values.expand(len(ys), *held.values.shape))


def _of(quantity: str, holds: tuple[Hold, ...]) -> Hold | None:
    """All holds on one quantity as one."""
    mine = [h for h in holds if h.quantity == quantity]
    if not mine:
        return None
    return Hold(quantity, torch.cat([h.units for h in mine]), torch.cat([h.values for h in mine], -1))
