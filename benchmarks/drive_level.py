"""PPO on the drives of a fixed pattern generator: steering to targets, and from the beach out to sea.

    python -m benchmarks.drive_level --seeds 0 1 2

The policy sees what the animal senses and sets three drives every quarter of a second; the pattern generator and the
muscles do the rest. Beside it: the animal at rest, and rules that nobody trained (swim at a drive of 4 and turn in
proportion to the bearing; walk until afloat, then swim). Writes `benchmarks/results/drive_level.json` and `.md` after
every run; runs already there are not repeated. Two CPU-minutes per run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from agents.drive_level import SETTINGS, SWIM, WALK, BearingDrive, HeldDrive, ShoreDrive, drive_worlds
from agents.evaluation import Greedy
from agents.recurrent_ppo import RecurrentPPO
from agents.rollout import rollout
from agents.runs import write_atomically

RULES: dict[str, dict[str, Any]] = {
    "steer": {"idle": lambda names: HeldDrive((-1.0, 0.0, 1.0)), "bearing rule": BearingDrive},
    "shore": {
        "idle": lambda names: HeldDrive((-1.0, 0.0, 1.0)),
        "swimming drive throughout": lambda names: HeldDrive(SWIM),
        "walking drive throughout": lambda names: HeldDrive(WALK),
        "walk, then swim": ShoreDrive,
    },
}


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: ["steer", "shore"])
    """Of the salamander."""
    cells: list[str] = field(default_factory=lambda: ["gru"])
    """Of `rnn.models`; "frame" remembers nothing."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """One run each."""
    steps: int = 16_000
    """Decisions per run; each lasts 25 control steps."""
    episodes: int = 16
    """Unseen episodes on which a policy is judged, acting greedily."""
    length: int | None = None
    """Control steps of an episode; None for the task's own."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def judge(task: str, actor: Any, args: Args) -> dict[str, float | None]:
    """One whole episode in every world: return, targets reached, share that arrived at the line, and when."""
    worlds = drive_worlds(task, args.episodes, steps=args.length)
    player = actor if hasattr(actor, "act") and not hasattr(actor, "choose") else Greedy(actor)
    total, reached, seconds = np.zeros(args.episodes), np.zeros(args.episodes), np.full(args.episodes, np.inf)
    over = np.zeros(args.episodes, dtype=bool)
    for step in rollout(worlds, player, 10_000, seed=98_765):
        total += np.where(over, 0.0, step.reward)
        reached += np.where(over, 0.0, step.info["reached"])
        ended = (step.terminated | step.truncated) & ~over
        final = {row: step.next_obs[row] for row in np.flatnonzero(ended & step.terminated)}
        for row, obs in final.items():
            if task == "shore" and obs[worlds.observation_names.index("goal.distance")] <= 0.0:
                seconds[row] = (step.step + 1) * worlds.hold * worlds.unwrapped.dt
        over |= ended
        if over.all():
            break
    arrived = np.isfinite(seconds)
    return {
        "return": round(float(total.mean()), 2),
        "std": round(float(total.std()), 2),
        "targets": round(float(reached.mean()), 2),
        "found_one": round(float((reached > 0).mean()), 3),
        "arrived": round(float(arrived.mean()), 3),
        "seconds": round(float(np.median(seconds[arrived])), 2) if arrived.any() else None,
    }


def run(task: str, cell: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once and judge."""
    agent = RecurrentPPO(drive_worlds(task, 16, steps=args.length), seed=seed, cell=cell, **SETTINGS[task])
    course: list[tuple[int, float]] = []
    lately: list[float] = []

    def note(local: dict[str, Any], _: Any) -> bool:
        lately.append(float(local["transition"].reward.mean()))
        if agent.num_timesteps >= (len(course) + 1) * args.steps / 20:
            course.append((agent.num_timesteps, round(float(np.mean(lately)), 4)))
            lately.clear()
        return True

    began = time.process_time()
    agent.learn(args.steps, callback=note)
    cpu = time.process_time() - began
    about = {"task": task, "policy": cell, "seed": seed, "steps": args.steps}
    return {**about, **judge(task, agent, args), "cpu_seconds": round(cpu, 1), "course": course}


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "drive_level.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# PPO on the drives of a fixed pattern generator",
        "",
        "Greedy policies over unseen episodes, mean of seeds (range). Steering: reward is body lengths by which the",
        "target came nearer and 1 per target, 20 s, targets 3 body lengths apart. Shore: the task's own reward, at",
        "most 30 s; arrived is the share that crossed the line 4 body lengths out.",
        "",
        "| task | policy | decisions | seeds | return | targets | found one | arrived | median s | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted({(r["task"], r["policy"], r["steps"]) for r in runs}, key=lambda k: (k[0], k[2], k[1])):
        rows = [r for r in runs if (r["task"], r["policy"], r["steps"]) == key]

        def span(name: str, rows: list[dict[str, Any]] = rows) -> str:
            values = np.array([np.nan if r[name] is None else r[name] for r in rows], dtype=float)
            one = len(rows) == 1 or np.isnan(values).any()
            if np.isnan(values).all():
                return "-"
            return (
                f"{np.nanmean(values):.4g}"
                if one
                else f"{values.mean():.4g} ({values.min():.4g} to {values.max():.4g})"
            )

        steer, learned = key[0] == "steer", key[2] > 0
        cells = [
            *key[:2],
            f"{key[2]:,}" if learned else "",
            str(len(rows)) if learned else "",
            span("return"),
            span("targets") if steer else "",
            span("found_one") if steer else "",
            "" if steer else span("arrived"),
            "" if steer else span("seconds"),
            span("cpu_seconds") if learned else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    write_atomically(out / "drive_level.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(RULES):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(RULES)}")
    torch.set_num_threads(1)
    path = args.out / "drive_level.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []

    def add(task: str, policy: str, seed: int, steps: int, make: Any) -> None:
        about = {"task": task, "policy": policy, "seed": seed, "steps": steps}
        if not any({**row, **about} == row for row in runs):
            runs.append({**about, **make()})
            write(runs, args.out)
            print({k: v for k, v in runs[-1].items() if k != "course"}, flush=True)

    for task in args.tasks:
        names = drive_worlds(task, 1).observation_names
        for policy, rule in RULES[task].items():
            add(task, policy, 0, 0, lambda task=task, rule=rule, names=names: judge(task, rule(names), args))
    for seed in args.seeds:
        for task in args.tasks:
            for cell in args.cells:
                make = lambda task=task, cell=cell, seed=seed: run(task, cell, seed, args)
                add(task, cell, seed, args.steps, make)
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"drive_level: {error}")
