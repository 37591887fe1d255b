"""Courses of the descending drive over time."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["Schedule"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"


@dataclass(frozen=True)
class Schedule:
    """Drive of the left and the right side over time, linear between points; two points at one time make a jump.

    Args:
        times: seconds, not decreasing, [K].
        left: drive of the left side, no unit, [K].
        right: drive of the right side; None for the same as the left.

    >>> Schedule.parse("0=1.5, 6=1.5, 6=4, 10=5/3")(np.array([3.0, 6.0, 8.0])).tolist()
    [[1.5, 1.5], [4.0, 4.0], [4.5, 3.5]]
    """

    times: tuple[float, ...]
    left: tuple[float, ...]
    right: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        sides = (self.left, self.right or self.left)
        if not self.times or any(len(side) != len(self.times) for side in sides):
            raise ValueError(f"a schedule needs as many times as drives, received {self.times} and {sides}")
        if any(b < a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"the times of a schedule must not decrease, received {self.times}")
        if not np.isfinite([self.times, *sides]).all():
            raise ValueError(f"a schedule must be finite, received {self.times} and {sides}")

    @classmethod
    def constant(cls, drive: float) -> Schedule:
        """The same drive at all times."""
        return cls((0.0,), (float(drive),))

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `TIME=DRIVE` or `TIME=LEFT/RIGHT` pairs (seconds), separated by commas or spaces.

        Raises:
            ValueError: the text has not this form.
        """
        parts = [part for part in re.split(r"[,\s]+", text.strip()) if part]
        matches = [re.fullmatch(rf"({_NUMBER})=({_NUMBER})(?:/({_NUMBER}))?", part) for part in parts]
        if not parts or not all(matches):
            raise ValueError(
                f"a schedule is written TIME=DRIVE or TIME=LEFT/RIGHT with times in seconds, received {text!r}; "
                "for example '0=1.5, 6=1.5, 6=4' (walk, then jump to swimming at 6 s)"
            )
        rows = [[float(g) if g else float(m.group(2)) for g in m.groups()] for m in matches if m]
        return cls(*(tuple(column) for column in zip(*rows, strict=True)))

    def __call__(self, time: np.ndarray | float) -> np.ndarray:
        """Drives (left, right) at one or more times, s, [..., 2]; at a jump the later one, outside the nearest."""
        t = np.asarray(time, dtype=float)
        times, values = np.asarray(self.times), np.array([self.left, self.right or self.left]).T
        if len(times) == 1:
            return np.broadcast_to(values[0], (*t.shape, 2)).copy()
        after = np.clip(np.searchsorted(times, t, side="right"), 1, len(times) - 1)
        t0, t1 = times[after - 1], times[after]
        part = np.where(t1 > t0, (t - t0) / np.where(t1 > t0, t1 - t0, 1), 1.0)[..., None]
        return values[after - 1] + np.clip(part, 0, 1) * (values[after] - values[after - 1])
