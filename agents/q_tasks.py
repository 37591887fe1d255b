"""Tasks for Q learners by id: discrete actions, hidden velocities, and settings that were found to work."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorActionWrapper

import sim  # noqa: F401  (registers the ids)
from agents.drive_task import MIRROR, DriveTask
from agents.fitted_q import FittedQ
from agents.learner import Learner
from agents.pqn import PQN
from agents.recurrent_dqn import RecurrentDQN
from agents.recurrent_fitted_q import RecurrentFittedQ
from sim.frame_skip import FrameSkip
from sim.wrappers import HideVelocity

__all__ = ["AGENTS", "CONTROLS", "REACHED", "SETTINGS", "THRESHOLDS", "DiscreteActions", "make_agent", "make_task"]

AGENTS: dict[str, type[Learner]] = {
    "recurrent_dqn": RecurrentDQN,
    "dqn": RecurrentDQN,
    "pqn": PQN,
    "fitted_q": FittedQ,
    "recurrent_fitted_q": RecurrentFittedQ,
}

CONTROLS: dict[str, dict[str, Any]] = {
    "recurrent": {},
    "memoryless": {"cell": None, "previous_action": False, "burn_in": 0},
    "trace": {"cell": "trace"},
    "full_state": {"cell": None, "previous_action": False, "burn_in": 0},
}
"""What stands beside every recurrent score: no memory, fixed exponential traces, and no memory with nothing hidden."""

THRESHOLDS = {
    "CartPole-v1": 475.0,
    "MountainCar-v0": -110.0,
    "Acrobot-v1": -100.0,
    "Pendulum-v1": -200.0,
    "LunarLander-v3": 200.0,
}
"""Gymnasium's registry; Pendulum has none there."""

REACHED = {"salamander/Steer-v0": 0.0}
"""Return above which an episode has reached its goal: 4 - 0.05 n after n <= 64 decisions, else -0.7 at most."""

_CART_MIRROR = {"mirror_signs": (-1.0,) * 4, "mirror_actions": (1, 0)}

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "CartPole-v1": {
        "recurrent_dqn": {
            "reward_scale": 0.01,
            "initial_value": 1.0,
            "n_step": 10,
            "target_rate": 0.03,
            "scale": (3.0, 1.0, 20.0, 1.0),  # speeds are told from small differences
            "gap": 0.8,
            "batch": 64,
            "lr": 5e-4,
            "lr_end": 0.2,
            **_CART_MIRROR,
        },
        "pqn": {"reward_scale": 0.05, "scale": (1.0, 1.0, 10.0, 1.0)},
        "recurrent_fitted_q": {
            "scale": (3.0, 1.0, 20.0, 1.0),  # speeds are told from small differences
            "reward_scale": 0.01,
            "initial_value": 1.0,
            "refit_every": 400,
            "iterations": 4,
            "epochs": 2,
            "batch": 64,
            "lambda_": 0.9,
            "target_rate": 0.35,
            "gap": 0.8,
            **_CART_MIRROR,
        },
        "fitted_q": {
            "cost_scale": 0.0,
            "failure": 1.0,
            "lambda_": 0.6,  # with 0 the costs to go sink below 0, and what was learned is lost
            "gap": 0.8,
            "target_rate": 0.2,
            "refit_every": 200,
            "iterations": 3,
            "epochs": 2,
            "batch": 256,
            "lr_end": 0.1,
            **_CART_MIRROR,
        },
    },
    "MountainCar-v0": {
        "recurrent_dqn": {
            "reward_scale": 0.05,
            "scale": (5.0, 15.0),
            "n_step": 10,
            "target_rate": 0.03,
            "updates_per_step": 0.125,
            "epsilon_steps": 20_000,
            "hold": 20,
        },
        "fitted_q": {
            "model": "random_trees",
            "trees": 50,
            "leaf": 1,
            "sweeps": 200,
            "settled": 3e-4,
            "unknown": 300,
            "known_within": 0.1,
            "reach": 10,
            "hold": 10,
            "random_steps": 200,
            "refit_every": 200,
            "epsilon": 0.0,
            "gamma": 0.99,
        },
    },
    "Acrobot-v1": {
        "recurrent_dqn": {
            "reward_scale": 0.05,
            "scale": (1.0, 1.0, 1.0, 1.0, 0.2, 0.1),
            "n_step": 10,
            "target_rate": 0.03,
            "updates_per_step": 0.125,
            "epsilon_steps": 8000,
            "hold": 5,
        }
    },
    "LunarLander-v3": {
        "recurrent_dqn": {"reward_scale": 0.01, "target_rate": 0.03, "epsilon_steps": 15_000},
        "pqn": {  # for actions that are kept up for four steps
            "reward_scale": 0.02,
            "lr_end": 0.1,
            "epsilon_steps": 60_000,
            "encoder": 0,
            "scale": (5.0, 5.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0),  # speeds are told from small differences
            "forecast": 1.0,
            "epochs": 4,
            "minibatches": 8,
            "target_rate": 0.002,
        },
    },
    "Pendulum-v1": {
        "recurrent_dqn": {
            "reward_scale": 0.005,
            "gamma": 0.97,
            "n_step": 5,
            "target_rate": 0.03,
            "scale": (1.0, 1.0, 0.2),
            "updates_per_step": 0.125,
        }
    },
    "salamander/": {
        "recurrent_dqn": {
            "gamma": 0.98,
            "n_step": 10,
            "updates_per_step": 0.25,
            "epsilon_steps": 6000,
            "hold": 6,
            "scale": (*[1.0] * 10, 5.0, *[1.0] * 6),  # the yaw rate is the smallest of what is felt
            **MIRROR,
        }
    },
    "oscillator/": {"recurrent_dqn": {"reward_scale": 0.2, "gamma": 0.95, "n_step": 3, "updates_per_step": 0.125}},
}
"""By task (or family) and agent; what is not named is the agent's default."""


class DiscreteActions(VectorActionWrapper):
    """A continuous action of one number as a choice among evenly spaced ones.

    >>> env = gymnasium.make_vec("Pendulum-v1", 2, vectorization_mode="sync")
    >>> DiscreteActions(env, 5).actions(np.array([0, 4])).tolist()
    [[-2.0], [2.0]]

    Raises:
        ValueError: the action is not one bounded number.
    """

    def __init__(self, env: Any, choices: int = 5):
        super().__init__(env)
        box = env.single_action_space
        if not isinstance(box, Box) or box.shape != (1,) or not np.isfinite([box.low[0], box.high[0]]).all():
            raise ValueError(f"expected a Box of one bounded number as the action space, received {box}")
        self.table = np.linspace(box.low[0], box.high[0], choices, dtype=np.float32)[:, None]
        self.single_action_space = Discrete(choices)
        self.action_space = MultiDiscrete([choices] * env.num_envs)

    def actions(self, actions: Any) -> np.ndarray:
        return self.table[np.asarray(actions)]


def make_task(
    name: str, num_envs: int, *, hide: bool = True, choices: int = 5, frame_skip: int = 1, **options: Any
) -> Any:
    """Worlds of a task with discrete actions; `salamander/Steer-v0` is steered by drive clamps (`DriveTask`).

    Args:
        name: id.
        num_envs: worlds.
        hide: take the velocities away; let the bearing blink.
        choices: number of actions where the task's own is a continuous number.
        frame_skip: environment steps per action (`sim.frame_skip`).
        options: of the environment.

    Raises:
        ValueError: a frame skip for a task whose worlds are not made one by one.
    """
    batched = bool(gymnasium.spec(name).vector_entry_point) and not name.startswith("CartPole")
    if frame_skip != 1 and (batched or name == "salamander/Steer-v0"):
        raise ValueError(f"`frame_skip` needs worlds that are made one by one; those of {name} are one batch: use 1")
    if name == "salamander/Steer-v0":
        blink = {} if hide else {"blink": None}
        return DriveTask(num_envs, **{"timestep": 0.005, "integrator": "euler", "threads": 1, **blink, **options})
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    if batched:
        if name.startswith("oscillator/"):
            options = {"discrete_actions": choices, **options}
        env = gymnasium.make_vec(name, num_envs, **options)
    else:
        skips = [lambda env: FrameSkip(env, frame_skip)] if frame_skip != 1 else []
        how: dict[str, Any] = {"vectorization_mode": "sync", "vector_kwargs": same, "wrappers": skips}
        env = gymnasium.make_vec(name, num_envs, **how, **options)
    if isinstance(env.single_action_space, Box):
        env = DiscreteActions(env, choices)
    return HideVelocity(env) if hide else env


def make_agent(kind: str, name: str, env: Any, *, seed: int = 0, **changes: Any) -> Learner:
    """A learner with the settings that were found to work for a task."""
    family = next((key for key in SETTINGS if name.startswith(key)), name)
    base = "recurrent_dqn" if kind == "dqn" else kind
    settings = dict(SETTINGS.get(family, {}).get(base, {}))
    if kind == "dqn":
        settings.update(CONTROLS["memoryless"])
    settings.update(changes)
    if isinstance(settings.get("scale"), tuple) and len(settings["scale"]) != env.single_observation_space.shape[0]:
        settings.pop("scale")
    return AGENTS[kind](env, seed=seed, **settings)
