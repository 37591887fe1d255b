"""The simulated newt under its phase network beside the living animal: every acceptance band, in water and on land."""

import numpy as np
import pytest

from agents.controller import make_controller
from agents.experiment import live, make_worlds
from agents.schedule import Schedule
from rnn import Clamp, Lesion, Scale
from sim.gait import GaitMetrics, gait_metrics
from sim.reference import check, drive_checks, format_checks, swim_sweep_checks
from sim.trajectory import Trajectory


def gaits(world, drives, seconds=6.0, *, edits=(), controller="phase", start=2.0, **options) -> list[GaitMetrics]:
    """One animal per drive, all in one batch."""
    env = make_worlds(world, len(drives), **options)
    network = make_controller(controller, [Schedule.constant(d) for d in drives], edits=edits)
    recorder = live(env, network, seconds, progress=None, neurons=False)
    assert not recorder.diverged.any()
    return [gait_metrics(Trajectory.from_arrays(recorder.traces(i)), start=start) for i in range(len(drives))]


def assert_all(checks):
    failed = [c for c in checks if not c.passed]
    assert not failed, "\n" + format_checks(checks, "")


@pytest.fixture(scope="module")
def swims():
    return gaits("pool", [3.01, 3.5, 4.0, 4.5, 5.0])


@pytest.fixture(scope="module")
def walks():
    return gaits("land", [1.2, 2.0, 2.8], seconds=8.0)


def test_swimming_lies_inside_every_band_of_the_animal_at_every_drive(swims):
    for metrics in swims:
        assert_all(check(metrics, "swim"))
    assert_all(swim_sweep_checks(swims))


def test_walking_lies_inside_every_band_of_the_animal(walks):
    assert_all(check(walks[1], "walk"))
    assert walks[0].forward_speed < walks[1].forward_speed < walks[2].forward_speed


def test_a_rising_drive_rests_walks_and_swims_with_a_jump_of_the_frequency(walks, swims):
    rest = gaits("land", [0.5], seconds=3.0, start=1.0)
    drives = [0.5, 1.2, 2.0, 2.8, 3.01, 3.5, 4.0, 4.5, 5.0]
    assert_all(drive_checks(drives, [*rest, *walks, *swims]))
    assert rest[0].speed < 0.02


@pytest.mark.parametrize(("world", "drive"), [("pool", 4.0), ("land", 2.0)])
def test_the_animal_turns_towards_the_more_driven_side_the_more_the_greater_the_difference(world, drive):
    half = np.array([-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9])
    edits = (Clamp("drive.left", drive + half), Clamp("drive.right", drive - half))
    turning = [m.yaw_rate for m in gaits(world, [drive] * 7, seconds=8.0, edits=edits)]
    assert np.all(np.diff(turning) > 0), turning
    assert turning[-1] > 5 and turning[0] < -5
    assert np.allclose(turning, -np.array(turning[::-1]), atol=2.5), "mirrored clamps turn the other way"


def test_negated_phase_biases_swim_backwards_and_a_cut_chain_keeps_swimming():
    forwards, backwards = (
        gaits("pool", [4.0], edits=edits)[0] for edits in ((Lesion("coupling.midbody"),), (Scale("bias.body", -1.0),))
    )
    assert forwards.forward_speed > 0.4 and backwards.forward_speed < -0.3
    assert backwards.waves < -0.8


def test_a_lesion_of_one_side_halves_the_strokes_and_turns_the_animal_the_other_way():
    metrics = gaits("pool", [4.0], edits=(Lesion("body.left"),))[0]
    assert metrics.yaw_rate < -15 and metrics.frequency == pytest.approx(3.21, abs=0.05)


def test_silenced_drive_stops_the_animal():
    metrics = gaits("pool", [4.0], seconds=6.0, edits=(Clamp("drive.*", 0.0, steps=slice(250, None)),), start=4.5)[0]
    assert metrics.gait == "rest" and abs(metrics.forward_speed) < 0.1


NEURONS = ["leaky", "rate"]


@pytest.fixture(scope="module", params=NEURONS)
def neurons(request):
    """A network of neurons: its name, its walks and its swims under rising drive."""
    name = request.param
    walks = gaits("land", [0.5, 1.3, 2.0, 2.8], seconds=7.0, start=3.0, controller=name)
    return name, walks[0], walks[1:], gaits("pool", [3.3, 4.0, 4.6], controller=name)


def test_networks_of_neurons_rest_walk_and_swim_under_rising_drive(neurons):
    _, rest, walks, swims = neurons
    assert_all(drive_checks([0.5, 1.3, 2.0, 2.8, 3.3, 4.0, 4.6], [rest, *walks, *swims]))
    for group in (walks, swims):
        assert np.all(np.diff([m.forward_speed for m in group]) > 0)
        assert np.all(np.diff([m.frequency for m in group]) > 0)


def test_networks_of_neurons_swim_by_a_wave_and_walk_by_a_standing_one(neurons):
    _, _, walks, swims = neurons
    for metrics in swims:
        assert 0.9 <= metrics.waves <= 1.2 and metrics.travelling_index > 0.6
    assert 0.45 <= walks[1].trunk_tail_phase <= 0.55 and walks[1].travelling_index < 0.3


@pytest.mark.parametrize("controller", NEURONS)
@pytest.mark.parametrize(("world", "drive"), [("pool", 4.0), ("land", 2.0)])
def test_networks_of_neurons_turn_towards_the_more_driven_side(controller, world, drive):
    half = np.array([-0.6, -0.3, 0.0, 0.3, 0.6])
    edits = (Clamp("drive.left", drive + half), Clamp("drive.right", drive - half))
    turning = [m.yaw_rate for m in gaits(world, [drive] * 5, seconds=7.0, edits=edits, controller=controller)]
    assert np.all(np.diff(turning) > 0), turning


@pytest.mark.slow
def test_speeds_hardly_depend_on_the_time_step():
    swim = {dt: gaits("pool", [4.0], timestep=dt)[0].speed for dt in (0.001, 0.002, 0.005)}
    assert abs(swim[0.002] / swim[0.001] - 1) < 0.02 and abs(swim[0.005] / swim[0.001] - 1) < 0.05
    walk = {dt: gaits("land", [2.0], timestep=dt, seconds=10)[0].speed for dt in (0.0005, 0.001, 0.002)}
    assert abs(walk[0.002] / walk[0.0005] - 1) < 0.10 and abs(walk[0.001] / walk[0.0005] - 1) < 0.10
