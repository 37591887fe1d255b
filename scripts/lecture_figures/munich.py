"""Munich: memories by energy, unrolling, powers of a weight, and the way from filter to gated cell."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.elman import ElmanCell
from rnn.feedforward import FeedForward
from rnn.gru import MinimalCell
from rnn.hopfield import BinaryHopfield, damaged
from rnn.linear import LinearCell, filter_cell
from rnn.unroll import unroll

DECK = "Munich"

GLYPHS = {
    "T": ("########", "########", "...##...", "...##...", "...##...", "...##...", "...##...", "...##..."),
    "A": ("...##...", "..####..", ".##..##.", "##....##", "##....##", "########", "##....##", "##....##"),
    "L": ("##......", "##......", "##......", "##......", "##......", "##......", "########", "########"),
    "X": ("##....##", ".##..##.", "..####..", "...##...", "...##...", "..####..", ".##..##.", "##....##"),
}


def glyphs() -> Tensor:
    """Letters as patterns of +1 and -1, [P, 64]."""
    return torch.tensor([[1.0 if c == "#" else -1.0 for line in rows for c in line] for rows in GLYPHS.values()])


def completion() -> Table:
    """A Hopfield network completes damaged letters, and its energy falls all the way."""
    table = Table()
    patterns = glyphs()
    memory = BinaryHopfield(patterns)
    broken = damaged(patterns, 0.25, seed=3)
    generator = torch.Generator().manual_seed(0)
    for p, name in enumerate(GLYPHS):
        state = broken[p : p + 1].clone()
        table.matrix(f"{name} damaged", state.reshape(8, 8).tolist())
        course, overlap = [memory.energy(state).item()], []
        for _ in range(3):
            for i in torch.randperm(64, generator=generator).tolist():
                field = state @ memory.W[:, i]
                state[:, i] = torch.where(field == 0, state[:, i], torch.sign(field))
                course.append(memory.energy(state).item())
                overlap.append(float(state[0] @ patterns[p]) / 64)
        table.matrix(f"{name} recalled", state.reshape(8, 8).tolist())
        table.course("energy", name, course)
        table.course("overlap", name, overlap, start=1)
        table.numbers[f"{name}: overlap before"] = float(broken[p] @ patterns[p]) / 64
        table.numbers[f"{name}: overlap after"] = overlap[-1]
        table.numbers[f"{name}: largest rise of the energy"] = float(np.diff(course).max())
    return table


def draw_completion(table: Table) -> Drawing:
    drawing = Drawing(figsize=(10, 5), layout="constrained")
    grid = drawing.add_gridspec(2, 8)
    for i, name in enumerate(GLYPHS):
        for j, stage in enumerate(("damaged", "recalled")):
            axes = drawing.add_subplot(grid[j, i])
            axes.imshow(table.as_matrix(f"{name} {stage}"), cmap="gray_r", vmin=-1, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.set_title(stage, fontsize=8)
    energy, overlap = drawing.add_subplot(grid[0, 4:]), drawing.add_subplot(grid[1, 4:])
    lines(energy, table.panel("energy"), lw=1)
    label(energy, "The energy never rises", "update of one unit", "energy", legend=True)
    lines(overlap, table.panel("overlap"), lw=1)
    label(overlap, "Overlap with the stored letter", "update of one unit", "overlap")
    return drawing


def same_network() -> Table:
    """A recurrent network and the feed-forward network made from it: same outputs, same gradient."""
    table = Table()
    torch.manual_seed(0)
    cell = ElmanCell(2, 8).double()
    xs = torch.randn(12, 1, 2, dtype=torch.float64)
    deep = FeedForward(cell, 12)
    recurrent, forward = unroll(cell, xs).outputs, deep(xs)
    for unit in range(3):
        table.course("outputs", f"recurrent, unit {unit}", recurrent[:, 0, unit].detach())
        table.course("outputs", f"feed-forward, unit {unit}", forward[:, 0, unit].detach())
    grads = []
    for ys in (recurrent, forward):
        cell.zero_grad()
        ys.square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in cell.parameters()]).clone())
    table.add("gradient", "parameters", grads[0], grads[1])
    table.numbers["largest difference of outputs"] = float((recurrent - forward).abs().max().detach())
    table.numbers["largest difference of gradients"] = float((grads[0] - grads[1]).abs().max())
    for steps in (1, 2, 5, 10, 20, 50):
        shared, apart = FeedForward(cell, steps), FeedForward(cell, steps, shared=False)
        count = lambda net: sum(p.numel() for p in net.parameters())
        table.add("parameters", "shared weights", [steps], [count(shared)])
        table.add("parameters", "weights of their own", [steps], [count(apart)])
    table.numbers["parameters, for any number of steps"] = sum(p.numel() for p in cell.parameters())
    return table


def draw_same_network(table: Table) -> Drawing:
    drawing, (left, middle, right) = axes_of(3)
    for name, curve in table.panel("outputs").items():
        unit = int(name[-1])
        style = {"color": COLOURS[unit], "label": name}
        left.plot(*curve, **({"lw": 5, "alpha": 0.35} if name.startswith("rec") else {"ls": "--", "lw": 1.2}), **style)
    label(left, "Outputs, step by step and layer by layer", "step, or layer", "h")
    left.set_ylim(top=left.get_ylim()[1] + 0.45)  # room for the legend
    left.legend(frameon=False, fontsize=7, loc="upper center", ncols=2)
    middle.plot(*table.panel("gradient")["parameters"], ".", color=COLOURS[0])
    low, high = middle.get_xlim()
    middle.plot([low, high], [low, high], color="0.8", lw=0.8, zorder=0)
    label(middle, "Gradients", "recurrent", "feed-forward")
    lines(right, table.panel("parameters"), "o-")
    right.set(xscale="log", yscale="log")
    label(right, "Parameters against length", "steps", "number of parameters", legend=True)
    return drawing


def powers() -> Table:
    """x w^N: what N uses of one weight make of a signal, forwards, or of an error, backwards."""
    table = Table()
    steps = np.arange(0, 101)
    for w in (0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 1.5):
        table.add("power", f"w = {w:g}", steps, w**steps)
        table.numbers[f"{w:g} to the 100"] = w**100
    torch.manual_seed(0)
    for w in (0.9, 1.0, 1.1):
        cell = LinearCell.from_matrices(*(torch.tensor([[v]], dtype=torch.float64) for v in (0.0, 1.0, 1.0, w)))
        xs = torch.zeros(60, 1, 1, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(unroll(cell, xs).outputs[-1, 0, 0], xs)
        table.course("gradient", f"w = {w:g}", slope.flatten().flip(0).abs()[1:], start=1)
    return table


def draw_powers(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("power"))
    left.set(yscale="log", ylim=(1e-12, 1e12))
    label(left, "x w^N: vanishing, kept, exploding", "N", "x w^N")
    left.legend(frameon=False, fontsize=7, loc="lower right", ncols=2)
    lines(right, table.panel("gradient"), "o-", ms=2)
    right.set_yscale("log")
    label(right, "The same, backwards", "lag", "|dy/dx|", legend=True)
    return drawing


def to_the_gate() -> Table:
    """Filter, filter with a memory of its own, gated memory, on one task: keep the value that was marked."""
    table = Table()

    def draw(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        """A signal and a mark; the answer is the signal at the last mark."""
        g = torch.Generator().manual_seed(seed)
        value = torch.randn(40, rows, generator=g)
        mark = (torch.rand(40, rows, generator=g) < 0.12).float()
        mark[0] = 1.0
        last, answer = torch.zeros(rows), []
        for v, m in zip(value, mark, strict=True):
            last = torch.where(m > 0, v, last)
            answer.append(last)
        return torch.stack([value, mark], -1), torch.stack(answer)[..., None]

    xs, ys = draw(300, 10_000)
    table.course("example", "signal", xs[:, 0, 0])
    table.course("example", "marks", xs[:, 0, 1])
    table.course("example", "to be kept", ys[:, 0, 0])
    cells = {
        "filter": LinearCell(2, 1, output_size=1),
        "filter with memory, 8 units": LinearCell(2, 8, output_size=1, dynamics="slow", horizon=3.0),
        "gated, 1 unit": MinimalCell(2, 1),
        "gated, 8 units": MinimalCell(2, 8, squash="identity"),
    }
    for name, cell in cells.items():
        readout = nn.Linear(cell.output_size, 1)
        optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.03)
        for step in range(300):
            u, y = draw(64, step)
            optimiser.zero_grad()
            loss = (readout(unroll(cell, u).outputs) - y).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
            optimiser.step()
            if step % 10 == 0:
                table.add("learning", name, [step], [loss.item()])
        with torch.no_grad():
            guess = readout(unroll(cell, xs).outputs)
        table.numbers[f"{name}: mean squared error"] = float((guess - ys).square().mean())
        if name in ("filter with memory, 8 units", "gated, 1 unit"):
            table.course("example", name, guess[:, 0, 0])
    pulse = torch.zeros(20, 1, 1)
    pulse[0] = 1.0
    table.course("impulse", "y = w1 x + w2 y", unroll(filter_cell(0.3, 0.7), pulse).outputs.flatten().detach())
    both = unroll(filter_cell(0.0, 1.0, 0.3, 0.7), pulse).outputs.flatten().detach()
    table.course("impulse", "y = w1 x + w2 m, m = w3 x + w4 m", both)
    return table


def draw_to_the_gate(table: Table) -> Drawing:
    drawing, (impulse, example, learning) = axes_of(3)
    lines(impulse, table.panel("impulse"), "o-", ms=3)
    label(impulse, "Two filters answer a pulse", "step", "y", legend=True)
    curves = table.panel("example")
    marks = curves.pop("marks")
    example.vlines(marks[0][marks[1] > 0], -3, 3, color="0.9", lw=3, zorder=0)
    example.plot(*curves.pop("signal"), ".", color="0.6", ms=4, label="signal")
    example.step(*curves.pop("to be kept"), where="mid", color="0.5", lw=3, alpha=0.5, label="to be kept")
    lines(example, curves, lw=1.2)
    label(example, "Keep the value at the last mark (grey)", "step", "", legend=True)
    lines(learning, table.panel("learning"))
    label(learning, "Only a gate can decide when to keep", "training step", "mean squared error", legend=True)
    return drawing


FIGURES = (
    Figure("H34", DECK, "A Hopfield network completes letters, and its energy", completion, draw_completion),
    Figure("H35", DECK, "The recurrent network equals a feed-forward one", same_network, draw_same_network),
    Figure("H36", DECK, "x w^N, forwards and backwards", powers, draw_powers),
    Figure("H37", DECK, "From filter to network to gated cell", to_the_gate, draw_to_the_gate),
)
