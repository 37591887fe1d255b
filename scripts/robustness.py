"""What of the gait survives damage? Fitness and robustness side by side, for each network.

    python scripts/robustness.py                                  # all three networks, about 3 minutes on a laptop
    python scripts/robustness.py --controllers phase --seconds 10

Each network swims (drive 4) and walks (drive 2) intact, with one side of the cord silenced, with the chain of segments
cut at mid-body, with every coupling disturbed by 20 % noise (five draws), and swims with and against a current. To
show what the couplings do, all units are kicked by noise at 3 s: an intact chain finds its wave again, a cut one may
not. Writes robustness.csv and robustness.png and prints the table.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from agents.controller import make_controller
from agents.experiment import live, make_worlds
from agents.runs import Run
from agents.schedule import Schedule
from rnn import Edit, Lesion, Noise, Scale, quantities
from rnn.cell import Cell
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

DRIVES = {"pool": 4.0, "land": 2.0, "channel": 4.0}
MEASURES = ("forward_speed", "frequency", "waves", "yaw_rate")


@dataclass(frozen=True)
class Args:
    """Damage the networks and watch the gait; see the top of this file."""

    controllers: tuple[str, ...] = ("phase", "leaky", "rate")
    """Which networks."""
    seconds: float = 8.0
    """Simulated time of each trial; the kick comes at 3 s, the last 3 s are measured."""
    noise: float = 0.2
    """Standard deviation of the disturbance of the couplings, relative."""
    draws: int = 5
    """How many disturbed networks."""
    current: float = 0.02
    """Speed of the current in the channel, m/s (0.2 body lengths per second)."""
    out: Path | None = None
    """Run folder; by default runs/robustness/<stamp>_seed0."""


def conditions(cell: Cell, args: Args) -> dict[str, list[Edit]]:
    """The damages by name, as edits."""
    couplings = "coupling" if "coupling" in quantities(cell) else "weight"
    width = quantities(cell)[couplings]
    table: dict[str, list[Edit]] = {
        "intact": [],
        "left side silent": [Lesion("body.left")],
        "cut at mid-body": [Lesion(f"{couplings}.midbody")],
    }
    for draw in range(args.draws):
        factor = 1 + args.noise * np.random.default_rng(draw).standard_normal((1, width))
        table[f"noisy couplings {draw}"] = [Scale(couplings, factor)]
    return table


def kick(cell: Cell, dt: float) -> list[Edit]:
    """Noise on the state of all units for a tenth of a second, from 3 s on."""
    quantity, std = ("phase", 0.6) if "phase" in quantities(cell) else (cell.activity, 0.3)
    return [Noise(quantity, std=std, seed=7, steps=slice(round(3 / dt), round(3.1 / dt)))]


def trial(name: str, world: str, edits: list[Edit], seconds: float, **options: object) -> dict[str, float | str]:
    """One animal under one condition."""
    env = make_worlds(world, **options)
    recorder = live(env, make_controller(name, Schedule.constant(DRIVES[world]), edits=edits), seconds, progress=None)
    metrics = gait_metrics(Trajectory.from_arrays(recorder.traces()), start=seconds - 3)
    return {"gait": metrics.gait, **{key: getattr(metrics, key) for key in MEASURES}}


def main(args: Args) -> list[dict]:
    """Try everything, write and draw the table."""
    if args.seconds < 6.5:
        raise ValueError(
            f"a trial needs 6.5 s or more (kick at 3 s, the last 3 s are measured), received {args.seconds}"
        )
    rows: list[dict] = []
    with Run(args.out, args) if args.out else Run.new("robustness", args) as run:
        for name in args.controllers:
            cell = make_controller(name, Schedule.constant(4.0)).cell
            for world in ("pool", "land"):
                for label, edits in conditions(cell, args).items():
                    result = trial(name, world, [*edits, *kick(cell, 0.01)], args.seconds)
                    rows.append({"network": name, "world": world, "condition": label, **result})
                    print(_line(rows[-1]), flush=True)
            for label, speed in (("current from behind", args.current), ("current against", -args.current)):
                result = trial(name, "channel", [], args.seconds, current=(speed, 0.0, 0.0))
                rows.append({"network": name, "world": "channel", "condition": label, **result})
                print(_line(rows[-1]), flush=True)
        with (run.folder / "robustness.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        draw(run.folder)
        print(f"written to {run.folder}: robustness.csv, robustness.png")
    return rows


def _line(row: dict) -> str:
    return (
        f"{row['network']:6s} {row['world']:8s} {row['condition']:20s} {row['gait']:5s}"
        f" {row['forward_speed']:6.2f} BL/s {row['frequency']:5.2f} Hz {row['waves']:6.2f} waves"
        f"  turning {row['yaw_rate']:6.1f} deg/s"
    )


def draw(folder: Path) -> None:
    """Draw robustness.png from robustness.csv: speed kept under each damage."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with (folder / "robustness.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["world"] != "channel"]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    labels = ["intact", "left side silent", "cut at mid-body", "noisy couplings"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=False)
    for axis, world in zip(axes, ("pool", "land"), strict=True):
        for k, network in enumerate(networks):
            speed = [
                [float(r["forward_speed"]) for r in rows
                 if (r["network"], r["world"]) == (network, world) and r["condition"].startswith(label)]
                for label in labels
            ]  # fmt: skip
            place = np.arange(len(labels)) + 0.25 * (k - 1)
            axis.bar(place, [np.mean(v) for v in speed], 0.22, yerr=[np.std(v) for v in speed], label=network)
        axis.set_xticks(range(len(labels)), [label.replace(" ", "\n", 1) for label in labels])
        axis.set(title=f"{'swimming' if world == 'pool' else 'walking'}", ylabel="forward speed, BL/s")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(folder / "robustness.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
