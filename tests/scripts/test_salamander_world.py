"""The script that learns a model of the driven newt, and its table: figures that are right for what went in."""

import csv

import numpy as np
import pytest
import torch

from agents.drive_foresight import foresee
from agents.drive_planning import ModelPilot
from agents.drive_world import READINGS
from benchmarks import salamander_world as benchmark
from rnn.dynamics import RecurrentDynamics
from rnn.model_body import BodyMismatch
from rnn.stored_dynamics import save_dynamics
from scripts import salamander_world as script


class Oracle:
    """Knows the future: finds where in the runs it was shown the last reading."""

    action_size = 2

    def __init__(self, obs, offset=0.0):
        self.obs, self.offset = obs, offset

    def simulate(self, given, actions):
        ahead = []
        for i, last in enumerate(given[-1]):
            run = self.obs[:, i % self.obs.shape[1]]
            now = int((run == last).all(-1).nonzero()[0])
            ahead.append(run[now + 1 : now + 1 + script.AHEAD])
        found = torch.stack(ahead, 1)
        found[..., -1] += self.offset
        return found


def logs(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(61, 3, len(READINGS), generator=generator) * 0.1, torch.zeros(60, 3, 2)


def test_a_model_that_knows_is_without_error_and_one_that_turns_too_much_errs_by_what_it_turned():
    data, held = logs(0), logs(1)
    found = foresee({"oracle": Oracle(held[0]), "turning": Oracle(held[0], 0.01)}, data, held, script.WORLDS)
    assert len(found) == 4 * 3 and {row["world"] for row in found} == {"pool", "land", "shore"}
    for row in found:
        if row["model"] == "oracle":
            assert row["joints_mean"] == row["position_at_2s_BL"] == row["heading_at_2s_deg"] == 0.0
        if row["model"] == "turning":
            assert row["heading_at_2s_deg"] == pytest.approx(np.degrees(0.01 * script.AHEAD), abs=0.06)
            assert row["joints_mean"] == 0.0 and row["position_at_2s_BL"] > 0
        if row["model"] == "last value":
            assert row["joints_mean"] > 1.0


def test_targets_lie_all_around_at_three_lengths_and_on_the_shore_up_the_beach():
    start, heading, targets = script.places("land", 5, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(targets - start, axis=1), 3.0)
    bearing = np.arctan2(targets[:, 1], targets[:, 0]) - heading
    assert len(set(np.round(np.remainder(bearing, 2 * np.pi), 6))) == 5
    start, _, targets = script.places("shore", 4, np.random.default_rng(0))
    edge = script.get_world("shore").waterline
    assert (start[:, 0] > edge).all() and (targets[:, 0] < edge).all()


def journey(world, pilot, seconds, seed=1):
    arrived = sum(s is not None for s in seconds)
    return {"world": world, "pilot": pilot, "targets": len(seconds), "arrived": arrived, "seconds": seconds,
            "least_distance_BL": 0.5, "under_water_at_end": 0.0, "cpu_seconds": 6.0, "seed": seed}  # fmt: skip


def test_the_table_adds_up_over_seeds_and_pairs_what_both_planners_were_given(tmp_path):
    prediction = [{"model": "gru", "world": "pool", "joints_mean": 0.5, "joints_at_2s": 0.6,
                   "position_at_2s_BL": 0.1, "heading_at_2s_deg": 3.0, "travelled_BL": 0.6}]  # fmt: skip
    one = [journey("pool", "model", [4.0, 6.0, None]), journey("pool", "simulator", [3.0])]
    two = [journey("pool", "model", [5.0, 9.0, 7.0], seed=2)]
    benchmark.write(
        [{"prediction": prediction, "journeys": one}, {"prediction": prediction, "journeys": two, "partial": True}],
        tmp_path,
    )
    text = (tmp_path / "salamander_world.md").read_text()
    assert "| pool | model | 5 of 6 | 6.5 | 0.50 | 0.00 | 2 |" in text
    assert "| pool | simulator | 1 of 1 | 3.0 | 0.50 | 0.00 | 6 |" in text
    assert "simulator's: pool 4.0 and 3.0." in text and "stopped before its last journeys" in text


def test_a_model_of_something_else_is_refused_before_an_animal_moves(tmp_path):
    pendulum = RecurrentDynamics(3, 1, hidden=4, body="Pendulum-v1")
    save_dynamics(tmp_path / "model.safetensors", pendulum)
    told = r"trained on 'Pendulum-v1' \(3 readings, 1 action\), asked about 'newt under drives'"
    with pytest.raises(BodyMismatch, match=told):
        script.main(script.Args(model=tmp_path / "model.safetensors", out=tmp_path / "run"))
    with pytest.raises(BodyMismatch, match=told):
        ModelPilot(pendulum)


def test_a_ceiling_is_added_to_a_seed_that_was_complete_without(tmp_path, monkeypatch):
    asked = []

    def travelled(args, report):
        asked.append(args)
        row = {"model": "gru", "world": "pool", "joints_mean": 0.5, "joints_at_2s": 0.6,
               "position_at_2s_BL": 0.1, "heading_at_2s_deg": 3.0, "travelled_BL": 0.6}  # fmt: skip
        one = journey("pool", "model" if args.plans else "simulator", [4.0 if args.plans else 3.0])
        found = {"journeys": [one], "prediction": [row] if args.model is None else []}
        report(found)
        return found

    monkeypatch.setattr(benchmark.salamander_world, "main", travelled)
    for ceilings in ([], [1], [1]):
        runs = benchmark.main(benchmark.Args(seeds=[1], ceilings=ceilings, out=tmp_path, runs=tmp_path / "runs"))
    assert [args.ceiling for args in asked] == [0, 1]
    assert asked[1].model == tmp_path / "runs" / "seed_1" / "checkpoints" / "model.safetensors"
    assert [row["pilot"] for row in runs[0]["journeys"]] == ["model", "simulator"] and len(runs[0]["prediction"]) == 1
    assert "simulator's: pool 4.0 and 3.0." in (tmp_path / "salamander_world.md").read_text()


@pytest.mark.slow
def test_the_script_learns_practises_and_travels(tmp_path):
    reports = []
    args = script.Args(animals=3, seconds=4, practice=1, one_step=2, gradient_steps=2, targets=2, patience=1.0,
                       ceiling=1, out=tmp_path)  # fmt: skip
    found = script.main(args, lambda now: reports.append(len(now["journeys"])))
    lived = 3 * 3 + 3 * 3 + (3 + 1 + 1)  # at random in three worlds, on errands, following plans
    assert reports == list(range(1, 14)) and found["transitions"] == 40 * lived
    with (tmp_path / "journeys.csv").open() as file:
        assert [row["pilot"] for row in csv.DictReader(file)] == [row["pilot"] for row in found["journeys"]]
    again = script.Args(targets=1, patience=1.0, model=tmp_path / "checkpoints" / "model.safetensors",
                        out=tmp_path / "again")  # fmt: skip
    assert script.main(again)["prediction"] == []
    assert all((tmp_path / f"track_{world}.png").exists() for world in script.WORLDS)
