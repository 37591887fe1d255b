"""Benchmarks of recurrent PPO, swimmers and exports: what they count, refuse, and do not repeat."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.numpy_runner import NumpyRunner
from benchmarks import export_parity, recurrent_ppo, swimmer


class Clockwork:
    """A learner that spends 2 s on the first update and 1 s on later ones, and 3 s on every other part of learning."""

    def __init__(self, clock):
        self.clock, self.num_timesteps, self.updates = clock, 0, 0

    def update(self):
        self.clock[0] += 1.0 if self.updates else 2.0
        self.updates += 1

    def learn(self, steps, reset_num_timesteps):
        self.num_timesteps = (0 if reset_num_timesteps else self.num_timesteps) + steps
        self.clock[0] += 3.0
        self.update()


def test_costs_are_counted_by_step_without_the_round_that_warms_up(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(recurrent_ppo.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(recurrent_ppo, "learners", lambda: {recurrent_ppo.PLAIN: (lambda: Clockwork(clock), "update")})
    found = recurrent_ppo.costs(300, rounds=3)
    assert found[recurrent_ppo.PLAIN]["update_ms_per_step"] == pytest.approx(1e3 * 1 / 100)
    assert found[recurrent_ppo.PLAIN]["total_ms_per_step"] == pytest.approx(1e3 * 4 / 100)
    assert len(found[recurrent_ppo.PLAIN]["total_ms_each_round"]) == 2


def test_the_table_of_costs_sets_each_learner_beside_the_one_of_its_recipe():
    row = lambda update, total: {"update_ms_per_step": update, "total_ms_per_step": total}
    found = {
        "steps": 600,
        "rounds": 6,
        recurrent_ppo.PLAIN: row(0.1, 0.2),
        "ours, gru 64": row(0.18, 0.25),
        recurrent_ppo.OURS_ZOO: row(0.4, 0.5),
        recurrent_ppo.PEER_ZOO: row(2.5, 3.0),
    }
    plain, gru, ours, peer = recurrent_ppo.costs_table(found)[-4:]
    assert plain.endswith("| 5000 | 0.100 | 1.00 |  |") and gru.endswith("| 4000 | 0.180 | 1.80 |  |")
    assert ours.endswith("| 2000 | 0.400 |  | 6.0 |") and peer.endswith("| 333 | 2.500 |  | 1.0 |")


def test_runs_are_written_as_they_come_and_not_repeated(tmp_path, monkeypatch):
    asked = []

    def run(task, cell, seed, args):
        asked.append(seed)
        if seed == 7:
            raise KeyboardInterrupt
        about = {"task": task, "cell": cell, "seed": seed, "steps": args.steps}
        return {**about, "final": 100.0 + seed, "std": 0.0, "worst": 99.0, "cpu_seconds": 2.0, "course": []}

    monkeypatch.setattr(recurrent_ppo, "run", run)
    args = recurrent_ppo.Args(tasks=["CartPole-v1"], seeds=[5, 6, 7], steps=10, out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        recurrent_ppo.main(args)
    args.seeds = [5, 6]
    recurrent_ppo.main(args)
    assert asked == [5, 6, 7]
    assert (
        "| CartPole-v1 | gru, both sides alike | 10 | 2 | 105.5 | 0.5 | 105.0 |"
        in (tmp_path / "recurrent_ppo.md").read_text()
    )


@pytest.mark.parametrize("wrong", [{"tasks": ["CartPole-v2"]}, {"cells": ["gruu"]}, {"episodes": 0}])
def test_unknown_tasks_and_cells_are_refused_before_any_run(wrong, tmp_path):
    with pytest.raises(ValueError, match="choose among|episodes is at least 1"):
        recurrent_ppo.main(recurrent_ppo.Args(out=tmp_path, **wrong))
    assert not list(tmp_path.iterdir())


def test_the_same_task_told_of_its_mirror_and_not_told_are_two_rows(tmp_path, monkeypatch):
    asked = []

    def run(task, cell, seed, args, **changes):
        asked.append(changes)
        about = {"task": task, "cell": cell, "seed": seed, "steps": args.steps}
        return {**about, "final": -170.0, "std": 0.0, "worst": -300.0, "cpu_seconds": 2.0, "course": []}

    monkeypatch.setattr(recurrent_ppo, "run", run)
    for mirror in (True, False, True):
        recurrent_ppo.main(recurrent_ppo.Args(tasks=["Pendulum-v1"], seeds=[5], steps=10, mirror=mirror, out=tmp_path))
    assert asked == [{}, {"mirror_signs": None, "mirror_actions": None}]
    text = (tmp_path / "recurrent_ppo.md").read_text()
    assert "| Pendulum-v1 | gru, both sides alike |" in text and "| Pendulum-v1 | gru, not told" in text


def test_swimmers_are_set_beside_the_oscillator_that_each_began_with(tmp_path):
    about = {"controller": "guarded", "condition": "disturbed", "start": "stated", "generations": 32}
    runs = [
        {
            **about,
            "mean": m,
            "noise_and_delay": n,
            "oscillator": 300.0,
            "oscillator_noise_and_delay": 290.0,
            "cpu_seconds": 40,
        }
        for m, n in ((340, 330), (350, 344))
    ]
    swimmer.write(runs, tmp_path)
    *_, before, after = (tmp_path / "swimmer.md").read_text().splitlines()
    assert "300.0 +- 0.0 | 290.0 +- 0.0 | 300/290, 300/290" in before
    assert "345.0 +- 5.0 | 337.0 +- 7.0 | 340/330, 350/344 | 40 |" in after


def test_exports_are_compared_over_time_and_a_wrong_one_is_seen(tmp_path, monkeypatch):
    args = export_parity.Args(names=["gru", "recurrent policy"], steps=30, hidden=8, onnx=False, out=tmp_path)
    rows = export_parity.main(args)
    assert all(row["numpy"]["holds"] and row["numpy_double"] < row["numpy_single"] < 1e-5 for row in rows)
    assert all(row["largest_output"] > 0.05 for row in rows)
    assert [row["name"] for row in json.loads((tmp_path / "export_parity.json").read_text())["rows"]] == args.names
    monkeypatch.setattr(NumpyRunner, "__call__", lambda self, x: np.zeros(8))  # forgets what it should do
    with pytest.raises(ValueError, match="further than 1e-05 from torch in both precisions: gru"):
        export_parity.main(replace(args, names=["gru"]))
    wrong = json.loads((tmp_path / "export_parity.json").read_text())["rows"][0]
    assert wrong["numpy_single"] == pytest.approx(rows[0]["largest_output"])


def test_unknown_steps_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="gruu"):
        export_parity.main(export_parity.Args(names=["gruu"], onnx=False, out=tmp_path))
