"""Worcester: what a state is good for, and how its gradient comes about."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.elman import ElmanCell
from rnn.feedforward import FeedForward
from rnn.gru import GRUCell
from rnn.stateless import FrameCell
from rnn.unroll import unroll

DECK = "Worcester"


def blurred_frame() -> Table:
    """A spot moves over a retina of 24 pixels; some frames are blurred beyond use. Where is it?"""
    table = Table()
    pixels, steps, blurred = 24, 24, slice(12, 16)

    def film(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(steps)[:, None]
        start, speed = 0.8 * torch.rand(rows, generator=g) - 0.4, 0.08 * torch.rand(rows, generator=g) - 0.04
        place = 0.5 + start + speed * t
        place = 0.05 + 0.9 * (1 - (1 - place % 2).abs())  # turned back at the ends
        grid = torch.linspace(0, 1, pixels)
        width = torch.full((steps, 1, 1), 0.05)
        width[blurred] = 3.0
        frames = torch.exp(-0.5 * ((grid - place[..., None]) / width) ** 2)
        return frames + 0.05 * torch.randn(frames.shape, generator=g), place

    frames, place = film(400, 10_000)
    table.matrix("film", frames[:, 0].tolist())
    table.course("track", "true place", place[:, 0])
    for name, cell in (("stateless", FrameCell(pixels, 32)), ("recurrent", GRUCell(pixels, 32))):
        readout = nn.Linear(32, 1)
        optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.01)
        for step in range(250):
            xs, ys = film(64, step)
            optimiser.zero_grad()
            (readout(unroll(cell, xs).outputs)[..., 0] - ys).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            guess = readout(unroll(cell, frames).outputs)[..., 0]
        error = (guess - place).square().mean(1).sqrt()
        table.course("track", name, guess[:, 0])
        table.course("error", name, error)
        table.numbers[f"{name}: error in clear frames"] = float(torch.cat([error[4:12], error[18:]]).mean())
        table.numbers[f"{name}: error in blurred frames"] = float(error[blurred].mean())
    return table


def draw_blurred_frame(table: Table) -> Drawing:
    drawing, (film, track, error) = axes_of(3)
    film.imshow(table.as_matrix("film"), aspect="auto", cmap="gray", vmin=0, vmax=1)
    label(film, "A moving spot; frames 12 to 15 are blurred", "pixel", "frame")
    curves = table.panel("track")
    track.plot(*curves.pop("true place"), color="0.6", lw=4, alpha=0.6, label="true place")
    lines(track, curves, "o-", ms=3)
    lines(error, table.panel("error"), "o-", ms=3)
    for axes in (track, error):
        axes.axvspan(11.5, 15.5, color="0.93", zorder=0)
    label(track, "Where is it?", "frame", "place", legend=True)
    label(error, "State carries through the blur", "frame", "error (root mean square)", legend=True)
    return drawing


def drift() -> Table:
    """Without input: h_t = s(h_{t-1}) for the logistic and for tanh, from 0 and from 0.5."""
    table = Table()
    for squash in ("logistic", "tanh"):
        cell = ElmanCell(1, 1, squash=squash, bias=False).double()
        nn.init.ones_(cell.weight_hh)
        for start in (0.0, 0.5):
            state = cell.initial_state(1)._replace(h=torch.tensor([[start]], dtype=torch.float64))
            course = unroll(cell, torch.zeros(100, 1, 1, dtype=torch.float64), state).outputs.flatten().tolist()
            table.course("course", f"{squash} from {start:g}", [start, *course])
            if (squash, start) == ("logistic", 0.0):
                table.numbers |= {f"logistic, step {t}": course[t - 1] for t in (1, 2, 3, 100)}
                table.numbers["logistic: slope at its fixed point"] = course[-1] * (1 - course[-1])
            if (squash, start) == ("tanh", 0.0):
                table.numbers["tanh from 0, step 100"] = course[-1]
            if (squash, start) == ("tanh", 0.5):
                table.numbers["tanh from 0.5, step 100"] = course[-1]
        grid = torch.linspace(-1, 1, 101, dtype=torch.float64)
        table.add("map", squash, grid, cell.s(grid))
    return table


def draw_drift(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("course"))
    label(left, "The logistic drifts, tanh holds zero, and only zero", "step", "h", legend=True)
    lines(right, table.panel("map"))
    right.plot([-1, 1], [-1, 1], color="0.8", lw=0.8)
    label(right, "Fixed points: where the map meets the diagonal", "h now", "h next", legend=True)
    right.set_xticks([-1, -0.5, 0, 0.5, 1])
    return drawing


def unrolled() -> Table:
    """One recurrent weight, twelve uses of it: what each step contributes to dJ/dU, and their sum."""
    table = Table()
    torch.manual_seed(2)
    steps = 12
    cell = ElmanCell(1, 1).double()
    with torch.no_grad():
        cell.weight_hh.fill_(0.9)
        cell.weight_ih.fill_(1.0)
    xs = 0.5 * torch.randn(steps, 1, 1, dtype=torch.float64)
    target = torch.tensor(0.5, dtype=torch.float64)
    for name, chosen in (("loss at the last step", slice(steps - 1, steps)), ("loss at every step", slice(0, steps))):
        apart = FeedForward(cell, steps, shared=False)
        (apart(xs)[chosen] - target).square().sum().mul(0.5).backward()
        parts = apart.contributions("weight_hh").flatten()
        cell.zero_grad()
        (unroll(cell, xs).outputs[chosen] - target).square().sum().mul(0.5).backward()
        whole = cell.weight_hh.grad.item()
        table.course(name, "contribution", parts, start=1)
        table.course(name, "running sum", parts.cumsum(0), start=1)
        table.numbers[f"{name}: sum of the contributions"] = float(parts.sum())
        table.numbers[f"{name}: dJ/dU by backpropagation through time"] = whole
    table.course("graph", "h", unroll(cell, xs).outputs.flatten().detach(), start=1)
    table.course("graph", "x", xs.flatten(), start=1)
    return table


def draw_unrolled(table: Table) -> Drawing:
    drawing, (graph, last, every) = axes_of(3)
    h, x = table.panel("graph")["h"][1], table.panel("graph")["x"][1]
    for t in range(5):
        graph.annotate("", (t + 0.85, 1), (t + 0.15, 1), arrowprops={"arrowstyle": "->", "color": COLOURS[5]})
        graph.annotate("", (t + 1, 0.85), (t + 1, 0.2), arrowprops={"arrowstyle": "->", "color": COLOURS[0]})
        graph.annotate("", (t + 1, 1.8), (t + 1, 1.15), arrowprops={"arrowstyle": "->", "color": COLOURS[2]})
        graph.text(t + 0.5, 1.06, "U", color=COLOURS[5], ha="center")
        graph.text(t + 1.06, 0.5, "V", color=COLOURS[0])
        graph.text(t + 1, 0.08, f"$x_{t + 1}$ = {x[t]:.2f}", ha="center", fontsize=7)
        graph.text(t + 1, 1.0, f"$h_{t + 1}$\n{h[t]:.2f}", ha="center", va="center", fontsize=7,
                   bbox={"boxstyle": "circle", "fc": "white", "ec": "0.4"})  # fmt: skip
        graph.text(t + 1, 1.86, f"$J_{t + 1}$", ha="center", fontsize=8)
    graph.text(0, 1, "$h_0$", ha="center", va="center")
    graph.set(xlim=(-0.3, 5.6), ylim=(-0.1, 2.1))
    graph.axis("off")
    graph.set_title("The network unrolled: one U, used at every step", fontsize=10, loc="left")
    for axes, name in ((last, "loss at the last step"), (every, "loss at every step")):
        curves = table.panel(name)
        axes.bar(*curves["contribution"], color=COLOURS[0], label="contribution of the step")
        axes.plot(*curves["running sum"], "o-", color=COLOURS[1], ms=3, label="running sum")
        axes.axhline(
            table.numbers[f"{name}: dJ/dU by backpropagation through time"], color="0.5", ls=":", label="dJ/dU"
        )
        label(axes, f"Contributions to dJ/dU, {name}", "step", "", legend=True)
    return drawing


FIGURES = (
    Figure("H10", DECK, "A blurred frame, stateless against recurrent", blurred_frame, draw_blurred_frame),
    Figure("H11", DECK, "Logistic drift against tanh", drift, draw_drift),
    Figure("H12", DECK, "The unrolled graph and what each step contributes to dJ/dU", unrolled, draw_unrolled),
)
