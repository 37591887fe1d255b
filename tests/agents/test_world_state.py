"""Worlds whose state cannot be taken are refused by name, and a learner in them is saved without them."""

import pytest

from agents.q_tasks import make_agent, make_task
from agents.world_state import NotCapturable, capture


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
