"""A pattern generator underneath the policy: actions are drives, the muscles follow the spinal cord."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space

from agents.motor import SpinalMotor
from rnn.cpg import PhaseCell, drive_input

__all__ = [
    "HOLD",
    "SETTINGS",
    "SWIM",
    "WALK",
    "BearingDrive",
    "CourseDrive",
    "DriveLevel",
    "HeldDrive",
    "ShoreDrive",
    "drive_worlds",
    "drives",
]

TARGET = "target.distance"
HOLD = 25  # control steps, 0.25 s
SWIM, WALK = (5 / 9, 0.0, 1.0), (-1 / 3, 0.0, -1.0)  # actions: mean drives of 4, limbs silent, and 2
_PPO: dict[str, Any] = {
    "horizon": 32,
    "minibatch": 4,
    "discount": 0.95,
    "gae_lambda": 0.9,
    "learning_rate": 1e-3,
    "noise": "state",  # drives that jump with every decision get the animal nowhere
    "noise_steps": 6,
    "log_std": -2.0,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "steer": {**_PPO, "reward_scale": 0.5},
    "swim": {**_PPO, "reward_scale": 0.01},
    "walk": {**_PPO, "reward_scale": 0.01},
    "shore": {**_PPO, "reward_scale": 0.01},
}
"""Of `agents.recurrent_ppo`, for `drive_worlds`."""


class DriveLevel(VectorWrapper):
    """Turns muscle-level worlds into worlds of drives.

    | action | meaning | range |
    |---|---|---|
    | 0 | mean drive: below 1 rest, 1 to 3 walking, 3 to 5 swimming | 0.5 to 5 |
    | 1 | right minus left, halved: turning | +-1 |
    | 2 | offset of the limbs' drive: from 2 on it silences them at swimming drives | 0 to 4 |

    An action holds for several control steps, whose rewards are summed; a world that ends on the way keeps the rest of
    the reward of its new episode out.

    Args:
        env: a vector environment of the salamander at muscle level (activations, not normalised).
        hold: control steps per action.
        reward: "task", the sum of the task's own; or "progress", for a task with targets: body lengths by which the
            target came nearer, and 1 when it is reached. The task's own pays for being near as well, so that the most
            of it is had by never arriving.

    Raises:
        ValueError: another reward, or "progress" without a target.
    """

    def __init__(self, env: Any, *, hold: int = 10, reward: str = "task"):
        super().__init__(env)
        self.hold, self.reward = hold, reward
        self.observation_names = tuple(env.unwrapped.observation_names)
        if reward not in ("task", "progress") or (reward == "progress" and TARGET not in self.observation_names):
            raise ValueError(
                f"the reward is 'task', or 'progress' where a target is observed; received {reward!r} for a task that "
                f"observes {', '.join(env.unwrapped.task.extra_names) or 'nothing of its own'}"
            )
        self.cell, self.motor = PhaseCell(dt=env.unwrapped.dt).eval(), SpinalMotor()
        self.single_action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.inner: Any = None
        self.distance = np.zeros(self.num_envs)  # of the target, BL
        self.arrived = np.zeros(self.num_envs, bool)  # in the last control step, so that the target is another now

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.inner = self.cell.initial_state(self.num_envs)
        obs, info = self.env.reset(seed=seed, options=options)
        self._look(obs, np.ones(self.num_envs, bool))
        return obs, info

    @torch.inference_mode()
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        x = drives(self.cell, actions)
        total, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        truncated, info, final = terminated.copy(), {}, None
        reached = np.zeros(self.num_envs)
        for _ in range(self.hold):
            y, self.inner = self.cell(x, self.inner)
            obs, reward, over, cut, step_info = self.env.step(self.motor(y).numpy())
            running = ~(terminated | truncated)
            there = step_info["reward_terms"].get("reached", np.zeros(self.num_envs)) > 0
            reached += there & running
            if self.reward == "progress":
                reward = self._progress(obs, step_info, over | cut, there)
            total += np.where(running, reward, 0.0)
            ended = (over | cut) & running
            if ended.any():
                final = np.full(self.num_envs, None, dtype=object) if final is None else final
                final[ended] = step_info["final_obs"][ended]
                fresh, rows = self.cell.initial_state(self.num_envs), torch.as_tensor(ended)[:, None]
                self.inner = type(fresh)(*(torch.where(rows, n, o) for n, o in zip(fresh, self.inner, strict=True)))
            terminated |= over & running
            truncated |= cut & running
            info = step_info
        info = {**info, "reached": reached}
        if final is not None:
            info = {**info, "final_obs": final}
        return obs, total, terminated, truncated, info

    def _progress(self, obs: np.ndarray, info: dict[str, Any], ended: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Body lengths gained in a control step, and 1 for arriving [B]."""
        seen = obs.copy()
        for row in np.flatnonzero(ended):
            seen[row] = info["final_obs"][row]
        before, renewed = self.distance.copy(), self.arrived.copy()
        self._look(seen, ~ended)
        self._look(obs, ended)  # the next episode's own target
        self.arrived = there & ~ended
        nearer = before - seen[:, self.observation_names.index(TARGET)]
        return np.where(renewed, 0.0, nearer) + there

    def _look(self, obs: np.ndarray, rows: np.ndarray) -> None:
        if TARGET in self.observation_names:
            self.distance[rows] = obs[rows, self.observation_names.index(TARGET)]
            self.arrived[rows] = False


def drives(cell: PhaseCell, actions: Any) -> torch.Tensor:
    """The input of a pattern generator [B, I] that actions [B, 3] of `DriveLevel` mean."""
    a = torch.as_tensor(np.clip(actions, -1, 1), dtype=torch.float32)
    mean, turn, limb = 2.75 + 2.25 * a[:, 0], a[:, 1], 2.0 * (a[:, 2:3] + 1)
    left, right = (mean - turn)[:, None], (mean + turn)[:, None]
    return drive_input(cell, left.expand(-1, 2), right.expand(-1, 2), limb=limb.expand(-1, 4), batch=len(a))


def drive_worlds(
    task: str, num_envs: int, *, steps: int | None = None, threads: int = 1, world: str | None = None
) -> DriveLevel:
    """Worlds of a salamander's task acted in by drives, each held for a quarter of a second.

    Args:
        task: "swim", "walk", "shore" or "steer" (rewarded by progress).
        num_envs: B.
        steps: control steps (10 ms) of an episode; None for the task's own, of 20 s (steer) or 30 s (shore).
        threads: of the physics, which takes Euler steps of 5 ms.
        world: where; None for the task's own.
    """
    limits = {"shore": 3000, "steer": 2000}
    env = gymnasium.make_vec(
        f"sim:salamander/{task.capitalize()}-v0",
        num_envs=num_envs,
        world=world,
        max_episode_steps=steps or limits.get(task, 1000),
        timestep=0.005,
        integrator="euler",
        threads=threads,
    )
    return DriveLevel(env, hold=HOLD, reward="progress" if task == "steer" else "task")


class HeldDrive:
    """The same drives for ever; [-1, 0, 1] is idle."""

    def __init__(self, action: Sequence[float] | np.ndarray):
        self.action = np.asarray(action, dtype=np.float32)

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        return np.tile(self.action, (len(first), 1)), state


class BearingDrive(HeldDrive):
    """Swims at a drive of 4 and turns in proportion to the target's bearing.

    Args:
        names: of the observation.
        gain: turning action per rad.
    """

    def __init__(self, names: tuple[str, ...], *, gain: float = 1.0):
        super().__init__(SWIM)
        self.cos, self.sin, self.gain = names.index("target.cos"), names.index("target.sin"), gain

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = super().act(obs, state, step=step, first=first)
        # positive bearings are to the left, positive actions turn to the right
        action[:, 1] = np.clip(-self.gain * np.arctan2(obs[:, self.sin], obs[:, self.cos]), -1, 1)
        return action, state


class CourseDrive(HeldDrive):
    """Walks at a drive of 2 and turns back in proportion to how far it heads off +x.

    Args:
        names: of the observation.
        gain: turning action per unit of the heading's sine.
    """

    def __init__(self, names: tuple[str, ...], *, gain: float = 2.0):
        super().__init__(WALK)
        self.sin, self.gain = names.index("heading.sin"), gain

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = super().act(obs, state, step=step, first=first)
        action[:, 1] = np.clip(self.gain * obs[:, self.sin], -1, 1)  # positive headings are to the left
        return action, state


class ShoreDrive(HeldDrive):
    """Walks at a drive of 2 until half of the body is under water, then swims at a drive of 4.

    Args:
        names: of the observation.
    """

    def __init__(self, names: tuple[str, ...]):
        super().__init__(SWIM)
        self.wet = [i for i, name in enumerate(names) if name.startswith("submerged")]

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = super().act(obs, state, step=step, first=first)
        afloat = obs[:, self.wet].mean(1) > 0.5
        return np.where(afloat[:, None], action, np.array(WALK, np.float32)), state
