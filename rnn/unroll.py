"""Run any cell over time: resets, edits and recording, once for all cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from rnn.board import ClampBoard
from rnn.cell import Cell, map_state
from rnn.edits import Edit, EditPlan
from rnn.fast import PATHS, TooHard, run_fast

__all__ = ["Unrolled", "unroll"]


class Unrolled(NamedTuple):
    """What a run over time gives: outputs [T, B, O], the final state, and the recorded courses [T, B, n]."""

    outputs: Tensor
    state: Any
    trace: dict[str, Tensor]


def unroll(
    cell: Cell,
    xs: Tensor,
    state: Any = None,
    *,
    start: int = 0,
    resets: Tensor | None = None,
    edits: Sequence[Edit] | EditPlan | ClampBoard = (),
    record: Sequence[str] = (),
    path: str = "auto",
) -> Unrolled:
    """Step a cell through a sequence, time first.

    The reset at t acts before step t: a row with `resets[t, b]` true meets `xs[t, b]` in a fresh initial state.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        state: state before the first step; None for `cell.initial_state(B)`.
        start: number of the first step, against which the steps of edits are counted.
        resets: true where a row starts anew, [T, B].
        edits: what is done to named units (see `rnn.edits`), a plan made from them and from what is to be
            recorded (for control loops that step with T = 1), or a live board.
        record: addresses whose course is kept in `trace`.
        path: "loop", the plain steps; "fused", torch's kernels between resets (LSTM, GRU, Elman); "scan", all steps
            of a linear recurrence together (LRU, LinOSS); "layers", a stack layer by layer; or "auto", which takes
            the way that was measured fastest and can do what is asked. All give the same numbers and gradients up to
            rounding.

    Raises:
        ValueError: shapes that do not belong together, or a path that this cell, or these edits, do not allow.
        KeyError: an unknown address.

    >>> from rnn.linear import MovingAverage
    >>> ys, state, trace = unroll(MovingAverage(1, decay=0.5), torch.ones(3, 1, 1), record=("h",))
    >>> trace["h"].flatten().tolist()
    [0.5, 0.75, 0.875]
    """
    steps, batch = _check(cell, xs, resets)
    if state is None:
        state = cell.initial_state(batch)
    board = edits if isinstance(edits, ClampBoard) else None
    if path not in PATHS or (board is not None and path not in ("auto", "loop")):
        raise ValueError(f"`path` is {path!r}; choose one of {', '.join(PATHS)} (a live board needs 'auto' or 'loop')")
    plan = edits if isinstance(edits, EditPlan) else EditPlan(cell, () if board else edits, record)  # type: ignore[arg-type]
    any_reset = resets.any(1).tolist() if resets is not None else [False] * steps
    fresh = cell.initial_state(batch) if any(any_reset) else None
    with parametrize.cached():  # a constrained weight (orthogonal, say) is computed once, not at every step
        if path != "loop" and board is None:
            try:
                return Unrolled(*run_fast(cell, xs, state, start, resets, fresh, plan, path))
            except TooHard as why:
                if path != "auto":
                    raise ValueError(f"path {path!r} cannot be taken: {why}; use 'auto' or 'loop'") from why
        return _loop(cell, xs, state, start, resets, any_reset, fresh, plan, board)


def _loop(
    cell: Cell,
    xs: Tensor,
    state: Any,
    start: int,
    resets: Tensor | None,
    any_reset: list[bool],
    fresh: Any,
    plan: EditPlan,
    board: ClampBoard | None,
) -> Unrolled:
    outputs: list[Tensor] = []
    traces: dict[str, list[Tensor]] = {address: [] for address in plan.record}
    for t, x in enumerate(xs.unbind(0)):
        if any_reset[t]:
            state = _reset(state, fresh, resets[t])  # type: ignore[index]
        live = board.plan(start + t) if board else plan
        seen: dict[str, Tensor] = {}
        if board and plan.watched:
            live.watched = plan.watched
        y, state = cell(x, state, live.tap(start + t, seen))
        outputs.append(y)
        for address, value in plan.read(seen).items():
            traces[address].append(value)
    return Unrolled(torch.stack(outputs), state, {name: torch.stack(values) for name, values in traces.items()})


def _reset(state: Any, fresh: Any, flags: Tensor) -> Any:
    def pick(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(flags.reshape(-1, *[1] * (old.dim() - 1)), new, old)

    return map_state(pick, state, fresh)


def _check(cell: Cell, xs: Tensor, resets: Tensor | None) -> tuple[int, int]:
    if xs.dim() != 3 or xs.shape[-1] != cell.input_size:
        raise ValueError(
            f"`xs` has shape {tuple(xs.shape)}, the cell takes I={cell.input_size} inputs; "
            f"pass [T, B, {cell.input_size}], time first"
        )
    if xs.shape[0] == 0:
        raise ValueError("`xs` has T=0 steps; pass at least one")
    steps, batch = xs.shape[:2]
    if resets is not None and (resets.shape != (steps, batch) or resets.dtype != torch.bool):
        raise ValueError(
            f"`resets` has shape {tuple(resets.shape)} and type {resets.dtype}, `xs` has T={steps}, B={batch}; "
            f"pass one flag per step and row, boolean, shape ({steps}, {batch})"
        )
    return steps, batch
