"""Recorded joint cycles: read a table of angles over one cycle, and play it at any frequency."""

import csv
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.anatomy import JOINT_NAMES

__all__ = ["COLUMN_JOINTS", "JointCycle", "load_cycle"]

Array = NDArray[np.float64]

_LIMBS = {
    "Left Shoulder": ("fore.left", "Left Elbow"),
    "Right Shoulder": ("fore.right", "Right Elbow"),
    "Left Hip": ("hind.left", "Left Knee"),
    "Right Hip": ("hind.right", "Right Knee"),
}

COLUMN_JOINTS: dict[str, str] = {f"Axis {i}": f"axis.{i}" for i in range(1, 9)} | {
    column: f"limb.{limb}.{joint}"
    for girdle, (limb, last) in _LIMBS.items()
    for column, joint in [
        *((f"{girdle}-{joint}", joint) for joint in ("yaw", "pitch", "roll")),
        (last, "elbow" if limb.startswith("fore") else "knee"),
    ]
}
"""Column heading of the recordings -> joint name, in the order of the 24 joints."""


@dataclass(frozen=True)
class JointCycle:
    """One cycle of joint angles as a periodic function of the phase.

    Linear between samples. A measured cycle does not end where it began; what is missing is added over the last tenth
    of the cycle, by a raised cosine, so that the joints do not jump.

    >>> cycle = JointCycle(np.radians([[0.0], [10.0], [0.0], [-10.0]]), ("axis.1",))
    >>> [round(float(np.degrees(cycle(p)[0])), 6) for p in (0.0, 0.125, 1.25)]
    [0.0, 5.0, 10.0]
    """

    angles: Array
    """`[N, J]` rad, sample n at phase n / N."""
    joint_names: tuple[str, ...]
    """Names of the J joints."""
    closing: float = 0.1
    """Part of the cycle over which the gap between end and beginning is closed."""

    def __post_init__(self) -> None:
        if self.angles.ndim != 2 or self.angles.shape[1] != len(self.joint_names) or len(self.angles) < 4:
            raise ValueError(
                f"angles are [N, J] with N >= 4 and one column for each of the {len(self.joint_names)} joints; "
                f"received {self.angles.shape}"
            )
        if not 0 <= self.closing <= 1:
            raise ValueError(f"closing is a part of the cycle, in [0, 1]; received {self.closing}")

    def __call__(self, phase: ArrayLike) -> Array:
        """Angles `[..., J]` rad at a phase in cycles, any shape; whole cycles are taken off."""
        count = len(self.angles)
        place = (np.asarray(phase, dtype=np.float64) % 1.0) * count
        before = np.minimum(place.astype(np.intp), count - 1)
        part = (place - before)[..., None]
        table = self._closed
        return (1 - part) * table[before] + part * table[before + 1]

    def at(self, time: ArrayLike, frequency: float) -> Array:
        """Angles `[..., J]` rad at a time in s, the cycle repeated `frequency` times a second.

        Raises:
            ValueError: The frequency is not positive.
        """
        if not frequency > 0:
            raise ValueError(f"frequency is in Hz and positive; received {frequency}")
        return self(np.asarray(time, dtype=np.float64) * frequency)

    @cached_property
    def _closed(self) -> Array:
        """Samples at n / N for n = 0..N, the last equal to the first."""
        count = len(self.angles)
        after = 2 * self.angles[-1] - self.angles[-2]  # where one more sample would have been
        table = np.concatenate([self.angles, after[None]])
        if self.closing > 0:
            progress = np.clip((np.arange(count + 1) / count - 1 + self.closing) / self.closing, 0, 1)
            table = table + 0.5 * (1 - np.cos(np.pi * progress))[:, None] * (self.angles[0] - after)
        return np.concatenate([table[:-1], self.angles[:1]])


def load_cycle(path: str | PathLike[str], closing: float = 0.1) -> JointCycle:
    """Read one joint cycle from a CSV file of degrees.

    The first line names the columns: `time` and joints as in `COLUMN_JOINTS` (or the joint names of `sim.anatomy`),
    in any order; all eight spine joints, and all or none of the sixteen limb joints. A file of numbers only must have
    25 columns, time and the 24 joints in order, or 9 without limbs. The rows are samples at even times over one
    cycle, without the repeated first one; the unit of the time does not matter.

    Args:
        path: The file.
        closing: See `JointCycle`.

    Returns:
        The cycle, joints in the order of `sim.anatomy.JOINT_NAMES`: `[8]` or `[24]`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not such a table; the message names line and column.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"no joint cycle at {file}; give a CSV file with columns time, Axis 1 .. Axis 8 (degrees)"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file: {error}") from None
    rows = [(number, row) for number, row in enumerate(csv.reader(text.splitlines()), start=1) if any(row)]
    if not rows:
        raise ValueError(f"{file} is empty; it needs a header line and one row per sample")
    header = [cell.strip() for cell in rows[0][1]]
    names, body = (_standard_columns(file, len(header)), rows) if _is_number(header[0]) else (header, rows[1:])
    if len(body) < 4:
        raise ValueError(f"{file} has {len(body)} rows of angles; a cycle needs at least 4")
    table = np.array([_numbers(file, number, row, names) for number, row in body])
    columns = _columns(file, names)
    if "time" in names:
        _check_clock(file, table[:, names.index("time")])
    joints = [joint for joint in JOINT_NAMES if joint in columns]
    return JointCycle(np.radians(table[:, [columns[joint] for joint in joints]]), tuple(joints), closing)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _standard_columns(file: Path, count: int) -> list[str]:
    if count not in (9, 25):
        raise ValueError(f"{file} has no header line and {count} columns; without one it must have 9 or 25 columns")
    return ["time", *list(COLUMN_JOINTS)[: count - 1]]


def _numbers(file: Path, number: int, row: list[str], names: list[str]) -> list[float]:
    if len(row) != len(names):
        raise ValueError(f"{file}, line {number}: {len(row)} values for {len(names)} columns")
    values = []
    for cell, name in zip(row, names, strict=True):
        value = float(cell) if _is_number(cell) else np.nan
        if not np.isfinite(value):
            raise ValueError(f"{file}, line {number}, column {name!r}: expected a finite number, received {cell!r}")
        values.append(value)
    return values


def _columns(file: Path, names: list[str]) -> dict[str, int]:
    """Joint name -> column."""
    known = {**COLUMN_JOINTS, **{joint: joint for joint in JOINT_NAMES}}
    unknown = [name for name in names if name not in known and name != "time"]
    if unknown:
        raise ValueError(
            f"{file}: unknown columns {', '.join(map(repr, unknown))}; joints are {', '.join(COLUMN_JOINTS)}"
        )
    columns = {known[name]: i for i, name in enumerate(names) if name != "time"}
    if len(columns) + ("time" in names) != len(names):
        raise ValueError(f"{file}: a column occurs twice in {', '.join(names)}")
    limbs = [joint for joint in JOINT_NAMES[8:] if joint in columns]
    missing = [joint for joint in (JOINT_NAMES if limbs else JOINT_NAMES[:8]) if joint not in columns]
    if missing:
        raise ValueError(
            f"{file}: no column for {', '.join(missing)}; give all 8 spine joints, and all or no limb joints"
        )
    return columns


def _check_clock(file: Path, time: Array) -> None:
    ticks = np.diff(time)
    if not (ticks.min() > 0 and np.ptp(ticks) <= 0.01 * ticks.mean()):
        raise ValueError(
            f"{file}: the times must rise in even steps; they range from {ticks.min():.4g} to {ticks.max():.4g} s"
        )
