"""Whole sequences of the standard gated cells, forward and backward written out: the fast way on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnn.cell import Cell
from rnn.gate_kernels import GRUSequence, LSTMSequence, MinimalSequence
from rnn.gru import GRUCell, GRUState, MinimalCell, MinimalState
from rnn.lstm import LSTMCell, LSTMState
from rnn.lstm_kernel import has_lstm_kernel, lstm_sequences
from rnn.mirrored import MirroredCell
from rnn.unroll import unroll

__all__ = ["has_fast_path", "run_sequence", "run_side_by_side"]


def has_fast_path(cell: Cell) -> bool:
    """Whether `run_sequence` has the cell's equations written out (its standard form, on a CPU)."""
    if next(cell.parameters(), torch.empty(0)).device.type != "cpu":
        return False
    if type(cell) is MinimalCell:
        return cell.squash == "tanh" and cell.w1 is None
    return type(cell) is GRUCell or (type(cell) is LSTMCell and cell.standard)


def run_sequence(cell: Cell, xs: Tensor, state: Any, resets: Tensor | None = None) -> tuple[Tensor, Any]:
    """Outputs [T, B, O] and final state of a cell over inputs [T, B, I]; a reset at t acts before step t.

    Equal to `unroll` in value and gradient. For the standard GRU and LSTM and the minimal cell the loop over time runs
    in numpy and the backward pass is the adjoint recurrence (`rnn.gate_kernels`), since at the small batches of a CPU
    the dispatch of a step's dozen tensor operations costs several times their arithmetic. An LSTM in single precision
    runs in oneDNN's kernel (`rnn.lstm_kernel`), where torch has it. Both sides of a `rnn.mirrored.MirroredCell` go
    through time as one batch.

    >>> from rnn.gru import GRUCell
    >>> cell, xs = GRUCell(2, 3), torch.randn(5, 4, 2)
    >>> fast, plain = run_sequence(cell, xs, None)[0], unroll(cell, xs).outputs
    >>> torch.allclose(fast, plain, atol=1e-6)
    True
    """
    if isinstance(cell, MirroredCell):
        twice = None if resets is None else torch.cat([resets, resets], 1)
        state = cell.initial_state(xs.shape[1]) if state is None else state
        both, inner = run_sequence(cell.cell, cell.sides(xs), cell.joined(state), twice)
        return cell.parted(both), cell.split(inner)
    if not has_fast_path(cell):
        run = unroll(cell, xs, state, resets=resets)
        return run.outputs, run.state
    ys, states = _run([cell], xs, [state], resets)
    return ys[0], states[0]


def run_side_by_side(
    cells: Sequence[Cell], xs: Tensor, states: Sequence[Any], resets: Tensor | None = None
) -> tuple[list[Tensor], list[Any]]:
    """Outputs and final states of several cells that hear the same inputs, as `run_sequence` gives for each.

    Cells of one kind and size with a fast path go through time together, which costs little more than one of them.
    """
    alike = len({(type(c), c.input_size, c.output_size) for c in cells}) == 1
    if not (alike and all(has_fast_path(cell) for cell in cells)):
        runs = [run_sequence(cell, xs, state, resets) for cell, state in zip(cells, states, strict=True)]
        return [y for y, _ in runs], [state for _, state in runs]
    return _run(cells, xs, states, resets)


def _run(
    cells: Sequence[Any], xs: Tensor, states: Sequence[Any], resets: Tensor | None
) -> tuple[list[Tensor], list[Any]]:
    size = cells[0].input_size
    if xs.dim() != 3 or xs.shape[-1] != size:
        raise ValueError(f"`xs` has shape {tuple(xs.shape)}; pass [T, B, {size}], time first")
    states = [c.initial_state(xs.shape[1]) if s is None else s for c, s in zip(cells, states, strict=True)]
    if isinstance(cells[0], LSTMCell) and has_lstm_kernel(xs):
        runs = lstm_sequences([(*cell.weights(), cell.bias) for cell in cells], xs, states, resets)
        return [ys for ys, _ in runs], [LSTMState(ys[-1], c) for ys, c in runs]
    keep = None if resets is None or not resets.any() else (~resets).to(xs.dtype)
    h0 = _together([state.h for state in states])
    names: tuple[str, ...] = ("weight_ih", "weight_hh", "bias")
    if isinstance(cells[0], LSTMCell):
        weights = [(*cell.weights(), cell.bias) for cell in cells]
        c0 = _together([state.c for state in states])
        h, c = LSTMSequence.apply(xs, h0, c0, keep, *map(_together, zip(*weights, strict=True)))
        return list(h), [LSTMState(y[-1], last) for y, last in zip(h, c, strict=True)]
    if isinstance(cells[0], GRUCell):
        names += ("bias_candidate",)
    stacked = (_together([getattr(cell, name) for cell in cells]) for name in names)
    if isinstance(cells[0], GRUCell):
        h = GRUSequence.apply(xs, h0, keep, *stacked)
        return list(h), [GRUState(y[-1]) for y in h]
    h = MinimalSequence.apply(xs, h0, keep, *stacked)
    return list(h), [MinimalState(y[-1]) for y in h]


def _together(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(list(parts))
