"""Drawings of an atlas: maps of units by doses, dose against response, and ways of the animals from above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from agents.atlas import MEASURES, Row, reach

__all__ = ["draw"]

AXES = {"forward_speed": "speed (BL/s)", "yaw_rate": "turning, left + (deg/s)", "frequency": "frequency (Hz)"}
Measured = dict[str, np.ndarray]


def draw(folder: Path, rows: Sequence[Row], measured: Measured) -> None:
    """Units into atlas.png, responses.png and paths.png; directions and gains, if there are any, into directions.png
    and gains.png."""
    kinds = [row.kind for row in rows]
    first = next((i for i, kind in enumerate(kinds) if kind != "unit"), len(rows))
    if first > 1:
        names, doses, grid = _grid(rows[1:first], _part(measured, 1, first))
        draw_maps(folder / "atlas.png", names, doses, grid, measured)
        draw_responses(folder / "responses.png", names, doses, grid, measured)
        draw_paths(folder / "paths.png", names, doses, grid)
    for kind, label in (("direction", "pushed along by (drive units)"), ("gain", "dose")):
        if kind in kinds:
            start, count = kinds.index(kind), kinds.count(kind)
            draw_ways(folder / f"{kind}s.png", rows, measured, slice(start, start + count), label)


def draw_maps(file: Path, names: list[str], doses: list[float], grid: Measured, measured: Measured) -> None:
    """Units by doses, sorted by how far they turn the animal."""
    order = np.argsort(-np.nanmax(np.abs(grid["yaw_rate"] - measured["yaw_rate"][0]), axis=1))
    turn = float(np.nanpercentile(np.abs(grid["yaw_rate"]), 98))
    panels = (
        ("forward_speed", "speed (BL/s)", "viridis", None),
        ("yaw_rate", "turning, left + (deg/s)", "RdBu_r", (-turn, turn)),
        ("frequency", "frequency (Hz)", "viridis", None),
        ("gait", "rest 0, walk 1, swim 2", "cividis", (0.0, 2.0)),
        ("uprightness", "uprightness", "magma", (0.0, 1.0)),
    )
    figure, axes = _figure(1, len(panels), (14, max(3.0, 0.13 * len(names) + 1.2)), sharey=True)
    for axis, (name, title, colours, limits) in zip(axes, panels, strict=True):
        bounds: dict[str, Any] = {} if limits is None else {"vmin": limits[0], "vmax": limits[1]}
        image = axis.imshow(grid[name][order], aspect="auto", cmap=colours, interpolation="nearest", **bounds)
        figure.colorbar(image, ax=axis, shrink=0.8, location="bottom", label=title)
        axis.set_xticks(range(0, len(doses), 2), [f"{d:.2g}" for d in doses[::2]])
        axis.set_xlabel("dose")
    axes[0].set_yticks(range(len(names)), [names[i] for i in order], fontsize=6)
    figure.savefig(file, dpi=130)


def draw_responses(file: Path, names: list[str], doses: list[float], grid: Measured, measured: Measured) -> None:
    """Dose against response, all units thin, the five that do most named."""
    figure, axes = _figure(1, 3, (12, 4))
    for axis, (name, label) in zip(axes, AXES.items(), strict=True):
        order = np.argsort(-np.nan_to_num(np.ptp(grid[name], axis=1)))
        for i in order[:4:-1]:
            axis.plot(doses, grid[name][i], lw=0.5, color="0.8")
        for i in order[:5]:
            axis.plot(doses, grid[name][i], "o-", lw=1.6, ms=3, label=names[i])
        _finish(axis, "dose", label, measured[name][0])
    figure.savefig(file, dpi=130)


def draw_paths(file: Path, names: list[str], doses: list[float], grid: Measured) -> None:
    """Ways of the animals, from above, for the six units that turn or slow it most."""
    far = np.nan_to_num(np.ptp(grid["yaw_rate"], axis=1)) / 40 + np.nan_to_num(np.ptp(grid["forward_speed"], axis=1))
    figure, axes = _figure(2, 3, (12, 7), sharex=True, sharey=True)
    for axis, i in zip(axes, np.argsort(-far)[:6], strict=False):
        _ways(axis, doses, grid["path"][i])
        axis.set_title(names[i])
    axes[0].legend(title="dose", fontsize=6)
    axes[3].set(xlabel="x (cm)", ylabel="y (cm)")
    figure.savefig(file, dpi=130)


def draw_ways(file: Path, rows: Sequence[Row], measured: Measured, part: slice, label: str) -> None:
    """Dose against response of each direction or gain, and the ways of the animals that the best one turns."""
    kind = rows[part.start].kind
    names, doses, grid = _grid(rows[part], _part(measured, part.start, part.stop))
    figure, axes = _figure(1, 4, (16, 4))
    order = np.argsort([*doses, 0.0])
    for axis, (name, what) in zip(axes[:3], AXES.items(), strict=True):
        for way, values in zip(names, grid[name], strict=True):
            course = np.array([*values, measured[name][0]])[order]
            axis.plot(np.array([*doses, 0.0])[order], course, "o-", lw=1.4, ms=3, label=way)
        _finish(axis, label, what, measured[name][0])
    turns = reach(rows, measured)["turning"].get(kind)
    best = names.index(turns["name"]) if turns else 0
    _ways(axes[3], doses, grid["path"][best])
    axes[3].set(xlabel="x (cm)", ylabel="y (cm)", title=f"{kind} {names[best]!r}")
    axes[3].legend(title="dose", fontsize=5, ncols=2)
    figure.savefig(file, dpi=130)


def _part(measured: Measured, first: int, last: int) -> Measured:
    return {name: measured[name][first:last] for name in (*MEASURES, "path")}


def _grid(rows: Sequence[Row], measured: Measured) -> tuple[list[str], list[float], Measured]:
    """Names, doses, and measures as [names, doses, ...]."""
    names = list(dict.fromkeys(row.name for row in rows))
    doses = [row.dose for row in rows if row.name == names[0]]
    return names, doses, {name: v.reshape(len(names), len(doses), *v.shape[1:]) for name, v in measured.items()}


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def _ways(axis: Axes, doses: Sequence[float], paths: np.ndarray) -> None:
    colours = matplotlib.colormaps["coolwarm"](np.linspace(0, 1, len(doses)))
    for dose, colour, way in zip(doses, colours, paths, strict=True):
        axis.plot(100 * way[:, 0], 100 * way[:, 1], color=colour, label=f"{dose:.2g}")
    axis.set_aspect("equal")
    axis.spines[["top", "right"]].set_visible(False)


def _finish(axis: Axes, x: str, y: str, untouched: float) -> None:
    axis.axhline(untouched, color="k", lw=0.8, ls=":")
    axis.set(xlabel=x, ylabel=y)
    axis.legend(fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)
