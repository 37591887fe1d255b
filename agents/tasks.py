"""Known tasks for planners: rewards, ends and true equations of Gymnasium's CartPole and Pendulum, on tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

__all__ = ["TASKS", "PlanningTask", "SimulatorState", "TrueModel"]


class PlanningTask(NamedTuple):
    """What a planner is told of a task; the dynamics it has to learn.

    Attributes:
        env_id: Gymnasium's id.
        steps: length of an episode.
        reward: of (observation, action in [-1, 1], next observation) [N].
        alive: false where the episode ends [N]; None if it never does.
        to_model: planned action in [-1, 1] to that of the model.
        to_env: planned action [A] to that of the environment.
        horizon: steps that a plan looks ahead.
        truth: the true next observation [N, D], for the ceiling.
    """

    env_id: str
    steps: int
    reward: Callable[[Tensor, Tensor, Tensor], Tensor]
    alive: Callable[[Tensor], Tensor] | None
    to_model: Callable[[Tensor], Tensor]
    to_env: Callable[[np.ndarray], Any]
    horizon: int
    truth: Callable[[Tensor, Tensor], Tensor]

    def make(self) -> Any:
        """The environment, with episodes of `steps`."""
        return gymnasium.make(self.env_id, max_episode_steps=self.steps)


class SimulatorState(NamedTuple):
    obs: Tensor


class TrueModel:
    """A task's own equations in the place of a learned model: the ceiling of planning.

    >>> model = TrueModel(TASKS["pendulum"])
    >>> model.step(model.begin(torch.tensor([[1.0, 0.0, 0.0]])), torch.zeros(1, 1))[1].tolist()
    [[1.0, 0.0, 0.0]]
    """

    def __init__(self, task: PlanningTask):
        self.task = task

    def begin(self, obs: Tensor) -> SimulatorState:
        return SimulatorState(obs)

    def step(self, state: SimulatorState, action: Tensor) -> tuple[SimulatorState, Tensor]:
        obs = self.task.truth(state.obs, action)
        return SimulatorState(obs), obs


def _pendulum_reward(obs: Tensor, action: Tensor, following: Tensor) -> Tensor:
    """-(theta^2 + 0.1 theta'^2 + 0.001 u^2), theta = 0 upright, u in [-2, 2] N m."""
    theta = torch.atan2(obs[:, 1], obs[:, 0])
    return -(theta**2 + 0.1 * obs[:, 2] ** 2 + 0.001 * (2 * action[:, 0]) ** 2)


def _pendulum_truth(obs: Tensor, action: Tensor) -> Tensor:
    """Rod of 1 m and 1 kg, g = 10 m/s^2, semi-implicit Euler steps of 0.05 s, speed within 8 rad/s."""
    theta = torch.atan2(obs[:, 1], obs[:, 0])
    speed = obs[:, 2] + 0.05 * (15.0 * torch.sin(theta) + 3.0 * 2 * action[:, 0].clamp(-1, 1))
    speed = speed.clamp(-8, 8)
    theta = theta + 0.05 * speed
    return torch.stack([torch.cos(theta), torch.sin(theta), speed], 1)


X_LIMIT, ANGLE_LIMIT = 2.4, 12 * math.pi / 180  # m, rad: where CartPole ends


def _cartpole_reward(obs: Tensor, action: Tensor, following: Tensor) -> Tensor:
    """1 per step, less squares of position and angle in units of their limits, so that balance is preferred early."""
    return 1.0 - 0.5 * (following[:, 2] / ANGLE_LIMIT) ** 2 - 0.2 * (following[:, 0] / X_LIMIT) ** 2


def _cartpole_alive(obs: Tensor) -> Tensor:
    return ((obs[:, 0].abs() < X_LIMIT) & (obs[:, 2].abs() < ANGLE_LIMIT)).to(obs.dtype)


def _cartpole_truth(obs: Tensor, action: Tensor) -> Tensor:
    """Cart of 1 kg, pole of 0.1 kg and half-length 0.5 m, force 10 N, g = 9.8 m/s^2, Euler steps of 0.02 s."""
    x, dx, theta, omega = obs.unbind(1)
    sine, cosine = torch.sin(theta), torch.cos(theta)
    push = (10.0 * action[:, 0] + 0.05 * omega**2 * sine) / 1.1
    alpha = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
    acceleration = push - 0.05 * alpha * cosine / 1.1
    return torch.stack([x + 0.02 * dx, dx + 0.02 * acceleration, theta + 0.02 * omega, omega + 0.02 * alpha], 1)


TASKS = {
    "cartpole": PlanningTask(
        "CartPole-v1",
        200,
        _cartpole_reward,
        _cartpole_alive,
        lambda a: torch.where(a >= 0, 1.0, -1.0),
        lambda a: int(a[0] >= 0),
        20,
        _cartpole_truth,
    ),
    "pendulum": PlanningTask(
        "Pendulum-v1",
        200,
        _pendulum_reward,
        None,
        lambda a: a,
        lambda a: (2.0 * a).astype(np.float32),
        25,
        _pendulum_truth,
    ),
}
