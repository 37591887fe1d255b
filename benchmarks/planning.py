"""From how few steps of experience a learned ensemble balances a pole and swings one up: plans and imagination.

    python -m benchmarks.planning --seeds 20 21 22 23 24

CartPole by planning ends with the first episode of 200; Pendulum by planning after 6 episodes, in imagination after 18.
The result is then judged on fresh episodes, other ones for each seed. Writes `benchmarks/results/planning.json` and
`.md` after every run, so that it can be interrupted; runs already there are not repeated. 10 to 90 CPU-seconds per seed
and task.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import plan

SETTINGS: dict[str, dict[str, Any]] = {
    "cartpole, planning": {"task": "cartpole", "method": "icem", "episodes": 25, "until": 200.0},
    "pendulum, planning": {"task": "pendulum", "method": "icem", "episodes": 6},
    "pendulum, imagination": {"task": "pendulum", "method": "critic", "random": 4, "episodes": 18, "updates": 100},
    "cartpole, planning with the true equations": {"task": "cartpole", "method": "icem", "model": "truth"},
    "pendulum, planning with the true equations": {"task": "pendulum", "method": "icem", "model": "truth"},
}


@dataclass
class Args:
    ways: list[str] = field(default_factory=lambda: list(SETTINGS))
    """Rows of the table."""
    seeds: list[int] = field(default_factory=lambda: [20, 21, 22, 23, 24])
    """One run each; planning with the true equations learns nothing and runs on the first only."""
    judged: int = 10
    """Fresh episodes at the end."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def run(way: str, seed: int, judged: int) -> dict[str, Any]:
    """Course and judgement of one run."""
    settings = {"episodes": 0, **SETTINGS[way]}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        plan.main(plan.Args(**settings, judged=judged, seed=seed, out=out))
        course = list(csv.DictReader((out / "metrics.csv").open())) if settings["episodes"] else []
        found = json.loads((out / "metrics.json").read_text())
    returns = [round(float(row["score"]), 1) for row in course]
    return {
        "way": way,
        "seed": seed,
        "returns": returns,
        "expected": [round(float(row["expected"]), 1) for row in course],
        "steps": found["steps"],
        "judged": [round(x, 1) for x in found["judged"]],
        "mean": round(found["mean"], 1),
        "cpu_seconds": round(found["cpu_seconds"], 1),
    }


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "planning.json", (json.dumps({"runs": rows}, indent=1) + "\n").encode())
    lines = [
        "# Planning and imagination in a learned ensemble",
        "",
        "Fresh episodes with the last model, without exploration; CPU-seconds of experience and learning, one thread.",
        "",
        "| way | seeds | episodes lived | steps lived | mean return of seeds | each | CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        some = [row for row in rows if row["way"] == way]
        each = ", ".join(f"{row['mean']:.0f}" for row in some)
        lived = ", ".join(str(len(row["returns"])) for row in some)
        steps = f"{min(row['steps'] for row in some)} to {max(row['steps'] for row in some)}"
        mean, cpu = (np.mean([row[key] for row in some]) for key in ("mean", "cpu_seconds"))
        lines.append(f"| {way} | {len(some)} | {lived} | {steps} | {mean:.1f} | {each} | {cpu:.0f} |")
    write_atomically(out / "planning.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.ways) - set(SETTINGS):
        raise ValueError(f"unknown ways {', '.join(sorted(unknown))}; there are {', '.join(SETTINGS)}")
    path = args.out / "planning.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for way in args.ways:
        for seed in args.seeds[:1] if "true" in way else args.seeds:
            if not any(row["way"] == way and row["seed"] == seed for row in rows):
                rows.append(run(way, seed, args.judged))
                write(rows, args.out)
                print({key: rows[-1][key] for key in ("way", "seed", "steps", "mean", "cpu_seconds")}, flush=True)
    return rows


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"planning: {error}")
