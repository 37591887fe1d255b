"""Real-time recurrent learning against backpropagation through time."""

import pytest
import torch

from rnn.model import Model
from rnn.models import make_cell
from rnn.objectives import squared_error
from rnn.rtrl import cosine, forward_gradient

T, B, I, O, H = 12, 3, 2, 2, 4


def task(name, seed=0, **settings):
    torch.manual_seed(seed)
    model = Model(make_cell(name, I, H, **settings), O).double()
    return model, torch.randn(T, B, I, dtype=torch.float64), torch.randn(T, B, O, dtype=torch.float64)


def backward(model, us, ys):
    model.zero_grad()
    squared_error(model(us, path="loop").outputs, ys).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def largest_difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "lru", "linoss", "oscillator", "linear"])
def test_exact_real_time_recurrent_learning_equals_backpropagation_through_time(name):
    model, us, ys = task(name)
    loss, online = forward_gradient(model, us, ys)
    truth = backward(model, us, ys)
    assert largest_difference(online, truth) < 1e-10
    assert loss == pytest.approx(squared_error(model(us).outputs, ys).sum().item())


@pytest.mark.parametrize("name", ["lru", "linoss", "oscillator"])
def test_the_cheap_form_is_exact_for_cells_whose_units_stand_alone(name):
    model, us, ys = task(name)
    _, online = forward_gradient(model, us, ys, method="diagonal")
    assert largest_difference(online, backward(model, us, ys)) < 1e-10


def test_the_cheap_form_refuses_cells_whose_units_act_on_each_other():
    model, us, ys = task("elman")
    with pytest.raises(ValueError, match="act on each other"):
        forward_gradient(model, us, ys, method="diagonal")
    coupled, us, ys = task("oscillator", coupled=True)
    with pytest.raises(ValueError, match="act on"):
        with torch.no_grad():
            coupled.cell.K.fill_(0.1)
        forward_gradient(coupled, us, ys, method="diagonal")


def test_approximations_of_the_recurrent_gradient_point_uphill_and_snap_is_nearer_than_rflo():
    cosines = {"snap1": 0.0, "rflo": 0.0}
    for seed in range(5):
        model, us, ys = task("elman", seed)
        with torch.no_grad():
            model.cell.weight_hh.copy_(torch.eye(H) + 0.5 * model.cell.weight_hh)  # units that remember
        only = lambda gradient: {"U": gradient["cell.weight_hh"]}
        truth = only(backward(model, us, ys))
        for method in cosines:
            cosines[method] += cosine(only(forward_gradient(model, us, ys, method=method)[1]), truth) / 5
    assert 0.2 < cosines["rflo"] < cosines["snap1"] < 0.9999


def test_masked_steps_do_not_count_but_carry_the_state():
    model, us, ys = task("gru")
    mask = torch.ones(T, B, dtype=torch.bool)
    mask[:6] = False
    _, online = forward_gradient(model, us, ys, mask)
    model.zero_grad()
    squared_error(model(us).outputs, ys)[6:].sum().backward()
    truth = {name: p.grad for name, p in model.named_parameters()}
    assert largest_difference(online, truth) < 1e-10


def test_an_unknown_method_is_refused():
    model, us, ys = task("elman")
    with pytest.raises(ValueError, match="unknown method 'uoro'"):
        forward_gradient(model, us, ys, method="uoro")
