import pytest
import torch

from rnn.open_loop import amplitude_drift, coverage, frequency_error, rmse_curve, steps_per_second


def test_intervals_of_an_overconfident_model_cover_too_little_and_of_a_timid_one_too_much():
    g = torch.Generator().manual_seed(0)
    truth = torch.randn(3, 2000, 1, generator=g)
    shares = [coverage(k * torch.randn(200, 3, 2000, 1, generator=g), truth).mean().item() for k in (0.5, 1.0, 2.0)]
    exact = torch.distributions.Normal(0, 1).cdf(torch.tensor([0.5, 1.0, 2.0]) * 1.645) * 2 - 1
    assert shares == pytest.approx(exact.tolist(), abs=0.02)


@pytest.mark.parametrize("samples, level", [(5, 0.9), (20, 1.0), (20, 0.0)])
def test_too_few_courses_for_an_interval_are_refused(samples, level):
    with pytest.raises(ValueError, match="courses"):
        coverage(torch.zeros(samples, 2, 1, 1), torch.zeros(2, 1, 1), level)


def test_rhythm_and_amplitude_of_damped_swings():
    t = torch.arange(600.0)[:, None]
    true = torch.exp(-0.002 * t) * torch.cos(0.2 * t)
    assert frequency_error(true, true) == 0.0 and amplitude_drift(true, true) == 0.0
    assert frequency_error(torch.cos(0.22 * t), true) == pytest.approx(0.1, abs=0.02)
    quiet = torch.exp(-0.004 * t) * torch.cos(0.2 * t)  # after 525 steps on average a factor exp(-1.05)
    assert amplitude_drift(quiet, true) == pytest.approx(-0.65, abs=0.03)


def test_the_curve_leaves_out_what_was_not_predicted_and_cost_counts_rows():
    assert list(rmse_curve(torch.ones(20, 2))) == [1, 2, 5, 10, 20]
    assert steps_per_second(lambda: None, 512, seconds=0.01) > 512
