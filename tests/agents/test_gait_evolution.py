"""Evolved gaits of the salamander: what costs, what does not, and what the network keeps whatever is learned."""

import gymnasium
import numpy as np
import pytest

from agents.gait_evolution import DUTY, Prices, evolve_gait, stumbling, sway
from agents.salamander_gait import SalamanderGait

DT = 0.01  # s


def test_a_calm_gait_costs_nothing_and_swaying_turning_and_haste_do():
    env = gymnasium.make_vec("sim:salamander/Swim-v0", num_envs=4, threads=1)  # wanted: 0.7 BL/s
    names, obs = env.unwrapped.observation_names, np.zeros((4, env.single_observation_space.shape[0]))
    obs[:, names.index("velocity.forward")] = [0.7, 0.7, 0.7, 0.7 * 4 / 3 + 0.1]
    obs[:, names.index("velocity.left")] = [0.0, 0.2, 0.0, 0.0]
    obs[:, names.index("heading.cos")] = [1.0, 1.0, np.cos(0.1), 1.0]
    assert sway(env, obs) == pytest.approx([0.0, 0.04, 0.01, 0.1], abs=1e-4)


def test_planted_feet_with_the_newts_duty_factor_cost_nothing_and_sliding_standing_and_hovering_feet_do():
    t = np.arange(400)
    walking = np.stack([(t + lead) % 100 < 76 for lead in (0, 50, 60, 10)], 1)  # 1 Hz, duty factor 0.76
    contact = np.stack([walking, walking, np.ones_like(walking), np.zeros_like(walking)], 1)  # [T, 4 worlds, 4 feet]
    feet = np.zeros((400, 4, 4, 3))
    feet[:, 1, 0, 0] = 0.2 * t * DT  # BL: one foot of the second world slides at 0.2 BL/s
    cost = stumbling(contact, feet, DT, Prices(slip=1.0, duty=10.0))
    usual, free = DUTY
    expected = [0.0, 0.2 / 4, 10 * 4 * (1 - usual - free), 10 * 4 * (usual - free)]
    assert cost == pytest.approx(expected, abs=1e-9)


def test_a_walking_trunk_bends_against_the_tail_base_and_the_joint_behind_the_hips_not_at_all():
    """Whatever the weights: muscles' pull, left less right, at each spine joint."""
    gait = SalamanderGait("walk")
    controller = gait.controller(np.random.default_rng(1).uniform(0.05, 0.95, (5, gait.space.size)))
    state, pulls = controller.initial_state(5), []
    for step in range(200):
        action, state = controller.act(None, state, step=step, first=np.zeros(5, bool))
        pulls.append(action[:, :16:2] - action[:, 1:16:2])
    pull = np.array(pulls) / controller.gain.numpy()  # [T, 5, 8]
    assert np.abs(pull[..., 3]).max() < 1e-4  # hips at 0.461 of the body, this joint at 0.471
    np.testing.assert_allclose(pull[..., 1], -pull[..., 5], atol=1e-4)
    np.testing.assert_allclose(pull[..., 1], pull[..., 2], atol=1e-6)
    assert (np.ptp(pull[..., 1], axis=0) > 0.9).all()


def test_a_search_repeats_itself_and_hands_out_what_it_ends_with():
    found = []
    for _ in range(2):
        rows = []
        _, unit = evolve_gait("walk", minutes=0.0, worlds=4, episode=12, after=lambda *row: rows.append(row))  # noqa: B023
        (_, _, first), (end, last, steps) = rows  # with no time: one generation, and the end
        assert end == {} and np.array_equal(last, unit) and (first, steps) == (5 * 4 * 12, 6 * 4 * 12)
        found.append(unit)
    assert np.array_equal(*found)
