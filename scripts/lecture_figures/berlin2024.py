"""Berlin 2024: from averages and oscillators to recurrent networks."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from lecture_figures.page import COLOURS, Figure, Table, axes_of, label, lines
from rnn.euler import SCHEMES, forced_oscillator, gain, oscillator_matrix
from rnn.gru import GRUCell
from rnn.initial import LearnedStart, RandomStart, StartEncoder, washout
from rnn.linear import FiniteAverage, LinearCell, MovingAverage, dynamics_penalty
from rnn.seq2seq import EncoderDecoder
from rnn.stack import Bidirectional
from rnn.unroll import unroll

DECK = "Berlin 2024"
GAMMA = 0.05


def averages() -> Table:
    """Two finite and three exponential averages: impulse responses, and what they make of a noisy step."""
    table = Table()
    pulse = torch.zeros(30, 1, 1)
    pulse[0] = 1.0
    noisy = (torch.arange(120) >= 40).float().reshape(-1, 1, 1) + 0.3 * torch.randn(120, 1, 1)
    table.course("signal", "input", noisy.flatten())
    cells = {
        "finite, 0.5 0.3 0.2": FiniteAverage(1, weights=(0.5, 0.3, 0.2)),
        "finite, 10 equal weights": FiniteAverage(1, weights=(0.1,) * 10),
    }
    cells |= {f"g = {g}": MovingAverage(1, decay=g) for g in (0.5, 0.8, 0.95)}
    for name, cell in cells.items():
        response = unroll(cell, pulse).outputs.flatten()
        table.course("impulse", name, response)
        table.course("signal", name, unroll(cell, noisy).outputs.flatten())
        table.numbers[f"memory of {name} (steps to 5 %)"] = int(
            (response.abs() > 0.05 * response.max()).nonzero().max()
        )
    return table


def draw_averages(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    for i, (name, (x, y)) in enumerate(table.panel("impulse").items()):
        left.plot(x, y, "o-", ms=3, lw=1, color=COLOURS[i], label=name)
    label(left, "Impulse responses: finite and infinite memory", "step", "y", legend=True)
    curves = table.panel("signal")
    right.plot(*curves.pop("input"), ".", color="0.75", ms=3, label="input")
    lines(right, curves, lw=1.2)
    label(right, "The smoother, the later", "step", "y", legend=True)
    return drawing


def oscillator() -> Table:
    """The oscillator r'' = -gamma r by backward, symplectic and forward steps from h_1 = [1.1, 1.0]."""
    table = Table()
    for scheme in SCHEMES:
        D, h, course = oscillator_matrix(GAMMA, scheme), torch.tensor([1.1, 1.0], dtype=torch.float64), []
        for _ in range(120):
            course.append(float(h[0]))
            h = D @ h
        table.course("course", scheme, course, start=1)
        z = torch.linalg.eigvals(D)
        table.add("eigenvalues", scheme, z.real, z.imag)
        table.numbers[f"{scheme}: modulus"] = float(z.abs().max())
        table.numbers[f"{scheme}: angle, rad"] = float(z.angle().abs().max())
        table.numbers[f"{scheme}: period, steps"] = 2 * math.pi / float(z.angle().abs().max())
        if scheme == "backward":
            table.numbers |= {f"r_{t}": value for t, value in enumerate(course[:4], 1)}
            turning = [b for a, b, c in zip(course, course[1:], course[2:], strict=False) if (b - a) * (c - b) < 0]
            table.numbers |= {f"extremum {i}": value for i, value in enumerate(turning[:3], 1)}
    table.numbers["continuous system: period, steps"] = 2 * math.pi / GAMMA**0.5
    return table


def draw_oscillator(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("course"))
    left.set_ylim(-4, 4)
    label(left, f"One oscillator, three discretisations (gamma = {GAMMA})", "step t", "r", legend=True)
    _unit_circle(right)
    lines(right, table.panel("eigenvalues"), "o")
    right.set(xlim=(0.92, 1.04), ylim=(0.16, 0.28))
    label(right, "Eigenvalues: inside, on and outside the circle", "real", "imaginary", legend=True)
    return drawing


def forced() -> Table:
    """The forced oscillator under a step and a resonant sine, with the right and the misprinted input weight."""
    table = Table()
    t = torch.arange(400, dtype=torch.float64)
    xs = torch.where(t < 150, (t >= 20).double(), torch.sin(0.2187 * t) * (t >= 200)).reshape(-1, 1, 1)
    table.course("series", "input x", xs.flatten())
    omega = torch.linspace(0.0, 0.6, 601, dtype=torch.float64)
    for name, alpha in (
        ("gamma / (1 + gamma)", GAMMA / (1 + GAMMA)),
        ("gamma / (1 - gamma), misprint", GAMMA / (1 - GAMMA)),
    ):
        cell = forced_oscillator(GAMMA, alpha=alpha)
        table.course("series", f"r, alpha = {name}", unroll(cell, xs).outputs.flatten().detach())
        curve = gain(cell, omega).flatten()
        table.add("gain", f"alpha = {name}", omega, curve)
        table.numbers[f"gain at 0, alpha = {name}"] = float(curve[0])
    fine = torch.linspace(0.2, 0.24, 40001, dtype=torch.float64)
    peak = gain(forced_oscillator(GAMMA), fine).flatten()
    table.numbers |= {"peak gain": float(peak.max()), "at, rad per step": float(fine[peak.argmax()])}
    return table


def draw_forced(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    lines(left, table.panel("series"), lw=1)
    label(left, "A step settles at x only with the right alpha", "step", "r")
    left.set_ylim(-5.5, 9)  # room for the legend above the resonance
    left.legend(frameon=False, fontsize=8, loc="upper left")
    lines(right, table.panel("gain"))
    right.axhline(1, color="0.8", lw=0.8, zorder=0)
    label(right, "Gain: 1 at rest, 4.58 at resonance", "frequency, rad per step", "amplitude out / in")
    right.set_ylim(0, 6.5)
    right.legend(frameon=False, fontsize=8, loc="upper right")
    return drawing


def learned() -> Table:
    """A linear model learns the forced oscillator from noisy series, steered by penalties or by construction."""
    table = Table()
    us = torch.randn(80, 8, 1, dtype=torch.float64)
    truth = forced_oscillator(GAMMA)
    ys = unroll(truth, us).outputs.detach()
    ys = ys + 0.1 * torch.randn_like(ys)
    true = truth.eigenvalues().detach()
    table.add("eigenvalues", "true", true.real, true.imag)
    ways = [("free", None), ("free", "slow"), ("free", "damped"), ("free", "oscillating")]
    ways += [("slow", None), ("damped", None), ("oscillating", None)]
    for dynamics, penalty in ways:
        torch.manual_seed(1)
        cell = LinearCell(1, 2, output_size=1, dynamics=dynamics).double()
        if cell.theta is not None:
            with torch.no_grad():
                cell.theta.fill_(0.5)
        courses = _fit_linear(cell, us, ys, penalty)
        name = (
            f"{dynamics}, penalty {penalty}"
            if penalty
            else (dynamics if dynamics == "free" else f"{dynamics} by construction")
        )
        z = cell.eigenvalues().detach()
        table.add("eigenvalues", name, z.real, z.imag)
        table.course("loss", name, courses)
        nearest = min(float((z - t).abs().min()) for t in true)
        table.numbers[f"{name}: error"] = courses[-1]
        table.numbers[f"{name}: distance of the nearest eigenvalue"] = nearest
    return table


def _fit_linear(cell: LinearCell, us: Tensor, ys: Tensor, penalty: str | None) -> list[float]:
    optimiser, steps = torch.optim.Adam(cell.parameters(), lr=0.03), 400
    schedule, course = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps), []
    for _ in range(steps):
        optimiser.zero_grad()
        error = (unroll(cell, us).outputs - ys).square().mean()
        cost = error if penalty is None else error + 0.3 * dynamics_penalty(cell.D, penalty, rho=0.9)
        cost.backward()
        nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        course.append(error.item())
    return course


def draw_learned(table: Table) -> Drawing:
    drawing, (left, middle, right) = axes_of(3)
    curves = table.panel("eigenvalues")
    true = curves.pop("true")
    for axes, chosen, title in (
        (left, {n: c for n, c in curves.items() if "constr" not in n}, "Free matrix, steered by a penalty"),
        (middle, {n: c for n, c in curves.items() if "constr" in n}, "Steered by construction"),
    ):
        _unit_circle(axes)
        axes.plot(*true, "*", ms=14, color="0.6", label="true")
        lines(axes, chosen, "o", ms=5, alpha=0.8)
        label(axes, title, "real", "imaginary")
        axes.set(xlim=(-0.3, 1.15), ylim=(-0.75, 0.75))
        axes.legend(frameon=False, fontsize=7, loc="lower left")
    lines(right, table.panel("loss"), lw=1)
    right.set_yscale("log")
    label(right, "Error while learning (noise floor 0.01)", "training step", "mean squared error")
    right.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.36))
    return drawing


def three_readers() -> Table:
    """A clean oscillation is to be told from a noisy one, by three kinds of network."""
    table = Table()
    steps, hidden = 30, 24

    def draw(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(steps)[:, None]
        omega, phase = 0.3 + 0.3 * torch.rand(rows, generator=g), 6.28 * torch.rand(rows, generator=g)
        clean = torch.sin(omega * t + phase)[..., None]
        return clean + 0.5 * torch.randn(clean.shape, generator=g), clean

    class Reader(nn.Module):
        def __init__(self, body: nn.Module, width: int):
            super().__init__()
            self.body, self.readout = body, nn.Linear(width, 1)

        def forward(self, xs: Tensor, ys: Tensor | None = None) -> Tensor:
            if isinstance(self.body, Bidirectional):
                return self.readout(self.body(xs).outputs)
            return self.readout(unroll(self.body, xs).outputs)

    class Writer(EncoderDecoder):
        def forward(self, xs: Tensor, ys: Tensor | None = None) -> Tensor:
            return super().forward(xs, steps=len(xs)).outputs

    models = {
        "forward": Reader(GRUCell(1, hidden), hidden),
        "bidirectional": Reader(Bidirectional(GRUCell(1, hidden), GRUCell(1, hidden)), 2 * hidden),
        "encoder-decoder": Writer(1, 1, hidden, cell="gru"),
    }
    noisy, clean = draw(500, 10_000)
    table.course("example", "noisy", noisy[:, 0, 0])
    table.course("example", "clean", clean[:, 0, 0])
    for name, model in models.items():
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(300):
            xs, ys = draw(64, step)
            optimiser.zero_grad()
            (model(xs) - ys).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        with torch.no_grad():
            out = model(noisy)
        table.course("example", name, out[:, 0, 0])
        error = (out - clean).square().mean((1, 2))
        table.course("error", name, error)
        table.numbers[f"{name}: mean squared error"] = float(error.mean())
        table.numbers[f"{name}: of the first five steps"] = float(error[:5].mean())
        table.numbers[f"{name}: of the last five steps"] = float(error[-5:].mean())
    return table


def draw_three_readers(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    curves = table.panel("example")
    left.plot(*curves.pop("noisy"), ".", color="0.6", label="noisy")
    left.plot(*curves.pop("clean"), color="0.6", lw=3, alpha=0.5, label="clean")
    lines(left, curves)
    label(left, "A noisy oscillation, and three readings of it", "step", "", legend=True)
    lines(right, table.panel("error"))
    right.set_ylim(0)
    label(right, "Who sees what: error along the sequence", "step", "mean squared error", legend=True)
    return drawing


def initial_states() -> Table:
    """Five ways to begin, when the sequence begins in the middle of a swing: error along the sequence."""
    table = Table()
    steps, hidden, warm = 40, 16, 8

    def draw(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        """Force and position of a damped oscillator already in motion; the first `warm` steps are for a start."""
        g = torch.Generator().manual_seed(seed)
        us = torch.randn(warm + steps, rows, 1, generator=g, dtype=torch.float64)
        cell = forced_oscillator(0.1)
        begin = 2 * torch.randn(rows, 2, generator=g, dtype=torch.float64)
        ys = unroll(cell, us, cell.initial_state(rows)._replace(h=begin)).outputs.detach()
        return us.float(), ys.float()

    us, ys = draw(400, 10_000)
    for name in ("zeros", "random", "learned", "washout", "encoder"):
        torch.manual_seed(0)
        core = GRUCell(2 if name == "washout" else 1, hidden)
        cell = {"random": lambda c: RandomStart(c, 0.5), "learned": LearnedStart}.get(name, lambda c: c)(core)
        readout, encoder = nn.Linear(hidden, 1), StartEncoder(core, features=2, window=warm)

        def run(us: Tensor, ys: Tensor, name=name, cell=cell, readout=readout, encoder=encoder) -> Tensor:
            state, later = None, us[warm:]
            if name == "encoder":
                state = encoder(torch.cat([us, ys], -1))
            if name == "washout":  # the cell sees the last output too, as long as it is known
                known = torch.cat([us[1:warm], ys[: warm - 1]], -1)
                state = washout(cell, known)
                later = torch.cat([later, torch.zeros_like(later)], -1)
            return readout(unroll(cell, later, state).outputs)

        optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters(), *encoder.parameters()], lr=0.01)
        cell.train()
        for step in range(250):
            u, y = draw(48, step)
            optimiser.zero_grad()
            (run(u, y) - y[warm:]).square().mean().backward()
            nn.utils.clip_grad_norm_([*cell.parameters(), *readout.parameters()], 1.0)
            optimiser.step()
        cell.eval()
        with torch.no_grad():
            error = (run(us, ys) - ys[warm:]).square().mean((1, 2))
        table.course("error", name, error)
        table.numbers[f"{name}: error of the first ten steps"] = float(error[:10].mean())
        table.numbers[f"{name}: of the last ten"] = float(error[-10:].mean())
    return table


def draw_initial_states(table: Table) -> Drawing:
    drawing, (axes,) = axes_of(1, width=6.5)
    lines(axes, table.panel("error"))
    axes.set_yscale("log")
    label(
        axes,
        "How a run begins matters until it is forgotten",
        "step after the start",
        "mean squared error",
        legend=True,
    )
    return drawing


def _unit_circle(axes) -> None:
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(angle), np.sin(angle), color="0.8", lw=0.8, zorder=0)
    axes.set_aspect("equal")


FIGURES = (
    Figure("H1", DECK, "Moving averages and their impulse responses", averages, draw_averages),
    Figure("H2", DECK, "An oscillator by backward, symplectic and forward steps", oscillator, draw_oscillator),
    Figure("H3", DECK, "A forced oscillator, both alphas, and its gain", forced, draw_forced),
    Figure("H4", DECK, "A linear model learned, its eigenvalues under each penalty", learned, draw_learned),
    Figure("H5", DECK, "Forward, bidirectional and encoder-decoder on one task", three_readers, draw_three_readers),
    Figure("H6", DECK, "Initial states", initial_states, draw_initial_states),
)
