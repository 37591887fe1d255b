"""A policy that finds out, within its life and without new weights, that its motor is turned round.

    python -m benchmarks.meta_learning --seeds 20 21 22 23 24

A mass on a spring (`oscillator/Damped-v0`, 3 s an episode, three episodes a life) is to be brought to rest by a motor
that in half of the lives pushes the other way. All policies read position, velocity, their last action, their last
reward and the ends of episodes: recurrent PPO, the same learner without memory, and one without memory that is told the
gain, the ceiling. The controls, which have nothing to find out, train for a quarter of the steps. Judged greedily on
256 fresh lives. Writes `benchmarks/results/meta_learning.json` and `.md` after every run (runs already there are not
repeated) and the adaptation curves to `runs/meta_learning.png`. 10 to 70 CPU-seconds per run.
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

import gymnasium
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro

from agents.evaluation import Greedy
from agents.meta import Lives
from agents.recurrent_ppo import RecurrentPPO
from agents.rollout import rollout
from agents.runs import write_atomically

GAINS = [[-1.0], [1.0]]
STEPS, EPISODES = 60, 3  # of 0.05 s in an episode; episodes in a life
WAYS: dict[str, dict[str, Any]] = {
    "recurrent": {"cell": "gru"},
    "memoryless": {"cell": "frame"},
    "memoryless, told": {"cell": "frame"},
}


@dataclass
class Args:
    ways: list[str] = field(default_factory=lambda: list(WAYS))
    """Rows of the table."""
    seeds: list[int] = field(default_factory=lambda: [20, 21, 22, 23, 24])
    """One run each."""
    worlds: int = 64
    """Side by side."""
    steps: int = 640_000
    """Control steps of training of the recurrent policy."""
    control_steps: int = 160_000
    """And of the others."""
    lives: int = 256
    """Fresh lives at the end."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""
    figure: Path = Path("runs/meta_learning.png")
    """Where the curves go."""


def make(worlds: int, way: str) -> Lives:
    env = gymnasium.make_vec("sim:oscillator/Damped-v0", num_envs=worlds, max_episode_steps=STEPS)
    return Lives(env, GAINS, episodes=EPISODES, tell=way == "memoryless, told")


def steps_of(way: str, args: Args) -> int:
    return args.steps if way == "recurrent" else args.control_steps


def run(way: str, seed: int, args: Args) -> dict[str, Any]:
    """Train once; mean reward of every step of a life, over fresh lives."""
    settings = {"horizon": STEPS, "minibatch": max(1, args.worlds // 4), "discount": 0.97, "epochs": 8}
    began = time.process_time()
    agent = RecurrentPPO(make(args.worlds, way), seed=seed, reward_scale=0.2, **settings, **WAYS[way])
    agent.learn(steps_of(way, args))
    cpu = time.process_time() - began
    steps = rollout(make(args.lives, way), Greedy(agent), STEPS * EPISODES, seed=100_000 + 1000 * seed)
    reward = np.array([step.reward for step in steps]).mean(1)
    return {
        "way": way,
        "seed": seed,
        "steps": steps_of(way, args),
        "cpu_seconds": round(cpu, 1),
        "episodes": [round(float(part.sum()), 2) for part in np.split(reward, EPISODES)],
        "curve": [round(float(r), 4) for r in reward],
    }


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "meta_learning.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# Adapting within a life",
        "",
        f"Return of each episode of a life ({STEPS} steps each, at most {STEPS}) over fresh lives; the motor's gain is",
        "drawn at birth from -1 and 1. Weights stand still. Mean of seeds, spread of the third episode.",
        "",
        "| policy | training steps | seeds | episode 1 | 2 | 3 | spread | each, episode 3 | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((row["way"], row["steps"]) for row in runs):
        some = [row for row in runs if (row["way"], row["steps"]) == key]
        episodes, cpu = np.array([row["episodes"] for row in some]), np.mean([row["cpu_seconds"] for row in some])
        one, two, three = episodes.mean(0)
        each = ", ".join(f"{value:.1f}" for value in episodes[:, 2])
        lines.append(
            f"| {key[0]} | {key[1]:,} | {len(some)} | {one:.1f} | {two:.1f} | {three:.1f} "
            f"| {episodes[:, 2].std():.1f} | {each} | {cpu:.0f} |"
        )
    write_atomically(out / "meta_learning.md", ("\n".join(lines) + "\n").encode())


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Mean reward per step of a life, one line per seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    seconds = 0.05 * np.arange(STEPS * EPISODES)
    for k, way in enumerate(dict.fromkeys(row["way"] for row in runs)):
        for n, row in enumerate(row for row in runs if row["way"] == way):
            axes.plot(seconds, row["curve"], color=f"C{k}", linewidth=1.0, label=None if n else way)
    for n in range(1, EPISODES):
        axes.axvline(0.05 * STEPS * n, color="0.7", linewidth=0.8)
    axes.set(xlabel="time lived, s", ylabel="reward per step", xlim=(0, seconds[-1]), ylim=(0, 1))
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(args: Args) -> list[dict[str, Any]]:
    if unknown := set(args.ways) - set(WAYS):
        raise ValueError(f"unknown ways {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    torch.set_num_threads(1)
    path = args.out / "meta_learning.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in args.seeds:
        for way in args.ways:
            if not any((row["way"], row["seed"], row["steps"]) == (way, seed, steps_of(way, args)) for row in runs):
                runs.append(run(way, seed, args))
                write(runs, args.out)
                print({key: value for key, value in runs[-1].items() if key != "curve"}, flush=True)
    draw(runs, args.figure)
    return runs


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"meta_learning: {error}")
