"""How oscillators whose weights were evolved from a random start swim and walk, beside the animal.

    python -m benchmarks.learned_gaits --seeds 0 1 2 3                   # trains: a CPU-minute per task and seed
    python -m benchmarks.learned_gaits --folders runs/swim runs/walk     # tabulates runs of scripts/train_salamander.py

Writes `benchmarks/results/learned_gaits.json` and `.md` after every run (those already there are not repeated):
environment steps, CPU-seconds, and every judged measure, each beside the animal's and its band.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
import yaml

from agents.runs import write_atomically
from agents.salamander_gait import FREQUENCY
from scripts import train_salamander
from sim.gait import gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory

FREQUENCY_BEFORE = {"swim": 4.0, "walk": 2.0}  # Hz


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: ["swim", "walk"])
    """Of `scripts/train_salamander.py`."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """One evolution each."""
    minutes: float = 1.1
    """CPU time of each."""
    effort: float | None = None
    """Price of muscle power (see `scripts/train_salamander.py`); None for the task's own."""
    film: bool = False
    """Render each."""
    folders: list[Path] = field(default_factory=list)
    """Finished runs to tabulate; nothing is trained then."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def measured(folder: Path) -> dict[str, Any]:
    """What a finished run came to."""
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    course = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    metrics = gait_metrics(Trajectory.load(folder / "traces.npz"))
    return {
        **{name: settings[name] for name in ("task", "seed", "worlds", "episode", "steadiness")},
        "effort": settings.get("effort") or 0.0,
        "fastest": FREQUENCY[settings["task"]][1],
        "coarse": settings.get("coarse", 0.0),
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
    for key in dict.fromkeys(terms(run) for run in runs):
        lines += ["", *over_seeds([run for run in runs if terms(run) == key])]
    for run in runs:
        lines += [
            "",
            f"{described(run)}, seed {run['seed']}: {run['steps']:,} environment steps, "
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
            ours = "-" if line["ours"] is None else f"{line['ours']:.3g}"
            lines.append(f"| {name} | {ours} | {animal} | {band} | {verdict} |")
    write_atomically(out / "learned_gaits.md", ("\n".join(lines) + "\n").encode())


def terms(run: dict[str, Any]) -> tuple[str, float, float, float, float]:
    """What runs of one table share: the task, the prices of swaying and of effort, the highest frequency, Hz, and the
    part of the time on coarse physics."""
    return run["task"], run["steadiness"], run["effort"], run["fastest"], run["coarse"]


def described(run: dict[str, Any]) -> str:
    """The same in words."""
    return "{}, price of swaying {}, of effort {}, up to {} Hz, coarse physics for {} of the time".format(*terms(run))


def over_seeds(runs: list[dict[str, Any]]) -> list[str]:
    """Mean, range and the number of runs in band, of every measure of one task's runs under the same settings."""
    lines = [
        f"{described(runs[0])}, {len(runs)} seed(s): "
        f"{min(run['steps'] for run in runs):,} to {max(run['steps'] for run in runs):,} environment steps, "
        "recognised as " + ", ".join(str(run["gait"]) for run in runs),
        "",
        "| measure | mean | range | band | runs in band |",
        "|---|---|---|---|---|",
    ]
    for checks in zip(*(run["checks"] for run in runs), strict=True):
        # None: nothing to measure, as of an animal that lay still
        ours, first = [np.nan if line["ours"] is None else line["ours"] for line in checks], checks[0]
        judged = first["low"] is not None
        band = f"{first['low']:g} to {first['high']:g}" if judged else "reported"
        passed = f"{sum(bool(line['passed']) for line in checks)} of {len(checks)}" if judged else ""
        name = f"{first['label']}, {first['unit']}".rstrip(", ")
        lines.append(f"| {name} | {np.mean(ours):.3g} | {min(ours):.3g} to {max(ours):.3g} | {band} | {passed} |")
    return lines


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(FREQUENCY):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(FREQUENCY)}")
    path = args.out / "learned_gaits.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    # There was no price of effort before, the search went further, and all physics was fine.
    runs = [{"effort": 0.0, "fastest": FREQUENCY_BEFORE[run["task"]], "coarse": 0.0, **run} for run in runs]

    def add(folder: Path) -> None:
        found = measured(folder)
        runs[:] = [run for run in runs if (run["seed"], terms(run)) != (found["seed"], terms(found))] + [found]
        write(runs, args.out)

    for folder in args.folders:
        add(folder)
    for seed in () if args.folders else args.seeds:
        for task in args.tasks:
            price = train_salamander.EFFORT[task] if args.effort is None else args.effort
            settings = train_salamander.Args(task=task, seed=seed, minutes=args.minutes, effort=price, film=args.film)
            key = task, settings.steadiness, price, FREQUENCY[task][1], settings.coarse
            if any((run["seed"], terms(run)) == (seed, key) for run in runs):
                continue
            folder = Path(f"runs/learned_gaits/{task}_{seed}")
            train_salamander.main(replace(settings, out=folder))
            add(folder)
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"learned_gaits: {error}")
