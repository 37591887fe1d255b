"""How few steps of experience does a learned ensemble need to balance a pole and to swing one up?

    python -m scripts.plan --task cartpole --out runs/plan_cartpole
    python -m scripts.plan --task pendulum --method icem --out runs/plan_pendulum
    python -m scripts.plan --task pendulum --method critic --episodes 15 --out runs/imagine_pendulum
    python -m scripts.plan --task pendulum --model latent --episodes 15 --out runs/plan_latent
    python -m scripts.plan --task pendulum --model truth --episodes 5 --out runs/plan_ceiling
    python -m scripts.plan --task pendulum --model runs/world_pendulum/checkpoints/model.safetensors

The last one plans in what `scripts.fit_world` stored. `cem`, `icem` and `mppi` plan in the model at every step;
`critic` and `backpropagation` train a recurrent policy inside it between episodes, on imagined rollouts that end in a
critic's value or by ascending the imagined return itself. About 1 to 4 CPU-seconds per episode. `metrics.csv` has one
row per episode: its return, the steps lived so far, and what the planner had expected of its first plan (a model that
is exploited promises more than comes). `metrics.json` has the returns of fresh episodes with the last model, without
exploration. With the ensemble CartPole should reach 200 of 200 within ten episodes, Pendulum about -150 within ten.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from agents.imagination import Dreamer, Imagination, ImaginedPolicy
from agents.planning import Planner, RecurrentPlanner, model_return
from agents.runs import Run
from agents.tasks import TASKS, PlanningTask, TrueModel
from rnn.dynamics import DynamicsState, RecurrentDynamics
from rnn.ensemble import Ensemble
from rnn.latent_dynamics import LatentDynamics
from rnn.model_body import Body
from rnn.stored_dynamics import read_dynamics

IMAGINED = ("critic", "backpropagation")
MODELS: dict[str, Any] = {"ensemble": Ensemble, "latent": LatentDynamics, "truth": TrueModel}
LATENT = {"section": 25, "first": 300, "then": 200}  # steps of a piece; gradient steps after an episode


@dataclass
class Args:
    task: str = "cartpole"
    """"cartpole" or "pendulum"."""
    model: str = "ensemble"
    """"ensemble" or "latent" (a latent state-space model), learned from scratch; "truth": the task's own equations, the
    ceiling; or the file of a model that `scripts.fit_world` stored."""
    method: str = "icem"
    """"cem", "icem", "mppi" (plans), or "critic", "backpropagation" (a policy trained in imagination)."""
    episodes: int = 12
    """Episodes of 200 steps."""
    random: int = 1
    """So many of them, at the beginning, act at random."""
    steps: int = 5000
    """Steps of experience after which it ends, if that comes first."""
    candidates: int = 120
    """Action sequences per iteration."""
    iterations: int = 3
    """Refinements of each plan."""
    until: float | None = None
    """End after the first episode that returns so much."""
    updates: int = 60
    """Of the imagined policy after each episode."""
    judged: int = 0
    """Fresh episodes, side by side, on which the result is judged at the end."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/plan")
    """Folder of the run."""


def main(args: Args) -> list[float]:
    """Returns of the episodes lived; the rest is in the run folder."""
    torch.set_num_threads(1)
    check(args)
    torch.manual_seed(args.seed)
    task, rng = TASKS[args.task], np.random.default_rng(args.seed)
    env = task.make()
    size = env.observation_space.shape[0]
    if args.model in MODELS:
        model: Any = TrueModel(task) if args.model == "truth" else MODELS[args.model](size, 1, body=task.env_id)
    else:
        stored = read_dynamics(args.model, Body(task.env_id, size, 1))
        model = InUnits(stored, float(env.action_space.high[0]))
    learns = isinstance(model, Ensemble | LatentDynamics)
    chooser = make_chooser(args, task, model, size)
    data: list[list[tuple[np.ndarray, float, np.ndarray]]] = []
    lives: list[Tensor] = []
    returns, lived, cpu, began = [], 0, 0.0, time.process_time()
    with Run(args.out, args) as run:
        for episode in range(args.episodes):
            chosen = None if learns and episode < args.random else chooser
            score, expected, steps = live(env, task, chosen, rng, args.seed * 1000 + episode)
            lived += len(steps)
            data.append(steps)
            if learns:
                learn(model, data, episode)
            if isinstance(chooser, Dreamer):
                lives.append(torch.as_tensor(np.array([row[0] for row in steps]), dtype=torch.float32))
                if episode >= args.random - 1:
                    chooser.learn(lives, args.updates)
            returns.append(score)
            cpu = time.process_time() - began
            run.log(episode=episode, steps=lived, score=score, expected=expected, cpu_seconds=round(cpu, 2))
            print(f"episode {episode}: return {score:.1f} after {lived} steps, {cpu:.1f} CPU-s", flush=True)
            if lived >= args.steps or (args.until is not None and score >= args.until):
                break
        if args.judged:
            judged = judge(task, chooser, args.judged, seed=500_000 + 100 * args.seed)  # other starts for each seed
            run.save_json(
                "metrics.json", {"judged": judged.tolist(), "mean": judged.mean(), "steps": lived, "cpu_seconds": cpu}
            )
            print(f"fresh episodes: {judged.mean():.1f} +- {judged.std():.1f}", flush=True)
    return returns


class InUnits:
    """A stored model, which knows actions in the environment's units, for actions in [-1, 1]."""

    def __init__(self, model: RecurrentDynamics, high: float):
        self.model, self.high = model, high

    def begin(self, obs: Tensor) -> DynamicsState:
        return self.model.begin(obs)

    def step(self, state: DynamicsState, action: Tensor) -> tuple[DynamicsState, Tensor]:
        return self.model.step(state, self.high * action)


def check(args: Args) -> None:
    """Refuse what cannot be planned with.

    Raises:
        ValueError: an unknown name, or a count that is too small.
    """
    known = {"task": tuple(TASKS), "method": ("cem", "icem", "mppi", *IMAGINED)}
    for name, values in known.items():
        if getattr(args, name) not in values:
            raise ValueError(f"unknown {name} {getattr(args, name)!r}; the {name}s are {', '.join(values)}")
    if args.model not in MODELS and not Path(args.model).is_file():
        raise ValueError(f"unknown model {args.model!r}; it is {', '.join(MODELS)}, or a file of scripts.fit_world")
    lives = 0 if args.judged and args.model == "truth" else 1  # the equations have nothing to learn
    least = {"episodes": lives, "random": 0, "steps": 1, "updates": 0, "judged": 0, "seed": 0, "iterations": 1}
    for name, bound in least.items():
        if getattr(args, name) < bound:
            raise ValueError(f"{name} is at least {bound}, received {getattr(args, name)}")


def make_chooser(args: Args, task: PlanningTask, model: Any, size: int) -> Planner | Dreamer:
    """What chooses actions by the model: a planner, or a policy with its trainer."""
    if args.method in IMAGINED:
        bootstrap = args.method == "critic"
        # Rewards are made small: a tanh critic that starts near 0 reaches values of -300 only after very many updates.
        trainer = Imagination(
            ImaginedPolicy(size, 1, hidden=64),
            model,
            lambda *step: 0.05 * task.reward(*step),
            horizon=15 if bootstrap else 2 * task.horizon,
            alive=task.alive,
            discount=0.97,
            lambda_=0.95 if bootstrap else 1.0,
            bootstrap=bootstrap,
            learning_rate=3e-3,
        )
        return Dreamer(trainer, batch=128, burn_in=4, seed=args.seed)
    settings: dict[str, Any] = {"method": args.method, "horizon": task.horizon, "candidates": args.candidates}
    settings |= {"elites": max(4, args.candidates // 10), "iterations": args.iterations, "seed": args.seed}
    objective = model_return(model, task.reward, alive=task.alive, to_model=task.to_model)
    if isinstance(model, InUnits):
        return RecurrentPlanner(model, objective, 1, **settings)
    return Planner(objective, 1, **settings)


def choose(chooser: Planner | Dreamer, obs: np.ndarray, *, explore: bool) -> Tensor:
    """Actions [B, 1] in [-1, 1] for observations [B, D]."""
    rows = torch.as_tensor(obs, dtype=torch.float32)
    return chooser.plan(rows, len(rows)) if isinstance(chooser, Planner) else chooser.act(rows, explore=explore)


def live(
    env: Any, task: PlanningTask, chooser: Planner | Dreamer | None, rng: np.random.Generator, seed: int
) -> tuple[float, float, list[tuple[np.ndarray, float, np.ndarray]]]:
    """One episode: its return, the return expected by its first plan, and its transitions."""
    obs, _ = env.reset(seed=seed)
    total, expected, steps, over = 0.0, 0.0, [], False
    if chooser is not None:
        chooser.reset()
    while not over:
        if chooser is not None:
            action = choose(chooser, obs[None], explore=True)[0].numpy()
        elif not steps or rng.random() < 0.5:  # held for a while: what is drawn anew at every step goes nowhere
            action = rng.uniform(-1, 1, 1)
        if isinstance(chooser, Planner) and not steps:
            expected = float(chooser.predicted[0])
        following, reward, terminated, truncated, _ = env.step(task.to_env(action))
        steps.append((obs, float(task.to_model(torch.as_tensor(action))[0]), following))
        total += float(reward)
        obs, over = following, terminated or truncated
    return total, expected, steps


def learn(
    model: Ensemble | LatentDynamics, data: list[list[tuple[np.ndarray, float, np.ndarray]]], episode: int
) -> None:
    """Go on training the model on everything lived."""
    if isinstance(model, Ensemble):
        rows = zip(*[step for steps in data for step in steps], strict=True)
        obs, action, following = (torch.as_tensor(np.array(part), dtype=torch.float32) for part in rows)
        model.fit(obs, action[:, None], following, steps=600 if episode < 2 else 300)
        return
    seen, did = pieces(data, LATENT["section"])
    model.fit(seen, did, steps=LATENT["first"] if episode < 2 else LATENT["then"], section=len(did), seed=episode)


def pieces(data: list[list[tuple[np.ndarray, float, np.ndarray]]], length: int) -> tuple[Tensor, Tensor]:
    """Readings [L + 1, N, D] and actions [L, N, 1] of all pieces of `length` steps, or as long as the longest episode,
    that begin half a piece apart; an episode's last piece ends with it."""
    length = min(length, max(map(len, data)))
    seen, did = [], []
    for steps in (steps for steps in data if len(steps) >= length):
        for begin in {*range(0, len(steps) - length + 1, max(1, length // 2)), len(steps) - length}:
            part = steps[begin : begin + length]
            seen.append(np.array([*(row[0] for row in part), part[-1][2]]))
            did.append([[row[1]] for row in part])
    return tuple(torch.as_tensor(np.array(part), dtype=torch.float32).transpose(0, 1) for part in (seen, did))  # type: ignore[return-value]


def judge(task: PlanningTask, chooser: Planner | Dreamer, episodes: int, *, seed: int) -> np.ndarray:
    """Returns of fresh episodes, side by side, in the environment itself; nothing is learned or explored."""
    worlds = [task.make() for _ in range(episodes)]
    obs = np.stack([world.reset(seed=seed + k)[0] for k, world in enumerate(worlds)])
    total, running = np.zeros(episodes), np.ones(episodes, bool)
    chooser.reset()
    while running.any():
        actions = choose(chooser, obs, explore=False).numpy()
        for k in np.flatnonzero(running):
            obs[k], reward, terminated, truncated, _ = worlds[k].step(task.to_env(actions[k]))
            total[k] += reward
            running[k] = not (terminated or truncated)
    return total


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the episodes lived until now stand in metrics.csv")
