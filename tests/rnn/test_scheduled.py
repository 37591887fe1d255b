"""Dynamics whose coefficients follow the actions: turning by an angle that is driven, and what a cell adds."""

import pytest
import torch

from rnn.arx import least_squares
from rnn.dynamics import fit, open_loop_error
from rnn.model_body import BodyMismatch
from rnn.scheduled import ScheduledDynamics, hinges


def turning(steps, count, seed, begins=None):
    """Points on circles that turn by 0.3 + 0.5 max(0, a) rad a step, or by 0.3, and 0.8 from an action on."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.empty(steps, count, 1).uniform_(-1, 1, generator=generator)
    phase = torch.rand(count, generator=generator) * 6.28
    more = actions[..., 0].clamp(min=0) if begins is None else (actions[..., 0] >= begins).float()
    phases = torch.cat([phase[None], phase + (0.3 + 0.5 * more).cumsum(0)])
    return torch.stack([phases.cos(), phases.sin()], -1), actions


def test_hinges_are_one_products_and_corners_inside_the_box():
    basis = hinges(torch.tensor([[-0.5, 1.0]]), (1, 3))
    assert basis.tolist() == [[1.0, -0.5, 1.0, 0.25, -0.5, 1.0, 0.0, 1.5, 1.0, 0.5]]


def test_a_switch_adds_what_lies_beyond_it_and_a_step():
    actions = torch.tensor([[0.5, -0.5], [0.5, 0.5]])
    beyond = hinges(actions, (), [((2.0, 1.0), 1.0)])[:, -2:]
    assert beyond.tolist() == [[0.0, 0.0], [0.5, 1.0]]


def test_a_turning_that_begins_at_a_bound_is_found_with_a_switch_there_only():
    train, test = turning(60, 40, 0, begins=0.25), turning(60, 20, 1, begins=0.25)
    errors = []
    for switches in ([((1.0,), 0.25)], []):
        model = ScheduledDynamics(2, 1, lags=1, knots=(7,), switches=switches, hidden=4, ridge=1e-6)
        model.fit_scales(*train)
        with torch.no_grad():
            found = open_loop_error(model.simulate(test[0][:2], test[1]), test[0][2:], test[0].std((0, 1)))
        errors.append(found[-1].mean().item())
    assert errors[0] < 0.1 and errors[1] > 3 * errors[0]


def test_a_rotation_by_a_driven_angle_is_found_at_once_where_a_linear_map_fails():
    torch.manual_seed(0)
    train, test = turning(60, 40, 0), turning(60, 20, 1)
    model = ScheduledDynamics(2, 1, lags=1, knots=(7,), hidden=4, ridge=1e-6)
    model.fit_scales(*train)
    with torch.no_grad():
        ours = open_loop_error(model.simulate(test[0][:2], test[1]), test[0][2:], test[0].std((0, 1)))
    linear = open_loop_error(least_squares(*train, test[0][:2], test[1]), test[0][2:], test[0].std((0, 1)))
    assert ours[-1].mean() < 0.1 and linear[-1].mean() > 0.8


def test_one_step_ahead_on_the_fast_path_equals_stepping_with_measured_readings():
    torch.manual_seed(0)
    obs, actions = turning(12, 3, 0)
    model = ScheduledDynamics(2, 1, lags=3, knots=(2,), context=[1], hidden=5)
    model.fit_scales(obs, actions)
    torch.nn.init.normal_(model.readout.weight, std=0.01)  # too little to reach the bounds of the data
    torch.nn.init.normal_(model.moved, std=0.01)
    model.low.fill_(-9.0), model.high.fill_(9.0)
    state, errors = model.begin(obs[0]), []
    for t, action in enumerate(actions):
        state, ahead = model.step(state._replace(obs=obs[t]), action)
        errors.append((ahead - obs[t + 1]) / model.change_scale.std)
    torch.testing.assert_close(model.one_step_loss(obs, actions, 4), torch.stack(errors)[4:].square().mean())


def test_gradients_improve_the_map_and_the_cell_where_one_reading_does_not_tell_all():
    torch.manual_seed(0)
    train, test = turning(60, 40, 0), turning(30, 20, 1)
    train, test = (train[0][..., :1], train[1]), (test[0][..., :1], test[1])  # the cosine alone
    model = ScheduledDynamics(1, 1, lags=1, knots=(3,), hidden=8)
    model.fit_scales(*train)
    before = model.loss(*test, 5).item()
    fit(model, *train, warmup=5, one_step=60, section=20, stages={5: 15}, learning_rate=2e-2)
    after = model.loss(*test, 5)
    after.backward()
    assert after.item() < 0.5 * before
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert model.moved.abs().max() > 0


def test_predictions_stay_within_what_was_seen():
    torch.manual_seed(0)
    obs, actions = turning(30, 5, 0)
    model = ScheduledDynamics(2, 1, hidden=4)
    model.fit_scales(obs, actions)
    model.base.mul_(5.0)
    with torch.no_grad():
        ahead = model.simulate(obs[:2], actions)
    assert ahead.abs().max() <= obs.abs().max() and ahead.abs().max() > 0.9


@pytest.mark.parametrize("wrong", [{"lags": 0}, {"ridge": 0.0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match="are needed"):
        ScheduledDynamics(2, 1, **wrong)


def test_another_number_of_readings_is_refused():
    with pytest.raises(BodyMismatch, match="knows 2 readings"):
        ScheduledDynamics(2, 1).begin(torch.zeros(1, 3))


def test_what_acts_in_proportion_is_found_as_an_input_and_gated_by_a_reading():
    generator = torch.Generator().manual_seed(3)
    force = torch.randn(80, 20, 1, generator=generator)
    load = torch.rand(80, 20, generator=generator)  # drawn anew at every step; what is pushed moves by the load
    moved = load[:-1] * force[:-1, :, 0]
    obs = torch.stack([torch.cat([torch.zeros(1, 20), moved]), load], -1)
    actions = torch.cat([torch.zeros(79, 20, 1), force[:-1]], -1)
    errors = []
    for gates in ([], [1]):
        model = ScheduledDynamics(2, 2, lags=1, degree=1, inputs=[1], gates=gates, hidden=4, ridge=1e-6)
        model.fit_scales(obs, actions)
        with torch.no_grad():
            state, _ = model.step(model.begin(obs[40]), actions[40])
        errors.append((state.obs[:, 0] - obs[41, :, 0]).square().mean().sqrt().item() / moved.std().item())
    assert errors[1] < 0.3 < 0.4 < errors[0]
    assert hinges(torch.tensor([[-0.5, 1.0]]), (), degree=1).tolist() == [[1.0, -0.5, 1.0]]
