"""Reservoirs: states, forgetting, memory, readouts in closed form, prediction, and a body that computes."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from rnn.mass_spring import MassSpringCell
from rnn.reservoir import EchoStateCell, EdgeOfStabilityCell, spectral_radius
from rnn.reservoir_batch import ReservoirBatch
from rnn.ridge import EchoStateNetwork, forgetting, kernel_ridge, memory_capacity, ridge
from rnn.series import lorenz, mackey_glass, valid_time
from rnn.unroll import unroll


@pytest.fixture(autouse=True)
def in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fan_in", [None, 7])
def test_states_equal_the_equation_written_out_in_numpy(fan_in):
    cell = EchoStateCell(2, 30, radius=0.9, leak=0.4, input_scale=0.7, bias_scale=0.2, fan_in=fan_in, seed=0)
    W = np.zeros((30, 30))
    if fan_in is None:
        W = cell.weight_hh.numpy()
    else:
        np.put_along_axis(W, cell.sources.numpy(), cell.weight_hh.numpy(), 1)
        assert np.all((W != 0).sum(1) == 7), "each unit hears seven different others"
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(0.9, rel=1e-6)
    xs = normal(40, 3, 2)
    ys, h = unroll(cell, xs).outputs.numpy(), np.zeros((3, 30))
    for t, x in enumerate(xs.numpy()):
        h = 0.6 * h + 0.4 * np.tanh(x @ cell.weight_ih.numpy().T + h @ W.T + cell.bias.numpy())
        assert np.allclose(ys[t], h, atol=1e-13)
    again = EchoStateCell(2, 30, radius=0.9, fan_in=fan_in, seed=0)
    assert torch.equal(again.weight_hh, cell.weight_hh), "the same seed gives the same reservoir"


PEER = """
import sys, numpy as np
from reservoirpy.nodes import Reservoir
data = np.load(sys.argv[1])
node = Reservoir(units=25, W=data["W"], Win=data["Win"], bias=data["b"], lr=0.3)
np.save(sys.argv[2], node.run(data["x"]))
"""


@pytest.mark.skipif(not importlib.util.find_spec("reservoirpy"), reason="ReservoirPy is not installed (make peers)")
def test_reservoirpy_takes_the_same_states_with_the_same_weights(tmp_path):
    cell = EchoStateCell(2, 25, radius=1.1, leak=0.3, bias_scale=0.3, seed=0)
    xs = normal(50, 1, 2)
    np.savez(tmp_path / "in.npz", W=cell.weight_hh, Win=cell.weight_ih, b=cell.bias, x=xs[:, 0])
    subprocess.run([sys.executable, "-c", PEER, str(tmp_path / "in.npz"), str(tmp_path / "out.npy")], check=True)
    assert np.allclose(np.load(tmp_path / "out.npy"), unroll(cell, xs).outputs[:, 0].numpy(), atol=1e-12)


def test_the_spectral_radius_of_a_large_sparse_reservoir_is_what_was_asked_for():
    cell = EchoStateCell(1, 400, radius=0.8, fan_in=10, seed=0)
    W = torch.zeros(400, 400).scatter(1, cell.sources, cell.weight_hh)
    assert torch.linalg.eigvals(W).abs().max().item() == pytest.approx(0.8, rel=1e-4)
    assert spectral_radius(W) == pytest.approx(0.8, rel=1e-4), "dense and sparse ways agree"
    assert EchoStateCell(1, 1600, seed=0).weight_hh.shape == (1600, 10), "large ones are sparse unless told otherwise"


def test_ten_thousand_units_run():
    cell = EchoStateCell(3, 10_000, radius=0.9, leak=0.5, seed=0)
    run = unroll(cell, normal(5, 2, 3))
    assert run.outputs.shape == (5, 2, 10_000) and 0.05 < run.outputs[-1].std().item() < 1


@pytest.mark.parametrize("fan_in", [None, 5])
@pytest.mark.parametrize("path", ["auto", "loop"])
def test_a_batch_of_reservoirs_equals_each_by_itself(fan_in, path):
    cells = [
        EchoStateCell(2, 20, radius=r, leak=a, fan_in=fan_in, seed=s)
        for s, (r, a) in enumerate([(0.5, 1.0), (0.9, 0.3), (1.3, 0.7)])
    ]
    batch = ReservoirBatch(cells)
    xs = normal(30, 3, 2)
    resets = torch.zeros(30, 3, dtype=torch.bool)
    resets[11, 1] = True
    together = unroll(batch, xs, resets=resets, path=path).outputs
    for r, cell in enumerate(cells):
        alone = unroll(cell, xs[:, r : r + 1], resets=resets[:, r : r + 1]).outputs[:, 0]
        assert torch.allclose(together[:, r], alone, atol=1e-12)
    if fan_in is None:
        assert torch.allclose(unroll(batch, xs, resets=resets, path="fused").outputs, together, atol=1e-12)
    with pytest.raises(ValueError, match="one row per reservoir"):
        unroll(batch, xs[:, :2])
    x = xs.clone().requires_grad_()
    (g,) = torch.autograd.grad(unroll(batch, x, path=path).outputs[-1].sum(), x)
    assert g.abs().sum() > 0


def test_a_batch_of_readouts_equals_each_by_itself():
    cells = [EchoStateCell(1, 20, radius=0.9, seed=s) for s in range(3)]
    xs, ys = normal(200, 3, 1), normal(200, 3, 2, seed=1)
    together = EchoStateNetwork(ReservoirBatch(cells), 2, penalty=1e-3).fit(xs, ys, washout=20)
    outputs = together(xs).outputs
    for r, cell in enumerate(cells):
        alone = EchoStateNetwork(cell, 2, penalty=1e-3).fit(xs[:, r : r + 1], ys[:, r : r + 1], washout=20)
        assert torch.allclose(alone.readout, together.readout[r], atol=1e-9)
        assert torch.allclose(alone(xs[:, r : r + 1]).outputs[:, 0], outputs[:, r], atol=1e-9)


def test_a_small_largest_singular_value_suffices_for_forgetting_and_the_spectral_radius_does_not_decide():
    contracting = EchoStateCell(1, 40, seed=0)
    contracting.weight_hh *= 0.9 / torch.linalg.matrix_norm(contracting.weight_hh, 2)
    course = forgetting(contracting, torch.zeros(300, 1, 1))
    assert torch.all(course[1:] <= course[:-1] + 1e-15), "a contraction shrinks the distance at every step"
    assert course[-1] < 1e-10
    shear = EchoStateCell(1, 2, seed=0)  # radius 0.9, but the state first grows, and far from zero saturates
    shear.weight_hh.copy_(torch.tensor([[0.9, 50.0], [0.0, 0.9]]))
    assert spectral_radius(shear.weight_hh) == pytest.approx(0.9)
    early = forgetting(shear, torch.zeros(5, 1, 1), spread=1e-4)
    assert early.max() > 20e-4, "below 1, and yet differences grow at first"
    wild = EchoStateCell(1, 60, radius=1.3, seed=1)
    assert forgetting(wild, torch.zeros(400, 1, 1))[-1] > 1e-2, "without input it does not forget"
    strong = 4.0 * torch.sign(normal(400, 1, 1))
    assert forgetting(wild, strong)[-1] < 1e-8, "above 1, and yet a strong input makes it forget"


def test_the_readout_solves_its_least_squares_problem_and_equals_kernel_ridge():
    X, Y, Q = normal(60, 8), normal(60, 2, seed=1), normal(9, 8, seed=2)
    W = ridge(X, Y, 0.3)
    residual = (X @ W.T - Y).T @ X + 0.3 * W
    assert residual.abs().max() < 1e-12, "the gradient vanishes"
    assert torch.allclose(Q @ W.T, kernel_ridge(X, Y, 0.3, Q), atol=1e-10)
    few = ridge(X[:5], Y[:5], 0.3)
    assert torch.allclose(Q @ few.T, kernel_ridge(X[:5], Y[:5], 0.3, Q), atol=1e-10), "with fewer samples than features"
    stacked = ridge(X.unflatten(0, (2, 30)), Y.unflatten(0, (2, 30)), 0.3)
    assert torch.allclose(stacked[1], ridge(X[30:], Y[30:], 0.3))


def test_the_readout_keeps_digits_that_the_normal_equations_lose():
    X = torch.stack([torch.ones(20), 1 + 1e-7 * normal(20)], 1)
    truth = torch.tensor([[2.0, -3.0]])
    assert torch.allclose(ridge(X, X @ truth.T, 0.0), truth, atol=1e-6)
    normal_equations = torch.linalg.lstsq(X.T @ X, X.T @ X @ truth.T).solution.T
    assert (normal_equations - truth).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ridge(torch.ones(3, 5), torch.ones(3, 1), 0.0), "above 0"),
        (lambda: ridge(torch.ones(3, 2), torch.ones(3, 1), -1.0), "negative"),
        (lambda: ridge(torch.full((3, 2), torch.nan), torch.ones(3, 1), 1.0), "NaN"),
        (lambda: EchoStateCell(1, 10, leak=0.0), "leak"),
        (lambda: EchoStateCell(1, 10, fan_in=11), "fan_in"),
        (lambda: EchoStateNetwork(EchoStateCell(1, 10), 1, features=("states",)), "square"),
        (lambda: EchoStateNetwork(EchoStateCell(1, 10), 1).fit(torch.ones(5, 1, 1), torch.ones(5, 1, 1)), "washout"),
        (lambda: ReservoirBatch([EchoStateCell(1, 10), EchoStateCell(1, 11)]), "equal sizes"),
        (lambda: EdgeOfStabilityCell(1, 10, proximity=0.0), "proximity"),
        (lambda: mackey_glass(10, tau=17.03), "multiple"),
    ],
)
def test_impossible_reservoirs_and_readouts_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_memory_capacity_of_a_delay_line_is_its_length_and_never_exceeds_the_units():
    class DelayLine(EchoStateCell):
        def forward(self, x, state, tap=None):
            h = torch.cat([x, state.h[:, :-1]], 1)
            return h, state._replace(h=h)

    line = DelayLine(1, 12, seed=0)
    curve = memory_capacity(line, delays=24, steps=4000)
    assert torch.allclose(curve[:11], torch.ones(11), atol=1e-6) and curve[11:].max() < 0.02
    es2n = memory_capacity(EdgeOfStabilityCell(1, 40, proximity=0.1, input_scale=0.1, seed=0), steps=4000).sum()
    esn = memory_capacity(EchoStateCell(1, 40, radius=0.9, input_scale=0.1, seed=0), steps=4000).sum()
    assert 35 < es2n < 41 and 5 < esn < 25


def test_mackey_glass_and_lorenz_are_integrated_accurately():
    coarse, fine = mackey_glass(200, settle=0, substeps=10), mackey_glass(200, settle=0, substeps=20)
    finer = mackey_glass(200, settle=0, substeps=40)
    assert np.abs(coarse - finer).max() < 1e-6 and np.abs(fine - finer).max() < np.abs(coarse - finer).max() / 12
    a, b = lorenz(40, settle=5.0), lorenz(40, settle=5.0, tolerance=1e-12)
    assert np.abs(a - b).max() < 1e-5
    rate = np.gradient(a[:, 0], 0.025)[5:-5]
    assert np.allclose(rate, (10 * (a[:, 1] - a[:, 0]))[5:-5], atol=6.0)
    assert valid_time(np.full((5, 1), np.nan), np.zeros((5, 1)) + np.arange(5.0)[:, None]) == 0


def test_a_reservoir_predicts_mackey_glass_freely():
    series = torch.tensor(np.tanh(mackey_glass(1801, seed=0) - 1)).reshape(-1, 1, 1)
    cell = EchoStateCell(1, 300, radius=1.25, leak=0.3, input_scale=0.5, bias_scale=0.5, seed=0)
    model = EchoStateNetwork(cell, 1, penalty=1e-8).fit(series[:1500], series[1:1501], washout=100)
    _, state = model(series[:1500])
    free = model.generate(100, series[1500], state).outputs
    assert (free - series[1501:1601]).square().mean() < 1e-3 * series.var()


def test_a_body_at_rest_stays_swings_lose_energy_and_undamped_ones_keep_it():
    for damping in (0.1, 0.0):
        body = MassSpringCell(1, 20, seed=0, damping=damping, dt=0.002)
        state = body.initial_state(1)
        kick = state._replace(velocity=0.2 * normal(1, 40) * body.free.repeat(2))
        energies = []
        for _ in range(300):
            energies.append(body.energy(kick).item())
            _, kick = body(torch.zeros(1, 1), kick)
        if damping:
            assert energies[-1] < 0.5 * energies[0]
        else:
            assert max(energies) < 1.05 * min(energies)


def test_a_body_with_a_linear_readout_computes_what_no_linear_filter_of_its_input_can():
    """Target: the product of the input now and 0.1 s earlier. Pushed gently, the body is a linear filter and fails."""
    u = torch.nn.functional.avg_pool1d(normal(1, 1, 1224), 15, 1).permute(2, 0, 1) * 3
    u, target = u[10:], u[10:] * u[:-10]
    error = {}
    for name, push in (("body", 100.0), ("linear", 0.01)):
        body = MassSpringCell(1, 25, seed=0, substeps=2, frequency=60.0, damping=0.3, input_scale=push)
        model = EchoStateNetwork(body, 1, penalty=1e-8).fit(u[:900], target[:900], washout=100)
        y = model(u).outputs
        error[name] = ((y - target)[900:].square().mean() / target[900:].var()).item()
    assert error["body"] < 0.4 and error["linear"] > 0.8
