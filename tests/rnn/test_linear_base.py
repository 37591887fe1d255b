"""Networks upon a fitted linear state space."""

import time

import numpy as np
import pytest
import torch

from rnn.data import Record
from rnn.identify import identify
from rnn.linear_base import base_sizes, linear_base, put_base
from rnn.metrics import nrmse
from rnn.models import make_cell
from rnn.system import Blueprint, System


def saturated(T, seed):
    """A resonance seen by a sensor that saturates; 1 % noise."""
    rng = np.random.default_rng(seed)
    u, x = rng.standard_normal(T), np.zeros(T)
    for t in range(2, T):
        x[t] = 1.7 * x[t - 1] - 0.8 * x[t - 2] + 0.3 * u[t - 1]
    y = np.tanh(x)
    return Record(u, y + 0.01 * y.std() * rng.standard_normal(T), 0.1)


@pytest.mark.parametrize("name", ["gru", "lstm", "elman", "lru"])
def test_a_network_upon_a_base_begins_by_simulating_what_the_base_does(name):
    base = linear_base([saturated(300, 0)], 20)
    model = put_base(Blueprint(name, 1, 4, 1, dict(base_sizes(base))).build().double(), base)
    us = torch.randn(50, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model(us).outputs, base(us).outputs, atol=1e-12)
        assert torch.allclose(model(us, path="loop").outputs, model(us).outputs, atol=1e-9)


def test_the_base_is_kept_the_network_learns_the_rest_and_both_are_saved(tmp_path):
    train, test = saturated(300, 0), saturated(300, 1)
    linear = nrmse(test.y[20:], identify("linear", [train], window=20).system.simulate(test)[20:])
    found = identify("elman", [train], window=20, hidden_size=3, seconds=1.5, base=True, clock=time.process_time)
    error = nrmse(test.y[20:], found.system.simulate(test)[20:])
    assert found.notes["base"] and error < 0.5 * linear
    layers = found.system.model.cell.layers
    assert not any(p.requires_grad for p in layers[0].parameters())
    assert all(p.requires_grad for p in layers[1].parameters())
    base = linear_base([train], 20)
    assert torch.equal(layers[0].matrix, base.cell.matrix)
    found.system.save(tmp_path / "system.safetensors")
    again = System.load(tmp_path / "system.safetensors").simulate(test)
    assert np.allclose(again, found.system.simulate(test))


def test_without_time_to_learn_a_network_upon_a_base_is_as_good_as_the_base():
    train, test = saturated(400, 0), saturated(300, 1)
    linear = nrmse(test.y[20:], identify("linear", [train], window=20).system.simulate(test)[20:])
    found = identify("gru", [train], window=20, hidden_size=2, seconds=0.0, base=True)
    assert nrmse(test.y[20:], found.system.simulate(test)[20:]) < 1.05 * linear


def test_a_base_that_grows_by_itself_is_refused():
    t = np.arange(300)
    assert linear_base([Record(None, 1.01**t * np.cos(0.3 * t))], 10) is None


def test_a_base_without_states_is_refused():
    with pytest.raises(ValueError, match="at least one state and one output"):
        make_cell("gru", 2, 4, base=(0, 1))
