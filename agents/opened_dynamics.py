"""What a network does under constant drives: activity, gaits in state space, onset, rhythm, rests, exponents.

Each analysis takes a `Subject` and yields sections of a report; one that does not apply says so, or raises `NoRhythm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnn import Edit, unit_labels, unroll
from rnn.analysis.fixed_points import fixed_points
from rnn.analysis.limit_cycles import LimitCycle, NoRhythm, limit_cycle
from rnn.analysis.lyapunov import lyapunov_exponents
from rnn.analysis.plots import courses, portrait, raster
from rnn.analysis.report import Section
from rnn.analysis.result import Result
from rnn.analysis.sensitivity import follow_push
from rnn.analysis.step_map import StepMap, frozen_copy
from rnn.analysis.sweep import sweep_input
from rnn.analysis.units import dimensionality
from rnn.cell import Cell
from rnn.cpg import drive_input
from rnn.model import state_width

__all__ = ["Subject", "exponents", "gaits", "overview", "rest", "rhythm"]


@dataclass(frozen=True)
class Subject:
    """What is analysed, with the runs that several analyses share."""

    name: str
    cell: Cell
    drives: tuple[float, ...]
    edits: tuple[Edit, ...]
    steps: int
    cycles: dict[float, LimitCycle | None] = field(default_factory=dict)

    def input(self, left: Any, right: Any = None, batch: Any = 1) -> Tensor:
        """Inputs for given drives; a cell without named drives gets them on its first input."""
        if "drive.left" in self.cell.groups().get("input", {}):
            return drive_input(self.cell, left, right, batch=batch)
        x = self.cell.zeros(*((batch,) if isinstance(batch, int) else batch), self.cell.input_size)
        x[..., 0] = torch.as_tensor(left)
        return x

    def activity(self, drive: float) -> Tensor:
        """Settled activity under a constant drive [T, n]."""
        xs = self.input(drive, batch=(self.steps + 300, 1)).double()
        run = unroll(self.twin, xs, record=(self.cell.activity,), edits=self.edits, path="loop")
        return run.trace[self.cell.activity][300:, 0]

    @cached_property
    def twin(self) -> Cell:
        return frozen_copy(self.cell)

    def settled(self, drive: float, steps: int = 300) -> tuple[StepMap, Tensor]:
        """The network as a map under a drive, and a state on its attractor [1, S]."""
        system = StepMap(self.cell, self.input(drive)[0], edits=self.edits)
        return system, system.orbit(system.initial(), steps)[-1]


def overview(network: Subject) -> Iterator[Section]:
    """Sizes, then what the units do under each drive."""
    cell = network.cell
    numbers = {
        "parameters": sum(p.numel() for p in cell.parameters()),
        "units": len(unit_labels(cell)),
        "numbers in the state": state_width(cell),
        "inputs": cell.input_size,
        "outputs": cell.output_size,
        "step, s": float(getattr(cell, "dt", 1.0)),
        "held": ", ".join(edit.address for edit in network.edits) or "nothing",
    }
    yield Section("The network", numbers=numbers)
    for drive in network.drives:
        xs = network.input(drive, batch=(network.steps + 300, 1))
        rows = raster(cell, xs, edits=network.edits, transient=300)
        over_time = courses(cell, xs[:200], edits=network.edits)
        over_time = type(over_time)(dict(list(over_time.values.items())[:8]), over_time.dt)
        yield Section(
            f"Activity at drive {drive:g}",
            "The settled activity of every unit; and the first 200 steps of each quantity that changes.",
            figures={"raster": rows, "courses": over_time},
        )


def gaits(network: Subject) -> Iterator[Section]:
    """State space of the gaits, dimensions, and the drives at which the rhythm begins and ends."""
    paths = {f"drive {drive:g}": network.activity(drive) for drive in network.drives}
    together = portrait(paths)
    spaces = {name: dimensionality(path) for name, path in paths.items()}
    numbers = {f"dimensions, {name}": round(space.participation, 2) for name, space in spaces.items()}
    figures: dict[str, Result] = {"portrait": together}
    figures |= {f"portrait at {name}": portrait({name: path}) for name, path in paths.items()}
    text = "Orbits in the plane of the two components that hold most of their variance: together, then each in its own."
    yield Section("Gaits in state space", text, numbers, figures)
    values = torch.linspace(0.0, 6.0, 25)
    sweep = sweep_input(network.cell, network.input(values, batch=25), values, label="drive", watch=600)
    moving = sweep.amplitude > 0.01
    text = "Where the units settle as the drive rises. " + (
        f"The rhythm begins at drive {sweep.onset():g}." if bool(moving.any()) else "No unit moves at any drive."
    )
    frequencies = {f"Hz at drive {v:g}": round(float(f), 3) for v, f in zip(values, sweep.frequency, strict=True)}
    yield Section("Onset of the rhythm", text, {"onset": sweep.onset(), **frequencies}, {"sweep": sweep})


def rhythm(network: Subject) -> Iterator[Section]:
    """Limit cycles, whether pushes fade, and what inputs do to the phase."""
    for drive in network.drives:
        title = f"Rhythm at drive {drive:g}"
        try:
            cycle = limit_cycle(network.cell, network.input(drive)[0], edits=network.edits)
        except (NoRhythm, FloatingPointError) as why:
            network.cycles[drive] = None
            yield Section(title, f"No rhythm. {why}.")
            continue
        network.cycles[drive] = cycle
        text = (
            f"{cycle.frequency:.3f} turns a second. A push shrinks to {cycle.contraction:.3g} of itself in a turn"
            if cycle.stable
            else f"{cycle.frequency:.3f} turns a second. Pushes grow by {cycle.contraction:.3g} in a turn: unstable"
        )
        if cycle.neutral:
            text += f"; {cycle.neutral} directions keep a push for ever (oscillators that are silent)"
        numbers = {
            "frequency, Hz": cycle.frequency,
            "contraction per turn": cycle.contraction,
            "neutral directions": cycle.neutral,
            "multipliers": [round(float(m), 4) for m in cycle.multipliers.abs()[:8]],
            "residual": cycle.residual,
        }
        yield Section(title, text + ". Phase response to a unit of each input:", numbers, {"response": cycle})


def rest(network: Subject) -> Iterator[Section]:
    """Fixed points below the onset and under each drive."""
    for drive in (0.5, *network.drives):
        system, s = network.settled(drive)
        starts = system.orbit(s, 60)[::4, 0]
        found = fixed_points(
            network.cell, starts, network.input(drive)[0], edits=network.edits, adam_steps=60, newton_steps=25
        )
        if not len(found):
            text = f"None found at drive {drive:g} from 16 states of the settled run."
            yield Section(f"Fixed points at drive {drive:g}", text)
            continue
        slowest = found.time_constants[0][found.time_constants[0].isfinite()].abs().max()
        numbers = {
            "found": len(found),
            "stable": int(found.stable.sum()),
            "unstable directions": found.unstable_directions.tolist(),
            "largest q": float(found.q.max()),
            "slowest time constant, s": float(slowest),
            "fastest turning direction, Hz": float(found.frequencies[0].max()),
        }
        yield Section(f"Fixed points at drive {drive:g}", "", numbers, {"eigenvalues": found})


def exponents(network: Subject) -> Iterator[Section]:
    """Lyapunov spectrum and a push of the state followed for 100 steps."""
    for drive in network.drives:
        system, s = network.settled(drive)
        count, cycle = min(12, system.size), network.cycles.get(drive)
        turn = 1 / (cycle.frequency * float(getattr(network.cell, "dt", 1.0))) if cycle else 1.0
        steps = round(max(1, round(300 / turn)) * turn)  # whole turns, else the direction of the motion is not neutral
        found = lyapunov_exponents(network.cell, network.input(drive)[0], s, steps=steps, transient=150, count=count)
        push = follow_push(network.cell, network.input(drive)[0], s, steps=100)
        numbers = {
            "largest, 1/s": [round(float(v), 4) for v in found.exponents[:4]],
            "dimension": found.dimension,
            "growth of a push over 100 steps, 1/s": float(push.growth.mean()),
        }
        text = "0 belongs to the motion along a rhythm; a positive exponent means chaos."
        if cycle and cycle.stable and found.exponents[0] > 0.1:
            text = (
                "The rhythm is stable, as its multipliers say, so the first exponent should be 0. That it is not yet, "
                f"over {steps / turn:.0f} turns, tells how unevenly a turn stretches and shrinks a push: no chaos."
            )
        yield Section(f"Exponents at drive {drive:g}", text, numbers, {"spectrum": found, "push": push})
