"""Steering by drive clamps: what the choices do to the animal, what blinks out, and that it resumes."""

import numpy as np
import pytest

from agents.drive_task import TIME, DriveTask
from agents.steer_film import ending, panel, steer_film, watch
from agents.world_state import capture, restore


def test_left_turns_left_and_right_turns_right_and_stop_stops():
    env = DriveTask(3, threads=1, distance=15.0)
    env.reset(seed=0)
    start = env.inner.unwrapped.salamander.heading().copy()
    for _ in range(6):
        env.step(np.array([1, 2, 5]))
    turned = env.inner.unwrapped.salamander.heading() - start
    assert turned[0] > 0.3 and turned[1] < -0.3 and abs(turned[2]) < 0.15
    speed = env.inner.unwrapped.salamander.velocity()[:, :2]
    assert np.hypot(*speed[2]) < 0.5 * np.hypot(*speed[0])


def test_the_bearing_is_seen_only_while_it_is_visible():
    env = DriveTask(1, hold=2, threads=1, blink=(1, 2))
    obs, _ = env.reset(seed=1)
    cos, sin, visible = (env.observation_names.index(n) for n in ("bearing.cos", "bearing.sin", "visible"))
    seen = []
    for _ in range(6):
        seen.append(obs[0, visible])
        assert np.isclose(np.hypot(obs[0, cos], obs[0, sin]), obs[0, visible], atol=1e-5)
        obs, *_ = env.step(np.array([0]))
    assert seen == [1, 0, 0, 1, 0, 0]


def test_faster_and_slower_stay_within_the_levels_and_outlast_a_stop():
    env = DriveTask(1, threads=1)
    assert env.drives(np.array([3]))[0] == pytest.approx(4.7) and env.drives(np.array([3]))[0] == pytest.approx(4.8)
    assert env.drives(np.array([5]))[0] == 0 and env.drives(np.array([0]))[0] == pytest.approx(4.8)
    left, right = env.drives(np.array([1]))
    assert left - right == pytest.approx(2 * env.turn)


def test_an_episode_ends_at_its_limit_and_a_captured_world_goes_on_the_same():
    env, copy = (DriveTask(2, hold=2, limit=3, threads=1) for _ in range(2))
    env.reset(seed=2)
    copy.reset(seed=9)
    env.step(np.array([1, 2]))
    restore(copy, capture(env))
    for action in ([0, 1], [2, 2], [1, 0]):
        ours, theirs = (e.step(np.array(action)) for e in (env, copy))
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
        if ours[3].any():
            assert ours[4]["final_obs"][0].shape == (17,)
    with pytest.raises(ValueError, match="0 to 5"):
        env.step(np.array([0, 6]))


def test_the_rewards_of_an_episode_are_the_way_gained_less_the_time_it_took():
    env = DriveTask(2, hold=5, threads=1, limit=6)
    env.reset(seed=3)
    start = env._distance.copy()
    assert np.allclose(start, 3.0, atol=0.01)
    total = np.zeros(2)
    for _ in range(5):
        _, reward, *_ = env.step(np.array([0, 5]))
        total += reward
    body, target = env.inner.unwrapped.salamander, env.inner.unwrapped.task.target
    left = np.linalg.norm(target - body.centre_of_mass()[:, :2], axis=1) / body.length
    assert np.allclose(total, start - left - 5 * TIME, atol=1e-4)


def test_a_film_shows_every_world_until_its_episode_ends(tmp_path):
    env = DriveTask(2, hold=4, threads=1, limit=3)

    class Left:
        def initial_state(self, batch):
            return ()

        def act(self, obs, state, *, step, first):
            return np.ones(len(obs), np.int64), ()

    moments = watch(Left(), env, seed=0)
    assert len(moments) == 12 and env.trace is None and moments[0]["drive"][0, 0] > moments[0]["drive"][0, 1]
    first, last = (panel(moments[:n], 0, env.inner.unwrapped.salamander.length) for n in (1, 12))
    assert first.shape == (320, 320, 3) and (first != last).any()
    assert steer_film(moments, tmp_path / "steer.mp4", length=0.1, title="left").stat().st_size > 1000


def test_a_panel_is_held_at_the_moment_of_arrival_or_before_the_next_episode():
    flags = [(0, 0, 0), (0, 0, 0), (1, 0, 1), (1, 0, 1), (1, 0, 1)]  # done, of three worlds
    over = [(0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 0, 0)]  # reached: only the first
    moments = [{"done": np.array(d, bool), "over": np.array(o, bool)} for d, o in zip(flags, over, strict=True)]
    assert [ending(moments, k) for k in range(3)] == [2, 4, 1]
