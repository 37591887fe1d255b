import numpy as np
import pytest

from sim.rewards import tolerance

SHAPES = ["gaussian", "linear", "quadratic", "cosine", "long_tail", "hyperbolic"]


@pytest.mark.parametrize("sigmoid", SHAPES)
def test_every_shape_is_one_inside_has_its_value_at_the_margin_and_falls_beyond(sigmoid):
    x = np.linspace(-6.0, 8.0, 1401)
    score = tolerance(x, bounds=(0.0, 2.0), margin=1.5, sigmoid=sigmoid, value_at_margin=0.2)
    assert np.all((score >= 0) & (score <= 1))
    assert np.all(score[(x >= 0) & (x <= 2)] == 1)
    assert tolerance(3.5, (0, 2), 1.5, sigmoid, 0.2) == pytest.approx(0.2)
    assert tolerance(-1.5, (0, 2), 1.5, sigmoid, 0.2) == pytest.approx(0.2)
    assert np.all(np.diff(score[x > 2]) <= 0) and score[-1] < 0.2
    assert np.allclose(score, tolerance(2.0 - x, (0.0, 2.0), 1.5, sigmoid, 0.2))  # mirrored about the middle


@pytest.mark.parametrize("sigmoid", ["linear", "quadratic", "cosine"])
def test_shapes_that_can_reach_zero_stay_there(sigmoid):
    assert np.all(tolerance([3.0, 5.0, 50.0], (0, 2), 1.0, sigmoid, 0.0) == 0)


def test_a_zero_margin_is_an_indicator_and_infinite_bounds_are_one_sided():
    assert tolerance([0.9, 1.0, 5.0, np.inf], (1.0, np.inf)).tolist() == [0, 1, 1, 1]


def test_bounds_and_margins_may_differ_per_world():
    score = tolerance([1.0, 1.0, 1.0], bounds=(np.array([1.0, 2.0, 2.0]), np.inf), margin=[1.0, 1.0, 0.0])
    assert score == pytest.approx([1.0, 0.1, 0.0])


@pytest.mark.parametrize("sigmoid", SHAPES)
def test_nan_is_not_hidden_and_far_values_neither_overflow_nor_warn(sigmoid):
    score = tolerance([np.nan, 1e200, np.inf], (0, 1), 1e-3, sigmoid, 0.5)
    assert np.isnan(score[0]) and np.all(score[1:] < 1e-6)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bounds": (1, 0)}, "lower <= upper"),
        ({"margin": -1.0}, "margin"),
        ({"margin": 1.0, "sigmoid": "tanh"}, "sigmoid must be one of"),
        ({"margin": 1.0, "value_at_margin": 0.0}, "value_at_margin"),
        ({"margin": 1.0, "value_at_margin": 1.0, "sigmoid": "linear"}, "value_at_margin"),
    ],
)
def test_impossible_settings_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tolerance(0.5, **kwargs)
