"""Peers of recurrent PPO on the same tasks: sb3-contrib's RecurrentPPO, and SB3's PPO that sees the velocities.

Settings are those of rl-baselines3-zoo for the tasks without velocities (LSTM of 64 units for actor and critic, 64
ReLU units behind, observations normalised) and, for plain PPO, for the tasks themselves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from agents.ppo_tasks import make_task
from sim.sb3 import SB3VecEnv

__all__ = ["PEERS", "RecurrentPeer", "build", "learned"]

CONTRIB, PLAIN = "sb3-contrib", "SB3 PPO, all seen"
PEERS = (CONTRIB, PLAIN)

Settings = dict[str, Any]


def _falling(start: float) -> Callable[[float], float]:
    return lambda left: start * left


def recurrent_settings(task: str) -> tuple[int, Settings]:
    """Worlds and settings of sb3-contrib's learner.

    Raises:
        ValueError: a task without settings of its own.
    """
    net = {"lstm_hidden_size": 64, "net_arch": [64], "enable_critic_lstm": True}
    net |= {"ortho_init": False, "activation_fn": nn.ReLU}
    if task == "CartPole-v1":
        rates = {"learning_rate": _falling(1e-3), "clip_range": _falling(0.2)}
        return 8, {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, **rates,
                   "policy_kwargs": net}  # fmt: skip
    if task == "Pendulum-v1":
        return 4, {"n_steps": 1024, "n_epochs": 10, "gamma": 0.9, "gae_lambda": 0.95, "learning_rate": 1e-3,
                   "use_sde": True, "sde_sample_freq": 4, "policy_kwargs": net}  # fmt: skip
    raise ValueError(f"no settings of sb3-contrib's learner for {task}; there are some for CartPole-v1 and Pendulum-v1")


def plain_settings(task: str) -> tuple[int, Settings]:
    """Worlds and settings of SB3's PPO.

    Raises:
        ValueError: a task without settings of its own.
    """
    if task == "CartPole-v1":
        rates = {"learning_rate": _falling(1e-3), "clip_range": _falling(0.2)}
        return 8, {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, **rates}
    if task == "Pendulum-v1":
        return 4, {"n_steps": 1024, "n_epochs": 10, "gamma": 0.9, "gae_lambda": 0.95, "learning_rate": 1e-3,
                   "use_sde": True, "sde_sample_freq": 4}  # fmt: skip
    raise ValueError(f"no settings of SB3's PPO for {task}; there are some for CartPole-v1 and Pendulum-v1")


class RecurrentPeer:
    """A model of SB3 that acts greedily, as an actor for `agents.rollout`."""

    def __init__(self, model: Any):
        self.model, self.scale = model, model.get_vec_normalize_env()

    def initial_state(self, batch: int) -> Any:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        seen = obs if self.scale is None else self.scale.normalize_obs(obs)
        action, after = self.model.predict(seen, state or None, episode_start=first, deterministic=True)
        return action, after or ()


def build(peer: str, task: str, seed: int) -> Any:
    """A learner of that library in its worlds.

    Raises:
        ValueError: an unknown peer, a library that is not installed, or a task without settings.
    """
    if peer == CONTRIB:
        if importlib.util.find_spec("sb3_contrib") is None:
            raise ValueError("sb3-contrib is not installed: make peers")
        from sb3_contrib import RecurrentPPO

        worlds, settings = recurrent_settings(task)
        normalise = task == "CartPole-v1"
        env: Any = SB3VecEnv(make_task(task, worlds))
        env = VecNormalize(env, gamma=settings["gamma"]) if normalise else env
        return RecurrentPPO("MlpLstmPolicy", env, seed=seed, device="cpu", **settings)
    if peer == PLAIN:
        from stable_baselines3 import PPO

        worlds, settings = plain_settings(task)
        return PPO("MlpPolicy", SB3VecEnv(make_task(task, worlds, hide=False)), seed=seed, device="cpu", **settings)
    raise ValueError(f"unknown peer {peer!r}; there are {', '.join(PEERS)}")


def learned(peer: str, task: str, seed: int, steps: int) -> tuple[RecurrentPeer, bool]:
    """A trained peer, and whether velocities are hidden from it."""
    return RecurrentPeer(build(peer, task, seed).learn(steps)), peer == CONTRIB
