"""How well do two learned oscillators swim Gymnasium's Swimmer, and do they lose by noise and delay?

    python -m scripts.evolve_swimmer --seeds 0 1 2 3 4 --out runs/swimmer

About 45 CPU-seconds per seed; 11 with `--controller steered`, which bends by the heading alone and, with
`--start random`, swims from any start. The start is stated (amplitude 0.8 rad, 1 Hz, lag 1.5 rad)
or random: then 64 draws from the ranges of all numbers are screened for 150 steps. CMA-ES goes on from there, first on
episodes of 400 steps, then on whole ones, then once more with small steps: where in its last stroke an episode ends is
worth several points, and makes the return a comb over frequencies that large steps average over. The best of the last
candidates are run from eight more starts, and the best of those is the result. All of this in coarse physics (see
`agents.mujoco_batch`), and where sensors are bad with good ones as well; the result is judged in Gymnasium's own.
`scores.csv` should end near 360 (the registered threshold).

`--controller guarded` evolves the oscillator, then looks for feedback from none at all, and keeps what it finds only if
it is better than the oscillator by two standard errors over the same episodes and the same noise, and no worse without
noise and delay: feedback cannot cost anything then, whatever the sensors do.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.cpg_policy import OscillatorGait, gait_returns
from agents.evolution import evolve
from agents.mujoco_batch import ForwardBatch
from agents.runs import Run

PLACES: dict[str, Any] = {"angles": (1, 2), "velocities": (6, 7), "phase": True}
STATED = {"frequency": 1.0, "amplitude": 0.8, "lag": 1.5, "stiffness": 2.0, "damping": 0.1}
SILENT = {"feedback": 0.0, "steer": 0.0, "phase": 0.0}
GAITS = {
    "feedback": OscillatorGait(2, 0.04, **PLACES, heading=0),
    "oscillator": OscillatorGait(2, 0.04, **PLACES, feedback=False),
    "steered": OscillatorGait(2, 0.04, **PLACES, feedback=False, heading=0),
}


@dataclass
class Args:
    out: Path = Path("runs/swimmer")
    """Folder of the run."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """One evolution each."""
    controller: str = "feedback"
    """"feedback" (oscillators that feel joint angles and heading), "oscillator" (oscillators, spring and damper),
    "steered" (those, bent as a whole by the heading), or "guarded" (the oscillator, and feedback where that pays)."""
    population: int = 12
    """Candidates per generation."""
    short: int = 40
    """Generations on episodes of 400 steps."""
    long: int = 20
    """Generations on whole episodes of 1,000 steps."""
    refine: int = 40
    """Generations on whole episodes with small steps."""
    finals: int = 8
    """Episodes over which the best of the last candidates are compared."""
    start: str = "stated"
    """"random" (screened), or "stated": amplitude 0.8 rad, 1 Hz, lag 1.5 rad."""
    noise: float = 0.0
    """Sensor noise while evolving, standard deviation."""
    delay: int = 0
    """Steps by which sensors come late while evolving."""
    episodes: int = 10
    """Unseen episodes, in Gymnasium's own environment, on which the result is judged."""
    feedback: int = 12
    """guarded: generations that look for feedback."""
    trials: int = 24
    """guarded: episodes over which feedback has to prove itself."""


def main(args: Args) -> list[dict[str, float]]:
    torch.set_num_threads(1)
    if args.controller not in (*GAITS, "guarded"):
        raise ValueError(f"the controllers are {', '.join(GAITS)} and guarded, received {args.controller!r}")
    rows, gait = [], GAITS[args.controller if args.controller in GAITS else "feedback"]
    with Run(args.out, args) as run:
        for seed in args.seeds:
            began = time.process_time()
            unit, base, generations = learn(args, seed)
            cpu = time.process_time() - began
            plain = judge(gait, unit, args.episodes)
            row = {
                "seed": seed,
                "mean": plain.mean(),
                "std": plain.std(),
                "noise_and_delay": disturbed(gait, unit, args.episodes),
                "generations": generations,
                "cpu_seconds": cpu,
            }
            if base is not None:  # the oscillator alone, with which the search for feedback began
                row["oscillator"] = judge(gait, base, args.episodes).mean()
                row["oscillator_noise_and_delay"] = disturbed(gait, base, args.episodes)
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


def learn(args: Args, seed: int) -> tuple[np.ndarray, np.ndarray | None, int]:
    """The gait found, in the unit cube of its controller; the gait without feedback that it had to beat, if guarded;
    and the generations it took."""
    gait = GAITS["oscillator" if args.controller == "guarded" else args.controller]
    if args.start == "stated":
        start = gait.space.encode({**STATED, **SILENT})
    else:
        draws = np.random.default_rng(seed).random((64, gait.space.size))
        start = draws[swim(gait, worlds(args, 64), draws, 150, seed=seed).argmax()]
    found = search(args, gait, start, seed, [400] * args.short + [1000] * args.long, sigma=0.15).mean
    found = choose(args, gait, search(args, gait, found, seed + 1, [1000] * args.refine, sigma=0.03), seed)
    generations = args.short + args.long + args.refine
    if args.controller != "guarded":
        return found, None, generations
    senses = GAITS["feedback"]
    plain = {k: v[0] for k, v in gait.space.decode(found[None]).items()}
    base = senses.space.encode({**SILENT, **plain})
    tried = search(args, senses, base, seed + 2, [1000] * args.feedback, sigma=0.08).mean
    return better(args, senses, base, tried, seed), base, generations + args.feedback


class Found(NamedTuple):
    """The mean [D] of the last generation; all candidates [N, D] and by how much each beat the median of its own
    generation [N], which all ran from one start."""

    mean: np.ndarray
    candidates: np.ndarray
    lead: np.ndarray


def search(
    args: Args, gait: OscillatorGait, start: np.ndarray, seed: int, lengths: list[int], *, sigma: float
) -> Found:
    """CMA-ES over episodes of so many steps, one length per generation."""
    envs, seen, leads = worlds(args, args.population, alike=True), [], []

    def score(candidates: np.ndarray) -> np.ndarray:
        generation = len(seen)
        returns = swim(gait, envs, candidates, lengths[generation], seed=1000 * seed + generation)
        seen.append(candidates)
        leads.append(returns - np.median(returns))
        return returns / lengths[generation]

    population, generations = args.population, len(lengths)
    mean = evolve(score, start, sigma=sigma, population=population, generations=generations, seed=seed).mean
    return Found(mean, np.concatenate(seen), np.concatenate(leads))


def choose(args: Args, gait: OscillatorGait, found: Found, seed: int) -> np.ndarray:
    """The best over more episodes of the mean and of the candidates that led the last ten generations."""
    late = slice(-10 * args.population, None)
    leaders = np.argsort(-found.lead[late])[: args.population - 1]
    finalists = np.concatenate([found.mean[None], found.candidates[late][leaders]])
    envs = worlds(args, len(finalists), alike=True)
    total = sum(swim(gait, envs, finalists, 1000, seed=888_000 + 100 * seed + k) for k in range(args.finals))
    return finalists[np.argmax(total)]


def worlds(args: Args, number: int, *, alike: bool = False) -> list[ForwardBatch]:
    """Worlds to search in: with the sensors that were asked for and, if those are bad, with good ones as well, since a
    gait that counts on late sensors need not swim without."""
    conditions = dict.fromkeys([(args.noise, args.delay), (0.0, 0)])
    return [ForwardBatch("Swimmer-v5", number, noise=n, delay=d, coarse=True, alike=alike) for n, d in conditions]


def swim(gait: OscillatorGait, envs: list[ForwardBatch], unit: np.ndarray, steps: int, *, seed: int) -> np.ndarray:
    """Returns of an episode [P], the mean over conditions."""
    return np.mean([gait_returns(gait, env, unit, steps, seed=seed) for env in envs], 0)


def better(
    args: Args, gait: OscillatorGait, base: np.ndarray, tried: np.ndarray, seed: int, steps: int = 1000
) -> np.ndarray:
    """The gait that was tried, or one between it and the base, if it is better beyond doubt; else the base.

    All are run from the same starts under the same noise, so that differences are of the gaits.
    """
    conditions = ({"noise": args.noise, "delay": args.delay}, {"noise": 0.0, "delay": 0})

    def returns(unit: np.ndarray) -> list[np.ndarray]:
        envs = (ForwardBatch("Swimmer-v5", args.trials, coarse=True, **settings) for settings in conditions)
        return [gait_returns(gait, env, unit, steps, seed=777_000 + seed) for env in envs]

    before = returns(base)
    for share in (1.0, 0.5, 0.25):
        unit = base + share * (tried - base)
        disturbed, calm = (after - old for after, old in zip(returns(unit), before, strict=True))
        if disturbed.mean() > 2 * disturbed.std(ddof=1) / args.trials**0.5 and calm.mean() >= 0:
            return unit
    return base


def disturbed(gait: OscillatorGait, unit: np.ndarray, episodes: int) -> float:
    """Mean return of other episodes, with sensor noise of 0.1 and 5 steps (0.2 s) of delay."""
    env = ForwardBatch("Swimmer-v5", episodes, noise=0.1, delay=5)
    return float(gait_returns(gait, env, unit, 1000, seed=54321).mean())


def judge(gait: OscillatorGait, unit: np.ndarray, episodes: int) -> np.ndarray:
    """Returns of whole episodes in `gymnasium.make("Swimmer-v5")`."""
    env = SyncVectorEnv([lambda: gymnasium.make("Swimmer-v5")] * episodes, autoreset_mode=AutoresetMode.SAME_STEP)
    return gait_returns(gait, env, unit, 1000, seed=12345)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
