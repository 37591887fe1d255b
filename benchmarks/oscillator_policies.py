"""Oscillators under PPO, inside the actor and underneath it, beside a GRU and no memory at all: Swimmer-v5 and
HalfCheetah-v5.

    python -m benchmarks.oscillator_policies --arms gru memoryless --seeds 0 1 2
    python -m benchmarks.oscillator_policies --arms drives "held drives" --steps 128000 --seeds 10 11 12
    python -m benchmarks.oscillator_policies --arms oscillators --tasks HalfCheetah-v5 --steps 128000 --seeds 10 11 12
    python -m benchmarks.oscillator_policies --arms oscillators --tasks Swimmer-v5 --steps 256000 --worlds 64 \
        --seeds 20 21 22
    python -m benchmarks.oscillator_policies --arms "oscillators, bad sensors" --tasks Swimmer-v5 --steps 256000 \
        --worlds 64 --seeds 10 11 12

All see the whole observation. The oscillators start from a stated rhythm (a wave down the joints; `TASKS`), whose
return before any learning is in the table: it is a part of what they reach that was not learned. In "oscillators" all
of it is learned; in "drives" the oscillators stay as they are and a GRU sets their frequency, amplitudes and bends ten
times slower than the torques; "held drives" are the best such numbers that CMA-ES finds in as many steps, which never
change. Also judged: the final policies with sensor noise and 5 steps of delay, of which only those called "bad
sensors" saw any while learning. All of these learn the swimmer in coarse physics, GRU and no memory in Gymnasium's;
all are judged in the latter. Writes `benchmarks/results/oscillator_policies.json` and `.md` after every run; runs
already there are not repeated. 5 to 60 CPU-seconds per run.
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

from agents.drive_level import HeldDrive
from agents.evaluation import evaluate
from agents.evolution import evolve
from agents.generator_drives import GeneratorDrives
from agents.mujoco_batch import ForwardBatch
from agents.oscillator_ppo import OscillatorPPO
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import write_atomically

TASKS: dict[str, dict[str, Any]] = {
    "Swimmer-v5": {
        "shared": {"discount": 0.9999, "gae_lambda": 0.98, "reward_scale": 0.1},
        "rhythm": {"angles": (1, 2), "velocities": (6, 7), "dt": 0.04},
        "oscillators": {
            "sequence_length": 100,
            "mirror": (-1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0),
            "discount": 0.995,
            "gae_lambda": 1.0,
            "reward_scale": 0.02,
            "learning_rate": 2e-3,
        },
    },
    "HalfCheetah-v5": {
        "shared": {"discount": 0.99, "gae_lambda": 0.95, "reward_scale": 0.1},
        "rhythm": {
            "angles": (2, 3, 4, 5, 6, 7),
            "velocities": (11, 12, 13, 14, 15, 16),
            "dt": 0.05,
            "frequency": 2.0,
            "amplitude": 0.5,
            "stiffness": 1.0,
            "damping": 0.05,
        },
        "oscillators": {"sequence_length": 100, "learning_rate": 2e-3, "log_std": -2.0, "senses_log_std": -4.0},
    },
}
SENSORS = {"noise": 0.1, "delay": 5}
DRIVES: dict[str, Any] = {
    "horizon": 20,
    "minibatch": 8,
    "discount": 0.95,
    "gae_lambda": 0.9,
    "reward_scale": 0.02,
    "noise": "state",
    "log_std": -1.5,
}
ARMS: dict[str, dict[str, Any]] = {
    "oscillators": {},
    "oscillators, bad sensors": {},
    "drives": DRIVES,
    "held drives": {},
    "gru": {"horizon": 128, "minibatch": 4},
    "memoryless": {"cell": "frame", "layers": (64,), "horizon": 128, "minibatch": 4},
}
HOLD = 10  # control steps per decision on drives
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


def make(task: str, arm: str, number: int, seed: int) -> RecurrentPPO:
    """An agent that has learned nothing yet."""
    settings = TASKS[task]["shared"]
    if arm.startswith("oscillators"):
        sensors = SENSORS if arm.endswith("bad sensors") else {}
        env = ForwardBatch(task, number, coarse=task == "Swimmer-v5", staggered=True, **sensors)
        return OscillatorPPO(env, seed=seed, **{**settings, **TASKS[task]["rhythm"], **TASKS[task]["oscillators"]})
    if arm == "drives":
        return RecurrentPPO(drives(task, number, coarse=task == "Swimmer-v5", staggered=True), seed=seed, **DRIVES)
    return RecurrentPPO(ForwardBatch(task, number), seed=seed, **{**settings, **ARMS[arm]})


def drives(task: str, number: int, *, length: int | None = None, **settings: Any) -> GeneratorDrives:
    """Worlds acted in by drives of the stated rhythm."""
    env = ForwardBatch(task, number, **settings)
    env.limit = length or env.limit
    return GeneratorDrives(env, hold=HOLD, **TASKS[task]["rhythm"])


def judge(actor: Any, task: str, arm: str, args: Args, **sensors: Any) -> np.ndarray:
    """Returns of unseen episodes."""
    if "drives" in arm:
        return evaluate(actor, drives(task, args.episodes, length=args.length, **sensors), args.episodes, seed=54_321)
    env = ForwardBatch(task, args.episodes, **sensors)
    env.limit = args.length
    return evaluate(actor, env, args.episodes, seed=54_321)


def train(agent: RecurrentPPO, steps: int) -> list[tuple[int, float]]:
    """Learn for so many actions; returns the course of 1,000 times the mean reward of one."""
    course: list[tuple[int, float]] = []
    lately: list[float] = []

    def note(local: dict[str, Any], _: Any) -> bool:
        lately.append(float(local["transition"].reward.mean()))
        if agent.num_timesteps >= (len(course) + 1) * steps / 20:
            course.append((agent.num_timesteps, round(1000 * float(np.mean(lately)), 1)))
            lately.clear()
        return True

    agent.learn(steps, callback=note)
    return course


def hold_drives(task: str, steps: int, seed: int, length: int, population: int = 12) -> HeldDrive:
    """The best drives that never change, by CMA-ES over whole episodes."""
    env = drives(task, population, length=length, coarse=task == "Swimmer-v5", alike=True)
    generation = iter(range(steps))

    def score(candidates: np.ndarray) -> np.ndarray:
        env.reset(seed=1000 * seed + next(generation))
        return np.sum([env.step(candidates)[1] for _ in range(length // HOLD)], 0) / length

    generations = max(1, steps // (population * length))
    start = np.zeros(env.single_action_space.shape or 1)
    return HeldDrive(evolve(score, start, population=population, generations=generations, seed=seed).mean)


def run(task: str, arm: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once and judge before, after, and after with bad sensors."""
    course: list[tuple[int, float]] = []
    if arm == "held drives":
        before = judge(HeldDrive(np.zeros(drives(task, 1).single_action_space.shape or 1)), task, arm, args)
        began = time.process_time()
        actor: Any = hold_drives(task, args.steps, seed, args.length)
    else:
        actor = make(task, arm, args.worlds, seed)
        before = judge(actor, task, arm, args)
        began = time.process_time()
        course = train(actor, args.steps // HOLD if arm == "drives" else args.steps)
    cpu = time.process_time() - began
    after, bad = judge(actor, task, arm, args), judge(actor, task, arm, args, **SENSORS)
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
        "# Oscillators under PPO, inside the actor and underneath it",
        "",
        "Greedy policies over unseen episodes of 1,000 steps: mean of seeds and spread. `start` is before learning;",
        "noise of 0.1 and a delay of 5 steps come with the judging only, except for bad sensors. Held drives are found",
        "by CMA-ES, not by PPO.",
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
