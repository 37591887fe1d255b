"""The salamander for Stable-Baselines3: any vector environment of this package as an SB3 `VecEnv`."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

__all__ = ["SB3VecEnv", "make_sb3"]


class SB3VecEnv(VecEnv):
    """Adapter from a Gymnasium vector environment with SAME_STEP autoreset.

    Time limits arrive as `infos[i]["TimeLimit.truncated"]`, last observations as `infos[i]["terminal_observation"]`,
    reward terms and other entries row by row in `infos[i]`.

    Args:
        env: The vector environment.
        infos: Hand over the rows of `info` as well; False is faster for many worlds.

    Raises:
        ValueError: It is not a vector environment with SAME_STEP autoreset.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, infos: bool = True) -> None:
        if not isinstance(env, VectorEnv) or env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise ValueError(
                "SB3 needs a vector environment whose worlds start anew in the step in which they end: SAME_STEP"
            )
        self.env, self._infos = env, infos
        self._actions: Any = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Start all worlds anew; uses the seeds given by `seed()` once."""
        seeds: Any = list(self._seeds) if any(s is not None for s in self._seeds) else None
        obs, info = self.env.reset(seed=seeds)
        self.reset_infos = self._rows(info)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Act with them."""
        obs, reward, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        final = info.pop("final_obs", None)
        rows = self._rows(info)
        for i in np.flatnonzero(done):
            rows[i]["terminal_observation"] = final[i]
            rows[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return obs, np.asarray(reward, dtype=np.float32), done, rows

    def _rows(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        if not self._infos:
            return [{} for _ in range(self.num_envs)]
        kept = {k: v for k, v in info.items() if not k.startswith("_") and k != "final_info"}
        return [_row(kept, i) for i in range(self.num_envs)]

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture per world."""
        pictures: Any = self.env.render()
        return [None] * self.num_envs if pictures is None else list(pictures)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, once per asked world."""
        value = getattr(self.env.unwrapped, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment, which all worlds share."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"the worlds share one environment; set {attr_name!r} for all of them (indices=None)")
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of the environment once; its result, once per asked world."""
        result = getattr(self.env.unwrapped, method_name)(*args, **kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """No world has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]


def _row(info: dict[str, Any], i: int) -> dict[str, Any]:
    return {key: _row(value, i) if isinstance(value, dict) else value[i] for key, value in info.items()}


def make_sb3(env_id: str, num_envs: int = 1, **options: Any) -> SB3VecEnv:
    """An SB3 `VecEnv` by Gymnasium id; for the salamander actions are normalised to [-1, 1] unless asked otherwise.

    Args:
        env_id: For example "salamander/Swim-v0".
        num_envs: How many worlds.
        **options: Passed to the environment.

    >>> make_sb3("salamander/Walk-v0", 2).action_space.high.max()
    np.float32(1.0)
    """
    if "salamander/" in env_id:
        options.setdefault("normalise_actions", True)
    name = env_id if env_id.startswith("sim:") else f"sim:{env_id}"
    return SB3VecEnv(gymnasium.make_vec(name, num_envs, vectorization_mode="vector_entry_point", **options))
