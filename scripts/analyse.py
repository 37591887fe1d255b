"""How does this network work? One illustrated report of every analysis, for a learned network or a pattern generator.

    python scripts/analyse.py --policy phase --out runs/analyse/phase        # a built-in pattern generator
    python scripts/analyse.py --policy zoo/NAME --out runs/analyse/NAME      # a learned network
    python scripts/analyse.py --policy phase --clamp 'limb.*=0' --out ...    # with neurons held

Writes report.html (all figures inside it), numbers.json, and the figures as PNG. Takes one to five minutes on one
core. A network without a rhythm is analysed all the same; the report says which analyses do not apply, and why.

What to look at: whether every push fades (multipliers below 1), at which drive the rhythm begins, which units carry
phase, side and drive, and how far back the output looks.
"""

from __future__ import annotations

import base64
import copy
import html
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from agents.controller import CONTROLLERS, make_controller
from agents.schedule import Schedule
from rnn import Edit, parse_edit, unit_labels, unroll
from rnn.analysis.curvature import hessian_spectrum
from rnn.analysis.fixed_points import fixed_points
from rnn.analysis.gradients import jacobian_products, lstm_direct_path
from rnn.analysis.limit_cycles import LimitCycle, NoRhythm, limit_cycle
from rnn.analysis.lyapunov import lyapunov_exponents
from rnn.analysis.plots import courses, portrait, raster
from rnn.analysis.relevance import integrated_gradients, layerwise_relevance, occlusion
from rnn.analysis.result import Result
from rnn.analysis.sensitivity import follow_push
from rnn.analysis.similarity import compare_dynamics
from rnn.analysis.step_map import StepMap, frozen_copy
from rnn.analysis.sweep import sweep_input
from rnn.analysis.units import UnitRoles, circular_features, dimensionality, unit_roles
from rnn.cell import Cell
from rnn.cpg import drive_input
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell
from rnn.model import state_width


@dataclass(frozen=True)
class Args:
    """Open a network; see the top of this file."""

    policy: str = "phase"
    """A pattern generator (phase, leaky, rate), zoo/NAME, or the folder of a run."""
    out: Path = Path("runs/analyse")
    """Folder for the report."""
    drives: tuple[float, ...] = (2.0, 4.0)
    """Drives that are looked at closely; 1 to 3 walks, 3 to 5 swims."""
    clamp: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Units held throughout, ADDRESS=VALUE."""
    steps: int = 400
    """Steps of the runs that are looked at, after they have settled."""


@dataclass(frozen=True)
class Network:
    """What is analysed, with the runs that several analyses share."""

    name: str
    cell: Cell
    drives: tuple[float, ...]
    edits: tuple[Edit, ...]
    steps: int
    cycles: dict[float, LimitCycle | None] = field(default_factory=dict)

    def input(self, left: Any, right: Any = None, batch: Any = 1) -> Tensor:
        """Inputs for given drives; a cell without named drives gets them on its first input."""
        if "drive.left" in self.cell.groups().get("input", {}):
            return drive_input(self.cell, left, right, batch=batch)
        x = self.cell.zeros(*((batch,) if isinstance(batch, int) else batch), self.cell.input_size)
        x[..., 0] = torch.as_tensor(left)
        return x

    def activity(self, drive: float) -> Tensor:
        """Settled activity under a constant drive [T, n]."""
        xs = self.input(drive, batch=(self.steps + 300, 1)).double()
        run = unroll(self.twin, xs, record=(self.cell.activity,), edits=self.edits, path="loop")
        return run.trace[self.cell.activity][300:, 0]

    @cached_property
    def twin(self) -> Cell:
        return frozen_copy(self.cell)

    def settled(self, drive: float, steps: int = 300) -> tuple[StepMap, Tensor]:
        """The network as a map under a drive, and a state on its attractor [1, S]."""
        system = StepMap(self.cell, self.input(drive)[0], edits=self.edits)
        return system, system.orbit(system.initial(), steps)[-1]


@dataclass
class Section:
    """A part of the report: a heading, sentences, numbers, and figures."""

    title: str
    text: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Result] = field(default_factory=dict)


def main(args: Args) -> dict[str, Any]:
    """Load, analyse, write."""
    network = load(args)
    args.out.mkdir(parents=True, exist_ok=True)
    sections, numbers = [], {}
    for analysis in ANALYSES:
        begin = time.perf_counter()
        for section in attempt(analysis, network):
            images = [save(section, name, result, args.out) for name, result in section.figures.items()]
            sections.append((section, images))
            numbers[section.title] = section.numbers
        print(f"{analysis.__name__:14} {time.perf_counter() - begin:6.1f} s")
    (args.out / "numbers.json").write_text(json.dumps(numbers, indent=1, default=str))
    (args.out / "report.html").write_text(page(network, sections), encoding="utf-8")
    print(f"wrote {args.out / 'report.html'}")
    return numbers


def load(args: Args) -> Network:
    """The network by name.

    Raises:
        ValueError: there is no such policy, or a drive or step count that cannot be used.
    """
    if not args.drives or args.steps < 100:
        raise ValueError(f"at least one drive and 100 steps are needed, received {args.drives} and {args.steps}")
    if args.policy in CONTROLLERS:
        cell: Cell = make_controller(args.policy, Schedule.constant(4.0)).cell
    else:
        from agents.policy_zoo import load_policy

        cell, card = load_policy(args.policy)
        cell = copy.deepcopy(cell)
        cell.dt = float(card["dt"])  # type: ignore[assignment]
    edits = tuple(parse_edit(text, float(getattr(cell, "dt", 1.0))) for text in args.clamp)
    return Network(args.policy, cell.eval(), tuple(args.drives), edits, args.steps)


def attempt(analysis: Callable[[Network], Iterator[Section]], network: Network) -> Iterator[Section]:
    """Run one analysis; if it cannot be done, say why and go on with the others."""
    try:
        yield from analysis(network)
    except (NoRhythm, FloatingPointError, ValueError) as why:
        yield Section(analysis.__name__.replace("_", " "), f"Not done: {why}")
    except Exception as error:  # one broken analysis must not take the others with it
        traceback.print_exc()
        yield Section(analysis.__name__.replace("_", " "), f"Failed: {type(error).__name__}: {error}")


def overview(network: Network) -> Iterator[Section]:
    """Sizes, then what the units do under each drive."""
    cell = network.cell
    numbers = {
        "parameters": sum(p.numel() for p in cell.parameters()),
        "units": len(unit_labels(cell)),
        "numbers in the state": state_width(cell),
        "inputs": cell.input_size,
        "outputs": cell.output_size,
        "step, s": float(getattr(cell, "dt", 1.0)),
        "held": ", ".join(edit.address for edit in network.edits) or "nothing",
    }
    yield Section("The network", numbers=numbers)
    for drive in network.drives:
        xs = network.input(drive, batch=(network.steps + 300, 1))
        rows = raster(cell, xs, edits=network.edits, transient=300)
        over_time = courses(cell, xs[:200], edits=network.edits)
        over_time = type(over_time)(dict(list(over_time.values.items())[:8]), over_time.dt)
        yield Section(
            f"Activity at drive {drive:g}",
            "The settled activity of every unit; and the first 200 steps of each quantity that changes.",
            figures={"raster": rows, "courses": over_time},
        )


def gaits(network: Network) -> Iterator[Section]:
    """State space of the gaits, dimensions, and the drives at which the rhythm begins and ends."""
    paths = {f"drive {drive:g}": network.activity(drive) for drive in network.drives}
    together = portrait(paths)
    spaces = {name: dimensionality(path) for name, path in paths.items()}
    numbers = {f"dimensions, {name}": round(space.participation, 2) for name, space in spaces.items()}
    figures: dict[str, Result] = {"portrait": together}
    figures |= {f"portrait at {name}": portrait({name: path}) for name, path in paths.items()}
    text = "Orbits in the plane of the two components that hold most of their variance: together, then each in its own."
    yield Section("Gaits in state space", text, numbers, figures)
    values = torch.linspace(0.0, 6.0, 25)
    sweep = sweep_input(network.cell, network.input(values, batch=25), values, label="drive", watch=600)
    moving = sweep.amplitude > 0.01
    text = "Where the units settle as the drive rises. " + (
        f"The rhythm begins at drive {sweep.onset():g}." if bool(moving.any()) else "No unit moves at any drive."
    )
    frequencies = {f"Hz at drive {v:g}": round(float(f), 3) for v, f in zip(values, sweep.frequency, strict=True)}
    yield Section("Onset of the rhythm", text, {"onset": sweep.onset(), **frequencies}, {"sweep": sweep})


def rhythm(network: Network) -> Iterator[Section]:
    """Limit cycles, whether pushes fade, and what inputs do to the phase."""
    for drive in network.drives:
        title = f"Rhythm at drive {drive:g}"
        try:
            cycle = limit_cycle(network.cell, network.input(drive)[0], edits=network.edits)
        except (NoRhythm, FloatingPointError) as why:
            network.cycles[drive] = None
            yield Section(title, f"No rhythm. {why}.")
            continue
        network.cycles[drive] = cycle
        text = (
            f"{cycle.frequency:.3f} turns a second. A push shrinks to {cycle.contraction:.3g} of itself in a turn"
            if cycle.stable
            else f"{cycle.frequency:.3f} turns a second. Pushes grow by {cycle.contraction:.3g} in a turn: unstable"
        )
        if cycle.neutral:
            text += f"; {cycle.neutral} directions keep a push for ever (oscillators that are silent)"
        numbers = {
            "frequency, Hz": cycle.frequency,
            "contraction per turn": cycle.contraction,
            "neutral directions": cycle.neutral,
            "multipliers": [round(float(m), 4) for m in cycle.multipliers.abs()[:8]],
            "residual": cycle.residual,
        }
        yield Section(title, text + ". Phase response to a unit of each input:", numbers, {"response": cycle})


def rest(network: Network) -> Iterator[Section]:
    """Fixed points below the onset and under each drive."""
    for drive in (0.5, *network.drives):
        system, s = network.settled(drive)
        starts = system.orbit(s, 60)[::4, 0]
        found = fixed_points(
            network.cell, starts, network.input(drive)[0], edits=network.edits, adam_steps=60, newton_steps=25
        )
        if not len(found):
            text = f"None found at drive {drive:g} from 16 states of the settled run."
            yield Section(f"Fixed points at drive {drive:g}", text)
            continue
        slowest = found.time_constants[0][found.time_constants[0].isfinite()].abs().max()
        numbers = {
            "found": len(found),
            "stable": int(found.stable.sum()),
            "unstable directions": found.unstable_directions.tolist(),
            "largest q": float(found.q.max()),
            "slowest time constant, s": float(slowest),
            "fastest turning direction, Hz": float(found.frequencies[0].max()),
        }
        yield Section(f"Fixed points at drive {drive:g}", "", numbers, {"eigenvalues": found})


def exponents(network: Network) -> Iterator[Section]:
    """Lyapunov spectrum and a push of the state followed for 100 steps."""
    for drive in network.drives:
        system, s = network.settled(drive)
        count, cycle = min(12, system.size), network.cycles.get(drive)
        turn = 1 / (cycle.frequency * float(getattr(network.cell, "dt", 1.0))) if cycle else 1.0
        steps = round(max(1, round(300 / turn)) * turn)  # whole turns, else the direction of the motion is not neutral
        found = lyapunov_exponents(network.cell, network.input(drive)[0], s, steps=steps, transient=150, count=count)
        push = follow_push(network.cell, network.input(drive)[0], s, steps=100)
        numbers = {
            "largest, 1/s": [round(float(v), 4) for v in found.exponents[:4]],
            "dimension": found.dimension,
            "growth of a push over 100 steps, 1/s": float(push.growth.mean()),
        }
        text = "0 belongs to the motion along a rhythm; a positive exponent means chaos."
        if cycle and cycle.stable and found.exponents[0] > 0.1:
            text = (
                "The rhythm is stable, as its multipliers say, so the first exponent should be 0. That it is not yet, "
                f"over {steps / turn:.0f} turns, tells how unevenly a turn stretches and shrinks a push: no chaos."
            )
        yield Section(f"Exponents at drive {drive:g}", text, numbers, {"spectrum": found, "push": push})


def units(network: Network) -> Iterator[Section]:
    """Which units carry phase, side and drive."""
    name, labels, last = network.cell.activity, unit_labels(network.cell), network.drives[-1]

    def settled(left: Tensor, right: Tensor) -> Tensor:
        xs = network.input(left, right, batch=len(left)).double()
        run = unroll(network.twin, xs.expand(600, -1, -1), record=(name,), edits=network.edits, path="loop")
        return run.trace[name][300:]

    sides = torch.linspace(-1.6, 1.6, 9)
    turning = settled(last - sides / 2, last + sides / 2)
    drives = torch.tensor([1.6, 1.8, 2.0, 2.2, 2.4, 3.4, 3.7, 4.0, 4.3, 4.6])
    driven = settled(drives, drives)
    swing = driven.amax(0) - driven.amin(0)
    parts = {
        "phase": unit_roles(turning, {"phase": rhythm_phase(turning)}, labels),
        "side": unit_roles(turning, {"side": sides}, labels),
        "drive": unit_roles(driven, {"drive": drives}, labels),
        "drive, by swing": unit_roles(swing[None], {"drive": drives}, labels),
    }
    join = lambda field: torch.cat([getattr(part, field) for part in parts.values()], 1)
    roles = UnitRoles(
        tuple(parts), tuple(labels), join("explained"), join("information"), parts["phase"].preferred_phase
    )
    numbers = {f"carry {what}": [f"{unit}: {share:.2f}" for unit, share in roles.best(what)] for what in roles.names}
    text = (
        f"Share of variance explained: of the activity by phase and by side, in 9 runs that turn at drive {last:g}; "
        "and by the drive, in 10 runs; of the size of a unit's swing, by the drive."
    )
    yield Section("What the units carry", text, numbers, {"roles": roles})


def rhythm_phase(activity: Tensor) -> Tensor:
    """Phase of each run [T, B], cycles: the angle of the analytic signal of its leading component."""
    columns = []
    for b in range(activity.shape[1]):
        first = dimensionality(activity[:, b]).project(activity[:, b], 1)[:, 0]
        spectrum = torch.fft.fft(first)
        spectrum[len(first) // 2 + 1 :] = 0
        columns.append((torch.fft.ifft(spectrum).angle() / (2 * torch.pi)) % 1)
    aligned = torch.stack(columns, 1)
    reference = activity[..., activity.std((0, 1)).argmax()]
    for b in range(aligned.shape[1]):  # phase 0: the busiest unit is at its peak
        c, s = (circular_features(aligned[:, b])[:, :2].T @ (reference[:, b] - reference[:, b].mean())).tolist()
        aligned[:, b] = (aligned[:, b] - torch.atan2(torch.tensor(s), torch.tensor(c)) / (2 * torch.pi)) % 1
    return aligned


def memory(network: Network) -> Iterator[Section]:
    """How far back gradients reach."""
    drive = network.drives[-1]
    _, s = network.settled(drive)
    xs = network.input(drive, batch=(40, 1))
    products = jacobian_products(network.cell, xs, s)
    figures: dict[str, Result] = {"products": products}
    core = getattr(network.cell, "core", network.cell)
    if isinstance(core, LSTMCell):
        encode = getattr(network.cell, "encode", lambda x: x)
        figures["direct"] = lstm_direct_path(core, encode(xs).detach())
    lags = [1, 10, 20, 40]
    numbers = {f"norm over {lag} steps": float(products.by_lag[lag]) for lag in lags}
    text = f"At drive {drive:g}. On the logarithmic scale 0 means that a gradient is kept."
    yield Section("Gradients through time", text, numbers, figures)


def relevance(network: Network) -> Iterator[Section]:
    """What the most active output rests on when the animal is told to turn at the middle of a run."""
    drive, steps = network.drives[-1], 60
    xs = network.input(drive, batch=(steps, 1)).clone()
    turned = network.input(drive + 0.5, drive - 0.5, batch=(steps, 1))
    xs[steps // 2 :] = turned[steps // 2 :]
    outputs = unroll(network.cell, xs).outputs.detach()[:, 0]
    index = int(outputs.std(0).argmax())
    score = lambda ys: ys[-1, :, index]
    figures: dict[str, Result] = {
        "integrated": integrated_gradients(network.cell, xs, score, points=16),
        "occlusion": occlusion(network.cell, xs, score),
    }
    numbers = {"output": index, "missing in integrated gradients": float(figures["integrated"].missing.abs().max())}  # type: ignore[attr-defined]
    core = getattr(network.cell, "core", network.cell)
    if isinstance(core, LSTMCell | GRUCell):
        readout = getattr(network.cell, "readout", None)
        encode = getattr(network.cell, "encode", lambda x: x)
        weights = readout.weight[index] if readout is not None else torch.eye(core.output_size)[index]
        found = layerwise_relevance(core, encode(xs).detach(), weights.detach())
        figures["layerwise"] = found
        numbers["conservation error of layer-wise relevance"] = float(found.missing.abs().max())
    text = f"The drive turns from {drive:g}/{drive:g} to {drive + 0.5:g}/{drive - 0.5:g} at step {steps // 2}."
    yield Section("What the output rests on", text, numbers, figures)


def stiffness(network: Network) -> Iterator[Section]:
    """Curvature of the error of reproducing its own motion: stiff and sloppy directions of the parameters."""
    xs = network.input(network.drives[-1], batch=(60, 1))
    wanted = unroll(network.twin, xs.double()).outputs.detach()
    sizes = {name: p.numel() for name, p in network.cell.named_parameters() if p.numel() >= 4 and name != "start"}
    if not sizes:
        return
    name = min(sizes, key=lambda key: abs(sizes[key] - 40))
    found = hessian_spectrum(network.cell, xs, lambda ys: (ys - wanted).square().mean(), names=[name], count=8)
    text = f"Of the parameter {name}: how much the motion minds its directions."
    numbers = {"largest": float(found.eigenvalues[0]), "condition": found.condition}
    yield Section("Stiff and sloppy directions", text, numbers, {"hessian": found})


def likeness(network: Network) -> Iterator[Section]:
    """Distance of its dynamics to those of the phase network, gait by gait."""
    other = Network("phase", make_controller("phase", Schedule.constant(4.0)).cell, network.drives, (), network.steps)
    kinds = [(who, drive) for who in (network, other) for drive in network.drives]
    activities = [who.activity(drive) for who, drive in kinds]
    moving = [i for i, a in enumerate(activities) if float((a.amax(0) - a.amin(0)).max()) > 1e-3]
    if len(moving) < 2:
        yield Section("Likeness to the phase network", "Not done: fewer than two of the runs move.")
        return
    names = [f"{'this' if kinds[i][0] is network else 'phase'} {kinds[i][1]:g}" for i in moving]
    found = compare_dynamics([activities[i] for i in moving], names, steps=100, rank=6)
    numbers = {f"{names[i]} - {names[j]}": float(found.matrix[i, j]) for i in range(len(names)) for j in range(i)}
    yield Section("Likeness to the phase network", "Angle between the dynamics, rad.", numbers, {"distance": found})


ANALYSES = (overview, gaits, rhythm, rest, exponents, units, memory, relevance, stiffness, likeness)


def save(section: Section, name: str, result: Result, out: Path) -> tuple[str, Path]:
    """Draw a result into a file named after its section."""
    stem = "".join(c if c.isalnum() else "_" for c in f"{section.title}_{name}".lower())
    path = out / f"{stem}.png"
    result.plot(path)
    return name, path


def page(network: Network, sections: list[tuple[Section, list[tuple[str, Path]]]]) -> str:
    """The report, with its figures inside."""
    body = [f"<h1>Inside the network {html.escape(network.name)}</h1>"]
    for section, images in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>")
        if section.numbers:
            rows = "".join(
                f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(_plain(value))}</td></tr>"
                for name, value in section.numbers.items()
            )
            shown = "open" if len(section.numbers) < 9 else ""
            body.append(f"<details {shown}><summary>numbers</summary><table>{rows}</table></details>")
        for name, path in images:
            data = base64.b64encode(path.read_bytes()).decode()
            body.append(f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></figure>')
    style = (
        "body{font-family:system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;line-height:1.5}"
        "img{max-width:100%}figure{margin:1rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
        "h2{border-top:1px solid #ccc;padding-top:1rem}"
    )
    title = html.escape(network.name)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_plain(v) for v in value)
    return str(value)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
