"""Lives of several episodes in a world whose secret stays the same: what has to be found out, and can be remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike

__all__ = ["Lives"]


class Lives(VectorWrapper):
    """Makes one long episode, a life, of several episodes of a world whose actuators were changed at birth.

    At the start of each life every world draws one row of `factors`, by which the actions are multiplied until the life
    ends: -1 turns an actuator (a current) round, 0 takes it away (a limb lost). The policy is not told. It is told its
    last action and reward, and that an episode has just ended; a recurrent one can find out, keep what it found over
    the ends of episodes, and so adapt with its weights as they are.

    | reading | meaning |
    |---|---|
    | 0 ... O - 1 | what the environment gives |
    | O ... O + A - 1 | the last action asked for; 0 in a new life |
    | O + A | the last reward; 0 in a new life |
    | O + A + 1 | 1 if an episode ended with the last step, or a life begins |
    | then, with `tell` | the factors, for a control that knows |

    Episodes within a life neither terminate nor truncate; the life is truncated with its last one. `info["episode"]`
    [B] counts the episodes of the life before this step, `info["factors"]` [B, A] is the secret.

    Sources: "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning" (Duan et al., 2016), "Learning to
    reinforcement learn" (Wang et al., 2016).

    Args:
        env: a vector environment with boxes of readings [O] and actions [A] and SAME_STEP autoreset, whose time limit
            is that of one episode.
        factors: the secrets [K, A], drawn evenly.
        episodes: of a life.
        tell: append the factors to the readings.

    Raises:
        ValueError: factors of another width than the actions, no episodes.

    >>> import gymnasium
    >>> envs = Lives(gymnasium.make_vec("sim:oscillator/Damped-v0", num_envs=4, max_episode_steps=20), [[1], [-1]])
    >>> envs.reset(seed=0)[0].shape  # position, velocity, action, reward, end
    (4, 5)
    """

    def __init__(self, env: Any, factors: ArrayLike, *, episodes: int = 3, tell: bool = False):
        super().__init__(env)
        space, actions = env.single_observation_space, env.single_action_space
        self.factors = np.asarray(factors, dtype=np.float64)
        if self.factors.ndim != 2 or self.factors.shape[1:] != actions.shape:
            raise ValueError(f"factors must be [K, {actions.shape[0]}], received shape {self.factors.shape}")
        if episodes < 1:
            raise ValueError(f"a life has at least one episode, received {episodes}")
        self.episodes, self.tell = episodes, tell
        A = actions.shape[0]
        more = np.full(A + 2 + A * tell, np.inf)
        low, high = np.concatenate([space.low, -more]), np.concatenate([space.high, more])
        self.single_observation_space = Box(low.astype(np.float32), high.astype(np.float32))
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.secret = np.ones((env.num_envs, A))
        self.episode = np.zeros(env.num_envs, dtype=np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin new lives in all worlds."""
        if options and options.get("reset_mask") is not None:
            raise ValueError("lives begin together; reset all worlds, or let a life end by itself")
        obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng([seed, 0x11F3] if isinstance(seed, int) else None)
        B, A = self.secret.shape
        self._born(np.ones(B, dtype=bool))
        return self._sense(obs, np.zeros((B, A)), np.zeros(B), np.ones(B, dtype=bool)), {**info, **self._about()}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Act in all worlds; what is asked for is not always what is done."""
        asked = np.asarray(actions, dtype=np.float64)
        obs, reward, terminated, truncated, info = self.env.step(asked * self.secret)
        ended = terminated | truncated
        over = ended & (self.episode + 1 >= self.episodes)
        told = {
            name: value for name, value in info.items() if not name.lstrip("_").startswith("final_")
        } | self._about()
        self.episode += ended
        if over.any():
            last = self._sense(np.where(over[:, None], _rows(info["final_obs"], obs), obs), asked, reward, ended)
            final = np.full(self.num_envs, None, dtype=object)
            for world in np.flatnonzero(over):
                final[world] = last[world]
            told |= {"final_obs": final, "_final_obs": over}
            self._born(over)
        keep = ~over[:, None]
        following = self._sense(obs, asked * keep, np.where(over, 0.0, reward), ended)
        return following, reward, np.zeros_like(over), over, told

    def _born(self, rows: np.ndarray) -> None:
        self.secret[rows] = self.factors[self.rng.integers(len(self.factors), size=int(rows.sum()))]
        self.episode[rows] = 0

    def _sense(self, obs: Any, asked: np.ndarray, reward: np.ndarray, ended: np.ndarray) -> np.ndarray:
        parts = [obs, asked, np.asarray(reward)[:, None], np.asarray(ended)[:, None]]
        return np.concatenate([*parts, self.secret] if self.tell else parts, 1).astype(np.float32)

    def _about(self) -> dict[str, np.ndarray]:
        return {"episode": self.episode.copy(), "factors": self.secret.copy()}


def _rows(final: Any, like: np.ndarray) -> np.ndarray:
    """The last readings of the episodes that ended, as rows [B, O]; the others as they are."""
    return np.stack([row if last is None else last for last, row in zip(final, like, strict=True)])
