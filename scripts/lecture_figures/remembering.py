"""What it takes to remember: trainings that vanish, explode and are clipped; gates added one at a time."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import Figure, Table, axes_of, label, lines
from lecture_figures.through_time import scaled
from rnn.analysis.gradients import jacobian_products, lstm_direct_path
from rnn.cell import Cell
from rnn.elman import ElmanCell
from rnn.lstm import LSTMCell
from rnn.models import make_cell
from rnn.unroll import unroll


def remember(
    cell: Cell, steps: int, *, clip: float | None, rate: float, updates: int = 150, adam: bool = False
) -> tuple[list, list]:
    """Losses and gradient norms while a network learns to say at the end what it heard first."""
    readout = nn.Linear(cell.output_size, 1)
    weights = [*cell.parameters(), *readout.parameters()]
    optimiser = (torch.optim.Adam if adam else torch.optim.SGD)(weights, lr=rate)
    losses, norms = [], []
    for step in range(updates):
        xs = 0.1 * torch.randn(steps, 64, 1, generator=torch.Generator().manual_seed(step))
        bit = (torch.arange(64) % 2) * 2.0 - 1
        xs[0, :, 0] = bit
        loss = (readout(unroll(cell, xs).outputs[-1])[:, 0] - bit).square().mean()
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, clip if clip is not None else math.inf)
        losses.append(min(loss.nan_to_num(1e6).item(), 1e6))
        norms.append(norm.nan_to_num(1e9, 1e9).item())
        if not math.isfinite(losses[-1]) or losses[-1] >= 1e6:
            losses += [1e6] * (updates - len(losses))
            norms += [norms[-1]] * (updates - len(norms))
            break
        optimiser.step()
    return losses, norms


def training() -> Table:
    """H13: one task, three trainings: vanishing, exploding, clipped."""
    table = Table()
    trainings = {
        "vanishing (radius 0.5)": (0.5, None),
        "exploding (radius 1.5)": (1.5, None),
        "clipped (radius 1.5)": (1.5, 0.5),
    }
    for name, (radius, clip) in trainings.items():
        torch.manual_seed(0)
        cell = scaled(ElmanCell(1, 32, squash="relu"), radius)
        losses, norms = remember(cell, 25, clip=clip, rate=0.02)
        table.course("loss", name, losses)
        table.course("norm", name, norms)
        table.numbers[f"{name}: last loss"] = losses[-1]
        table.numbers[f"{name}: largest gradient"] = max(norms)
    return table


def draw_training(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    for axes, name in ((left, "loss"), (right, "norm")):
        lines(axes, table.panel(name))
        axes.set_yscale("log")
        label(axes, f"Say at step 25 what was heard at step 1: {name}", "update", name, legend=name == "loss")
    return drawing


def remedies() -> Table:
    """H15: clipping, skip connections and orthogonal weights compared on one memory task."""
    table, steps = Table(), 60
    makers = {
        "plain": lambda: scaled(ElmanCell(1, 24), 1.6),
        "clipped": lambda: scaled(ElmanCell(1, 24), 1.6),
        "leak 0.05 (skip over time)": lambda: ElmanCell(1, 24, leak=0.05),
        "orthogonal": lambda: make_cell("orthogonal", 1, 24),
        "LSTM": lambda: LSTMCell(1, 24, forget_bias=4.0),
    }
    for name, make in makers.items():
        torch.manual_seed(0)
        cell = make()
        table.course("gradient", name, jacobian_products(cell, 0.1 * torch.randn(steps, 2, 1)).norms[:, -1])
        losses, _ = remember(cell, steps, clip=None if name == "plain" else 1.0, rate=0.005, adam=True)
        table.course("loss", name, losses)
        table.numbers[f"{name}: last loss"] = losses[-1]
    return table


def draw_remedies(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("gradient"))
    left.set_yscale("log")
    label(left, "Before learning: gradient from step 60 back to s", "s", "norm", legend=True)
    lines(right, table.panel("loss"))
    right.set_yscale("log")
    label(right, "Remembering a bit for 60 steps", "update", "loss")
    return drawing


def marked_sum(steps: int, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Values with marks; the target is the last marked value, held until the next mark."""
    g = torch.Generator().manual_seed(seed)
    value, mark = torch.randn(steps, rows, generator=g), torch.rand(steps, rows, generator=g) < 0.15
    mark[0] = True
    held, target = torch.zeros(rows), []
    for t in range(steps):
        held = torch.where(mark[t], value[t], held)
        target.append(held)
    return torch.stack([value, mark.float()], -1), torch.stack(target)


def carousel() -> Table:
    """H29: the carousel, then input, output and forget gate added one at a time."""
    table, steps = Table(), 30
    variants = {
        "carousel": (),
        "+ input gate": ("input_gate",),
        "+ output gate": ("input_gate", "output_gate"),
        "+ forget gate": ("input_gate", "output_gate", "forget"),
    }
    for name, present in variants.items():
        torch.manual_seed(0)
        cell, readout = LSTMCell(2, 8, gates=present), nn.Linear(8, 1)
        weights = [*cell.parameters(), *readout.parameters()]
        optimiser = torch.optim.Adam(weights, lr=0.02)
        losses = []
        for step in range(150):
            xs, target = marked_sum(steps, 48, step)
            loss = (readout(unroll(cell, xs).outputs)[..., 0] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            losses.append(loss.item())
        table.course("loss", name, losses)
        xs, target = marked_sum(steps, 48, 999)
        trace = unroll(cell, xs, record=("c",)).trace["c"].detach()
        table.course("memory", name, trace.abs().mean((1, 2)))
        table.course("gradient", name, lstm_direct_path(cell, xs[:, :4]).direct)
        table.numbers[f"{name}: last loss"] = sum(losses[-10:]) / 10
    return table


def draw_carousel(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    lines(a, table.panel("loss"))
    a.set_yscale("log")
    label(a, "Hold the last marked value", "update", "loss", legend=True)
    lines(b, table.panel("memory"))
    label(b, "Without forgetting the memory floods", "step", "mean |c|")
    lines(c, table.panel("gradient"))
    label(c, "Gradient along c from the end", "s", "product of f")
    return drawing


def examples() -> Table:
    """H30: an LSTM example with 1, 2 and 32 cells, selected connections and a negative input bias."""
    table, steps = Table(), 40
    settings = {
        "1 cell": {"hidden": 1},
        "2 cells": {"hidden": 2},
        "32 cells": {"hidden": 32},
        "32 cells, gates hear x only": {
            "hidden": 32,
            "reads": dict.fromkeys(("input_gate", "forget", "output_gate"), "x"),
        },
        "32 cells, input bias -3": {"hidden": 32, "input_gate_bias": -3.0},
    }
    for name, options in settings.items():
        torch.manual_seed(0)
        hidden = options.pop("hidden")
        cell, readout = LSTMCell(2, hidden, **options), nn.Linear(hidden, 1)
        weights = [*cell.parameters(), *readout.parameters()]
        optimiser, losses = torch.optim.Adam(weights, lr=0.02), []
        for step in range(150):
            xs, target = marked_sum(steps, 48, step)
            loss = (readout(unroll(cell, xs).outputs)[..., 0] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            losses.append(loss.item())
        table.course("loss", name, losses)
        table.numbers[f"{name}: last loss"] = sum(losses[-10:]) / 10
        if hidden <= 2:
            xs, target = marked_sum(steps, 1, 12)
            trace = unroll(cell, xs, record=("input_gate", "forget", "c", "h")).trace
            table.course(name, "target", target.flatten())
            for quantity in ("input_gate", "forget", "c"):
                table.course(name, quantity, trace[quantity][:, 0, 0].detach())
    return table


def draw_examples(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    lines(a, table.panel("loss"))
    a.set_yscale("log")
    label(a, "Hold the last marked value", "update", "loss", legend=True)
    for axes, name in ((b, "1 cell"), (c, "2 cells")):
        lines(axes, table.panel(name))
        label(axes, f"{name}: gates and memory of the first", "step", "", legend=True)
    return drawing


def gru_against_lstm() -> Table:
    """H31: GRU against LSTM at equal numbers of parameters."""
    table, steps = Table(), 40
    for name, hidden in (("gru", 28), ("lstm", 24), ("minimal", 34), ("elman", 49)):
        torch.manual_seed(0)
        cell, readout = make_cell(name, 2, hidden), nn.Linear(hidden, 1)
        weights = [*cell.parameters(), *readout.parameters()]
        table.numbers[f"{name}: parameters"] = sum(p.numel() for p in cell.parameters())
        optimiser, losses = torch.optim.Adam(weights, lr=0.01), []
        for step in range(200):
            xs, target = marked_sum(steps, 48, step)
            loss = (readout(unroll(cell, xs).outputs)[..., 0] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            losses.append(loss.item())
        table.course("loss", name, losses)
        table.numbers[f"{name}: last loss"] = sum(losses[-10:]) / 10
        table.course("gradient", name, jacobian_products(cell, marked_sum(steps, 2, 5)[0]).by_lag)
    return table


def draw_gru_against_lstm(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    for axes, panel, title, x in (
        (left, "loss", "Hold the last marked value", "update"),
        (right, "gradient", "After learning: gradient against lag", "lag"),
    ):
        lines(axes, table.panel(panel))
        axes.set_yscale("log")
        label(axes, title, x, panel, legend=True)
    return drawing


FIGURES = (
    Figure("H13", "Worcester", "Exploding, vanishing and clipped training", training, draw_training),
    Figure("H15", "Worcester", "Clipping, skip connections and orthogonal weights compared", remedies, draw_remedies),
    Figure("H29", "Linz", "The carousel, then one gate after another", carousel, draw_carousel),
    Figure("H30", "Linz", "An LSTM example with 1, 2 and 32 cells", examples, draw_examples),
    Figure("H31", "Linz", "GRU against LSTM", gru_against_lstm, draw_gru_against_lstm),
)
