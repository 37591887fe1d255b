"""The benchmark of the Q family keeps what is measured after every seed, whatever stops it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = {
    "variant": "recurrent",
    "agent": "dqn",
    "cpu_seconds": 2.0,
    "steps_to_threshold": None,
    "cpu_seconds_to_threshold": None,
}
CHILD = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
results = []
for seed, value in enumerate((10.0, 30.0)):
    done = folder / f"recurrent_seed{seed}" / "result.json"
    done.parent.mkdir(parents=True)
    results.append({**json.loads(sys.argv[1]), "seed": seed, "final": value, "best": value})
    done.write_text(json.dumps(results[-1]))
    time.sleep(0.3)
    if sys.argv[2] == "stop":
        sys.exit(3)
(folder / "results.json").write_text(json.dumps({"results": results, "summary": {}}))
"""


@pytest.fixture
def family(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("benchmark_q_family", ROOT / "benchmarks" / "q_family.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "POLL", 0.05)
    return module


def run(family, monkeypatch, tmp_path, ending):
    command = ["-c", CHILD, json.dumps(ROW), ending]
    monkeypatch.setattr(family, "SECTIONS", {"made_up": ("A heading", command)})
    return family.main(family.Args(only=("made_up",), work=tmp_path / "work"))


def test_a_command_that_stops_leaves_the_seeds_that_were_finished(family, monkeypatch, tmp_path):
    with pytest.raises(family.subprocess.CalledProcessError):
        run(family, monkeypatch, tmp_path, "stop")
    kept = json.loads((tmp_path / "q_family.json").read_text())["made_up"]
    assert kept["so_far"] and kept["summary"]["recurrent"]["final"] == [10.0, 10.0, 10.0]
    assert "Under way, or stopped" in (tmp_path / "q_family.md").read_text()


def test_a_finished_command_leaves_all_of_them_and_no_such_word(family, monkeypatch, tmp_path):
    stored = run(family, monkeypatch, tmp_path, "go on")["made_up"]
    assert [row["final"] for row in stored["results"]] == [10.0, 30.0] and "so_far" not in stored
    assert "Under way" not in (tmp_path / "q_family.md").read_text()


def test_the_peers_are_a_part_of_the_same_command(family, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(family.subprocess, "run", lambda command, **_: calls.append(command))
    assert family.main(family.Args(only=(family.PEERS,), peer="other-python")) == {}
    assert calls[0][1:] == ["benchmarks/q_peers.py", "--peer", "other-python", "--out", str(tmp_path)]
