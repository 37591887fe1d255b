"""Worlds whose state cannot be taken are refused by name, and a learner in them is saved without them."""

from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest

from agents.q_tasks import make_agent, make_task
from agents.world_state import NotCapturable, capture, restore


@dataclass(frozen=True)
class Prices:
    effort: float


def test_a_world_that_holds_frozen_settings_goes_on_where_it_was():
    worlds = [gymnasium.make("CartPole-v1") for _ in range(2)]
    for world in worlds:
        world.unwrapped.prices = Prices(0.5)
        world.reset(seed=0)
    for _ in range(5):
        worlds[0].step(1)
    restore(worlds[1], capture(worlds[0]))
    np.testing.assert_array_equal(worlds[1].step(0)[0], worlds[0].step(0)[0])
    assert worlds[1].unwrapped.prices == Prices(0.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Box2D's bindings
def test_a_learner_in_a_world_of_box2d_is_saved_without_it_and_goes_on_in_fresh_episodes(tmp_path):
    pytest.importorskip("Box2D")
    env = make_task("LunarLander-v3", 2)
    with pytest.raises(NotCapturable, match="Swig"):
        capture(env)
    agent = make_agent("dqn", "LunarLander-v3", env, hidden_size=4, heads=4).learn(6)
    agent.save(tmp_path / "last")
    with pytest.warns(UserWarning, match="fresh episodes"):
        again = type(agent).load(tmp_path / "last", make_task("LunarLander-v3", 2))
    assert again.num_timesteps == 6


def test_a_learner_in_a_world_with_a_map_of_letters_is_saved_and_goes_on_in_the_same_place(tmp_path):
    agent = make_agent("dqn", "FrozenLake-v1", gymnasium.make("FrozenLake-v1"), hidden_size=4, heads=1).learn(6)
    agent.save(tmp_path)
    again = type(agent).load(tmp_path, gymnasium.make("FrozenLake-v1"))
    assert again.worlds.env.envs[0].unwrapped.s == agent.worlds.env.envs[0].unwrapped.s
    np.testing.assert_array_equal(again.worlds.obs, agent.worlds.obs)
