"""How many natural periods ahead learned models predict a forced oscillator and a pendulum, open loop.

    python -m benchmarks.open_loop --tasks forced --seeds 20 21 22 23 24
    python -m benchmarks.open_loop --tasks pendulum --seeds 30 31 32
    python -m benchmarks.open_loop --tasks pendulum --seeds 45 46 47 48 49 --gradient-steps 0

Runs `scripts/fit_world.py` per task and seed and writes `benchmarks/results/open_loop.json` and `.md` after every run;
runs already there are not repeated. About a minute of CPU per task and seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import fit_world

GRADIENT_STEPS = {"forced": 300, "pendulum": 2600}


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: list(fit_world.TASKS))
    """Tasks of `scripts/fit_world.py`."""
    seeds: list[int] = field(default_factory=lambda: [20, 21, 22, 23, 24])
    """Of data and models."""
    gradient_steps: int | None = None
    """Of the recurrent model; 0 leaves it out, None is 2,600 for the pendulum and 300 for the oscillator."""
    ensemble_steps: int = 0
    """Of the ensemble; 0 leaves it out."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "open_loop.json", (json.dumps({"runs": rows}, indent=1) + "\n").encode())
    lines = [
        "# Open-loop prediction",
        "",
        "Horizon: time until the error first exceeds 0.4 deviations, in natural periods, median (lowest tenth) over",
        "held-out episodes under random pushes; mean, and range of the medians, over seeds. `through`: share of the",
        "episodes (75 periods of the oscillator, 49 of the pendulum) predicted to their end. `gru`: trained by",
        f"{GRADIENT_STEPS['pendulum']:,} gradient steps (pendulum) or {GRADIENT_STEPS['forced']} (oscillator). `fast",
        "weights`: recursive least squares in a cell, as it watches. `polynomial`: of the last reading, of degree 5;",
        "`in order`: of degree 7, with the new value of each reading in the place of its old one for those after it.",
        "`simulator`: the equations from the last reading, exact but for its single precision (pendulum), or without",
        "the hidden rhythms and at the mean of what is drawn (oscillator).",
        "",
        "| task | model | seeds | horizon, periods | range | tenth | through | error after 1, 10, 100 steps | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task, model in dict.fromkeys((row["task"], row["model"]) for row in rows):
        some = [row for row in rows if (row["task"], row["model"]) == (task, model)]
        column = {k: np.array([row[k] for row in some], float) for k in some[0] if k not in ("task", "model")}
        ahead = column["horizon_periods"]
        errors = ", ".join(f"{column[f'rmse_{k}'].mean():.2g}" for k in (1, 10, 100))
        lines.append(
            f"| {task} | {model} | {len(some)} | {ahead.mean():.2f} | {ahead.min():.2f} to {ahead.max():.2f} "
            f"| {column['tenth'].mean():.2f} | {column['episodes_through'].mean():.2f} | {errors} "
            f"| {column['cpu_seconds'].mean():.0f} |"
        )
    write_atomically(out / "open_loop.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(fit_world.TASKS):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(fit_world.TASKS)}")
    path = args.out / "open_loop.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for task in args.tasks:
        for seed in args.seeds:
            if any(row["task"] == task and row["seed"] == seed for row in rows):
                continue
            steps = GRADIENT_STEPS[task] if args.gradient_steps is None else args.gradient_steps
            settings = {"gradient_steps": steps, "ensemble_steps": args.ensemble_steps}
            with tempfile.TemporaryDirectory() as folder:
                found = fit_world.main(fit_world.Args(task=task, seed=seed, out=Path(folder), **settings))
            rows += [{"task": task, "seed": seed, **row} for row in found]
            write(rows, args.out)
    return rows


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"open_loop: {error}")
