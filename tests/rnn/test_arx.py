"""Prediction by least squares: systems that such recurrences hold exactly are foreseen exactly."""

import pytest
import torch

from rnn.arx import Polynomial, fitted_per_episode, least_squares


def cubic(x, u):
    """x'' = -x - x^3 + u in steps of 0.1 s, semi-implicit; the speed is stopped at 1."""
    v = (x[:, 1] - 0.1 * (x[:, 0] + x[:, 0] ** 3) + 0.1 * u[:, 0]).clamp(-1.0, 1.0)
    return torch.stack([x[:, 0] + 0.1 * v, v], 1)


def course(steps, count, seed):
    generator = torch.Generator().manual_seed(seed)
    state = 0.4 * torch.randn(count, 2, generator=generator, dtype=torch.double)
    actions = torch.empty(steps, count, 1, dtype=torch.double).uniform_(-1, 1, generator=generator)
    states = [state]
    for u in actions:
        states.append(cubic(states[-1], u))
    return torch.stack(states), actions


def test_a_polynomial_finds_a_cubic_spring_and_its_stop():
    obs, actions = course(100, 20, 0)
    assert (obs[..., 1].abs() == 1.0).float().mean() > 0.003  # the stop is met
    held, pushes = course(60, 5, 1)
    found = Polynomial(3).fit(obs, actions).simulate(held[0], pushes)
    stopped = (held[..., 1].abs() == 1.0).any(0)
    assert stopped.any() and not stopped.all()
    torch.testing.assert_close(found, held[1:], atol=1e-6, rtol=0)


def test_a_polynomial_of_high_degree_does_not_bend_after_the_stop(monkeypatch):
    obs, actions = course(100, 40, 0)
    held, pushes = course(60, 5, 1)
    found = Polynomial(7).fit(obs.float(), actions).simulate(held[0], pushes)
    torch.testing.assert_close(found, held[1:], atol=1e-6, rtol=0)
    plain = Polynomial._trimmed  # were it to begin with all rows only, as a straight line's misses do not tell it more
    monkeypatch.setattr(Polynomial, "_trimmed", lambda self, *some: plain(self, *some[:-1], torch.ones_like(some[-1])))
    bent = Polynomial(7).fit(obs.float(), actions).simulate(held[0], pushes)
    assert (bent - held[1:]).abs().max() > 1e-2


def test_from_old_values_alone_a_position_goes_on_by_the_speed_that_a_stop_has_taken():
    obs, actions = course(100, 20, 0)
    held, pushes = course(60, 5, 1)
    model = Polynomial(3, ordered=False).fit(obs, actions)
    found = model.simulate(held[0], pushes)
    stopped = (held[..., 1].abs() == 1.0).any(0)
    torch.testing.assert_close(found[:, ~stopped], held[1:, ~stopped], atol=1e-6, rtol=0)
    assert (found - held[1:])[:, stopped].abs().max() > 1e-3
    assert not any(moves for _, _, moves in model.course)


def test_the_reading_that_is_foreseen_best_comes_first_and_moves_the_rest():
    obs, actions = course(100, 20, 0)
    swapped = Polynomial(3).fit(obs.flip(-1), actions)
    assert [(i, moves) for i, _, moves in Polynomial(3).fit(obs, actions).course] == [(1, True), (0, False)]
    assert [(i, moves) for i, _, moves in swapped.course] == [(0, True), (1, False)]


def test_without_leaving_out_the_stop_spoils_the_fit():
    obs, actions = course(100, 20, 0)
    held, pushes = course(60, 5, 1)
    spoiled = Polynomial(3, rounds=1, ordered=False).fit(obs, actions).simulate(held[0], pushes)
    assert (spoiled - held[1:]).abs().max() > 1e-2


def test_predictions_stay_within_what_was_seen():
    obs, actions = course(50, 10, 2)
    model = Polynomial(3).fit(obs, actions)
    wild = model.simulate(obs[0], 50.0 * torch.ones(40, 10, 1))
    after = obs[1:].flatten(0, 1)
    assert (wild <= after.amax(0)).all() and (wild >= after.amin(0)).all()


def test_a_linear_system_is_foreseen_by_all_data_and_by_an_episodes_beginning():
    A = torch.tensor([[1.0, 0.1], [-0.1, 0.99]], dtype=torch.double)
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(60, 3, 1, generator=generator, dtype=torch.double)
    states = [torch.randn(3, 2, generator=generator, dtype=torch.double)]
    for u in actions:
        states.append(states[-1] @ A.T + torch.cat([0 * u, 0.1 * u], 1))
    obs = torch.stack(states)
    torch.testing.assert_close(least_squares(obs, actions, obs[:1], actions), obs[1:])
    position = obs[..., :1]  # the speed unseen: two past positions stand for it
    torch.testing.assert_close(
        fitted_per_episode(position[:30], actions, lags=2, ridge=1e-14), position[30:], atol=1e-4, rtol=0
    )
    with pytest.raises(ValueError, match="cannot fix"):
        fitted_per_episode(position[:5], actions, lags=3)
