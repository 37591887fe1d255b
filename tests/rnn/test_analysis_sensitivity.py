"""Pushes of the first state: their growth is the Lyapunov exponent."""

import math

import pytest
import torch

from rnn.analysis.sensitivity import end_map, follow_push
from rnn.analysis.systems import logistic, lorenz
from rnn.elman import ElmanCell
from rnn.models import make_cell


def test_a_push_of_an_oscillating_network_keeps_its_size():
    torch.manual_seed(0)
    cell = make_cell("linear", 1, 4, dynamics="oscillating")
    found = follow_push(cell, steps=50)
    assert torch.allclose(found.distance, found.distance[:1].expand_as(found.distance), rtol=1e-4)


def test_pushes_grow_at_the_lyapunov_exponent():
    cell = logistic()
    found = follow_push(cell, steps=20, size=1e-10, state=torch.tensor([[0.3123]]), pushes=4)
    assert found.growth.mean().item() == pytest.approx(math.log(2), abs=0.25)
    flow = follow_push(lorenz(), steps=1500, size=1e-9)
    assert 0.6 < flow.growth.mean().item() < 1.2


def test_small_weights_forget_the_start_and_large_ones_tell_it_apart():
    cell = ElmanCell(1, 1, bias=False)
    first = torch.linspace(-1, 1, 101)
    with torch.no_grad():
        cell.weight_hh.fill_(0.9)
        small = end_map(cell, first)
        cell.weight_hh.fill_(3.0)
        large = end_map(cell, first)
    assert small.last.abs().max() < 1e-2
    assert large.last.unique().numel() <= 5 and large.steepest > 10
    assert torch.equal(large.last.sign()[first != 0], first.sign()[first != 0].double())


def test_pictures_can_be_drawn(tmp_path):
    for i, result in enumerate((follow_push(lorenz(), steps=50), end_map(ElmanCell(1, 1), torch.linspace(-1, 1, 5)))):
        result.plot(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000
