"""Least-squares baselines against systems whose coefficients are known, and the metrics against hand-made numbers."""

import numpy as np
import pytest

from rnn.baselines import _choose, fit_cubic, fit_linear
from rnn.data import Record
from rnn.metrics import k_step_errors, nrmse, prediction_horizon, rmse
from rnn.modes import find_modes
from rnn.recordings import load_benchmark


def simulate(T, seed, cubic=0.0):
    rng = np.random.default_rng(seed)
    u, y = rng.standard_normal(T), np.zeros(T)
    for t in range(2, T):
        y[t] = 1.6 * y[t - 1] - 0.8 * y[t - 2] - cubic * y[t - 1] ** 3 + 0.3 * u[t] + 0.1 * u[t - 1] + 0.05
    return Record(u, y, 0.1)


def test_the_coefficients_of_a_linear_system_are_recovered_and_its_free_run_is_exact():
    model = fit_linear([simulate(2000, 0)], order=2)
    test = simulate(500, 1)
    assert np.abs(model.simulate(test, 2) - test.y).max() < 1e-5
    assert np.sort(np.abs(model.poles())) == pytest.approx(np.abs(np.roots([1, -1.6, 0.8])), abs=1e-6)


def test_the_order_is_found():
    rng = np.random.default_rng(5)
    record = simulate(3000, 0)
    noisy = Record(record.u, record.y + 0.01 * rng.standard_normal(record.y.shape), 0.1)
    assert 2 <= fit_linear([noisy]).order <= 10
    assert fit_linear([record]).order == 2


def test_the_cubic_model_finds_the_cubic_term_that_the_linear_one_cannot():
    train, test = simulate(3000, 0, cubic=0.02), simulate(800, 1, cubic=0.02)
    cubic, linear = fit_cubic([train], order=2, products=1), fit_linear([train])
    assert nrmse(test.y, cubic.simulate(test, 2)) < 1e-5 < 0.02 < nrmse(test.y, linear.simulate(test, 20))


def test_two_inputs_and_two_outputs():
    rng = np.random.default_rng(0)
    A, B = np.array([[0.9, 0.2], [-0.3, 0.8]]), np.array([[1.0, 0.0], [0.5, -1.0]])
    u, y = rng.standard_normal((600, 2)), np.zeros((600, 2))
    for t in range(1, 600):
        y[t] = A @ y[t - 1] + B @ u[t]
    model = fit_linear([Record(u, y, 1.0)], order=1)
    assert np.allclose(model.simulate(Record(u, y, 1.0), 1), y, atol=1e-6)
    assert np.sort_complex(model.poles()) == pytest.approx(np.sort_complex(np.linalg.eigvals(A)), abs=1e-6)


def test_a_free_run_that_blows_up_is_not_a_number_and_its_error_infinite():
    record = simulate(200, 0)
    model = fit_cubic([record], order=2, products=1)
    model.coefficients[-1] = 5.0
    hat = model.simulate(record, 2)
    assert np.isnan(hat[-1, 0]) and rmse(record.y, hat) == np.inf
    assert prediction_horizon(record.y, hat, np.ones(1)) < 200


def test_frequency_and_damping_are_found_from_a_ringing():
    t = np.arange(500) * 0.02
    record = Record(None, np.exp(-0.05 * 12 * t) * np.cos(12 * np.sqrt(1 - 0.05**2) * t), 0.02)
    (mode,) = find_modes([record], 1)
    assert mode.frequency * 2 * np.pi == pytest.approx(12, rel=1e-5) and mode.zeta == pytest.approx(0.05, rel=1e-4)


def test_horizon_and_k_step_errors_are_those_counted_by_hand():
    y = np.zeros((10, 1))
    hat = np.r_[np.full(6, 0.3), np.full(4, 0.5)][:, None]
    assert prediction_horizon(y, hat, np.ones(1)) == 6 and prediction_horizon(y, hat, np.full(1, 2.0)) == 10
    rollouts = np.array([[[3.0], [0.0]], [[4.0], [1.0]]])
    assert k_step_errors(y, rollouts, np.array([0, 5]), np.ones(1)) == {
        1: pytest.approx(12.5**0.5),
        2: pytest.approx(0.5**0.5),
    }


def test_an_order_that_runs_away_is_not_chosen_for_a_little_less_error():
    scored = [(0.50, 1, 0, False), (0.45, 2, 0, False), (0.40, 4, 0, True), (np.inf, 6, 0, True)]
    assert _choose(scored) == (2, 0)
    assert _choose([(0.50, 1, 0, False), (0.10, 4, 0, True)]) == (4, 0)  # as an unforced limit cycle may need
    assert _choose([(np.inf, 1, 0, False), (0.3, 4, 0, True)]) == (4, 0)
    assert _choose([(np.inf, 1, 0, True)] * 2) == (1, 0)


def test_too_short_a_record_is_refused():
    with pytest.raises(ValueError, match="too few for a least-squares model"):
        fit_linear([Record(None, np.arange(3.0), 1.0)])


def test_silverbox_linear_errors_are_the_published_ones(data_folder):
    benchmark = load_benchmark("silverbox", data_folder)
    model = fit_linear(benchmark.train, order=10)
    errors = [rmse(r.y[50:], model.simulate(r, 50)[50:]) for r in benchmark.tests.values()]
    assert errors == pytest.approx([6.95, 14.2, 6.59], abs=0.06)  # Champneys et al. 2024, table 3, linear ARX
