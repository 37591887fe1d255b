"""A network is trained, stored, measured and drawn by one command, and goes into the other scripts."""

import json

import pytest

from agents.policy_zoo import load_policy
from agents.runs import load_traces


@pytest.fixture(scope="module")
def learned(script, tmp_path_factory):
    module = script("learn_motion")
    out = tmp_path_factory.mktemp("learned")
    args = module.Args(cell="elman", hidden=8, iterations=3, rows=4, cycles=5, seconds=1.0, out=out)
    return out, module.main(args)


def test_the_run_holds_the_network_its_card_and_its_figures(learned):
    out, measured = learned
    cell, card = load_policy(out / "policy")
    assert card["cell"] == "elman" and cell.core.hidden_size == 8
    assert json.loads((out / "metrics.json").read_text())["walk"]["free"]["gait"] == "walk"
    assert set(measured["swim"]) >= {"free", "multiplier", "open", "closed"}
    assert (out / "motion.png").stat().st_size > 10_000
    assert "| swim: in the body, open loop |" in (out / "policy" / "README.md").read_text()


def test_an_untrained_network_is_measured_and_found_wanting(learned):
    _, measured = learned
    assert measured["swim"]["free"]["amplitude_error"] > 0.5
    assert measured["swim"]["open"]["missed"]


def test_the_stored_network_drives_the_animal_in_the_other_scripts(learned, script, tmp_path):
    out, _ = learned
    move, steer = script("locomotion"), script("steer")
    move.main(move.Args(policy=str(out / "policy"), seconds=0.3, film=False, out=tmp_path / "move"))
    clamp = ("h[2]@0.1:0.2=0.9",)
    steer.main(steer.Args(policy=str(out / "policy"), clamp=clamp, seconds=0.3, film=False, out=tmp_path / "steer"))
    moved, steered = load_traces(tmp_path / "move"), load_traces(tmp_path / "steer")
    unit = steered["neuron_names"].tolist().index("h[2]")
    assert "learned elman" in str(moved["controller"]) and moved["neurons"].shape == (30, 16)
    assert (steered["neurons"][:, unit] > 0.89).sum() == 10 and steered["clamped"][:, unit].sum() == 10
    assert (moved["joint_angles"][:10] == steered["joint_angles"][:10]).all()


def test_an_unknown_network_or_cell_is_refused(script, tmp_path):
    module = script("learn_motion")
    with pytest.raises(ValueError, match="unknown cell 'gruu'; did you mean gru"):
        module.main(module.Args(cell="gruu", out=tmp_path))
    move = script("locomotion")
    with pytest.raises(ValueError, match="no trained network"):
        move.main(move.Args(policy="zoo/nobody", out=tmp_path))
