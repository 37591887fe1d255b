"""Oscillators inside the actor under PPO, beside a GRU and no memory at all: Swimmer-v5 and HalfCheetah-v5.

    python -m benchmarks.oscillator_policies --seeds 0 1 2

All see the whole observation and take the same number of steps. The oscillators start from a stated rhythm (a wave
down the joints; `TASKS`), whose return before any learning is in the table: it is a part of what they reach that was
not learned. Also judged: the final policies with sensor noise and 5 steps of delay, of which none saw any while
learning. Writes `benchmarks/results/oscillator_policies.json` and `.md` after every run; runs already there are not
repeated. 20 to 60 CPU-seconds per run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import sys
import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from agents.evaluation import evaluate
from agents.mujoco_batch import ForwardBatch
from agents.oscillator_ppo import OscillatorPPO
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import write_atomically

TASKS: dict[str, dict[str, Any]] = {
    "Swimmer-v5": {
        "shared": {"discount": 0.9999, "gae_lambda": 0.98, "reward_scale": 0.1},
        "oscillators": {"angles": (1, 2), "velocities": (6, 7), "dt": 0.04},
    },
    "HalfCheetah-v5": {
        "shared": {"discount": 0.99, "gae_lambda": 0.95, "reward_scale": 0.1},
        "oscillators": {
            "angles": (2, 3, 4, 5, 6, 7),
            "velocities": (11, 12, 13, 14, 15, 16),
            "dt": 0.05,
            "frequency": 2.0,
            "amplitude": 0.5,
            "stiffness": 1.0,
            "damping": 0.05,
        },
    },
}
ARMS: dict[str, dict[str, Any]] = {
    "oscillators": {},
    "gru": {"horizon": 128, "minibatch": 4},
    "memoryless": {"cell": "frame", "layers": (64,), "horizon": 128, "minibatch": 4},
}
COLUMNS = ("start", "final", "noise_and_delay", "cpu_seconds")


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    """Environments."""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """Policies."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """One run each."""
    steps: int = 64_000
    """Environment steps per run."""
    worlds: int = 32
    """Side by side."""
    episodes: int = 10
    """Unseen episodes on which a policy is judged, acting greedily."""
    length: int = 1000
    """Steps of those."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def make(task: str, arm: str, worlds: int, seed: int) -> RecurrentPPO:
    """An agent that has learned nothing yet."""
    env, settings = ForwardBatch(task, worlds), TASKS[task]["shared"]
    if arm == "oscillators":
        return OscillatorPPO(env, seed=seed, **{**settings, **TASKS[task]["oscillators"]})
    return RecurrentPPO(env, seed=seed, **{**settings, **ARMS[arm]})


def judge(agent: RecurrentPPO, task: str, args: Args, **sensors: Any) -> np.ndarray:
    """Returns of unseen episodes."""
    env = ForwardBatch(task, args.episodes, **sensors)
    env.limit = args.length
    return evaluate(agent, env, args.episodes, seed=54_321)


def run(task: str, arm: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once and judge before, after, and after with bad sensors."""
    agent = make(task, arm, args.worlds, seed)
    before = judge(agent, task, args)
    course: list[tuple[int, float]] = []
    lately: list[float] = []

    def note(local: dict[str, Any], _: Any) -> bool:
        lately.append(float(local["transition"].reward.mean()))
        if agent.num_timesteps >= (len(course) + 1) * args.steps / 20:
            course.append((agent.num_timesteps, round(1000 * float(np.mean(lately)), 1)))
            lately.clear()
        return True

    began = time.process_time()
    agent.learn(args.steps, callback=note)
    cpu = time.process_time() - began
    after = judge(agent, task, args)
    bad = judge(agent, task, args, noise=0.1, delay=5)
    return {
        "task": task,
        "arm": arm,
        "seed": seed,
        "steps": args.steps,
        "start": round(float(before.mean()), 1),
        "final": round(float(after.mean()), 1),
        "std": round(float(after.std()), 1),
        "noise_and_delay": round(float(bad.mean()), 1),
        "cpu_seconds": round(cpu, 1),
        "course": course,
    }


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "oscillator_policies.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# Oscillators inside the actor, under PPO",
        "",
        "Greedy policies over unseen episodes of 1,000 steps: mean of seeds and spread. `start` is before learning;",
        "noise of 0.1 and a delay of 5 steps come with the judging only.",
        "",
        "| task | policy | steps | seeds | start | final | each | with noise and delay | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((r["task"], r["arm"], r["steps"]) for r in runs):
        rows = [r for r in runs if (r["task"], r["arm"], r["steps"]) == key]
        start, final, bad, cpu = (np.array([r[k] for r in rows]) for k in COLUMNS)
        each = ", ".join(f"{value:.0f}" for value in final)
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]:,} | {len(rows)} | {start.mean():.0f} | {final.mean():.0f} +- "
            f"{final.std():.0f} | {each} | {bad.mean():.0f} +- {bad.std():.0f} | {cpu.mean():.0f} |"
        )
    write_atomically(out / "oscillator_policies.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.tasks) - set(TASKS):
        raise ValueError(f"unknown tasks {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    if unknown := set(args.arms) - set(ARMS):
        raise ValueError(f"unknown arms {', '.join(sorted(unknown))}; there are {', '.join(ARMS)}")
    torch.set_num_threads(1)
    path = args.out / "oscillator_policies.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed, task, arm in product(args.seeds, args.tasks, args.arms):
        about = {"task": task, "arm": arm, "seed": seed, "steps": args.steps}
        if any({**row, **about} == row for row in runs):
            continue
        runs.append(run(task, arm, seed, args))
        write(runs, args.out)
        print({k: v for k, v in runs[-1].items() if k != "course"}, flush=True)
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"oscillator_policies: {error}")
