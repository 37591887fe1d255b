"""Gradients through time: closed forms, sums that must agree, and networks left as they were."""

import copy

import pytest
import torch

from rnn.analysis.gradients import jacobian_products, linear_gradient, lstm_direct_path, step_shares
from rnn.analysis.step_map import StepMap
from rnn.cpg import PhaseCell
from rnn.linear import LinearCell
from rnn.lstm import LSTMCell
from rnn.model import pack, unpack
from rnn.models import make_cell
from rnn.unroll import unroll

CELLS = ["elman", "elman_pre", "leaky", "lstm", "gru", "minimal", "orthogonal", "lru", "linoss", "esn", "es2n"]


def linear_cell(D: torch.Tensor) -> LinearCell:
    n = len(D)
    return LinearCell.from_matrices(D.new_zeros(1, 1), D.new_zeros(1, n), D.new_zeros(n, 1), D)


@pytest.mark.parametrize("name", CELLS)
def test_jacobians_equal_finite_differences_for_every_cell(name):
    torch.manual_seed(0)
    system = StepMap(make_cell(name, 2, 4))
    s = 0.3 * torch.randn(3, system.size, dtype=torch.float64)
    x = torch.randn(3, 2, dtype=torch.float64)
    jacobian = system.jacobian(s, x)
    for i in range(system.size):
        push = torch.zeros_like(s)
        push[:, i] = 1e-6
        with torch.no_grad():
            slope = (system(s + push, x) - system(s - push, x)) / 2e-6
        assert torch.allclose(jacobian[:, :, i], slope, atol=1e-7)


@pytest.mark.parametrize("profile", ["newt", "robot"])
def test_jacobians_of_pattern_generators_equal_finite_differences(profile):
    cell = PhaseCell(segments=2, profile=profile)
    system = StepMap(cell, torch.full((cell.input_size,), 1.4))
    s = system.orbit(system.initial(), 20)[-1]
    jacobian = system.jacobian(s)
    push = 1e-6 * torch.eye(system.size, dtype=torch.float64)
    with torch.no_grad():
        slope = system.difference(system(s + push), system(s - push)) / 2e-6
    assert torch.allclose(jacobian[0].T, slope, atol=1e-6)


def test_products_of_a_linear_network_equal_the_closed_form():
    torch.manual_seed(1)
    D = torch.randn(4, 4, dtype=torch.float64) / 2
    products, closed = jacobian_products(linear_cell(D), torch.zeros(12, 2, 1)), linear_gradient(D, 12)
    assert torch.allclose(products.by_lag, closed.norms, rtol=1e-9)
    assert torch.allclose(products.conditions[0], closed.conditions, rtol=1e-6)


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.1])
def test_the_spectral_radius_decides_whatever_the_angle(radius):
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    closed = linear_gradient(radius * turn, 50)
    assert torch.allclose(closed.norms, radius ** torch.arange(51).double(), rtol=1e-9)
    assert torch.allclose(closed.conditions, closed.ratios, rtol=1e-6)  # a normal matrix


def test_a_non_normal_matrix_grows_before_it_fades():
    closed = linear_gradient(torch.tensor([[0.9, 5.0], [0.0, 0.8]]), 200)
    k = torch.arange(201).double()
    corner = 5 * (0.9**k - 0.8**k) / 0.1  # the upper right entry of D^k
    assert closed.radius < 1 and closed.peak == pytest.approx(13.5, abs=0.1)
    assert (closed.norms[5:] >= corner[5:]).all() and closed.norms[-1] < 1e-6


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_the_shares_of_the_steps_sum_to_the_gradient(name):
    torch.manual_seed(0)
    cell, xs = make_cell(name, 2, 3).double(), torch.randn(7, 2, 2, dtype=torch.float64)
    shares = step_shares(cell, xs, lambda ys: ys[-1].square().sum())
    run = unroll(cell, xs, path="loop")
    run.outputs[-1].square().sum().backward()
    for key, parameter in cell.named_parameters():
        assert torch.allclose(shares.shares[key].sum(0), parameter.grad, atol=1e-12)
    assert (shares.states > 0).all()


def test_shares_of_the_state_are_chained_by_the_jacobian():
    torch.manual_seed(0)
    cell, xs = make_cell("gru", 2, 3).double(), torch.randn(6, 1, 2, dtype=torch.float64)
    shares = step_shares(cell, xs, lambda ys: ys[-1, 0, 0])
    products = StepMap(cell)
    states = products.orbit(products.initial(), 6, xs)
    backward = torch.zeros(1, 3, dtype=torch.float64)
    backward[0, 0] = 1
    for t in range(5, -1, -1):
        backward = backward @ products.jacobian(states[t], xs[t])[0]
        assert shares.states[t].item() == pytest.approx(backward.norm().item(), rel=1e-9)


def test_without_recurrent_gates_the_direct_path_of_an_lstm_is_the_whole():
    torch.manual_seed(0)
    hears = {name: "x" for name in ("input_gate", "forget", "candidate", "output_gate")}
    path = lstm_direct_path(LSTMCell(2, 4, reads=hears), torch.randn(9, 3, 2))
    assert torch.allclose(path.direct, path.full, rtol=1e-9)
    carousel = lstm_direct_path(LSTMCell(2, 4, gates=(), reads=hears), torch.randn(9, 3, 2))
    assert torch.equal(carousel.direct, torch.ones(10, dtype=torch.float64))
    assert torch.allclose(carousel.full, carousel.direct)


def test_analysis_leaves_weights_flags_and_gradients_untouched():
    cell = make_cell("lstm", 2, 3).train()
    cell.weight_ih.requires_grad_(False)
    before, flags = copy.deepcopy(cell.state_dict()), [p.requires_grad for p in cell.parameters()]
    jacobian_products(cell, torch.randn(4, 2, 2))
    step_shares(cell, torch.randn(4, 2, 2), lambda ys: ys.sum())
    lstm_direct_path(cell, torch.randn(4, 2, 2))
    assert all(torch.equal(before[k], v) and v.dtype == before[k].dtype for k, v in cell.state_dict().items())
    assert [p.requires_grad for p in cell.parameters()] == flags and cell.training
    assert all(p.grad is None for p in cell.parameters())


def test_results_draw_themselves_into_files(tmp_path):
    cell = make_cell("gru", 2, 3)
    results = [
        jacobian_products(cell, torch.randn(4, 2, 2)),
        linear_gradient(0.5 * torch.eye(2), 5),
        step_shares(cell, torch.randn(4, 2, 2), lambda ys: ys.sum()),
        lstm_direct_path(LSTMCell(2, 3), torch.randn(4, 2, 2)),
    ]
    for i, result in enumerate(results):
        result.plot(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000


def test_a_packed_state_survives_unpacking():
    cell = PhaseCell(segments=2).double()
    state = cell.initial_state(3)
    assert torch.equal(pack(unpack(cell, pack(state))), pack(state))
