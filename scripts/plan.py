"""How few steps of experience does planning in a learned ensemble need to balance a pole and to swing one up?

    python -m scripts.plan --task cartpole --out runs/plan_cartpole
    python -m scripts.plan --task pendulum --method icem --out runs/plan_pendulum
    python -m scripts.plan --task pendulum --model truth --episodes 5 --out runs/plan_ceiling

About 1 to 4 CPU-seconds per episode. `metrics.csv` has one row per episode: its return, the steps lived so far, and
what the planner had expected of its first plan (a model that is exploited promises more than comes). CartPole should
reach 200 of 200 within ten episodes, Pendulum about -150 within ten.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from agents.planning import Planner, model_return
from agents.runs import Run
from agents.tasks import TASKS, PlanningTask, TrueModel
from rnn.ensemble import Ensemble


@dataclass
class Args:
    task: str = "cartpole"
    """"cartpole" or "pendulum"."""
    model: str = "ensemble"
    """"ensemble", learned from scratch, or "truth": the task's own equations, the ceiling."""
    method: str = "icem"
    """"cem", "icem" or "mppi"."""
    episodes: int = 12
    """Episodes of 200 steps; the first acts at random."""
    steps: int = 5000
    """Steps of experience after which it ends, if that comes first."""
    candidates: int = 120
    """Action sequences per iteration."""
    iterations: int = 3
    """Refinements of each plan."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/plan")
    """Folder of the run."""


def main(args: Args) -> list[float]:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    if args.task not in TASKS:
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(TASKS)}")
    task, rng = TASKS[args.task], np.random.default_rng(args.seed)
    env = task.make()
    size = env.observation_space.shape[0]
    model = TrueModel(task) if args.model == "truth" else Ensemble(size, 1, body=task.env_id)
    planner = Planner(
        model_return(model, task.reward, alive=task.alive, to_model=task.to_model),
        1,
        method=args.method,
        horizon=task.horizon,
        candidates=args.candidates,
        elites=max(4, args.candidates // 10),
        iterations=args.iterations,
        seed=args.seed,
    )
    data: list[tuple[np.ndarray, float, np.ndarray]] = []
    returns, lived, began = [], 0, time.process_time()
    with Run(args.out, args) as run:
        for episode in range(args.episodes):
            chosen = None if args.model == "ensemble" and episode == 0 else planner
            score, expected, steps = live(env, task, chosen, data, rng, args.seed * 1000 + episode)
            lived += len(steps)
            data += steps
            if args.model == "ensemble" and isinstance(model, Ensemble):
                learn(model, task, data, 600 if episode < 2 else 300)
            returns.append(score)
            cpu = time.process_time() - began
            run.log(episode=episode, steps=lived, score=score, expected=expected, cpu_seconds=round(cpu, 2))
            print(f"episode {episode}: return {score:.1f} after {lived} steps, {cpu:.1f} CPU-s", flush=True)
            if lived >= args.steps:
                break
    return returns


def live(
    env: object, task: PlanningTask, planner: Planner | None, data: list, rng: np.random.Generator, seed: int
) -> tuple[float, float, list[tuple[np.ndarray, float, np.ndarray]]]:
    """One episode: its return, the return expected by its first plan, and its transitions."""
    obs, _ = env.reset(seed=seed)  # type: ignore[attr-defined]
    total, expected, steps, over = 0.0, 0.0, [], False
    if planner is not None:
        planner.reset()
    while not over:
        if planner is None:
            action = rng.uniform(-1, 1, 1)
        else:
            action = planner.plan(torch.as_tensor(obs, dtype=torch.float32)[None], 1)[0].numpy()
            expected = float(planner.predicted[0]) if not steps else expected  # type: ignore[index]
        following, reward, terminated, truncated, _ = env.step(task.to_env(action))  # type: ignore[attr-defined]
        steps.append((obs, float(task.to_model(torch.as_tensor(action))[0]), following))
        total += float(reward)
        obs, over = following, terminated or truncated
    return total, expected, steps


def learn(model: Ensemble, task: PlanningTask, data: list, steps: int) -> float:
    """Go on training the ensemble on everything lived."""
    obs, action, following = (torch.as_tensor(np.array(part), dtype=torch.float32) for part in zip(*data, strict=True))
    return model.fit(obs, action[:, None], following, steps=steps)


if __name__ == "__main__":
    main(tyro.cli(Args))
