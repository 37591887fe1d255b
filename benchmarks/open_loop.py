"""How many natural periods ahead learned models predict a forced oscillator and a pendulum, open loop.

    python -m benchmarks.open_loop --seeds 60 61 62 63 64
    python -m benchmarks.open_loop --tasks pendulum --seeds 45 46 --gradient-steps 0 --latent-steps 0

Runs `scripts/fit_world.py` per task and seed and writes `benchmarks/results/open_loop.json` and `.md` after every run;
runs already there are not repeated. One to two minutes of CPU per task and seed.
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
from rnn.open_loop import STEPS
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
    ensemble_steps: int = 3000
    """Of the ensemble; 0 leaves it out."""
    latent_steps: int = 800
    """Of the latent state-space model; 0 leaves it out."""
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
        f"{GRADIENT_STEPS['pendulum']:,} gradient steps (pendulum) or {GRADIENT_STEPS['forced']} (oscillator).",
        "`latent`: a recurrent core with 8 groups of 8 categorical latents, the mean of 20 courses. `ensemble`: the",
        "mean of its members. `fast weights`: recursive least squares in a cell, as it watches. `polynomial`: of the",
        "last reading, of degree 5;",
        "`in order`: of degree 7, with the new value of each reading in the place of its old one for those after it.",
        "`simulator`: the equations from the last reading, exact but for its single precision (pendulum), or without",
        "the hidden rhythms and at the mean of what is drawn (oscillator).",
        "",
        "| task | model | seeds | horizon, periods | range | tenth | through | CPU-s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups = list(dict.fromkeys((row["task"], row["model"]) for row in rows))
    means = {key: columns([row for row in rows if (row["task"], row["model"]) == key]) for key in groups}
    for (task, model), column in means.items():
        ahead = column["horizon_periods"]
        lines.append(
            f"| {task} | {model} | {len(ahead)} | {ahead.mean():.2f} | {ahead.min():.2f} to {ahead.max():.2f} "
            f"| {column['tenth'].mean():.2f} | {column['episodes_through'].mean():.2f} "
            f"| {column['cpu_seconds'].mean():.0f} |"
        )
    lines += [
        "",
        "Root-mean-square error in deviations of each reading after so many steps (20 a period of the oscillator, 32.4",
        "of the pendulum); over the whole open loop the relative error of the first reading's dominant frequency and",
        "the drift of its amplitude (last quarter, against the truth's, less 1). Inside: share of readings within the",
        "central 90 % of 20 courses, where a model gives a density. Cost: steps per CPU-second in a batch of 512.",
        "",
        f"| task | model | {' | '.join(map(str, STEPS))} | frequency | amplitude | inside: 1, 10, 50, 100 | cost |",
        "|" + "---|" * (len(STEPS) + 6),
    ]
    for (task, model), column in means.items():
        errors = " | ".join(f"{column[f'rmse_{k}'].mean():.2g}" for k in STEPS)
        inside = [column[f"inside_90_{k}"].mean() for k in fit_world.COVERED]
        cost, drifts = column["steps_per_cpu_second"].mean(), column["amplitude_drift"]
        drift = np.mean(drifts[np.isfinite(drifts)]) if np.isfinite(drifts).any() else np.nan
        lines.append(
            f"| {task} | {model} | {errors} | {column['frequency_error'].mean():.3f} "
            f"| {f'{drift:+.2f}' if np.isfinite(drift) else 'diverges'} "
            f"| {'' if np.isnan(inside[0]) else ', '.join(f'{share:.2f}' for share in inside)} "
            f"| {'' if np.isnan(cost) else f'{cost:,.0f}'} |"
        )
    write_atomically(out / "open_loop.md", ("\n".join(lines) + "\n").encode())


def columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Figures of several seeds by name; what a model does not give is NaN."""
    names = [name for name in rows[0] if name not in ("task", "model")]
    return {name: np.array([row[name] if row[name] != "" else np.nan for row in rows], float) for name in names}


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
            settings = {
                "gradient_steps": steps,
                "ensemble_steps": args.ensemble_steps,
                "latent_steps": args.latent_steps,
            }
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
