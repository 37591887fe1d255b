"""Policies on drives and on normalised muscles move the recorded animal exactly as they move the one they learn on."""

import gymnasium
import numpy as np

from agents.drive_level import BearingDrive, drive_worlds
from agents.muscle_actors import Activations, DrivenMuscles
from agents.rollout import rollout


class Still:
    """The same normalised activations in every world."""

    def __init__(self, action):
        self.action = np.float32(action)

    def initial_state(self, batch):
        return ()

    def act(self, obs, state, *, step, first):
        return np.tile(self.action, (len(first), 1)), state


def test_drives_move_the_muscles_as_they_do_in_worlds_of_drives():
    above = drive_worlds("steer", 2)
    rule = BearingDrive(above.observation_names)
    for _ in rollout(above, rule, 3, seed=4):
        pass
    physics = {"timestep": 0.005, "integrator": "euler", "threads": 1}
    below = gymnasium.make_vec("sim:salamander/Steer-v0", 2, max_episode_steps=None, **physics)
    for _ in rollout(below, DrivenMuscles(rule), 75, seed=4):
        pass
    one, other = (env.unwrapped.salamander.qpos() for env in (above, below))
    np.testing.assert_array_equal(one, other)


def test_a_world_that_starts_anew_takes_its_generator_with_it():
    actor = DrivenMuscles(Still([0.5, 0.0, 1.0]), hold=5)
    state = actor.initial_state(2)
    first = np.ones(2, bool)
    for step in range(12):
        _, state = actor.act(None, state, step=step, first=first)
        first = np.array([step == 7, False])
    phase = state.generator.phase.numpy()
    again = actor.initial_state(1)
    for step in range(8, 12):  # its drive came with the first of its steps that could be divided by 5
        _, again = actor.act(None, again, step=step, first=np.ones(1, bool) if step == 8 else np.zeros(1, bool))
    assert np.abs(phase[0] - phase[1]).max() > 0.3
    assert not state.fresh.any()


def test_normalised_actions_become_the_same_activations():
    plain, normal = (
        gymnasium.make_vec("sim:salamander/Swim-v0", 1, threads=1, normalise_actions=flag) for flag in (False, True)
    )
    action = np.random.default_rng(0).uniform(-1.2, 1.2, 48)
    for env, actor in ((plain, Activations(Still(action))), (normal, Still(action))):
        for _ in rollout(env, actor, 20, seed=0):
            pass
    one, other = (env.unwrapped.salamander.qpos() for env in (plain, normal))
    np.testing.assert_allclose(one, other, atol=1e-6)
