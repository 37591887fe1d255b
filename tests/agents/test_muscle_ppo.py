"""PPO through 48 muscles: the stated start, worlds that are out of step, and what does not fit."""

import gymnasium
import numpy as np
import pytest
import torch

from agents.evaluation import Greedy
from agents.gait_evolution import Prices
from agents.muscle_ppo import MusclePPO, muscle_settings, muscle_worlds
from agents.rollout import rollout
from sim.anatomy import MAX_ACTIVATION


def test_the_start_is_a_wave_of_the_stated_gain_and_limbs_of_the_stated_tone():
    agent = MusclePPO(muscle_worlds("swim", 1), frequency=2.5, lag=0.1, gain=0.3, tone=0.2)
    network = agent.network
    with torch.no_grad():
        mean = network.evaluate(torch.zeros(400, 1, 70), network.initial_state(1))[0].mean[200:, 0].numpy()
    activation = 0.5 * MAX_ACTIVATION * (mean + 1)
    np.testing.assert_allclose(activation[:, 16:], 0.2 * 4, atol=1e-5)
    spine = activation[:, :16]
    assert spine.min() == pytest.approx(0, abs=0.01) and spine.max() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(spine[:, ::2] + spine[:, 1::2], 0.3, atol=0.01)  # the sides in turn
    np.testing.assert_allclose(spine[40:, 0], spine[:-40, 0], atol=0.01)  # every 0.4 s
    np.testing.assert_allclose(spine[4:, 2], spine[:-4, 0], atol=0.01)  # a segment later a tenth of that later


def test_a_few_rollouts_of_learning_move_oscillators_muscles_and_feedback():
    agent = MusclePPO(
        muscle_worlds("swim", 4), horizon=32, minibatch=4, epochs=2, **muscle_settings("swim", "oscillators")
    )
    before = {name: p.detach().clone() for name, p in agent.network.named_parameters()}
    agent.learn(2 * 32 * 4)
    moved = {name for name, p in agent.network.named_parameters() if not torch.equal(p, before[name])}
    actor = {f"actor_cell.{name}" for name in ("cpg.nu0", "cpg.bias", "cpg.coupling", "cpg.r0", "sense.weight", "base")}
    assert actor | {"head.linear.weight", "head.linear.bias", "head.log_std"} <= moved


def test_another_cell_begins_with_the_same_posture():
    for task, tone in (("swim", -0.5), ("walk", 0.0)):
        agent = MusclePPO(muscle_worlds(task, 2), **muscle_settings(task, "gru"))
        actor, obs = Greedy(agent), np.zeros((2, 70), np.float32)
        action = actor.act(obs, agent.initial_state(2), step=0, first=np.ones(2, bool))[0]
        np.testing.assert_allclose(action[:, :16], -1, atol=0.05)
        np.testing.assert_allclose(action[:, 16:], tone, atol=0.05)


def test_the_stated_step_gets_an_animal_ahead_on_feet_that_carry_it():
    env = muscle_worlds("walk", 1, coarse=False, steps=1000)
    agent = MusclePPO(env, **muscle_settings("walk", "oscillators", env.unwrapped.observation_names))
    body, places, stands = env.unwrapped.salamander, [], []
    for _ in rollout(env, Greedy(agent), 400, seed=0):
        places.append(body.centre_of_mass()[0, 0] / body.length)
        stands.append(body.foot_contact()[0])
    assert 0.05 < (places[-1] - places[99]) / 3.0 < 0.15  # BL/s
    duty = np.mean(stands[100:], 0)
    assert 0.4 < duty.min() and 0.65 < duty.mean() < 0.85
    np.testing.assert_allclose(duty[::2], duty[1::2], atol=0.05)  # left and right alike


def test_first_episodes_end_one_after_the_other_and_later_ones_are_whole():
    class Rest:
        def initial_state(self, batch):
            return ()

        def act(self, obs, state, *, step, first):
            return np.full((len(first), 48), -1.0, np.float32), state

    ends = np.stack([step.truncated for step in rollout(muscle_worlds("swim", 4, steps=20), Rest(), 40, seed=0)])
    assert [np.flatnonzero(column).tolist() for column in ends.T] == [[19, 39], [14, 34], [9, 29], [4, 24]]


def test_prices_take_off_what_power_swaying_and_bending_cost():
    free, priced = (
        muscle_worlds("swim", 2, prices=p) for p in (None, Prices(steadiness=0.5, effort=0.02, bending=3.0))
    )
    action = np.full((2, 48), -1.0, np.float32)
    action[0, :16:2] = -0.6  # the first bends to the left, the other rests
    for env in (free, priced):
        env.reset(seed=0)
    for _ in range(5):
        reward, less = (env.step(action)[1] for env in (free, priced))
        body = priced.unwrapped.salamander
        power = body.muscle_power() / (body.mass * 9.81 * body.length)
        bend = np.square(body.joint_angles()[:, :8]).mean(1)
        paid = reward - less - 0.02 * power - 3.0 * bend
        obs = priced.unwrapped._last
        across, cosine = obs[:, 49], obs[:, 55]
        np.testing.assert_allclose(paid, 0.5 * (across**2 + 2 * (1 - cosine)), atol=1e-3)
        assert reward[0] - less[0] > 5 * abs(reward[1] - less[1])


def test_actions_that_are_not_normalised_muscles_are_refused():
    for options in ({"control": "joint", "normalise_actions": True}, {}):
        with pytest.raises(ValueError, match="48 muscles with normalise_actions=True"):
            MusclePPO(gymnasium.make_vec("sim:salamander/Swim-v0", 1, threads=1, **options))


def test_a_saved_agent_swims_as_before_and_goes_on_learning_the_same_on_both_sides(tmp_path):
    env = muscle_worlds("swim", 2)
    settings = muscle_settings("swim", "oscillators", env.unwrapped.observation_names)
    agent = MusclePPO(env, horizon=32, minibatch=4, epochs=1, **settings).learn(64)
    agent.save(tmp_path)
    again = MusclePPO.load(tmp_path)
    obs = np.random.default_rng(0).normal(size=(2, 70))
    np.testing.assert_array_equal(*(a.predict(obs, deterministic=True)[0] for a in (agent, again)))
    assert tuple(again.config.senses) == env.unwrapped.observation_names
