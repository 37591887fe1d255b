"""Lyapunov exponents of systems whose exponents are known."""

import math

import pytest
import torch

from rnn.analysis.lyapunov import lyapunov_exponents
from rnn.analysis.systems import henon, logistic, lorenz, stuart_landau
from rnn.linear import LinearCell
from rnn.models import make_cell


def test_lorenz_has_its_published_spectrum():
    found = lyapunov_exponents(lorenz(), steps=2500, transient=500, batch=48, spread=3.0)
    assert found.exponents[0].item() == pytest.approx(0.9056, abs=0.02)
    assert abs(found.exponents[1].item()) < 0.02
    assert found.exponents[2].item() == pytest.approx(-14.572, abs=0.05)
    assert found.exponents.sum().item() == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-2)  # the divergence of the flow
    assert found.dimension == pytest.approx(2.06, abs=0.01)


def test_henon_has_its_published_spectrum():
    found = lyapunov_exponents(henon(), steps=1500, batch=64, spread=0.05)
    assert found.exponents[0].item() == pytest.approx(0.419, abs=0.005)
    assert found.exponents.sum().item() == pytest.approx(math.log(0.3), abs=1e-9)


def test_the_logistic_map_doubles_differences():
    found = lyapunov_exponents(logistic(), steps=1000, batch=64, state=torch.rand(64, 1, dtype=torch.float64))
    assert found.exponents[0].item() == pytest.approx(math.log(2), abs=0.01)


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues():
    torch.manual_seed(0)
    D = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    D = D @ torch.diag(torch.tensor([1.1, 0.9, 0.6, 0.2], dtype=torch.float64)) @ torch.linalg.inv(D + 0.3)
    cell = LinearCell.from_matrices(torch.zeros(1, 1).to(D), torch.zeros(1, 4).to(D), torch.zeros(4, 1).to(D), D)
    found = lyapunov_exponents(cell, steps=400, transient=100, batch=1, spread=1e-3)
    expected = torch.linalg.eigvals(D).abs().log().sort(descending=True).values
    assert torch.allclose(found.exponents, expected, atol=0.02)


def test_exponents_are_per_second_where_the_cell_has_a_time_step():
    found = lyapunov_exponents(stuart_landau(mu=1.0, dt=0.05), steps=600, transient=400, batch=2)
    assert torch.allclose(found.exponents, torch.tensor([0.0, -2.0], dtype=torch.float64), atol=1e-3)


@pytest.mark.parametrize("gain", [0.5, 0.9])
def test_a_random_network_with_gain_below_one_forgets(gain):
    cell = make_cell("esn", 1, 60, radius=gain, distribution="normal", input_scale=0.0, seed=1)
    assert (lyapunov_exponents(cell, steps=150, batch=2, spread=1.0).exponents < 0).all()


def test_a_random_network_with_large_gain_is_chaotic():
    cell = make_cell("esn", 1, 80, radius=3.0, distribution="normal", input_scale=0.0, seed=1)
    found = lyapunov_exponents(cell, steps=200, batch=2, spread=1.0, count=5)
    assert found.exponents[0] > 0.05 and found.exponents.shape == (5,)


def test_a_run_that_diverges_says_so():
    with pytest.raises(FloatingPointError, match="not finite"):
        lyapunov_exponents(logistic(), state=torch.tensor([[1.5]]), steps=100)
