"""Linz: what is labelled, what learning costs, and memories that attend."""

from __future__ import annotations

import time

import torch
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter
from torch import Tensor, nn

from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.attention import attend, attention_weights
from rnn.cell import map_state
from rnn.elman import ElmanCell
from rnn.gru import GRUCell
from rnn.hopfield import BinaryHopfield, ModernHopfield, crosstalk_errors, damaged
from rnn.model import Model
from rnn.rtrl import OnlineGradient
from rnn.seq2seq import EncoderDecoder
from rnn.unroll import unroll

DECK = "Linz"


def label_settings() -> Table:
    """Five settings, run: at which steps there is an input, and at which an output."""
    table = Table()
    B, T, I, H, K = 4, 6, 3, 8, 2
    cell, readout = GRUCell(I, H), nn.Linear(H, K)
    xs = torch.randn(T, B, I)
    hs = unroll(cell, xs).outputs
    speaker, say = GRUCell(K, H), nn.Linear(H, K)
    begin = speaker.initial_state(B)._replace(h=torch.tanh(nn.Linear(I, H)(xs[0])))
    told, y, state = [], torch.zeros(B, K), begin
    for _ in range(T):
        h, state = speaker(y, state)
        y = say(h)
        told.append(y)
    settings = {
        "one label per sequence": (range(T), [T - 1], readout(hs[-1])[None]),
        "one label per step": (range(T), range(T), readout(hs)),
        "one label per segment": (range(T), [2, T - 1], readout(hs[[2, T - 1]])),
        "sequence to sequence": (range(T), range(T, T + 4), EncoderDecoder(I, K, H)(xs, steps=4).outputs),
        "one to many": ([0], range(T), torch.stack(told)),
        "generation (output fed back)": ([0], range(T), torch.stack(told)),
    }
    for name, (heard, said, outputs) in settings.items():
        assert len(said) == len(outputs)
        table.add("input", name, heard, [1] * len(heard))
        table.add("output", name, said, [1] * len(said))
        table.numbers |= {f"{name}: labels": len(outputs), f"{name}: values per label": outputs.shape[-1]}
    return table


def draw_label_settings(table: Table) -> Drawing:
    drawing, axes = axes_of(3, 2, width=3.6, height=2.2)
    heard, said = table.panel("input"), table.panel("output")
    for plot, name in zip(axes, heard, strict=True):
        steps = int(max(heard[name][0].max(), said[name][0].max())) + 1
        for t in range(steps):
            plot.add_patch(Rectangle((t - 0.3, 1), 0.6, 0.6, fc=COLOURS[4], ec="none"))
            if t:
                plot.annotate("", (t - 0.3, 1.3), (t - 0.7, 1.3), arrowprops={"arrowstyle": "->", "lw": 0.8})
        for t in heard[name][0]:
            plot.add_patch(Rectangle((t - 0.3, 0), 0.6, 0.6, fc="0.75", ec="none"))
            plot.annotate("", (t, 1), (t, 0.6), arrowprops={"arrowstyle": "->", "lw": 0.8})
        for t in said[name][0]:
            plot.add_patch(Rectangle((t - 0.3, 2), 0.6, 0.6, fc=COLOURS[1], ec="none"))
            plot.annotate("", (t, 2), (t, 1.6), arrowprops={"arrowstyle": "->", "lw": 0.8})
        if "fed back" in name:
            for t in range(steps - 1):
                plot.annotate(
                    "", (t + 0.85, 1.1), (t + 0.25, 2.0), arrowprops={"arrowstyle": "->", "color": COLOURS[5]}
                )
        plot.set(xlim=(-0.6, 9.6), ylim=(-0.2, 2.8))
        plot.axis("off")
        plot.set_title(name, fontsize=9, loc="left")
    return drawing


def learning_costs() -> Table:
    """Time and memory of backpropagation through time, truncated, and real-time recurrent learning, against N and T."""
    table = Table()

    def model(units: int) -> tuple[Model, Tensor, Tensor]:
        torch.manual_seed(0)
        return Model(ElmanCell(2, units), 1, feedthrough=False), torch.randn(400, 1, 2), torch.randn(400, 1, 1)

    def bptt(units: int, steps: int, cut: int | None = None) -> tuple[float, float]:
        """Seconds, and numbers kept for the backward pass at any one time."""
        net, xs, ys = model(units)
        kept, state, begin = 0, None, time.process_time()
        for start in range(0, steps, cut or steps):
            part = slice(start, min(start + (cut or steps), steps))
            sizes: dict[int, int] = {}

            def pack(t: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
                sizes[t.data_ptr()] = t.numel()
                return t

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                run = net(xs[part], state, path="loop")
                loss = (run.outputs - ys[part]).square().sum()
            loss.backward()
            state = map_state(lambda leaf: leaf.detach(), run.state)
            kept = max(kept, sum(sizes.values()))
        return time.process_time() - begin, kept

    def rtrl(units: int, steps: int) -> tuple[float, float]:
        net, xs, ys = model(units)
        online, begin = OnlineGradient(net, batch=1), time.process_time()
        for x, y in zip(xs[:steps], ys[:steps], strict=True):
            online.step(x, y)
        return time.process_time() - begin, online.influence.numel()

    ways = {"BPTT": bptt, "truncated to 10": lambda n, t: bptt(n, t, 10), "RTRL": rtrl}
    for name, way in ways.items():
        way(4, 20)  # the first call is slow
        for steps in (25, 50, 100, 200, 400):
            seconds, kept = min((way(8, steps) for _ in range(2)), key=lambda pair: pair[0])
            table.add("time against T", name, [steps], [seconds])
            table.add("memory against T", name, [steps], [kept])
        for units in (4, 8, 16, 32, 64, 128):
            seconds, kept = way(units, 20)
            table.add("time against N", name, [units], [seconds])
            table.add("memory against N", name, [units], [kept])
        memory = table.panel("memory against T")[name][1]
        table.numbers[f"{name}: memory at T = 400 over T = 25"] = memory[-1] / memory[0]
        memory = table.panel("memory against N")[name][1]
        table.numbers[f"{name}: memory at N = 128 over N = 64"] = memory[-1] / memory[-2]
        clock = table.panel("time against N")[name][1]
        table.numbers[f"{name}: time at N = 128 over N = 64"] = clock[-1] / clock[-2]
    return table


def draw_learning_costs(table: Table) -> Drawing:
    drawing, axes = axes_of(2, 2)
    for plot, panel in zip(
        axes, ("time against T", "memory against T", "time against N", "memory against N"), strict=True
    ):
        lines(plot, table.panel(panel), "o-", ms=4)
        plot.set(xscale="log", yscale="log")
        plot.xaxis.set_minor_formatter(NullFormatter())
        plot.yaxis.set_minor_formatter(NullFormatter())
        length = "T" in panel
        what = "seconds" if "time" in panel else "numbers kept"
        title = f"{panel[0].upper() + panel[1:]}{' (N = 8)' if length else ' (T = 20)'}"
        label(plot, title, "steps T" if length else "units N", what, legend=True)
    return drawing


def attending_memories() -> Table:
    """Attention weights; recall of damaged patterns; capacity; metastable states; equality with attention."""
    table = Table()
    generator = torch.Generator().manual_seed(0)
    keys = torch.nn.functional.normalize(torch.randn(8, 16, generator=generator), dim=1)
    queries = keys[[0, 3, 3, 5, 7]] + 0.3 * torch.randn(5, 16, generator=generator)
    for beta in (1.0, 12.0):
        table.matrix(f"weights {beta:g}", attention_weights(queries, keys, beta=beta).tolist())
    loads = torch.arange(0.02, 0.26, 0.02)
    for units in (100, 300, 600):
        table.add("capacity", f"N = {units}", loads, crosstalk_errors(units, loads, sweeps=10))
    patterns = torch.randint(2, (20, 64), generator=generator).float() * 2 - 1
    modern = ModernHopfield(patterns / 8, beta=30.0)
    for fraction in (0.0, 0.1, 0.2, 0.3, 0.4):
        broken = damaged(patterns, fraction, seed=1)
        classic = BinaryHopfield(patterns).recall(broken).states
        table.add("recall", "binary (20 patterns, 64 units)", [fraction], [(classic == patterns).float().mean()])
        again = torch.sign(modern(broken / 8, steps=3))
        table.add("recall", "modern, beta 30", [fraction], [(again == patterns).float().mean()])
    angle = (torch.tensor([0.0, 2.1, 4.2])[:, None] + 0.2 * torch.arange(4)).flatten()  # three groups of four
    stored = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    table.add("plane", "stored", stored[:, 0], stored[:, 1])
    for beta in (0.5, 10.0, 1000.0):
        rest = ModernHopfield(stored, beta=beta).fixed_points(stored)
        table.add("plane", f"at rest, beta {beta:g}", rest[:, 0], rest[:, 1])
        table.numbers[f"states at rest, beta {beta:g}"] = len(rest)
    step = ModernHopfield(keys, beta=4.0)(queries)
    layer = torch.nn.functional.scaled_dot_product_attention(queries[None], keys[None], keys[None], scale=4.0)[0]
    table.numbers["modern update against attend()"] = float((step - attend(queries, keys, keys, beta=4.0)).abs().max())
    table.numbers["modern update against torch's attention"] = float((step - layer).abs().max())
    half = [float(x[(y > 0.05).argmax()]) for x, y in table.panel("capacity").values()]
    table.numbers |= {f"load at 5 % errors, N = {n}": v for n, v in zip((100, 300, 600), half, strict=True)}
    return table


def draw_attending_memories(table: Table) -> Drawing:
    drawing, axes = axes_of(3, 2)
    for plot, beta in zip(axes, ("1", "12"), strict=False):
        plot.imshow(table.as_matrix(f"weights {beta}"), cmap="viridis", vmin=0, vmax=1)
        label(plot, f"Attention weights, beta = {beta}", "key", "query")
    lines(axes[2], table.panel("recall"), "o-", ms=4)
    label(axes[2], "Recall of damaged patterns", "fraction flipped", "correct entries", legend=True)
    lines(axes[3], table.panel("capacity"), "o-", ms=3)
    axes[3].axvline(0.138, color="0.7", ls=":")
    label(axes[3], "Capacity of the binary network", "patterns per unit", "wrong entries", legend=True)
    curves = table.panel("plane")
    axes[4].plot(*curves.pop("stored"), ".", color="0.6", label="stored")
    for colour, mark, (name, (x, y)) in zip(COLOURS, "s^x", curves.items(), strict=False):
        axes[4].plot(x, y, mark, color=colour, ms=7, fillstyle="none", label=name)
    label(axes[4], "Metastable states: averages of neighbours", "", "", legend=True)
    axes[5].axis("off")
    lines_of_text = [f"{name}: {value:.3g}" for name, value in table.numbers.items()]
    axes[5].text(0, 1, "\n".join(lines_of_text), va="top", fontsize=8, transform=axes[5].transAxes)
    return drawing


FIGURES = (
    Figure("H27", DECK, "What is labelled: settings as shapes", label_settings, draw_label_settings),
    Figure("H28", DECK, "Costs of BPTT, truncated BPTT and RTRL against N and T", learning_costs, draw_learning_costs),
    Figure(
        "H33", DECK, "Attention, Hopfield recall, capacity, metastability", attending_memories, draw_attending_memories
    ),
)
