"""Faster ways through a sequence that give the numbers of the plain loop: chosen, prepared and cut into pieces."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnn.cell import Cell, quantities
from rnn.edits import Clamp, Edit, EditPlan, Lesion
from rnn.fused import Hold, TooHard

__all__ = ["PATHS", "TooHard", "run_fast"]

PATHS = ("auto", "loop", "fused", "scan", "layers")
SHORT = 8  # steps, below which "auto" keeps the loop (control steps, bit for bit as in training a loop)


class Piece(NamedTuple):
    """Steps [begin, end) of the sequence during which the same units are held."""

    begin: int
    end: int
    holds: tuple[Hold, ...]


def run_fast(
    cell: Cell, xs: Tensor, state: Any, start: int, resets: Tensor | None, fresh: Any, plan: EditPlan, path: str
) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """Outputs, final state and recorded courses by the cell's own `sequence`.

    A cell that offers one has `sequence_path` ("fused", "scan" or "layers"), `sequence_seen` (the quantities whose
    course comes with it), `sequence_holds` (the quantities of which units can be held on the way) and
    `sequence(xs, state, resets, fresh, holds)`. Edits of inputs are done beforehand, of whatever kind; where a constant
    clamp or lesion begins or ends, the sequence is cut.

    Raises:
        TooHard: the cell has no such path, or it cannot do these edits or recordings.
    """
    _check_path(cell, xs, plan, path)
    xs = _edit_inputs(xs, start, plan)
    pieces = _pieces(cell, xs, start, plan)
    flags = [False] * len(xs) if resets is None or fresh is None else resets.any(1).tolist()
    if getattr(cell, "sequence_path", "") == "fused":
        pieces = [part for piece in pieces for part in _split(piece, _stride(cell, xs))]
    outputs, seen = [], []
    for piece in pieces:
        span = slice(piece.begin, piece.end)
        inner = resets[span] if resets is not None and any(flags[span]) else None
        begin = fresh if inner is not None else None
        ys, state, what = cell.sequence(xs[span], state, inner, begin, piece.holds)  # type: ignore[operator]
        outputs.append(ys)
        seen.append(what)
    join = lambda parts: parts[0] if len(parts) == 1 else torch.cat(parts)
    courses = {name: join([what[name] for what in seen]) for name in seen[0]} | {"input": xs}
    return join(outputs), state, plan.read({name: courses[name] for name in plan.watched})


def _check_path(cell: Cell, xs: Tensor, plan: EditPlan, path: str) -> None:
    offered = getattr(cell, "sequence_path", None)
    if offered is None or (path != "auto" and path != offered):
        raise TooHard(f"{type(cell).__name__} has {'only the loop' if offered is None else f'loop and {offered}'}")
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise TooHard("inside a function transform")
    if path == "auto" and (len(xs) < SHORT or not _worth_it(cell, xs)):
        raise TooHard("the loop is as fast")
    if hard := plan.watched - {"input", *cell.sequence_seen}:  # type: ignore[misc]
        raise TooHard(f"{', '.join(sorted(hard))} cannot be recorded on it")


def _worth_it(cell: Cell, xs: Tensor) -> bool:
    """Measured: on a CPU torch has a fused kernel for the float32 LSTM alone; the scans' hoisted loop always pays."""
    if cell.sequence_path in ("scan", "layers") or xs.is_cuda:
        return True
    kernel = xs.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return kernel and getattr(cell, "sequence_on_cpu", False)


def _stride(cell: Cell, xs: Tensor) -> int:
    """Steps per kernel call: on a CPU short enough for the cache at training sizes; with resets, little is done in
    vain."""
    if xs.is_cuda:
        return 256
    return 16 if xs.shape[1] * cell.output_size >= 4096 else 64


def _split(piece: Piece, stride: int) -> list[Piece]:
    return [
        Piece(begin, min(begin + stride, piece.end), piece.holds) for begin in range(piece.begin, piece.end, stride)
    ]


def _edit_inputs(xs: Tensor, start: int, plan: EditPlan) -> Tensor:
    if not plan.touches("input"):
        return xs
    seen: dict[str, Tensor] = {}
    edited = [plan.tap(start + t, seen)("input", x) for t, x in enumerate(xs.unbind(0))]
    if any(x.shape != xs.shape[1:] for x in edited):
        raise TooHard("an edit of the input adds rows")
    return torch.stack(edited)


def _pieces(cell: Cell, xs: Tensor, start: int, plan: EditPlan) -> list[Piece]:
    """Cut the sequence where a hold begins or ends."""
    holdable = getattr(cell, "sequence_holds", ())
    held = [(q, edit, units) for q, edits in plan.by_quantity.items() if q != "input" for edit, units in edits]
    if hard := {q for q, _, _ in held} - set(holdable):
        raise TooHard(f"{', '.join(sorted(hard))} cannot be edited on it")
    cuts = {0, len(xs)}
    for _, edit, _ in held:
        begin, end = _span(edit, start, len(xs))
        cuts |= {begin, end}
    edges = sorted(cut for cut in cuts if 0 <= cut <= len(xs))
    pieces = []
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        live = [(q, edit, units) for q, edit, units in held if edit.active(start + begin)]
        pieces.append(Piece(begin, end, tuple(_hold(cell, xs, q, edit, units) for q, edit, units in live)))
        _refuse_overlap(pieces[-1])
    return pieces


def _span(edit: Edit, start: int, steps: int) -> tuple[int, int]:
    if edit.steps is None:
        return 0, steps
    stop = steps if edit.steps.stop is None else edit.steps.stop - start
    return min(max((edit.steps.start or 0) - start, 0), steps), min(max(stop, 0), steps)


def _hold(cell: Cell, xs: Tensor, quantity: str, edit: Edit, units: Tensor | None) -> Hold:
    """The edit as units held at values [B, m]."""
    if not (isinstance(edit, Clamp) or (isinstance(edit, Lesion) and edit.rows is None)):
        raise TooHard(f"a {edit.kind} is no constant clamp")
    if units is None:
        units = torch.arange(quantities(cell)[quantity])
    units = units.to(xs.device)
    values = edit.apply(torch.full((xs.shape[1], len(units)), torch.nan, dtype=xs.dtype, device=xs.device), 0)
    if isinstance(edit, Lesion):
        values = torch.zeros_like(values)
    if values.shape != (xs.shape[1], len(units)) or bool(values.isnan().any()):
        raise TooHard("a clamp leaves rows alone or adds some")
    return Hold(quantity, units, values)


def _refuse_overlap(piece: Piece) -> None:
    for quantity in {hold.quantity for hold in piece.holds}:
        units = torch.cat([hold.units for hold in piece.holds if hold.quantity == quantity])
        if len(units.unique()) < len(units):
            raise TooHard("two edits hold the same unit")
