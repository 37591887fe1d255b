"""Cues near and far, over-fitting, time per step, and pictures refined by recurrence."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.models import make_cell
from rnn.unroll import unroll


def bits_and_depth() -> Table:
    """H38: near and far cue, over-fitting, time per step."""
    import time

    table = Table()
    for name in ("elman", "lstm", "gru"):
        for lag in (5, 40):
            torch.manual_seed(0)
            cell, readout = make_cell(name, 1, 16), nn.Linear(16, 1)
            weights = [*cell.parameters(), *readout.parameters()]
            optimiser, losses = torch.optim.Adam(weights, lr=0.01), []
            for step in range(120):
                xs = 0.3 * torch.randn(lag + 1, 48, 1, generator=torch.Generator().manual_seed(step))
                bit = (torch.arange(48) % 2) * 2.0 - 1
                xs[0, :, 0] = bit
                loss = (readout(unroll(cell, xs).outputs[-1])[:, 0] - bit).square().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()
                losses.append(loss.item())
            table.course("near" if lag == 5 else "far", name, losses)
            table.numbers[f"{name}, cue {lag} steps back: last loss"] = losses[-1]
    few, many = overfit()
    table.course("over-fitting", "16 sequences: training", few[0])
    table.course("over-fitting", "16 sequences: unseen", few[1])
    table.course("over-fitting", "512 sequences: unseen", many[1])
    table.numbers |= {"unseen error, 16 sequences": few[1][-1], "unseen error, 512 sequences": many[1][-1]}
    for i, name in enumerate(("elman", "gru", "lstm", "lru", "linear_attention")):
        cell, xs = make_cell(name, 4, 64), torch.randn(100, 16, 4)
        with torch.no_grad():
            unroll(cell, xs)
            begin = time.process_time()
            for _ in range(5):
                unroll(cell, xs)
        microseconds = (time.process_time() - begin) / 500 * 1e6
        table.add("time", name, [i], [microseconds])
        table.numbers[f"{name}: microseconds per step of 16 rows"] = microseconds
    return table


def overfit() -> tuple[tuple[list, list], tuple[list, list]]:
    """Training and unseen errors while few or many noisy sequences are learned."""
    found = []
    for count in (16, 512):
        torch.manual_seed(0)
        cell, readout = make_cell("gru", 1, 32), nn.Linear(32, 1)

        def data(rows: int, seed: int) -> tuple[Tensor, Tensor]:
            g = torch.Generator().manual_seed(seed)
            xs = torch.randn(15, rows, 1, generator=g)
            return xs, xs[-4:, :, 0].mean(0) + 0.5 * torch.randn(rows, generator=g)

        train, test = data(count, 1), data(400, 2)
        optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.01)
        courses: tuple[list, list] = ([], [])
        for _ in range(200):
            loss = (readout(unroll(cell, train[0]).outputs[-1])[:, 0] - train[1]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                unseen = (readout(unroll(cell, test[0]).outputs[-1])[:, 0] - test[1]).square().mean()
            courses[0].append(loss.item())
            courses[1].append(unseen.item())
        found.append(courses)
    return found[0], found[1]


def draw_bits_and_depth(table: Table) -> Drawing:
    drawing, (a, b, c, d) = axes_of(4, width=3.8)
    for axes, panel, title in ((a, "near", "Cue 5 steps back"), (b, "far", "Cue 40 steps back")):
        lines(axes, table.panel(panel))
        axes.set_yscale("log")
        label(axes, title, "update", "loss", legend=True)
    lines(c, table.panel("over-fitting"))
    c.set_yscale("log")
    label(c, "Few sequences are learned by heart", "update", "error", legend=True)
    for i, (name, (_, y)) in enumerate(table.panel("time").items()):
        d.bar(name.replace("_", "\n"), y[0], color=COLOURS[i])
    label(d, "Time per step (16 rows, 64 units)", "", "microseconds")
    return drawing


def refinement() -> Table:
    """H26: a noisy picture is segmented better with every recurrent iteration."""
    table, size, rounds = Table(), 24, 8
    kernel = nn.Conv2d(2, 1, 3, padding=1)
    optimiser = torch.optim.Adam(kernel.parameters(), lr=0.05)

    def pictures(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        axis = torch.arange(size).float()
        centre, radius = 6 + 12 * torch.rand(rows, 2, generator=g), 4 + 5 * torch.rand(rows, 1, 1, generator=g)
        inside = (axis[:, None] - centre[:, :1, None]) ** 2 + (axis - centre[:, 1:, None]) ** 2 < radius**2
        truth = inside.float()[:, None]
        return truth + 0.9 * torch.randn(truth.shape, generator=g), truth

    def run(image: Tensor, count: int) -> list[Tensor]:
        belief, beliefs = torch.zeros_like(image), []
        for _ in range(count):
            belief = torch.sigmoid(4 * kernel(torch.cat([image, belief], 1)))
            beliefs.append(belief)
        return beliefs

    for step in range(150):
        image, truth = pictures(24, step)
        loss = sum((nn.functional.binary_cross_entropy(b, truth) for b in run(image, rounds)), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    image, truth = pictures(100, 9999)
    with torch.no_grad():
        beliefs = run(image, 2 * rounds)
    errors = [float(((b > 0.5) != (truth > 0.5)).float().mean()) for b in beliefs]
    table.course("error", "wrong pixels", errors, start=1)
    for name, picture in (("noisy", image), ("iteration 1", beliefs[0]), ("iteration 8", beliefs[7]), ("truth", truth)):
        table.matrix(name, picture[0, 0].tolist())
    table.numbers |= {f"wrong pixels after {k} iterations": errors[k - 1] for k in (1, 2, 4, 8, 16)}
    return table


def draw_refinement(table: Table) -> Drawing:
    drawing, axes = axes_of(5, width=3.0)
    for a, name in zip(axes[:4], ("noisy", "iteration 1", "iteration 8", "truth"), strict=True):
        a.imshow(table.as_matrix(name), cmap="gray")
        a.set_axis_off()
        a.set_title(name, fontsize=10)
    lines(axes[4], table.panel("error"), "o-")
    label(axes[4], "Recurrence refines", "iteration", "share of wrong pixels")
    return drawing


FIGURES = (
    Figure("H26", "Berlin 2018", "Segmentation against recurrent iterations", refinement, draw_refinement),
    Figure("H38", "Munich", "Near and far cue, over-fitting, time per step", bits_and_depth, draw_bits_and_depth),
)
