import numpy as np
import pytest

from sim import rhythm
from sim.trajectory import AXIAL_JOINTS, cycle_mean

DT = 0.01


def wave(frequency, waves, seconds=4.0, amplitude=0.3):
    t = np.arange(0, seconds, DT)
    return amplitude * np.cos(2 * np.pi * (frequency * t[:, None] - waves * AXIAL_JOINTS))


@pytest.mark.parametrize("frequency", [0.45, 0.9, 1.234, 3.17, 4.03, 6.0])
@pytest.mark.parametrize("method", [rhythm.fundamental_frequency, rhythm.zero_crossing_frequency])
def test_both_frequency_measures_find_a_known_frequency_in_five_seconds(method, frequency):
    rng = np.random.default_rng(0)
    angles = wave(frequency, 1.1, 5.0) + 0.01 * rng.standard_normal((500, 8)) + 0.2
    assert method(angles, DT) == pytest.approx(frequency, rel=0.015)


def test_a_strong_second_harmonic_does_not_double_the_frequency():
    t = np.arange(0, 6, DT)[:, None]
    angles = 0.2 * np.sin(2 * np.pi * 0.8 * t) + 0.4 * np.sin(2 * np.pi * 1.6 * t + np.arange(8))
    assert rhythm.fundamental_frequency(angles, DT) == pytest.approx(0.8, rel=0.01)


def test_a_still_or_merely_drifting_body_has_no_frequency():
    drift = np.linspace(0, 0.5, 400)[:, None] * np.ones(8)
    noise = np.deg2rad(0.1) * np.random.default_rng(1).standard_normal((400, 8))
    for angles in (np.zeros((400, 8)), drift, noise):
        assert rhythm.fundamental_frequency(angles, DT) == 0.0
        assert rhythm.zero_crossing_frequency(angles, DT) == 0.0


@pytest.mark.parametrize("waves", [-1.0, -0.4, 0.0, 0.5, 0.9, 1.16, 1.5])
def test_a_travelling_wave_has_its_waves_per_body_in_either_direction(waves):
    z = rhythm.complex_amplitudes(wave(3.17, waves), DT, 3.17)
    assert np.abs(z) == pytest.approx(np.full(8, 0.3), rel=0.01)
    assert rhythm.wave_number(z) == pytest.approx(waves, abs=0.005)
    assert rhythm.phase_lags(z) == pytest.approx(waves * np.diff(AXIAL_JOINTS), abs=0.005)


def test_lags_and_amplitudes_survive_a_frequency_that_drifts_by_a_fifth():
    t = np.arange(0, 6, DT)
    cycles = 3.0 * t + 0.05 * t**2  # 3.0 to 3.6 Hz
    angles = 0.3 * np.cos(2 * np.pi * (cycles[:, None] - 1.1 * AXIAL_JOINTS))
    z = rhythm.complex_amplitudes(angles, DT, rhythm.fundamental_frequency(angles, DT))
    assert rhythm.wave_number(z) == pytest.approx(1.1, abs=0.02)
    assert np.abs(z) == pytest.approx(np.full(8, 0.3), rel=0.02)


def test_harmonics_and_offsets_do_not_enter_the_fundamental():
    clean = wave(2.0, 1.0)
    mixed = clean + 0.5 * np.cos(2 * np.pi * 4.0 * np.arange(0, 4, DT))[:, None] + 1.0
    z, mixed_z = (rhythm.complex_amplitudes(q, DT, 2.0) for q in (clean, mixed))
    assert mixed_z / mixed_z[0] == pytest.approx(z / z[0], abs=1e-9)  # the common phase is arbitrary
    assert np.abs(mixed_z) == pytest.approx(np.abs(z), abs=1e-9)


def test_the_travelling_index_tells_a_standing_from_a_travelling_wave():
    shape = np.array([0.1, 0.4, 0.3, 0.02, -0.3, -0.3, -0.03, 0.1])
    standing = shape * np.cos(2 * np.pi * 0.9 * np.arange(0, 4, DT))[:, None]
    assert rhythm.travelling_index(rhythm.complex_amplitudes(standing, DT, 0.9)) < 0.01
    assert rhythm.travelling_index(rhythm.complex_amplitudes(wave(3.0, 1.0), DT, 3.0)) > 0.7
    half = rhythm.travelling_index(rhythm.complex_amplitudes(wave(3.0, 1.0) + standing[:400], DT, 3.0))
    assert 0.01 < half  # a mixture lies between


def test_half_ranges_are_taken_per_cycle_so_that_drift_does_not_count():
    t = np.arange(0, 10, DT)
    angles = 0.2 * np.sin(2 * np.pi * 2 * t) + 0.1 * t
    assert rhythm.half_ranges(angles, DT, 2.0) == pytest.approx(0.2, rel=0.08)
    assert rhythm.half_ranges(0.3 + 0.0 * t, DT, 0.0) == 0.0


def test_the_cycle_mean_removes_a_rhythm_of_fractional_period_and_keeps_a_ramp():
    t = np.arange(400) * DT
    period = 1 / 3.17
    smooth = cycle_mean(2 * t + np.sin(2 * np.pi * 3.17 * t), period / DT)
    assert smooth == pytest.approx(2 * (t[: len(smooth)] + period / 2), abs=2e-3)


def test_the_recorded_swimming_cycle_has_1_16_waves_per_body(data_folder):
    cycle = np.deg2rad(
        np.genfromtxt(data_folder / "salamander" / "swimming_data_karakasiliotis.csv", delimiter=",", skip_header=1)
    )
    angles = np.tile(cycle[:, 1:], (4, 1))
    z = rhythm.complex_amplitudes(angles, 0.001, rhythm.fundamental_frequency(angles, 0.001))
    assert rhythm.wave_number(z) == pytest.approx(1.16, abs=0.02)
    published = [0.193, 0.082, 0.082, 0.108, 0.149, 0.139, 0.117]
    assert rhythm.phase_lags(z) == pytest.approx(published, abs=0.004)
    assert rhythm.travelling_index(z) > 0.5
