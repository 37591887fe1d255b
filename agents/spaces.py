"""Observation spaces as flat rows of numbers and as plain values; states as lists of tensors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from rnn.cell import map_state

__all__ = [
    "add_axis",
    "flatten",
    "is_batched",
    "leaves",
    "make_worlds",
    "rebuild",
    "space_from_plain",
    "space_to_plain",
]


def make_worlds(env: Any, num_envs: int = 1) -> Any:
    """A vector environment from an id, a single environment, or itself."""
    if isinstance(env, str):
        return gymnasium.make_vec(
            env, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
        )
    if isinstance(env, gymnasium.Env):
        return SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.SAME_STEP)
    return env


def leaves(state: Any) -> list[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [leaf for part in state for leaf in leaves(part)]


def rebuild(like: Any, parts: list[Tensor] | tuple[Tensor, ...]) -> Any:
    """A state of the same structure as `like` from its tensors."""
    if len(parts) != len(leaves(like)):
        raise ValueError(f"the state has {len(parts)} parts, this learner's has {len(leaves(like))}; pass back its own")
    queue = iter(parts)
    return map_state(lambda _: next(queue), like)


def is_batched(space: spaces.Space, obs: Any) -> bool:
    """Whether an observation carries a batch axis."""
    if isinstance(space, spaces.Dict):
        key = next(iter(space.spaces))
        return is_batched(space.spaces[key], obs[key])
    return np.ndim(obs) > len(space.shape or ())


def add_axis(obs: Any) -> Any:
    """One observation as a batch of one."""
    return {k: np.asarray(v)[None] for k, v in obs.items()} if isinstance(obs, dict) else np.asarray(obs)[None]


def flatten(space: spaces.Space, obs: Any) -> np.ndarray:
    """Observations of a batch as float32 [B, D]; whole numbers become one-hot rows.

    >>> flatten(spaces.Discrete(3), np.array([0, 2])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if isinstance(space, spaces.Dict):
        return np.concatenate([flatten(space.spaces[key], obs[key]) for key in space.spaces], axis=1)
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(obs).astype(int) - int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        rows = np.asarray(obs).astype(int).reshape(len(obs), -1) - np.ravel(space.start)
        return np.concatenate([np.eye(n, dtype=np.float32)[rows[:, k]] for k, n in enumerate(space.nvec.flat)], axis=1)
    array = np.asarray(obs, dtype=np.float32)
    return array.reshape(len(array), -1)


def space_to_plain(space: spaces.Space) -> dict[str, Any]:
    """A space as plain values and arrays, for a checkpoint."""
    if isinstance(space, spaces.Box):
        return {"box": [space.low, space.high, str(space.dtype)]}
    if isinstance(space, spaces.Discrete):
        return {"discrete": [int(space.n), int(space.start)]}
    if isinstance(space, spaces.MultiDiscrete):
        return {"multi_discrete": [space.nvec, space.start, str(space.dtype)]}
    if isinstance(space, spaces.MultiBinary):
        return {"multi_binary": space.n if isinstance(space.n, int) else list(space.shape)}
    if isinstance(space, spaces.Dict):
        return {"dict": [[key, space_to_plain(inner)] for key, inner in space.spaces.items()]}
    raise ValueError(
        f"spaces of kind {type(space).__name__} are not served; use Box, Discrete, MultiDiscrete, MultiBinary or Dict, "
        "or a wrapper such as gymnasium.wrappers.FlattenObservation"
    )


def space_from_plain(plain: dict[str, Any]) -> spaces.Space:
    """The space that `space_to_plain` described."""
    kind, value = next(iter(plain.items()))
    if kind == "box":
        return spaces.Box(value[0], value[1], dtype=np.dtype(value[2]).type)
    if kind == "discrete":
        return spaces.Discrete(value[0], start=value[1])
    if kind == "multi_discrete":
        return spaces.MultiDiscrete(value[0], dtype=np.dtype(value[2]).type, start=value[1])
    if kind == "multi_binary":
        return spaces.MultiBinary(value)
    return spaces.Dict({key: space_from_plain(inner) for key, inner in value})
