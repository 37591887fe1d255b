"""A network is trained, stored, measured and drawn by one command, and goes into the other scripts."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.motion_table import missed_bands, table
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
    assert (steered["neurons"][:, unit] == np.float32(0.9)).sum() == 10 and steered["clamped"][:, unit].sum() == 10
    assert (moved["joint_angles"][:10] == steered["joint_angles"][:10]).all()


def test_an_unknown_network_or_cell_is_refused(script, tmp_path):
    module = script("learn_motion")
    with pytest.raises(ValueError, match="unknown cell 'gruu'; did you mean gru"):
        module.main(module.Args(cell="gruu", out=tmp_path))
    move = script("locomotion")
    with pytest.raises(ValueError, match="no trained network"):
        move.main(move.Args(policy="zoo/nobody", out=tmp_path))


@pytest.fixture
def benchmark_module(monkeypatch):
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "learn_motion.py"
    spec = importlib.util.spec_from_file_location("benchmark_learn_motion", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(module.SETTINGS, "elman", {"iterations": 2, "rows": 4, "steps": 20})
    return module


def test_the_benchmark_trains_a_network_once_and_measures_what_is_missing(benchmark_module, monkeypatch, tmp_path):
    module, measured = benchmark_module, []
    args = module.Args(cells=("elman",), seeds=(1, 2), hidden=4, work=tmp_path / "work", out=tmp_path / "table")
    main = module.main
    monkeypatch.setattr(module, "ceiling", lambda motion: {})
    main(module.Args(**{**vars(args), "train_only": True}))
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["elman_4_1"], "one seed, for it is not a main cell"
    monkeypatch.setattr(module, "imitate", lambda *a: pytest.fail("trained again"))
    monkeypatch.setattr(module, "measure", lambda cell, *a: measured.append(cell) or {"rhythm": 0})
    main(args)
    main(args)
    assert len(measured) == 1 and measured[0].core.hidden_size == 4
    rows = module.read_rows(tmp_path / "table.csv")
    assert [(row["cell"], row["seed"], row["rhythm"]) for row in rows] == [("motion", "", ""), ("elman", "1", "0")]
    assert "| elman | 1 |" in (tmp_path / "table.md").read_text()


def test_the_table_tells_the_middle_the_range_and_who_misses():
    rows = [
        {"cell": "gru", "seed": str(seed), "parameters": "9", "rhythm": "1", "walk_amplitude_error": error}
        | {"walk_open_bands": bands, "walk_open_missed": missed, "walk_closed_bands": "4/4"}
        for seed, error, bands, missed in ((1, "0.05", "4/4", ""), (2, "0.07", "3/4", "speed"), (3, "0.2", "4/4", ""))
    ]
    text = table(rows, 8)
    assert "| gru | 3 | 9 | - | yes | - | 7.0 (5.0 to 20.0) |" in text
    assert "| gru | open | all in 2 of 3 seeds |" in text and "| gru | closed | 4/4 |" in text
    assert "- gru 2 missed: walk, open: speed." in text


def test_missed_bands_are_counted_over_both_loops_gaits_and_the_sweep():
    shares = {f"{gait}_{loop}_in_bands_over_drives": "1" for gait in ("walk", "swim") for loop in ("open", "closed")}
    row = {"swim_open_sweep": "7/7", "swim_closed_sweep": "7/7", **shares}
    assert missed_bands(row) == 0
    assert missed_bands({**row, "swim_closed_sweep": "5/7", "swim_open_in_bands_over_drives": "0.75"}) == 2.25
