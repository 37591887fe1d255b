"""Systems with known equations, integrated finely, from which `benchmarks/records.py` draws records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnn.data import Record

FINE = 20  # Runge-Kutta steps per sample
NOISE = 0.01  # of each output's standard deviation: 40 dB

State = np.ndarray
Rate = Callable[[State, np.ndarray], State]


@dataclass(frozen=True)
class System:
    """x' = rate(x, u), y = output(x, u), sampled every dt seconds.

    Attributes:
        what: in a few words. rate: time derivative of the state. output: what is measured.
        states, inputs: their numbers. dt: sampling time in seconds.
        drive: standard deviation of the inputs, in their unit; offset: their mean.
        held: the input is held from one sample to the next (a digital source); else it runs straight.
        smooth: share of the sampling rate above which the input has no power.
        spread: standard deviation of the random start.
    """

    what: str
    rate: Rate
    output: Callable[[State, np.ndarray], np.ndarray]
    states: int
    inputs: int
    dt: float
    drive: float = 1.0
    offset: float = 0.0
    held: bool = True
    smooth: float = 0.25
    spread: float = 0.0
    unit: str = ""


def duffing(x: State, u: np.ndarray) -> State:
    """2 kg on a hardening spring: 50 kN/m and 2e9 N/m^3, 6 % damped, forced by some hundred newtons; metres."""
    q, v = x
    return np.array([v, (u[0] - 5e4 * q - 2e9 * q**3 - 38.0 * v) / 2.0])


def pendulum(x: State, u: np.ndarray) -> State:
    """A rod of 0.6 m, turned by a torque (per inertia) and by a pivot that is shaken sideways, both in 1/s^2."""
    angle, rate = x
    return np.array([rate, -16.4 * np.sin(angle) - 0.5 * rate + u[0] - 1.5 * u[1] * np.cos(angle)])


def van_der_pol(x: State, u: np.ndarray) -> State:
    """A self-sustained oscillation of about 1 Hz, mu = 1."""
    q, v = x
    push = u[0] if len(u) else 0.0
    return np.array([v, 6.3 * (1.0 - q * q) * v - 40.0 * (q - push)])


def resonance(x: State, u: np.ndarray) -> State:
    """A linear oscillator of 2 Hz, 15 % damped."""
    return np.array([x[1], 158.0 * (u[0] - x[0]) - 3.8 * x[1]])


def dead_zone_in_front(x: State, u: np.ndarray) -> State:
    """An amplifier with a dead zone and a limit, then a low pass and an oscillator."""
    pushed = np.clip(np.sign(u[0]) * max(abs(u[0]) - 0.4, 0.0), -1.5, 1.5)
    return np.array([6.0 * (pushed - x[0]), x[2], 90.0 * (x[0] - x[1]) - 5.0 * x[2]])


def tanks(x: State, u: np.ndarray) -> State:
    """Two tanks, one emptying into the other by Torricelli's law; levels in cm, the pump in V."""
    high, low = np.sqrt(np.maximum(x, 0.0))
    return np.array([-0.6 * high + 0.55 * max(u[0], 0.0), 0.6 * high - 0.5 * low])


def dry_friction(x: State, u: np.ndarray) -> State:
    """A slider on a spring with Coulomb friction, a third of the largest force."""
    q, v = x
    return np.array([v, 25.0 * (u[0] - q) - 0.8 * v - 8.0 * np.tanh(v / 0.05)])


def chain(x: State, u: np.ndarray) -> State:
    """Three carts in a row on springs, the middle one also on a hardening spring to the ground; two forces."""
    q, v = x[:3], x[3:]
    stiffness = np.array([[120.0, -50.0, 0.0], [-50.0, 100.0, -50.0], [0.0, -50.0, 90.0]])
    force = np.array([u[0], -900.0 * q[1] ** 3, u[1]])
    return np.concatenate([v, force - stiffness @ q - 0.8 * v])


def bouc_wen(x: State, u: np.ndarray) -> State:
    """An oscillator on a spring with memory: the hysteresis of Bouc and Wen."""
    q, v, z = x
    return np.array([v, u[0] - 2.0 * v - 60.0 * q - 60.0 * z, v - 1.6 * (abs(v) * z) - 0.9 * (v * abs(z))])


FIRST = lambda x, u: x[:1]
SYSTEMS = {
    "duffing": System(
        "hardening spring", duffing, lambda x, u: 1e3 * x[:1], 2, 1, 2e-3, drive=260.0, held=False, unit="mm"
    ),
    "pendulum": System("pendulum, two inputs", pendulum, FIRST, 2, 2, 0.05, drive=4.5, unit="rad"),
    "van_der_pol": System("self-excited, driven", van_der_pol, FIRST, 2, 1, 0.05, drive=1.2, spread=1.0),
    "free_van_der_pol": System("self-excited, undriven", van_der_pol, FIRST, 2, 0, 0.05, spread=2.0),
    "wiener": System("resonance, then saturation", resonance, lambda x, u: np.tanh(0.8 * x[:1]), 2, 1, 0.05),
    "hammerstein": System("dead zone, then resonance", dead_zone_in_front, lambda x, u: x[1:2], 3, 1, 0.05, drive=1.2),
    "tanks": System(
        "two tanks in a row", tanks, lambda x, u: x[1:], 2, 1, 2.0, offset=3.0, smooth=0.04, spread=1.0, unit="cm"
    ),
    "friction": System("slider with dry friction", dry_friction, FIRST, 2, 1, 0.1, drive=1.2),
    "chain": System("three carts, two forces", chain, lambda x, u: x[:3], 6, 2, 0.05, drive=15.0),
    "bouc_wen": System("spring with hysteresis", bouc_wen, FIRST, 3, 1, 0.04, drive=60.0),
}


def measured(name: str, samples: int, seed: int) -> tuple[Record, np.ndarray]:
    """A record of a system under new inputs, and the noise [T, O] that it contains."""
    system, rng = SYSTEMS[name], np.random.default_rng(seed)
    u = system.offset + system.drive * band_limited(samples, system.inputs, system.smooth, rng)
    x = system.spread * np.abs(rng.standard_normal(system.states))
    clean = integrate(system, x, u)
    noise = NOISE * clean.std(0) * rng.standard_normal(clean.shape)
    return Record(u, clean + noise, system.dt, name, system.unit), noise


def band_limited(samples: int, channels: int, smooth: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of unit variance without power above `smooth` times the sampling rate, [T, channels]."""
    spectrum = np.fft.rfft(rng.standard_normal((samples, channels)), axis=0)
    spectrum[np.fft.rfftfreq(samples) > smooth] = 0.0
    x = np.fft.irfft(spectrum, samples, axis=0)
    return x / x.std(0) if channels else np.zeros((samples, 0))


def integrate(system: System, x: State, u: np.ndarray) -> np.ndarray:
    """Outputs [T, O] by the classical Runge-Kutta rule; sample t is measured while u[t] begins to act."""
    h, outputs = system.dt / FINE, []
    for t, now in enumerate(u):
        outputs.append(system.output(x, now))
        slope = (u[min(t + 1, len(u) - 1)] - now) / FINE * (not system.held)
        for k in range(FINE):
            begin, middle, end = now + slope * k, now + slope * (k + 0.5), now + slope * (k + 1)
            a = system.rate(x, begin)
            b = system.rate(x + 0.5 * h * a, middle)
            c = system.rate(x + 0.5 * h * b, middle)
            d = system.rate(x + h * c, end)
            x = x + h / 6 * (a + 2 * b + 2 * c + d)
    return np.array(outputs)
