"""What must hold for every cell of the library."""

import pytest
import torch

from rnn.cell import Cell, map_state, quantities, unit_labels
from rnn.edits import Clamp
from rnn.models import CELLS, make_cell
from rnn.unroll import unroll

NAMES = [name for name in CELLS if name != "oscillator"]  # the oscillator cell has tests of its own


def build(name: str) -> Cell:
    torch.manual_seed(3)
    return make_cell(name, 2, 6).double()


def series(steps: int = 24, rows: int = 4) -> torch.Tensor:
    return torch.randn(steps, rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_states_have_the_sizes_that_the_cell_announces(name):
    cell = build(name)
    run = unroll(cell, series())
    assert run.outputs.shape == (24, 4, cell.output_size) and run.outputs.isfinite().all()
    map_state(lambda new, old: pytest.fail("state changed shape") if new.shape != old.shape else new,
              run.state, cell.initial_state(4))  # fmt: skip
    assert list(quantities(cell))[0] == "input" and cell.activity in quantities(cell)
    assert len(set(unit_labels(cell))) == quantities(cell)[cell.activity]


@pytest.mark.parametrize("name", NAMES)
def test_two_halves_equal_the_whole_on_every_path(name):
    cell, xs = build(name), series()
    for path in ("auto", "loop"):
        whole = unroll(cell, xs, path=path)
        first = unroll(cell, xs[:10], path=path)
        second = unroll(cell, xs[10:], first.state, start=10, path=path)
        assert torch.allclose(whole.outputs, torch.cat([first.outputs, second.outputs]), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_equals_a_fresh_start_and_a_row_equals_a_single_run(name):
    cell, xs = build(name), series()
    if name == "transformer":
        cell.eval()
    resets = torch.zeros(24, 4, dtype=torch.bool)
    resets[9, 2] = True
    run = unroll(cell, xs, resets=resets)
    assert torch.allclose(run.outputs[9:, 2], unroll(cell, xs[9:]).outputs[:, 2], atol=1e-12)
    assert torch.allclose(run.outputs[:, 1:2], unroll(cell, xs[:, 1:2]).outputs, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("esn", "es2n")])
def test_every_parameter_receives_a_gradient_equal_to_that_of_the_loop(name):
    cell, xs = build(name), series()
    grads = []
    for path in ("loop", "auto"):
        cell.zero_grad()
        unroll(cell, xs, path=path).outputs.square().sum().backward()
        grads.append([p.grad.clone() for p in cell.parameters()])
    for (key, _), loop, auto in zip(cell.named_parameters(), *grads, strict=True):
        assert loop.abs().sum() > 0, f"{key} has no influence"
        assert torch.allclose(loop, auto, rtol=1e-9, atol=1e-9), key


@pytest.mark.parametrize("name", NAMES)
def test_the_output_never_hears_a_later_input(name):
    cell, xs = build(name), series()
    late = xs.clone()
    late[15:] += 1.0
    assert torch.equal(unroll(cell, xs, path="loop").outputs[:15], unroll(cell, late, path="loop").outputs[:15])
    assert torch.allclose(unroll(cell, xs).outputs[:15], unroll(cell, late).outputs[:15], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_give_the_same_run(name, tmp_path):
    cell, xs = build(name), series()
    other = make_cell(name, 2, 6).double()
    torch.save(cell.state_dict(), tmp_path / "cell.pt")
    other.load_state_dict(torch.load(tmp_path / "cell.pt", weights_only=True))
    assert torch.equal(unroll(cell, xs).outputs, unroll(other, xs).outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_clamped_unit_is_what_the_trace_shows(name):
    cell, xs = build(name), series()
    address = f"{cell.activity}[1]"
    run = unroll(cell, xs, edits=(Clamp(address, 0.25, steps=slice(5, 12)),), record=(address,))
    assert torch.all(run.trace[address][5:12] == 0.25) and not torch.any(run.trace[address][12:] == 0.25)


def test_unknown_names_and_settings_are_refused_with_a_hint():
    with pytest.raises(ValueError, match="lstm"):
        make_cell("lstn", 2, 6)
    with pytest.raises(ValueError, match="horizont"):
        make_cell("linear", 2, 6, horizont=3.0)
