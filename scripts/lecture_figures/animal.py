"""The animal: its motion learned, steered and analysed; generated, forecast and continued by networks."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn

from agents.controller import make_controller
from agents.experiment import live, make_worlds
from agents.motion import DT, Motion
from agents.schedule import Schedule
from lecture_figures.page import Figure, Table, axes_of, label, lines
from rnn import Clamp
from rnn.analysis.limit_cycles import NoRhythm, limit_cycle
from rnn.cell import Cell, Tap, no_tap
from rnn.cpg import PhaseCell, drive_input
from rnn.gru import GRUCell
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

EVERY = 3  # control steps per step of the series: 0.03 s
SCALE = 0.3  # rad


class Continuing(Cell):
    """A GRU that hears what it said last (or, while it is given, what was measured) and a code of the gait."""

    def __init__(self, hidden: int = 40, codes: int = 0):
        super().__init__()
        self.core, self.readout = GRUCell(8 + codes, hidden), nn.Linear(hidden, 8)
        self.input_size, self.output_size, self.dt = codes, 8, EVERY * DT

    def initial_state(self, batch: int):
        return (*self.core.initial_state(batch), self.zeros(batch, 8))

    def forward(self, x: Tensor, state, tap: Tap = no_tap):
        h, said = state
        y, (h,) = self.core(torch.cat([said, tap("input", x)], 1), type(self.core.initial_state(1))(h), no_tap)
        h = tap("h", h)
        said = tap("y", said + 0.5 * self.readout(h))
        return said, (h, said)


def courses(rows: int, steps: int, seed: int, gait: str | None = None) -> tuple[Tensor, Tensor]:
    """Spine angles [T, B, 8] (in 0.3 rad) of walks and swims from random phases; 0 walks, 1 swims [B]."""
    motion, g = Motion.load("simulated"), torch.Generator().manual_seed(seed)
    cycles = torch.stack([motion.cycle("walk", 2.0), motion.cycle("swim", 4.0)])[..., :8]
    pace = torch.tensor([motion.frequency("walk", 2.0), motion.frequency("swim", 4.0)])
    kind = torch.randint(0, 2, (rows,), generator=g)
    if gait is not None:
        kind = torch.full((rows,), ("walk", "swim").index(gait))
    phase = torch.rand(rows, generator=g) + pace[kind] * EVERY * DT * torch.arange(steps)[:, None]
    return cycles[kind, (phase % 1 * 256).long()] / SCALE, kind


def heard_then_free(cell: Continuing, given: Tensor, code: Tensor, steps: int) -> Tensor:
    """Outputs [T + steps, B, 8]: told what to say while it is given, then free."""
    state, outputs = cell.initial_state(given.shape[1]), []
    for t in range(len(given) + steps):
        y, (h, said) = cell(code, state)
        state = (h, given[t]) if t < len(given) else (h, said)
        outputs.append(y)
    return torch.stack(outputs)


def learn(
    cell: Continuing, *, given: int, free: int, updates: int, coded: bool, gait: str | None = None
) -> list[float]:
    """Losses while a network learns to go on with a gait, or (coded, nothing given) to begin one from its code."""
    optimiser, losses = torch.optim.Adam(cell.parameters(), lr=0.005), []
    for step in range(updates):
        ys, kind = courses(32, given + free, step, gait)
        length = free
        if coded:  # the phase is then the network's own choice: all begin at the same; ever longer pieces
            length = min(free, 8 + 2 * free * step // updates)
            kind = torch.tensor([0, 1])
            ys = torch.cat([courses(1, length, 0, name)[0] for name in ("walk", "swim")], 1)
        code = nn.functional.one_hot(kind, 2).float() if coded else ys.new_zeros(ys.shape[1], 0)
        noisy = ys[:given] + 0.05 * torch.randn(ys[:given].shape)
        loss = (heard_then_free(cell, noisy, code, length) - ys).square()[min(given, 5) :].mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


def animal() -> Table:
    """H9: the salamander's swim learned by a network, the simulated animal steered, the networks analysed."""
    table = Table()
    cell = Continuing(32)
    table.course("loss", "GRU", learn(cell, given=20, free=40, updates=150, coded=False, gait="swim"))
    true, _ = courses(1, 160, 5, "swim")
    with torch.no_grad():
        made = heard_then_free(cell, true[:20], true.new_zeros(1, 0), 140)
    for name, ys in (("animal", true), ("network, free from 0.6 s", made)):
        table.add("learned", name, EVERY * DT * torch.arange(160), np.degrees(SCALE * ys[:, 0, 3].numpy()))
    try:
        cycle = limit_cycle(cell, torch.zeros(0), transient=200, watch=300)
        table.numbers |= {
            "learned: turns per second": cycle.frequency,
            "learned: push left after a turn": cycle.contraction,
        }
    except NoRhythm:
        table.numbers["learned: turns per second"] = 0.0
    table.numbers["animal: turns per second"] = Motion.load("simulated").frequency("swim", 4.0)
    doses = np.array([3.4, 3.7, 4.0, 4.3, 4.6])
    controller = make_controller("phase", Schedule.constant(4.0), edits=[Clamp("drive.left", doses)], dt=0.01)
    recorder = live(make_worlds("pool", len(doses)), controller, 4.0, seed=0, neurons=False)
    runs = [gait_metrics(Trajectory.from_arrays(recorder.traces(i))) for i in range(len(doses))]
    turning = [float(run.yaw_rate) for run in runs]
    table.add("steered", "left drive held", doses, turning)
    table.numbers |= {
        f"turning at left drive {d:g}, degrees per second": r for d, r in zip(doses, turning, strict=True)
    }
    network = PhaseCell()
    for drive in (2.0, 4.0):
        cycle = limit_cycle(network, drive_input(network, drive)[0], transient=300, watch=300)
        table.course("multipliers", f"drive {drive:g}", cycle.multipliers.abs()[:12].clamp(min=1e-16))
        table.numbers[f"phase network, drive {drive:g}: push left after a turn"] = cycle.contraction
    return table


def draw_animal(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    lines(a, table.panel("learned"))
    label(a, "Learned: a joint of the spine", "s", "degrees", legend=True)
    lines(b, table.panel("steered"), "o-")
    label(b, "Steered: the left drive held (right: 4)", "left drive", "turning, degrees per s")
    lines(c, table.panel("multipliers"), "o")
    c.set_yscale("log")
    label(c, "Analysed: Floquet multipliers", "number", "modulus", legend=True)
    return drawing


def generated() -> Table:
    """H32: motion generated from one code (one to many), and forecast from a piece of it."""
    table = Table()
    one, free = Continuing(40, codes=2), 60
    table.course("loss", "one to many", learn(one, given=0, free=free, updates=400, coded=True))
    with torch.no_grad():
        made = heard_then_free(one, torch.zeros(0, 2, 8), torch.eye(2), free)
    for i, name in enumerate(("walk", "swim")):
        table.add("one to many", f"{name}, animal", *_joint(courses(1, free, 0, name)[0][:, 0, 3]))
        table.add("one to many", f"{name}, from its code", *_joint(made[:, i, 3]))
    many = Continuing(48)
    table.course("loss", "forecast", learn(many, given=20, free=30, updates=200, coded=False))
    true, _ = courses(100, 60, 9_999)
    with torch.no_grad():
        made = heard_then_free(many, true[:20], true.new_zeros(100, 0), 40)
    error = np.degrees(SCALE * (made - true).square().mean((1, 2)).sqrt().numpy())
    spread = float(np.degrees(SCALE * true.std().item()))
    table.add("error", "forecast", EVERY * DT * (np.arange(60) - 19), error)
    table.numbers |= {"forecast error after 0.3 s, degrees": float(error[29]), "after 1.2 s": float(error[-1])}
    table.numbers["spread of the motion, degrees"] = spread
    return table


def _joint(course: Tensor) -> tuple[Tensor, Tensor]:
    return EVERY * DT * torch.arange(len(course)), torch.rad2deg(SCALE * course)


def draw_generated(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    lines(a, table.panel("one to many"))
    a.set_ylim(-26, 16)  # room for the legend
    label(a, "One to many: a code becomes a gait", "s", "joint, degrees", legend=True)
    lines(b, table.panel("error"))
    b.axvline(0, color="0.6", lw=0.8)
    label(b, "Forecast: error since the last reading", "s", "degrees")
    lines(c, table.panel("loss"))
    c.set_yscale("log")
    label(c, "Learning", "update", "loss", legend=True)
    return drawing


def continued() -> Table:
    """H39: as a melody is continued in its style, a piece of gait is continued by a network that knows both gaits."""
    table, cell = Table(), Continuing(48)
    table.course("loss", "GRU", learn(cell, given=25, free=40, updates=250, coded=False))
    for name in ("walk", "swim"):
        true, _ = courses(1, 200, 77, name)
        with torch.no_grad():
            made = heard_then_free(cell, true[:25], true.new_zeros(1, 0), 175)
        table.add(name, "animal", *_joint(true[:, 0, 3]))
        table.add(name, "continued from 0.75 s on", *_joint(made[:, 0, 3]))
        a, b = (_dominant(ys[-120:, 0, 3]) for ys in (true, made))
        table.numbers |= {f"{name}: Hz of the animal": a, f"{name}: Hz as continued": b}
        table.numbers[f"{name}: amplitude kept"] = float(made[-60:, 0].std() / true[-60:, 0].std())
    return table


def _dominant(course: Tensor) -> float:
    spectrum = torch.fft.rfft((course - course.mean()) * torch.hann_window(len(course)), 2048).abs()
    return float(spectrum.argmax()) / 2048 / (EVERY * DT)


def draw_continued(table: Table) -> Drawing:
    drawing, (a, b, c) = axes_of(3)
    for axes, name in ((a, "walk"), (b, "swim")):
        lines(axes, table.panel(name), lw=1.2)
        axes.axvline(0.75, color="0.6", lw=0.8)
        label(axes, f"A piece of {name}, continued", "s", "joint, degrees", legend=True)
    lines(c, table.panel("loss"))
    c.set_yscale("log")
    label(c, "Learning", "update", "loss")
    return drawing


FIGURES = (
    Figure("H9", "Berlin 2024", "The salamander learned, steered, analysed", animal, draw_animal),
    Figure("H32", "Linz", "Generated motion: one to many, and forecast", generated, draw_generated),
    Figure("H39", "Munich", "Melody becomes continued gait", continued, draw_continued),
)
