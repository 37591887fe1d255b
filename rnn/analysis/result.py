"""What every analysis returns: frozen numbers that draw themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["Result", "blank", "save_figure"]


class Result:
    """Base of the results; a subclass is a frozen dataclass with `draw(axes)`.

    Attributes:
        size: width and height of its figure, inches.
    """

    size: tuple[float, float] = (6.0, 3.8)

    def draw(self, axes: Axes) -> None:
        """Draw into given axes."""
        raise NotImplementedError

    def plot(self, target: Axes | str | os.PathLike[str] | None = None) -> Axes:
        """Draw into axes, or into a figure of its own, saved if a path is given; returns the axes."""
        if isinstance(target, Axes):
            self.draw(target)
            return target
        axes = blank(self.size)
        self.draw(axes)
        if target is not None:
            save_figure(axes.figure, target)
        return axes


def blank(size: tuple[float, float] = (6.0, 3.8)) -> Axes:
    """Empty axes of a new figure that needs no display and leaves pyplot alone."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def save_figure(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Save a figure, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
