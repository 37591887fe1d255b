import pytest
import torch
from torch import nn

from rnn.edits import Clamp
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell
from rnn.mirrored import Image, MirroredCell, MirroredLayers, MirroredReadout
from rnn.models import make_cell
from rnn.sequence import run_sequence
from rnn.unroll import unroll

SIGNS, ORDER = (1.0, -1.0, 1.0, 1.0), (0, 1, 3, 2)


@pytest.mark.parametrize("kind", ["gru", "lstm", "minimal", "elman", "lru"])
def test_the_image_of_a_course_exchanges_the_halves_and_the_fast_path_equals_the_loop(kind):
    torch.manual_seed(0)
    cell, xs = MirroredCell(make_cell(kind, 4, 8), SIGNS, ORDER), torch.randn(12, 3, 4)
    resets = torch.rand(12, 3) < 0.2
    run = unroll(cell, xs, resets=resets)
    image = unroll(cell, cell.image(xs), resets=resets)
    torch.testing.assert_close(run.outputs.chunk(2, -1), image.outputs.chunk(2, -1)[::-1])
    ys, state = run_sequence(cell, xs, None, resets)
    torch.testing.assert_close(ys, run.outputs)
    torch.testing.assert_close(state, run.state)


def test_gradients_of_the_fast_path_equal_those_of_the_loop():
    torch.manual_seed(0)
    cell, xs = MirroredCell(LSTMCell(4, 5), SIGNS), torch.randn(6, 3, 4)
    found = []
    for ys in (unroll(cell, xs).outputs, run_sequence(cell, xs, None)[0]):
        found.append(torch.autograd.grad(ys.square().sum(), list(cell.parameters())))
    torch.testing.assert_close(found[0], found[1])


def test_units_of_either_side_are_addressed_and_clamped_alone():
    cell, xs = MirroredCell(GRUCell(2, 4), (1.0, -1.0)), torch.randn(5, 3, 2)
    run = unroll(cell, xs, edits=[Clamp("image.h[1]", 0.5)], record=("here.h", "image.update"))
    assert (run.outputs[..., 5] == 0.5).all() and run.trace["image.update"].shape == (5, 3, 4)
    torch.testing.assert_close(run.trace["here.h"], unroll(cell, xs).outputs[..., :4])


def test_a_readout_behind_layers_answers_the_image_with_the_image():
    torch.manual_seed(0)
    cell = MirroredCell(GRUCell(4, 8), SIGNS, ORDER)
    layers = MirroredLayers(nn.Sequential(nn.Linear(8, 6), nn.Tanh()))
    readout = MirroredReadout(nn.Linear(6, 3), signs=(-1.0, 1.0, 1.0), order=(0, 2, 1))
    xs = torch.randn(7, 2, 4)
    answer = lambda x: readout(layers(unroll(cell, x).outputs))
    torch.testing.assert_close(answer(cell.image(xs)), readout.image(answer(xs)))
    assert not torch.allclose(answer(cell.image(xs)), answer(xs))


@pytest.mark.parametrize(
    "size, signs, order", [(2, (1.0,), None), (2, (1.0, 0.5), None), (3, None, (1, 2, 0)), (2, (1.0, -1.0), (1, 0))]
)
def test_what_is_no_mirror_is_refused(size, signs, order):
    with pytest.raises(ValueError, match="image of the image"):
        Image(size, signs, order)
