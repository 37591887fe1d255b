"""What sensors do to readings: hide, delay, add noise, go dark. Batched transforms with a state per world.

A sensor sees readings `[K, O]` of the worlds `worlds [K]`; `start` begins an episode in those worlds, `read` goes on
with it. `sim.wrappers` puts sensors on environments.
"""

from abc import ABC, abstractmethod

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

__all__ = ["Delayed", "Dropping", "Hidden", "Noisy", "Sensor"]

Array = NDArray[np.floating]
Index = NDArray[np.intp]


class Sensor(ABC):
    """A transform of readings.

    Args:
        space: Space of one world's readings, `[O]`.
        num_worlds: B.
        entries: Which of the O readings it acts on.
    """

    def __init__(self, space: Box, num_worlds: int, entries: Index):
        self.space, self.num_worlds, self.entries = space, num_worlds, entries
        self.rng = np.random.default_rng()

    def seed(self, seed: int | None) -> None:
        """Seed the generator that all worlds share; None leaves it as it is."""
        if seed is not None:
            self.rng = np.random.default_rng([seed, 0x5E4504])  # apart from the environment's own stream

    def output_space(self) -> Box:
        """Space of what comes out, `[O']`."""
        return self.space

    def kept(self) -> Index:
        """Which of the O readings come out."""
        return np.arange(self.space.shape[0])

    def start(self, readings: Array, worlds: Index) -> Array:
        """First readings of a new episode."""
        return self.read(readings, worlds)

    @abstractmethod
    def read(self, readings: Array, worlds: Index) -> Array:
        """The next readings."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """What the info dictionary should tell about the sensors, each `[B, ...]`."""
        return {}


class Hidden(Sensor):
    """Readings that are always 0, or (`drop=True`) left out."""

    def __init__(self, space: Box, num_worlds: int, entries: Index, drop: bool = False):
        super().__init__(space, num_worlds, entries)
        self.drop = drop

    def kept(self) -> Index:
        every = np.arange(self.space.shape[0])
        return np.setdiff1d(every, self.entries) if self.drop else every

    def output_space(self) -> Box:
        low, high = self.space.low.copy(), self.space.high.copy()
        low[self.entries], high[self.entries] = np.minimum(low[self.entries], 0), np.maximum(high[self.entries], 0)
        return Box(low[self.kept()], high[self.kept()], dtype=self.space.dtype.type)

    def read(self, readings: Array, worlds: Index) -> Array:
        out = readings.copy()
        out[:, self.entries] = 0
        return out[:, self.kept()]


class Delayed(Sensor):
    """Readings of some steps ago; before there are any, the first of the episode."""

    def __init__(self, space: Box, num_worlds: int, entries: Index, steps: int):
        super().__init__(space, num_worlds, entries)
        if steps < 1:
            raise ValueError(f"a delay is a number of steps, at least 1; received {steps}")
        self.buffer = np.zeros((num_worlds, steps, len(entries)), dtype=space.dtype)
        self.next = np.zeros(num_worlds, dtype=np.intp)

    def start(self, readings: Array, worlds: Index) -> Array:
        self.buffer[worlds] = readings[:, None, self.entries]
        self.next[worlds] = 0
        return readings.copy()

    def read(self, readings: Array, worlds: Index) -> Array:
        out, slot = readings.copy(), self.next[worlds]
        out[:, self.entries] = self.buffer[worlds, slot]
        self.buffer[worlds, slot] = readings[:, self.entries]
        self.next[worlds] = (slot + 1) % self.buffer.shape[1]
        return out


class Noisy(Sensor):
    """Gaussian noise on each reading, and a bias drawn once per episode; readings saturate at their bounds."""

    def __init__(
        self, space: Box, num_worlds: int, entries: Index, std: float | Array = 0.1, bias: float | Array = 0.0
    ):
        super().__init__(space, num_worlds, entries)
        for name, value in (("std", std), ("bias", bias)):
            given = np.asarray(value, dtype=np.float64)
            if given.shape not in ((), (len(entries),)) or not np.all((given >= 0) & np.isfinite(given)):
                raise ValueError(
                    f"{name} must be >= 0, one number or one for each of {len(entries)} readings; received {value!r}"
                )
        self.std, self.bias = np.asarray(std, dtype=np.float64), np.asarray(bias, dtype=np.float64)
        self.offsets = np.zeros((num_worlds, len(entries)))

    def start(self, readings: Array, worlds: Index) -> Array:
        self.offsets[worlds] = self.bias * self.rng.standard_normal((len(worlds), len(self.entries)))
        return self.read(readings, worlds)

    def read(self, readings: Array, worlds: Index) -> Array:
        out = readings.copy()
        noise = self.std * self.rng.standard_normal((len(worlds), len(self.entries)))
        low, high = self.space.low[self.entries], self.space.high[self.entries]
        out[:, self.entries] = np.clip(readings[:, self.entries] + noise + self.offsets[worlds], low, high)
        return out


class Dropping(Sensor):
    """Sensors that go dark for some steps, at random or at a given step of each episode."""

    def __init__(
        self,
        space: Box,
        num_worlds: int,
        entries: Index,
        probability: float = 0.0,
        steps: int = 1,
        at: int | None = None,
        together: bool = False,
        hold: bool = False,
    ):
        super().__init__(space, num_worlds, entries)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability is that of going dark in a step, in [0, 1]; received {probability}")
        if steps < 1 or (at is not None and at < 0):
            raise ValueError(f"steps must be at least 1 and at >= 0; received steps={steps}, at={at}")
        self.probability, self.steps, self.at, self.together, self.hold = probability, steps, at, together, hold
        self.dark = np.zeros((num_worlds, len(entries)), dtype=np.int64)
        """Steps that each sensor stays dark."""
        self.clock = np.zeros(num_worlds, dtype=np.int64)
        self.held = np.zeros((num_worlds, len(entries)), dtype=space.dtype)
        self.dropped = np.zeros((num_worlds, space.shape[0]), dtype=bool)
        """Readings that were dark when last read."""

    def output_space(self) -> Box:
        return self.space if self.hold else Hidden(self.space, self.num_worlds, self.entries).output_space()

    def start(self, readings: Array, worlds: Index) -> Array:
        self.dark[worlds], self.clock[worlds] = 0, 0
        self.held[worlds] = readings[:, self.entries]
        return self.read(readings, worlds)

    def read(self, readings: Array, worlds: Index) -> Array:
        shape = (len(worlds), 1 if self.together else len(self.entries))
        struck = self.rng.random(shape) < self.probability
        if self.at is not None:
            struck = struck | (self.clock[worlds] == self.at)[:, None]
        left = self.dark[worlds]
        left = np.where(struck & (left == 0), self.steps, left)
        dark, seen = left > 0, readings[:, self.entries]
        out = readings.copy()
        out[:, self.entries] = np.where(dark, self.held[worlds] if self.hold else 0, seen)
        self.held[worlds] = np.where(dark, self.held[worlds], seen)
        self.dark[worlds] = np.maximum(left - 1, 0)
        self.clock[worlds] += 1
        self.dropped[np.ix_(worlds, self.entries)] = dark
        return out

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {"dropped": self.dropped.copy()}
