"""Lyapunov exponents of systems whose exponents are known."""

import math

import pytest
import torch

from rnn.analysis.lyapunov import lyapunov_exponents
from rnn.analysis.step_map import StepMap
from rnn.analysis.systems import henon, logistic, lorenz, stuart_landau
from rnn.cell import Cell, no_tap
from rnn.cpg import PhaseCell
from rnn.linear import LinearCell
from rnn.models import make_cell
from rnn.unroll import unroll


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


@pytest.mark.parametrize("name", ["lstm", "lru", "linear_attention", "esn", "phase"])
def test_directions_pushed_forward_equal_the_jacobian_times_them(name):
    torch.manual_seed(0)
    cell = PhaseCell(segments=2) if name == "phase" else make_cell(name, 2, 6)
    system = StepMap(cell, torch.full((cell.input_size,), 1.5))
    s = system.orbit(system.initial(3) + 0.1 * torch.randn(3, system.size).double(), 5)[-1]
    frame = torch.randn(3, system.size, 2, dtype=torch.float64)
    following, pushed = system.push(s, frame)
    assert torch.allclose(pushed, system.jacobian(s) @ frame, atol=1e-10)
    assert torch.allclose(following, system(s).detach()) and system.forward_mode


def test_few_exponents_are_the_first_of_all():
    cell = make_cell("esn", 1, 30, radius=1.8, distribution="normal", input_scale=0.0, seed=1)
    few = lyapunov_exponents(cell, steps=200, batch=2, spread=1.0, count=3)
    every = lyapunov_exponents(cell, steps=200, batch=2, spread=1.0)
    assert torch.allclose(few.exponents, every.exponents[:3], atol=0.02)


class Echoing(Cell):
    """An echo state network that hears its own readout."""

    def __init__(self, reservoir: Cell, weights: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, dt: float):
        super().__init__()
        self.reservoir, self.dt = reservoir, dt
        for name, value in (("weights", weights), ("mean", mean), ("std", std)):
            self.register_buffer(name, value)
        self.input_size, self.output_size = 1, 3

    def initial_state(self, batch: int) -> tuple:
        return (*self.reservoir.initial_state(batch), self.zeros(batch, 3))

    def forward(self, x, state, tap=no_tap):
        h, said = state
        h, _ = self.reservoir(said, type(self.reservoir.initial_state(1))(h))
        h = tap("h", h)
        said = torch.cat([h, h * h, torch.ones_like(h[:, :1])], 1) @ self.weights
        return said, (h, said)


@pytest.mark.slow
def test_a_fitted_network_has_the_spectrum_of_lorenz():
    dt = 0.02
    system = StepMap(lorenz(dt))
    orbit = system.orbit(system.initial(), 6500)[500:, 0]
    mean, std = orbit.mean(0), orbit.std(0)
    data = (orbit - mean) / std
    reservoir = make_cell("esn", 3, 300, radius=0.4, input_scale=0.5, bias_scale=0.5, seed=0).double()
    hs = unroll(reservoir, data[:-1, None]).outputs[200:, 0]
    features = torch.cat([hs, hs * hs, torch.ones_like(hs[:, :1])], 1)
    gram = features.T @ features + 1e-7 * torch.eye(features.shape[1]).double()
    cell = Echoing(reservoir, torch.linalg.solve(gram, features.T @ data[201:]), mean, std, dt)
    start = torch.cat([hs[::600], data[201::600][: len(hs[::600])]], 1)
    found = lyapunov_exponents(cell, state=start, steps=3000, transient=200, count=3)
    assert found.exponents[0].item() == pytest.approx(0.906, abs=0.05)
    assert found.exponents[1].item() == pytest.approx(0.0, abs=0.05)
    assert found.exponents[2].item() == pytest.approx(-14.57, abs=0.7)


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
