"""Where a network settles as an input varies: the bifurcation diagram of its attractors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.limit_cycles import find_period
from rnn.analysis.result import Result
from rnn.analysis.step_map import StepMap
from rnn.cell import Cell
from rnn.unroll import unroll

__all__ = ["Sweep", "sweep_input"]


@dataclass(frozen=True, eq=False)
class Sweep(Result):
    """Where a network settles as an input varies.

    Attributes:
        values: of the input [n].
        low: smallest settled value of each watched unit [n, U].
        high: largest settled value [n, U].
        frequency: of the rhythm, turns per second; 0 at rest [n].
        label: what varies.
    """

    values: Tensor
    low: Tensor
    high: Tensor
    frequency: Tensor
    label: str

    @property
    def amplitude(self) -> Tensor:
        """Half the largest swing of any unit [n]."""
        return (self.high - self.low).amax(1) / 2

    def onset(self, least: float = 0.01) -> float | None:
        """The first value at which the swing exceeds `least`; None if it never does."""
        moving = (self.amplitude > least).nonzero()
        return float(self.values[moving[0, 0]]) if len(moving) else None

    def draw(self, axes: Axes) -> None:
        unit = int((self.high - self.low).amax(0).argmax())
        axes.fill_between(self.values, self.low[:, unit], self.high[:, unit], alpha=0.3)
        axes.plot(self.values, self.low[:, unit], ".-", ms=3, color="tab:blue")
        axes.plot(self.values, self.high[:, unit], ".-", ms=3, color="tab:blue", label=f"extremes of unit {unit}")
        axes.plot(self.values, self.frequency, "k:", label="frequency, Hz")
        axes.set(xlabel=self.label, ylabel="activity; Hz", title="settled range")
        axes.legend()


def sweep_input(
    cell: Cell,
    xs: Tensor,
    values: Tensor,
    *,
    quantity: str | None = None,
    transient: int = 400,
    watch: int = 400,
    label: str = "input",
) -> Sweep:
    """Run a network at many constant inputs side by side and note where it settles.

    What it draws is the bifurcation diagram of the attractors.

    Args:
        cell: any cell.
        xs: one constant input per row [n, I].
        values: the number that varies, by row [n].
        quantity: what is watched; None for the activity.
        transient: steps before.
        watch: steps watched.
        label: name of the number.
    """
    system, name = StepMap(cell), quantity or cell.activity
    with torch.no_grad():
        run = unroll(system.cell, xs.detach().double().expand(transient + watch, -1, -1), record=(name,), path="loop")
    seen = run.trace[name][transient:]
    periods = [find_period(seen[:, i]) for i in range(seen.shape[1])]
    frequency = torch.tensor([0.0 if T is None else 1 / (T * system.dt) for T in periods])
    return Sweep(values, seen.amin(0), seen.amax(0), frequency, label)
