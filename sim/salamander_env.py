"""The salamander as Gymnasium environments: salamander/Swim-v0, Walk-v0, Shore-v0 and Steer-v0."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike

from sim.salamander_vector import Observation, SalamanderVectorEnv, TaskName

__all__ = ["SalamanderEnv", "SalamanderVectorEnv"]


class SalamanderEnv(gym.Env[Observation, Any]):
    """One salamander: a batch of one of `SalamanderVectorEnv`, where tasks, spaces, rewards and arguments are
    described.

    Args:
        task: "swim", "walk", "shore" or "steer".
        render_mode: "rgb_array" or None.
        **options: Any other argument of `SalamanderVectorEnv` except its number of worlds and autoreset mode; leave
            `max_episode_steps` to Gymnasium's wrapper, or pass it when there is none.

    >>> env = SalamanderEnv(task="walk")
    >>> obs, info = env.reset(seed=1)
    >>> env.action_space.shape, env.unwrapped.salamander.world
    ((48,), 'land')
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100}

    def __init__(self, task: TaskName = "swim", *, render_mode: str | None = None, **options: Any) -> None:
        options.setdefault("threads", 1)
        self.batch = SalamanderVectorEnv(
            1, task=task, render_mode=render_mode, autoreset_mode=AutoresetMode.DISABLED, **options
        )
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.batch.metadata["render_fps"]}
        self.render_mode = render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self.observation_names, self.action_names = self.batch.observation_names, self.batch.action_names
        self.salamander = self.batch.salamander

    @property
    def dt(self) -> float:
        """Control period, s."""
        return self.batch.dt

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new episode."""
        super().reset(seed=seed)
        self.batch._rngs[0] = self.np_random
        obs, info = self.batch.reset()
        return obs[0], _first(info)

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Act for one control period; see `SalamanderVectorEnv.step`."""
        obs, reward, terminated, truncated, info = self.batch.step(np.asarray(action)[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(info)

    def render(self) -> Any:
        """An RGB picture `[height, width, 3]`, or None without a render mode."""
        pictures = self.batch.render()
        return None if pictures is None else pictures[0]

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on."""
        return self.batch.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state that an environment of the same construction gave."""
        self.batch.set_state(state)
        self.np_random = self.batch._rngs[0]

    def close(self) -> None:
        """Free the renderer."""
        self.batch.close()


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """Row 0 of an info dictionary."""
    return {key: _first(value) if isinstance(value, dict) else value[0] for key, value in info.items()}
