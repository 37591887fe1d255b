"""A training process that is killed at a random moment and started again ends with the numbers of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(out, agent):
    """The script as a process of its own, on a task small enough for a test."""
    learner = {
        "recurrent_dqn": ["--set", "hidden_size", "8", "warmup", "200"],
        "recurrent_fitted_q": ["--set", "hidden_size", "8", "warmup", "200", "refit_every", "400", "length", "16"],
    }[agent]
    command = [sys.executable, "scripts/train_q.py", "--hide", "velocity", "--agent", agent, "--seeds", "3"]
    command += ["--steps", "1600", "--worlds", "4", "--evaluate-every", "120", "--episodes", "5", *learner]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--out", str(out)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["recurrent_dqn", "recurrent_fitted_q"])
def test_kill_minus_nine_at_random_moments_changes_no_number(tmp_path, agent):
    assert start(tmp_path / "whole", agent).wait(600) == 0
    half, killed = tmp_path / "half", 0
    for _ in range(3):
        process = start(half, agent)
        curve = half / "recurrent_seed3" / "curve.json"
        seen = len(json.loads(curve.read_text())) if curve.is_file() else 0
        for _ in range(6000):  # until at least two more evaluations stand on disk
            if process.poll() is not None or (curve.is_file() and len(json.loads(curve.read_text())) >= seen + 2):
                break
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.4))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
    assert killed >= 2
    assert start(half, agent).wait(600) == 0
    ours, theirs = (
        json.loads((tmp_path / name / "recurrent_seed3" / "result.json").read_text()) for name in ("half", "whole")
    )
    same = ("steps", "final", "final_worst_episode", "best")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert [(row[0], row[2]) for row in ours["curve"]] == [(row[0], row[2]) for row in theirs["curve"]]
