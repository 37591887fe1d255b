"""Steps on the ground: stances, duty factor, footfall order, stance slip; from contacts `[T, F]` and foot paths."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOOT_LABELS", "Stance", "bridged", "duty_factors", "slip_speeds", "stances", "touchdown_phases"]

Array = NDArray[np.float64]

FOOT_LABELS = ("fore left", "fore right", "hind left", "hind right")
"""Order of the feet in every array."""


class Stance(NamedTuple):
    """One interval of contact of one foot, s; `whole` is False when the recording cut it."""

    touchdown: float
    liftoff: float
    whole: bool


def _runs(on: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Index ranges `[first, last + 1)` in which a boolean series is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def bridged(contact: NDArray[np.bool_], dt: float, shortest: float = 0.03) -> NDArray[np.bool_]:
    """Contacts without chatter: gaps, then contacts, shorter than `shortest` seconds are filled and dropped.

    Gaps at either end of the recording are left alone. Without this a foot that bounces for a step of the solver
    would count as having taken a stride.
    """
    clean = np.array(contact, dtype=bool)
    for foot in clean.T:
        for first, stop in _runs(~foot):
            if 0 < first and stop < len(foot) and (stop - first) * dt < shortest:
                foot[first:stop] = True
        for first, stop in _runs(foot):
            if 0 < first and stop < len(foot) and (stop - first) * dt < shortest:
                foot[first:stop] = False
    return clean


def stances(contact: NDArray[np.bool_], time: Array) -> list[list[Stance]]:
    """Stance intervals of each foot, the data of a footfall diagram.

    A foot touches down at its first sample in contact and lifts off at its first sample without.

    >>> touching = np.array([[0, 1, 1, 0, 1]], bool).T
    >>> stances(touching, np.arange(5) * 0.1)[0]
    [Stance(touchdown=0.1, liftoff=0.30000000000000004, whole=True), Stance(touchdown=0.4, liftoff=0.4, whole=False)]
    """
    end = len(time)
    return [
        [
            Stance(float(time[a]), float(time[min(b, end - 1)]), 0 < a and b < end)
            for a, b in _runs(np.asarray(foot, dtype=bool))
        ]
        for foot in contact.T
    ]


def duty_factors(contact: NDArray[np.bool_], dt: float, frequency: float) -> Array:
    """Fraction of the cycle that each foot is on the ground, `[F]`, over as many whole cycles as there are.

    At frequency 0 (no gait) the whole recording is averaged.
    """
    steps = len(contact)
    if frequency > 0:
        period = 1.0 / (frequency * dt)
        steps = max(int(round(np.floor(steps / period + 1e-6) * period)), 1)
    return np.asarray(np.mean(contact[-steps:], axis=0, dtype=np.float64))


def touchdown_phases(contact: NDArray[np.bool_], time: Array, frequency: float, reference: int = 2) -> Array:
    """Touchdown of each foot as a fraction of the cycle after that of the reference foot (hind left), `[F]`.

    Circular mean over all touchdowns, in [0, 1); NaN for a foot that never lifts.

    >>> t = np.arange(0, 5, 0.01)
    >>> feet = np.stack([(t - delay) % 1 < 0.6 for delay in (0.4, 0.9, 0.0, 0.5)], axis=1)
    >>> touchdown_phases(feet, t, 1.0).round(2).tolist()
    [0.4, 0.9, 0.0, 0.5]
    """
    if not frequency > 0:
        return np.full(contact.shape[1], np.nan)
    means = []
    for foot in contact.T:
        starts = time[1:][foot[1:] & ~foot[:-1]]
        turns = np.exp(2j * np.pi * frequency * starts)
        means.append(np.angle(turns.mean()) / (2 * np.pi) if len(starts) else np.nan)
    phases = (np.array(means) - means[reference]) % 1.0
    return np.where(phases > 1.0 - 1e-9, 0.0, phases)


def slip_speeds(contact: NDArray[np.bool_], feet: Array, dt: float) -> Array:
    """Mean horizontal speed of each foot while it stands, `[F]` m/s; NaN for a foot that never stands.

    A planted foot gives 0. Central differences, over samples whose two neighbours are in contact too.

    Args:
        contact: `[T, F]`.
        feet: `[T, F, 3]` m.
        dt: Sampling period, s.
    """
    speed = np.linalg.norm(feet[2:, :, :2] - feet[:-2, :, :2], axis=-1) / (2 * dt)
    standing = contact[2:] & contact[1:-1] & contact[:-2]
    count = standing.sum(axis=0)
    total = np.sum(speed * standing, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
