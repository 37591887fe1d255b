"""Readings of a driven animal add up to where it is; plans in a model go where they should."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.drive_journeys import by_bearing, by_medium, practise, travel
from agents.drive_planning import (
    ARC,
    NEAR,
    RADIUS,
    SPEED,
    ModelPilot,
    SimulatorPilot,
    awake,
    closeness,
    to_go,
)
from agents.drive_world import (
    CLEARANCE,
    REACH,
    READINGS,
    SHALLOWS,
    STATIONS,
    SUBMERGED,
    SWITCHES,
    DriveWorlds,
    RandomDrives,
    drives_of,
    log,
    mirrored,
    path,
    scatter,
)
from agents.promises import Promises
from rnn.cpg import PhaseCell, drive_input
from rnn.dynamics import DynamicsState
from sim.anatomy import MUSCLE_NAMES


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


def shortest(bearing, distance, R, arc):
    """By trying: on the circle for n small steps, then straight on from the first from where the target is ahead."""
    angle = np.linspace(0, 2 * np.pi, 200_000)
    place = R * np.stack([np.sin(angle), 1 - np.cos(angle)], 1)
    way = distance * np.array([np.cos(bearing), np.sin(bearing)]) - place
    off = np.remainder(np.arctan2(way[:, 1], way[:, 0]) - angle + 1e-3, 2 * np.pi)
    first = int(np.argmax(off < 2e-3))
    return R * arc * angle[first] + np.linalg.norm(way[first]) - NEAR


@pytest.mark.parametrize("wet", [0, 1])
def test_what_is_left_to_go_is_an_arc_and_a_straight_way(wet):
    bearing, distance = np.array([0.0, 0.5, 1.0, 2.5, -2.5, 3.1]), np.array([2.0, 3.0, 4.0, 3.0, 3.0, 1.0])
    targets = torch.tensor(distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], 1))
    found = to_go(torch.zeros(6, 2), torch.zeros(6), targets, torch.full((6,), 0.9 * wet))
    expected = [shortest(abs(b), d, RADIUS[wet], ARC[wet]) for b, d in zip(bearing, distance, strict=True)]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_who_has_the_target_inside_the_circle_has_to_go_away_first():
    here, dry = (torch.zeros(2, 2), torch.zeros(2)), torch.zeros(2)
    beside, ahead = to_go(*here, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), dry).tolist()
    assert beside == pytest.approx(ARC[0] * np.pi * RADIUS[0] - NEAR, abs=1e-4) and ahead == pytest.approx(1 - NEAR)
    assert to_go(*here, torch.tensor([[0.0, 0.3], [-0.3, 0.0]]), dry).tolist() == [0.0, 0.0]  # there already


def test_a_plan_that_arrives_is_worth_more_the_sooner_and_any_more_than_one_that_does_not():
    way = (torch.linspace(0.1, 2.0, 20) - 0.02)[:, None, None] * torch.tensor([1.0, 0.0])
    targets = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    soon, late, never = closeness(way.expand(20, 3, 2), torch.zeros(20, 3), torch.zeros(3), targets).tolist()
    assert soon == pytest.approx(14 * SPEED) and late == pytest.approx(4 * SPEED)  # from 0.68 BL on, and from 1.68
    assert never == pytest.approx(-(4.0 - 1.53 - NEAR), abs=1e-4)  # from where it was on average in the last second
    # A trunk that swings about the right direction faces it.
    swing = 0.3 * torch.tensor([1.0, -1.0] * 10)[:, None]
    swung = closeness(way, swing, torch.zeros(1), targets[2:])
    torch.testing.assert_close(swung, torch.tensor([never]), atol=1e-3, rtol=0.0)


def test_the_simulator_plans_in_copies_and_leaves_the_world_as_it_was():
    worlds = DriveWorlds(1, world="land")
    readings, (position, heading) = worlds.start(), worlds.pose()
    pilot = SimulatorPilot("land", candidates=4, elites=2, iterations=2, every=1, pieces=2)
    action = pilot(worlds, readings, np.array([[3.0, 0.0]]))
    assert action.shape == (1, 2) and np.isfinite(action).all()
    np.testing.assert_array_equal(worlds.pose()[0], position)
    np.testing.assert_array_equal(worlds.pose()[1], heading)


class LameWorlds(KinematicWorlds):
    """Nothing moves that should turn to the left: of that the model knows nothing."""

    def step(self, actions):
        return super().step(np.where(np.asarray(actions)[:, 1:] > 0.05, [[-1.0, 0.0]], actions))


def test_a_wary_pilot_leaves_what_does_not_hold_its_promise():
    left = np.array([[0.0, 2.0], [-2.0, 1.0]])
    least = {}
    for wary in (True, False):
        pilot = ModelPilot(Kinematic(), wary=wary, seed=1, candidates=32)
        pilot.promises = Promises(width=0.5, prior=0.1)  # a turn is so quick here that a tenth of it would do
        least[wary] = travel(LameWorlds(), np.zeros((2, len(READINGS))), left, pilot, seconds=12).least
    assert least[False].min() > 1.0  # asks for the left for ever
    assert (least[True] < least[False] - 0.3).all() and least[True].min() < 0.5


def test_promises_are_corrected_by_the_errors_of_like_actions_and_recent_ones_more():
    promises = Promises(width=0.1, fade=0.5, prior=1.0)
    promises.add(torch.zeros(1, 2), torch.tensor([[2.0, 0.0, 0.0]]))
    promises.add(torch.zeros(1, 2), torch.tensor([[5.0, 0.0, 1.0]]))
    here, far = promises(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))[0]
    torch.testing.assert_close(here, torch.tensor([(0.5 * 2 + 5) / 2.5, 0.0, 1 / 2.5]))
    assert far.abs().max() < 1e-9


def test_plans_never_rest():
    planned = torch.linspace(-1, 1, 9)[:, None].expand(9, 2)
    mean = sum(drives_of(awake(planned))) / 2
    np.testing.assert_allclose(mean, np.linspace(1.25, 5.0, 9), atol=1e-6)
    pilot = ModelPilot(Kinematic(), seed=0)
    travel(KinematicWorlds(), np.zeros((2, len(READINGS))), np.zeros((2, 2)), pilot, seconds=1, radius=0.0)
    assert (sum(drives_of(pilot.action)) >= 2 * 1.25).all()  # at the target already: staying would be best


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


def test_the_ground_is_felt_as_far_as_it_slopes_up_to_the_animal():
    worlds = DriveWorlds(3, world="shore")
    worlds.start([[0.0, 0.0], [2.3, 0.0], [6.0, 0.0]], np.pi)  # on the beach, in the shallows, in the deep; uphill
    felt = worlds.step(np.full((3, 2), 0.0))[:, CLEARANCE]
    place = worlds.body.link_positions()[:, STATIONS] / worlds.body.length
    beach = 0.1 * (1.5 - place[..., 0])  # falls by a tenth, meets the surface at 1.5 BL
    np.testing.assert_allclose(felt, np.minimum(place[..., 2] - beach, REACH), atol=1e-9)
    assert (felt[0] < 0.08).all() and (felt[2] == REACH).all()
    assert felt[1, 0] < felt[1, 2] and (felt[1] > 0.03).all()  # afloat, the ground rises towards the head


def test_an_animal_whose_muscles_are_mirrored_reads_what_the_mirror_says():
    worlds = DriveWorlds(2, world="pool")
    worlds.start([[0.0, 0.0], [0.0, 0.0]], 0.0)
    place = {name: k for k, name in enumerate(MUSCLE_NAMES)}
    swap = lambda name: name.replace("left", "*").replace("right", "left").replace("*", "right")
    image = [place[swap(name)] for name in MUSCLE_NAMES]
    rng, seen = np.random.default_rng(0), []
    for _ in range(5):
        before, some = worlds.pose(), rng.uniform(0, 0.6, len(MUSCLE_NAMES))
        for _ in range(4):
            worlds.body.step(np.stack([some, some[image]]))
        seen.append(torch.as_tensor(worlds._read(*before)))
    readings = torch.stack(seen)
    said, _ = mirrored(readings[:, 0], torch.zeros(5, 2))
    torch.testing.assert_close(readings[:, 1], said, atol=2e-3, rtol=0)
    assert (readings[:, 1] - readings[:, 0]).abs().max() > 0.1
    torch.testing.assert_close(mirrored(*mirrored(readings, readings[..., :2]))[0], readings)


def test_what_is_asked_of_joints_is_mirrored_as_joints_that_move():
    asked = torch.rand(5, 2, 48)
    moved = torch.cat([asked[..., :24], torch.zeros(5, 2, len(READINGS) - 24)], -1)
    image, action = mirrored(moved, torch.cat([torch.ones(5, 2, 2), asked], -1))
    assert torch.equal(action[..., 2:26], image[..., :24]) and action[0, 0, :2].tolist() == [1.0, -1.0]
    assert not torch.equal(action[..., 26:], asked[..., 24:])


def test_on_a_shore_every_second_animal_begins_in_the_shallows():
    position, _ = scatter("shore", 400, np.random.default_rng(0))
    x = position[:, 0] - 1.5
    low, high = SHALLOWS
    assert ((low <= x[::2]) & (x[::2] <= high)).all()
    assert (x[1::2] < low).any() and (x[1::2] > high).any()


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


def test_the_spinal_network_switches_where_it_is_said_to():
    cell = PhaseCell(dt=0.01).eval()
    for k, (direction, bound) in enumerate(SWITCHES):
        at = bound * np.array(direction) / np.square(direction).sum()  # the point of the line nearest to no action
        drives = [drives_of((at + side * np.array(direction))[None]) for side in (-1e-3, 1e-3)]
        before, after = (cell._follow_drive(drive_input(cell, *map(torch.as_tensor, pair))) for pair in drives)
        jump = max((a - b).abs().max() for a, b in zip(before, after, strict=True))
        assert jump > 0.05, f"nothing begins at switch {k}"


def test_worlds_refuse_the_wrong_number_of_actions():
    with pytest.raises(ValueError, match=r"\(1, 2\), received \(2, 2\)"):
        DriveWorlds(1, world="land").step(np.zeros((2, 2)))
