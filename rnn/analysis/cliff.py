"""Cliffs in the error surface, with plain and clipped ways down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result

__all__ = ["Cliff", "error_surface"]


@dataclass(frozen=True, eq=False)
class Cliff(Result):
    """A loss over two parameters, and ways down it.

    Attributes:
        first: values of the first parameter [n]. second: of the second [m].
        loss: [n, m].
        paths: by name, points visited [k, 2].
        labels: names of the two parameters.
    """

    first: Tensor
    second: Tensor
    loss: Tensor
    paths: dict[str, Tensor]
    labels: tuple[str, str]

    def draw(self, axes: Axes) -> None:
        mesh = axes.pcolormesh(self.first.numpy(), self.second.numpy(), self.loss.T.numpy(), cmap="viridis")
        axes.figure.colorbar(mesh, ax=axes, label="loss")
        for (name, path), colour in zip(self.paths.items(), ("white", "tab:red", "tab:orange"), strict=False):
            axes.plot(path[:, 0], path[:, 1], ".-", ms=4, lw=1, color=colour, label=name)
        axes.set(
            xlabel=self.labels[0],
            ylabel=self.labels[1],
            xlim=(float(self.first[0]), float(self.first[-1])),
            ylim=(float(self.second[0]), float(self.second[-1])),
        )
        if self.paths:
            axes.legend(fontsize="small")


def error_surface(
    loss: Callable[[Tensor, Tensor], Tensor],
    first: Tensor,
    second: Tensor,
    *,
    start: tuple[float, float] | None = None,
    rate: float = 0.1,
    clip: float = 1.0,
    steps: int = 40,
    labels: tuple[str, str] = ("w", "b"),
) -> Cliff:
    """A loss over a grid of two parameters, with plain and norm-clipped gradient descent from one start.

    Args:
        loss: from two tensors of the same shape to the losses, elementwise.
        first: grid of the first parameter [n]. second: grid of the second [m].
        start: where both descents begin; None for none.
        rate: learning rate.
        clip: largest norm of the gradient in the clipped descent.
        steps: of each descent.
        labels: names of the parameters.
    """
    grid = torch.meshgrid(first.double(), second.double(), indexing="ij")
    with torch.no_grad():
        surface = loss(*grid)
    paths = {}
    for name, most in (("plain", float("inf")), (f"clipped at {clip:g}", clip)) if start is not None else ():
        point = torch.tensor(start).double()
        visited = [point]
        for _ in range(steps):
            at = point.clone().requires_grad_(True)
            (g,) = torch.autograd.grad(loss(at[0], at[1]), at)
            point = point - rate * g * min(1.0, most / (float(g.norm()) + 1e-300))
            visited.append(point)
        paths[name] = torch.stack(visited)
    return Cliff(first.double(), second.double(), surface, paths, labels)
