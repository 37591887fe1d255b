"""The one loop that steps an environment: training, evaluation, film and steering all use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from tqdm import tqdm

__all__ = ["Actor", "Transition", "Worlds", "rollout"]


class Actor(Protocol):
    """What acts: the recurrent state is passed in and returned, never hidden."""

    def initial_state(self, batch: int) -> Any:
        """The state of a batch of fresh episodes."""

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        """Actions [B, A] for observations [B, ...]; rows with `first` [B] true start an episode at this step."""


class Transition(NamedTuple):
    """One step of all worlds. `next_obs` is the true last observation where an episode ended."""

    step: int
    obs: Any
    first: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_obs: Any
    info: dict[str, Any]
    state: Any


class Worlds:
    """One face for Gymnasium vector environments (SAME_STEP or NEXT_STEP autoreset) and SB3's `VecEnv`.

    `step` returns the observation to act on next, reward, terminated, truncated, the final observation and info.
    `obs` and `first` are the observation to act on next and which rows start an episode with it: a loop that was
    interrupted goes on from them.

    Raises:
        TypeError: the environment is neither kind of vector environment.
        ValueError: it does not reset worlds by itself.
    """

    def __init__(self, env: Any):
        self.env = env
        self.gymnasium = isinstance(env, VectorEnv)
        if self.gymnasium:
            mode = env.metadata.get("autoreset_mode")
            if mode != AutoresetMode.SAME_STEP:
                raise ValueError(
                    f"the loop needs a vector environment with SAME_STEP autoreset, received {mode}; "
                    "pass vector_kwargs={'autoreset_mode': 'SameStep'} to gymnasium.make_vec"
                )
        elif not (hasattr(env, "step_wait") and hasattr(env, "num_envs")):
            raise TypeError(
                f"expected a Gymnasium VectorEnv or an SB3 VecEnv, received {type(env).__name__}; "
                "make one with gymnasium.make_vec(id, num_envs=1)"
            )
        self.num_envs: int = env.num_envs
        self.obs: Any = None
        self.first = np.ones(self.num_envs, dtype=bool)

    def reset(self, seed: int | None = None) -> Any:
        """Start every world anew and return the observations."""
        self.first = np.ones(self.num_envs, dtype=bool)
        if self.gymnasium:
            self.obs = self.env.reset(seed=seed)[0]
            return self.obs
        if seed is not None:
            self.env.seed(seed)
        self.obs = self.env.reset()
        return self.obs

    def step(self, action: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any, dict[str, Any]]:
        """Advance every world by one control step."""
        if self.gymnasium:
            try:
                obs, reward, terminated, truncated, info = self.env.step(action)
            except ValueError as error:
                if "shape" not in str(error):  # numpy's complaint when observations do not fit together
                    raise
                raise ValueError(
                    f"a world gave an observation that is not of {self.env.single_observation_space}; an environment "
                    "must keep its spaces: mend it, or pad its observations in a wrapper"
                ) from error
            ended = terminated | truncated
            self.obs, self.first = obs, ended
            last = _merge(obs, info.get("final_obs"), ended)
            return obs, np.asarray(reward), terminated, truncated, last, info
        obs, reward, done, infos = self.env.step(action)
        self.obs, self.first = obs, np.asarray(done)
        truncated = np.array(
            [bool(d and i.get("TimeLimit.truncated", False)) for d, i in zip(done, infos, strict=True)]
        )
        final = [i.get("terminal_observation") for i in infos]
        return obs, reward, done & ~truncated, truncated, _merge(obs, final, done), {"infos": infos}


def _merge(obs: Any, final: Any, ended: np.ndarray) -> Any:
    if final is None or not ended.any():
        return obs
    if isinstance(obs, dict):
        parts = final if isinstance(final, dict) else None
        return {
            key: _merge(value, parts[key] if parts else [f[key] if f is not None else None for f in final], ended)
            for key, value in obs.items()
        }
    merged = np.array(obs)
    for row in np.flatnonzero(ended):
        merged[row] = final[row]
    return merged


def rollout(
    env: Any,
    actor: Actor,
    steps: int,
    *,
    seed: int | None = None,
    state: Any = None,
    start: int = 0,
    progress: str | None = None,
) -> Iterator[Transition]:
    """Let an actor live in the worlds for a number of steps, giving each transition as it happens.

    Args:
        env: a vector environment, or `Worlds` that are already running (then no reset is made when `start` > 0).
        actor: what acts.
        steps: control steps per world.
        seed: seed of the reset.
        state: the actor's state to start from.
        start: number of the first step, against which edits count their steps.
        progress: label of a progress bar; None for none.
    """
    worlds = env if isinstance(env, Worlds) else Worlds(env)
    running = start > 0 and worlds.obs is not None
    obs = worlds.obs if running else worlds.reset(seed)
    state = actor.initial_state(worlds.num_envs) if state is None else state
    first = worlds.first
    counter = tqdm(range(start, start + steps), desc=progress, disable=progress is None, leave=False)
    for step in counter:
        action, state = actor.act(obs, state, step=step, first=first)
        next_obs, reward, terminated, truncated, last, info = worlds.step(action)
        yield Transition(step, obs, first, action, reward, terminated, truncated, last, info, state)
        obs, first = next_obs, terminated | truncated
