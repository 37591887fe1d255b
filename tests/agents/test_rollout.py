"""One loop for both kinds of vector environment: same numbers, true last observations, no lost starts."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.rollout import Worlds, rollout


class Count(gymnasium.Env):
    """Counts up by one each step; ends at `limit`, terminated if it is even, truncated if odd."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, limit: int):
        self.limit, self.value = limit, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.value = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.value += 1
        end = self.value == self.limit
        obs = np.array([self.value], np.float32)
        return obs, float(action), end and self.limit % 2 == 0, end and self.limit % 2 == 1, {}


class Remember:
    """An actor whose state counts the steps since the start of the episode."""

    def initial_state(self, batch):
        return np.zeros(batch, int)

    def act(self, obs, state, *, step, first):
        state = np.where(first, 0, state) + 1
        return (state % 2).astype(int), state


def gymnasium_worlds():
    return gymnasium.vector.SyncVectorEnv([lambda: Count(3), lambda: Count(4)], autoreset_mode=AutoresetMode.SAME_STEP)


def sb3_worlds():
    wrap = lambda limit: gymnasium.wrappers.TimeLimit(Count(limit if limit % 2 == 0 else 100), limit)
    return DummyVecEnv([lambda: wrap(3), lambda: wrap(4)])


@pytest.mark.parametrize("make", [gymnasium_worlds, sb3_worlds])
def test_transitions_tell_endings_from_time_limits_and_keep_the_last_observation(make):
    seen = list(rollout(make(), Remember(), 9, seed=0))
    assert [t.obs[:, 0].tolist() for t in seen[:5]] == [[0, 0], [1, 1], [2, 2], [0, 3], [1, 0]]
    assert [t.next_obs[:, 0].tolist() for t in seen[:5]] == [[1, 1], [2, 2], [3, 3], [1, 4], [2, 1]]
    assert [t.truncated[0] for t in seen[:4]] == [False, False, True, False]
    assert [t.terminated[1] for t in seen[:5]] == [False, False, False, True, False]
    assert not any(t.terminated[0] for t in seen)
    assert [t.first.tolist() for t in seen[:5]] == [[1, 1], [0, 0], [0, 0], [1, 0], [0, 1]]
    assert [t.state.tolist() for t in seen[:5]] == [[1, 1], [2, 2], [3, 3], [1, 4], [2, 1]]


def test_an_environment_that_resets_a_step_late_is_refused():
    env = gymnasium.vector.SyncVectorEnv([lambda: Count(3)])
    with pytest.raises(ValueError, match="SAME_STEP"):
        Worlds(env)
    with pytest.raises(TypeError, match="make_vec"):
        Worlds(Count(3))
