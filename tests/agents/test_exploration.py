"""Random actions that last reach what single random actions do not."""

import numpy as np
import pytest

from agents.exploration import HeldActions
from agents.q_tasks import SETTINGS, make_task


def goals(name, hold, worlds, steps):
    """How often random play ends an episode by reaching the goal."""
    env, rng = make_task(name, worlds), np.random.default_rng(0)
    held, found = HeldActions(worlds, int(env.single_action_space.n), hold), 0
    env.reset(seed=0)
    for _ in range(steps):
        _, _, terminated, _, _ = env.step(held(np.zeros(worlds, dtype=np.int64), 1.0, rng))
        found += int(terminated.sum())
    return found


@pytest.mark.parametrize(("name", "worlds", "steps"), [("MountainCar-v0", 40, 199), ("Acrobot-v1", 12, 499)])
def test_the_first_goals_are_found_by_random_actions_that_last(name, worlds, steps):
    hold = SETTINGS[name]["recurrent_dqn"]["hold"]
    assert goals(name, hold, worlds, steps) >= 3
    assert goals(name, 1, worlds, steps) == 0
