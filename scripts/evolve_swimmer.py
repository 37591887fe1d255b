"""How well do two learned oscillators swim Gymnasium's Swimmer, and do they lose by noise and delay?

    python -m scripts.evolve_swimmer --seeds 0 1 2 3 4 --out runs/swimmer

About 40 CPU-seconds per seed. The start is stated (amplitude 0.8 rad, 1 Hz, lag 1.5 rad) or random: then 64 draws from
the ranges of all numbers are screened for 150 steps. CMA-ES goes on from there, first on episodes of 400 steps, then on
whole ones. `scores.csv` should end near 355 to 360 (the registered threshold is 360) from the stated start.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.cpg_policy import OscillatorGait, gait_returns
from agents.evolution import evolve
from agents.mujoco_batch import ForwardBatch
from agents.runs import Run

PLACES: dict[str, Any] = {"angles": (1, 2), "velocities": (6, 7)}
GAITS = {
    "feedback": OscillatorGait(2, 0.04, **PLACES, heading=0),
    "oscillator": OscillatorGait(2, 0.04, **PLACES, feedback=False),
}


@dataclass
class Args:
    out: Path = Path("runs/swimmer")
    """Folder of the run."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """One evolution each."""
    controller: str = "feedback"
    """"feedback" (oscillators that feel joint angles and heading), or "oscillator" (oscillators, spring and damper)."""
    population: int = 12
    """Candidates per generation."""
    short: int = 10
    """Generations on episodes of 400 steps."""
    long: int = 28
    """Generations on whole episodes of 1,000 steps."""
    start: str = "stated"
    """"random" (screened), or "stated": amplitude 0.8 rad, 1 Hz, lag 1.5 rad."""
    noise: float = 0.0
    """Sensor noise while evolving, standard deviation."""
    delay: int = 0
    """Steps by which sensors come late while evolving."""
    episodes: int = 10
    """Unseen episodes, in Gymnasium's own environment, on which the result is judged."""


def main(args: Args) -> list[dict[str, float]]:
    torch.set_num_threads(1)
    rows, gait = [], GAITS[args.controller]
    with Run(args.out, args) as run:
        for seed in args.seeds:
            began = time.process_time()
            unit, generations = learn(args, seed)
            cpu = time.process_time() - began
            plain = judge(gait, unit, args.episodes)
            disturbed = ForwardBatch("Swimmer-v5", args.episodes, noise=0.1, delay=5)
            noisy = gait_returns(gait, disturbed, unit, 1000, seed=54321)
            row = {
                "seed": seed,
                "mean": plain.mean(),
                "std": plain.std(),
                "noise_and_delay": noisy.mean(),
                "generations": generations,
                "cpu_seconds": cpu,
            }
            row |= {f"{k}.{i}": v for k, vs in gait.space.decode(unit[None]).items() for i, v in enumerate(vs[0])}
            rows.append({k: round(float(v), 3) for k, v in row.items()})
            run.log(**rows[-1])
            run.save_json(f"gait_seed{seed}.json", {"unit": unit.tolist()})
            print({k: rows[-1][k] for k in ("seed", "mean", "std", "noise_and_delay", "cpu_seconds")}, flush=True)
    with (args.out / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def learn(args: Args, seed: int) -> tuple[np.ndarray, int]:
    """The mean of the last generation, in the unit cube."""
    settings, gait = {"noise": args.noise, "delay": args.delay}, GAITS[args.controller]
    if args.start == "stated":
        stated = dict(frequency=1.0, amplitude=0.8, lag=1.5, stiffness=2.0, damping=0.1, feedback=0.0, steer=0.0)
        start = gait.space.encode(stated)
    else:
        draws = np.random.default_rng(seed).random((64, gait.space.size))
        first = gait_returns(gait, ForwardBatch("Swimmer-v5", 64, **settings), draws, 150, seed=seed)
        start = draws[first.argmax()]
    env = ForwardBatch("Swimmer-v5", args.population, **settings)
    counter = iter(range(args.short + args.long))

    def score(candidates: np.ndarray) -> np.ndarray:
        generation = next(counter)
        steps = 400 if generation < args.short else 1000
        return gait_returns(gait, env, candidates, steps, seed=1000 * seed + generation) / steps

    found = evolve(score, start, sigma=0.15, population=args.population, generations=args.short + args.long, seed=seed)
    return found.mean, len(found.scores)


def judge(gait: OscillatorGait, unit: np.ndarray, episodes: int) -> np.ndarray:
    """Returns of whole episodes in `gymnasium.make("Swimmer-v5")`."""
    env = SyncVectorEnv([lambda: gymnasium.make("Swimmer-v5")] * episodes, autoreset_mode=AutoresetMode.SAME_STEP)
    return gait_returns(gait, env, unit, 1000, seed=12345)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
