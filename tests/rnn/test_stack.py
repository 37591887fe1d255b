"""Depth, skips, residuals, both directions, and networks that generate after reading."""

import pytest
import torch

from rnn.cell import quantities, resolve
from rnn.edits import Clamp, Lesion, Patch
from rnn.elman import ElmanCell
from rnn.gru import GRUCell
from rnn.linear import MovingAverage
from rnn.lstm import LSTMCell
from rnn.program import ProgramCell, gait_sequencer
from rnn.seq2seq import EncoderDecoder
from rnn.stack import Bidirectional, Stack, stack_of
from rnn.unroll import unroll


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_deep_network_is_layer_after_layer_and_equals_torchs():
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 5, num_layers=3).double()
    deep = Stack([LSTMCell.from_torch(module, layer) for layer in range(3)])
    xs = normal(15, 2, 3)
    for path in ("loop", "layers"):
        assert torch.allclose(unroll(deep, xs, path=path).outputs, module(xs)[0], atol=1e-12)


def test_skips_and_residuals_are_what_they_say():
    torch.manual_seed(0)
    xs = normal(10, 2, 4)
    cells = [GRUCell(4, 4), GRUCell(4, 4)]
    residual = Stack(cells, residual=True).double()
    first = unroll(cells[0], xs).outputs + xs
    assert torch.allclose(unroll(residual, xs).outputs, unroll(cells[1], first).outputs + first)
    wide = stack_of(lambda inputs: GRUCell(inputs, 4), 4, layers=2, skip=True).double()
    low = unroll(wide.layers[0], xs).outputs
    high = unroll(wide.layers[1], torch.cat([low, xs], -1)).outputs
    assert torch.allclose(unroll(wide, xs).outputs, torch.cat([low, high], -1))


def test_layers_are_addressed_by_name_and_a_bare_name_means_the_last():
    deep = Stack([LSTMCell(2, 3), GRUCell(3, 4)])
    assert {"layer0.forget", "layer0.c", "layer1.update", "input"} <= set(quantities(deep))
    assert resolve(deep, "layer0.forget[1]")[0].units == (1,)
    xs = torch.ones(6, 1, 2)
    run = unroll(deep, xs, edits=(Clamp("layer0.c[2]", 3.0),), record=("layer0.c", "layer1.h"))
    assert torch.all(run.trace["layer0.c"][..., 2] == 3) and torch.equal(run.trace["layer1.h"], run.outputs)


def test_named_units_of_a_layer_keep_their_names():
    machine = ProgramCell(gait_sequencer(2))
    deep = Stack([machine, ElmanCell(2, 3)])
    assert resolve(deep, "layer0.walk")[0] == ("layer0.h", resolve(machine, "walk")[0].units)
    assert resolve(deep, "on.stop")[0].quantity == "input"
    run = unroll(deep, machine.encode(["go", "none"]), edits=(Lesion("layer0.walk"),), record=("layer0.y",))
    assert torch.all(run.trace["layer0.y"] == 0)


def test_stacks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="build it for 3"):
        Stack([GRUCell(2, 3), GRUCell(4, 3)])
    with pytest.raises(ValueError, match="at least one"):
        Stack([])


def test_the_backward_cell_reads_the_mirrored_sequence():
    torch.manual_seed(0)
    both = Bidirectional(GRUCell(2, 3), GRUCell(2, 3)).double()
    xs = normal(12, 4, 2)
    run = both(xs)
    assert torch.equal(run.outputs[..., :3], unroll(both.forward_cell, xs).outputs)
    assert torch.equal(run.outputs[..., 3:], unroll(both.backward_cell, xs.flip(0)).outputs.flip(0))


def test_both_directions_equal_torchs_bidirectional_gru():
    torch.manual_seed(0)
    module = torch.nn.GRU(2, 3, bidirectional=True).double()
    twin = torch.nn.GRU(2, 3).double()
    twin.load_state_dict(
        {f"{n}_l0": getattr(module, f"{n}_l0_reverse") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    )
    single = torch.nn.GRU(2, 3).double()
    single.load_state_dict(
        {f"{n}_l0": getattr(module, f"{n}_l0") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    )
    xs = normal(9, 2, 2)
    both = Bidirectional(GRUCell.from_torch(single), GRUCell.from_torch(twin))
    assert torch.allclose(both(xs).outputs, module(xs)[0], atol=1e-12)


def test_padding_and_resets_keep_sequences_apart_in_both_directions():
    torch.manual_seed(0)
    both = Bidirectional(GRUCell(2, 3), GRUCell(2, 3)).double()
    xs = normal(12, 2, 2)
    noise = xs.clone()
    noise[8:, 1] += 5.0
    lengths = torch.tensor([12, 8])
    a, b = both(xs, lengths=lengths).outputs, both(noise, lengths=lengths).outputs
    assert torch.equal(a[:8, 1], b[:8, 1]) and torch.allclose(a[:8, 1:], both(xs[:8, 1:]).outputs, atol=1e-14)
    resets = torch.zeros(12, 2, dtype=torch.bool)
    resets[5] = True
    joined = both(xs, resets=resets).outputs
    assert torch.allclose(joined[:5], both(xs[:5]).outputs, atol=1e-14)
    assert torch.allclose(joined[5:], both(xs[5:]).outputs, atol=1e-14)


def test_edits_of_either_direction_count_steps_from_the_start_of_the_sequence():
    both = Bidirectional(MovingAverage(1, decay=0.5), MovingAverage(1, decay=0.5)).double()
    xs = normal(10, 1, 1)
    course = torch.arange(3.0, dtype=torch.float64)[:, None]
    edits = (Clamp("forward.h", 7.0, steps=slice(2, 4)), Patch("backward.h", course, steps=slice(5, None)))
    run = both(xs, edits=edits, record=("forward.h", "backward.h"))
    assert (run.trace["forward.h"].flatten() == 7).nonzero().flatten().tolist() == [2, 3]
    assert run.trace["backward.h"][5:8].flatten().tolist() == [0, 1, 2]
    with pytest.raises(KeyError, match="forward"):
        both(xs, edits=(Clamp("h", 0.0),))


def test_smoothing_beats_filtering_on_a_noisy_oscillation():
    """Two moving averages, one from each end, lag in opposite directions; their mean does not lag."""
    t = torch.arange(400, dtype=torch.float64)
    clean = torch.sin(0.2 * t).reshape(-1, 1, 1)
    noisy = clean + 0.3 * normal(400, 1, 1)
    ahead = unroll(MovingAverage(1, decay=0.7).double(), noisy).outputs
    both = (
        Bidirectional(MovingAverage(1, decay=0.7), MovingAverage(1, decay=0.7)).double()(noisy).outputs.mean(-1, True)
    )
    error = lambda y: float((y - clean)[20:-20].square().mean())
    assert error(both) < 0.5 * error(ahead)


@pytest.mark.parametrize("settings", [{}, {"attention": True}, {"bidirectional": True, "layers": 2, "attention": True}])
def test_a_decoder_led_by_its_own_outputs_runs_free(settings):
    torch.manual_seed(0)
    model = EncoderDecoder(2, 3, 8, **settings).double()
    xs = normal(9, 4, 2)
    free = model(xs, steps=6)
    led = model(xs, targets=free.outputs)
    assert torch.allclose(free.outputs, led.outputs, atol=1e-13)
    if settings.get("attention"):
        assert torch.allclose(free.attention.sum(-1), torch.ones(6, 4, dtype=torch.float64))


@pytest.mark.parametrize("settings", [{}, {"attention": True, "bidirectional": True}])
def test_what_is_generated_depends_on_all_of_the_input_but_not_on_padding(settings):
    torch.manual_seed(0)
    model = EncoderDecoder(2, 1, 8, **settings).double()
    xs = normal(9, 3, 2).requires_grad_()
    (g,) = torch.autograd.grad(model(xs, steps=4).outputs[:, 0].sum(), xs)
    assert (g[:, 0].abs().sum(-1) > 0).all() and g[:, 1:].abs().sum() == 0
    lengths = torch.tensor([9, 5, 9])
    noise = xs.detach().clone()
    noise[5:, 1] = 9.0
    a, b = (model(v, steps=4, lengths=lengths).outputs for v in (xs, noise))
    assert torch.allclose(a, b, atol=1e-13)
    with pytest.raises(ValueError, match="teacher"):
        model(xs)


def test_an_encoder_decoder_learns_to_reverse():
    torch.manual_seed(0)
    model = EncoderDecoder(4, 4, 32, cell="gru", attention=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    draw = lambda: torch.nn.functional.one_hot(torch.randint(4, (4, 64)), 4).float()
    for _ in range(150):
        xs = draw()
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model(xs, targets=xs.flip(0)).outputs.flatten(0, 1), xs.flip(0).argmax(-1).flatten()
        )
        loss.backward()
        optimiser.step()
    xs = draw()
    assert (model(xs, targets=xs.flip(0)).outputs.argmax(-1) == xs.flip(0).argmax(-1)).float().mean() > 0.97
