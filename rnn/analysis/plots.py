"""Courses to look at: gates and states over time, rasters of pattern generators, portraits in state space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result, blank, save_figure
from rnn.analysis.step_map import frozen_copy
from rnn.analysis.units import dimensionality
from rnn.cell import Cell, quantities, unit_labels
from rnn.edits import Edit
from rnn.unroll import unroll

__all__ = ["Courses", "Portrait", "Raster", "Vectors", "courses", "phase_portrait", "portrait", "raster"]


@dataclass(frozen=True, eq=False)
class Courses(Result):
    """Quantities of one run over time.

    Attributes:
        values: by quantity, [T, n].
        dt: seconds per step.
    """

    values: dict[str, Tensor]
    dt: float

    def draw(self, axes: Axes, name: str | None = None) -> None:
        name = name or next(iter(self.values))
        course = self.values[name]
        time = torch.arange(len(course)) * self.dt
        if course.shape[1] > 8:
            image = axes.pcolormesh(time.numpy(), range(course.shape[1]), course.T.numpy(), shading="nearest")
            axes.figure.colorbar(image, ax=axes)
        else:
            axes.plot(time, course, lw=1)
        axes.set_ylabel(name)

    def plot(self, target: Any = None) -> Axes:
        """One panel per quantity; into given axes only the first."""
        if isinstance(target, Axes):
            self.draw(target)
            return target
        figure = blank((7.0, 1.2 + 1.1 * len(self.values))).figure
        figure.clear()
        panels = figure.subplots(len(self.values), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, self.values, strict=True):
            self.draw(axes, name)
        panels[-1].set_xlabel("time, s" if self.dt != 1 else "step")
        if target is not None:
            save_figure(figure, target)
        return panels[0]


def courses(
    cell: Cell, xs: Tensor, names: Sequence[str] | None = None, *, state: Any = None, edits: Sequence[Edit] = ()
) -> Courses:
    """Record the first row of a run: gates, memory, hidden state, or whatever the cell shows.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        names: addresses; None for every quantity that changes.
        state: state before the first step.
        edits: what is done to units.
    """
    twin = frozen_copy(cell)
    wanted = tuple(names) if names is not None else tuple(quantities(cell))
    with torch.no_grad():
        run = unroll(twin, xs.detach().double(), state, record=wanted, edits=edits, path="loop")
    values = {}
    for name, course in run.trace.items():
        row = course[:, 0]
        if names is not None or float((row.amax(0) - row.amin(0)).amax()) > 1e-9:
            values[name] = row
    return Courses(values or {wanted[0]: run.trace[wanted[0]][:, 0]}, float(getattr(cell, "dt", 1.0)))


@dataclass(frozen=True, eq=False)
class Raster(Result):
    """Activity of named units over time.

    Attributes:
        activity: [T, n]. labels: [n]. dt: seconds per step.
    """

    activity: Tensor
    labels: tuple[str, ...]
    dt: float
    size = (7.0, 5.0)

    def draw(self, axes: Axes) -> None:
        low, high = self.activity.amin(0), self.activity.amax(0)
        shown = (self.activity - low) / (high - low).clamp(min=1e-9)
        extent = (0, len(shown) * self.dt, len(self.labels) - 0.5, -0.5)
        axes.imshow(shown.T.numpy(), aspect="auto", cmap="Greys", extent=extent, interpolation="none")
        every = max(1, len(self.labels) // 40)
        axes.set_yticks(range(0, len(self.labels), every), self.labels[::every], fontsize=6)
        axes.set(xlabel="time, s", title="activity, each unit from its least to its most")


def raster(cell: Cell, xs: Tensor, *, state: Any = None, edits: Sequence[Edit] = (), transient: int = 0) -> Raster:
    """A raster of the activity of all units (the first row of a run).

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        state: state before the first step.
        edits: what is done to units.
        transient: steps left out.
    """
    twin = frozen_copy(cell)
    with torch.no_grad():
        run = unroll(twin, xs.detach().double(), state, record=(cell.activity,), edits=edits, path="loop")
    return Raster(run.trace[cell.activity][transient:, 0], tuple(unit_labels(cell)), float(getattr(cell, "dt", 1.0)))


@dataclass(frozen=True, eq=False)
class Portrait(Result):
    """Orbits of several conditions (gaits, drives) in the plane of their two leading components.

    Attributes:
        paths: by condition, [T, 2]. explained: share of variance in the plane.
    """

    paths: dict[str, Tensor]
    explained: float

    def draw(self, axes: Axes) -> None:
        for name, path in self.paths.items():
            axes.plot(path[:, 0], path[:, 1], lw=1, label=name)
        title = f"state space, {100 * self.explained:.0f} % of the variance"
        axes.set(xlabel="component 1", ylabel="component 2", title=title)
        axes.legend(fontsize="small")


def portrait(activities: Mapping[str, Tensor]) -> Portrait:
    """Project activities [T, n] of several conditions on their common leading components."""
    space = dimensionality(torch.cat([a.detach().double() for a in activities.values()]))
    share = float(space.variance[:2].sum() / space.variance.sum().clamp(min=1e-300))
    return Portrait({name: space.project(a) for name, a in activities.items()}, share)


@dataclass(frozen=True, eq=False)
class Vectors(Result):
    """A flow in the plane with orbits of it.

    Attributes:
        places: [n, 2]. arrows: change per step there [n, 2]. orbits: [T, B, 2].
    """

    places: Tensor
    arrows: Tensor
    orbits: Tensor

    def draw(self, axes: Axes) -> None:
        axes.quiver(*self.places.T.numpy(), *self.arrows.T.numpy(), color="grey", width=0.003)
        for orbit in self.orbits.unbind(1):
            axes.plot(orbit[:, 0], orbit[:, 1], lw=1)
        axes.set(xlabel="entry 0", ylabel="entry 1")


def phase_portrait(
    cell: Cell, starts: Tensor, x: Tensor | None = None, *, steps: int = 200, span: float = 2.0, grid: int = 17
) -> Vectors:
    """The change per step over the plane of a cell with two numbers of state, and orbits from some starts [B, 2]."""
    from rnn.analysis.step_map import StepMap

    system = StepMap(cell, x)
    if system.size != 2:
        raise ValueError(f"a portrait in the plane needs a state of two numbers, this cell has {system.size}")
    line = torch.linspace(-span, span, grid, dtype=torch.float64)
    places = torch.cartesian_prod(line, line)
    with torch.no_grad():
        arrows = system.difference(system(places), places)
    return Vectors(places, arrows, system.orbit(starts.double(), steps))
