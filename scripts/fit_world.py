"""How many periods ahead can a learned model see, open loop?

    python -m scripts.fit_world --task pendulum --out runs/world_pendulum
    python -m scripts.fit_world --task forced --out runs/world_forced

Logs episodes under random pushes, fits models, and predicts held-out episodes from a measured beginning: a recurrent
model trained by gradients, one whose fast weights are fitted while it runs, an ensemble and polynomials (full
observation), linear ones fitted to all data and to each episode's beginning, the equations of the task without what is
hidden, and the last value. `horizon.csv` holds, per model, the median horizon (steps and natural periods until the
error exceeds 0.4 deviations; `episodes_through` counts those that never do) and the error after 1, 10 and 100 steps.
Minutes of CPU.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from agents.rollout import rollout
from agents.runs import Run
from agents.tasks import TASKS as KNOWN
from agents.tasks import TrueModel
from rnn.adaptive import AdaptiveDynamics
from rnn.arx import Polynomial, fitted_per_episode, least_squares
from rnn.dynamics import RecurrentDynamics, fit, horizon, open_loop_error
from rnn.ensemble import Ensemble
from rnn.stored_dynamics import save_dynamics
from sim.oscillator_tasks import Forced
from sim.oscillators import damped_hold

TASKS: dict[str, dict[str, Any]] = {
    # natural period: a 1 Hz oscillator in steps of 0.05 s; a rod of 1 m in gravity 10 m/s^2, 2 pi / sqrt(15) s
    "forced": {
        "env": "sim:oscillator/Forced-v0",
        "period": 20.0,
        "push": 0.1,
        "warmup": 100,
        "lags": 6,
        "full": False,
        "section": 200,
        "batch": 16,
        "stages": {40: 0.04},
    },
    "pendulum": {
        "env": "Pendulum-v1",
        "period": 32.4,
        "push": 1.0,
        "warmup": 10,
        "lags": 2,
        "full": True,
        "section": 50,
        "batch": 64,
        "stages": {20: 0.05, 50: 0.03},
    },
}

POLYNOMIALS: dict[str, dict[str, Any]] = {
    "polynomial": {"degree": 5, "ordered": False},
    "polynomial in order": {"degree": 7},
}
"""Of all readings from the old ones, and of each from the old ones and the new ones of those before it."""


@dataclass
class Args:
    task: str = "pendulum"
    """"pendulum" (Pendulum-v1), or "forced" (oscillator/Forced-v0: two unknown rhythms shake it)."""
    cell: str = "gru"
    """Cell of the recurrent model."""
    hidden: int = 32
    """Its units."""
    layers: tuple[int, ...] = (64, 64)
    """Layers between cell and prediction."""
    episodes: int = 128
    """Logged for training; a quarter as many are held out."""
    length: int = 400
    """Steps of each."""
    gradient_steps: int = 2600
    """Of the recurrent model, most of them one step ahead, the last in open loop; 0 leaves it out."""
    ensemble_steps: int = 6000
    """Of the ensemble, where observation is full; 0 leaves it out."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/world")
    """Run folder."""


class Pushing:
    """Random pushes, each held for a few steps."""

    def __init__(self, size: int, scale: float, seed: int):
        self.rng, self.scale, self.now = np.random.default_rng(seed), scale, np.zeros((size, 1), np.float32)

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        change = self.rng.random((len(first), 1)) < 0.2
        self.now = np.where(change, self.rng.uniform(-self.scale, self.scale, self.now.shape), self.now)
        return self.now.astype(np.float32), ()


def log(task: dict[str, Any], episodes: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Readings [T + 1, B, D] and actions [T, B, A] of episodes that ran their whole length."""
    if task["env"].startswith("sim:"):
        env: Any = gymnasium.make_vec(task["env"], num_envs=episodes, max_episode_steps=length + 1)
    else:
        one = lambda: gymnasium.make(task["env"], max_episode_steps=length + 1)
        env = SyncVectorEnv([one] * episodes, autoreset_mode=AutoresetMode.SAME_STEP)
    high = float(env.single_action_space.high[0])
    obs, actions, whole = [], [], np.ones(episodes, bool)
    for step in rollout(env, Pushing(episodes, high * task["push"], seed), length, seed=seed):
        whole &= ~(step.terminated | step.truncated)
        obs.append(step.obs)
        actions.append(step.action)
    obs.append(step.next_obs)
    pair = (torch.as_tensor(np.array(x), dtype=torch.float32)[:, whole] for x in (obs, actions))
    return tuple(pair)


def checked(args: Args) -> dict[str, Any]:
    """The task.

    Raises:
        ValueError: settings with which nothing could be fitted or measured.
    """
    if args.task not in TASKS:
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(TASKS)}")
    task = TASKS[args.task]
    shortest = task["warmup"] + max(task["stages"])
    least = {"episodes": 4, "length": shortest, "hidden": 1, "gradient_steps": 0, "ensemble_steps": 0, "seed": 0}
    for name, bound in least.items():
        if getattr(args, name) < bound:
            why = {"episodes": ": a quarter as many are held out", "length": ": open loops are learned from"}
            raise ValueError(f"{name} is at least {bound}{why.get(name, '')}; received {getattr(args, name)}")
    if any(units < 1 for units in args.layers):
        raise ValueError(f"every layer has at least 1 unit, received {args.layers}")
    return task


def main(args: Args) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    task = checked(args)
    torch.manual_seed(args.seed)
    obs, actions = log(task, args.episodes, args.length, 2 * args.seed)
    held, pushes = log(task, args.episodes // 4, 4 * args.length, 2 * args.seed + 1)
    W = task["warmup"]
    truth, std = held[W:], obs.std((0, 1))
    with Run(args.out, args) as run:
        spent: dict[str, float] = {}
        found: dict[str, Tensor] = {}
        if args.gradient_steps:
            began = time.process_time()
            found[args.cell] = of_recurrent(args, task, obs, actions, held, pushes)
            spent[args.cell] = time.process_time() - began
        if task["full"] and args.ensemble_steps:
            began = time.process_time()
            found["ensemble"] = of_ensemble(obs, actions, held, pushes, W, args.ensemble_steps)
            spent["ensemble"] = time.process_time() - began
        if task["full"]:
            for name, shape in POLYNOMIALS.items():
                began = time.process_time()
                found[name] = Polynomial(**shape).fit(obs, actions).simulate(held[W - 1], pushes[W - 1 :])
                spent[name] = time.process_time() - began
        began = time.process_time()
        if not task["full"]:
            found["fast weights"] = of_fast_weights(obs, actions, held[:W], pushes)
            spent["fast weights"] = time.process_time() - began
        with torch.no_grad():
            found["linear, all data"] = least_squares(obs, actions, held[:W], pushes, lags=task["lags"])
            if not task["full"]:
                found["linear, each episode"] = fitted_per_episode(held[:W], pushes, lags=task["lags"])
            found["simulator"] = of_simulator(args.task, held[W - 1], pushes[W - 1 :])
            found["last value"] = held[W - 1 : W].expand_as(truth)
        rows = []
        for name, predicted in found.items():
            error = open_loop_error(predicted, truth, std)
            ahead = horizon(error).float()
            row = {
                "model": name,
                "horizon_steps": ahead.median().item(),
                "horizon_periods": round(ahead.median().item() / task["period"], 2),
                "tenth": round(ahead.quantile(0.1).item() / task["period"], 2),
                "episodes_through": round((ahead == len(truth)).float().mean().item(), 3),
                **{f"rmse_{k}": round(error[k - 1].square().mean().sqrt().item(), 5) for k in (1, 10, 100)},
                "cpu_seconds": round(spent.get(name, 0.0), 1),
            }
            rows.append(row)
            run.log(**row)
            print(row, flush=True)
    with (args.out / "horizon.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def of_recurrent(
    args: Args, task: dict[str, Any], obs: Tensor, actions: Tensor, held: Tensor, pushes: Tensor
) -> Tensor:
    """Open loop of a recurrent model fitted one step ahead, then in open loop; it is kept in the run folder."""
    W, n = task["warmup"], args.gradient_steps
    shape = {
        "cell": args.cell,
        "hidden": args.hidden,
        "layers": args.layers,
        "bounded": task["full"],
        "body": task["env"],
    }
    model = RecurrentDynamics(obs.shape[2], 1, **shape)
    stages = {ahead: int(part * n) for ahead, part in task["stages"].items()}
    one_step = n - sum(stages.values())
    settings = {"section": task["section"], "batch": task["batch"], "learning_rate": 5e-3, "seed": args.seed}
    fit(model, obs, actions, warmup=W, one_step=one_step, stages=stages, **settings)
    about = {name: shape[name] for name in ("cell", "hidden", "bounded")}
    save_dynamics(args.out / "checkpoints" / "model.safetensors", model, layers=list(args.layers), **about)
    with torch.no_grad():
        return model.simulate(held[:W], pushes)


def of_fast_weights(obs: Tensor, actions: Tensor, measured: Tensor, pushes: Tensor) -> Tensor:
    """Open loop of recursive least squares about the slow weights of all training episodes."""
    model = AdaptiveDynamics(obs.shape[2], 1)
    model.fit_scales(obs.double(), actions.double())
    return model.simulate(measured.double(), pushes.double())


def of_simulator(task: str, start: Tensor, pushes: Tensor) -> Tensor:
    """The task's equations from the last reading: exact for the pendulum. Of the forced oscillator they know the mean
    of each parameter that is drawn, and no rhythm."""
    now, predictions = start.double(), []
    if task == "pendulum":
        truth = TrueModel(KNOWN["pendulum"])
        for action in pushes.double():
            now = truth.step(truth.begin(now), action / 2.0)[1]  # N m to [-1, 1]
            predictions.append(now)
        return torch.stack(predictions)
    phi, gamma = (torch.as_tensor(x) for x in damped_hold(2 * np.pi, Forced.zeta, Forced.dt))
    turn = 2 * np.pi * 0.825 * Forced.dt  # rad per step: the rhythm that is wanted is drawn from 0.7 to 0.95 Hz
    c, s = np.cos(turn), np.sin(turn)
    for action in pushes.double():
        moved = now[:, :2] @ phi.T + Forced.max_force * action * gamma
        now = torch.cat([moved, now[:, 2:] @ now.new_tensor([[c, s], [-s, c]])], 1)
        predictions.append(now)
    return torch.stack(predictions)


def of_ensemble(obs: Tensor, actions: Tensor, held: Tensor, pushes: Tensor, warmup: int, steps: int) -> Tensor:
    """Open loop of the members' mean, from the last measured reading."""
    model = Ensemble(obs.shape[2], 1)
    model.fit(obs[:-1].flatten(0, 1), actions.flatten(0, 1), obs[1:].flatten(0, 1), steps=steps)
    now, predictions = held[warmup - 1], []
    for action in pushes[warmup - 1 :]:
        now = model.spread(now, action)[0].mean(0)
        predictions.append(now)
    return torch.stack(predictions)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
