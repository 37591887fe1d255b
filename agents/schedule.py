"""Courses of the descending drive over time."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["Schedule"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"


@dataclass(frozen=True)
class Schedule:
    """A value over time, linear between points; two points at one time make a jump.

    Args:
        times: seconds, not decreasing, [K].
        values: drive, no unit, [K].

    >>> Schedule.parse("0=1.5, 6=1.5, 6=4, 10=5")(np.array([0.0, 3.0, 6.0, 8.0, 20.0])).tolist()
    [1.5, 1.5, 4.0, 4.5, 5.0]
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values) or not self.times:
            raise ValueError(f"a schedule needs as many times as values, received {self.times} and {self.values}")
        if any(b < a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"the times of a schedule must not decrease, received {self.times}")
        if not np.isfinite([*self.times, *self.values]).all():
            raise ValueError(f"a schedule must be finite, received {self.times} and {self.values}")

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """The same value at all times."""
        return cls((0.0,), (float(value),))

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `TIME=DRIVE` pairs (seconds), separated by commas or spaces.

        Raises:
            ValueError: the text has not this form.
        """
        parts = [part for part in re.split(r"[,\s]+", text.strip()) if part]
        matches = [re.fullmatch(rf"({_NUMBER})=({_NUMBER})", part) for part in parts]
        if not parts or not all(matches):
            raise ValueError(
                f"a schedule is written TIME=DRIVE,TIME=DRIVE with times in seconds, received {text!r}; "
                "for example '0=1.5,6=1.5,6=4' (walk, then jump to swimming at 6 s)"
            )
        pairs = [(float(m.group(1)), float(m.group(2))) for m in matches if m]
        return cls(tuple(t for t, _ in pairs), tuple(v for _, v in pairs))

    def __call__(self, time: np.ndarray | float) -> np.ndarray:
        """The value at one or more times, s; at a jump the later value, outside the span the nearest one."""
        t = np.asarray(time, dtype=float)
        after = np.clip(np.searchsorted(self.times, t, side="right"), 1, max(len(self.times) - 1, 1))
        if len(self.times) == 1:
            return np.full(t.shape, self.values[0])
        times, values = np.asarray(self.times), np.asarray(self.values)
        t0, t1, v0, v1 = times[after - 1], times[after], values[after - 1], values[after]
        part = np.where(t1 > t0, (t - t0) / np.where(t1 > t0, t1 - t0, 1), 1.0)
        return v0 + np.clip(part, 0, 1) * (v1 - v0)
