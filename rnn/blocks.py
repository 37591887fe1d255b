"""Linear recurrences made deep: norm, recurrence, nonlinearity, gate and skip, block upon block."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.functional import gelu, glu

from rnn.cell import Cell, Tap, no_tap, scoped
from rnn.diagonal import LinOSSCell, LRUCell
from rnn.unroll import unroll

__all__ = ["BlockCell", "deep_linoss", "deep_lru"]


class BlockCell(Cell):
    r"""Blocks around cells that are linear inside, as in the papers of the LRU and of LinOSS.

    .. math::
        e^0 = E x, \qquad e^{l+1} = e^l + \mathrm{glu}\big(W^l\,
        \mathrm{gelu}(\mathrm{cell}^l(\mathrm{norm}(e^l)))\big), \qquad y = h = e^L

    The recurrences are linear, so a sequence is scanned block by block; the nonlinearity lies between them. The first
    block already hears a nonlinear input if `lifted` (a two-layer encoder instead of E), which products of inputs
    need. Quantities of a block are addressed through it, `block1.h[3]`; `h` is the output.

    Args:
        cells: the recurrences, H to H each.
        input_size: I.
        lifted: encode the input nonlinearly.

    Raises:
        ValueError: cells whose widths differ.

    >>> import torch
    >>> cell = deep_lru(3, 8, blocks=2)
    >>> unroll(cell, torch.zeros(4, 1, 3), record=("block0.h",)).trace["block0.h"].shape
    torch.Size([4, 1, 16])
    """

    sequence_path = "layers"
    sequence_seen = ("h",)

    def __init__(self, cells: Iterable[Cell], input_size: int, *, lifted: bool = False):
        super().__init__()
        cells = list(cells)
        widths = {size for cell in cells for size in (cell.input_size, cell.output_size)}
        if len(widths) != 1:
            raise ValueError(f"the cells of a block network must all map H to H, received widths {sorted(widths)}")
        H = widths.pop()
        self.input_size, self.hidden_size, self.output_size = input_size, H, H
        self.encoder = (
            nn.Sequential(nn.Linear(input_size, H), nn.GELU(), nn.Linear(H, H)) if lifted else nn.Linear(input_size, H)
        )
        self.cells = nn.ModuleList(cells)
        self.norms = nn.ModuleList(nn.LayerNorm(H) for _ in cells)
        self.gates = nn.ModuleList(nn.Linear(H, 2 * H) for _ in cells)
        self.names = tuple(f"block{i}" for i in range(len(cells)))
        self.State = namedtuple("BlockState", self.names)  # type: ignore[misc]

    def initial_state(self, batch: int) -> Any:
        return self.State(*(cell.initial_state(batch) for cell in cast(Iterable[Cell], self.cells)))

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        e, states = self.encoder(tap("input", x)), []
        for i, (name, cell) in enumerate(zip(self.names, self.cells, strict=True)):
            y, s = cell(self.norms[i](e), state[i], scoped(tap, name))
            e = e + glu(self.gates[i](gelu(y)))
            states.append(s)
        return tap("h", e), self.State(*states)

    def sequence(
        self, xs: Tensor, state: Any, resets: Tensor | None, fresh: Any, holds: tuple[()] = ()
    ) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """The whole sequence, block by block."""
        e, states = self.encoder(xs), []
        for i, cell in enumerate(cast(Iterable[Cell], self.cells)):
            run = unroll(cell, self.norms[i](e), state[i], resets=resets)
            e = e + glu(self.gates[i](gelu(run.outputs)))
            states.append(run.state)
        return e, self.State(*states), {"h": e}


def _blocks(
    kind: Callable[..., Cell], input_size: int, hidden_size: int, blocks: int, lifted: bool, settings: dict[str, Any]
) -> BlockCell:
    if blocks < 1:
        raise ValueError(f"a block network has at least one block, received {blocks}")
    return BlockCell((kind(hidden_size, hidden_size, **settings) for _ in range(blocks)), input_size, lifted=lifted)


def deep_lru(input_size: int, hidden_size: int, *, blocks: int = 2, lifted: bool = False, **settings: Any) -> BlockCell:
    """Blocks of linear recurrent units; settings as in `rnn.diagonal.LRUCell`."""
    return _blocks(LRUCell, input_size, hidden_size, blocks, lifted, settings)


def deep_linoss(
    input_size: int, hidden_size: int, *, blocks: int = 2, lifted: bool = False, **settings: Any
) -> BlockCell:
    """Blocks of damped oscillators; settings as in `rnn.diagonal.LinOSSCell`."""
    return _blocks(LinOSSCell, input_size, hidden_size, blocks, lifted, settings)
