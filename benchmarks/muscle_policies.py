"""PPO through the newt's 48 muscles: swim, walk, cross rough ground, reach the water, steer; each beside its controls.

    python -m benchmarks.muscle_policies --seeds 0 1 2
    python -m benchmarks.muscle_policies --tasks rough steer --cells generator --seeds 0 1 2
    python -m benchmarks.muscle_policies --tasks swim --cells oscillators --no-prices --seeds 0 1 2

Learned by `scripts/train_salamander.py`, mostly in worlds of coarse physics, judged greedily in eight of the published
physics, which start a little differently (`benchmarks.muscle_judges`). Three kinds of policy: "oscillators" begin as a
wave whose frequency, lag and gain are stated, limbs stiff, or as a stated step (`agents.muscle_ppo`); "generator"
begins as the fixed pattern generator of `rnn.cpg` with the recorded animal's profiles and learns feedback
(`agents.spinal_ppo`); a GRU begins at rest. Beside them: the animal at rest, both starts before learning, and the
fixed pattern generator with a rule for its drive that nobody learned (`agents.drive_level`: one drive; hold the course;
walk until afloat, then swim; turn towards the target). Writes `benchmarks/results/muscle_policies.json` and `.md` after
every run; runs already there are not repeated. Half a CPU-minute to two per run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
import yaml

from agents.drive_level import SWIM, WALK, BearingDrive, CourseDrive, HeldDrive, ShoreDrive
from agents.evaluation import Greedy
from agents.muscle_actors import Activations, DrivenMuscles
from agents.muscle_ppo import OSCILLATORS, MusclePPO, muscle_worlds
from agents.runs import write_atomically
from agents.spinal_ppo import GENERATOR, SpinalPPO, muscle_learner
from benchmarks.muscle_judges import TASKS, judge
from scripts import train_salamander

WORLDS = 8  # animals that judge
FIXED = "fixed pattern generator"
RULES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "swim": {FIXED: lambda names: HeldDrive(SWIM)},
    "walk": {FIXED: lambda names: HeldDrive(WALK)},
    "rough": {FIXED: lambda names: HeldDrive(WALK), f"{FIXED}, holding its course": CourseDrive},
    "shore": {FIXED: ShoreDrive},
    "steer": {FIXED: BearingDrive},
}
STEPS = {"swim": 160_000, "walk": 100_000, "rough": 80_000, "shore": 160_000, "steer": 160_000}
CELLS = {
    "swim": [OSCILLATORS, "gru"],
    "walk": [OSCILLATORS, GENERATOR, "gru"],
    "rough": [GENERATOR, "gru"],
    "shore": [GENERATOR, "gru"],
    "steer": [GENERATOR, "gru"],
}
"""Of each task where none are asked for."""
INTRODUCTION = f"""# PPO through 48 muscles

Greedy policies in the published physics: means of {WORLDS} animals and of seeds. `oscillators` begin as a stated wave
with stiff limbs, on land as a stated step, `gru` at rest; `generator` begins as the fixed pattern generator with the
recorded animal's profiles, deaf and at one drive (at the shore, where it hears how deep it is, a drive that rises with
that from 2 to 4), and learns feedback. "Before learning" is what these starts do. In every table: the animal at rest,
and the fixed pattern generator with a rule for its drive, which nobody learned. Cost: positive muscle work per way and
body mass, J/(kg m), which the tasks themselves hardly price. Coarse: the part of the steps in coarse physics."""
HEADS = {
    "gait": "Ahead is along +x; slowest: the least of the animals. The newt swims at 0.71 BL/s with a stride of "
    "0.225 BL and 1.16 waves, and walks at about 0.3 BL/s with a duty factor of 0.76. In band: measures inside the "
    "animal's band, in how many of {animals} animals times seeds; diverged: of so many.",
    "rough": "Stones up to 0.05 BL high; animals start at other places than in learning, among the same stones.",
    "shore": "Arrived: the share that crosses the line 4 BL off the water's edge within 30 s; median time of those.",
    "steer": "Targets found in 20 s, each 3 BL from the last; gained: body lengths by which targets came nearer. Fell: "
    "turned over.",
}


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    """Out of swim, walk, rough, shore, steer."""
    cells: list[str] = field(default_factory=list)
    """ "oscillators", "generator", or of `rnn.models`; none: those of `CELLS`."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """One run each."""
    prices: bool = True
    """Whether swaying, effort and bending are priced as in evolution (see `agents.gait_evolution.PRICES`)."""
    steps: int | None = None
    """Environment steps per run; None for those of `STEPS`."""
    seconds: float | None = None
    """Length of a judged recording; None for that of the task (see `benchmarks.muscle_judges.judge`)."""
    runs: Path = Path("runs/muscle_policies")
    """Where run folders go: checkpoints, traces and gait table of each."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def run(task: str, cell: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once by the script, and judge what it kept."""
    place, steps = TASKS[task], args.steps or STEPS[task]
    folder = args.runs / f"{task}_{cell}{'' if args.prices else '_unpriced'}_{seed}_{steps}"
    free = {} if args.prices else {"steadiness": 0.0, "effort": 0.0, "bending": 0.0}
    settings: dict[str, Any] = {"task": place.task, "world": place.world, "cell": cell, "steps": steps, **free}
    train_salamander.main(train_salamander.Args(**settings, seed=seed, seconds=args.seconds, film=False, out=folder))
    course = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    agent = (SpinalPPO if cell == GENERATOR else MusclePPO).load(folder / "checkpoints")
    return {
        **judge(task, Activations(Greedy(agent)), WORLDS, args.seconds),
        "cpu_seconds": float(course[-1]["cpu_seconds"]),
        "coarse": yaml.safe_load((folder / "config.yaml").read_text())["coarse"],
        "course": [(int(row["steps"]), float(row["reward"])) for row in course],
    }


def start(task: str, cell: str, args: Args) -> dict[str, Any]:
    """A policy as it is before learning."""
    agent = muscle_learner(TASKS[task].task, cell, muscle_worlds(TASKS[task].task, 1))
    return judge(task, Activations(Greedy(agent)), WORLDS, args.seconds)


def rule(task: str, make: Callable[[Any], Any], args: Args) -> dict[str, Any]:
    """The fixed pattern generator with a rule for its drive."""
    names = muscle_worlds(TASKS[task].task, 1).unwrapped.observation_names
    return judge(task, DrivenMuscles(make(names)), WORLDS, args.seconds)


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "muscle_policies.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [INTRODUCTION]
    for task in (name for name in TASKS if any(run["task"] == name for run in runs)):
        mine = [run for run in runs if run["task"] == task]
        goal = task in ("shore", "steer")
        about = HEADS[task] if goal else f"{HEADS.get(task, '')} {HEADS['gait'].format(animals=WORLDS)}".strip()
        lines += ["", f"## {task}", "", about, "", *(_goal_table if goal else _gait_table)(task, mine)]
    write_atomically(out / "muscle_policies.md", ("\n".join(lines) + "\n").encode())


def _groups(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of one policy and length together: controls, then the shortest first."""
    keys = sorted({(run["steps"], run["policy"]) for run in runs})
    return [[run for run in runs if (run["steps"], run["policy"]) == key] for key in keys]


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def _about(rows: list[dict[str, Any]]) -> list[str]:
    """Policy, steps, the part of them in coarse physics, and seeds."""
    learned = rows[0]["steps"] > 0
    seeds = ", ".join(str(row["seed"]) for row in rows) if learned else ""
    coarse = ", ".join(f"{part:g}" for part in sorted({row["coarse"] for row in rows})) if learned else ""
    return [rows[0]["policy"], f"{rows[0]['steps']:,}" if learned else "", coarse, seeds]


def _mean(rows: list[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{np.mean(values):.3g}" if values else ""


def _each(rows: list[dict[str, Any]], name: str) -> str:
    return ", ".join("-" if row[name] is None else f"{row[name]:.3g}" for row in rows) if len(rows) > 1 else ""


def _gait_table(task: str, runs: list[dict[str, Any]]) -> list[str]:
    form = "waves" if task == "swim" else "duty"
    heads = ["policy", "steps", "coarse", "seeds", "ahead, BL/s", "each", "slowest", "Hz", "stride", form]
    heads += [*([] if task == "swim" else ["slip"]), "cost", "in band", "diverged", "CPU-s"]
    table = []
    for rows in _groups(runs):
        rest, animals = rows[0]["policy"] == "idle", WORLDS * len(rows)
        bands = {name: sum(row["bands"][name] for row in rows) for name in rows[0]["bands"]}
        slowest = [row["slowest"] for row in rows if row.get("slowest") is not None]
        cells = [*_about(rows), _mean(rows, "ahead"), _each(rows, "ahead"), f"{min(slowest):.3g}" if slowest else ""]
        cells += ["" if rest else _mean(rows, name) for name in ("frequency", "stride", form)]
        cells += [] if task == "swim" else ["" if rest else _mean(rows, "slip")]
        cells += ["" if rest else _mean(rows, "cost")]
        cells += ["" if rest else ", ".join(f"{name} {count}/{animals}" for name, count in bands.items())]
        table.append([*cells, str(sum(row["diverged"] for row in rows)), _mean(rows, "cpu_seconds")])
    return _table(heads, table)


def _goal_table(task: str, runs: list[dict[str, Any]]) -> list[str]:
    names = ["targets", "gained"] if task == "steer" else ["arrived", "seconds"]
    heads = ["policy", "steps", "coarse", "seeds", names[0], "each", names[1], "each", "fell", "diverged", "CPU-s"]
    table = []
    for rows in _groups(runs):
        cells = [cell for name in names for cell in (_mean(rows, name), _each(rows, name))]
        lost = [str(sum(row[name] for row in rows)) for name in ("fell", "diverged")]
        table.append([*_about(rows), *cells, *lost, _mean(rows, "cpu_seconds")])
    return _table(heads, table)


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(TASKS):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    torch.set_num_threads(1)
    path = args.out / "muscle_policies.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []

    def add(task: str, policy: str, seed: int, steps: int, make: Callable[[], dict[str, Any]]) -> None:
        about = {"task": task, "policy": policy, "seed": seed, "steps": steps}
        if not any({**row, **about} == row for row in runs):
            runs.append({**about, **make()})
            write(runs, args.out)
            print({k: v for k, v in runs[-1].items() if k != "course"}, flush=True)

    for task in args.tasks:
        rules = {"idle": lambda names: HeldDrive((-1.0, 0.0, 1.0)), **RULES[task]}
        for name, make in rules.items():
            add(task, name, 0, 0, lambda task=task, make=make: rule(task, make, args))
        for cell in {OSCILLATORS, GENERATOR} & set(args.cells or CELLS[task]):
            add(task, f"{cell} before learning", 0, 0, lambda task=task, cell=cell: start(task, cell, args))
    for seed in args.seeds:
        for task in args.tasks:
            for cell in args.cells or CELLS[task]:
                name = cell if args.prices else f"{cell}, nothing priced"
                add(task, name, seed, args.steps or STEPS[task], lambda t=task, c=cell, s=seed: run(t, c, s, args))
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"muscle_policies: {error}")
