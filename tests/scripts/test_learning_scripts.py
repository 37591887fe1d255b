"""Learning scripts, called in process on small settings; what they wrote is read back."""

import csv
import json

import numpy as np
import pytest
import yaml

from agents.muscle_ppo import MusclePPO
from agents.recurrent_ppo import RecurrentPPO
from benchmarks import learned_gaits
from scripts import evolve_swimmer, export, fit_world, plan, train_ppo, train_salamander


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_trained_policy_is_stored_and_exported_with_the_same_actions(tmp_path, capsys):
    args = train_ppo.Args(steps=640, worlds=4, hidden=8, episodes=2, horizon=16, minibatch=2, out=tmp_path / "ppo")
    score = train_ppo.main(args)
    assert score > 5 and rows(tmp_path / "ppo" / "metrics.csv")[-1]["steps"]
    found = export.main(
        export.Args(policy=tmp_path / "ppo" / "checkpoints", out=tmp_path / "export", steps=50, onnx=False)
    )
    assert found["numpy"].holds and found["numpy"].difference <= 1e-5
    assert "single precision, largest difference from torch over 50 steps" in capsys.readouterr().out
    train_ppo.main(train_ppo.Args(resume=True, worlds=4, steps=640, episodes=2, out=tmp_path / "ppo"))
    assert json.loads((tmp_path / "ppo" / "metrics.json").read_text())["final"] == pytest.approx(score)


def test_planning_counts_its_steps_and_gets_better_than_chance(tmp_path):
    returns = plan.main(plan.Args(episodes=2, candidates=40, iterations=2, out=tmp_path))
    course = rows(tmp_path / "metrics.csv")
    assert [float(row["score"]) for row in course] == returns
    assert float(course[-1]["steps"]) == sum(returns)
    with pytest.raises(ValueError, match="the tasks are"):
        plan.main(plan.Args(task="pole", out=tmp_path))


def test_the_true_equations_are_judged_without_a_life_to_learn_from(tmp_path):
    args = plan.Args(model="truth", episodes=0, judged=1, candidates=20, iterations=1, out=tmp_path)
    assert plan.main(args) == []
    assert json.loads((tmp_path / "metrics.json").read_text())["mean"] > 50
    with pytest.raises(ValueError, match="episodes is at least 1"):
        plan.main(plan.Args(episodes=0, judged=1, out=tmp_path))


def test_a_policy_learns_in_imagination_and_is_judged_on_fresh_episodes(tmp_path):
    args = plan.Args(task="pendulum", method="critic", episodes=2, updates=2, judged=2, out=tmp_path)
    returns = plan.main(args)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert len(returns) == 2 and found["steps"] == 400
    assert len(found["judged"]) == 2 and found["mean"] == pytest.approx(sum(found["judged"]) / 2)
    assert -2000 < found["mean"] < 0


def test_each_episodes_own_recurrence_outlives_the_last_value(tmp_path):
    args = fit_world.Args(
        task="forced", episodes=16, length=170, gradient_steps=4, hidden=4, latent_steps=2, out=tmp_path
    )
    told = fit_world.main(args)
    found = {row["model"]: row["horizon_periods"] for row in told}
    assert min(found["linear, each episode"], found["fast weights"]) > 5 > 0.5 > found["last value"]
    assert [row["model"] for row in rows(tmp_path / "horizon.csv")] == list(found)
    figures = {row["model"]: row for row in told}
    assert abs(figures["fast weights"]["frequency_error"]) < 0.02 and figures["last value"]["amplitude_drift"] == -1
    assert 0 <= figures["latent"]["inside_90_10"] <= 1 and figures["latent"]["steps_per_cpu_second"] > 0
    assert (tmp_path / "error.png").stat().st_size > 5000


def test_evolved_swimmers_are_judged_in_gymnasiums_own_environment(tmp_path):
    args = evolve_swimmer.Args(seeds=[0], population=4, short=1, long=0, refine=1, finals=1, episodes=1, out=tmp_path)
    row = evolve_swimmer.main(args)[0]
    assert row["mean"] > 50 and float(rows(tmp_path / "scores.csv")[0]["mean"]) == row["mean"]


def test_the_plain_oscillator_does_not_feel_its_heading_and_the_other_does():
    obs = np.zeros((2, 8))
    obs[1, 0] = 1.0  # heading, rad
    gentle = dict(frequency=1.0, amplitude=0.3, lag=1.5, stiffness=1.0, damping=0.1, feedback=0.5, steer=0.5)
    gentle["phase"] = 0.3
    for name, gait in evolve_swimmer.GAITS.items():
        controller = gait.controller(np.tile(gait.space.encode(gentle), (2, 1)))
        torque, _ = controller.act(obs, controller.initial_state(2), step=0, first=np.ones(2, bool))
        assert np.array_equal(torque[0], torque[1]) == (name == "oscillator"), name


def test_a_salamander_evolves_and_leaves_a_gait_and_traces(tmp_path):
    args = train_salamander.Args(minutes=0.0, worlds=4, episode=30, seconds=1.0, film=False, out=tmp_path)
    train_salamander.main(args)
    gait = json.loads((tmp_path / "gait.json").read_text())
    assert gait["task"] == "swim" and gait["steps"] > 0 and (tmp_path / "traces.npz").exists()
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["cell"] == "cpg"
    for wrong in ({"task": "steer"}, {"level": "drive"}):
        with pytest.raises(ValueError, match="swim or walk through muscles"):
            train_salamander.main(train_salamander.Args(**wrong, out=tmp_path / "no"))
    with pytest.raises(ValueError, match="oscillators act on muscles"):
        train_salamander.main(train_salamander.Args(cell="oscillators", level="drive", out=tmp_path / "no"))


def test_a_policy_through_muscles_ends_its_training_in_the_published_physics(tmp_path, monkeypatch):
    made = []
    worlds = train_salamander.muscle_worlds
    monkeypatch.setattr(train_salamander, "muscle_worlds", lambda *a, **k: made.append(k["coarse"]) or worlds(*a, **k))
    args = train_salamander.Args(
        cell="oscillators",
        steps=4 * 64 * 2,
        worlds=4,
        coarse=0.5,
        seconds=1.0,
        film=False,
        out=tmp_path,
        steadiness=0.0,
        effort=0.0,
    )
    train_salamander.main(args)
    agent = MusclePPO.load(tmp_path / "checkpoints")
    assert agent.num_timesteps == 4 * 64 * 2 and made == [True, False] and agent._n_updates == 2
    course = rows(tmp_path / "metrics.csv")
    assert float(course[-1]["steps"]) == args.steps and all(0 < float(row["reward"]) < 1 for row in course)
    assert json.loads((tmp_path / "metrics.json").read_text())["frequency"] == pytest.approx(3.0, abs=1.0)
    assert (tmp_path / "plots" / "learning.png").exists()


def test_a_policy_on_drives_is_trained_and_kept_and_moves_the_animal(tmp_path):
    args = train_salamander.Args(
        task="steer", cell="gru", level="drive", steps=32 * 2, worlds=2, seconds=1.0, film=False, out=tmp_path
    )
    train_salamander.main(args)
    agent = RecurrentPPO.load(tmp_path / "checkpoints")
    assert len(np.load(tmp_path / "traces.npz")["time"]) == 100
    assert agent.num_timesteps == 64 and agent.action_space.shape == (3,) and agent.config.noise == "state"


def test_a_price_of_effort_breeds_weaker_muscles_and_tables_keep_prices_apart(tmp_path):
    gains, runs = [], []
    for price in (0.0, 50.0):
        args = train_salamander.Args(
            minutes=0.0, worlds=4, episode=24, seconds=0.8, effort=price, film=False, out=tmp_path / str(price)
        )
        train_salamander.main(args)
        gains.append(json.loads((args.out / "gait.json").read_text())["numbers"]["gain"])
        runs = learned_gaits.main(learned_gaits.Args(folders=[args.out], out=tmp_path))
    assert sum(gains[1]) < 0.7 * sum(gains[0])
    assert [run["effort"] for run in runs] == [0.0, 50.0]
    table = (tmp_path / "learned_gaits.md").read_text()
    assert table.count("coarse physics for 0.6 of the time |") == 2 and "effort 50; up to 3.8 Hz" in table


def test_of_the_last_candidates_that_is_chosen_which_swims_furthest():
    args, gait = evolve_swimmer.Args(population=4, finals=1), evolve_swimmer.GAITS["steered"]
    good = gait.space.encode({**evolve_swimmer.STATED, **evolve_swimmer.SILENT})
    poor = [gait.space.encode({**evolve_swimmer.STATED, **evolve_swimmer.SILENT, "lag": lag}) for lag in (-0.5, -1.5)]
    candidates = np.array([poor[0], good, poor[1], good])
    found = evolve_swimmer.Found(np.array(poor[1]), candidates, np.array([2.0, 1.0, 0.5, -1.0]))  # the start misled
    assert (evolve_swimmer.choose(args, gait, found, seed=0) == good).all()


def test_feedback_that_does_not_pay_is_left_out(tmp_path, monkeypatch):
    """A search that finds the worst of gaits leaves the oscillator as it was; one that finds a better gait is heard."""
    args = evolve_swimmer.Args(seeds=[0], controller="guarded", noise=0.1, delay=5, trials=4, out=tmp_path)
    gait = evolve_swimmer.GAITS["feedback"]
    numbers = dict(frequency=1.0, amplitude=0.8, lag=1.5, stiffness=2.0, damping=0.1, feedback=0.0, steer=0.0)
    numbers["phase"] = 0.0
    base, still = gait.space.encode(numbers), gait.space.encode({**numbers, "amplitude": 0.1})
    assert evolve_swimmer.better(args, gait, base, still, seed=0, steps=100) is base
    assert (evolve_swimmer.better(args, gait, still, base, seed=0, steps=100) == base).all()
