import json
import math

import numpy as np
import pytest

from sim.anatomy import JOINT_X
from sim.gait import Trajectory, classify, gait_metrics, gait_over_time
from sim.trajectory import cycle_mean

LENGTH, DT = 0.1, 0.01
STANDING = np.deg2rad([5.2, 22.9, 17.5, 2.1, -18.8, -19.0, -2.3, 6.4])


def wave(time, frequency, waves, amplitude=0.3):
    """Spine angles [T, 8] of a wave running from head to tail."""
    return amplitude * np.cos(2 * np.pi * (frequency * time[:, None] - waves * JOINT_X))


def corners(spine, time, speed=0.0, rate=0.0, heading=0.0):
    """Ends [T, 10, 2] of nine straight links; their mean moves at `speed` along a course that turns at `rate`."""
    yaw = -np.concatenate([np.zeros((len(time), 1)), np.cumsum(spine, axis=1)], axis=1)
    course = heading + rate * time
    yaw = yaw - yaw.mean(axis=1, keepdims=True) + course[:, None]
    sizes = np.diff(np.concatenate([[0.0], JOINT_X, [1.0]])) * LENGTH
    along = -np.stack([np.cos(yaw), np.sin(yaw)], axis=-1) * sizes[:, None]
    points = np.concatenate([np.zeros((len(time), 1, 2)), np.cumsum(along, axis=1)], axis=1)
    tangent = np.stack([np.cos(course), np.sin(course)], axis=-1)
    centre = np.concatenate([np.zeros((1, 2)), np.cumsum(speed * tangent[:-1], axis=0) * DT])
    return points - points.mean(axis=1, keepdims=True) + centre[:, None], course


def motion(spine, time, *, limbs=None, contact=None, feet=None, power=None, mass=None, **path):
    points, course = corners(spine, time, **path)
    middles = (points[:, 1:] + points[:, :-1]) / 2
    return Trajectory(
        time=time,
        joint_angles=np.concatenate([spine, np.zeros((len(time), 16)) if limbs is None else limbs], axis=1),
        link_positions=np.concatenate([middles, np.full((len(time), 9, 1), -0.01)], axis=-1),
        foot_contact=np.zeros((len(time), 4), bool) if contact is None else contact,
        foot_positions=feet,
        heading=course,
        length=LENGTH,
        power=power,
        mass=mass,
    )


TIME = np.arange(0, 8, DT)


def test_a_swimmer_of_known_rhythm_wave_and_speed_is_measured_as_such():
    m = gait_metrics(motion(wave(TIME, 3.17, 1.1), TIME, speed=0.0714, heading=0.7))
    assert m.gait == "swim"
    assert (m.frequency, m.frequency_counted) == (pytest.approx(3.17, rel=1e-3), pytest.approx(3.17, rel=5e-3))
    assert m.waves == pytest.approx(1.1, abs=0.01) and m.travelling_index > 0.6
    for speed in (m.speed, m.speed_straight, m.forward_speed):
        assert speed == pytest.approx(0.714, rel=0.005)
    assert m.stride == pytest.approx(0.714 / 3.17, rel=0.01)
    assert m.joint_amplitudes[:8] == pytest.approx([math.degrees(0.3)] * 8, rel=0.02)
    assert m.yaw_rate == pytest.approx(0, abs=0.01) and m.turning_radius > 100
    assert m.strouhal == pytest.approx(m.frequency * m.displacement[-1] / m.speed)


def test_a_backward_swimmer_has_a_negative_forward_speed_and_a_wave_towards_the_head():
    m = gait_metrics(motion(wave(TIME, 2.0, -1.0), TIME, speed=-0.03))
    assert m.forward_speed == pytest.approx(-0.3, rel=0.01) and m.speed == pytest.approx(0.3, rel=0.01)
    assert m.waves == pytest.approx(-1.0, abs=0.01) and m.gait == "swim"


def test_displacement_equals_the_sideways_motion_of_the_body_points_on_a_straight_path():
    spine = wave(TIME, 3.0, 1.1, np.linspace(0.15, 0.45, 8))
    points, _ = corners(spine, TIME, speed=0.05)
    m = gait_metrics(motion(spine, TIME, speed=0.05))
    sideways = points[:, [0, -1], 1] - motion(spine, TIME, speed=0.05).centre()[:, None, 1]
    sway = np.ptp(points[:, [0, -1], 1], axis=0) / 2 / LENGTH
    assert np.ptp(sideways) > 0  # the two references differ by the sway of the centre of mass only
    assert [m.displacement[0], m.displacement[-1]] == pytest.approx(sway, rel=0.03)


@pytest.mark.parametrize("heading", [0.0, 1.0, 3.0])
def test_displacement_does_not_depend_on_where_the_animal_heads_or_whether_it_turns(heading):
    spine = wave(TIME, 3.0, 1.1)
    straight = gait_metrics(motion(spine, TIME, speed=0.05))
    turned = gait_metrics(motion(spine, TIME, speed=0.05, heading=heading, rate=0.3))
    assert turned.displacement == pytest.approx(straight.displacement, abs=0.002)
    assert turned.displacement_minimum == pytest.approx(straight.displacement_minimum, abs=0.021)


def test_the_midline_recovers_snout_joints_and_tail_tip_from_link_middles_alone():
    spine = wave(TIME, 3.0, 1.1, np.linspace(0.2, 0.6, 8))
    points, _ = corners(spine, TIME, speed=0.05, heading=0.4)
    found = motion(spine, TIME, speed=0.05, heading=0.4).midline([0.0, *JOINT_X, 1.0])
    assert np.abs(found - points).max() < 1e-12


@pytest.mark.parametrize("rate", [0.3, -0.15])
def test_an_animal_on_a_circle_has_its_radius_and_rate_of_turning(rate):
    m = gait_metrics(motion(wave(TIME, 3.0, 1.0), TIME, speed=0.06, rate=rate))
    assert m.yaw_rate == pytest.approx(math.degrees(rate), rel=1e-3)
    assert m.turning_radius == pytest.approx(0.6 / abs(rate), rel=0.01)
    assert m.speed == pytest.approx(0.6, rel=0.01)
    assert m.speed_straight < m.speed


def walker(frequency=0.9, duty=0.76, seconds=8.0):
    t = np.arange(0, seconds, DT)
    spine = STANDING * np.cos(2 * np.pi * frequency * t)[:, None]
    limbs = np.zeros((len(t), 16))
    delays = np.array([0.41, 0.91, 0.0, 0.5])
    limbs[:, ::4] = 0.5 * np.cos(2 * np.pi * (frequency * t[:, None] - delays))
    contact = (frequency * t[:, None] - delays) % 1 < duty
    feet = np.zeros((len(t), 4, 3))
    feet[:, :, 0] = 0.02 * t[:, None]  # every foot slides at 0.2 BL/s
    return motion(
        spine,
        t,
        limbs=limbs,
        contact=contact,
        feet=feet,
        speed=0.03,
        power=np.where(np.arange(len(t)) % 2, 6e-5, -4e-5),
        mass=3e-3,
    )


def test_a_walker_has_its_standing_wave_duty_slip_and_cost():
    m = gait_metrics(walker())
    assert m.gait == "walk" and m.frequency == pytest.approx(0.9, rel=2e-3)
    assert m.trunk_tail_phase == pytest.approx(0.5, abs=0.01) and m.travelling_index < 0.02
    assert m.node == pytest.approx(0.471)
    assert m.duty == pytest.approx([0.76] * 4, abs=0.015) and m.duty_mean == pytest.approx(0.76, abs=0.01)
    assert m.footfall_phases == pytest.approx([0.41, 0.91, 0.0, 0.5], abs=0.015)
    assert m.slip == pytest.approx(0.2, rel=0.01)
    assert m.cost_of_transport == pytest.approx(3e-5 / (3e-3 * 0.03), rel=0.01)  # half the time 6e-5 W
    yaws = np.array(m.joint_phases)[8::4]
    assert (yaws - yaws[2]) % 1 == pytest.approx([0.41, 0.91, 0.0, 0.5], abs=0.01)


def test_a_still_animal_is_at_rest_and_its_undefined_figures_become_null_in_json():
    m = gait_metrics(motion(np.zeros((400, 8)), TIME[:400]))
    assert m.gait == "rest" and m.frequency == 0 and m.speed == pytest.approx(0, abs=1e-12)
    stored = json.loads(json.dumps(m.to_dict(), allow_nan=False))
    assert stored["waves"] is None and stored["turning_radius"] is None and stored["duty"] == [0, 0, 0, 0]


def test_gait_over_time_shows_rest_then_walking_then_swimming_with_a_jump_in_frequency():
    still, walk = motion(np.zeros((400, 8)), TIME[:400]), walker(seconds=5.0)
    swim = motion(wave(TIME[:400], 3.0, 1.1), TIME[:400], speed=0.05)
    parts = [still, walk, swim]
    both = Trajectory(
        time=np.arange(sum(len(p.time) for p in parts)) * DT,
        **{
            name: np.concatenate([getattr(p, name) for p in parts])
            for name in ("joint_angles", "link_positions", "foot_contact", "heading")
        },
    )
    middles, gaits, frequencies = gait_over_time(both, window=1.5, every=0.5)
    at = dict(zip(middles.round(2), zip(gaits, frequencies, strict=True), strict=True))
    assert at[1.75][0] == "rest"
    assert at[6.25] == ("walk", pytest.approx(0.9, rel=0.03))
    assert at[10.75] == ("swim", pytest.approx(3.0, rel=0.02))
    assert list(dict.fromkeys(gaits)) == ["rest", "walk", "swim"]


def test_stepping_under_water_is_walking_and_a_beating_spine_with_folded_limbs_is_swimming():
    assert classify(1.0, 0.3, 0.4, duty=0.0, travelling=0.2) == "walk"
    assert classify(1.0, 0.3, 0.4, duty=0.5, travelling=0.6) == "walk"
    assert classify(3.0, 0.5, 0.02, duty=0.0, travelling=0.6) == "swim"
    assert classify(3.0, 0.5, 0.02, duty=0.7, travelling=0.6) == "swim"  # writhing on the ground is no stepping
    assert classify(0.0, 0.0, 0.0, duty=1.0, travelling=0.0) == "rest"


def test_stored_traces_give_the_same_trajectory(tmp_path):
    t = walker()
    arrays = {k: v for k, v in vars(t).items() if v is not None and k not in ("link_points", "joint_names")}
    np.savez(tmp_path / "traces.npz", neurons=np.zeros((len(t.time), 3)), joint_names=np.array(["a", "b"]), **arrays)
    loaded = Trajectory.load(tmp_path / "traces.npz")
    assert gait_metrics(loaded) == gait_metrics(t)
    assert loaded.joint_names == ("a", "b")


def broken(**changes):
    t = motion(np.zeros((20, 8)), TIME[:20])
    arrays = {k: v for k, v in vars(t).items() if v is not None}
    arrays.update(changes)
    return arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_angles": np.zeros((20, 8))}, "joint_angles has shape"),
        ({"heading": np.full(20, np.nan)}, "heading is not finite at row 0"),
        ({"time": np.r_[TIME[:19], 9.0]}, "tick evenly"),
        ({"time": TIME[:20][::-1]}, "tick evenly"),
        ({"length": 0.0}, "length"),
        ({"time": TIME[:1]}, "T >= 2"),
    ],
)
def test_a_malformed_trajectory_is_refused_with_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        Trajectory(**broken(**changes))


def test_missing_traces_and_missing_arrays_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="traces.npz"):
        Trajectory.load(tmp_path / "traces.npz")
    np.savez(tmp_path / "traces.npz", time=TIME)
    with pytest.raises(ValueError, match="missing: joint_angles, link_positions"):
        Trajectory.load(tmp_path / "traces.npz")
    with pytest.raises(ValueError, match="spans 0.000 to"):
        gait_metrics(walker(), start=100.0)


def test_a_window_longer_than_the_data_is_refused():
    with pytest.raises(ValueError, match="window must lie in"):
        cycle_mean(np.zeros(10), 10.0)
