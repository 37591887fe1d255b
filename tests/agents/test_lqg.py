"""The regulator against closed forms."""

import numpy as np

from agents.learner import evaluate
from agents.lqg import LQG, RhythmLQG, damped_lqg
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


def test_a_regulator_that_knows_the_mass_holds_nine_tenths_of_the_best_return_there_can_be():
    worlds = make_task("oscillator/Forced-v0", 10, choices=5)
    assert evaluate(RhythmLQG(forces=np.linspace(-1, 1, 5)), worlds, 10, seed=3).mean() > 0.9 * 400


def test_a_steady_push_that_nobody_told_of_is_found():
    lqg, x, push = RhythmLQG(), np.array([1.0, 0.0]), 2.0
    state = lqg.initial_state(1)
    for t in range(60):
        phase = 2 * np.pi * t * lqg.dt
        obs = np.array([[x[0], 0.0, np.cos(phase), np.sin(phase)]])
        action, state = lqg.act(obs, state, step=t, first=np.array([t == 0]))
        x = lqg.A[:2, :2] @ x + lqg.B[:2] * action[0] + lqg.A[:2, 2] * push
    assert np.isclose(state[0, 2], push, atol=1e-2) and np.allclose(state[0, :2], x, atol=1e-3)


def test_the_wanted_force_makes_the_wanted_motion_where_nothing_shakes():
    lqg, rate, x = RhythmLQG(), 0.95 * 2 * np.pi, np.array([1.0, 0.0])
    state, errors = lqg.initial_state(1), []
    for t in range(120):
        phase = rate * t * lqg.dt
        obs = np.array([[x[0], 0.0, np.cos(phase), np.sin(phase)]])
        action, state = lqg.act(obs, state, step=t, first=np.array([t == 0]))
        errors.append(abs(x[0] - np.cos(phase)))
        x = lqg.A[:2, :2] @ x + lqg.B[:2] * action[0]
    assert max(errors[40:]) < 0.02
