"""What a model learned from the animal's motion foresees, and where plans in it lead.

    python -m benchmarks.salamander_world --seeds 70 71 72 --ceilings 70 71 --rules 2
    python -m benchmarks.salamander_world --seeds 73 --ceilings 73 \\
        --model runs/salamander_world/seed_70/checkpoints/model.safetensors     # other places, the same model

Runs `scripts/salamander_world.py` per seed and writes `benchmarks/results/salamander_world.json` and `.md` after every
journey; seeds that are complete are not repeated, but given a ceiling where they lack one. 4 CPU-minutes per seed, and
2 for a ceiling.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import salamander_world


@dataclass
class Args:
    seeds: list[int] = field(default_factory=lambda: [30, 31, 32])
    """Of data, model, places and plans."""
    ceilings: list[int] = field(default_factory=list)
    """Seeds for which the simulator plans too, to one target in each world."""
    rules: int = 3
    """Rules without a model per world, the best suited first."""
    animals: int = 12
    """Logged in each world."""
    seconds: float = 20.0
    """Logged from each."""
    model: Path | None = None
    """Checkpoint of a model that was learned before; the seeds are then of places and plans only."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""
    runs: Path = Path("runs/salamander_world")
    """Where models and the ways travelled go."""


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "salamander_world.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    seeds = sum(bool(run["prediction"]) for run in runs)
    lines = [
        "# A world model of the salamander",
        "",
        f"{seeds} seed(s). Open loop over 2 s after 1 s measured, held-out runs under random drives; joints in",
        "units of their deviation (root mean square over the 2 s, and at their end), the rest medians at the end. With",
        "the efference copy the model hears what the animal's own pattern generator, run beside it under the same",
        "drives, asks of the joints; without it, it infers the phase of the gait. Plans use the former.",
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
        "water to 0.8 BL up the beach; ended after 20 s in the pool, 40 s elsewhere. `model` plans in the model,",
        "`simulator` in copies of the very world (first targets only, 12 candidates and 15 proposals, 2 iterations,",
        "where the model has 64, 15 and 3; both 4 s ahead, anew every second). `swimming`, `walking` and `striding`",
        "turn towards the target at a drive of 4.0, 2.0 and 2.3, `switching` swims in deep water and walks elsewhere;",
        "these have no model. Time and distance are medians over journeys, those that failed being the longest.",
        "",
        "| world | pilot | arrived | time, s | least distance, BL | body under water at end | CPU-s per journey |",
        "|---|---|---|---|---|---|---|",
    ]
    journeys = [row for run in runs for row in run["journeys"]]
    for world in dict.fromkeys(row["world"] for row in journeys):
        for pilot in dict.fromkeys(row["pilot"] for row in journeys if row["world"] == world):
            some = [row for row in journeys if (row["world"], row["pilot"]) == (world, pilot)]
            targets, arrived = (sum(row[name] for row in some) for name in ("targets", "arrived"))
            middle = np.median([np.inf if s is None else s for row in some for s in row["seconds"]])
            least = np.mean([row["least_distance_BL"] for row in some])
            wet, cpu = (np.mean([row[name] for row in some]) for name in ("under_water_at_end", "cpu_seconds"))
            lines.append(
                f"| {world} | {pilot} | {arrived} of {targets} | {f'{middle:.1f}' if np.isfinite(middle) else '-'} "
                f"| {least:.2f} | {wet:.2f} | {cpu * len(some) / targets:.0f} |"
            )
    for run in runs:
        if "model" in run:
            taught = run["model"].replace("_", " ")
            lines += ["", f"Places and plans of seed {run['seed']} under the model of {taught}."]
    pairs = same_targets(journeys)
    if pairs:
        lines += ["", "Seconds to the same targets, by the model's plans and by the simulator's: " + pairs + "."]
    if any(run.get("partial") for run in runs):
        lines += ["", "A run was stopped before its last journeys; run the command again to have them."]
    write_atomically(out / "salamander_world.md", ("\n".join(lines) + "\n").encode())


def same_targets(journeys: list[dict[str, Any]]) -> str:
    """What both planners needed for the targets that both were given."""
    pairs = []
    for ceiling in (row for row in journeys if row["pilot"] == "simulator"):
        ours = [row for row in journeys if row["pilot"] == "model" and row["world"] == ceiling["world"]]
        ours = [row for row in ours if row["seed"] == ceiling["seed"]]
        if not ours:
            continue
        for mine, theirs in zip(ours[0]["seconds"], ceiling["seconds"], strict=False):
            pairs.append(f"{ceiling['world']} {mine or '-'} and {theirs or '-'}")
    return ", ".join(pairs)


def keep(
    found: dict[str, Any], *, before: dict[str, Any], others: list[dict[str, Any]], out: Path, unfinished: bool = False
) -> None:
    """Write what one seed has found so far beside what it had found before, and beside the other seeds."""
    journeys = [{**row, "seed": before["seed"]} for row in found["journeys"]]
    run = {**found, **before, "journeys": [*before.get("journeys", []), *journeys]}
    write([*others, {**run, **({"partial": True} if unfinished else {})}], out)


def main(args: Args) -> list[dict[str, Any]]:
    path = args.out / "salamander_world.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in args.seeds:
        others = [run for run in runs if run["seed"] != seed]
        done = next((run for run in runs if run["seed"] == seed and not run.get("partial")), None)
        settings = {"animals": args.animals, "seconds": args.seconds, "ceiling": int(seed in args.ceilings)}
        model, folder = args.model, args.runs / f"seed_{seed}"
        if done is None:
            settings["rules"] = args.rules
            before = {"seed": seed, **settings, **({"model": model.parts[-3]} if model else {})}
        elif settings["ceiling"] and not any(row["pilot"] == "simulator" for row in done["journeys"]):
            settings |= {"rules": 0, "plans": False}
            before = {**done, "ceiling": 1}
            model, folder = model or folder / "checkpoints" / "model.safetensors", folder / "ceiling"
        else:
            continue
        report = partial(keep, before=before, others=others, out=args.out)
        asked = salamander_world.Args(seed=seed, out=folder, model=model, **settings)
        report(salamander_world.main(asked, partial(report, unfinished=done is None)))
        runs = json.loads(path.read_text())["runs"]
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
