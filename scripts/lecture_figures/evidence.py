"""What an answer rests on: occlusion, relevance in five architectures, and a hidden Markov model beside a network."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from agents.motion import DT, Motion
from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.analysis.relevance import integrated_gradients, layerwise_relevance, occlusion, outputs_of
from rnn.cell import Cell
from rnn.hmm import CategoricalHMM, fit_hmm
from rnn.models import make_cell
from rnn.stack import Stack
from rnn.unroll import unroll

DECK = "Berlin 2018"
STEPS, WINDOW = 40, 12
EVERY = 3  # control steps per step of the series: 0.03 s


def gaits_seen(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy joint angles [T, B, 8] of a standing animal that walks (-1) or swims (+1) in one window; its first step."""
    motion, g = Motion.load("simulated"), torch.Generator().manual_seed(seed)
    cycles = torch.stack([motion.cycle("walk", 2.0), motion.cycle("swim", 4.0)])[..., :8]
    pace = torch.tensor([motion.frequency("walk", 2.0), motion.frequency("swim", 4.0)])
    kind = torch.randint(0, 2, (rows,), generator=g)
    start = torch.randint(0, STEPS - WINDOW, (rows,), generator=g)
    phase = torch.rand(rows, generator=g) + pace[kind] * EVERY * DT * torch.arange(STEPS)[:, None]
    moving = cycles[kind, (phase % 1 * 256).long()]
    t = torch.arange(STEPS)[:, None]
    inside = ((t >= start) & (t < start + WINDOW))[..., None]
    noise = 0.05 * torch.randn(STEPS, rows, 8, generator=g)
    return (torch.where(inside, moving, torch.zeros(())) + noise) / 0.3, kind * 2.0 - 1, start


def trained(cell: Cell, read: Callable[[Tensor], Tensor], updates: int = 120) -> tuple[Tensor, float]:
    """Readout weights [1, O] and the share of unseen animals told apart, after some learning."""
    weight = nn.Parameter(0.1 * torch.randn(1, cell.output_size))
    optimiser = torch.optim.Adam([*cell.parameters(), weight], lr=0.01)
    for step in range(updates):
        xs, kind, _ = gaits_seen(48, step)
        loss = nn.functional.softplus(-kind * (read(unroll(cell, xs).outputs) @ weight[0])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    xs, kind, _ = gaits_seen(300, 10_000)
    with torch.no_grad():
        right = ((read(unroll(cell, xs).outputs) @ weight[0]).sign() == kind).float().mean()
    return weight.detach(), float(right)


def share_inside(by_step: Tensor, start: Tensor) -> float:
    """Share of the (absolute) relevance [T, B] that lies in the window."""
    t = torch.arange(STEPS)[:, None]
    inside = (t >= start) & (t < start + WINDOW)
    size = by_step.abs()
    return float(((size * inside).sum(0) / size.sum(0)).mean())


def occluded() -> Table:
    """H17: a network that tells walking from swimming by the joints; each reading is taken away in turn."""
    table, cell = Table(), make_cell("gru", 8, 24)
    last = lambda ys: ys[-1]
    weight, right = trained(cell, last)
    xs, kind, start = gaits_seen(40, 7)
    found = occlusion(cell, xs, outputs_of(weight, 0), by_step=False)
    for name, wanted in (("walks", -1.0), ("swims", 1.0)):
        row = int((kind == wanted).nonzero()[0])
        table.matrix(f"{name}: joints", xs[:, row].T.tolist())
        table.matrix(f"{name}: drop", found.inputs[:, row].T.tolist())
        table.numbers[f"{name}: window begins"] = float(start[row])
    table.numbers |= {"told apart": right, "share of the drop inside the window": share_inside(found.by_step, start)}
    table.numbers["share by chance"] = WINDOW / STEPS
    return table


def draw_occluded(table: Table) -> Drawing:
    drawing, axes = axes_of(2, 2, width=5.5, height=2.6)
    for k, name in enumerate(("walks", "swims")):
        for a, what in ((axes[k], "joints"), (axes[2 + k], "drop")):
            values = table.as_matrix(f"{name}: {what}")
            span = np.abs(values).max()
            a.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-span, vmax=span)
            begin = table.numbers[f"{name}: window begins"]
            for edge in (begin - 0.5, begin + WINDOW - 0.5):
                a.axvline(edge, color="black", lw=1)
            title = f"{name}: joint angles" if what == "joints" else "what the answer loses without each reading"
            label(a, title, "step", "spine joint")
    return drawing


def architectures() -> Table:
    """H24: relevance in five architectures: shallow, deep, convolutional, recurrent, both."""
    table = Table()
    mean = lambda ys: ys.mean(0)
    makers: dict[str, Callable[[], Cell]] = {
        "shallow": lambda: make_cell("frame", 8, 24),
        "deep": lambda: Stack([make_cell("frame", 8, 24), make_cell("frame", 24, 24), make_cell("frame", 24, 24)]),
        "convolutional": lambda: make_cell("convolution", 8, 16),
        "recurrent": lambda: make_cell("gru", 8, 24),
        "both": lambda: Stack([make_cell("convolution", 8, 12), make_cell("gru", 12, 16)]),
    }
    xs, kind, start = gaits_seen(24, 7)
    for name, make in makers.items():
        torch.manual_seed(0)
        cell = make()
        weight, right = trained(cell, mean, updates=80)
        found = integrated_gradients(cell, xs, lambda ys, weight=weight: ys.mean(0) @ weight[0].to(ys), points=16)
        table.matrix(name, (found.inputs[:, 0] / found.inputs[:, 0].abs().max()).T.tolist())
        inside = share_inside(found.by_step, start)
        table.add("told apart", name, [0], [right])
        table.add("inside", name, [0], [inside])
        table.numbers |= {f"{name}: told apart": right, f"{name}: relevance inside the window": inside}
    torch.manual_seed(0)
    cell = make_cell("lstm", 8, 24)
    weight, _ = trained(cell, lambda ys: ys[-1], updates=80)
    layer = layerwise_relevance(cell, xs, weight[0])
    table.numbers["LSTM, layer-wise: relevance inside the window"] = share_inside(layer.by_step, start)
    table.numbers["LSTM, layer-wise: conservation error"] = float(layer.missing.abs().max())
    table.numbers |= {"window begins": float(start[0]), "share by chance": WINDOW / STEPS}
    return table


def draw_architectures(table: Table) -> Drawing:
    drawing, axes = axes_of(6, width=2.7, height=2.8)
    begin, names = table.numbers["window begins"], list(table.panel("inside"))
    for a, name in zip(axes, names, strict=False):
        a.imshow(table.as_matrix(name), aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1)
        for edge in (begin - 0.5, begin + WINDOW - 0.5):
            a.axvline(edge, color="black", lw=1)
        label(a, f"{name}: {table.numbers[f'{name}: told apart']:.0%} right", "step", "joint")
    for i, name in enumerate(names):
        axes[5].bar(i, table.panel("inside")[name][1][0], color=COLOURS[i])
    axes[5].axhline(table.numbers["share by chance"], color="black", lw=0.8, ls="--")
    axes[5].set_xticks(range(5), names, rotation=60, fontsize=7)
    label(axes[5], "share inside the window", "", "")
    return drawing


def beside() -> Table:
    """H18: a hidden Markov model beside a recurrent network, on a chain's own symbols and on echoes."""
    table, steps = Table(), 40
    torch.manual_seed(3)
    world = CategoricalHMM(3, 4)
    world.log_A = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]).log()
    world.log_B = torch.tensor([[0.85, 0.05, 0.05, 0.05], [0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]]).log()

    def echoing(rows: int, seed: int) -> Tensor:
        """Four random symbols, repeated for ever: to foretell the next takes 256 states, or four memories."""
        first = torch.randint(0, 4, (4, rows), generator=torch.Generator().manual_seed(seed))
        return first.repeat(steps // 4, 1)

    sources = {"chain": lambda rows, seed: world.sample(steps, rows, seed)[0], "echo": echoing}
    for name, source in sources.items():
        train, test = source(200, 1), source(200, 2)
        for states in (3, 8):
            torch.manual_seed(0)
            model = CategoricalHMM(states, 4)
            fit_hmm(model, train, iterations=40)
            bits = -float(model(test).mean()) / steps / math.log(2)
            table.add(name, f"HMM, {states} states", [0], [bits])
            table.numbers[f"{name}: HMM, {states} states, bits per symbol"] = bits
        bits = network_bits(train, test)
        table.add(name, "LSTM, 24 units", [0], [bits])
        table.numbers[f"{name}: LSTM, bits per symbol"] = bits
    symbols, truth = world.sample(80, 1, 5)
    table.course("decoded", "true state", truth[:, 0])
    table.course("decoded", "Viterbi", world.viterbi(symbols)[0][:, 0])
    return table


def network_bits(train: Tensor, test: Tensor) -> float:
    """Bits per symbol of an LSTM that foretells the next symbol; it keeps the weights that do best on held-out rows."""
    torch.manual_seed(0)
    cell, readout = make_cell("lstm", 4, 24), nn.Linear(24, 4)
    optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.02)

    def surprise(symbols: Tensor) -> Tensor:
        xs = nn.functional.one_hot(symbols, 4).float()
        xs = torch.cat([torch.zeros_like(xs[:1]), xs[:-1]])
        return nn.functional.cross_entropy(readout(unroll(cell, xs).outputs).flatten(0, 1), symbols.flatten())

    held, train = train[:, :40], train[:, 40:]
    weights = [*cell.parameters(), *readout.parameters()]
    best, kept = math.inf, [w.detach().clone() for w in weights]
    for update in range(200):
        loss = surprise(train)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if update % 5 == 4:
            with torch.no_grad():
                unseen = float(surprise(held))
            if unseen < best:
                best, kept = unseen, [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, value in zip(weights, kept, strict=True):
            weight.copy_(value)
        return float(surprise(test)) / math.log(2)


def draw_beside(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    for axes, name, title in ((a, "chain", "Symbols of a chain with 3 states"), (b, "echo", "Four symbols, repeated")):
        models = table.panel(name)
        for i, (_, y) in enumerate(models.values()):
            axes.bar(i, y[0], color=COLOURS[i])
            axes.text(i, y[0], f"{y[0]:.2f}", ha="center", va="bottom", fontsize=8)
        axes.set_xticks(range(len(models)), [model.replace(", ", "\n") for model in models])
        axes.set_ylim(0, 2.2)
        axes.axhline(2.0, color="0.6", lw=0.8, ls="--")
        label(axes, title, "", "bits per symbol (unseen; guessing: 2)")
    lines(c, table.panel("decoded"), drawstyle="steps-mid")
    c.set_yticks((0, 1, 2))
    label(c, "Viterbi finds the hidden course", "step", "state", legend=True)
    return drawing


FIGURES = (
    Figure("H17", DECK, "Occlusion: which reading the answer rests on", occluded, draw_occluded),
    Figure("H18", DECK, "A hidden Markov model beside a recurrent network", beside, draw_beside),
    Figure("H24", DECK, "Relevance in five architectures", architectures, draw_architectures),
)
