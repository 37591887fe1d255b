"""Gradients through time: products of Jacobians, gates, carousels, conditioning."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import Figure, Table, axes_of, label, lines
from rnn.analysis.gradients import jacobian_products, linear_gradient, lstm_direct_path, step_shares
from rnn.cell import Cell
from rnn.elman import ElmanCell
from rnn.lstm import LSTMCell
from rnn.models import make_cell
from rnn.unroll import unroll


def scaled(cell: Cell, radius: float) -> Cell:
    """The cell with its recurrent weights scaled to a spectral radius."""
    with torch.no_grad():
        cell.weight_hh.mul_(radius / torch.linalg.eigvals(cell.weight_hh).abs().max())
    return cell


def products() -> Table:
    """H7: heat map of ||P_{s,t}|| of tanh networks, and the linear closed form at three radii."""
    table, steps = Table(), 40
    xs = 0.1 * torch.randn(steps, 4, 3)
    for radius in (0.9, 1.6):
        torch.manual_seed(1)
        found = jacobian_products(scaled(ElmanCell(3, 24), radius), xs)
        table.matrix(f"products {radius}", found.norms.log10().nan_to_num(math.nan).tolist())
        table.numbers[f"tanh, radius {radius}: norm over {steps} steps"] = float(found.by_lag[-1])
    torch.manual_seed(1)
    D = torch.randn(24, 24, dtype=torch.float64)
    D /= torch.linalg.eigvals(D).abs().max()
    for radius in (0.9, 1.0, 1.1):
        closed = linear_gradient(radius * D, 60)
        table.course("linear", f"radius {radius}", closed.norms)
        table.numbers[f"linear, radius {radius}: norm of D^(T-2), T = 60"] = float(closed.norms[58])
    return table


def draw_products(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    for axes, radius in ((a, 0.9), (b, 1.6)):
        values = table.as_matrix(f"products {radius}")
        image = axes.imshow(values, cmap="RdBu_r", vmin=-3, vmax=3)
        label(axes, f"log10 ||P_st||, tanh, radius {radius}", "t", "s")
        drawing.colorbar(image, ax=axes)
    lines(c, table.panel("linear"))
    c.set_yscale("log")
    label(c, "||D^k||: the radius decides", "lag k", "norm", legend=True)
    return drawing


def gates() -> Table:
    """H8: gates of an LSTM that must carry a bit for 30 steps, and the gradient along c."""
    table, steps = Table(), 40
    cell, readout = LSTMCell(2, 8, forget_bias=4.0), nn.Linear(8, 1)
    optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.02)

    def task(rows: int) -> tuple[Tensor, Tensor]:
        xs = torch.zeros(steps, rows, 2)
        bit = torch.randint(0, 2, (rows,)) * 2.0 - 1
        xs[5, :, 0], xs[6:, :, 1] = bit, 0.5 * torch.randn(steps - 6, rows)
        return xs, bit

    for _ in range(200):
        xs, bit = task(64)
        loss = (readout(unroll(cell, xs).outputs[-1])[:, 0] - bit).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
        optimiser.step()
    xs, bit = task(16)
    trace = unroll(cell, xs, record=("input_gate", "forget", "output_gate", "c", "h")).trace
    unit = int((trace["c"][-1] * bit[:, None]).mean(0).abs().argmax())
    for name in ("input_gate", "forget", "output_gate", "c", "h"):
        table.course("unit", name, trace[name][:, 0, unit].detach())
    path = lstm_direct_path(cell, xs)
    table.course("gradient", "along c, product of f", path.direct)
    table.course("gradient", "every way", path.full)
    table.course("gradient", "Elman network", jacobian_products(ElmanCell(2, 8), xs).norms[:, -1])
    table.numbers["loss"] = loss.item()
    table.numbers["forget gate, mean after the cue"] = trace["forget"][6:, :, unit].mean().item()
    table.numbers["direct path over 34 steps"] = float(path.direct[6])
    return table


def draw_gates(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("unit"))
    label(left, "The unit that holds the bit (cue at step 5)", "step", "", legend=True)
    lines(right, table.panel("gradient"))
    right.set_yscale("log")
    label(right, "Gradient from the last step back to step s", "s", "norm", legend=True)
    return drawing


def transient() -> Table:
    """H14: lambda^(T-1) back through time and forward, and a matrix that grows before it fades."""
    table = Table()
    lags = torch.arange(41).double()
    for value in (0.8, 0.95, 1.0, 1.05, -0.95):
        table.course("powers", f"lambda = {value}", (value**lags).abs())
    D = torch.tensor([[0.9, 5.0], [0.0, 0.8]])
    closed = linear_gradient(D, 40)
    table.course("transient", "||D^k||", closed.norms)
    table.course("transient", "0.9^k", closed.powers)
    h, forward = torch.tensor([0.0, 1.0]), []
    for _ in range(41):
        forward.append(h.norm())
        h = D @ h
    table.course("transient", "||D^k x_1||, x_1 forward", forward)
    table.numbers |= {"peak of ||D^k||": closed.peak, "at k": float(closed.norms.argmax()), "spectral radius": 0.9}
    return table


def draw_transient(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("powers"))
    left.set_yscale("log")
    label(left, "|lambda|^k, backward and forward alike", "k", "", legend=True)
    lines(right, table.panel("transient"))
    for line, style in zip(right.lines, ("-", "-", "--"), strict=True):  # the last lies on the first
        line.set(linestyle=style, linewidth=3 if style == "-" else 1.2)
    label(right, "[[.9, 5], [0, .8]]: radius below 1, yet it grows first", "k", "norm", legend=True)
    return drawing


def running_sum() -> Table:
    """H16: with f = 1 the cell is a running sum; smaller f forgets."""
    table, steps = Table(), 60
    x = torch.zeros(steps, 1, 1)
    x[[5, 20, 35]] = torch.tensor([1.0, 0.5, -1.0]).reshape(3, 1, 1)
    table.course("c", "input", x.flatten())
    for f in (1.0, 0.95, 0.7):
        cell = LSTMCell(1, 1, gates=("forget",), reads={"forget": "", "candidate": "x"}, squash="identity")
        with torch.no_grad():
            cell.weight_ih.fill_(1.0)
            cell.bias.fill_(0.0)
            cell.bias[1] = 40.0 if f == 1 else math.log(f / (1 - f))
        run = unroll(cell, x, record=("c",))
        table.course("c", f"f = {f}", run.trace["c"].detach().flatten())
        path = lstm_direct_path(cell, x)
        table.course("gradient", f"f = {f}", path.direct)
        table.numbers[f"f = {f}: c at the end"] = run.trace["c"][-1].item()
    table.numbers["sum of tanh x"] = float(torch.tanh(x).sum())
    return table


def draw_running_sum(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    curves = table.panel("c")
    left.vlines(curves["input"][0], 0, curves.pop("input")[1], color="0.6", label="input")
    lines(left, curves)
    label(left, "c_t = f c_{t-1} + tanh(x_t)", "step", "c", legend=True)
    lines(right, table.panel("gradient"))
    label(right, "Gradient from the end back to s", "s", "product of f")
    return drawing


def imbalance() -> Table:
    """H20: shares of the steps in the gradient, conditioning against lag, and what momentum does about it."""
    table, steps = Table(), 30
    for name in ("elman", "lstm"):
        torch.manual_seed(0)
        cell = make_cell(name, 2, 16)
        xs = torch.randn(steps, 8, 2)
        shares = step_shares(cell, xs, lambda ys: ys[-1].square().sum())
        table.course("shares", f"{name}: recurrent weights", shares.parameters["weight_hh"])
        recurrent = shares.parameters["weight_hh"]
        table.numbers[f"{name}: first share over last"] = float(recurrent[1] / recurrent[-1])
    D = torch.diag(torch.tensor([0.98, 0.9, 0.8, 0.7], dtype=torch.float64))
    table.course("conditioning", "normal, |l1/ld|^k", linear_gradient(D, 30).conditions)
    torch.manual_seed(2)
    V = torch.randn(4, 4, dtype=torch.float64)
    skewed = linear_gradient(V @ D @ torch.linalg.inv(V), 30)
    table.course("conditioning", "same eigenvalues, skewed", skewed.conditions)
    table.numbers["condition at lag 30, normal"] = float(linear_gradient(D, 30).conditions[-1])
    table.numbers["condition at lag 30, skewed"] = float(skewed.conditions[-1])
    for momentum in (0.0, 0.9):
        z, v, losses = torch.tensor([1.0, 1.0]), torch.zeros(2), []
        for _ in range(150):  # an ill-conditioned valley
            g = torch.tensor([1.0, 0.02]) * z
            v = momentum * v - 0.5 * g
            z = z + v
            losses.append(float(0.5 * (torch.tensor([1.0, 0.02]) * z * z).sum()))
        table.course("valley", f"momentum {momentum}", losses)
        table.numbers[f"valley, momentum {momentum}: last loss"] = losses[-1]
    return table


def draw_imbalance(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    for axes, panel, title, x in (
        (a, "shares", "Share of each step in the gradient", "step"),
        (b, "conditioning", "Conditioning of the Jacobian against lag", "lag"),
        (c, "valley", "Descent in a valley of condition 50", "update"),
    ):
        lines(axes, table.panel(panel))
        axes.set_yscale("log")
        label(axes, title, x, "", legend=True)
    return drawing


FIGURES = (
    Figure("H7", "Berlin 2024", "Products of Jacobians, and powers of a linear network", products, draw_products),
    Figure("H8", "Berlin 2024", "LSTM gates and the gradient along the memory", gates, draw_gates),
    Figure("H14", "Worcester", "Powers backward and forward, the non-normal transient", transient, draw_transient),
    Figure("H16", "Worcester", "f = 1: the cell as a running sum", running_sum, draw_running_sum),
    Figure("H20", "Berlin 2018", "Imbalance and conditioning against lag, and momentum", imbalance, draw_imbalance),
)
