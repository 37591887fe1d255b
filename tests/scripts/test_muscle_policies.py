"""The benchmark of policies through muscles sets the start and rules beside what it learns, and goes on."""

import pytest

from agents.drive_level import BearingDrive
from agents.muscle_actors import DrivenMuscles
from agents.muscle_ppo import muscle_worlds
from benchmarks import muscle_policies
from benchmarks.muscle_judges import judge
from scripts import train_salamander


def test_a_learned_policy_stands_beside_the_start_and_a_rule_and_is_not_learned_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(muscle_policies, "WORLDS", 2)
    monkeypatch.setitem(train_salamander.WORLDS, "muscle", 4)
    few = {"steps": 256, "seconds": 0.9, "runs": tmp_path / "runs", "out": tmp_path}
    few |= {"tasks": ["swim"], "cells": ["oscillators"], "seeds": [3]}
    muscle_policies.main(muscle_policies.Args(**few))
    runs = muscle_policies.main(muscle_policies.Args(**few))
    ahead = {run["policy"]: run["ahead"] for run in runs}
    assert len(runs) == 4 and ahead["idle"] < 0 < 0.1 < ahead["fixed pattern generator"]  # it sinks back a little
    assert ahead["oscillators before learning"] > 0.05
    assert runs[-1]["course"][-1][0] == 256
    table = (tmp_path / "muscle_policies.md").read_text()
    assert "| oscillators | 256 | 0.5 | 3 |" in table and "waves per body " in table


def test_goals_and_rough_ground_have_tables_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(muscle_policies, "WORLDS", 2)
    monkeypatch.setitem(train_salamander.WORLDS, "muscle", 4)
    few = {"steps": 256, "seconds": 0.4, "runs": tmp_path / "runs", "out": tmp_path, "seeds": [3]}
    runs = muscle_policies.main(muscle_policies.Args(tasks=["rough", "steer"], cells=["generator"], **few))
    rows = {(run["task"], run["policy"]): run for run in runs}
    rule, start = rows["rough", "fixed pattern generator"], rows["rough", "generator before learning"]
    assert len(rows) == 9 and rule["ahead"] == pytest.approx(start["ahead"], abs=1e-3)
    assert rows["steer", "idle"]["targets"] == 0.0 and rows["steer", "idle"]["seconds"] is None
    table = (tmp_path / "muscle_policies.md").read_text()
    assert "## steer" in table and "| policy | steps | coarse | seeds | targets | each |" in table


def test_the_bearing_rule_gains_on_its_targets_and_finds_one():
    names = muscle_worlds("steer", 1).unwrapped.observation_names
    found = judge("steer", DrivenMuscles(BearingDrive(names)), 2, seconds=8.0)
    assert found["targets"] > 0 and found["fell"] == found["diverged"] == 0
    assert 1.0 < found["gained"] < 8.0 * 0.7
