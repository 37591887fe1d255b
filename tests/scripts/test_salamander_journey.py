"""One journey by plans: what is written is what was travelled."""

import csv
from pathlib import Path

import numpy as np
import pytest

from agents.drive_world import READINGS, DriveWorlds
from rnn.dynamics import RecurrentDynamics
from rnn.model_body import BodyMismatch
from rnn.stored_dynamics import save_dynamics
from scripts import salamander_journey as script
from scripts import salamander_world
from sim.footage import Footage


@pytest.fixture
def model(tmp_path):
    """One that has learned nothing."""
    file = tmp_path / "model.safetensors"
    save_dynamics(file, salamander_world.build(salamander_world.Args()), readings=READINGS)
    return file


def test_a_journey_is_written_and_drawn(model, tmp_path, capsys):
    args = script.Args(model, world="land", bearing=90.0, distance=2.0, seconds=0.6, out=tmp_path / "out")
    journey = script.main(args)
    with (tmp_path / "out" / "journey.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["time_s"] for row in rows] == pytest.approx(np.arange(1, 7) / 10)
    for row, place in zip(rows, journey.track[1:, 0], strict=True):
        assert row["distance_BL"] == pytest.approx(np.linalg.norm(place - [0.0, 2.0]), abs=1e-3)
        assert row["under_water"] == 0.0 and row["drive_left"] + row["drive_right"] >= 2.5 - 1e-3  # does not rest
    assert (tmp_path / "out" / "journey.png").stat().st_size > 10_000
    assert "came within" in capsys.readouterr().out


def test_on_the_shore_the_way_leads_out_of_the_water():
    start, heading, target = script.place(script.Args(Path("none"), world="shore", bearing=180.0))
    edge = salamander_world.get_world("shore").waterline
    assert target[0] < edge < start[0] and heading == pytest.approx(0.0)  # faces the open water


def test_a_model_of_another_body_is_refused(tmp_path):
    save_dynamics(tmp_path / "other.safetensors", RecurrentDynamics(3, 1, hidden=4, body="Pendulum-v1"))
    with pytest.raises(BodyMismatch, match=r"trained on 'Pendulum-v1' .* asked about 'newt under drives'"):
        script.main(script.Args(tmp_path / "other.safetensors", out=tmp_path / "out"))


def test_what_a_journey_keeps_for_its_film_is_what_a_film_needs():
    worlds = DriveWorlds(1, world="land", threads=1)
    worlds.start()
    worlds.trace = []
    worlds.step(np.zeros((1, 2)))
    steps = {name: np.array([step[name][0] for step in worlds.trace]) for name in worlds.trace[0]}
    footage = Footage.load({"time": worlds.body.dt * np.arange(1, 11), **steps, "world": "land"})
    assert footage.link_positions.shape == (10, 9, 3) and footage.qpos.shape[0] == 10
