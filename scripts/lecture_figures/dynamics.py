"""Networks as dynamical systems: portraits, the forgotten start, bifurcations and the cliff, echoes."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from lecture_figures.page import Figure, Table, axes_of, label, lines
from rnn.analysis.bifurcation import Family, continue_branch
from rnn.analysis.cliff import error_surface
from rnn.analysis.plots import phase_portrait
from rnn.analysis.sensitivity import end_map
from rnn.analysis.systems import FlowCell
from rnn.elman import ElmanCell, PreActivationCell
from rnn.euler import EulerCell
from rnn.reservoir import EchoStateCell
from rnn.unroll import unroll

DECK = "Berlin 2018"


def _field(x: Tensor, h: Tensor) -> Tensor:
    """A network of two units in continuous time, `h' = -h + W tanh(h)`; it turns."""
    W = torch.tensor([[1.6, -2.0], [2.0, 1.6]], dtype=h.dtype)
    return -h + torch.tanh(h) @ W.T


def portraits() -> Table:
    """H19: phase portrait of a flow, and what Euler's steps make of it."""
    table = Table()
    starts = torch.tensor([[0.1, 0.0], [2.0, 2.0]], dtype=torch.float64)
    exact = FlowCell(_field, 1, 2, dt=0.05)
    vectors = phase_portrait(exact, starts, steps=300, span=2.5, grid=15)
    for name, column in (("x", vectors.places[:, 0]), ("y", vectors.places[:, 1])):
        table.course("places", name, column)
    for name, column in (("x", vectors.arrows[:, 0]), ("y", vectors.arrows[:, 1])):
        table.course("arrows", name, column)
    for i in range(2):
        table.add("flow", f"start {i}", *vectors.orbits[:, i].T)
    reach = vectors.orbits[-120:, 0].norm(dim=1).mean()
    table.numbers["radius of the rhythm, flow"] = float(reach)
    for dt in (0.05, 0.3, 0.8):
        orbit = phase_portrait(EulerCell(_field, 1, 2, dt=dt), starts[:1], steps=int(15 / dt)).orbits[:, 0]
        table.add("euler", f"dt = {dt}", *orbit.T)
        table.numbers[f"radius of the rhythm, Euler dt {dt}"] = float(orbit[-int(5 / dt) :].norm(dim=1).mean())
    return table


def draw_portraits(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    places, arrows = table.panel("places"), table.panel("arrows")
    left.quiver(places["x"][1], places["y"][1], arrows["x"][1], arrows["y"][1], color="0.7", width=0.004)
    lines(left, table.panel("flow"))
    label(left, "Flow of two units: a focus inside a cycle", "h_1", "h_2")
    lines(right, table.panel("euler"), lw=1)
    label(right, "The same by Euler's steps", "h_1", "h_2", legend=True)
    return drawing


def forgotten_start() -> Table:
    """H21: r_100 against r_0 for small and large weights of one unit, and of a random network."""
    table = Table()
    first = torch.linspace(-1, 1, 201)
    for w in (0.5, 1.0, 1.5, -1.5):
        cell = ElmanCell(1, 1, bias=False)
        with torch.no_grad():
            cell.weight_hh.fill_(w)
        found = end_map(cell, first)
        table.add("one unit", f"w = {w}", found.first, found.last)
        table.numbers[f"one unit, w = {w}: values at the end"] = len(found.last.mul(1e4).round().unique())
    for radius in (0.8, 3.0):
        cell = EchoStateCell(1, 100, radius=radius, input_scale=0.0, distribution="normal", seed=1)
        found = end_map(cell, first)
        table.add("100 units", f"radius {radius}", found.first, found.last)
        table.numbers[f"100 units, radius {radius}: steepest slope"] = found.steepest
    return table


def draw_forgotten_start(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    for axes, panel in ((left, "one unit"), (right, "100 units")):
        lines(axes, table.panel(panel), lw=1)
        label(axes, f"{panel}: r_100 against r_0", "r_0", "r_100")
        axes.legend(fontsize=8, loc="upper left", framealpha=0.95)
    return drawing


def _last(w: Tensor, b: Tensor, steps: int = 50) -> Tensor:
    r = torch.zeros_like(w)
    for _ in range(steps):
        r = w * torch.sigmoid(r) + b
    return (torch.sigmoid(r) - 0.3).square()


def cliff() -> Table:
    """H22: bifurcation of r = w s(r) + b at w = 5, and the cliff in (w, b) with clipped and unclipped paths."""
    table = Table()
    cell = PreActivationCell(1, 1, squash="logistic").double()
    with torch.no_grad():
        cell.weight_hh.fill_(5.0)
    branch = continue_branch(Family(cell, "bias[0]"), torch.zeros(1, 2), -3.6, -1.4, step=0.05)
    nothing = torch.full_like(branch.parameters, math.nan)
    r = branch.states[:, 0]
    table.add("branch", "stable", branch.parameters, torch.where(branch.stable, r, nothing))
    table.add("branch", "unstable", branch.parameters, torch.where(branch.stable, nothing, r))
    folds = sorted(point.parameter for point in branch.special if point.kind == "fold")
    table.numbers |= {f"fold {i + 1}: b": value for i, value in enumerate(folds)}
    found = error_surface(
        _last, torch.linspace(3, 7, 80), torch.linspace(-4, -1, 80), start=(5.0, -2.7), rate=0.6, clip=0.1, steps=60
    )
    table.matrix("loss", found.loss.T.tolist())
    for name, path in found.paths.items():
        table.add("paths", name, path[:, 0], path[:, 1])
        table.numbers[f"{name}: longest step"] = float(path.diff(dim=0).norm(dim=1).max())
        table.numbers[f"{name}: last loss"] = float(_last(*path[-1]))
    return table


def draw_cliff(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    styles = {"stable": "-", "unstable": "--"}
    for name, (x, y) in table.panel("branch").items():
        left.plot(x, y, styles[name], label=name)
    for name, value in table.numbers.items():
        if name.startswith("fold"):
            left.axvline(value, color="0.8", lw=0.8)
    label(left, "r = 5 s(r) + b: two folds", "b", "r", legend=True)
    loss = table.as_matrix("loss")
    right.pcolormesh(np.linspace(3, 7, 80), np.linspace(-4, -1, 80), loss, cmap="Greys", shading="nearest")
    lines(right, table.panel("paths"), ".-", ms=3, lw=1)
    right.set(xlim=(3, 7), ylim=(-4, -1))
    label(right, "The cliff in (w, b), and two ways down", "w", "b")
    right.legend(fontsize=8, loc="upper right")  # framed, as it lies on the dark side
    return drawing


def echoes() -> Table:
    """H23: echoes of a pulse, a string of masses as a reservoir, forgetting, four parameters swept, error and size."""
    table, steps = Table(), 60
    pulse = torch.zeros(steps, 1, 1)
    pulse[0] = 1.0
    for radius in (0.5, 0.9, 1.2):
        cell = EchoStateCell(1, 100, radius=radius, seed=0)
        table.course("echoes", f"radius {radius}", unroll(cell, pulse).outputs[:, 0].norm(dim=1))
    for i, unit in enumerate(unroll(EchoStateCell(1, 100, radius=0.9, seed=0), pulse).outputs[:, 0, :3].T):
        table.course("units", f"unit {i}", unit)
    table.course("analogy", "end of the string", string_of_masses(steps * 4)[::4])
    xs = torch.randn(200, 2, 1).expand(-1, 2, -1).clone()
    xs[:, 1] = xs[:, 0]
    for radius in (0.9, 1.5):
        cell = EchoStateCell(1, 100, radius=radius, seed=0)
        begin = cell.initial_state(2)._replace(h=torch.randn(2, 100).clamp(-1, 1))
        ys = unroll(cell, xs, begin).outputs
        table.course("forgetting", f"radius {radius}", (ys[:, 0] - ys[:, 1]).norm(dim=1).clamp(min=1e-12))
    base = {"radius": 0.9, "leak": 1.0, "input_scale": 0.5, "bias_scale": 0.5}
    sweeps = {
        "radius": (0.2, 0.5, 0.8, 1.0, 1.3),
        "leak": (0.1, 0.3, 0.6, 0.8, 1.0),
        "input_scale": (0.05, 0.2, 0.5, 1.0, 3.0),
        "bias_scale": (0.0, 0.2, 0.5, 1.0, 2.0),
    }
    for name, values in sweeps.items():
        errors = [memory_error(EchoStateCell(1, 100, seed=0, **{**base, name: value})) for value in values]
        table.add("sweep", name, values, errors)
        table.numbers[f"best {name}"] = values[int(np.argmin(errors))]
    sizes = (10, 30, 100, 300)
    errors = [memory_error(EchoStateCell(1, size, seed=0, **base)) for size in sizes]
    table.add("size", "error", sizes, errors)
    table.numbers |= {f"error with {size} units": error for size, error in zip(sizes, errors, strict=True)}
    return table


def string_of_masses(steps: int) -> list[float]:
    """A pulse at one end of a damped string of 20 masses, heard at the other: a reservoir one can touch."""
    r, v, heard = np.zeros(20), np.zeros(20), []
    v[0] = 1.0
    for _ in range(steps):
        padded = np.concatenate([[0.0], r, [0.0]])
        v = 0.995 * v + 0.3 * (padded[2:] - 2 * r + padded[:-2])
        r = r + 0.3 * v
        heard.append(float(r[-3]))
    return heard


def memory_error(cell: EchoStateCell) -> float:
    """Error of a ridge readout of the product of the inputs 1 and 3 steps back (variance 1 is no knowledge)."""
    u = torch.rand(2500, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = (u[2:-1] * u[:-3])[:, 0, 0].double()
    hs = torch.nn.functional.pad(unroll(cell, u).outputs[3:, 0], (0, 1), value=1.0).double()
    train, test = slice(100, 1700), slice(1700, None)
    gram = hs[train].T @ hs[train] + 1e-6 * torch.eye(hs.shape[1]).double()
    weights = torch.linalg.solve(gram, hs[train].T @ target[train])
    return float((hs[test] @ weights - target[test]).square().mean() / target[test].var())


def draw_echoes(table: Table) -> Drawing:
    drawing, (a, b, c, d, e) = axes_of(5, width=3.4)
    lines(a, table.panel("echoes"))
    a.set_yscale("log")
    label(a, "Echo of a pulse", "step", "||h||", legend=True)
    lines(b, {**table.panel("units"), **table.panel("analogy")}, lw=1)
    label(b, "Three units, and a string", "step", "", legend=True)
    lines(c, table.panel("forgetting"))
    c.set_yscale("log")
    label(c, "Two starts, one input", "step", "distance", legend=True)
    lines(d, table.panel("sweep"), "o-", ms=3)
    label(d, "Four parameters", "value", "error", legend=True)
    lines(e, table.panel("size"), "o-", ms=3)
    e.set(xscale="log", yscale="log")
    label(e, "Error against size", "units", "error")
    return drawing


FIGURES = (
    Figure("H19", DECK, "Phase portraits, flow against Euler", portraits, draw_portraits),
    Figure("H21", DECK, "r_100 against r_0 for small and large weights", forgotten_start, draw_forgotten_start),
    Figure("H22", DECK, "Bifurcation of r = w s(r) + b, and the cliff", cliff, draw_cliff),
    Figure("H23", DECK, "Echo states: echoes, analogy, forgetting, sweep, size", echoes, draw_echoes),
)
