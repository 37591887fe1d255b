"""The pendulum's bound: its equations are the environment's, a finer grid agrees, and it earns what it says."""

import numpy as np
import pytest

from agents.learner import evaluate
from agents.pendulum_optimum import PendulumOptimum, _advance
from agents.q_tasks import make_task

TORQUES = np.linspace(-2, 2, 5)


@pytest.fixture(scope="module")
def actor():
    return PendulumOptimum(TORQUES, angles=121, velocities=101)


def test_one_step_is_the_environments():
    env = make_task("Pendulum-v1", 6, hide=False)
    obs, _ = env.reset(seed=4)
    for action in (0, 4, 1, 3, 2):
        expected = _advance(np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2], TORQUES[action])
        obs, reward, *_ = env.step(np.full(6, action))
        assert np.allclose(reward, expected[0], atol=1e-4)
        assert np.allclose(obs, np.stack([np.cos(expected[1]), np.sin(expected[1]), expected[2]], 1), atol=1e-4)


def test_it_earns_what_its_values_say_and_hardly_more_on_a_finer_grid(actor):
    env = make_task("Pendulum-v1", 20, hide=False)
    obs, _ = env.reset(seed=11)
    places, weights = actor._corners(np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2])
    said = (actor.values[0][places] * weights).sum(0).mean()
    earned = evaluate(actor, env, 20, seed=11).mean()
    finer = evaluate(PendulumOptimum(TORQUES, angles=241, velocities=201), env, 20, seed=11).mean()
    assert abs(said - earned) < 0.15 * abs(finer)
    assert finer - 0.05 * abs(finer) < earned < finer + 0.02 * abs(finer)
    assert -180 < earned < -90
