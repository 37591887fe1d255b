"""Keep an action up for several steps of an environment, so that the agent decides less often."""

from typing import Any, SupportsFloat

import gymnasium as gym

__all__ = ["FrameSkip"]


class FrameSkip(gym.Wrapper[Any, Any, Any, Any]):
    r"""One step of this is n of the environment under the same action.

    .. math:: r = \sum_{k=1}^{n} r_k

    An episode that ends on the way ends the step. For a batch, pass it to `gymnasium.make_vec` among `wrappers`.

    Args:
        env: a single environment.
        skip: n >= 1.

    Raises:
        ValueError: skip is not a whole number of at least 1.

    >>> env = FrameSkip(gym.make("CartPole-v1"), 4)
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[1]
    4.0
    """

    def __init__(self, env: gym.Env[Any, Any], skip: int):
        super().__init__(env)
        if skip != int(skip) or skip < 1:
            raise ValueError(f"`skip` counts environment steps per action, a whole number from 1; received {skip}")
        self.skip = int(skip)
        if "render_fps" in env.metadata:
            self.metadata = {**env.metadata, "render_fps": env.metadata["render_fps"] / self.skip}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self.skip):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info
