"""Drives as actions: what they mean, that rewards add up, and that worlds which end start afresh."""

import gymnasium
import numpy as np
import pytest

from agents.drive_level import WALK, BearingDrive, CourseDrive, DriveLevel, ShoreDrive, drive_worlds
from agents.rollout import rollout
from benchmarks import drive_level


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


def test_progress_is_the_way_gained_and_a_target_that_is_replaced_costs_nothing():
    env = drive_worlds("steer", 2)
    place = env.observation_names.index("target.distance")
    obs, _ = env.reset(seed=0)
    task, body = env.unwrapped.task, env.unwrapped.salamander
    start, total = obs[:, place].copy(), np.zeros(2)
    for _ in range(3):
        obs, reward, *_ = env.step(np.float32([SWIM, REST]))
        total += reward
    np.testing.assert_allclose(total, start - obs[:, place], atol=1e-5)
    task.target[0] = body.centre_of_mass()[0, :2]  # under its nose
    before = obs[:, place].copy()
    obs, reward, _, _, info = env.step(np.float32([SWIM, REST]))
    assert info["reached"].tolist() == [1, 0] and obs[0, place] > 2  # another target, 3 body lengths away
    # 1 for arriving, the way to the old target, and what was gained on the new one in a fifth of a second
    assert reward[0] == pytest.approx(1 + before[0], abs=0.5 + 0.3)
    assert reward[1] == pytest.approx(before[1] - obs[1, place], abs=1e-5)


def test_progress_needs_a_target():
    with pytest.raises(ValueError, match="where a target is observed"):
        DriveLevel(gymnasium.make_vec("sim:salamander/Swim-v0", 1, threads=1), reward="progress")


def test_an_episode_that_is_cut_gains_nothing_from_the_next_ones_target():
    env = drive_worlds("steer", 2, steps=60)
    place = env.observation_names.index("target.distance")
    obs, _ = env.reset(seed=0)
    start, total = obs[:, place].copy(), np.zeros(2)
    for _ in range(3):
        obs, reward, _, truncated, info = env.step(np.float32([SWIM, SWIM]))
        total += reward
    assert truncated.all()
    np.testing.assert_allclose(total, start - np.stack(info["final_obs"])[:, place], atol=1e-5)


def test_the_bearing_rule_turns_to_its_target_and_the_beach_rule_walks_until_it_floats():
    names = ("target.cos", "target.sin", "submerged.1", "submerged.2")
    obs = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 1.0]])
    first = np.ones(2, bool)
    turn = BearingDrive(names).act(obs, (), step=0, first=first)[0][:, 1]
    assert turn[0] < 0 < turn[1]  # the first target is to the left
    mean = 2.75 + 2.25 * ShoreDrive(names).act(obs, (), step=0, first=first)[0][:, 0]
    assert mean == pytest.approx([2.0, 4.0])
    env = drive_worlds("steer", 2, steps=400)
    total = sum(step.reward for step in rollout(env, BearingDrive(env.observation_names), 16, seed=0))
    assert total.min() > 0.5


def test_the_benchmark_sets_rules_beside_what_it_learns_and_goes_on_where_it_stopped(tmp_path):
    few = {"tasks": ["shore"], "steps": 32, "length": 60, "episodes": 2, "out": tmp_path}
    assert len(drive_level.main(drive_level.Args(seeds=[], **few))) == 4
    runs = drive_level.main(drive_level.Args(seeds=[5], **few))
    assert [run["policy"] for run in runs][-1] == "gru" and len(runs) == 5
    table = (tmp_path / "drive_level.md").read_text()
    assert "| shore | walk, then swim |" in table and "| shore | gru | 32 | 1 |" in table


def test_the_course_rule_turns_back_to_where_it_started_for():
    names = ("yaw_rate", "heading.sin")
    action, _ = CourseDrive(names).act(np.array([[0.0, 0.3], [0.0, -0.9]]), (), step=0, first=np.ones(2, bool))
    np.testing.assert_allclose(action, [[WALK[0], 0.6, WALK[2]], [WALK[0], -1.0, WALK[2]]], atol=1e-6)
