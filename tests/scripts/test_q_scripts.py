"""The scripts of the Q family, at a size that only shows that they run, write and resume."""

import csv
import json

import numpy as np
import pytest


def test_training_writes_curves_and_a_finished_seed_is_not_run_again(script, tmp_path):
    train_q = script("train_q")
    args = train_q.Args(
        hide="velocity", seeds="0:1", steps=400, worlds=4, evaluate_every=200, episodes=5, out=tmp_path,
        set={"hidden_size": "8", "warmup": "200"},
    )  # fmt: skip
    first = train_q.main(args)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [int(float(row["steps"])) for row in rows] == [200, 400] and float(rows[0]["mean_return"]) >= 8
    before = (tmp_path / "recurrent_seed0" / "result.json").stat().st_mtime_ns
    assert train_q.main(args) == first
    assert (tmp_path / "recurrent_seed0" / "result.json").stat().st_mtime_ns == before


def test_a_seed_stops_once_two_evaluations_in_a_row_reach_what_was_asked(script, tmp_path):
    train_q = script("train_q")
    options = dict(hide="velocity", seeds="0:1", steps=300, worlds=4, evaluate_every=100, episodes=5)
    options["set"] = {"hidden_size": "8", "warmup": "1000"}  # nothing is learned: every return is the same
    low, high = (
        train_q.main(train_q.Args(out=tmp_path / str(goal), stop_at=goal, **options))[0] for goal in (1.0, 500.0)
    )
    assert [row[0] for row in low["curve"]] == [100, 200] and low["steps"] == 200
    assert high["steps"] == 300
    (tmp_path / "1.0" / "recurrent_seed0" / "result.json").unlink()
    assert train_q.main(train_q.Args(out=tmp_path / "1.0", stop_at=1.0, **options))[0]["steps"] == 200


def test_a_training_shorter_than_the_time_to_its_first_evaluation_is_judged_at_its_end(script, tmp_path):
    train_q = script("train_q")
    options = dict(seeds="0:1", worlds=4, episodes=5, out=tmp_path, set={"hidden_size": "8"})
    (result,) = train_q.main(train_q.Args(steps=20, evaluate_every=2000, **options))
    assert [row[0] for row in result["curve"]] == [20]
    with pytest.raises(ValueError, match="count from 1"):
        train_q.main(train_q.Args(steps=0, **options))


def test_a_training_that_was_killed_ends_with_the_numbers_of_one_that_was_not(script, tmp_path, monkeypatch):
    train_q = script("train_q")
    options = dict(hide="velocity", seeds="0:1", steps=400, worlds=4, evaluate_every=100, episodes=5)
    options["set"] = {"hidden_size": "8", "warmup": "120"}
    whole = train_q.main(train_q.Args(out=tmp_path / "whole", **options))
    step = train_q.Curve._on_step

    def killed(self):
        if self.num_timesteps == 252:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(train_q.Curve, "_on_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_q.main(train_q.Args(out=tmp_path / "half", **options))
    monkeypatch.setattr(train_q.Curve, "_on_step", step)
    again = train_q.main(train_q.Args(out=tmp_path / "half", **options))
    assert again[0]["final"] == whole[0]["final"] and again[0]["best"] == whole[0]["best"]
    assert [row[2] for row in again[0]["curve"]] == [row[2] for row in whole[0]["curve"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tables_of_2005_are_written_with_the_papers_figures_beside(script, tmp_path):
    tables = script("nfq_tables")
    one = tables.main(tables.Args(table=1, runs=2, episodes=(10,), tests=2, epochs=5, out=tmp_path / "1"))
    assert one["rows"][10]["transitions"] > 50 and (tmp_path / "1" / "tables.png").stat().st_size > 1000
    two = tables.main(tables.Args(table=2, runs=2, max_episodes=3, tests=60, epochs=5, grid=101, out=tmp_path / "2"))
    stored = json.loads((tmp_path / "2" / "table2.json").read_text())
    assert stored["paper"]["episodes"] == 70.95 and len(two["first_success"]) == 2


def test_no_draw_of_starts_moves_the_optimum_by_much_more_than_is_said(script):
    from sim.nfq_tasks import MountainCar

    tables = script("nfq_tables")
    even, task = tables.even_starts(300), MountainCar()
    assert even[0, 0] > -1 and even[-1, 0] < 0.7 and np.allclose(even[:, 0] + even[::-1, 0], -0.3)
    drawn = task.start(np.random.default_rng(1), 300)
    found = tables.optimum(task, drawn, even, 100, 101)
    assert 27 < found["optimum_even"] < 31  # "fine Q table": 29.0 (Riedmiller, 2005)
    assert 0.3 < found["draw"] < 1 and abs(found["optimum"] - found["optimum_even"]) < 3 * found["draw"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_groups_of_runs_that_were_written_are_not_run_again_and_those_missing_come_out_the_same(script, tmp_path):
    tables = script("nfq_tables")
    options = dict(table=3, runs=3, group=1, max_episodes=4, tests=20, epochs=5, reach=2, average=2, iterations=2)
    whole = tables.main(tables.Args(out=tmp_path / "whole", **options))
    rows = json.loads((tmp_path / "whole" / "rows.json").read_text())
    rows[0]["runs"][0]["best"] = 77.0  # as nothing here would measure it
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "rows.json").write_text(json.dumps(rows[:1]))
    again = tables.main(tables.Args(out=tmp_path / "half", **options))
    assert again["best_policies"][0] == 77.0 and len(rows) == 3
    assert again["first_success"] == whole["first_success"] and again["best_policies"][1:] == whole["best_policies"][1:]
