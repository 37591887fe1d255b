"""Drives as actions: what they mean, that rewards add up, and that worlds which end start afresh."""

import gymnasium
import numpy as np
import pytest

from agents.drive_level import DriveLevel


def worlds(num_envs=2, *, hold=10, task="Swim", **options):
    options = {"max_episode_steps": 1000, "threads": 1, **options}
    return DriveLevel(gymnasium.make_vec(f"sim:salamander/{task}-v0", num_envs, **options), hold=hold)


SWIM, REST = [0.56, 0.0, 1.0], [-1.0, 0.0, 1.0]  # mean drives 4.0 and 0.5


def test_swimming_drives_swim_and_resting_drives_rest():
    env = worlds()
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.float32([SWIM, REST]))
    start = env.unwrapped.salamander.centre_of_mass()[:, 0].copy()
    for _ in range(10):
        env.step(np.float32([SWIM, REST]))
    way = (env.unwrapped.salamander.centre_of_mass()[:, 0] - start) / env.unwrapped.salamander.length
    assert way[0] > 0.3 and abs(way[1]) < 0.1


def test_the_side_with_more_drive_is_the_side_it_turns_to():
    env = worlds()
    env.reset(seed=0)
    for _ in range(30):
        env.step(np.float32([[0.56, 0.5, 1.0], [0.56, -0.5, 1.0]]))
    heading = env.unwrapped.salamander.heading()
    assert heading[0] < -0.3 and heading[1] > 0.3  # the first drives its right side more


def test_a_held_action_earns_what_its_control_steps_earn():
    coarse, fine = worlds(hold=6), worlds(hold=1)
    coarse.reset(seed=3), fine.reset(seed=3)
    action = np.float32([SWIM, [0.0, 0.3, -1.0]])
    for _ in range(3):
        obs, reward, *_ = coarse.step(action)
        steps = [fine.step(action) for _ in range(6)]
        np.testing.assert_array_equal(obs, steps[-1][0])
        np.testing.assert_allclose(reward, sum(step[1] for step in steps))


def test_an_episode_that_ends_within_an_action_keeps_its_own_reward_and_last_observation():
    env, plain = worlds(hold=10, max_episode_steps=13), worlds(hold=1, max_episode_steps=13)
    env.reset(seed=1), plain.reset(seed=1)
    action = np.float32([SWIM, SWIM])
    assert not env.step(action)[3].any()
    obs, reward, terminated, truncated, info = env.step(action)
    steps = [plain.step(action) for _ in range(20)]
    assert truncated.all() and not terminated.any()
    np.testing.assert_allclose(reward, sum(step[1] for step in steps[10:13]))
    np.testing.assert_array_equal(np.stack(info["final_obs"]), np.stack(steps[12][4]["final_obs"]))
    np.testing.assert_array_equal(obs, steps[-1][0])
    # The network started anew with the animal: seven steps into an episode they move as in any other.
    fresh = worlds(hold=7)
    fresh.reset(seed=5)
    fresh.step(action)
    np.testing.assert_allclose(env.inner.phase[0], fresh.inner.phase[0], atol=1e-5)


@pytest.mark.parametrize("task", ["Walk", "Shore", "Steer"])
def test_every_task_takes_drives(task):
    env = worlds(task=task)
    obs, _ = env.reset(seed=0)
    following, reward, *_ = env.step(env.action_space.sample())
    assert following.shape == obs.shape and np.isfinite(following).all() and np.isfinite(reward).all()
