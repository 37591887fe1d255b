"""The written-out backward pass of gated cells against autograd through the plain loop."""

import pytest
import torch

from rnn.cell import map_state
from rnn.elman import ElmanCell
from rnn.gru import GRUCell, MinimalCell
from rnn.lstm import LSTMCell
from rnn.sequence import has_fast_path, run_sequence, run_side_by_side
from rnn.unroll import unroll

CELLS = [
    lambda: GRUCell(3, 6),
    lambda: LSTMCell(3, 6),
    lambda: LSTMCell(3, 6, blocks=2, reads={"output_gate": "x"}),
    lambda: MinimalCell(3, 6, squash="tanh", update_bias=-1.0),
    lambda: ElmanCell(3, 6),
]


def lively(cell):
    """Every parameter drawn at random, biases too, so that none can be left out unseen."""
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return cell


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("with_resets", [False, True])
@pytest.mark.parametrize("batch", [5, 1])
def test_values_and_all_gradients_equal_the_loop_with_resets_inside(make, with_resets, batch):
    torch.manual_seed(0)
    cell = lively(make().double())
    xs = torch.randn(9, batch, 3, dtype=torch.double, requires_grad=True)
    state = map_state(lambda s: torch.randn_like(s).requires_grad_(), cell.initial_state(batch))
    resets = (torch.rand(9, batch) < 0.3) if with_resets else None
    weight = torch.randn(9, batch, 6, dtype=torch.double)
    leaves = [*cell.parameters(), xs, *state]

    run = unroll(cell, xs, state, resets=resets)
    plain = (run.outputs * weight).sum() + sum((s**2).sum() for s in run.state)
    outputs, final = run_sequence(cell, xs, state, resets)
    fast = (outputs * weight).sum() + sum((s**2).sum() for s in final)

    torch.testing.assert_close(outputs, run.outputs)
    for a, b in zip(torch.autograd.grad(plain, leaves), torch.autograd.grad(fast, leaves), strict=True):
        torch.testing.assert_close(a, b)


FLAGS = {
    "none": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
    "at the first step": [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
    "at the last step": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]],
    "at every step of a row": [[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 1]],
    "here and there": [[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]],
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("reads", [{}, {"output_gate": "x"}])
def test_the_lstm_in_single_precision_equals_the_loop_wherever_rows_are_reset(flags, reads):
    torch.manual_seed(0)
    cells = [lively(LSTMCell(3, 6, reads=reads)) for _ in range(2)]
    xs, resets = torch.randn(3, 4, 3).transpose(0, 1).requires_grad_(), torch.tensor(flags).bool()  # rows not in order
    states = [map_state(lambda s: torch.randn_like(s).requires_grad_(), cell.initial_state(3)) for cell in cells]
    weight = torch.randn(2, 4, 3, 6)
    leaves = [*(p for cell in cells for p in cell.parameters()), xs, *(part for state in states for part in state)]

    plain = [unroll(c, xs, s, resets=resets, path="loop") for c, s in zip(cells, states, strict=True)]
    outputs, finals = run_side_by_side(cells, xs, states, resets)
    for run, y, final in zip(plain, outputs, finals, strict=True):
        torch.testing.assert_close(y, run.outputs)
        for a, b in zip(final, run.state, strict=True):
            torch.testing.assert_close(a, b)

    def gradients(ys, ends):
        loss = sum((y * w).sum() for y, w in zip(ys, weight, strict=True)) + sum((e.c**2).sum() for e in ends)
        return torch.autograd.grad(loss, leaves, retain_graph=True)

    fast = gradients(outputs, finals)
    for a, b in zip(fast, gradients([run.outputs for run in plain], [run.state for run in plain]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)
    for a, b in zip(fast, gradients(outputs, finals), strict=True):  # a second backward pass gives the same
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", CELLS)
def test_cells_side_by_side_give_what_each_gives_alone(make):
    torch.manual_seed(0)
    cells = [lively(make().double()) for _ in range(2)]
    xs = torch.randn(9, 5, 3, dtype=torch.double, requires_grad=True)
    states = [map_state(lambda s: torch.randn_like(s).requires_grad_(), cell.initial_state(5)) for cell in cells]
    resets, weight = torch.rand(9, 5) < 0.3, torch.randn(2, 9, 5, 6, dtype=torch.double)
    leaves = [*(p for cell in cells for p in cell.parameters()), xs, *(part for state in states for part in state)]

    alone = [run_sequence(cell, xs, state, resets) for cell, state in zip(cells, states, strict=True)]
    outputs, finals = run_side_by_side(cells, xs, states, resets)
    for one, y, final in zip(alone, outputs, finals, strict=True):
        torch.testing.assert_close(y, one[0])
        map(torch.testing.assert_close, final, one[1])

    def gradients(ys):
        return torch.autograd.grad(sum((y * w).sum() for y, w in zip(ys, weight, strict=True)), leaves)

    for a, b in zip(gradients(outputs), gradients([y for y, _ in alone]), strict=True):
        torch.testing.assert_close(a, b)


def test_cells_of_two_kinds_side_by_side_run_each_by_itself():
    cells, xs = [GRUCell(3, 6), LSTMCell(3, 4)], torch.randn(7, 2, 3)
    outputs, _ = run_side_by_side(cells, xs, [None, None])
    for cell, y in zip(cells, outputs, strict=True):
        torch.testing.assert_close(y, run_sequence(cell, xs, None)[0])


def test_a_second_backward_pass_gives_the_same_gradients():
    cell, xs = GRUCell(1, 1), torch.randn(4, 1, 1)
    loss = run_sequence(cell, xs, None)[0].square().sum()
    first = torch.autograd.grad(loss, list(cell.parameters()), retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, list(cell.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=0.0)


def test_cells_that_are_not_the_standard_ones_take_the_loop():
    assert has_fast_path(GRUCell(1, 2)) and has_fast_path(LSTMCell(1, 2))
    assert has_fast_path(MinimalCell(1, 2, squash="tanh"))
    assert not has_fast_path(LSTMCell(1, 2, gates=("forget",))) and not has_fast_path(ElmanCell(1, 2))
    assert not has_fast_path(MinimalCell(1, 2)) and not has_fast_path(MinimalCell(1, 2, output_size=1, squash="tanh"))
