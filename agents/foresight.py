"""Models that foretell a logged task: each is fitted to the same episodes and run in open loop on others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from agents.rollout import rollout
from agents.tasks import TASKS as KNOWN
from agents.tasks import TrueModel
from rnn.adaptive import AdaptiveDynamics
from rnn.arx import Polynomial, fitted_per_episode, least_squares
from rnn.dynamics import RecurrentDynamics, fit
from rnn.ensemble import Ensemble
from rnn.latent_dynamics import LatentDynamics
from sim.oscillator_tasks import Forced
from sim.oscillators import damped_hold

__all__ = ["POLYNOMIALS", "ROWS", "TASKS", "Foretold", "Logged", "log", "of_ensemble", "of_fast_weights", "of_latent",
           "of_linear", "of_polynomial", "of_recurrent", "of_simulator"]  # fmt: skip

ROWS, COURSES = 512, 20
"""Rows of a batch when the cost of a step is measured (a planner's); courses drawn where a model gives a density."""

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


class Logged(NamedTuple):
    """What was logged, time first: readings [T + 1, B, D], actions [T, B, A] and rewards [T, B] to learn from; readings
    and actions of held-out episodes; and how many steps of those are measured before the open loop begins."""

    obs: Tensor
    actions: Tensor
    rewards: Tensor
    held: Tensor
    pushes: Tensor
    warmup: int


class Foretold(NamedTuple):
    """Predictions [K, B, D] of held-out episodes, the courses [S, K, B, D] that they are the mean of (None where a
    model has but one), and one step of `ROWS` rows (None where that says nothing)."""

    predicted: Tensor
    courses: Tensor | None = None
    step: Callable[[], object] | None = None


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


def log(task: dict[str, Any], episodes: int, length: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Readings [T + 1, B, D], actions [T, B, A] and rewards [T, B] of episodes that ran their whole length."""
    if task["env"].startswith("sim:"):
        env: Any = gymnasium.make_vec(task["env"], num_envs=episodes, max_episode_steps=length + 1)
    else:
        one = lambda: gymnasium.make(task["env"], max_episode_steps=length + 1)
        env = SyncVectorEnv([one] * episodes, autoreset_mode=AutoresetMode.SAME_STEP)
    high = float(env.single_action_space.high[0])
    obs, actions, rewards, whole = [], [], [], np.ones(episodes, bool)
    for step in rollout(env, Pushing(episodes, high * task["push"], seed), length, seed=seed):
        whole &= ~(step.terminated | step.truncated)
        obs.append(step.obs)
        actions.append(step.action)
        rewards.append(step.reward)
    obs.append(step.next_obs)
    whole_ones = lambda x: torch.as_tensor(np.array(x), dtype=torch.float32)[:, whole]
    return whole_ones(obs), whole_ones(actions), whole_ones(rewards)


def of_recurrent(
    task: dict[str, Any], data: Logged, *, gradient_steps: int, seed: int = 0, device: str = "cpu", **shape: Any
) -> tuple[Foretold, RecurrentDynamics]:
    """A recurrent model fitted one step ahead, then in open loop; `shape` builds it (cell, hidden, layers)."""
    W, n = data.warmup, gradient_steps
    sizes = data.obs.shape[2], data.actions.shape[2]
    model = RecurrentDynamics(*sizes, **shape, bounded=task["full"], body=task["env"]).to(device)
    stages = {ahead: int(part * n) for ahead, part in task["stages"].items()}
    settings = {"section": task["section"], "batch": task["batch"], "learning_rate": 5e-3, "seed": seed}
    logged = data.obs.to(device), data.actions.to(device)
    fit(model, *logged, warmup=W, one_step=n - sum(stages.values()), stages=stages, **settings)
    with torch.no_grad():
        predicted = model.simulate(data.held[:W].to(device), data.pushes.to(device)).cpu()
        state, action = model.begin(logged[0][0, :1].expand(ROWS, -1)), logged[1][0, :1].expand(ROWS, -1)
    return Foretold(predicted, step=_quietly(lambda: model.step(state, action))), model


def of_latent(data: Logged, *, steps: int, seed: int = 0, device: str = "cpu", body: str = "") -> Foretold:
    """The mean of courses drawn from a latent state-space model's prior."""
    model = LatentDynamics(data.obs.shape[2], data.actions.shape[2], body=body).to(device)
    model.fit(data.obs, data.actions, data.rewards, steps=steps, seed=seed)
    courses = model.simulate(data.held[: data.warmup].to(device), data.pushes.to(device), samples=COURSES).cpu()
    with torch.no_grad():
        row, action = model.begin(data.obs[0, :1].expand(ROWS, -1).to(device)), data.actions[0, :1].expand(ROWS, -1)
    action = action.to(device)
    return Foretold(courses.mean(0), courses, _quietly(lambda: model.step(row, action)))


def of_ensemble(data: Logged, *, steps: int, body: str = "") -> Foretold:
    """Open loop of the members' mean, from the last measured reading; the courses follow a member each, with its
    noise."""
    model = Ensemble(data.obs.shape[2], data.actions.shape[2], body=body)
    model.fit(data.obs[:-1].flatten(0, 1), data.actions.flatten(0, 1), data.obs[1:].flatten(0, 1), steps=steps)
    now, predictions, B = data.held[data.warmup - 1], [], data.held.shape[1]
    model.sample = True
    courses, found = model.begin(now.repeat_interleave(COURSES, 0)), []  # row b * S + s follows member s % E
    with torch.no_grad():
        for action in data.pushes[data.warmup - 1 :]:
            now = model.spread(now, action)[0].mean(0)
            predictions.append(now)
            courses, obs = model.step(courses, action.repeat_interleave(COURSES, 0))
            found.append(obs)
        state, action = model.begin(now[:1].expand(ROWS, -1)), data.actions[0, :1].expand(ROWS, -1)
    drawn = torch.stack(found).unflatten(1, (B, COURSES)).permute(2, 0, 1, 3)
    return Foretold(torch.stack(predictions), drawn, _quietly(lambda: model.step(state, action)))


@torch.no_grad()
def of_polynomial(data: Logged, **shape: Any) -> Foretold:
    """A polynomial of the last reading."""
    model = Polynomial(**shape).fit(data.obs, data.actions)
    return Foretold(model.simulate(data.held[data.warmup - 1], data.pushes[data.warmup - 1 :]))


def of_fast_weights(data: Logged) -> Foretold:
    """Open loop of recursive least squares about the slow weights of all training episodes."""
    model = AdaptiveDynamics(data.obs.shape[2], data.actions.shape[2])
    model.fit_scales(data.obs.double(), data.actions.double())
    return Foretold(model.simulate(data.held[: data.warmup].double(), data.pushes.double()))


@torch.no_grad()
def of_linear(data: Logged, lags: int, *, each: bool = False) -> Foretold:
    """Linear least squares with so many lags, fitted to all episodes, or to the beginning of each."""
    if each:
        return Foretold(fitted_per_episode(data.held[: data.warmup], data.pushes, lags=lags))
    return Foretold(least_squares(data.obs, data.actions, data.held[: data.warmup], data.pushes, lags=lags))


@torch.no_grad()
def of_simulator(task: str, start: Tensor, pushes: Tensor) -> Foretold:
    """The task's equations from the last reading: exact for the pendulum. Of the forced oscillator they know the mean
    of each parameter that is drawn, and no rhythm."""
    now, predictions = start.double(), []
    if task == "pendulum":
        truth = TrueModel(KNOWN["pendulum"])
        for action in pushes.double():
            now = truth.step(truth.begin(now), action / 2.0)[1]  # N m to [-1, 1]
            predictions.append(now)
        return Foretold(torch.stack(predictions))
    phi, gamma = (torch.as_tensor(x) for x in damped_hold(2 * np.pi, Forced.zeta, Forced.dt))
    turn = 2 * np.pi * 0.825 * Forced.dt  # rad per step: the rhythm that is wanted is drawn from 0.7 to 0.95 Hz
    c, s = np.cos(turn), np.sin(turn)
    for action in pushes.double():
        moved = now[:, :2] @ phi.T + Forced.max_force * action * gamma
        now = torch.cat([moved, now[:, 2:] @ now.new_tensor([[c, s], [-s, c]])], 1)
        predictions.append(now)
    return Foretold(torch.stack(predictions))


def _quietly(step: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(step)
