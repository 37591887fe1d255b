"""Four control tasks on one oscillator each, as batched array code: damp it, hold a rhythm, cross a barrier, keep step.

A task holds B worlds: `state [B, 2]` (position, velocity), `time [B]` and a row of `parameters` per world, drawn
anew for each episode. `draw` makes one world's parameters from that world's own random generator; everything else acts
on the whole batch and draws nothing, so row i of a batch moves exactly as that world would alone.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim import oscillators
from sim.rewards import tolerance

__all__ = ["TASKS", "Damped", "Duffing", "Forced", "OscillatorTask", "VanDerPol"]

Array = NDArray[np.float64]
TAU = 2 * np.pi


class OscillatorTask(ABC):
    """Common ground: a batch of oscillators, pushed by an action in [-1, 1].

    Args:
        num_worlds: B.
        randomise: Relative spread of the physical parameters between episodes, in [0, 1); 0 keeps them nominal.
    """

    dt: ClassVar[float]
    """Control period, s."""
    max_force: ClassVar[float]
    """Acceleration at action 1, position units per s^2."""
    limit: ClassVar[float]
    """The episode ends when the position leaves plus or minus this."""
    fastest: ClassVar[float]
    """Bound of the velocity reading; faster motion reads as this."""
    effort: ClassVar[float]
    """Cost of action 1 or -1 in a step; it grows with the square."""
    extra_names: ClassVar[tuple[str, ...]] = ()
    """Readings beside position and velocity, each in [-1, 1]."""
    parameter_names: ClassVar[tuple[str, ...]]

    def __init__(self, num_worlds: int, randomise: float = 0.1):
        if not 0 <= randomise < 1:
            raise ValueError(f"randomise is a relative spread, in [0, 1); received {randomise}")
        self.randomise = randomise
        self.state = np.zeros((num_worlds, 2))
        self.time = np.zeros(num_worlds)
        self.parameters = {name: np.zeros(num_worlds) for name in self.parameter_names}

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, ...]]:
        """Start state and parameters, in the order of `parameter_names`, of one world for one episode."""

    @abstractmethod
    def advance(self, push: Array) -> None:
        """Move `state` over one control period under the action `push [B]`."""

    @abstractmethod
    def score(self) -> tuple[str, Array]:
        """Name of the task's reward term and its value in [0, 1], `[B]`."""

    def start(self, world: int, rng: np.random.Generator) -> None:
        """Begin a new episode in one world."""
        self.state[world], values = self.draw(rng)
        self.time[world] = 0.0
        for name, value in zip(self.parameter_names, values, strict=True):
            self.parameters[name][world] = value

    def prepare(self) -> None:  # noqa: B027 (nothing unless overridden)
        """Called once after worlds have been started; recomputes what depends on the parameters."""

    def step(self, push: Array) -> None:
        """Advance by one control period."""
        self.advance(push)
        self.time += self.dt

    def extra(self) -> list[Array]:
        """Values of `extra_names`, each `[B]`."""
        return []

    def observe(self) -> Array:
        """Readings `[B, 2 + len(extra_names)]`, clipped to the bounds of the sensors."""
        x, v = self.state[:, 0], self.state[:, 1]
        bounded = [np.clip(x, -self.limit, self.limit), np.clip(v, -self.fastest, self.fastest)]
        return np.stack([*bounded, *self.extra()], axis=1)

    def over(self) -> NDArray[np.bool_]:
        """Worlds whose position has left the range, `[B]`."""
        return np.asarray(~(np.abs(self.state[:, 0]) <= self.limit))

    def spread(self, rng: np.random.Generator) -> float:
        """A factor around 1 for a physical parameter."""
        return float(1 + self.randomise * rng.uniform(-1, 1))


class _LinearTask(OscillatorTask):
    """Steps exactly: matrix exponential under a force held over the step."""

    zeta: ClassVar[float]
    """Damping ratio."""

    def __init__(self, num_worlds: int, randomise: float = 0.1):
        super().__init__(num_worlds, randomise)
        self._phi, self._gamma = np.zeros((num_worlds, 2, 2)), np.zeros((num_worlds, 2))

    def prepare(self) -> None:
        self._phi, self._gamma = oscillators.damped_hold(self.parameters["omega"], self.zeta, self.dt)

    def push_linear(self, acceleration: Array) -> None:
        self.state = np.einsum("bij,bj->bi", self._phi, self.state) + self._gamma * acceleration[:, None]


class Damped(_LinearTask):
    """Bring a ringing mass on a spring to rest, with little force."""

    dt, max_force, limit, fastest, effort, zeta = 0.05, 4.0, 3.0, 25.0, 0.05, 0.01
    parameter_names = ("omega",)

    def draw(self, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, ...]]:
        amplitude, phase, omega = rng.uniform(0.5, 1.5), rng.uniform(0, TAU), TAU * self.spread(rng)
        return (amplitude * np.cos(phase), -omega * amplitude * np.sin(phase)), (omega,)

    def advance(self, push: Array) -> None:
        self.push_linear(self.max_force * push)

    def score(self) -> tuple[str, Array]:
        amplitude = np.hypot(self.state[:, 0], self.state[:, 1] / self.parameters["omega"])
        return "rest", tolerance(amplitude, (0.0, 0.02), margin=1.0)


class Forced(_LinearTask):
    """Hold a given rhythm, off the mass's own, while two unknown rhythms shake it."""

    dt, max_force, limit, fastest, effort, zeta = 0.05, 12.0, 3.0, 25.0, 0.02, 0.05
    extra_names = ("reference.cos", "reference.sin")
    parameter_names = ("omega", "reference", "start", "shake.1", "shake.2", "rate.1", "rate.2", "phase.1", "phase.2")

    def draw(self, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, ...]]:
        omega, start = TAU * self.spread(rng), rng.uniform(0, TAU)
        reference = TAU * rng.uniform(0.7, 0.95)
        shakes, rates, phases = rng.uniform(0.5, 2.0, 2), TAU * rng.uniform(0.3, 1.5, 2), rng.uniform(0, TAU, 2)
        at_rest = (float(rng.uniform(-0.2, 0.2)), 0.0)
        return at_rest, (omega, reference, start, *shakes, *rates, *phases)

    def disturbance(self) -> Array:
        """Acceleration by the two rhythms at the middle of the coming step, `[B]`."""
        p, t = self.parameters, self.time + self.dt / 2
        terms = [p[f"shake.{i}"] * np.sin(p[f"rate.{i}"] * t + p[f"phase.{i}"]) for i in (1, 2)]
        return np.asarray(terms[0] + terms[1])

    def reference_phase(self) -> Array:
        """Phase of the wanted rhythm, `[B]` rad; the position is to be its cosine."""
        return np.asarray(self.parameters["start"] + self.parameters["reference"] * self.time)

    def advance(self, push: Array) -> None:
        self.push_linear(self.max_force * push + self.disturbance())

    def extra(self) -> list[Array]:
        phase = self.reference_phase()
        return [np.cos(phase), np.sin(phase)]

    def score(self) -> tuple[str, Array]:
        error = np.abs(self.state[:, 0] - np.cos(self.reference_phase()))
        return "rhythm", tolerance(error, (0.0, 0.05), margin=0.5)


class Duffing(OscillatorTask):
    """Sit in the commanded one of two wells; the force is too weak to climb the barrier without swinging."""

    dt, max_force, limit, fastest, effort = 0.2, 0.2, 3.0, 5.0, 0.02
    extra_names = ("target",)
    parameter_names = ("delta", "beta", "first", "hold")
    substeps: ClassVar[int] = 4

    def draw(self, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, ...]]:
        delta, beta = 0.1 * self.spread(rng), 1.0  # wells stay at -1 and 1
        well, first = rng.choice([-1.0, 1.0], 2)
        return (well + rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)), (delta, beta, first, rng.uniform(20.0, 40.0))

    def target(self) -> Array:
        """Commanded well, -1 or 1, `[B]`; it changes after every `hold` seconds."""
        turns = np.floor(self.time / self.parameters["hold"] + 1e-9)
        return np.asarray(self.parameters["first"] * np.where(turns % 2 == 0, 1.0, -1.0))

    def advance(self, push: Array) -> None:
        force, beta = self.max_force * push, self.parameters["beta"]
        pull = lambda x: force + x * (1.0 - beta * x * x)
        for _ in range(self.substeps):
            self.state = oscillators.leapfrog_step(pull, self.state, self.dt / self.substeps, self.parameters["delta"])

    def extra(self) -> list[Array]:
        return [self.target()]

    def score(self) -> tuple[str, Array]:
        return "well", tolerance(self.state[:, 0] - self.target(), (-0.2, 0.2), margin=1.0)


class VanDerPol(OscillatorTask):
    """Keep a self-sustained rhythm in step with a reference that is faster or slower and jumps now and then."""

    dt, max_force, limit, fastest, effort = 0.05, 16.0, 5.0, 40.0, 0.05
    extra_names = ("reference.cos", "reference.sin")
    parameter_names = ("omega", "mu", "reference", "start", "jump", "hold")
    substeps: ClassVar[int] = 2

    def draw(self, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, ...]]:
        omega, mu = TAU * self.spread(rng), 0.5 * self.spread(rng)
        phase, reference, start = rng.uniform(0, TAU), TAU * rng.uniform(0.9, 1.1), rng.uniform(0, TAU)
        jump, hold = rng.uniform(1.0, TAU - 1.0), rng.uniform(6.0, 12.0)
        return (2 * np.cos(phase), -2 * omega * np.sin(phase)), (omega, mu, reference, start, jump, hold)

    def reference_phase(self) -> Array:
        """Phase to be in step with, `[B]` rad; it jumps by `jump` after every `hold` seconds."""
        p = self.parameters
        jumps = np.floor(self.time / p["hold"] + 1e-9)
        return np.asarray(p["start"] + p["reference"] * self.time + p["jump"] * jumps)

    def phase(self) -> Array:
        """Phase of the oscillator, `[B]` rad: the angle in the plane of position and -velocity/omega."""
        return np.arctan2(-self.state[:, 1] / self.parameters["omega"], self.state[:, 0])

    def advance(self, push: Array) -> None:
        mu, omega, force = self.parameters["mu"], self.parameters["omega"], self.max_force * push
        field = lambda s: oscillators.van_der_pol(s, mu=mu, omega=omega, force=force)
        for _ in range(self.substeps):
            self.state = oscillators.runge_kutta_step(field, self.state, self.dt / self.substeps)

    def extra(self) -> list[Array]:
        phase = self.reference_phase()
        return [np.cos(phase), np.sin(phase)]

    def score(self) -> tuple[str, Array]:
        return "step", 0.5 * (1 + np.cos(self.phase() - self.reference_phase()))


TASKS: dict[str, type[OscillatorTask]] = {
    "damped": Damped,
    "forced": Forced,
    "duffing": Duffing,
    "vanderpol": VanDerPol,
}
"""Task names of the environments."""
