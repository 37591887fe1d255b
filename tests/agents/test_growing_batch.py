"""The growing batch, windows of kept actions, and patterns where nothing was tried."""

import gymnasium
import numpy as np
import pytest

from agents.fitted_q import FittedQ
from agents.growing_batch import GrowingBatch
from agents.held_windows import held_windows, keep_actions
from agents.optimism import unknown_pairs


def by_hand(action, cost, ended, gamma, reach, worlds):
    """The same windows, one after the other."""
    rows = []
    for start in range(len(action)):
        steps = [start]
        while len(steps) < reach and not ended[steps[-1]] and (following := steps[-1] + worlds) < len(action):
            if action[following] != action[start]:
                break
            steps.append(following)
        rows.append((sum(gamma**j * cost[t] for j, t in enumerate(steps)), steps[-1], gamma ** (len(steps) - 1)))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("worlds", [1, 3])
@pytest.mark.parametrize("reach", [1, 2, 6])
def test_windows_are_those_found_step_by_step(worlds, reach):
    rng = np.random.default_rng(worlds)
    action, cost, ended = rng.integers(2, size=90), rng.random(90), rng.random(90) < 0.1
    action = np.repeat(action[:45], 2)
    found = held_windows(action, cost, ended, gamma=0.9, reach=reach, worlds=worlds)
    for ours, theirs in zip(found, by_hand(action, cost, ended, 0.9, reach, worlds), strict=True):
        assert np.allclose(ours, theirs)


def test_targets_of_windows_are_the_costs_to_go_of_the_behaviour_whatever_their_reach():
    """A body that goes right for ever at 1 a step, V(x) = (1 - gamma^(10 - x)) / (1 - gamma): all windows agree."""
    gamma, x = 0.9, np.arange(10.0)
    to_go = lambda x: (1 - gamma ** (10 - x)) / (1 - gamma)
    for reach in (1, 4, 20):
        batch = GrowingBatch(1, 1, gamma=gamma, reach=reach)
        for at in x:
            batch.add(
                np.array([[at]]),
                np.array([1]),
                np.ones(1),
                np.array([[at + 1]]),
                np.array([at == 9]),
                np.zeros(1, bool),
            )
        assert batch.gather() == 10
        target = batch.cost + gamma * batch.discount * to_go(batch.after[:, 0])
        assert np.allclose(target, to_go(x), atol=1e-5)


def test_a_time_limit_ends_a_window_but_not_its_future():
    batch = GrowingBatch(1, 1, gamma=0.5, reach=3)
    for t in range(4):
        ends = np.array([t == 1])
        batch.add(np.array([[t]]), np.array([0]), np.ones(1), np.array([[t + 1]]), np.zeros(1, bool), ends)
    batch.gather()
    assert batch.after[:, 0].tolist() == [2, 2, 4, 4]
    assert batch.discount.tolist() == [0.5, 1, 0.5, 1]


def test_the_oldest_transitions_go_first():
    batch = GrowingBatch(1, 2, gamma=0.9, most=6)
    for t in range(5):
        batch.add(
            np.full((2, 1), t),
            np.zeros(2, int),
            np.ones(2),
            np.full((2, 1), t + 1),
            np.zeros(2, bool),
            np.zeros(2, bool),
        )
    assert batch.gather() == 6 and batch.obs[:, 0].tolist() == [2, 2, 3, 3, 4, 4]


def test_actions_are_kept_for_their_time_and_no_longer_than_their_episode():
    first = np.zeros((12, 2), bool)
    first[6, 1] = True
    action, left, taken = *np.zeros((2, 2), int), []
    for wanted, starts in zip(np.arange(24).reshape(12, 2), first, strict=True):
        action, left = keep_actions(wanted, action, left, starts, 4)
        taken.append(action.tolist())
    assert [a for a, _ in taken] == [0] * 4 + [8] * 4 + [16] * 4
    assert [b for _, b in taken] == [1] * 4 + [9] * 2 + [13] * 4 + [21] * 2


def test_a_policy_keeps_its_actions_up_in_evaluation_as_in_learning_and_forgets_them_with_the_episode():
    space = gymnasium.spaces.Box(-1, 1, (1,)), gymnasium.spaces.Discrete(2)
    agent = FittedQ(None, space_pair=space, reach=3)
    agent.values = lambda obs: np.stack([obs[:, 0], -obs[:, 0]], 1)  # the first action below 0, the second above
    state, taken = None, []
    for t, x in enumerate([-1, 1, 1, 1, -1, -1]):
        action, state = agent.predict(np.array([x], np.float32), state, np.array([t in (0, 5)]), deterministic=True)
        taken.append(int(action))
    assert taken == [0, 0, 0, 1, 1, 0]


def test_nothing_near_what_was_tried_is_unknown_and_all_else_is():
    rng, low, high = np.random.default_rng(0), np.array([-1.0, 0.0]), np.array([1.0, 10.0])
    tried, action = rng.uniform(low, [0, 5], (400, 2)), np.zeros(400, int)
    states, actions = unknown_pairs(low, high, tried, action, num_actions=2, count=500, radius=0.1, rng=rng)
    near = lambda s: (np.linalg.norm((tried - s) / (high - low), axis=1) <= 0.1).any()
    assert not any(near(s) for s in states[actions == 0])
    assert 300 < (actions == 0).sum() < 420  # three quarters of the box lie beyond, less the rim
    assert (actions == 1).sum() == 500
    with pytest.raises(ValueError, match="finite sides"):
        unknown_pairs(low, np.array([np.inf, 1]), tried, action, num_actions=2, count=5, radius=0.1, rng=rng)


def test_optimism_finds_a_goal_that_random_actions_do_not():
    settings = dict(model="random_trees", trees=10, leaf=1, sweeps=100, settled=1e-3, reach=10, hold=10,
                    random_steps=200, refit_every=200, epsilon=0.0)  # fmt: skip
    blind, curious = [
        FittedQ("MountainCar-v0", seed=0, num_envs=4, unknown=unknown, known_within=0.1, **settings).learn(2000)
        for unknown in (0, 200)
    ]
    highest = lambda agent: float(agent.data.gather() and agent.data.after[:, 0].max())
    assert highest(curious) > 0.2 > highest(blind)


def test_optimism_needs_a_box_with_sides():
    with pytest.raises(ValueError, match="finite sides"):
        FittedQ("CartPole-v1", unknown=10)
