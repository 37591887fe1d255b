"""Cells on cells: deep networks with skip and residual connections, and reading a sequence in both directions."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap, scoped
from rnn.edits import Edit, Patch
from rnn.unroll import Unrolled, unroll

__all__ = ["Bidirectional", "Stack", "stack_of"]


class Stack(Cell):
    """A deep recurrent network: layer 0 hears the input, layer l the output of layer l - 1.

    Each quantity of a layer is addressed through it, `layer1.forget[3]`; a bare unit name means the last layer.

    Args:
        cells: the layers, first to last.
        skip: every layer also hears the input, and the output is that of all layers side by side (as in "Generating
            Sequences With Recurrent Neural Networks", Graves, 2013). Build the upper cells for the wider input, or use
            `stack_of`.
        residual: add to a layer's output what it heard, where the widths agree.
        norm: normalise what a layer hears (layer norm); with `residual`, the stream itself is not normalised.

    Raises:
        ValueError: widths that do not fit.

    >>> from rnn.gru import GRUCell
    >>> from rnn.unroll import unroll
    >>> deep = Stack([GRUCell(2, 8), GRUCell(8, 8)], residual=True)
    >>> unroll(deep, torch.zeros(5, 1, 2), record=("layer1.update[0:2]",)).trace["layer1.update[0:2]"].shape
    torch.Size([5, 1, 2])
    """

    def __init__(self, cells: Sequence[Cell], *, skip: bool = False, residual: bool = False, norm: bool = False):
        super().__init__()
        if not cells:
            raise ValueError("a stack needs at least one cell")
        self.input_size = cells[0].input_size
        heard = self.input_size
        for i, cell in enumerate(cells):
            if cell.input_size != heard:
                raise ValueError(
                    f"layer {i} takes {cell.input_size} inputs, but it hears {heard}; build it for {heard}"
                )
            heard = cell.output_size + (self.input_size if skip else 0)
        self.output_size = sum(c.output_size for c in cells) if skip else cells[-1].output_size
        self.skip, self.residual = skip, residual
        self.layers = nn.ModuleList(cells)
        self.norms = nn.ModuleList(nn.LayerNorm(c.input_size) for c in cells) if norm else None
        self.names = tuple(f"layer{i}" for i in range(len(cells)))
        self.State = namedtuple("StackState", self.names)  # type: ignore[misc]
        self.activity = f"{self.names[-1]}.{cells[-1].activity}"
        self.silenced = f"{self.names[-1]}.{cells[-1].silenced}" if cells[-1].silenced else None

    def initial_state(self, batch: int) -> Any:
        return self.State(*(cell.initial_state(batch) for cell in self.layers))  # type: ignore[operator]

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        x = tap("input", x)
        y, outputs, states = x, [], []
        for i, (name, cell) in enumerate(zip(self.names, self.layers, strict=True)):
            heard = torch.cat([y, x], -1) if self.skip and i > 0 else y
            y, s = cell(self.norms[i](heard) if self.norms is not None else heard, state[i], scoped(tap, name))
            if self.residual and y.shape[-1] == heard.shape[-1]:
                y = y + heard
            outputs.append(y)
            states.append(s)
        return torch.cat(outputs, -1) if self.skip else y, self.State(*states)

    @property
    def sequence_path(self) -> str | None:
        """The fast path that `unroll` may take."""
        return "layers" if any(getattr(cell, "sequence_path", None) for cell in self.layers) else None

    sequence_seen: tuple[str, ...] = ()

    def sequence(
        self, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[()] = ()
    ) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """The whole sequence, layer by layer, each by its own fastest path."""
        ys, outputs, states = xs, [], []
        for i, cell in enumerate(cast(Iterable[Cell], self.layers)):
            heard = torch.cat([ys, xs], -1) if self.skip and i > 0 else ys
            run = unroll(cell, self.norms[i](heard) if self.norms is not None else heard, state[i], resets=resets)
            ys = run.outputs
            if self.residual and ys.shape == heard.shape:
                ys = ys + heard
            outputs.append(ys)
            states.append(run.state)
        return torch.cat(outputs, -1) if self.skip else ys, self.State(*states), {}

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """The groups of every layer, named through it; the inputs of the first also by their own names."""
        table: dict[str, dict[str, Sequence[int]]] = {}
        for name, cell in zip(self.names, self.layers, strict=True):
            for quantity, groups in cell.groups().items():  # type: ignore[operator]
                table[f"{name}.{quantity}"] = {f"{name}.{group}": index for group, index in groups.items()}
        first = self.layers[0].groups().get("input", {})  # type: ignore[operator]
        if first:
            table["input"] = dict(first)
        return table

    def extra_repr(self) -> str:
        return f"skip={self.skip}, residual={self.residual}"


def stack_of(
    make: Callable[[int], Cell],
    input_size: int,
    layers: int,
    *,
    skip: bool = False,
    residual: bool = False,
    norm: bool = False,
) -> Stack:
    """A stack of equal cells; `make` builds one for a given input size.

    >>> from rnn.lstm import LSTMCell
    >>> stack_of(lambda inputs: LSTMCell(inputs, 4), 2, layers=3, skip=True).output_size
    12
    """
    if layers < 1:
        raise ValueError(f"a stack needs at least one layer, received layers={layers}")
    cells = [make(input_size)]
    for _ in range(layers - 1):
        cells.append(make(cells[-1].output_size + (input_size if skip else 0)))
    return Stack(cells, skip=skip, residual=residual, norm=norm)


class Bidirectional(nn.Module):
    """Two cells read a whole sequence, one from each end: `y_t = [forward_t; backward_t]`.

    It sees the future, so it is a model of sequences and not a cell. Addresses are `forward.h[3]`, `backward.c[0:2]`;
    the steps of edits count in sequence time for both.

    Args:
        forward_cell: reads from the first step on.
        backward_cell: reads from the last step back.

    >>> from rnn.linear import MovingAverage
    >>> both = Bidirectional(MovingAverage(1, decay=0.5), MovingAverage(1, decay=0.5))
    >>> both(torch.ones(2, 1, 1)).outputs.squeeze(1).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """

    def __init__(self, forward_cell: Cell, backward_cell: Cell):
        super().__init__()
        if forward_cell.input_size != backward_cell.input_size:
            sizes = (forward_cell.input_size, backward_cell.input_size)
            raise ValueError(f"both cells must take the same inputs, received {sizes}")
        self.forward_cell, self.backward_cell = forward_cell, backward_cell
        self.input_size = forward_cell.input_size
        self.output_size = forward_cell.output_size + backward_cell.output_size

    def forward(
        self,
        xs: Tensor,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        edits: Sequence[Edit] = (),
        record: Sequence[str] = (),
    ) -> Unrolled:
        """Read xs [T, B, I]; outputs [T, B, O].

        Args:
            xs: inputs.
            lengths: true length per row [B], so that the backward cell does not begin in the padding.
            resets: where a new sequence begins, [T, B]; the backward cell begins anew before it.
            edits: addresses begin with `forward.` or `backward.`.
            record: likewise.
        """
        steps = xs.shape[0]
        ahead = unroll(
            self.forward_cell, xs, resets=resets, edits=_of("forward", edits), record=_names("forward", record)
        )
        back_resets = torch.zeros(xs.shape[:2], dtype=torch.bool, device=xs.device)
        if resets is not None:
            back_resets[1:] |= resets[1:].flip(0)  # a sequence that begins at t ends, read backwards, before t - 1
        if lengths is not None:
            rows = torch.arange(xs.shape[1], device=xs.device)
            begin = steps - lengths.to(xs.device)
            back_resets[begin.clamp(max=steps - 1), rows] |= begin < steps
        back = unroll(
            self.backward_cell,
            xs.flip(0),
            resets=back_resets,
            edits=[_mirrored(edit, steps) for edit in _of("backward", edits)],
            record=_names("backward", record),
        )
        trace = {f"forward.{name}": value for name, value in ahead.trace.items()}
        trace |= {f"backward.{name}": value.flip(0) for name, value in back.trace.items()}
        return Unrolled(torch.cat([ahead.outputs, back.outputs.flip(0)], -1), (ahead.state, back.state), trace)


def _names(scope: str, record: Sequence[str]) -> list[str]:
    return [name.removeprefix(f"{scope}.") for name in record if name.startswith(f"{scope}.")]


def _of(scope: str, edits: Sequence[Edit]) -> list[Edit]:
    wrong = [e.address for e in edits if not e.address.startswith(("forward.", "backward."))]
    if wrong:
        raise KeyError(f"addresses of a bidirectional network begin with 'forward.' or 'backward.', received {wrong}")
    return [replace(e, address=e.address.removeprefix(f"{scope}.")) for e in edits if e.address.startswith(f"{scope}.")]


def _mirrored(edit: Edit, steps: int) -> Edit:
    """The edit with its steps counted from the other end."""
    start = 0 if edit.steps is None else (edit.steps.start or 0)
    stop = steps if edit.steps is None or edit.steps.stop is None else min(edit.steps.stop, steps)
    if isinstance(edit, Patch):
        stop = min(stop, start + len(edit.values))
        values = torch.as_tensor(edit.values)[: stop - start].flip(0)
        return replace(edit, values=values, steps=slice(steps - stop, steps - start))
    return replace(edit, steps=slice(max(steps - stop, 0), steps - start))
