"""The regulator against closed forms."""

import numpy as np

from agents.learner import evaluate
from agents.lqg import LQG, damped_lqg
from agents.q_tasks import make_task


def test_the_gain_of_a_scalar_system_solves_its_quadratic_equation():
    a, b, q, r = 1.2, 0.5, 1.0, 2.0
    lqg = LQG(np.array([[a]]), np.array([b]), np.array([1.0]), np.array([[q]]), r, np.eye(1), 1.0)
    half = r * (a * a - 1) + q * b * b  # b^2 P^2 - (r (a^2 - 1) + q b^2) P - q r = 0
    P = (half + np.sqrt(half**2 + 4 * b * b * q * r)) / (2 * b * b)
    assert np.isclose(lqg.K[0], a * b * P / (r + b * b * P))
    assert abs(a - b * lqg.K[0]) < 1


def test_the_estimate_of_the_hidden_velocity_becomes_exact_without_noise():
    lqg = damped_lqg(1.0)
    x, state, first = np.array([[1.0, 3.0]]), lqg.initial_state(1), np.array([True])
    for _ in range(40):
        action, state = lqg.act(x[:, :1], state, step=0, first=first)
        x = x @ lqg.A.T + action * lqg.B
        first = np.array([False])
    assert np.allclose(state, x, atol=2e-2)


def test_it_brings_the_hidden_oscillator_to_rest_and_rest_is_worth_more_than_ringing():
    class Idle(LQG):
        def act(self, obs, state, *, step, first):
            return np.zeros((len(obs), 1)), state

    worlds = lambda: make_task("oscillator/Damped-v0", 20, choices=5)
    forces = np.linspace(-1, 1, 5)
    ringing = damped_lqg(1.0)
    ringing.K = 0 * ringing.K
    ringing.forces = forces
    controlled = evaluate(damped_lqg(0.3, forces), worlds(), 20, seed=0)
    assert controlled.mean() > evaluate(ringing, worlds(), 20, seed=0).mean() + 20
