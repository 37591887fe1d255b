"""A mirror image is what a mirrored body would have lived: in the replay, in the values, and in the newt itself."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.drive_task import MIRROR, DriveTask
from agents.mirror import Mirror, mirrored, with_image
from agents.recurrent_dqn import RecurrentDQN
from agents.recurrent_fitted_q import RecurrentFittedQ


class OneSided(gymnasium.Env):
    """A cue and a choice: 1 for the action on the cue's side, else 0. Only cues on the right are ever shown."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.ones(1, np.float32), float(action == 1), self.t == 3, False, {}


SIDES = {"mirror_signs": (-1.0,), "mirror_actions": (1, 0)}
SMALL = dict(hidden_size=12, heads=0, lr=1e-2, lr_end=1.0, gamma=0.0, length=6, warmup=100, target_rate=0.1)


def worlds():
    return SyncVectorEnv([OneSided] * 8, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RecurrentDQN, {"burn_in": 2, "n_step": 1, "updates_per_step": 0.2}),
        (RecurrentFittedQ, {"refit_every": 100, "batch": 8, "target_rate": 0.5}),
    ],
)
def test_a_learner_with_a_mirror_knows_the_side_that_it_never_saw(kind, settings):
    one, first = torch.ones(1, dtype=torch.bool), torch.tensor([[-1.0]])
    seen_only = kind(worlds(), seed=0, epsilon=0.5, **{**SMALL, **settings}).learn(400)
    agent = kind(worlds(), seed=0, epsilon=0.5, **{**SMALL, **SIDES, **settings}).learn(400)
    q = agent.scores(first, agent.initial_state(1), one)[0]
    assert torch.allclose(q, torch.tensor([1.0, 0.0]), atol=0.15)
    assert not torch.allclose(
        seen_only.scores(first, seen_only.initial_state(1), one)[0], torch.tensor([1.0, 0.0]), atol=0.15
    )


def test_the_image_of_the_image_is_what_was_lived_and_the_others_are_left_alone():
    agent = RecurrentDQN(worlds(), seed=2, **{**SMALL, "warmup": 10_000}).learn(320)
    data, mirror = agent.replay.sample(6, agent.rng), Mirror((-1.0,), (1, 0), 1, 2)
    flip = torch.tensor([True, False] * 3)
    fresh = [torch.full_like(part, 5.0) for part in data.state]
    image = mirrored(data, mirror, flip, fresh)
    assert torch.equal(image.obs[:, 0], -data.obs[:, 0]) and torch.equal(image.obs[:, 1], data.obs[:, 1])
    assert torch.equal(image.action[:, 2], 1 - data.action[:, 2]) and torch.equal(image.reward, data.reward)
    assert (image.state[0][flip] == 5).all() and torch.equal(image.state[0][~flip], data.state[0][~flip])
    back = mirrored(image, mirror, flip, data.state)
    assert all(torch.equal(getattr(back, name), getattr(data, name)) for name in ("obs", "before", "action"))
    tape = with_image(data, mirror)
    assert tape.obs.shape[1] == 12 and torch.equal(tape.before[:, 6:], 1 - data.before)


def test_the_newt_in_a_mirror_sees_what_its_mirror_says():
    """On the mean over strokes (which begin on one side), turning right is the image of turning left."""
    env = DriveTask(2, blink=None, limit=400, hold=5, timestep=0.005, integrator="euler", threads=1)
    env.reset(seed=0)
    seen = [env.step(np.array([1, 2]))[0] for _ in range(90)]
    mirror = Mirror(**{k.removeprefix("mirror_"): v for k, v in MIRROR.items()}, obs_size=17, num_actions=6)
    course = torch.as_tensor(np.stack(seen[30:]))
    means = torch.stack([course[:, 0], mirror.obs(course[:, 1])]).mean(1)
    side = [env.observation_names.index(n) for n in ("side", "level", "velocity.forward", "yaw_rate")]
    assert torch.allclose(means[0, side], means[1, side], atol=0.03), means[:, side]
    assert means[0, side[0]] == 1 and means[0, side[3]].abs() > 0.01


@pytest.mark.parametrize(
    ("signs", "actions", "said"),
    [
        ((1.0, -1.0), (1, 0), "each of 1 observations"),
        ((0.5,), (1, 0), "1 or -1"),
        ((-1.0,), (1, 1), "2 actions"),
        ((-1.0,), None, "together"),
    ],
)
def test_a_mirror_that_is_none_is_refused(signs, actions, said):
    with pytest.raises(ValueError, match=said):
        RecurrentDQN(worlds(), mirror_signs=signs, mirror_actions=actions)
