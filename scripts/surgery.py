"""What becomes of the motion when part of the network is lesioned, silenced, cut, or replaced by another run's state?

Five worked examples. Each lets the animal move intact for four seconds, operates for four, lets go, and lays an intact
animal beside it: figure.png (spine, neurons, ways from above), film.mp4, and gait before, during and after.

    python scripts/surgery.py lesion         # a learned GRU loses the four units that swing most
    python scripts/surgery.py silence        # the left side of the cord is silenced
    python scripts/surgery.py patch          # a learned LSTM gets the state of a run that turns
    python scripts/surgery.py transplant     # one that walks gets the state of one that swims
    python scripts/surgery.py cut            # the chain of segments is cut at mid-body, and kicked
    python scripts/surgery.py all --no-film

Half a minute each, and half a minute for its film. What was done is left as edits.json: `steer.py --edits` replays it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from agents.controller import CONTROLLERS, NetworkController, make_controller
from agents.experiment import live, make_film, make_worlds
from agents.learned import make_learned
from agents.policy_zoo import find_policy
from agents.runs import Run, load_traces
from agents.schedule import Schedule
from agents.surgery import OPERATIONS, Operation
from rnn import Edit, edits_to_json
from sim.gait import gait_metrics
from sim.gait_plots import draw_joint_angles
from sim.trajectory import Trajectory

MEASURES = ("forward_speed", "yaw_rate", "frequency", "waves")
UNITS = ("BL/s", "deg/s", "Hz", "waves per body")


@dataclass(frozen=True)
class Args:
    """Operate on a network at work; see the top of this file."""

    example: tyro.conf.Positional[str] = "all"
    """lesion, silence, patch, transplant, cut, or all."""
    policy: str | None = None
    """Another network for the example, zoo/NAME or a folder from learn_motion.py."""
    start: float = 4.0
    """When the operation begins, s."""
    stop: float = 8.0
    """When it ends, s."""
    seconds: float = 12.0
    """Simulated time."""
    film: bool = True
    """Render film.mp4."""
    out: Path | None = None
    """Folder; one folder per example within it. By default runs/surgery/<stamp>_seed0."""


def main(args: Args) -> dict[str, Any]:
    """Operate, watch, measure, draw."""
    if args.example != "all" and args.example not in OPERATIONS:
        raise ValueError(f"there is no example {args.example!r}; there are {', '.join(OPERATIONS)}, and all")
    if not 1 <= args.start < args.stop <= args.seconds:
        raise ValueError(
            f"1 <= start < stop <= seconds is needed, received {args.start}, {args.stop}, {args.seconds} s"
        )
    if args.policy and args.policy not in CONTROLLERS:
        find_policy(args.policy)  # a wrong name ends here, before there is a folder
    names = list(OPERATIONS) if args.example == "all" else [args.example]
    with Run(args.out, args) if args.out else Run.new("surgery", args) as run:
        found = {name: operate(run.folder / name, name, args) for name in names}
        run.save_json("metrics.json", found)
        print(f"written to {run.folder}")
        return found


def operate(folder: Path, name: str, args: Args) -> dict[str, dict[str, Any]]:
    """One example: the animal with the operation, and an intact one."""
    operation = OPERATIONS[name]
    drive = Schedule.constant(operation.drive)
    edits = operation.edits(controller(operation, args, drive).cell, round(100 * args.start), round(100 * args.stop))
    with Run(folder, {**vars(args), "network": args.policy or operation.network}) as run:
        (run.folder / "edits.json").write_text(edits_to_json(edits) + "\n")
        traces = {}
        for who, done in (("operated", edits), ("intact", [])):
            recorder = live(make_worlds(operation.world), controller(operation, args, drive, done), args.seconds)
            traces[who] = recorder.traces()
        run.save_traces(traces["operated"])
        run.save_traces({"link_positions": traces["intact"]["link_positions"]}, "intact.npz")
        cuts = {"before": (0.0, args.start), "during": (args.start, args.stop), "after": (args.stop, args.seconds)}
        parts = {when: measure(traces["operated"], a + 1, b) for when, (a, b) in cuts.items() if b - a >= 2.5}
        parts["intact"] = measure(traces["intact"], args.start + 1, args.stop)
        run.save_json("metrics.json", parts)
        print(f"\n{name}: {operation.look}")
        for when, told in parts.items():
            values = ", ".join(f"{told[key]:.2f} {unit}" for key, unit in zip(MEASURES, UNITS, strict=True))
            print(f"{when:>8}: {told['gait']:5s} {values}")
        draw(run.folder, (args.start, args.stop), f"{name}: {operation.look}")
        if args.film:
            make_film(traces["operated"], run.folder / "film.mp4")
    return parts


def controller(operation: Operation, args: Args, drive: Schedule, edits: list[Edit] | None = None) -> NetworkController:
    """The network of an example, with edits."""
    network = args.policy or operation.network
    if network in CONTROLLERS:
        return make_controller(network, drive, edits=edits or [])
    return make_learned(network, drive, edits=edits or [])


def measure(traces: dict[str, Any], start: float, stop: float) -> dict[str, Any]:
    """Gait between two moments, s."""
    metrics = gait_metrics(Trajectory.from_arrays(traces), start, stop)
    return {"gait": metrics.gait, **{name: float(getattr(metrics, name)) for name in MEASURES}}


def draw(folder: Path, span: tuple[float, float], title: str) -> None:
    """figure.png from the traces."""
    traces, intact = load_traces(folder / "traces.npz"), load_traces(folder / "intact.npz")
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    spine, units, ways = figure.subplots(1, 3, width_ratios=(1.2, 1.2, 1))
    draw_joint_angles(spine, Trajectory.from_arrays(traces))
    time, neurons = traces["time"], traces["neurons"][:, : traces["neurons"].shape[1] - 8]
    spread = neurons - neurons.mean(0)
    limit = float(np.percentile(np.abs(spread), 98)) or 1.0
    extent = (time[0], time[-1], len(neurons.T) - 0.5, -0.5)
    units.imshow(
        spread.T, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent, interpolation="nearest"
    )
    units.set(title="units, about their means", xlabel="time, s", ylabel="unit")
    for axis in (spine, units):
        for moment in span:
            axis.axvline(moment, color="#d6336c", lw=1.2)
    for name, links, colour in (("intact", intact, "0.6"), ("operated", traces, "#1f6f8b")):
        way = 100 * links["link_positions"][:, :4, :2].mean(1)
        ways.plot(*way.T, color=colour, label=name)
    during = way[(time >= span[0]) & (time < span[1])]
    ways.plot(*during.T, color="#d6336c", label="during the operation")
    ways.set(title="ways from above", xlabel="x, cm", ylabel="y, cm")
    ways.set_aspect("equal", adjustable="datalim")
    ways.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    figure.savefig(folder / "figure.png", dpi=130)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
