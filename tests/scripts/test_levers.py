"""Levers that come with the zoo are edits that the network takes, and the one that reverses the wave goes backwards."""

import json

import pytest

from agents.experiment import live, make_worlds
from agents.learned import make_learned
from agents.policy_zoo import ZOO, load_policy
from agents.schedule import Schedule
from benchmarks import levers
from rnn import edits_from_json
from rnn.cell import quantities
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

FILES = sorted(ZOO.glob("*/levers/*.json")) or [pytest.param(None, marks=pytest.mark.skip(reason="no levers are kept"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}-{file.stem}" if file else "none")
def test_every_kept_lever_names_quantities_of_its_network_and_starts_after_the_gait(file):
    known = quantities(load_policy(file.parts[-3])[0])
    edits = edits_from_json(file.read_text())
    assert edits and all(edit.address.split("[")[0] in known for edit in edits)
    assert all(edit.steps.start == 200 and edit.steps.stop is None for edit in edits)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["newt_gru", "newt_lstm"])
@pytest.mark.parametrize(("world", "drive", "goal"), [("pool", 4.0, "backwards"), ("land", 2.0, "backwards")])
def test_the_animal_goes_backwards(name, world, drive, goal):
    file = ZOO / name / "levers" / f"{world}_{goal}.json"
    edits = edits_from_json(file.read_text())
    controller = make_learned(f"zoo/{name}", Schedule.constant(drive), edits=edits)
    traces = live(make_worlds(world), controller, 8.0, progress=None).traces()
    speed = gait_metrics(Trajectory.from_arrays(traces), start=4.0).forward_speed
    assert speed < -0.05


def test_the_table_tells_levers_and_how_far_they_reach():
    measures = {"forward_speed": -0.3, "yaw_rate": 1.0, "frequency": 3.2, "amplitude": 20.0}
    lever = {"goal": "backwards", "name": "wave", "dose": 1.0, "atlas": measures, "steer": {**measures, "gait": "swim"}}
    reach = {"turning": {"gain": {"name": "yaw", "low": -21.0, "high": 22.0, "from": -1.0, "to": 1.0, "whole": True}}}
    text = levers.table({"zoo/a pool": {"untouched": measures, "levers": [lever], "reach": reach}})
    assert "| zoo/a pool | backwards | wave | 1 | -0.30 | 1.0 | 3.20 | swim | -0.30 | 1.0 | 3.20 |" in text
    assert "| zoo/a pool | turning | gain | yaw | -21.00 | 22.00 deg/s | -1 to 1 |" in text


@pytest.mark.slow
def test_levers_of_one_network_in_one_world_are_found_pulled_and_kept(tmp_path, monkeypatch):
    """With few doses and a short time; the network is the zoo's, its folder a copy."""
    monkeypatch.setattr(levers, "WAY_DOSES", (-1.0,))
    monkeypatch.setattr(levers, "GAIN_DOSES", (1.0,))
    monkeypatch.setattr(levers, "TIMES", {"seconds": 3.0, "onset": 1.0, "settle": 0.5})
    policy = tmp_path / "newt"
    policy.mkdir()
    for path in (ZOO / "newt_gru").glob("*.*"):
        (policy / path.name).write_bytes(path.read_bytes())
    args = levers.Args(policies=(str(policy),), worlds=("pool",), work=tmp_path / "work", out=tmp_path / "levers")
    found = levers.main(args)[f"{policy} pool"]
    back = next(lever for lever in found["levers"] if lever["goal"] == "backwards")
    assert back["name"] == "wave" and back["atlas"]["forward_speed"] < -0.05 and back["steer"]["gait"] == "swim"
    assert json.loads((tmp_path / "levers.json").read_text())[f"{policy} pool"] == found
    assert edits_from_json((policy / "levers" / "pool_backwards.json").read_text())[0].address == "output"
