"""Lives of several episodes: what the policy is told, what stays secret, what ends when; and that memory adapts."""

import gymnasium
import numpy as np
import pytest

from agents.meta import Lives
from agents.rollout import rollout

TURNED = [[1.0], [-1.0]]


def lives(worlds=64, episodes=3, steps=5, **settings):
    env = gymnasium.make_vec("sim:oscillator/Damped-v0", num_envs=worlds, max_episode_steps=steps)
    return Lives(env, TURNED, episodes=episodes, **settings)


class Pushing:
    """The same push for ever."""

    def initial_state(self, batch):
        return ()

    def act(self, obs, state, *, step, first):
        return np.full((len(first), 1), 0.5), ()


def test_a_life_ends_with_its_last_episode_and_the_secret_lasts_as_long():
    steps = list(rollout(lives(), Pushing(), 30, seed=3))
    assert [step.step for step in steps if step.truncated.any()] == [14, 29]
    assert not any(step.terminated.any() for step in steps)
    secrets = np.array([step.info["factors"][:, 0] for step in steps])
    assert (secrets[:15] == secrets[0]).all() and (secrets[15:] == secrets[15]).all()
    assert (secrets[0] != secrets[15]).any() and set(secrets.flat) == {-1.0, 1.0}
    assert [step.info["episode"][0] for step in steps] == [k // 5 for k in range(15)] * 2


def test_a_turned_actuator_pushes_the_other_way_and_the_policy_is_told_what_it_asked_for():
    envs = lives()
    obs, _ = envs.reset(seed=0)
    calm = gymnasium.make_vec("sim:oscillator/Damped-v0", num_envs=64, max_episode_steps=5)
    calm.reset(seed=0)
    after, reward, *_, info = envs.step(np.full((64, 1), 0.5))
    same = calm.step(0.5 * info["factors"])[0]
    np.testing.assert_array_equal(after[:, :2], same)
    np.testing.assert_array_equal(after[:, 2], 0.5)
    np.testing.assert_allclose(after[:, 3], reward, rtol=1e-6)
    assert (obs[:, 2:4] == 0).all() and (obs[:, 4] == 1).all() and (after[:, 4] == 0).all()


def test_the_ends_of_episodes_are_marked_and_a_new_life_knows_nothing_of_the_old_one():
    steps = list(rollout(lives(), Pushing(), 16, seed=0))
    assert [k for k, step in enumerate(steps) if step.obs[0, 4] == 1] == [0, 5, 10, 15]
    assert (steps[5].obs[:, 2] == 0.5).all() and (steps[15].obs[:, 2:4] == 0).all()
    assert (steps[14].next_obs[:, 2] == 0.5).all()  # the true last reading, not the next life's first
    assert not np.allclose(steps[14].next_obs[:, :2], steps[15].obs[:, :2])


def test_only_the_control_is_told_the_secret():
    envs = lives(tell=True)
    obs, info = envs.reset(seed=1)
    assert obs.shape == (64, 6) and (obs[:, 5:] == info["factors"]).all()
    assert lives().reset(seed=1)[0].shape == (64, 5)


@pytest.mark.parametrize(
    ("factors", "episodes", "why"), [([[1.0, 1.0]], 3, "factors must be"), (TURNED, 0, "at least one")]
)
def test_lives_without_meaning_are_refused(factors, episodes, why):
    env = gymnasium.make_vec("sim:oscillator/Damped-v0", num_envs=2, max_episode_steps=5)
    with pytest.raises(ValueError, match=why):
        Lives(env, factors, episodes=episodes)
