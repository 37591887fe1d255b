"""Filters, oscillators and learned linear models against their closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rnn.elman import PreActivationCell
from rnn.euler import (
    EulerCell,
    EulerState,
    euler_error,
    euler_matrix,
    forced_oscillator,
    gain,
    largest_stable_step,
    oscillator_matrix,
)
from rnn.linear import FiniteAverage, LinearCell, MovingAverage, dynamics_penalty, filter_cell
from rnn.unroll import unroll

GAMMA = 0.05


def pulse(steps: int) -> torch.Tensor:
    xs = torch.zeros(steps, 1, 1, dtype=torch.float64)
    xs[0] = 1.0
    return xs


def test_the_two_moving_averages_have_finite_and_geometric_impulse_responses():
    finite = unroll(FiniteAverage(1, weights=(0.5, 0.3, 0.2)).double(), pulse(6)).outputs.flatten()
    assert finite.tolist() == pytest.approx([0.5, 0.3, 0.2, 0, 0, 0])
    infinite = unroll(MovingAverage(1, decay=0.8).double(), pulse(6)).outputs.flatten()
    assert infinite.tolist() == pytest.approx([0] + [0.2 * 0.8**k for k in range(5)])


def test_moving_averages_filters_and_oscillators_are_linear_cells():
    xs = torch.randn(40, 2, 1, dtype=torch.float64)
    m = lambda rows: torch.tensor(rows, dtype=torch.float64)
    exponential = LinearCell.from_matrices(m([[0.0]]), m([[1.0]]), m([[0.2]]), m([[0.8]]))
    assert torch.allclose(unroll(exponential, xs).outputs, unroll(MovingAverage(1, decay=0.8).double(), xs).outputs)
    delay = LinearCell.from_matrices(m([[0.5]]), m([[0.3, 0.2]]), m([[1.0], [0.0]]), m([[0.0, 0.0], [1.0, 0.0]]))
    finite = FiniteAverage(1, weights=(0.5, 0.3, 0.2)).double()
    assert torch.allclose(unroll(delay, xs).outputs, unroll(finite, xs).outputs)


def test_both_filters_equal_their_recurrences():
    xs = torch.randn(30, 1, 1, dtype=torch.float64)
    first, second = filter_cell(0.4, 0.6).double(), filter_cell(0.4, 0.6, -1.0, 0.9).double()
    ys, zs = (unroll(cell, xs).outputs.flatten().tolist() for cell in (first, second))
    y = m = 0.0
    for t, x in enumerate(xs.flatten().tolist()):
        y = 0.4 * x + 0.6 * y
        assert ys[t] == pytest.approx(y, abs=1e-6)
        assert zs[t] == pytest.approx(0.4 * x + 0.6 * m, abs=1e-6)
        m = -1.0 * x + 0.9 * m


def test_the_backward_oscillator_fades_at_the_published_rate_and_period():
    z = torch.linalg.eigvals(oscillator_matrix(GAMMA, "backward"))
    assert z.abs().tolist() == pytest.approx([0.975900] * 2, abs=1e-6)
    assert z.abs().tolist() == pytest.approx([(1 / (1 + GAMMA)) ** 0.5] * 2, rel=1e-12)
    angle = float(z.angle().abs()[0])
    assert angle == pytest.approx(0.2200, abs=5e-5) and angle == pytest.approx(math.atan(GAMMA**0.5), rel=1e-12)
    assert 2 * math.pi / angle == pytest.approx(28.56, abs=5e-3)
    assert 2 * math.pi / GAMMA**0.5 == pytest.approx(28.10, abs=5e-3), "the continuous system"


def test_the_forward_step_grows_and_the_symplectic_step_keeps_the_amplitude_up_to_gamma_4():
    grow = torch.linalg.eigvals(oscillator_matrix(GAMMA, "forward"))
    assert grow.abs().tolist() == pytest.approx([(1 + GAMMA) ** 0.5] * 2, rel=1e-12)
    keep = torch.linalg.eigvals(oscillator_matrix(GAMMA, "symplectic"))
    assert keep.abs().tolist() == pytest.approx([1.0] * 2, rel=1e-12)
    assert 2 * math.pi / float(keep.angle().abs()[0]) == pytest.approx(28.04, abs=5e-3)
    for gamma, conserved in ((3.9, True), (4.1, False)):
        largest = torch.linalg.eigvals(oscillator_matrix(gamma, "symplectic")).abs().max()
        assert (abs(float(largest) - 1) < 1e-9) == conserved


def test_the_lectures_oscillator_takes_the_printed_course():
    D = oscillator_matrix(GAMMA, "backward")
    h = torch.tensor([1.1, 1.0], dtype=torch.float64)
    course = []
    for _ in range(60):
        course.append(float(h[0]))
        h = D @ h
    assert course[:4] == pytest.approx([1.1, 1.142857, 1.129252, 1.062520], abs=1e-6)
    turning = [b for a, b, c in zip(course, course[1:], course[2:], strict=False) if (b - a) * (c - b) < 0]
    assert turning[:3] == pytest.approx([1.1429, -0.8037, 0.5698], abs=5e-5)


@pytest.mark.parametrize("scheme", ["backward", "symplectic"])
def test_a_forced_oscillator_settles_where_its_input_is(scheme):
    assert gain(forced_oscillator(GAMMA, scheme), torch.zeros(1)).item() == pytest.approx(1.0, abs=1e-9)
    wrong = forced_oscillator(GAMMA, scheme, alpha=GAMMA / (1 - GAMMA))
    right = GAMMA / (1 + GAMMA) if scheme == "backward" else GAMMA
    assert gain(wrong, torch.zeros(1)).item() == pytest.approx(GAMMA / (1 - GAMMA) / right)
    if scheme == "backward":
        ys = unroll(forced_oscillator(GAMMA), torch.ones(800, 1, 1, dtype=torch.float64)).outputs
        assert ys[-1].item() == pytest.approx(1.0, abs=1e-6)


def test_the_gain_of_the_forced_oscillator_peaks_where_printed_and_is_what_a_sine_meets():
    cell = forced_oscillator(GAMMA)
    omega = torch.linspace(0.15, 0.3, 15001, dtype=torch.float64)
    curve = gain(cell, omega).flatten()
    assert curve.max().item() == pytest.approx(4.58, abs=5e-3)
    assert omega[curve.argmax()].item() == pytest.approx(0.2187, abs=1e-4)
    w = 0.2187
    t = torch.arange(3000, dtype=torch.float64)
    ys = unroll(cell, torch.sin(w * t).reshape(-1, 1, 1)).outputs.flatten()[2000:]
    amplitude = (2 * ys.square().mean()).sqrt().item()
    assert amplitude == pytest.approx(curve.max().item(), rel=5e-3)


def test_eulers_matrix_errs_by_the_square_of_the_step_and_is_stable_below_the_bound_only():
    A = torch.tensor([[0.0, 1.0], [-4.0, -0.4]], dtype=torch.float64)
    errors = [euler_error(A, dt) for dt in (0.02, 0.01, 0.005)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.15) and errors[1] / errors[2] == pytest.approx(4, abs=0.1)
    bound = largest_stable_step(A)
    radius = lambda dt: float(torch.linalg.eigvals(euler_matrix(A, dt)).abs().max())
    assert bound == pytest.approx(0.1) and radius(0.99 * bound) < 1 < radius(1.01 * bound)
    undamped = torch.tensor([[0.0, 1.0], [-4.0, 0.0]], dtype=torch.float64)
    assert largest_stable_step(undamped) == 0 and radius(1e-3) < 1
    assert float(torch.linalg.eigvals(euler_matrix(undamped, 1e-3)).abs().max()) > 1


def test_a_rate_network_read_off_its_differential_equation_is_the_leaky_cell():
    torch.manual_seed(0)
    cell = PreActivationCell(2, 5, leak=0.05).double()
    flow = lambda x, r: -r + torch.tanh(r) @ cell.weight_hh.T + x @ cell.weight_ih.T + cell.bias
    euler = EulerCell(flow, 2, 5, dt=0.05)
    xs = torch.randn(40, 3, 2, dtype=torch.float64)
    rs = unroll(cell, xs, record=("r",)).trace["r"]
    zero = EulerState(torch.zeros(3, 5, dtype=torch.float64))
    assert torch.allclose(unroll(euler, xs, zero).outputs, rs, atol=1e-12)


def test_an_euler_network_of_a_nonlinear_flow_converges_to_the_flow_with_first_order():
    flow = lambda x, h: torch.stack([h[:, 1], (1 - h[:, 0] ** 2) * h[:, 1] - h[:, 0]], 1)  # van der Pol
    start = EulerState(torch.tensor([[2.0, 0.0]], dtype=torch.float64))

    def end(substeps: int) -> torch.Tensor:
        cell = EulerCell(flow, 1, 2, dt=0.1, substeps=substeps)
        return unroll(cell, torch.zeros(20, 1, 1, dtype=torch.float64), start).outputs[-1, 0]

    answer = solve_ivp(lambda t, s: [s[1], (1 - s[0] ** 2) * s[1] - s[0]], (0, 2), [2, 0], rtol=1e-10, atol=1e-12)
    truth = torch.from_numpy(answer.y[:, -1])
    errors = [float((end(n) - truth).norm()) for n in (8, 16, 32)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2) and errors[1] / errors[2] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("dynamics", ["slow", "damped", "oscillating"])
def test_steered_dynamics_hold_whatever_the_parameters(dynamics):
    torch.manual_seed(0)
    for _ in range(5):
        cell = LinearCell(1, 8, dynamics=dynamics, horizon=20.0).double()
        with torch.no_grad():
            for p in cell.parameters():
                p.copy_(3 * torch.randn_like(p))
        z = cell.eigenvalues()
        if dynamics == "slow":
            assert z.imag.abs().max() == 0 and z.real.min() > 1 - 1 / 20 and z.real.max() < 1
        if dynamics == "damped":
            assert z.abs().max() < 1
        if dynamics == "oscillating":
            assert torch.allclose(z.abs(), torch.ones(8, dtype=torch.float64))


def test_penalties_vanish_for_what_they_steer_to_and_gradients_lead_there():
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert dynamics_penalty(turn, "oscillating") < 1e-20 and dynamics_penalty(torch.eye(2), "slow") == 0
    assert dynamics_penalty(0.9 * turn, "damped", rho=0.95) == 0 and dynamics_penalty(turn, "damped") > 0
    generator = torch.Generator().manual_seed(0)
    for kind, reached in (
        ("slow", lambda z: (z - 1).abs().max() < 0.05),
        ("damped", lambda z: z.abs().max() < 0.96),
        ("oscillating", lambda z: (z.abs() - 1).abs().max() < 0.02),
    ):
        D = (1.5 * torch.randn(4, 4, generator=generator, dtype=torch.float64)).requires_grad_()
        optimiser = torch.optim.Adam([D], lr=0.07)
        for _ in range(200):
            optimiser.zero_grad()
            dynamics_penalty(D, kind).backward()
            optimiser.step()
        assert reached(torch.linalg.eigvals(D.detach())), kind
    with pytest.raises(ValueError, match="slow"):
        dynamics_penalty(turn, "fast")


def test_a_linear_model_learns_the_eigenvalues_of_an_oscillator_from_noisy_data():
    generator = torch.Generator().manual_seed(0)
    truth = forced_oscillator(GAMMA)
    us = torch.randn(200, 6, 1, generator=generator, dtype=torch.float64)
    clean = unroll(truth, us).outputs.detach()
    ys = clean + 0.02 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    torch.manual_seed(1)
    cell = LinearCell(1, 2, output_size=1, dynamics="damped").double()
    with torch.no_grad():
        cell.theta.fill_(0.4)
    optimiser = torch.optim.LBFGS(cell.parameters(), max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = (unroll(cell, us).outputs - ys).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    learned, true = cell.eigenvalues(), truth.eigenvalues()
    assert np.abs(learned.abs().detach().numpy() - true.abs().detach().numpy()).max() < 1e-3
    assert abs((learned.angle().abs()[0] - true.angle().abs()[0]).item()) < 1e-3


def test_wrong_linear_models_are_refused():
    for settings, message in (({"dynamics": "fast"}, "slow"), ({"dynamics": "damped"}, "even H"),
                              ({"dynamics": "slow", "horizon": 0.5}, "exceed 1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            LinearCell(1, 3, **settings)
    with pytest.raises(ValueError, match="H, I"):
        LinearCell.from_matrices(torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="backward"):
        oscillator_matrix(0.05, "leapfrog")
