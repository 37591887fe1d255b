"""Natural frequencies and dampings of a record, from the poles of least-squares recursions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnn.baselines import LeastSquaresModel, fit_linear
from rnn.data import Record

__all__ = ["Mode", "find_modes", "modes_of"]

SLOWEST = 1e-4  # of the sampling rate: slower than that is a drift, not a mode
FASTEST = 0.49  # of the sampling rate


class Mode(NamedTuple):
    """A natural frequency in Hz and a damping ratio; above 1 it stands for two real poles."""

    frequency: float
    zeta: float


def modes_of(poles: np.ndarray, dt: float) -> list[Mode]:
    """Modes of eigenvalues per step: conjugate pairs as they are, real ones two by two.

    >>> pole = np.exp(2 * np.pi * 0.01 * (-0.1 + 1j * np.sqrt(1 - 0.1**2)) * 0.5)  # 0.01 Hz, zeta = 0.1, dt = 0.5 s
    >>> [round(float(x), 6) for x in modes_of(np.array([pole, pole.conj()]), 0.5)[0]]
    [0.01, 0.1]
    """
    poles = poles[np.abs(poles) > 1e-3]
    s = np.log(poles.astype(complex)) / dt
    modes = [
        Mode(float(abs(v)) / (2 * math.pi), float(-v.real / abs(v)))
        for v in s
        if 1e-9 < v.imag * dt < FASTEST * 2 * math.pi
    ]
    rates = sorted(float(-v.real) for v in s if abs(v.imag) * dt <= 1e-9)
    rates = [max(rate, SLOWEST / dt) for rate in rates]
    if len(rates) % 2:
        rates.append(min(5 * rates[-1], 3 / dt))
    for slow, fast in zip(rates[::2], rates[1::2], strict=True):
        omega = math.sqrt(slow * fast)
        modes.append(Mode(omega / (2 * math.pi), (slow + fast) / (2 * omega)))
    return [Mode(min(max(f, SLOWEST / dt), FASTEST / dt), zeta) for f, zeta in modes]


def find_modes(records: Sequence[Record], number: int) -> list[Mode]:
    """As many modes as asked for, by a recursion of just that many poles; fewer if the record is too short.

    >>> t = np.arange(400) * 0.1
    >>> y = np.exp(-0.2 * t) * np.cos(2 * np.pi * t)
    >>> round(find_modes([Record(None, y, 0.1)], 1)[0].frequency, 3)
    1.001
    """
    outputs = records[0].sizes[1]
    order = max(1, math.ceil(2 * number / outputs))
    try:
        model: LeastSquaresModel = fit_linear(records, order=order)
    except (ValueError, np.linalg.LinAlgError):
        return []
    modes = modes_of(model.poles(), records[0].dt)
    return sorted(modes, key=lambda mode: mode.zeta)[:number]
