"""Frequency, amplitudes, phase lags and waves of a set of joint angles: pure functions of `[T, J]` arrays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.signal import detrend

from sim.trajectory import AXIAL_JOINTS, cycle_mean

__all__ = [
    "complex_amplitudes",
    "demodulate",
    "fundamental_frequency",
    "half_ranges",
    "phase_lags",
    "travelling_index",
    "wave_number",
    "zero_crossing_frequency",
]

Array = NDArray[np.float64]
STILL = np.deg2rad(0.5)
"""Below this standard deviation (rad) of every joint the body counts as still."""


def fundamental_frequency(angles: Array, dt: float, lowest: float = 0.1) -> float:
    r"""Frequency of the common rhythm of several joints, Hz; 0 when all are still.

    The highest peak of the summed spectra (trend removed, Hann window, padded eightfold) is refined by least
    squares: the \(f\) at which constant, slope and two harmonics of \(f\), fitted to each joint, leave the least.
    Half that frequency is then tried and taken when it explains clearly more, so that a strong second harmonic
    does not pass for the rhythm.

    Args:
        angles: `[T, J]` rad.
        dt: Sampling period, s.
        lowest: Lowest frequency to look for, Hz; raised to one cycle within the recording.

    >>> t = np.arange(0, 4, 0.01)[:, None]
    >>> round(fundamental_frequency(0.3 * np.sin(2 * np.pi * 1.7 * t - np.arange(8)), 0.01), 4)
    1.7
    """
    x = detrend(np.asarray(angles, dtype=np.float64), axis=0)
    if not np.any(x.std(axis=0) > STILL):
        return 0.0
    steps = len(x)
    resolution = 1.0 / (steps * dt)
    padded = 8 * steps
    power = np.sum(np.abs(np.fft.rfft(x * np.hanning(steps)[:, None], n=padded, axis=0)) ** 2, axis=1)
    grid = np.fft.rfftfreq(padded, dt)
    power[grid < max(lowest, resolution)] = 0.0
    peak = grid[int(np.argmax(power))]
    f, left = _refined(x, dt, peak, resolution)
    if f / 2 >= max(lowest, resolution):
        slower, left_slower = _refined(x, dt, f / 2, resolution / 2)
        if left_slower < 0.7 * left and left > 0.02 * np.sum(x**2):
            f = slower
    return f


def _refined(x: Array, dt: float, guess: float, width: float) -> tuple[float, float]:
    """Least-squares frequency near a guess, and the sum of squares it leaves."""
    t = (np.arange(len(x)) - (len(x) - 1) / 2) * dt
    scale = t / max(t[-1], dt)

    def left(f: float) -> float:
        omega_t = 2 * np.pi * f * t
        waves = [fun(k * omega_t) for k in (1, 2) for fun in (np.cos, np.sin)]
        basis, _ = np.linalg.qr(np.stack([np.ones_like(t), scale, *waves], axis=1))
        return float(np.sum((x - basis @ (basis.T @ x)) ** 2))

    low = max(guess - width, 0.25 * guess)
    best = minimize_scalar(left, bounds=(low, guess + width), method="bounded", options={"xatol": 1e-6})
    return float(best.x), float(best.fun)


def zero_crossing_frequency(angles: Array, dt: float) -> float:
    """Frequency by counting, Hz: upward crossings of the middle of the strongest joint, 0 when still.

    A second opinion on `fundamental_frequency` that knows no sines: crossings are interpolated, and one counts only
    after the angle has been below the middle by a fifth of its half range, so that noise is not counted.
    """
    x = detrend(np.asarray(angles, dtype=np.float64), axis=0)
    strongest = x[:, int(np.argmax(x.std(axis=0)))]
    if strongest.std() <= STILL:
        return 0.0
    needed = 0.2 * np.ptp(strongest) / 2
    crossings, armed = [], False
    for i in range(len(strongest) - 1):
        armed = armed or strongest[i] < -needed
        if armed and strongest[i] <= 0 < strongest[i + 1]:
            crossings.append(i + strongest[i] / (strongest[i] - strongest[i + 1]))
            armed = False
    if len(crossings) < 2:
        return 0.0
    return float((len(crossings) - 1) / ((crossings[-1] - crossings[0]) * dt))


def demodulate(angles: Array, dt: float, frequency: float) -> NDArray[np.complex128]:
    r"""Complex amplitude of the fundamental over time.

    \(z(t) = \frac{2}{P} \int_{t - P/2}^{t + P/2} q(s)\, e^{-2 \pi i f s} ds\), \(P = 1/f\): the window of one period
    removes the mean angle and all harmonics. \(|z|\) is the amplitude and \(\arg z\) the phase (cosine) at s = 0.

    Args:
        angles: `[T, J]` rad, at least one period long.
        dt: Sampling period, s.
        frequency: Hz.

    Returns:
        `[T', J]`, one period shorter than the input.
    """
    t = np.arange(len(angles)) * dt
    turned = (angles - angles.mean(axis=0)) * np.exp(-2j * np.pi * frequency * t)[:, None]
    samples = 1.0 / (frequency * dt)
    return 2 * (cycle_mean(turned.real, samples) + 1j * cycle_mean(turned.imag, samples))


def complex_amplitudes(angles: Array, dt: float, frequency: float) -> NDArray[np.complex128]:
    """Mean complex amplitude of each joint `[J]`, phases relative to the strongest joint, rad.

    The phase of the strongest joint is taken out instant by instant before averaging, so a slowly drifting
    frequency does not blur the lags. All zero when the frequency is 0.
    """
    if not frequency > 0:
        return np.zeros(angles.shape[1], dtype=np.complex128)
    z = demodulate(angles, dt, frequency)
    reference = z[:, int(np.argmax(np.abs(z).mean(axis=0)))]
    return np.asarray(np.mean(z * np.exp(-1j * np.angle(reference))[:, None], axis=0))


def half_ranges(angles: Array, dt: float, frequency: float) -> Array:
    """Half the peak-to-peak range in each whole cycle, averaged over cycles, `[..., ]` of `angles [T, ...]`.

    At frequency 0 the range of the whole recording is taken.
    """
    samples = 1.0 / (frequency * dt) if frequency > 0 else float(len(angles))
    cycles = max(int((len(angles) - 1) / samples + 1e-6), 1)
    cuts = np.round(np.arange(cycles + 1) * samples).astype(int)
    ranges = [np.ptp(angles[a : b + 1], axis=0) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    return np.asarray(np.mean(ranges, axis=0) / 2)


def phase_lags(amplitudes: NDArray[np.complex128]) -> Array:
    """How much later each joint follows the one before it, fraction of a cycle in (-0.5, 0.5], `[J - 1]`.

    >>> z = np.exp(-2j * np.pi * np.array([0.0, 0.1, 0.3]))
    >>> phase_lags(z).round(6).tolist()
    [0.1, 0.2]
    """
    lag = np.angle(amplitudes[:-1] * np.conj(amplitudes[1:])) / (2 * np.pi)
    return np.where(lag <= -0.5, lag + 1.0, lag)


def wave_number(amplitudes: NDArray[np.complex128], where: ArrayLike = AXIAL_JOINTS) -> float:
    r"""Waves per body length: slope of the joints' lag over their place on the body, cycles per body length.

    Least squares over the accumulated lags, each joint weighted by its amplitude (the phase of a joint that moves
    little is known badly, its error goes as 1/amplitude). Positive: the wave runs from head to tail. For a standing
    wave the number has no meaning; see `travelling_index`.

    Args:
        amplitudes: `[J]`, head first.
        where: `[J]` distance from the snout, body lengths.
    """
    lag = np.concatenate([[0.0], np.cumsum(phase_lags(amplitudes))])
    weight = np.abs(amplitudes)
    if not np.any(weight > 0):
        return 0.0
    return float(np.polyfit(np.asarray(where, dtype=np.float64), lag, 1, w=weight / weight.max())[0])


def travelling_index(amplitudes: NDArray[np.complex128]) -> float:
    """Share of travelling wave in [0, 1]: 0 all joints in phase or antiphase, 1 a pure travelling wave.

    The ratio of the singular values of `[Re z, Im z]`, i.e. of the two shapes between which the body alternates;
    "A complex orthogonal decomposition for wave motion analysis" (Feeny, 2008).

    >>> round(travelling_index(np.exp(2j * np.pi * np.arange(8) / 8)), 6)
    1.0
    >>> round(travelling_index(np.array([1.0, 0.5, -0.5, -1.0]) * (1 + 1j)), 6)
    0.0
    """
    values = np.linalg.svd(np.stack([amplitudes.real, amplitudes.imag], axis=1), compute_uv=False)
    return float(values[1] / values[0]) if values[0] > 0 else 0.0
