"""What a model learned from the animal's motion foresees, and where plans in it lead.

    python -m benchmarks.salamander_world --seeds 10

Runs `scripts/salamander_world.py` per seed and writes `benchmarks/results/salamander_world.json` and `.md` after every
seed; seeds already there are not repeated. About 3 CPU-minutes per seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import salamander_world


@dataclass
class Args:
    seeds: list[int] = field(default_factory=lambda: [10])
    """Of data, model, places and plans."""
    animals: int = 8
    """Logged in each world."""
    seconds: float = 20.0
    """Logged from each."""
    gradient_steps: int = 1500
    """Of the model."""
    ceiling: int = 0
    """Targets for which the simulator plans too."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "salamander_world.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# A world model of the salamander",
        "",
        f"{len(runs)} seed(s). Open loop over 2 s after 1 s measured, held-out runs under random drives; joints in",
        "units of their deviation (root mean square over the 2 s, and at their end), the rest medians at the end.",
        "",
        "| world | model | joints | at 2 s | position, BL | heading, deg | travelled, BL |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [row for run in runs for row in run["prediction"]]
    for world, model in dict.fromkeys((row["world"], row["model"]) for row in rows):
        some = [row for row in rows if (row["world"], row["model"]) == (world, model)]
        names = ("joints_mean", "joints_at_2s", "position_at_2s_BL", "heading_at_2s_deg", "travelled_BL")
        figures = " | ".join(f"{np.mean([row[name] for row in some]):.3g}" for name in names)
        lines.append(f"| {world} | {model} | {figures} |")
    lines += [
        "",
        "Journeys to targets (within 0.5 BL of the centre of mass): pool and land 3 BL away all around, shore from the",
        "water to 0.8 BL up the beach. `bearing` turns towards the target at a drive that swims, without any model.",
        "",
        "| world | pilot | arrived | median time, s | least distance, BL | body under water at end | CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (row for run in runs for row in run["journeys"]):
        when = "-" if row["median_seconds"] is None else f"{row['median_seconds']:.1f}"
        lines.append(
            f"| {row['world']} | {row['pilot']} | {row['arrived']} of {row['targets']} | {when} "
            f"| {row['least_distance_BL']:.2f} | {row['under_water_at_end']:.2f} | {row['cpu_seconds']:.0f} |"
        )
    if any(run.get("partial") for run in runs):
        lines += ["", "A run was stopped before its last journeys; run the command again to have them."]
    write_atomically(out / "salamander_world.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    path = args.out / "salamander_world.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in args.seeds:
        if any(run["seed"] == seed and not run.get("partial") for run in runs):
            continue
        runs = [run for run in runs if run["seed"] != seed]
        settings = {name: getattr(args, name) for name in ("animals", "seconds", "gradient_steps", "ceiling")}
        with tempfile.TemporaryDirectory() as folder:
            found = salamander_world.main(salamander_world.Args(seed=seed, out=Path(folder), **settings))
        runs.append({"seed": seed, **settings, **found})
        write(runs, args.out)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
