"""Linear recurrences: moving averages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rnn.cell import Cell, Tap, no_tap

__all__ = ["MovingAverage"]


class MovingAverageState(NamedTuple):
    h: Tensor


class MovingAverage(Cell):
    """Exponential moving average, `h_t = g h_{t-1} + (1 - g) x_t`, read one step late, `y_t = h_{t-1}`.

    Args:
        size: number of channels.
        decay: g in [0, 1), per step.
    """

    def __init__(self, size: int, *, decay: float):
        super().__init__()
        self.input_size = self.output_size = size
        self.register_buffer("g", torch.tensor(float(decay)))
        self.g: Tensor

    def initial_state(self, batch: int) -> MovingAverageState:
        return MovingAverageState(self.zeros(batch, self.input_size))

    def forward(self, x: Tensor, state: MovingAverageState, tap: Tap = no_tap) -> tuple[Tensor, MovingAverageState]:
        x = tap("input", x)
        h = tap("h", self.g * state.h + (1 - self.g) * x)
        return state.h, MovingAverageState(h)
