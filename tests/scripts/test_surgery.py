"""Operations on a network at work do to the animal what anatomy says, and leave a file that replays them."""

import json

import pytest
import torch

from agents.directions import driven
from agents.imitation import build_cell
from agents.motion import Motion
from agents.surgery import OPERATIONS, busiest_units, state_patches
from rnn import Lesion, edits_from_json
from rnn.cpg import PhaseCell


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_network_with_the_state_of_another_run_says_what_that_run_says(name):
    torch.manual_seed(0)
    cell = build_cell(name, 8, Motion.load("both"))
    edits = state_patches(cell, 4.9, 3.1, 30, 50)
    here = driven(cell, torch.tensor([[4.0, 4.0, 0.0]]), 60, edits=edits).outputs
    donor = driven(cell, torch.tensor([[4.9, 3.1, 0.0]]), 420).outputs
    alone = driven(cell, torch.tensor([[4.0, 4.0, 0.0]]), 60).outputs
    assert torch.equal(here[:30], alone[:30])
    assert torch.allclose(here[30:50], donor[400:420], atol=1e-5)
    assert not torch.allclose(here[30:50], alone[30:50], atol=1e-3)


def test_networks_without_a_state_to_be_played_are_refused():
    with pytest.raises(ValueError, match="no h or c"):
        state_patches(PhaseCell(), 4.0, 4.0, 0, 10)


def test_the_busiest_units_are_those_that_swing_most():
    cell = PhaseCell(segments=3, limbs=())
    assert set(busiest_units(cell, 4.0, 6)) == set(range(6))
    edits = OPERATIONS["lesion"].edits(cell, 10, 20)
    assert len(edits) == 4 and all(isinstance(edit, Lesion) and edit.steps == slice(10, 20) for edit in edits)


def test_an_animal_with_one_side_silent_turns_away_from_it_and_the_operation_is_kept(script, tmp_path):
    module = script("surgery")
    args = module.Args(example="silence", start=1.0, stop=4.0, seconds=4.0, film=False, out=tmp_path)
    parts = module.main(args)["silence"]
    assert parts["during"]["yaw_rate"] < -20 and abs(parts["intact"]["yaw_rate"]) < 5
    assert parts["during"]["forward_speed"] < 0.7 * parts["intact"]["forward_speed"]
    assert (tmp_path / "silence" / "figure.png").stat().st_size > 20_000
    edit = edits_from_json((tmp_path / "silence" / "edits.json").read_text())[0]
    assert edit.address == "body.left" and edit.steps == slice(100, 400)
    assert json.loads((tmp_path / "metrics.json").read_text())["silence"] == parts


def test_unknown_examples_and_impossible_times_are_refused(script, tmp_path):
    module = script("surgery")
    with pytest.raises(ValueError, match="no example 'cutt'"):
        module.main(module.Args(example="cutt", out=tmp_path))
    with pytest.raises(ValueError, match="start < stop <= seconds"):
        module.main(module.Args(example="cut", start=5.0, stop=4.0, out=tmp_path))
