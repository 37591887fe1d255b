"""Elman, LSTM and GRU against torch's modules and against loops written out in numpy."""

import math

import numpy as np
import pytest
import torch

from rnn.edits import Clamp
from rnn.elman import ElmanCell, PreActivationCell
from rnn.gru import GRUCell, MinimalCell
from rnn.linear import filter_cell
from rnn.lstm import LSTMCell
from rnn.unroll import unroll

PATHS = ("loop", "fused")


@pytest.fixture
def xs() -> torch.Tensor:
    return torch.randn(20, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("module", "kind"), [(torch.nn.LSTM, LSTMCell), (torch.nn.GRU, GRUCell)])
def test_values_and_gradients_equal_those_of_torch(module, kind, path, xs):
    torch.manual_seed(0)
    reference = module(4, 5).double()
    cell = kind.from_torch(reference)
    theirs, ours = xs.clone().requires_grad_(), xs.clone().requires_grad_()
    ys, _ = reference(theirs)
    run = unroll(cell, ours, path=path)
    weight = torch.randn_like(ys)
    (ys * weight).sum().backward()
    (run.outputs * weight).sum().backward()
    assert torch.allclose(run.outputs, ys, atol=1e-13)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-12)
    assert torch.allclose(cell.weight_ih.grad, reference.weight_ih_l0.grad, atol=1e-11)
    assert torch.allclose(cell.weight_hh.grad, reference.weight_hh_l0.grad, atol=1e-11)
    assert torch.allclose(cell.bias.grad, reference.bias_ih_l0.grad, atol=1e-11)


@pytest.mark.parametrize("squash", ["tanh", "relu"])
def test_the_simple_network_equals_torchs_in_value_and_gradient(squash, xs):
    torch.manual_seed(0)
    reference = torch.nn.RNN(4, 5, nonlinearity=squash).double()
    cell = ElmanCell(4, 5, squash=squash).double()
    cell.load_state_dict(
        {
            "weight_ih": reference.weight_ih_l0,
            "weight_hh": reference.weight_hh_l0,
            "bias": reference.bias_ih_l0 + reference.bias_hh_l0,
        }
    )
    ys, _ = reference(xs)
    run = unroll(cell, xs)
    assert torch.allclose(run.outputs, ys, atol=1e-13)
    ys.square().sum().backward()
    run.outputs.square().sum().backward()
    assert torch.allclose(cell.weight_hh.grad, reference.weight_hh_l0.grad, atol=1e-11)


def test_an_lstm_written_out_in_numpy_agrees_gate_by_gate(xs):
    torch.manual_seed(1)
    cell = LSTMCell(4, 5, input_gate_bias=-1.0).double()
    names = ("input_gate", "forget", "candidate", "output_gate", "c", "h")
    run = unroll(cell, xs, record=names)
    W, U, b = (p.detach().numpy() for p in (cell.weight_ih, cell.weight_hh, cell.bias))
    assert np.all(b[:5] == -1) and np.all(b[5:10] == 1), "the input gate starts shut, the forget gate open"
    h = c = np.zeros((3, 5))
    for t, x in enumerate(xs.numpy()):
        i, f, g, o = np.split(x @ W.T + h @ U.T + b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in zip(names, (i, f, g, o, c, h), strict=True):
            assert np.allclose(run.trace[name][t].detach(), value, atol=1e-13), (t, name)


def test_without_gates_the_memory_is_the_sum_of_the_candidates(xs):
    cell = LSTMCell(4, 5, gates=(), squash="identity").double()
    run = unroll(cell, xs, record=("candidate", "c"))
    assert torch.allclose(run.trace["c"], run.trace["candidate"].cumsum(0), atol=1e-12)
    assert torch.equal(run.outputs, run.trace["c"])


def test_the_carousel_carries_the_error_unchanged():
    cell = LSTMCell(1, 3, gates=(), squash="identity", reads={"candidate": "x"}).double()
    state = cell.initial_state(1)
    c0 = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    run = unroll(cell, torch.randn(500, 1, 1, dtype=torch.float64), state._replace(c=c0))
    (jacobian,) = torch.autograd.grad(run.state.c[0, 1], c0)
    assert jacobian.tolist() == [[0.0, 1.0, 0.0]]


def test_without_a_forget_gate_the_cell_is_a_running_sum_of_what_the_input_gate_lets_in(xs):
    cell = LSTMCell(4, 5, gates=("input_gate", "output_gate")).double()
    run = unroll(cell, xs, record=("candidate", "input_gate", "c"))
    assert torch.allclose(run.trace["c"], (run.trace["input_gate"] * run.trace["candidate"]).cumsum(0), atol=1e-12)


@pytest.mark.parametrize(
    ("reads", "hears"),
    [("xh", (True, True)), ("x", (True, False)), ("h", (False, True)), ("", (False, False))],
)
def test_a_gate_hears_only_what_it_is_connected_to(reads, hears):
    torch.manual_seed(0)
    cell = LSTMCell(4, 5, reads={"forget": reads}).double()
    x = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    state = cell.initial_state(1)
    h = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    seen = {}
    cell(x, state._replace(h=h), lambda name, value: seen.setdefault(name, value))
    if reads:
        grads = torch.autograd.grad(seen["forget"].sum(), (x, h), allow_unused=True)
        assert tuple(g is not None and bool(g.abs().sum() > 0) for g in grads) == hears
    else:
        assert torch.allclose(seen["forget"], torch.sigmoid(torch.ones(1, 5, dtype=torch.float64)))


def test_block_diagonal_recurrence_keeps_groups_apart():
    cell = LSTMCell(2, 6, blocks=3).double()
    h = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    y, _ = cell(torch.zeros(1, 2, dtype=torch.float64), cell.initial_state(1)._replace(h=h))
    (g,) = torch.autograd.grad(y[0, 0], h)
    assert g[0, :2].abs().sum() > 0 and g[0, 2:].abs().sum() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"gates": ("peephole",)}, "output_gate"), ({"reads": {"c": "x"}}, "candidate"),
     ({"reads": {"forget": "y"}}, "xh"), ({"blocks": 4}, "divide"), ({"squash": "sine"}, "tanh")],
)  # fmt: skip
def test_impossible_lstms_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LSTMCell(2, 6, **settings)


def test_a_gru_and_a_minimal_cell_written_out_in_numpy_agree(xs):
    torch.manual_seed(2)
    gru, minimal = GRUCell(4, 5, update_bias=0.5).double(), MinimalCell(4, 5, output_size=2).double()
    ys, zs = unroll(gru, xs).outputs.detach().numpy(), unroll(minimal, xs).outputs.detach().numpy()
    W, U, b, d = (p.detach().numpy() for p in (gru.weight_ih, gru.weight_hh, gru.bias, gru.bias_candidate))
    V, R, e = (p.detach().numpy() for p in (minimal.weight_ih, minimal.weight_hh, minimal.bias))
    w1, w2 = minimal.w1.detach().numpy(), minimal.w2.detach().numpy()
    h = m = np.zeros((3, 5))
    for t, x in enumerate(xs.numpy()):
        a, q = np.split(x @ W.T + b, 3, axis=1), np.split(h @ U.T, 3, axis=1)
        r, u = sigmoid(a[0] + q[0]), sigmoid(a[1] + q[1])
        h = (1 - u) * np.tanh(a[2] + r * (q[2] + d)) + u * h
        assert np.allclose(ys[t], h, atol=1e-13)
        assert np.allclose(zs[t], x @ w1.T + m @ w2.T, atol=1e-13)
        gate, new = np.split(x @ V.T + m @ R.T, 2, axis=1)
        gate = sigmoid(gate + e)
        m = gate * new + (1 - gate) * m


def test_a_minimal_cell_with_its_gate_open_is_the_linear_filter_with_memory():
    weights = {"w1": 0.3, "w2": -0.7, "w3": 0.5, "w4": 0.9}
    cell = MinimalCell(1, 1, output_size=1, update_bias=60.0).double()
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[0.0], [weights["w3"]]]))
        cell.weight_hh.copy_(torch.tensor([[0.0], [weights["w4"]]]))
        cell.w1.fill_(weights["w1"])
        cell.w2.fill_(weights["w2"])
    xs = torch.randn(15, 2, 1, dtype=torch.float64)
    assert torch.allclose(unroll(cell, xs).outputs, unroll(filter_cell(**weights).double(), xs).outputs, atol=1e-6)


def test_both_conventions_of_the_simple_network_are_one_network(xs):
    torch.manual_seed(0)
    post, pre = ElmanCell(4, 5).double(), PreActivationCell(4, 5).double()
    pre.load_state_dict(post.state_dict())
    a, b = unroll(post, xs, record=("z",)), unroll(pre, xs, record=("r",))
    assert torch.allclose(a.outputs, b.outputs, atol=1e-14) and torch.allclose(a.trace["z"], b.trace["r"], atol=1e-14)


def test_without_input_tanh_rests_at_zero_and_the_logistic_drifts():
    def course(squash: str, start: float, steps: int = 100) -> list[float]:
        cell = ElmanCell(1, 1, squash=squash, bias=False).double()
        torch.nn.init.ones_(cell.weight_hh)
        state = cell.initial_state(1)._replace(h=torch.tensor([[start]], dtype=torch.float64))
        return unroll(cell, torch.zeros(steps, 1, 1, dtype=torch.float64), state).outputs.flatten().tolist()

    assert set(course("tanh", 0.0)) == {0.0}
    drift = course("logistic", 0.0)
    assert drift[:3] == pytest.approx([0.5, 0.622459, 0.650778], abs=1e-6)
    assert drift[-1] == pytest.approx(0.659046, abs=1e-6)
    assert drift[-1] * (1 - drift[-1]) == pytest.approx(0.2247, abs=1e-4), "slope at the fixed point"
    assert course("tanh", 0.5)[-1] == pytest.approx(0.119, abs=1e-3), "tanh holds only zero"


def test_a_leak_is_an_euler_step_of_a_leaky_integrator():
    cell = PreActivationCell(1, 1, squash="identity", leak=0.01, bias=False).double()
    torch.nn.init.zeros_(cell.weight_hh)
    torch.nn.init.ones_(cell.weight_ih)
    ys = unroll(cell, torch.ones(200, 1, 1, dtype=torch.float64)).outputs.flatten()
    t = torch.arange(1, 201, dtype=torch.float64) * 0.01  # in time constants
    assert torch.allclose(ys, 1 - torch.exp(-t), atol=2e-3)


def test_a_clamp_of_h_in_the_second_convention_is_heard_while_the_sum_goes_on():
    torch.manual_seed(0)
    cell = PreActivationCell(1, 2).double()
    xs = torch.randn(6, 1, 1, dtype=torch.float64)
    run = unroll(cell, xs, edits=(Clamp("h[0]", 0.7),), record=("r",))
    free = unroll(cell, xs, record=("r",))
    assert torch.equal(run.trace["r"][0], free.trace["r"][0])
    assert not torch.allclose(run.trace["r"][1], free.trace["r"][1])
    assert torch.all(run.outputs[:, :, 0] == 0.7) and not torch.any(run.trace["r"][:, :, 0] == 0.7)


def test_the_biases_of_the_gates_say_how_fast_a_memory_fades_and_fills():
    for forget, enter in [(1.0, 0.0), (4.0, -3.0)]:
        cell = LSTMCell(1, 2, forget_bias=forget, input_gate_bias=enter).double()
        with torch.no_grad():
            cell.weight_ih.zero_()
            cell.weight_hh.zero_()
            cell.weight_ih[4:6] = 0.7  # rows of the candidate: g = tanh(0.7 x)
        start = cell.initial_state(1)._replace(c=torch.ones(1, 2, dtype=torch.float64))
        f, i = 1 / (1 + math.exp(-forget)), 1 / (1 + math.exp(-enter))
        faded = unroll(cell, torch.zeros(50, 1, 1, dtype=torch.float64), start).state.c
        assert faded.flatten().tolist() == pytest.approx([f**50] * 2)
        filled = unroll(cell, torch.ones(50, 1, 1, dtype=torch.float64)).state.c
        assert filled.flatten().tolist() == pytest.approx([i * math.tanh(0.7) * (1 - f**50) / (1 - f)] * 2)
