"""Tasks for recurrent PPO by id: velocities hidden, settings that were found to work, and controls."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.q_network import Trace
from agents.recurrent_ppo import RecurrentPPO
from sim.wrappers import HideVelocity

__all__ = ["CONTROLS", "SETTINGS", "WORLDS", "make_agent", "make_task"]

SETTINGS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "previous_action": True,
        "discount": 0.995,
        "spread_decay": 0.99,
        "mirror_signs": (-1.0,) * 4,  # a policy that is alike on both sides does not come to drift to one
        "mirror_actions": (1, 0),
    },
    "Pendulum-v1": {
        "horizon": 64,
        "minibatch": 2,  # with 4, one seed in ten stayed behind at -313
        "learning_rate": 2e-3,
        "discount": 0.97,
        "previous_action": True,
        "mirror_signs": (1.0, -1.0, -1.0),  # cos, sin, velocity
        "mirror_actions": (-1,),
    },
    "MountainCarContinuous-v0": {
        "horizon": 256,
        "sequence_length": 64,
        "minibatch": 4,
        "noise": "state",
        "noise_steps": 32,
        "log_std": 0.0,
    },
}
"""Measured by `benchmarks/recurrent_ppo.py`; a task that is not here gets the defaults of `RecurrentPPOConfig`."""

WORLDS = {"CartPole-v1": 32, "Pendulum-v1": 8, "MountainCarContinuous-v0": 8}
"""Worlds side by side for those settings."""

CONTROLS: dict[str, dict[str, Any]] = {
    "memoryless": {"cell": "frame", "previous_action": False},
    "traces": {"cell": lambda inputs: Trace(inputs, 64)},
    "full": {"cell": "frame", "previous_action": False},
}
"""What stands beside every recurrent score: no memory, exponential averages instead of a cell that learns what to keep,
and no memory with nothing hidden."""


def make_task(task: str, worlds: int, *, hide: bool = True) -> SyncVectorEnv:
    """Worlds of a task, by Gymnasium's id, velocities hidden.

    Raises:
        ValueError: a task whose velocities are not known, to be hidden.

    >>> make_task("CartPole-v1", 3).num_envs
    3
    """

    def one() -> Any:
        env = gymnasium.make(task)
        try:
            return HideVelocity(env) if hide else env
        except ValueError as error:
            raise ValueError(f"{error}; `hide=False` (--no-hide) leaves everything to be seen") from error

    return SyncVectorEnv([one] * worlds, autoreset_mode=AutoresetMode.SAME_STEP)


def make_agent(
    task: str, cell: str = "gru", *, worlds: int | None = None, hide: bool = True, seed: int = 0, **changes: Any
) -> RecurrentPPO:
    """A learner with the settings of its task.

    Args:
        task: Gymnasium's id.
        cell: a cell of `rnn.models`, or one of `CONTROLS`.
        worlds: side by side; None for those of the task (32 where it has none).
        hide: velocities; the control "full" sees them in any case.
        hide: velocities; the control "full" sees them in any case.
        seed: of everything.
        changes: settings that take the place of the task's.

    >>> make_agent("Pendulum-v1", "memoryless", worlds=2).config.horizon
    64
    """
    settings = {"cell": cell, **SETTINGS.get(task, {}), **CONTROLS.get(cell, {}), **changes}
    env = make_task(task, worlds or WORLDS.get(task, 32), hide=hide and cell != "full")
    return RecurrentPPO(env, seed=seed, **settings)
