import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from sim.frame_skip import FrameSkip


class Counter(gym.Env):
    """Rewards 1, 2, 3 ... and the count as the observation; ends at `length`."""

    metadata = {"render_modes": [], "render_fps": 50}
    observation_space = gym.spaces.Box(0.0, 100.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=10):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.array([self.count], np.float32), float(self.count), self.count >= self.length, False, {}


def test_rewards_add_up_and_an_episode_ends_where_it_ends():
    env = FrameSkip(Counter(10), 4)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(3)]
    assert [s[1] for s in steps] == [1 + 2 + 3 + 4, 5 + 6 + 7 + 8, 9 + 10]
    assert [s[0][0] for s in steps] == [4, 8, 10] and [s[2] for s in steps] == [False, False, True]
    assert env.metadata["render_fps"] == 12.5 and Counter.metadata["render_fps"] == 50


def test_worlds_of_a_batch_end_on_their_own():
    lengths = iter([3, 100])
    env = gym.vector.SyncVectorEnv(
        [lambda n=n: FrameSkip(Counter(n), 4) for n in lengths], autoreset_mode=AutoresetMode.SAME_STEP
    )
    env.reset(seed=0)
    obs, reward, terminated, _, _ = env.step(np.zeros(2, int))
    assert reward.tolist() == [6, 10] and terminated.tolist() == [True, False] and obs[:, 0].tolist() == [0, 4]


@pytest.mark.parametrize("skip", [0, 1.5])
def test_a_skip_that_counts_nothing_is_refused(skip):
    with pytest.raises(ValueError, match="environment steps per action"):
        FrameSkip(Counter(), skip)
