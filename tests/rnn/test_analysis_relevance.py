"""Relevance that is conserved, finds planted evidence and agrees where methods must."""

import copy

import pytest
import torch

from rnn.analysis.relevance import (
    gradient_times_input,
    integrated_gradients,
    layerwise_relevance,
    occlusion,
    outputs_of,
)
from rnn.elman import ElmanCell
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell
from rnn.unroll import unroll

KINDS = [LSTMCell, GRUCell, lambda i, h: LSTMCell(i, h, gates=("input_gate", "output_gate"), squash="identity")]


@pytest.mark.parametrize("kind", KINDS, ids=["lstm", "gru", "lstm without forget gate"])
def test_relevance_is_conserved(kind):
    torch.manual_seed(0)
    cell, xs, readout = kind(5, 12), torch.randn(30, 6, 5), torch.randn(12)
    with torch.no_grad():
        cell.bias.normal_(0, 0.3)
    found = layerwise_relevance(cell, xs, readout)
    assert found.missing.abs().max() < 1e-6
    score = unroll(cell, xs).outputs[-1] @ readout
    assert torch.allclose(found.score.float(), score, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[:2], ids=["lstm", "gru"])
def test_without_biases_nothing_goes_missing_even_if_not_spread(kind):
    torch.manual_seed(0)
    cell = kind(3, 8)
    with torch.no_grad():
        cell.bias[-8:] = 0  # GRU: candidate
        cell.bias[16:24] = 0  # LSTM and GRU: candidate
    found = layerwise_relevance(cell, torch.randn(12, 4, 3), torch.randn(8), spread=False)
    assert (found.missing.abs() / (found.inputs.abs().sum((0, 2)) + 1)).max() < 1e-6


def test_a_carousel_gives_each_input_its_own_effect():
    cell = LSTMCell(1, 1, gates=(), reads={"candidate": "x"}, squash="identity")  # c_t = c_{t-1} + tanh(w x_t)
    with torch.no_grad():
        cell.weight_ih.fill_(1.0)
    xs = torch.tensor([0.3, 0.0, -0.7, 1.2]).reshape(4, 1, 1)
    expected = torch.tanh(xs.double()).flatten()
    found = layerwise_relevance(cell, xs, torch.ones(1))
    assert torch.allclose(found.inputs.flatten(), expected, atol=1e-6)
    assert torch.allclose(occlusion(cell, xs, outputs_of(torch.ones(1, 1), 0)).inputs.flatten(), expected, atol=1e-9)


def test_all_gradients_agree_on_a_linear_network():
    torch.manual_seed(0)
    cell, xs = ElmanCell(3, 5, squash="identity", bias=False), torch.randn(8, 2, 3)
    score = outputs_of(torch.randn(1, 5), 0)
    a, b, c = gradient_times_input(cell, xs, score), integrated_gradients(cell, xs, score), occlusion(cell, xs, score)
    assert torch.allclose(a.inputs, b.inputs, atol=1e-9) and torch.allclose(a.inputs, c.inputs, atol=1e-9)
    assert a.missing.abs().max() < 1e-9


def test_integrated_gradients_sum_to_the_change_of_the_score():
    torch.manual_seed(0)
    found = integrated_gradients(LSTMCell(3, 6), 2 * torch.randn(10, 4, 3), outputs_of(torch.randn(2, 6), 1))
    assert found.missing.abs().max() < 1e-6


def planted(kind, seed: int):
    """A network trained to add two numbers that are marked among ten."""
    torch.manual_seed(seed)
    cell, weight = kind(2, 16), torch.nn.Parameter(torch.randn(1, 16) * 0.2)
    optimiser = torch.optim.Adam([*cell.parameters(), weight], lr=0.01)
    for _ in range(250):
        xs, target, _ = marked(128)
        loss = (unroll(cell, xs).outputs[-1] @ weight[0] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.15
    return cell, weight.detach()


def marked(rows: int):
    xs = torch.zeros(10, rows, 2)
    xs[..., 0] = torch.randn(10, rows)
    where = torch.rand(10, rows).argsort(0)[:2]
    xs[..., 1].scatter_(0, where, 1.0)
    return xs, (xs[..., 0] * xs[..., 1]).sum(0), where


@pytest.mark.parametrize("kind", [LSTMCell, GRUCell], ids=["lstm", "gru"])
def test_planted_evidence_is_found(kind):
    cell, weight = planted(kind, seed=1)
    xs, _, where = marked(200)
    score = outputs_of(weight, 0)
    hits = {}
    for found in (
        layerwise_relevance(cell, xs, weight[0]),
        gradient_times_input(cell, xs, score),
        integrated_gradients(cell, xs, score, points=16),
        occlusion(cell, xs, score),
    ):
        strongest = found.inputs.sum(2).abs().topk(2, dim=0).indices
        hit = (strongest[:, None] == where[None]).any(0).double().mean()
        hits[found.method] = float(hit)
    assert min(hits.values()) > 0.55, hits  # two of ten by chance: 0.2
    assert hits["layer-wise relevance"] > 0.6 and hits["occlusion"] > 0.7, hits


def test_other_cells_are_refused_and_networks_left_alone():
    cell = LSTMCell(2, 3)
    before = copy.deepcopy(cell.state_dict())
    with pytest.raises(ValueError, match="integrated_gradients"):
        layerwise_relevance(ElmanCell(2, 3), torch.zeros(2, 1, 2), torch.ones(3))
    layerwise_relevance(cell, torch.randn(3, 1, 2), torch.ones(3))
    occlusion(cell, torch.randn(3, 1, 2), outputs_of(torch.ones(1, 3), 0), by_step=True)
    assert all(torch.equal(before[key], value) for key, value in cell.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in cell.parameters())


def test_the_picture_can_be_drawn(tmp_path):
    layerwise_relevance(GRUCell(2, 3), torch.randn(5, 1, 2), torch.ones(3)).plot(tmp_path / "relevance.png")
    assert (tmp_path / "relevance.png").stat().st_size > 2000
