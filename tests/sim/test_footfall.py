import numpy as np
import pytest

from sim import footfall

DT = 0.01


def stepping(duty, phases, frequency=0.9, seconds=6.0):
    t = np.arange(0, seconds, DT)
    return t, (frequency * t[:, None] - np.asarray(phases)) % 1.0 < duty


@pytest.mark.parametrize("duty", [0.41, 0.6, 0.76])
def test_a_known_duty_factor_is_found_though_the_recording_ends_in_mid_stride(duty):
    t, contact = stepping(duty, [0.0, 0.5, 0.41, 0.91])
    assert footfall.duty_factors(contact, DT, 0.9) == pytest.approx([duty] * 4, abs=0.012)


def test_a_lateral_sequence_walk_has_its_touchdowns_in_order():
    t, contact = stepping(0.76, [0.41, 0.91, 0.0, 0.5])
    assert footfall.touchdown_phases(contact, t, 0.9) == pytest.approx([0.41, 0.91, 0.0, 0.5], abs=0.01)


def test_stances_cover_exactly_the_samples_in_contact():
    t, contact = stepping(0.7, [0.1, 0.6, 0.35, 0.85])
    for foot, intervals in zip(contact.T, footfall.stances(contact, t), strict=True):
        covered = np.zeros(len(t), bool)
        for stance in intervals:
            covered |= (t >= stance.touchdown - 1e-9) & (t < stance.liftoff - 1e-9)
        assert np.array_equal(covered[:-1], foot[:-1])
        assert all(s.whole for s in intervals[1:-1])
        assert [s.liftoff - s.touchdown for s in intervals[1:-1]] == pytest.approx(
            [0.7 / 0.9] * (len(intervals) - 2), abs=0.011
        )


def test_chatter_of_single_samples_is_no_stride():
    t, contact = stepping(0.7, [0.0, 0.5, 0.4, 0.9])
    noisy = contact.copy()
    rng = np.random.default_rng(0)
    flips = rng.choice(len(t) // 5, 30, replace=False) * 5 + 2
    noisy[flips] = ~noisy[flips]
    clean = footfall.bridged(noisy, DT)
    assert [len(s) for s in footfall.stances(clean, t)] == [len(s) for s in footfall.stances(contact, t)]
    assert footfall.duty_factors(clean, DT, 0.9) == pytest.approx([0.7] * 4, abs=0.02)


def test_a_planted_foot_does_not_slip_and_a_dragged_one_slips_at_its_speed():
    t, contact = stepping(0.6, [0.0, 0.5, 0.25, 0.75])
    feet = np.zeros((len(t), 4, 3))
    feet[:, 0, 0] = np.cumsum(np.where(contact[:, 0], 0.0, 0.05)) * DT  # moves in swing only
    feet[:, 1, 0], feet[:, 1, 1] = 0.03 * t, 0.04 * t  # dragged at 0.05 m/s
    feet[:, 2, 2] = 0.1 * t  # vertical motion is no slip
    contact[:, 3] = False
    slip = footfall.slip_speeds(contact, feet, DT)
    assert slip[:3] == pytest.approx([0.0, 0.05, 0.0], abs=1e-9) and np.isnan(slip[3])


def test_without_a_rhythm_there_are_no_touchdown_phases_and_a_foot_that_stands_has_none():
    t, contact = stepping(0.6, [0.0, 0.5, 0.25, 0.75])
    assert np.all(np.isnan(footfall.touchdown_phases(contact, t, 0.0)))
    contact[:, 1] = True
    phases = footfall.touchdown_phases(contact, t, 0.9)
    assert np.isnan(phases[1]) and np.isfinite(phases[[0, 2, 3]]).all()
