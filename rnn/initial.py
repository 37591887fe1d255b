"""How a run begins: zeros, random, learned, free per sequence, read from the first samples, or washed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, map_state, no_tap
from rnn.unroll import unroll

__all__ = ["LearnedStart", "RandomStart", "StartEncoder", "StartTable", "washout"]


class _Started(Cell):
    """A cell that differs from another only in where it begins; names, edits and outputs are those of the other."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell
        self.input_size, self.output_size = cell.input_size, cell.output_size
        self.activity, self.silenced = cell.activity, cell.silenced

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        return self.cell(x, state, tap)

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        return self.cell.groups()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("sequence"):  # fast paths are those of the cell
            return getattr(super().__getattr__("cell"), name)
        return super().__getattr__(name)


class LearnedStart(_Started):
    """The state before the first step is a parameter, the same for every row; zeros to begin with.

    >>> from rnn.gru import GRUCell
    >>> cell = LearnedStart(GRUCell(2, 3))
    >>> y, _ = cell(torch.zeros(4, 2), cell.initial_state(4)); y.sum().backward()
    >>> cell.start[0].grad.shape
    torch.Size([1, 3])
    """

    def __init__(self, cell: Cell):
        super().__init__(cell)
        leaves = _leaves(cell.initial_state(1))
        self.start = nn.ParameterList(nn.Parameter(leaf.clone()) for leaf in leaves)

    def initial_state(self, batch: int) -> Any:
        return _filled(self.cell, batch, [leaf.expand(batch, *leaf.shape[1:]) for leaf in self.start])


class RandomStart(_Started):
    """The state before the first step is random, anew each time, while training: a remedy against depending on it.

    In evaluation mode it is the cell's own.

    Args:
        cell: any cell.
        std: standard deviation of the normal numbers that are added to every part of the state.
    """

    def __init__(self, cell: Cell, std: float = 0.1):
        super().__init__(cell)
        if std < 0:
            raise ValueError(f"`std` must not be negative, received {std}")
        self.std = std

    def initial_state(self, batch: int) -> Any:
        state = self.cell.initial_state(batch)
        if not self.training:
            return state
        return map_state(lambda leaf: leaf + self.std * torch.randn_like(leaf), state)


class StartTable(nn.Module):
    """A free initial state per sequence of a data set, learned with the weights.

    Args:
        cell: any cell.
        sequences: number of sequences.

    >>> from rnn.gru import GRUCell
    >>> cell = GRUCell(2, 3)
    >>> StartTable(cell, sequences=10)(torch.tensor([4, 7])).h.shape
    torch.Size([2, 3])
    """

    cell: Cell

    def __init__(self, cell: Cell, sequences: int):
        super().__init__()
        self.__dict__["cell"] = cell  # beside the cell, not around it: its parameters are not listed twice
        self.table = nn.ParameterList(nn.Parameter(leaf.clone()) for leaf in _leaves(cell.initial_state(sequences)))

    def forward(self, index: Tensor) -> Any:
        """States for the sequences of these numbers [B]."""
        return _filled(self.cell, len(index), [leaf[index] for leaf in self.table])


class StartEncoder(nn.Module):
    """Reads the first samples of a sequence, inputs and outputs alike, and says in what state it must be.

    Args:
        cell: any cell.
        features: numbers per sample, for example I + O.
        window: samples read.
        hidden_size: of the two-layer network.

    >>> from rnn.gru import GRUCell
    >>> StartEncoder(GRUCell(2, 3), features=4, window=5)(torch.zeros(20, 6, 4)).h.shape
    torch.Size([6, 3])
    """

    cell: Cell

    def __init__(self, cell: Cell, *, features: int, window: int, hidden_size: int = 64):
        super().__init__()
        self.__dict__["cell"] = cell
        self.window = window
        self.sizes = [leaf[0].numel() for leaf in _leaves(cell.initial_state(1))]
        self.net = nn.Sequential(
            nn.Linear(features * window, hidden_size), nn.Tanh(), nn.Linear(hidden_size, sum(self.sizes))
        )

    def forward(self, samples: Tensor) -> Any:
        """The state after the first `window` samples of [T, B, F]; longer ones are read no further."""
        if len(samples) < self.window:
            raise ValueError(f"the encoder reads {self.window} samples, received {len(samples)}; give longer sequences")
        z = self.net(samples[: self.window].transpose(0, 1).flatten(1))
        shapes = [leaf.shape for leaf in _leaves(self.cell.initial_state(samples.shape[1]))]
        parts = [part.reshape(shape) for part, shape in zip(z.split(self.sizes, -1), shapes, strict=True)]
        return _filled(self.cell, samples.shape[1], parts)


@torch.no_grad()
def washout(cell: Cell, xs: Tensor, state: Any = None) -> Any:
    """The state after running over xs [T, B, I], detached: run a few steps before scoring, so that the start is
    forgotten.

    >>> from rnn.linear import MovingAverage
    >>> washout(MovingAverage(1, decay=0.5), torch.ones(3, 1, 1)).h.item()
    0.875
    """
    return unroll(cell, xs, state).state


def _leaves(state: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(leaf: Tensor) -> Tensor:
        found.append(leaf)
        return leaf

    map_state(keep, state)
    return found


def _filled(cell: Cell, batch: int, leaves: Sequence[Tensor]) -> Any:
    """A state of the cell's own structure with these tensors, in the order in which `map_state` meets them."""
    remaining = iter(leaves)
    return map_state(lambda _: next(remaining), cell.initial_state(batch))
