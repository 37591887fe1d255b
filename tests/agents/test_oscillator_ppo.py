"""Oscillators under PPO: they begin as the rhythm that was stated, what is sensed is learned, and what does not fit
is refused."""

import numpy as np
import pytest
import torch

from agents.evaluation import Greedy
from agents.mujoco_batch import ForwardBatch
from agents.oscillator_ppo import OscillatorPPO
from agents.rollout import rollout
from benchmarks import oscillator_policies

SWIMMER = {"angles": (1, 2), "velocities": (6, 7)}


def test_the_start_is_the_stated_rhythm_with_a_spring_and_a_damper():
    agent = OscillatorPPO(ForwardBatch("Swimmer-v5", 2), frequency=0.8, amplitude=0.6, stiffness=1.5, **SWIMMER)
    network = agent.network
    obs = torch.zeros(300, 1, 8)
    obs[:, :, 1], obs[:, :, 6] = 0.2, -1.0  # the first joint stands aside and moves back
    with torch.no_grad():
        mean = network.evaluate(obs, network.initial_state(1))[0].mean[:, 0].numpy()
    t = np.arange(1, 301) * 0.04
    steady = slice(100, None)
    first = (mean[:, 0] + 1.5 * 0.2 + 0.1 * -1.0) / 1.5  # what is left is the first oscillator's target, rad
    assert first[steady].max() == pytest.approx(0.6, rel=0.02) and first[steady].min() == pytest.approx(-0.6, rel=0.02)
    np.testing.assert_allclose(first[steady], 0.6 * np.cos(2 * np.pi * 0.8 * t[steady]), atol=0.01)
    np.testing.assert_allclose(mean[steady, 1] / 1.5, 0.6 * np.sin(2 * np.pi * 0.8 * t[steady]), atol=0.01)


def test_the_start_swims_and_two_rollouts_of_learning_move_oscillators_and_feedback():
    agent = OscillatorPPO(ForwardBatch("Swimmer-v5", 4), horizon=32, minibatch=8, epochs=2, **SWIMMER)
    total = sum(step.reward.mean() for step in rollout(ForwardBatch("Swimmer-v5", 2), Greedy(agent), 200, seed=0))
    assert total > 15
    before = {name: p.detach().clone() for name, p in agent.network.actor_cell.named_parameters()}
    agent.learn(2 * 32 * 4)
    moved = {name for name, p in agent.network.actor_cell.named_parameters() if not torch.equal(p, before[name])}
    assert {"cpg.nu0", "cpg.bias", "cpg.coupling", "cpg.r0", "sense.weight", "base"} <= moved


def test_with_a_mirror_what_was_learned_does_to_the_left_what_it_does_to_the_right():
    mirror = (-1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0)
    settings = {"horizon": 16, "sequence_length": 16, "minibatch": 2, "noise": "state", "learning_rate": 0.01}
    agent = OscillatorPPO(ForwardBatch("Swimmer-v5", 4), mirror=mirror, **settings, **SWIMMER)
    before = agent.network.actor_cell.sense.weight.detach().clone()
    agent.learn(2 * 16 * 4)
    assert not torch.equal(agent.network.actor_cell.sense.weight, before)
    obs, state = torch.randn(30, 1, 8), agent.network.initial_state(1)
    cpg = state.actor.cpg
    swapped = state._replace(actor=state.actor._replace(cpg=cpg._replace(phase=cpg.phase.roll(2, 1))))
    with torch.no_grad():
        mean = agent.network.evaluate(obs, state)[0].mean
        image = agent.network.evaluate(obs * torch.tensor(mirror), swapped)[0].mean
    assert mean.abs().max() > 0.5
    torch.testing.assert_close(image, -mean, atol=1e-4, rtol=0)


def test_places_that_do_not_match_the_actions_are_refused():
    with pytest.raises(ValueError, match="2 actions need the places of 2 joint angles"):
        OscillatorPPO(ForwardBatch("Swimmer-v5", 1), angles=(1,), velocities=(6, 7))


def test_a_saved_agent_swims_as_before(tmp_path):
    agent = OscillatorPPO(ForwardBatch("Swimmer-v5", 2), horizon=16, minibatch=8, epochs=1, **SWIMMER).learn(32)
    agent.save(tmp_path)
    with pytest.warns(UserWarning, match="fresh episodes start"):
        again = OscillatorPPO.load(tmp_path, ForwardBatch("Swimmer-v5", 2))
    obs = np.random.default_rng(0).normal(size=(2, 8))
    np.testing.assert_array_equal(*(a.predict(obs, deterministic=True)[0] for a in (agent, again)))


def test_the_benchmark_goes_on_where_it_stopped(tmp_path):
    few = {"tasks": ["Swimmer-v5"], "steps": 512, "worlds": 4, "episodes": 1, "length": 150, "out": tmp_path}
    first = oscillator_policies.main(oscillator_policies.Args(arms=["oscillators"], seeds=[3], **few))
    again = oscillator_policies.main(oscillator_policies.Args(arms=["oscillators"], seeds=[3], **few))
    assert len(again) == 1 and again[0]["cpu_seconds"] == first[0]["cpu_seconds"]  # nothing was run again
    assert first[0]["start"] > 10  # the rhythm swims before it has learned anything
    more = oscillator_policies.main(oscillator_policies.Args(arms=["drives", "held drives"], seeds=[3], **few))
    assert [run["start"] > 10 for run in more] == [True, True, True]
    table = (tmp_path / "oscillator_policies.md").read_text()
    assert "| Swimmer-v5 | oscillators | 512 | 1 |" in table and "| Swimmer-v5 | held drives | 512 | 1 |" in table
