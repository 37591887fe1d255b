"""PPO through the newt's 48 muscles: oscillators inside the actor, and a plain recurrent cell, from the same posture.

    python -m benchmarks.muscle_policies --seeds 0 1 2
    python -m benchmarks.muscle_policies --tasks walk --cells oscillators --seeds 0 1 2
    python -m benchmarks.muscle_policies --cells oscillators --no-prices --seeds 0 1 2

Learned in worlds of coarse physics (Euler steps of 5 ms) by `scripts/train_salamander.py`, judged greedily in eight of
the published physics, which start a little differently, for eight seconds. Beside it: the animal at rest, what the
oscillators do before they have learned anything (a wave whose frequency, lag and gain are stated, limbs stiff: see
`agents.muscle_ppo`), and the fixed pattern generator of `rnn.cpg` with the recorded animal's profiles at one drive.
Writes `benchmarks/results/muscle_policies.json` and `.md` after every run; runs already there are not repeated. One to
two CPU-minutes per run.
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

import gymnasium
import numpy as np
import torch
import tyro

from agents.drive_level import SWIM, WALK, HeldDrive
from agents.evaluation import Greedy
from agents.experiment import live
from agents.muscle_actors import Activations, DrivenMuscles
from agents.muscle_ppo import OSCILLATORS, MusclePPO, muscle_settings, muscle_worlds
from agents.runs import write_atomically
from scripts import train_salamander
from sim.gait import gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory

WORLDS, SETTLING = 8, 2.0  # animals that judge, s left out of every recording
RULES = {
    "idle": {"swim": HeldDrive((-1.0, 0.0, 1.0)), "walk": HeldDrive((-1.0, 0.0, 1.0))},
    "fixed pattern generator": {"swim": HeldDrive(SWIM), "walk": HeldDrive(WALK)},
}
START = "oscillators before learning"


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: ["swim"])
    """ "swim" or "walk"."""
    cells: list[str] = field(default_factory=lambda: [OSCILLATORS, "gru"])
    """ "oscillators", or of `rnn.models`."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """One run each."""
    prices: bool = True
    """Whether swaying, effort and bending are priced as in evolution (see `agents.gait_evolution.PRICES`)."""
    steps: int = train_salamander.STEPS["muscle"]
    """Environment steps per run."""
    seconds: float = 8.0
    """Length of a judged recording."""
    runs: Path = Path("runs/muscle_policies")
    """Where run folders go: checkpoints, traces and gait table of each."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def judge(task: str, actor: Any, seconds: float) -> dict[str, Any]:
    """How eight animals move, in the published physics."""
    env = gymnasium.make_vec(
        f"sim:salamander/{task.capitalize()}-v0",
        num_envs=WORLDS,
        max_episode_steps=None,
        terminate=False,
        reset_noise=0.05,  # rad
        threads=1,
    )
    recorder = live(env, actor, seconds, seed=98_765, neurons=False, progress=None)
    settled = min(SETTLING, seconds / 4)
    ahead, inside, found = [], [], []
    for world in range(WORLDS):
        trajectory = Trajectory.from_arrays(recorder.traces(world)).between(start=settled)
        way = trajectory.centre()[[0, -1], 0]
        ahead.append((way[1] - way[0]) / trajectory.duration / env.unwrapped.salamander.length)
        found.append(gait_metrics(trajectory))
        judged = [line for line in check(found[-1], task) if line.judged]
        inside.append([line.passed for line in judged])
    mean = lambda values: None if np.isnan(values).all() else round(float(np.nanmean(values)), 4)
    return {
        "ahead": mean(ahead),
        "speed": mean([m.speed for m in found]),
        "frequency": mean([m.frequency for m in found]),
        "stride": mean([m.stride for m in found]),
        "waves": mean([m.waves for m in found]),
        "tail": mean([m.displacement[-1] for m in found]),
        "duty": mean([m.duty_mean for m in found]),
        "cost": mean([m.cost_of_transport for m in found]),  # J/(kg m), positive muscle work
        "bands": {line.label: int(n) for line, n in zip(judged, np.sum(inside, 0), strict=True)},
        "diverged": int(recorder.diverged.sum()),
    }


def run(task: str, cell: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once by the script, and judge what it kept."""
    folder = args.runs / f"{task}_{cell}{'' if args.prices else '_unpriced'}_{seed}_{args.steps}"
    free = {} if args.prices else {"steadiness": 0.0, "effort": 0.0, "bending": 0.0}
    settings = train_salamander.Args(
        task=task, cell=cell, steps=args.steps, seed=seed, seconds=args.seconds, film=False, out=folder, **free
    )
    train_salamander.main(settings)
    course = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    agent = MusclePPO.load(folder / "checkpoints")
    return {
        **judge(task, Activations(Greedy(agent)), args.seconds),
        "cpu_seconds": float(course[-1]["cpu_seconds"]),
        "course": [(int(row["steps"]), float(row["reward"])) for row in course],
    }


def start(task: str, args: Args) -> dict[str, Any]:
    """The oscillators as they are before learning."""
    env = muscle_worlds(task, 1)
    agent = MusclePPO(env, **muscle_settings(task, OSCILLATORS, env.unwrapped.observation_names))
    return judge(task, Activations(Greedy(agent)), args.seconds)


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "muscle_policies.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# PPO through 48 muscles",
        "",
        f"Greedy policies in the published physics: means of {WORLDS} animals and of seeds; ahead is along +x. The",
        "newt swims at 0.71 BL/s with a stride of 0.225 BL and 1.16 waves, and walks at about 0.3 BL/s with a duty",
        f"factor of 0.76. In band: measures inside the animal's band, in how many of {WORLDS} animals times seeds.",
        "Cost: positive muscle work per way and body mass, J/(kg m), which the tasks themselves hardly price.",
        "",
        "| task | policy | steps | seeds | ahead, BL/s | each | Hz | stride | waves | duty | cost | in band | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted({(r["task"], r["steps"], r["policy"]) for r in runs}):
        rows = [r for r in runs if (r["task"], r["steps"], r["policy"]) == key]

        def mean(name: str, rows: list[dict[str, Any]] = rows) -> str:
            values = [r[name] for r in rows if r.get(name) is not None]
            return f"{np.mean(values):.3g}" if values else ""

        learned, swims = key[1] > 0, key[0] == "swim"
        bands = ", ".join(
            f"{name} {sum(r['bands'][name] for r in rows)}/{WORLDS * len(rows)}" for name in rows[0]["bands"]
        )
        cells = [
            key[0],
            key[2],
            f"{key[1]:,}" if learned else "",
            str(len(rows)) if learned else "",
            mean("ahead"),
            ", ".join(f"{r['ahead']:.3g}" for r in rows) if learned else "",
            mean("frequency"),
            mean("stride"),
            mean("waves") if swims else "",
            "" if swims else mean("duty"),
            "" if key[2] == "idle" else mean("cost"),
            "" if key[2] == "idle" else bands,
            mean("cpu_seconds") if learned else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    write_atomically(out / "muscle_policies.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - {"swim", "walk"}:
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are swim and walk")
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
        for name, rule in RULES.items():
            add(task, name, 0, 0, lambda task=task, rule=rule: judge(task, DrivenMuscles(rule[task]), args.seconds))
        add(task, START, 0, 0, lambda task=task: start(task, args))
    for seed in args.seeds:
        for task in args.tasks:
            for cell in args.cells:
                name = cell if args.prices else f"{cell}, nothing priced"
                add(task, name, seed, args.steps, lambda t=task, c=cell, s=seed: run(t, c, s, args))
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"muscle_policies: {error}")
