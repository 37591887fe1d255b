"""The written-out backward pass of gated cells against autograd through the plain loop."""

import pytest
import torch

from rnn.cell import map_state
from rnn.elman import ElmanCell
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell
from rnn.sequence import has_fast_path, run_sequence
from rnn.unroll import unroll

CELLS = [
    lambda: GRUCell(3, 6),
    lambda: LSTMCell(3, 6),
    lambda: LSTMCell(3, 6, blocks=2, reads={"output_gate": "x"}),
    lambda: ElmanCell(3, 6),
]


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("with_resets", [False, True])
def test_values_and_all_gradients_equal_the_loop_with_resets_inside(make, with_resets):
    torch.manual_seed(0)
    cell = make().double()
    xs = torch.randn(9, 5, 3, dtype=torch.double, requires_grad=True)
    state = map_state(lambda s: torch.randn_like(s).requires_grad_(), cell.initial_state(5))
    resets = (torch.rand(9, 5) < 0.3) if with_resets else None
    weight = torch.randn(9, 5, 6, dtype=torch.double)
    leaves = [*cell.parameters(), xs, *state]

    run = unroll(cell, xs, state, resets=resets)
    plain = (run.outputs * weight).sum() + sum((s**2).sum() for s in run.state)
    outputs, final = run_sequence(cell, xs, state, resets)
    fast = (outputs * weight).sum() + sum((s**2).sum() for s in final)

    torch.testing.assert_close(outputs, run.outputs)
    for a, b in zip(torch.autograd.grad(plain, leaves), torch.autograd.grad(fast, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_cells_that_are_not_the_standard_ones_take_the_loop():
    assert has_fast_path(GRUCell(1, 2)) and has_fast_path(LSTMCell(1, 2))
    assert not has_fast_path(LSTMCell(1, 2, gates=("forget",))) and not has_fast_path(ElmanCell(1, 2))
