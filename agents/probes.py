"""Tiny tasks whose values are known by hand, so that a failure names the part that is broken."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

__all__ = ["Probe", "worlds"]


class Probe(gymnasium.Env[np.ndarray, Any]):
    """Episodes of `length` steps; a cue of +-1 is seen at the first step only (or never, or always).

    Reward: `cue * choice` at the last step, choice being the action mapped to -1 or +1; or 1 without `acts`.
    """

    def __init__(
        self, length: int = 1, *, acts: bool = False, cue: str = "first", truncates: bool = False, space: Any = None
    ):
        self.length, self.acts, self.cue_when, self.truncates = length, acts, cue, truncates
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = space or spaces.Discrete(2)

    def _obs(self) -> np.ndarray:
        shown = self.cue if self.cue_when == "always" or (self.cue_when == "first" and self.t == 0) else 0.0
        return np.array([shown, self.t / self.length], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.cue = 0, float(self.np_random.choice([-1.0, 1.0]))
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        over = self.t == self.length
        if isinstance(self.action_space, spaces.Discrete):
            choice = 2.0 * float(action) - 1.0
        elif isinstance(self.action_space, spaces.Box):
            choice = float(np.sign(action[0]))
        else:
            choice = float(np.mean(2.0 * np.asarray(action) - 1.0))
        reward = (self.cue * choice if self.acts else 1.0) if over else 0.0
        return self._obs(), reward, over and not self.truncates, over and self.truncates, {}


def worlds(count: int, *args: Any, **kwargs: Any) -> SyncVectorEnv:
    """A vector environment of probes."""
    return SyncVectorEnv([lambda: Probe(*args, **kwargs)] * count, autoreset_mode=AutoresetMode.SAME_STEP)
