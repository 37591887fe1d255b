"""Rules and searches against answers that are known."""

import numpy as np
import pytest

from agents.rules import BearingRule, LinearMap, PositionMap, search_map, search_weights


def test_the_search_for_a_memoryless_map_finds_a_known_one():
    wanted = np.array([0, 4, 1, 1, 2, 3, 0, 2, 4])
    found = search_map(lambda actor: -float((actor.table != wanted).sum()), 5, rounds=25, size=40)
    assert (found.table == wanted).sum() >= 8
    action, _ = PositionMap(wanted).act(np.array([[-3.0], [-1.1], [1.4]]), (), step=0, first=None)
    assert action.tolist() == [0, 4, 4]


def test_the_search_for_weights_finds_known_ones():
    wanted = np.array([0.5, -0.3, 0.8, 0.1])
    found = search_weights(lambda actor: -float(np.square(actor.weights - wanted).sum()), np.zeros(1), rounds=30)
    assert np.abs(found.weights - wanted).max() < 0.1


def test_a_linear_map_takes_the_nearest_force_and_never_looks_at_the_velocity():
    actor = LinearMap(np.array([1.0, 0.0, 0.0, 0.2]), np.array([-1.0, 0.0, 1.0]))
    obs = np.array([[0.1, 9.0, 0.0, 0.0], [0.5, -9.0, 0.0, 0.0], [-2.0, 0.0, 0.0, 0.0]])
    assert actor.act(obs, (), step=0, first=np.zeros(3, bool))[0].tolist() == [1, 2, 0]


@pytest.mark.parametrize(("holds", "later"), [(True, [1, 2]), (False, [0, 0])])
def test_a_bearing_is_acted_on_in_the_dark_only_by_who_holds_it(holds, later):
    rule = BearingRule(("bearing.cos", "bearing.sin", "visible"), holds=holds)
    seen, dark = np.array([[0.0, 1.0, 1.0], [0.0, -1.0, 1.0]]), np.zeros((2, 3))
    action, state = rule.act(seen, rule.initial_state(2), step=0, first=np.ones(2, bool))
    assert action.tolist() == [1, 2]  # left, right
    action, state = rule.act(dark, state, step=1, first=np.zeros(2, bool))
    assert action.tolist() == later
    assert rule.act(dark, state, step=2, first=np.ones(2, bool))[0].tolist() == [0, 0]  # another episode
