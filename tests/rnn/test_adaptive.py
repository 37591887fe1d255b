"""Fast weights: recursive least squares against the batch solution, and a world inferred while it is watched."""

import math

import pytest
import torch

from rnn import unroll
from rnn.adaptive import AdaptiveDynamics, LeastSquaresCell
from rnn.arx import fitted_per_episode
from rnn.dynamics import horizon, open_loop_error


def shaken(steps, count, seed):
    """Positions of oscillators of unknown frequency under an unknown rhythm and known pushes, [steps + 1, count, 1]."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: low + (high - low) * torch.rand(count, generator=generator, dtype=torch.double)
    omega, rate, phase = draw(0.25, 0.35), draw(0.1, 0.2), draw(0.0, 6.0)
    pushes = 0.1 * torch.randn(steps, count, 1, generator=generator, dtype=torch.double)
    x, before, course = draw(-1, 1), draw(-1, 1), []
    for t in range(steps + 1):
        course.append(x)
        force = 0.05 * torch.sin(rate * t + phase) + (pushes[t, :, 0] if t < steps else 0.0)
        x, before = 2 * torch.cos(omega) * x - before + force, x
    return torch.stack(course)[..., None], pushes


def test_the_weights_are_those_of_ridge_regression_on_all_that_was_seen():
    torch.manual_seed(0)
    cell = LeastSquaresCell(2, lags=3, outputs=1, ridge=0.1).double()
    torch.nn.init.normal_(cell.slow)
    xs = torch.randn(20, 4, 2, dtype=torch.double)
    run = unroll(cell, xs, record=("weights",))
    rows = torch.stack([torch.cat([xs[t - k] for k in range(3)], 1) for t in range(2, 19)])
    rows = torch.cat([rows, torch.ones(17, 4, 1)], 2)
    for b in range(4):
        phi, y = rows[:, b], xs[3:20, b, :1]
        best = torch.linalg.solve(phi.T @ phi + 0.1 * torch.eye(7), phi.T @ y + 0.1 * cell.slow)
        torch.testing.assert_close(run.trace["weights"][-1, b], best.flatten())


def test_forgetting_follows_a_world_that_changes():
    t = torch.arange(400, dtype=torch.double)
    xs = torch.where(t < 200, torch.sin(0.3 * t), torch.sin(0.5 * t + 1.0))[:, None, None]
    late = {}
    for forgetting in (1.0, 0.9):
        cell = LeastSquaresCell(1, lags=2, forgetting=forgetting).double()
        ys = unroll(cell, xs).outputs
        late[forgetting] = (ys[330:-1] - xs[331:]).abs().max().item()
    assert late[0.9] < 1e-4 < 1e-2 < late[1.0]


def test_in_open_loop_it_stops_learning_and_sees_as_far_as_a_fit_to_the_beginning():
    train, held = shaken(80, 32, 0), shaken(300, 8, 1)
    model = AdaptiveDynamics(1, 1, lags=5)
    model.fit_scales(*train)
    obs, pushes = held
    predicted = model.simulate(obs[:60], pushes)
    error = open_loop_error(predicted, obs[60:], obs.std((0, 1)))
    assert horizon(error).median() == len(predicted)
    batch = fitted_per_episode(obs[:60], pushes, lags=5, ridge=1e-12)
    torch.testing.assert_close(predicted, batch, atol=1e-2, rtol=0)


def test_before_anything_is_seen_it_predicts_by_the_slow_weights_of_all_data():
    obs, pushes = shaken(200, 64, 2)
    model = AdaptiveDynamics(1, 1, lags=1)
    model.fit_scales(obs, pushes)
    _, ahead = model.step(model.begin(obs[0]), pushes[0])
    x = torch.cat([obs[:-1], pushes, torch.ones_like(pushes)], 2).flatten(0, 1)
    weights = torch.linalg.lstsq(x, obs[1:].flatten(0, 1)).solution
    start = torch.cat([obs[0], pushes[0], torch.ones_like(pushes[0])], 1)
    torch.testing.assert_close(ahead, start @ weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [{"lags": 0}, {"forgetting": 0.0}, {"forgetting": 1.1}, {"ridge": 0.0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match="are needed"):
        LeastSquaresCell(1, **wrong)


def test_a_sequence_that_diverges_gives_nan_and_leaves_the_others_alone():
    cell = LeastSquaresCell(1, lags=2).double()
    both, alone = cell.initial_state(2), cell.initial_state(1)
    for t in range(40):
        x = torch.tensor([[math.sin(0.3 * t)], [1e20]], dtype=torch.double)
        y, both = cell(x, both)
        z, alone = cell(x[:1], alone)
    torch.testing.assert_close(y[0], z[0])
    assert z.isfinite().all() and not y[1].isfinite().any()
