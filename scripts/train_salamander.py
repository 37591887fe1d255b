"""Can a network learn from scratch, through 48 muscles, to swim and to walk like a newt?

    python -m scripts.train_salamander --task swim --cell cpg --minutes 5 --out runs/learned_swim
    python -m scripts.train_salamander --task walk --cell cpg --minutes 10 --out runs/learned_walk
    python -m scripts.train_salamander --task steer --cell lstm --level drive --steps 12000 --out runs/steer

`--cell cpg` evolves the weights of an oscillator network (frequency, gains, lags, limb phases) from a random start by
CMA-ES; any other cell is a recurrent policy trained by PPO, at muscle level or on the drives of a fixed pattern
generator. Writes `metrics.csv` (the course of learning), a gait table beside the animal's, plots, traces and a film.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro

from agents.drive_level import SETTINGS, drive_worlds
from agents.evaluation import Greedy
from agents.evolution import evolve
from agents.experiment import live, make_worlds, report
from agents.recurrent_ppo import RecurrentPPO
from agents.rollout import rollout
from agents.runs import Run
from agents.salamander_gait import SalamanderGait
from sim.salamander_tasks import GRAVITY

WORLD = {"swim": "pool", "walk": "land"}
EFFORT = {"swim": 0.01, "walk": 0.0}
"""In the water the task's own economy hardly tells gaits apart at the power that its speed takes; without a further
price the best is a short quick wave, which sways least and wastes most; at 0.03 it is a beating tail."""


@dataclass
class Args:
    task: Literal["swim", "walk", "shore", "steer"] = "swim"
    """What is rewarded."""
    cell: str = "cpg"
    """"cpg" (evolved oscillators: swim and walk), or a cell of `rnn.models` trained by PPO."""
    level: Literal["muscle", "drive"] = "muscle"
    """PPO acts on muscles, or on the drives of a fixed pattern generator."""
    minutes: float = 10.0
    """Evolution ends after so much CPU time."""
    steps: int = 300_000
    """PPO's environment steps; at drive level, decisions of a quarter of a second."""
    worlds: int = 16
    """Animals side by side."""
    episode: int = 300
    """Control steps (10 ms) of an episode of evolution."""
    steadiness: float = 0.5
    """Evolution's price of swaying: per (BL/s)^2 of the centre of mass sideways and per rad^2 of heading's deviation
    from the start; and per BL/s of speed beyond a third more than what the task asks for."""
    effort: float | None = None
    """Evolution's price of muscle power, per body weight lifted by a body length each second; None for that of
    `EFFORT`."""
    coarse: float = 0.6
    """Part of evolution's time in which the physics takes Euler steps of 5 ms, three times as many a second; what is
    found there is a few percent too fast, and is put right in the rest."""
    seconds: float = 8.0
    """Length of the recording at the end."""
    film: bool = True
    """Render it."""
    threads: int = 1
    """Of the physics."""
    seed: int = 0
    """Of everything."""
    out: Path | None = None
    """Run folder."""


def main(args: Args) -> dict[str, Any]:
    torch.set_num_threads(1)
    args = replace(args, effort=EFFORT.get(args.task, 0.0) if args.effort is None else args.effort)
    with Run(args.out, args) if args.out else Run.new("train_salamander", args, seed=args.seed) as run:
        if args.cell == "cpg":
            if args.task not in WORLD:
                raise ValueError(f"evolved oscillators swim or walk, received {args.task!r}; choose another cell")
            actor = by_evolution(args, run)
        else:
            actor = by_policy_gradient(args, run)
            if args.level == "drive" or args.task not in WORLD:
                return run.meta()
        recorder = live(make_worlds(WORLD[args.task]), actor, args.seconds, seed=args.seed, neurons=False)
        return report(run, recorder, film=args.film, expected=args.task)


def by_evolution(args: Args, run: Run) -> Any:
    """The gait of the last generation's mean."""
    gait = SalamanderGait(args.task)
    coarse, fine = (
        gymnasium.make_vec(
            f"sim:salamander/{args.task.capitalize()}-v0",
            num_envs=args.worlds,
            max_episode_steps=None,
            terminate=False,
            threads=args.threads,
            **physics,
        )
        for physics in ({"timestep": 0.005, "integrator": "euler"}, {})
    )
    began, lived, best = time.process_time(), [0], [-np.inf]

    def early() -> bool:
        return time.process_time() - began < 60 * args.minutes * args.coarse

    def score(candidates: np.ndarray) -> np.ndarray:
        env: Any = coarse if early() else fine
        body = env.unwrapped.salamander
        weight = body.mass * GRAVITY * body.length
        total = np.zeros(args.worlds)
        for step in rollout(env, gait.controller(candidates), args.episode, seed=args.seed):
            price = args.steadiness * sway(env, step.next_obs) + (args.effort or 0.0) * body.muscle_power() / weight
            total += (step.reward - price) * (step.step >= args.episode // 6)
        lived[0] += args.worlds * args.episode
        return total / (args.episode - args.episode // 6)

    def keep(unit: np.ndarray) -> None:
        numbers = {name: value[0].tolist() for name, value in gait.space.decode(unit[None]).items()}
        found = {"task": args.task, "unit": unit.tolist(), "numbers": numbers, "steps": lived[0]}
        run.save_json("gait.json", found)

    def after(generation: int, mean: np.ndarray, found: float) -> bool:
        cpu = time.process_time() - began
        run.log(generation=generation, steps=lived[0], best=round(found, 4), cpu_seconds=round(cpu, 1))
        keep(mean)  # so that a run that is killed has its gait
        if found > best[0] + 0.02:
            best[0] = found
            print(
                f"generation {generation}: reward {found:.3f} per step, {lived[0]} steps, {cpu:.0f} CPU-s", flush=True
            )
        return cpu > 60 * args.minutes

    draws = np.random.default_rng(args.seed).random((4 * args.worlds, gait.space.size))
    scores = np.concatenate([score(part) for part in draws.reshape(4, args.worlds, -1)])
    found = evolve(
        score,
        draws[scores.argmax()],
        sigma=0.2,
        population=args.worlds,
        generations=10_000,
        seed=args.seed,
        after=after,
    )
    finalists = np.stack([found.mean, found.best] + [found.mean] * (args.worlds - 2))
    chosen = finalists[int(score(finalists)[:2].argmax())]
    keep(chosen)
    return gait.controller(chosen)


def sway(env: Any, obs: np.ndarray) -> np.ndarray:
    """What is against a calm gait [B]: lateral speed, heading, and more haste than the task asks for."""
    names, wanted = env.unwrapped.observation_names, env.unwrapped.task.wanted
    forward, left, cosine = (obs[:, names.index(n)] for n in ("velocity.forward", "velocity.left", "heading.cos"))
    return left**2 + 2 * (1 - cosine) + np.maximum(forward - wanted * 4 / 3, 0.0)


def by_policy_gradient(args: Args, run: Run) -> Any:
    """The greedy policy after training."""
    if args.level == "drive":
        env: Any = drive_worlds(args.task, args.worlds, threads=args.threads)
        settings = SETTINGS[args.task]
    else:
        env = gymnasium.make_vec(
            f"sim:salamander/{args.task.capitalize()}-v0",
            num_envs=args.worlds,
            normalise_actions=True,
            max_episode_steps=500,
            threads=args.threads,
        )
        settings = {"horizon": 64, "minibatch": 4, "learning_rate": 5e-4, "log_std": -1.0}
    agent = RecurrentPPO(env, seed=args.seed, cell=args.cell, hidden=64, **settings)
    marks = iter(range(0, args.steps + 1, max(1, args.steps // 50)))
    mark = [next(marks)]

    def note(local: Any, _: Any) -> bool:
        done, episodes = agent.num_timesteps, agent.ep_info_buffer
        if episodes and done >= mark[0]:
            score = float(np.mean([e["r"] for e in episodes]))
            run.log(steps=done, score=round(score, 3), cpu_seconds=round(time.process_time(), 1))
            mark[0] = next(marks, args.steps + 1)
        return True

    agent.learn(args.steps, callback=note, checkpoint=run.folder / "checkpoints")
    return _Physical(agent, env)


class _Physical:
    """The greedy policy with its normalised actions turned into activations."""

    def __init__(self, agent: RecurrentPPO, env: Any):
        self.greedy, self.env = Greedy(agent), env.unwrapped
        self.initial_state = self.greedy.initial_state

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = self.greedy.act(obs, state, step=step, first=first)
        low, high = self.env._action_low, self.env._action_high
        return low + 0.5 * (high - low) * (np.clip(action, -1, 1) + 1), state


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except ValueError as error:
        sys.exit(f"error: {error}")
