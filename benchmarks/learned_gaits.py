"""How oscillators whose weights were evolved from a random start swim and walk, beside the animal.

    python -m benchmarks.learned_gaits                                   # trains: 3 CPU-minutes per task and seed
    python -m benchmarks.learned_gaits --folders runs/swim runs/walk     # tabulates runs of scripts/train_salamander.py

Writes `benchmarks/results/learned_gaits.json` and `.md`: environment steps, CPU-seconds, and every judged measure.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
import yaml

from agents.runs import write_atomically
from scripts import train_salamander
from sim.gait import gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: ["swim", "walk"])
    """Of `scripts/train_salamander.py`."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """One evolution each."""
    minutes: float = 1.1
    """CPU time of each."""
    folders: list[Path] = field(default_factory=list)
    """Finished runs to tabulate; nothing is trained then."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def measured(folder: Path) -> dict[str, Any]:
    """What a finished run came to."""
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    course = list(csv.DictReader((folder / "metrics.csv").open()))
    metrics = gait_metrics(Trajectory.load(folder / "traces.npz"))
    return {
        **{name: settings[name] for name in ("task", "seed", "worlds", "episode", "steadiness")},
        "gait": metrics.gait,
        "steps": json.loads((folder / "gait.json").read_text())["steps"],
        "cpu_seconds": float(course[-1]["cpu_seconds"]),
        "checks": [line.to_dict() for line in check(metrics, settings["task"])],
    }


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "learned_gaits.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# Gaits learned from scratch at muscle level",
        "",
        "CMA-ES over the weights of an oscillator network, from a random start, 48 muscle activations, no reflexes.",
    ]
    for run in runs:
        lines += [
            "",
            f"{run['task']}, seed {run['seed']}, steadiness {run['steadiness']}: {run['steps']:,} environment steps, "
            f"{run['cpu_seconds']:.0f} CPU-s, gait recognised: {run['gait']}",
            "",
            "| measure | ours | animal | band | |",
            "|---|---|---|---|---|",
        ]
        for line in run["checks"]:
            judged = line["low"] is not None
            band = f"{line['low']:g} to {line['high']:g}" if judged else "reported"
            verdict = ("in band" if line["passed"] else "outside") if judged else ""
            animal = "-" if line["animal"] is None else f"{line['animal']:.3g}"
            name = f"{line['label']}, {line['unit']}".rstrip(", ")
            lines.append(f"| {name} | {line['ours']:.3g} | {animal} | {band} | {verdict} |")
    write_atomically(out / "learned_gaits.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    folders = list(args.folders)
    if not folders:
        for task in args.tasks:
            for seed in args.seeds:
                folders.append(Path(f"runs/learned_gaits/{task}_{seed}"))
                settings = {"task": task, "seed": seed, "minutes": args.minutes, "out": folders[-1]}
                train_salamander.main(train_salamander.Args(**settings))
    runs = [measured(folder) for folder in folders]
    write(runs, args.out)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
