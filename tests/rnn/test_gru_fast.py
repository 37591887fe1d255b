"""The written-out gradient of a GRU is the gradient, through resets and back to the first state."""

import pytest
import torch

from rnn.gru import GRUCell, GRUState
from rnn.gru_fast import gru_through_time
from rnn.unroll import unroll

STEPS, BATCH, INPUTS, SIZE = 7, 4, 3, 5


def setting(seed=0):
    torch.manual_seed(seed)
    cell = GRUCell(INPUTS, SIZE).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.randn_like(p))
    xs = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(BATCH, SIZE, dtype=torch.float64, requires_grad=True)
    resets = torch.rand(STEPS, BATCH) < 0.3
    resets[0, 0] = True
    return cell, xs, h0, resets


@pytest.mark.parametrize("with_resets", [True, False])
def test_values_and_all_gradients_equal_those_of_the_plain_loop(with_resets):
    cell, xs, h0, resets = setting()
    resets = resets if with_resets else None
    weight = torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)
    fast = gru_through_time(cell, xs, h0, resets)
    loop = unroll(cell, xs, GRUState(h0), resets=resets, path="loop").outputs
    assert torch.allclose(fast, loop, atol=1e-12)
    leaves = [xs, h0, *cell.parameters()]
    ours = torch.autograd.grad((fast * weight).sum(), leaves)
    theirs = torch.autograd.grad((loop * weight).sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 0.1
        assert torch.allclose(a, b, atol=1e-11)


def test_the_gradient_agrees_with_finite_differences():
    cell, xs, h0, resets = setting(1)
    assert torch.autograd.gradcheck(lambda xs, h0: gru_through_time(cell, xs, h0, resets), (xs, h0))


def test_nothing_before_a_reset_is_felt_after_it():
    cell, xs, h0, _ = setting(2)
    resets = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    resets[3] = True
    late = gru_through_time(cell, xs, h0, resets)[3:].sum()
    by_input, by_state = torch.autograd.grad(late, [xs, h0])
    assert by_input[:3].abs().max() == 0 and by_state.abs().max() == 0 and by_input[3:].abs().max() > 0
