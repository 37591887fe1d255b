"""What the scripts of recurrent PPO, world models and planners refuse; a killed run goes on as if nothing had been."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from agents.planning import PlannerConfig
from agents.recurrent_ppo import RecurrentPPO
from rnn.checkpoint import CheckpointError
from rnn.dynamics import RecurrentDynamics, fit
from rnn.ensemble import Ensemble
from rnn.model_body import BodyMismatch
from rnn.stored_dynamics import save_dynamics
from scripts import export, fit_world, plan, train_ppo, train_salamander


@pytest.mark.parametrize(
    ("script", "settings", "told"),
    [
        (train_ppo, {"worlds": 0}, "worlds is at least 1, received 0"),
        (train_ppo, {"episodes": -3}, "episodes is at least 1, received -3"),
        (train_ppo, {"seed": -1}, "seed is at least 0"),
        (train_ppo, {"cell": "gruu", "worlds": 1}, "did you mean gru"),
        (train_ppo, {"env": "FrozenLake-v1", "worlds": 1}, "no velocities are known .*--no-hide"),
        (train_ppo, {"resume": True}, "no run in .* leave --resume out"),
        (fit_world, {"task": "cartpole"}, "the tasks are forced, pendulum"),
        (fit_world, {"episodes": 3}, "episodes is at least 4: a quarter as many are held out; received 3"),
        (fit_world, {"length": 20}, "length is at least 60: open loops are learned from; received 20"),
        (fit_world, {"gradient_steps": -1}, "gradient_steps is at least 0; received -1"),
        (fit_world, {"layers": (0,)}, "at least 1 unit"),
        (plan, {"model": "runs/model.safetensors"}, "unknown model .*it is ensemble, latent, truth, or a file"),
        (plan, {"method": "cemm"}, "the methods are cem, icem, mppi, critic, backpropagation"),
        (plan, {"iterations": 0}, "iterations is at least 1"),
        (plan, {"episodes": 0}, "episodes is at least 1"),
        (train_salamander, {"resume": True}, "no run in .* to go on with"),
        (train_salamander, {"minutes": -1.0}, "minutes is at least 0, received -1.0"),
        (train_salamander, {"worlds": 1}, "worlds is at least 2, received 1"),
        (train_salamander, {"cell": "lstm", "steps": 0}, "steps is at least 1, received 0"),
        (train_salamander, {"seconds": 0.0}, "seconds is more than 0"),
        (train_salamander, {"coarse": 2.0}, "0 to 1, received 2.0"),
        (train_salamander, {"effort": -5.0}, "a price is at least 0, received effort=-5.0"),
        (train_salamander, {"cell": "cpg", "task": "shore"}, "choose another cell"),
        (export, {"policy": None}, "no checkpoint at"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_before_anything_is_computed(script, settings, told, tmp_path):
    if "policy" in settings:
        settings = {"policy": tmp_path}
    with pytest.raises(ValueError, match=told):
        script.main(script.Args(out=tmp_path / "run", **settings))


SMALL = train_ppo.Args(steps=512, worlds=4, hidden=4, horizon=16, minibatch=2, episodes=2)


def test_a_run_goes_on_with_its_own_settings_and_to_its_own_end(tmp_path, monkeypatch):
    whole = train_ppo.main(replace(SMALL, out=tmp_path / "whole"))
    args = replace(SMALL, out=tmp_path / "cut")
    save = train_ppo.RecurrentPPO.save

    def killed(agent, path, **kw):  # at the first checkpoint, as by kill -9
        save(agent, path, **kw)
        raise SystemExit

    learn = train_ppo.RecurrentPPO.learn
    monkeypatch.setattr(train_ppo.RecurrentPPO, "save", killed)
    monkeypatch.setattr(
        train_ppo.RecurrentPPO, "learn", lambda self, *a, **kw: learn(self, *a, checkpoint_every=200, **kw)
    )
    with pytest.raises(SystemExit):
        train_ppo.main(args)
    monkeypatch.undo()
    train_ppo.Run(tmp_path / "early", args)
    with pytest.raises(ValueError, match="stopped before its first checkpoint"):
        train_ppo.main(train_ppo.Args(resume=True, out=tmp_path / "early"))
    with pytest.raises(ValueError, match="the run in .* has worlds=4, received 7; --resume goes on"):
        train_ppo.main(train_ppo.Args(resume=True, worlds=7, out=args.out))
    assert train_ppo.main(train_ppo.Args(resume=True, episodes=2, out=args.out)) == whole
    assert yaml.safe_load((args.out / "config.yaml").read_text())["worlds"] == 4
    final = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "cut")]
    assert final[0] == final[1]
    courses = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert [row.split(",")[:2] for row in courses[0]] == [row.split(",")[:2] for row in courses[1]]


def test_a_policy_of_the_salamander_goes_on_where_it_was_stopped(tmp_path):
    args = train_salamander.Args(cell="gru", steps=384, worlds=2, seconds=0.5, film=False, out=tmp_path / "run")
    with train_salamander.Run(args.out, train_salamander.complete(args)) as run:
        with pytest.raises(ValueError, match="stopped before its first checkpoint"):
            train_salamander.main(replace(args, resume=True))
        run.log(steps=128, reward=0.1, score="", cpu_seconds=5.0)
        run.log(steps=999, reward=0.1, score="", cpu_seconds=6.0)  # logged after the checkpoint: will come again
        env = train_salamander.muscle_worlds("swim", 2, coarse=True, prices=train_salamander.PRICES["swim"])
        agent = train_salamander.muscle_learner("swim", "gru", env, seed=0)
        agent.learn(384, lambda local, _: agent.num_timesteps < 128, checkpoint=args.out / "checkpoints")
    train_salamander.main(train_salamander.Args(resume=True, film=False, out=args.out))
    steps = [int(row.split(",")[0]) for row in (args.out / "metrics.csv").read_text().splitlines()[1:]]
    assert steps[0] == 128 and steps[-1] == 384 and steps == sorted(set(steps))
    assert RecurrentPPO.load(args.out / "checkpoints").num_timesteps == 384
    evolved = replace(args, cell="cpg", out=tmp_path / "evolved")
    train_salamander.Run(evolved.out, train_salamander.complete(evolved))
    with pytest.raises(ValueError, match=r"evolution does not go on; .*gait.json"):
        train_salamander.main(train_salamander.Args(resume=True, out=evolved.out))


def test_a_policy_is_exported_from_its_run_folder(tmp_path):
    train_ppo.main(replace(SMALL, steps=64, out=tmp_path / "run"))
    found = export.main(export.Args(policy=tmp_path / "run", out=tmp_path / "export", onnx=False))
    assert found["numpy"].holds
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file; choose a folder"):
        export.main(export.Args(policy=tmp_path / "run", out=tmp_path / "file"))


def test_an_export_that_misses_the_bound_is_an_error(tmp_path, monkeypatch, capsys):
    train_ppo.main(replace(SMALL, steps=64, env="Pendulum-v1", out=tmp_path / "run"))
    args = export.Args(policy=tmp_path / "run", out=tmp_path / "export", onnx=False)
    monkeypatch.setattr("agents.numpy_runner.NumpyRunner.__call__", lambda self, x: self.fresh[0][0, :1] + 0.25)
    with pytest.raises(ValueError, match="further than 1e-05 from torch: .*numpy .*do not rely on them"):
        export.main(args)
    assert "double precision" in capsys.readouterr().out


def test_logged_data_that_are_not_finite_are_told_by_their_place():
    obs, actions = torch.zeros(21, 3, 2), torch.zeros(20, 3, 1)
    obs[7, 2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"obs has 1 numbers that are not finite, the first at \[7, 2, 1\]"):
        fit(RecurrentDynamics(2, 1, hidden=4), obs, actions, warmup=2, stages={2: 1})
    actions[3, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="actions has 1 numbers"):
        Ensemble(2, 1).fit(obs[0], actions[3], obs[1], steps=1)
    with pytest.raises(ValueError, match=r"received obs \(20, 3, 2\) and actions \(20, 3, 1\)"):
        fit(RecurrentDynamics(2, 1, hidden=4), obs[:-1], actions, warmup=2, stages={2: 1})


def test_a_stored_model_is_planned_in_and_not_given_to_another_task(tmp_path):
    file, shape = tmp_path / "model.safetensors", {"cell": "gru", "hidden": 4, "layers": [], "bounded": False}
    save_dynamics(file, RecurrentDynamics(3, 1, body="Pendulum-v1", **shape), **shape)
    args = plan.Args(task="pendulum", model=str(file), episodes=1, candidates=10, iterations=1, out=tmp_path / "run")
    assert -2000 < plan.main(args)[0] <= 0
    with pytest.raises(BodyMismatch, match=r"'Pendulum-v1' \(3 readings, 1 action\), asked about 'CartPole-v1' \(4"):
        plan.main(replace(args, task="cartpole"))
    save_dynamics(file, RecurrentDynamics(3, 1, body="Pendulum-v1", **shape), cell="gru")
    with pytest.raises(CheckpointError, match="saved without hidden, layers, bounded"):
        plan.main(args)


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"iterations": 0}, {"temperature": 0.0}, {"decay": 0.5}])
def test_a_planner_that_would_plan_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        PlannerConfig(**wrong)
