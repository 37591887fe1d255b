"""Peers of the Q family: they see the same task, are judged in the same way, and stopped comparisons go on."""

import importlib.util
import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from agents.learner import evaluate
from agents.q_tasks import make_task

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class TowardsTheLean:
    """Pushes to the side to which the pole leans: needs no velocity, lasts about 40 steps."""

    def initial_state(self, batch):
        return ()

    def act(self, obs, state, *, step, first):
        return (np.asarray(obs)[:, 2] > 0).astype(int), ()


def test_peers_see_what_our_learners_see_with_hidden_velocities_and_the_last_action_beside():
    task = benchmark("q_peer_task")
    blind, bare = task.world(True), make_task(task.TASK, 1)
    (seen, _), (shown, _) = blind.reset(seed=3), bare.reset(seed=[3])
    for action in (1, 0, 0, None):
        np.testing.assert_allclose(seen[:4], shown[0] * [1, 1, task.ANGLE_SCALE, 1], rtol=1e-6)
        assert blind.observation_space.contains(seen)
        if action is not None:
            (seen, *_), (shown, *_) = blind.step(action), bare.step(np.array([action]))
            assert seen[4:].tolist() == np.eye(2)[action].tolist()
    assert blind.reset(seed=4)[0][4:].tolist() == [0, 0]


@pytest.mark.parametrize("blind", [True, False])
def test_peers_are_judged_as_our_learners_are(blind):
    task = benchmark("q_peer_task")
    player = TowardsTheLean()
    theirs = task.returns(lambda obs, state: player.act(obs, state, step=0, first=None), blind, 6, 50)
    ours = evaluate(player, make_task(task.TASK, 6, hide=blind), 6, seed=50)
    assert sorted(theirs) == sorted(ours) and 20 < theirs.mean() < 100


def test_rows_that_are_there_are_kept_and_a_missing_peer_is_left_out(tmp_path, capsys):
    benchmark("q_peer_task")
    peers = benchmark("q_peers")
    args = peers.Args(only=("sb3",), seeds="0:1", steps=40, evaluations=1, out=tmp_path)
    first = peers.main(args)["sb3"]
    assert [row["seed"] for row in first] == [0] and 8 <= first[0]["final"] <= 500
    again = peers.main(peers.Args(only=("sb3",), seeds="0:2", steps=40, evaluations=1, out=tmp_path))["sb3"]
    assert again[0] == first[0] and again[1]["seed"] == 1
    assert json.loads((tmp_path / "q_peers.json").read_text())["sb3"] == again
    assert "Stable-Baselines3" in (tmp_path / "q_peers.md").read_text()
    bare = tmp_path / "python"  # a Python without TorchRL
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torchrl'\" >&2; exit 1\n")
    bare.chmod(0o755)
    assert peers.main(peers.Args(only=("torchrl",), peer=str(bare), out=tmp_path))["torchrl"] == []
    assert "is left out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="unknown learners"):
        peers.main(peers.Args(only=("keras",), out=tmp_path))


def test_a_peer_that_fails_is_reported_with_what_it_said(tmp_path):
    peers = benchmark("q_peers")
    with pytest.raises(RuntimeError, match="torchrl failed"):
        peers.elsewhere("torchrl")(0, 100, peers.Args(peer="/bin/false", out=tmp_path))
    assert gymnasium.spec(peers.TASK).reward_threshold == peers.THRESHOLD
