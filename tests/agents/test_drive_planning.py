"""Readings of a driven animal add up to where it is; plans in a model go where they should."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.drive_planning import TURNING, ModelPilot, by_bearing, by_medium, closeness, practise, travel
from agents.drive_world import READINGS, SUBMERGED, DriveWorlds, RandomDrives, drives_of, log, path, scatter
from rnn.dynamics import DynamicsState


def readings(ahead, turn):
    found = torch.zeros(len(ahead), len(READINGS))
    found[:, -3], found[:, -1] = ahead, turn
    return found


class Kinematic:
    """A model and a world at once: at most 0.1 BL ahead and 0.2 rad round per reading."""

    obs_size = len(READINGS)

    def begin(self, obs):
        return DynamicsState(torch.zeros(len(obs), 1), obs)

    def step(self, state, action):
        obs = readings(0.05 * (action[:, 0] + 1), 0.2 * action[:, 1])
        return DynamicsState(state.cell, obs), obs


class KinematicWorlds:
    hold, num_worlds = 10, 2
    body = SimpleNamespace(dt=0.01)

    def __init__(self):
        self.position, self.heading = torch.zeros(2, 2), torch.tensor([0.0, 1.0])

    def pose(self):
        return self.position.double().numpy(), self.heading.double().numpy()

    def step(self, actions):
        action = torch.as_tensor(actions, dtype=torch.float32)
        obs = Kinematic().step(Kinematic().begin(torch.zeros(2, len(READINGS))), action)[1]
        position, heading = path(obs[None], self.position, self.heading)
        self.position, self.heading = position[0], heading[0]
        return obs.double().numpy()


TARGETS = np.array([[-2.0, 0.5], [1.0, -1.0]])


@pytest.mark.parametrize("pilot", [ModelPilot(Kinematic(), seed=0), by_bearing()], ids=["model", "bearing"])
def test_a_pilot_reaches_targets_behind_and_beside(pilot):
    worlds = KinematicWorlds()
    journey = travel(worlds, np.zeros((2, len(READINGS))), TARGETS, pilot, seconds=15)
    assert np.isfinite(journey.seconds).all() and (journey.least < 0.5).all()
    assert len(journey.track) == len(journey.readings) == round(10 * journey.seconds.max()) + 1
    # Nothing goes faster than 1 BL/s: no one arrives before the straight way would take.
    assert (journey.seconds >= np.linalg.norm(TARGETS, axis=1) - 0.5).all()


def test_a_plan_is_worth_less_the_farther_it_ends_and_the_more_it_has_to_turn():
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    track = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]])
    straight = torch.zeros(2, 2)
    assert closeness(track, straight, targets).tolist() == [-(0.5 + 0.0), -(1.5 + 2.0)]
    # Far away, facing sideways costs as much as pi/2 of `TURNING`; at the target facing does not matter.
    sideways = closeness(track, straight + torch.pi / 2, targets) - closeness(track, straight, targets)
    torch.testing.assert_close(sideways, torch.tensor([0.0, -TURNING * torch.pi / 2]))
    # A trunk that swings about the right direction faces it.
    swing = torch.tensor([1.0, 0.2, -0.2, 0.0, 0.2, -0.2])[:, None].expand(6, 2)
    still = torch.tensor([[-1.0, 0.0], [-1.0, 0.0]]).expand(6, 2, 2)
    torch.testing.assert_close(
        closeness(still, swing, targets), closeness(still, 0 * swing, targets), atol=1e-4, rtol=0.0
    )


def test_the_switching_rule_swims_in_the_deep_and_walks_elsewhere():
    wet, dry = np.zeros((2, len(READINGS)))
    wet[SUBMERGED] = 0.9
    actions = by_medium()(KinematicWorlds(), np.stack([wet, dry]), TARGETS)
    mean = sum(drives_of(actions)) / 2
    assert mean == pytest.approx([4.0, 2.0], abs=0.02)


@pytest.mark.parametrize("world", ["land", "shore"])
def test_practice_goes_from_place_to_place_and_is_logged_as_it_was_driven(world):
    asked = []

    def pilot(worlds, readings, targets):
        asked.append(targets.copy())
        return np.tile([0.5, 0.1 * len(asked)], (2, 1))

    obs, actions = practise(world, pilot, 2, 3, seed=4)
    assert obs.shape == (4, 2, len(READINGS)) and actions.shape == (3, 2, 2)
    torch.testing.assert_close(actions[:, 0, 1], torch.tensor([0.1, 0.2, 0.3]))
    assert np.isfinite(asked[0]).all() and (asked[0] == asked[2]).all()  # far away: not reached in 0.3 s
    # Under the same actions from the same start, the same motion.
    worlds = DriveWorlds(2, world=world)
    worlds.start(*scatter(world, 2, np.random.default_rng(4)))
    again = [worlds.step(action) for action in actions.double().numpy()]
    torch.testing.assert_close(obs[1:].double(), torch.as_tensor(np.array(again)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("world", ["pool", "shore"])
def test_displacements_add_up_to_where_the_animal_is(world):
    worlds = DriveWorlds(2, world=world)
    first = worlds.start([[0.5, 0.0], [2.5, 0.3]], [0.3, -2.0])
    begin = [torch.as_tensor(part) for part in worlds.pose()]
    drives, seen = RandomDrives(2, np.random.default_rng(0)), []
    for _ in range(8):
        seen.append(torch.as_tensor(worlds.step(drives())))
    position, heading = path(torch.stack(seen), *begin)
    torch.testing.assert_close(position[-1], torch.as_tensor(worlds.pose()[0]))
    turned = heading[-1] - torch.as_tensor(worlds.pose()[1])
    torch.testing.assert_close(turned.cos(), torch.ones(2, dtype=torch.double))
    assert first.shape == (2, len(READINGS)) and (first[:, -3:] == 0).all()


def test_a_copied_world_goes_on_exactly_as_its_origin():
    origin, copies = DriveWorlds(2, world="shore"), DriveWorlds(3, world="shore")
    origin.start([[0.0, 0.0], [3.0, 0.0]], [0.0, 1.0])
    for _ in range(3):
        origin.step([[0.5, 0.2], [0.7, -0.4]])
    copies.become(origin, 1)
    theirs, ours = copies.step([[0.1, 0.9]] * 3), origin.step([[-0.5, 0.0], [0.1, 0.9]])
    np.testing.assert_allclose(theirs, np.repeat(ours[1:], 3, 0), atol=1e-6)  # single precision of the network


def test_random_drives_are_held_and_logged_as_they_were_given():
    drives = RandomDrives(3, np.random.default_rng(1))
    course = np.array([drives() for _ in range(400)])
    changes = np.flatnonzero((course[1:, 0] != course[:-1, 0]).any(1)) + 1
    assert 3 <= np.diff(changes).min() and np.diff(changes).max() <= 25
    assert np.abs(course).max() <= 1 and 0.3 < (course[..., 1] == 0).mean() < 0.7
    obs, actions = log("land", 2, 4, seed=7)
    again = log("land", 2, 4, seed=7)
    assert obs.shape == (5, 2, len(READINGS)) and actions.shape == (4, 2, 2)
    assert torch.equal(obs, again[0]) and torch.equal(actions, again[1])


def test_more_drive_on_the_left_is_a_positive_action_and_all_stay_in_range():
    left, right = drives_of([[0.0, 1.0], [-3.0, 0.0]])
    assert left[0] - right[0] == 2.0 and left[1] == right[1] == 0.5


def test_worlds_refuse_the_wrong_number_of_actions():
    with pytest.raises(ValueError, match=r"\(1, 2\), received \(2, 2\)"):
        DriveWorlds(1, world="land").step(np.zeros((2, 2)))
