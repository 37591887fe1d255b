"""A run folder keeps what was done, says how it ended, and never holds half a file."""

import numpy as np
import pytest

from agents.runs import Run, load_traces


def test_a_run_remembers_settings_rows_and_traces(tmp_path):
    with Run(tmp_path / "r", {"seed": 2, "where": tmp_path}) as run:
        run.log(step=0, loss=2.0)
        run.log(step=1, loss=1.0)
        run.save_traces({"time": np.arange(3.0), "names": np.array(["a", "bc"]), "world": "pool"})
    assert run.config()["seed"] == 2 and run.meta()["status"] == "done"
    assert (run.folder / "metrics.csv").read_text().splitlines() == ["step,loss", "0,2.0", "1,1.0"]
    traces = load_traces(run.folder)
    assert traces["names"].tolist() == ["a", "bc"] and str(traces["world"]) == "pool"
    assert not list(run.folder.glob("*.part"))


def test_a_run_taken_up_again_appends_to_its_table(tmp_path):
    for step in range(3):
        with Run(tmp_path, {}, again=True) as run:
            run.log(step=step)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step", "0", "1", "2"]
    with pytest.raises(ValueError, match="loss"), Run(tmp_path, {}, again=True) as run:
        run.log(step=3, loss=1.0)
    with Run(tmp_path, {}, again=True) as run:  # killed after its checkpoint at step 1
        assert run.rows("step", 1) == [{"step": "0"}, {"step": "1"}]
        run.log(step=2)
        run.finish("interrupted")
        run.log(step=3)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step", "0", "1", "2", "3"]


def test_another_run_in_the_same_folder_begins_its_own_table(tmp_path):
    for k in range(2):
        with Run(tmp_path, {}) as run:
            run.log(episode=k)
            run.log(episode=k + 1)
    assert (tmp_path / "metrics.csv").read_text().split() == ["episode", "1", "2"]
    assert Run(tmp_path / "new", {}, again=True).rows("step", 5) == []


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (RuntimeError, "failed")])
def test_a_run_says_how_it_ended(tmp_path, error, status):
    with pytest.raises(error), Run(tmp_path, {}):
        raise error
    assert Run(tmp_path / "other", {}).meta()["status"] == "running"
    import json

    assert json.loads((tmp_path / "meta.json").read_text())["status"] == status


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        Run(tmp_path / "file" / "run", {})


def test_missing_and_damaged_traces_are_named(tmp_path):
    with pytest.raises(ValueError, match="no traces"):
        load_traces(tmp_path)
    (tmp_path / "traces.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ValueError, match="not a readable"):
        load_traces(tmp_path)
