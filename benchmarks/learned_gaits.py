"""How oscillators whose weights were evolved from a random start swim and walk, beside the animal.

    python -m benchmarks.learned_gaits --seeds 0 1 2 3                   # trains: one to two CPU-minutes each
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
import yaml

from agents.gait_evolution import PRICES
from agents.runs import write_atomically
from agents.salamander_gait import FREQUENCY
from scripts import train_salamander
from scripts.train_salamander import PRICE_NAMES
from sim.gait import gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory

FREQUENCY_BEFORE = {"swim": 4.0, "walk": 2.0}  # Hz
MINUTES = {"swim": 1.1, "walk": 1.7}
SPINE = {"swim": "follows a wave of its own", "walk": "follows the limb centres"}
INTRODUCTION = """# Gaits learned from scratch at muscle level

CMA-ES over the weights of an oscillator network (`agents/salamander_gait.py`) that sends 48 muscle activations, without
reflexes. It starts from the best of `4 x worlds` uniformly random settings of all weights; no gait of ours and no
recorded motion enters the search. Of the figures below, the reward holds the newt's speed (0.7 BL/s swimming, 0.3
walking: more is worth nothing, a third more costs) and, walking, its duty factor, where that has a price. Fixed by the
network are that limbs across and along a side beat in antiphase, left and right alike, and, walking, that the spine's
muscles follow the limb centre of their girdle and side, whose fields meet at the joint behind the hips: so a walking
trunk and tail base can only bend in antiphase; how far each bends, and when in the step, is learned. The reward is the
task's (`sim/salamander_tasks.py`: headway, upright, economy) less the prices named (`agents/gait_evolution.py`). All
figures are of fine physics, 8 s of which the first quarter is left out."""


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: ["swim", "walk"])
    """Of `scripts/train_salamander.py`."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """One evolution each."""
    minutes: float | None = None
    """CPU time of each; None for that of `MINUTES`."""
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
        **{name: settings[name] for name in ("task", "seed", "worlds", "episode")},
        **{name: settings.get(name) or 0.0 for name in (*PRICE_NAMES, "coarse")},
        "fastest": FREQUENCY[settings["task"]][1],
        "spine": SPINE[settings["task"]],
        "gait": metrics.gait,
        "steps": json.loads((folder / "gait.json").read_text())["steps"],
        "cpu_seconds": float(course[-1]["cpu_seconds"]),
        "checks": [line.to_dict() for line in check(metrics, settings["task"])],
    }


def terms(run: dict[str, Any]) -> tuple[Any, ...]:
    """What runs of one table share: the task, the spine's rhythm, the prices, the highest frequency, Hz, and the part
    of the time on coarse physics."""
    return tuple(run[name] for name in ("task", "spine", *PRICE_NAMES, "fastest", "coarse"))


def usual(task: str, effort: float | None = None) -> tuple[Any, ...]:
    """Those of a task's runs as they are now."""
    prices = PRICES[task] if effort is None else replace(PRICES[task], effort=effort)
    coarse = train_salamander.complete(train_salamander.Args()).coarse
    return task, SPINE[task], *asdict(prices).values(), FREQUENCY[task][1], coarse


def described(run: dict[str, Any]) -> str:
    """The same in words."""
    prices = ", ".join(f"{name} {run[name]:g}" for name in PRICE_NAMES if run[name])
    return (
        f"{run['task']}: spine {run['spine']}; prices of {prices}; up to {run['fastest']:g} Hz; coarse physics for "
        f"{run['coarse']:g} of the time"
    )


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables: the settings of today over their seeds and one by one, then what was tried before."""
    write_atomically(out / "learned_gaits.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    groups = [[run for run in runs if terms(run) == key] for key in dict.fromkeys(terms(run) for run in runs)]
    now = [group for group in groups if terms(group[0]) == usual(group[0]["task"])]
    lines = INTRODUCTION.splitlines()
    for group in now:
        lines += ["", f"## {described(group[0])}", "", *over_seeds(group)]
    for run in (run for group in now for run in group):
        lines += ["", f"### {run['task']}, seed {run['seed']}", "", *one_by_one(run)]
    before = [group for group in groups if group not in now]
    if before:
        lines += ["", "## Other settings", "", *in_short(before)]
    write_atomically(out / "learned_gaits.md", ("\n".join(lines) + "\n").encode())


def over_seeds(runs: list[dict[str, Any]]) -> list[str]:
    """Mean, range and the number of runs in band, of every measure of one task's runs under the same settings."""
    steps, cpu = [run["steps"] for run in runs], [run["cpu_seconds"] for run in runs]
    whole = sum(all(line["passed"] for line in run["checks"] if line["low"] is not None) for run in runs)
    lines = [
        f"{len(runs)} seed(s) ({', '.join(str(run['seed']) for run in runs)}): {min(steps):,} to {max(steps):,} "
        f"environment steps, {min(cpu):.0f} to {max(cpu):.0f} CPU-s, recognised as "
        f"{', '.join(str(run['gait']) for run in runs)}; inside every band: {whole} of {len(runs)}",
        "",
        "| measure | mean | range | animal | band | runs in band |",
        "|---|---|---|---|---|---|",
    ]
    for checks in zip(*(run["checks"] for run in runs), strict=True):
        # None: nothing to measure, as of an animal that lay still
        ours = [np.nan if line["ours"] is None else line["ours"] for line in checks]
        name, animal, band = _head(checks[0])
        judged = checks[0]["low"] is not None
        passed = f"{sum(bool(line['passed']) for line in checks)} of {len(checks)}" if judged else ""
        spread = f"{np.mean(ours):.3g} | {min(ours):.3g} to {max(ours):.3g}"
        lines.append(f"| {name} | {spread} | {animal} | {band} | {passed} |")
    return lines


def one_by_one(run: dict[str, Any]) -> list[str]:
    """One run beside the animal."""
    lines = [
        f"{run['steps']:,} environment steps, {run['cpu_seconds']:.0f} CPU-s, recognised as {run['gait']}",
        "",
        "| measure | ours | animal | band | |",
        "|---|---|---|---|---|",
    ]
    for line in run["checks"]:
        name, animal, band = _head(line)
        verdict = ("in band" if line["passed"] else "outside") if line["low"] is not None else ""
        ours = "-" if line["ours"] is None else f"{line['ours']:.3g}"
        lines.append(f"| {name} | {ours} | {animal} | {band} | {verdict} |")
    return lines


def in_short(groups: list[list[dict[str, Any]]]) -> list[str]:
    """One line for each of other settings."""
    lines = ["| settings | seeds | speed, BL/s | inside every band | outside |", "|---|---|---|---|---|"]
    for group in groups:
        judged = [[line for line in run["checks"] if line["low"] is not None] for run in group]
        whole = sum(all(line["passed"] for line in checks) for checks in judged)
        wrong = dict.fromkeys(line["label"] for checks in judged for line in checks if not line["passed"])
        speeds = [line["ours"] for run in group for line in run["checks"] if line["label"] == "speed"]
        mean = np.mean([np.nan if speed is None else speed for speed in speeds])
        seeds = ", ".join(str(run["seed"]) for run in group)
        lines.append(
            f"| {described(group[0])} | {seeds} | {mean:.3g} | {whole} of {len(group)} | {', '.join(wrong) or '-'} |"
        )
    return lines


def _head(line: dict[str, Any]) -> tuple[str, str, str]:
    """Name, the animal's figure and the band of a measure."""
    band = f"{line['low']:g} to {line['high']:g}" if line["low"] is not None else "reported"
    animal = "-" if line["animal"] is None else f"{line['animal']:.3g}"
    return f"{line['label']}, {line['unit']}".rstrip(", "), animal, band


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(FREQUENCY):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(FREQUENCY)}")
    path = args.out / "learned_gaits.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    # At first swaying alone had a price, the search went further, all physics was fine, and a wave walked too.
    before = dict.fromkeys(PRICE_NAMES, 0.0) | {"coarse": 0.0, "spine": SPINE["swim"]}
    runs = [{**before, "fastest": FREQUENCY_BEFORE[run["task"]], **run} for run in runs]

    def add(folder: Path) -> None:
        found = measured(folder)
        runs[:] = [run for run in runs if (run["seed"], terms(run)) != (found["seed"], terms(found))] + [found]
        write(runs, args.out)

    for folder in args.folders:
        add(folder)
    for seed in () if args.folders else args.seeds:
        for task in args.tasks:
            if any((run["seed"], terms(run)) == (seed, usual(task, args.effort)) for run in runs):
                continue
            minutes = MINUTES[task] if args.minutes is None else args.minutes
            settings = train_salamander.Args(task=task, seed=seed, minutes=minutes, effort=args.effort, film=args.film)
            folder = Path(f"runs/learned_gaits/{task}_{seed}")
            train_salamander.main(replace(settings, out=folder))
            add(folder)
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"learned_gaits: {error}")
