import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sim import rhythm
from sim.gait import GaitMetrics
from sim.kinematics import load_cycle
from sim.reference import (
    DISPLACEMENT,
    JOINT_AMPLITUDES,
    PHASE_LAGS,
    check,
    drive_checks,
    format_checks,
    gait_table,
    recorded_cycle,
    swim_sweep_checks,
)

RAW = {"swim": "swimming_data_karakasiliotis.csv", "walk": "walking_data_karakasiliotis.csv"}


def animal(**changes):
    """Metrics of an animal that swims exactly as recorded."""
    values = dict(
        gait="swim", world="pool", duration=6.0, cycles=19.0, frequency=3.17, frequency_counted=3.17, speed=0.714,
        speed_straight=0.714, forward_speed=0.714, stride=0.225,
        joint_amplitudes=(*JOINT_AMPLITUDES["swim"], *[0.0] * 16), phase_lags=PHASE_LAGS,
        joint_phases=(0.0,) * 24, waves=1.16, travelling_index=0.87,
        displacement=DISPLACEMENT["swim"][0].amplitude, displacement_minimum=0.2, trunk_tail_phase=0.4, node=0.15,
        duty=(0.0,) * 4, duty_mean=0.0, footfall_phases=(math.nan,) * 4, slip=math.nan, yaw_rate=0.0,
        turning_radius=math.inf, cost_of_transport=math.nan, strouhal=0.58,
    )  # fmt: skip
    return GaitMetrics(**{**values, **changes})


WALKER = dict(
    gait="walk", world="land", frequency=0.9, speed=0.3, duty_mean=0.76, trunk_tail_phase=0.5, node=0.471, slip=0.2
)


def test_the_animal_itself_lies_in_every_band():
    assert all(c.passed for c in check(animal(), "swim"))
    assert all(c.passed for c in check(animal(**WALKER), "walk"))


@pytest.mark.parametrize(
    ("changes", "gait", "failed"),
    [
        ({"waves": 0.6}, "swim", "waves per body"),
        ({"stride": 0.1}, "swim", "stride"),
        ({"displacement": (0.04,) * 11}, "swim", "tail-tip displacement"),
        ({"displacement_minimum": 0.0}, "swim", "displacement minimum at"),
        ({**WALKER, "duty_mean": 0.5}, "walk", "duty factor, four feet"),
        ({**WALKER, "trunk_tail_phase": 0.9}, "walk", "trunk to tail base"),
        ({**WALKER, "node": 0.9}, "walk", "least joint amplitude at"),
        ({**WALKER, "speed": math.nan}, "walk", "speed"),
    ],
)
def test_one_wrong_figure_fails_exactly_its_row(changes, gait, failed):
    rows = check(animal(**changes), gait)
    assert [c.label for c in rows if not c.passed] == [failed]
    assert "OUTSIDE" in gait_table(animal(**changes), gait)


def test_a_stride_below_the_recorded_frequencies_is_reported_and_not_judged():
    slow = {c.label: c for c in check(animal(frequency=1.5, stride=0.1), "swim")}
    assert not slow["stride"].judged and "reported" in gait_table(animal(frequency=1.5, stride=0.1))


def test_the_table_prints_ours_the_animals_the_band_and_the_source():
    line = next(line for line in gait_table(animal(stride=0.2)).splitlines() if line.startswith("stride"))
    assert line.split()[2:] == [
        "0.2",
        "0.225",
        "0.18",
        "to",
        "0.28",
        "in",
        "band",
        "Karakasiliotis",
        "et",
        "al.",
        "2016",
    ]


def test_swimming_figures_are_refused_for_a_world_without_water():
    with pytest.raises(ValueError, match="need water"):
        gait_table(animal(world="land"), "swim")
    with pytest.raises(ValueError, match="gait must be one of"):
        gait_table(animal(), "fly")


def test_a_sweep_with_speed_rising_and_wavelength_constant_passes_and_its_opposites_fail():
    frequencies = [2.5, 2.9, 3.3, 3.9]
    good = [animal(frequency=f, speed=0.22 * f, stride=0.22) for f in frequencies]
    assert all(c.passed for c in swim_sweep_checks(good))
    falling = [replace(m, speed=2 - 0.2 * m.frequency) for m in good]
    drifting = [replace(m, waves=0.9 + 0.2 * (m.frequency - 2.5)) for m in good]
    narrow = good[:3]
    failed = lambda runs: {c.label for c in swim_sweep_checks(runs) if not c.passed}
    assert failed(falling) == {"speed on frequency, r", "speed on frequency, slope"}
    assert failed(drifting) == {"wavelength over range"}
    assert failed(narrow) == {"highest frequency"}


def test_a_rising_drive_must_pass_rest_walk_and_swim_once_each_with_a_jump():
    rest, walk = animal(gait="rest", frequency=0.0), animal(**WALKER)
    assert all(c.passed for c in drive_checks([4.0, 0.5, 2.0], [animal(), rest, walk]))
    assert not drive_checks([1, 2, 3], [rest, animal(), walk])[0].passed
    assert not drive_checks([1, 2, 3], [rest, replace(walk, frequency=3.5), animal()])[1].passed
    rows = drive_checks([0, 1], [rest, walk])  # never swims
    assert not any(c.passed for c in rows)
    json.dumps([c.to_dict() for c in rows], allow_nan=False)
    assert "OUTSIDE" in format_checks(rows, "drive")


@pytest.mark.parametrize("gait", ["swim", "walk"])
def test_the_stored_series_follows_the_recorded_cycle(gait, data_folder):
    raw = load_cycle(data_folder / "salamander" / RAW[gait])
    phase = np.arange(1000) / 1000
    error = np.degrees(recorded_cycle(gait)(phase) - raw.angles)
    assert np.sqrt((error**2).mean(axis=0)).max() < 1.0
    assert np.abs(error[50:900]).max() < 2.5  # further off only where the recording does not close


def test_the_series_has_the_published_amplitudes_and_lags_and_repeats():
    time = np.arange(4000) / 1000
    swim, walk = recorded_cycle("swim")(time), recorded_cycle("walk")(time)
    half = lambda angles: np.degrees(rhythm.half_ranges(angles, 0.001, 1.0)[:8])
    assert half(swim) == pytest.approx(JOINT_AMPLITUDES["swim"], abs=2.6)
    assert half(walk) == pytest.approx(JOINT_AMPLITUDES["walk"], abs=1.0)
    z = rhythm.complex_amplitudes(swim, 0.001, 1.0)
    assert rhythm.phase_lags(z) == pytest.approx(PHASE_LAGS, abs=0.004)
    assert rhythm.wave_number(z) == pytest.approx(1.16, abs=0.02)
    assert recorded_cycle("walk")(-0.25) == pytest.approx(recorded_cycle("walk")(7.75))
    assert rhythm.travelling_index(rhythm.complex_amplitudes(walk[:, :8], 0.001, 1.0)) < 0.2


def test_left_and_right_limbs_of_the_recorded_walk_are_in_antiphase():
    z = rhythm.complex_amplitudes(recorded_cycle("walk")(np.arange(3000) / 1000), 0.001, 1.0)
    for left, right in [(8, 12), (16, 20)]:
        lag = (np.angle(z[left] * np.conj(z[right])) / (2 * np.pi)) % 1
        assert lag == pytest.approx(0.5, abs=0.02)


def test_only_the_two_recorded_gaits_exist():
    with pytest.raises(ValueError, match="swim and walk"):
        recorded_cycle("trot")
