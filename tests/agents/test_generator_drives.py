"""Drives of a fixed generator in MuJoCo: zero is the stated rhythm, what each does, and where an episode ends."""

import numpy as np
import pytest

from agents.cpg_policy import OscillatorGait, gait_returns
from agents.generator_drives import GeneratorDrives
from agents.mujoco_batch import ForwardBatch

PLACES = {"angles": (1, 2), "velocities": (6, 7)}


def swim(action, decisions=15, **settings):
    env = GeneratorDrives(ForwardBatch("Swimmer-v5", 2), **PLACES, **settings)
    env.reset(seed=0)
    steps = [env.step(np.tile(np.float32(action), (2, 1))) for _ in range(decisions)]
    return sum(step[1] for step in steps), np.stack([step[0] for step in steps])


def test_no_drive_is_the_oscillator_with_a_spring_and_a_damper():
    total, _ = swim([0, 0, 0, 0, 0])
    gait = OscillatorGait(2, 0.04, **PLACES, feedback=False)
    stated = dict(frequency=1.0, amplitude=0.8, lag=np.pi / 2, stiffness=2.0, damping=0.1)
    same = gait_returns(gait, ForwardBatch("Swimmer-v5", 2), gait.space.encode(stated), 150, seed=0)
    np.testing.assert_allclose(total, same, atol=1.0)
    assert total.min() > 15


def test_drives_slow_and_still_the_wave_and_bend_the_body():
    _, still = swim([0, -1, -1, 0, 0])
    assert np.abs(still[5:, :, 1:3]).max() < 0.1  # no amplitude: straight
    _, bent = swim([0, 0, 0, 1, 1], 75, bend=0.4, hold=1)
    np.testing.assert_allclose(bent[25:, :, 1:3].mean((0, 1)), 0.4, atol=0.2)  # over two cycles
    turns = [np.abs(np.diff(np.sign(swim([f, 0, 0, 0, 0], 80, hold=2)[1][20:, 0, 1]))).sum() / 2 for f in (-1, 0, 1)]
    assert turns[0] < turns[1] < turns[2]  # zero crossings of the first joint


def test_an_episode_that_ends_on_the_way_keeps_the_next_ones_reward_out_and_starts_the_rhythm_anew():
    inner = ForwardBatch("Swimmer-v5", 2)
    inner.limit = 15
    env = GeneratorDrives(inner, **PLACES, hold=10)
    env.reset(seed=0)
    moved = inner.qpos[:, 0].copy()
    _, first, *_ = env.step(np.zeros((2, 5)))
    np.testing.assert_allclose(first, (inner.qpos[:, 0] - moved) / 0.04, atol=0.05)  # torque costs next to nothing
    phase = env.inner.phase.clone()
    _, _, terminated, truncated, info = env.step(np.zeros((2, 5)))
    assert truncated.all() and not terminated.any() and info["final_obs"].shape == (2, 8)
    fresh = env.cell.initial_state(2).phase
    ahead = (env.inner.phase - fresh + np.pi) % (2 * np.pi) - np.pi  # five steps at 1 Hz since the new episode began
    np.testing.assert_allclose(ahead, 2 * np.pi * 0.04 * 5, atol=0.05)
    assert not np.allclose(phase, env.inner.phase)


def test_places_that_do_not_match_the_joints_are_refused():
    with pytest.raises(ValueError, match="2 joints need the places of 2 angles"):
        GeneratorDrives(ForwardBatch("Swimmer-v5", 1), angles=(1,), velocities=(6, 7))
