"""What every lecture figure is: something to compute, a table of the result, and a drawing from the table alone."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

__all__ = ["COLOURS", "Curve", "Figure", "Table", "axes_of", "label", "lines"]

# "Color Universal Design" (Okabe & Ito, 2008)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")

Curve = tuple[np.ndarray, np.ndarray]


@dataclass
class Table:
    """Points of named series in named panels, and the numbers that the lecture prints."""

    rows: list[tuple[str, str, float, float]] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)

    def add(self, panel: str, series: str, x: Iterable[float], y: Iterable[float]) -> None:
        """Add a series; x and y may be arrays or tensors."""
        self.rows += [(panel, series, float(a), float(b)) for a, b in zip(x, y, strict=True)]

    def course(self, panel: str, series: str, y: Iterable[float], start: float = 0.0, step: float = 1.0) -> None:
        """Add a series over 0, 1, 2 ..."""
        values = [float(v) for v in y]
        self.add(panel, series, start + step * np.arange(len(values)), values)

    def matrix(self, panel: str, values: Sequence[Sequence[float]]) -> None:
        """Add a matrix: one series per row."""
        for i, row in enumerate(values):
            self.course(panel, f"row {i:03d}", row)

    def panel(self, name: str) -> dict[str, Curve]:
        """The series of a panel, in the order in which they were added."""
        found: dict[str, list[tuple[float, float]]] = {}
        for panel, series, x, y in self.rows:
            if panel == name:
                found.setdefault(series, []).append((x, y))
        return {series: tuple(np.array(points).T) for series, points in found.items()}

    def as_matrix(self, panel: str) -> np.ndarray:
        """The matrix of a panel."""
        return np.array([y for _, y in self.panel(panel).values()])

    def save(self, path: Path) -> None:
        """Write as CSV; numbers stand in the panel `number`."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["panel", "series", "x", "y"])
            writer.writerows([p, s, repr(x), repr(y)] for p, s, x, y in self.rows)
            writer.writerows(["number", name, "0", repr(float(value))] for name, value in self.numbers.items())

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read what `save` wrote."""
        table = cls()
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["panel"] == "number":
                    table.numbers[row["series"]] = float(row["y"])
                else:
                    table.rows.append((row["panel"], row["series"], float(row["x"]), float(row["y"])))
        return table


@dataclass(frozen=True)
class Figure:
    """A figure of a lecture.

    Attributes:
        id: as the lecture calls it, "H2".
        deck: the lecture.
        title: what it shows, in a sentence.
        compute: fills the table.
        draw: draws it.
    """

    id: str
    deck: str
    title: str
    compute: Callable[[], Table]
    draw: Callable[[Table], Drawing]


def axes_of(columns: int, rows: int = 1, *, width: float = 4.6, height: float = 3.4) -> tuple[Drawing, list[Axes]]:
    """A drawing with its axes in reading order."""
    drawing = Drawing(figsize=(width * columns, height * rows), layout="constrained")
    grid = drawing.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return drawing, list(grid.flat)


def label(axes: Axes, title: str, x: str, y: str, legend: bool = False) -> None:
    """Title, axis labels, and a legend if wanted."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if legend:
        axes.legend(frameon=False, fontsize=8)


def lines(axes: Axes, curves: dict[str, Curve], style: str = "-", **kwargs) -> None:
    """Every series as a line in a colour of its own."""
    for colour, (name, (x, y)) in zip(COLOURS * 3, curves.items(), strict=False):
        axes.plot(x, y, style, color=colour, label=name, **kwargs)
