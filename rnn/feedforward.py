"""A recurrent network over finite time is a feed-forward one with shared weights; and any network can be a step."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap

__all__ = ["FeedForward", "ModuleCell"]


class FeedForward(nn.Module):
    """A cell unrolled into a feed-forward network, one copy of the cell per layer: layer t takes x_t from the side
    and hands its state up to layer t + 1. There is no loop in time any more, and no state is left behind.

    With `shared` weights it computes what the recurrent network computes, for sequences of exactly this length, and its
    gradient is the recurrent one. Without, every layer has weights of its own, equal at the start: their gradients,
    summed over the layers, are the recurrent gradient, and each is the contribution of one time step to it.

    Args:
        cell: any cell.
        steps: T, the depth.
        shared: one set of weights for all layers, or T.

    >>> from rnn.elman import ElmanCell
    >>> cell = ElmanCell(2, 3)
    >>> count = lambda module: sum(p.numel() for p in module.parameters())
    >>> count(FeedForward(cell, 10)) == count(cell), count(FeedForward(cell, 10, shared=False)) == 10 * count(cell)
    (True, True)
    """

    def __init__(self, cell: Cell, steps: int, *, shared: bool = True):
        super().__init__()
        if steps < 1:
            raise ValueError(f"a network has at least one layer, received steps={steps}")
        self.layers = nn.ModuleList(cell if shared else copy.deepcopy(cell) for _ in range(steps))

    def forward(self, xs: Tensor) -> Tensor:
        """From inputs [T, B, I] of exactly T steps to outputs [T, B, O].

        Raises:
            ValueError: another length.
        """
        if len(xs) != len(self.layers):
            raise ValueError(
                f"this network has {len(self.layers)} layers, received T={len(xs)}; build one of that depth"
            )
        state = self.layers[0].initial_state(xs.shape[1])  # type: ignore[operator]
        outputs = []
        for layer, x in zip(self.layers, xs.unbind(0), strict=True):
            y, state = layer(x, state)
            outputs.append(y)
        return torch.stack(outputs)

    def contributions(self, name: str) -> Tensor:
        """Gradients of one parameter by layer [T, ...], after a backward pass through unshared weights.

        Raises:
            ValueError: the weights are shared, so that only the sum exists.
        """
        if len(set(self.layers)) < len(self.layers):
            raise ValueError("the layers share their weights; build the network with shared=False")
        grads = [dict(layer.named_parameters())[name].grad for layer in self.layers]
        return torch.stack(
            [torch.zeros_like(dict(self.layers[0].named_parameters())[name]) if g is None else g for g in grads]
        )


class ModuleState(NamedTuple):
    h: Tensor


class ModuleCell(Cell):
    r"""Any network as a step, `[y_t; h_t] = f([x_t; h_{t-1}])`.

    The number of parameters is that of f, however long the sequence; a network of depth L becomes one of depth L T.
    Quantities: `input`, `h`, `y`.

    Args:
        module: f, from [B, I + H] to [B, O + H].
        input_size: I.
        hidden_size: H.
        output_size: O; 0 makes h itself the output.

    >>> f = nn.Sequential(nn.Linear(2 + 4, 16), nn.Tanh(), nn.Linear(16, 1 + 4))
    >>> cell = ModuleCell(f, 2, 4, output_size=1)
    >>> cell(torch.zeros(3, 2), cell.initial_state(3))[0].shape
    torch.Size([3, 1])

    Raises:
        ValueError: f gives another number of values.
    """

    def __init__(self, module: nn.Module, input_size: int, hidden_size: int, *, output_size: int = 0):
        super().__init__()
        self.module = module
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = output_size or hidden_size
        self._split = (output_size, hidden_size)
        with torch.no_grad():
            width = module(self.zeros(2, input_size + hidden_size)).shape[-1]
        if width != sum(self._split):
            raise ValueError(f"the module gives {width} values, but O + H = {sum(self._split)}; change its last layer")

    def initial_state(self, batch: int) -> ModuleState:
        return ModuleState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: ModuleState, tap: Tap = no_tap) -> tuple[Tensor, ModuleState]:
        x = tap("input", x)
        y, h = self.module(torch.cat([x, state.h], -1)).split(self._split, -1)
        h = tap("h", h)
        return (tap("y", y) if self._split[0] else h), ModuleState(h)
