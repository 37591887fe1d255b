"""A recorded motion of the animal: what the gait measures read, loaded from stored traces or made in a script."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.anatomy import JOINT_X, LINK_CENTRES, LINK_MASSES

__all__ = ["AXIAL_JOINTS", "SPINE", "Trajectory", "cycle_mean"]

Array = NDArray[np.float64]

SPINE = slice(0, 8)
"""The eight yaw joints of the spine, head first, among the 24 joints."""

AXIAL_JOINTS = JOINT_X
"""Distance of the spine's joints from the snout, `[8]` body lengths."""

_EDGES = np.concatenate([[0.0], AXIAL_JOINTS, [1.0]])

_OPTIONAL = ("foot_positions", "power", "submerged")


@dataclass(frozen=True)
class Trajectory:
    """Motion of one animal, sampled at a fixed period; every array has time first.

    Raises:
        ValueError: A shape that does not fit, a clock that does not tick evenly, or values that are not finite.

    >>> still = Trajectory(
    ...     time=np.arange(4) * 0.01,
    ...     joint_angles=np.zeros((4, 24)),
    ...     link_positions=np.tile(np.c_[-LINK_CENTRES, np.zeros((9, 2))] * 0.1, (4, 1, 1)),
    ...     foot_contact=np.ones((4, 4), bool),
    ...     heading=np.zeros(4),
    ... )
    >>> round(still.dt, 6), still.centre().shape
    (0.01, (4, 3))
    """

    time: Array
    """`[T]` s, evenly spaced."""
    joint_angles: Array
    """`[T, 24]` rad: axis.1 to axis.8, then yaw, pitch, roll, elbow or knee of each limb."""
    link_positions: Array
    """`[T, 9, 3]` m, head first, z up: the point `link_points` of each axial link."""
    foot_contact: NDArray[np.bool_]
    """`[T, 4]`: fore left, fore right, hind left, hind right."""
    heading: Array
    """`[T]` rad, yaw of the trunk, counter-clockwise positive."""
    length: float = 0.1
    """Total length of the animal, m."""
    mass: float | None = None
    """Mass of the animal, kg."""
    foot_positions: Array | None = None
    """`[T, 4, 3]` m, limbs as in `foot_contact`."""
    power: Array | None = None
    """`[T]` W, mechanical power of all muscles."""
    submerged: Array | None = None
    """`[T, 9]` submerged fraction of each axial link."""
    world: str | None = None
    """Name of the world it was recorded in."""
    joint_names: tuple[str, ...] = ()
    """Names of the 24 joints, if known."""
    link_points: Array = field(default_factory=lambda: LINK_CENTRES)
    """`[9]` where on the body the link positions are taken, body lengths from the snout."""

    def __post_init__(self) -> None:
        set_ = lambda name, value: object.__setattr__(self, name, value)
        steps = np.asarray(self.time).shape[0] if np.ndim(self.time) == 1 else 0
        if steps < 2:
            raise ValueError(f"time is [T] with T >= 2; received shape {np.shape(self.time)}")
        shapes: dict[str, tuple[int, ...]] = {
            "time": (steps,),
            "joint_angles": (steps, 24),
            "link_positions": (steps, 9, 3),
            "foot_contact": (steps, 4),
            "heading": (steps,),
            "foot_positions": (steps, 4, 3),
            "power": (steps,),
            "submerged": (steps, 9),
            "link_points": (9,),
        }
        for name, shape in shapes.items():
            if name in _OPTIONAL and getattr(self, name) is None:
                continue
            value = np.asarray(getattr(self, name), dtype=bool if name == "foot_contact" else np.float64)
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}; T={steps} steps need {shape}")
            if not np.all(np.isfinite(value)):
                row = int(np.argwhere(~np.isfinite(value))[0][0])
                raise ValueError(f"{name} is not finite at row {row}; cut the trajectory before the motion diverges")
            set_(name, value)
        if not self.length > 0:
            raise ValueError(f"length is in m and positive; received {self.length}")
        ticks = np.diff(self.time)
        if not (ticks.min() > 0 and np.ptp(ticks) <= 1e-3 * ticks.mean() + 1e-9):
            raise ValueError(
                f"time must tick evenly; its steps range from {ticks.min():.6g} to {ticks.max():.6g} s. Resample first"
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Trajectory":
        """Read the `traces.npz` of a run; arrays that it does not hold stay None.

        Raises:
            FileNotFoundError: No such file.
            ValueError: A required array is missing.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no traces at {path}; give the traces.npz of a run")
        with np.load(path, allow_pickle=False) as stored:
            return cls.from_arrays({key: stored[key] for key in stored.files})

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> "Trajectory":
        """Take what is needed from a mapping with the keys of `traces.npz`; other keys are passed over.

        Raises:
            ValueError: A required array is missing.
        """
        required = ("time", "joint_angles", "link_positions", "foot_contact", "heading")
        missing = [name for name in required if name not in arrays]
        if missing:
            raise ValueError(f"a trajectory needs {', '.join(required)}; missing: {', '.join(missing)}")
        given: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls) if f.name in arrays}
        for name in ("length", "mass"):
            if name in given:
                number = float(given[name])
                given[name] = number if np.isfinite(number) else None
        if "world" in given:
            given["world"] = str(given["world"])
        if "joint_names" in given:
            given["joint_names"] = tuple(str(name) for name in given["joint_names"])
        return cls(**given)

    def between(self, start: float = -np.inf, stop: float = np.inf) -> "Trajectory":
        """The part with `start <= time < stop`, seconds.

        Raises:
            ValueError: Fewer than two samples lie inside.
        """
        keep = (self.time >= start - 1e-9) & (self.time < stop)
        if keep.sum() < 2:
            raise ValueError(
                f"no two samples between {start} and {stop} s; the trajectory spans {self.time[0]:.3f} to "
                f"{self.time[-1]:.3f} s"
            )
        timed = ("time", "joint_angles", "link_positions", "foot_contact", "heading", *_OPTIONAL)
        values = {name: getattr(self, name) for name in timed}
        return replace(self, **{name: v[keep] for name, v in values.items() if v is not None})

    @property
    def dt(self) -> float:
        """Sampling period, s."""
        return float((self.time[-1] - self.time[0]) / (len(self.time) - 1))

    @property
    def duration(self) -> float:
        """From the first to the last sample, s."""
        return float(self.time[-1] - self.time[0])

    def spine(self) -> Array:
        """Angles of the spine joints, `[T, 8]` rad."""
        return self.joint_angles[:, SPINE]

    def centre(self) -> Array:
        """Centre of mass of the axial links, `[T, 3]` m."""
        return np.asarray(np.einsum("tlk,l->tk", self.link_positions, LINK_MASSES / LINK_MASSES.sum()))

    def axis(self) -> Array:
        """Unit vector from tail to head in the plane, `[T, 2]`: slope of the link positions over the body."""
        weight = self.link_points.mean() - self.link_points
        vector = np.einsum("tlk,l->tk", self.link_positions[:, :, :2], weight)
        return vector / np.linalg.norm(vector, axis=1, keepdims=True)

    def midline(self, where: Sequence[float] | Array) -> Array:
        """Points of the body's midline seen from above, `[T, S, 2]` m.

        The body is taken as nine straight links joined at `AXIAL_JOINTS` and bent by the measured joint angles;
        that chain is laid on the nine measured link positions by the best rotation and shift of each frame
        (least squares).
        So the snout and the tail tip, which no link position marks, are found without extrapolating a curve.

        Args:
            where: `[S]` distances from the snout, body lengths in [0, 1].
        """
        s = np.asarray(where, dtype=np.float64)
        bent = np.cumsum(self.spine(), axis=1)
        yaw = -np.concatenate([np.zeros((len(self.time), 1)), bent], axis=1)  # positive: left
        along = -np.stack([np.cos(yaw), np.sin(yaw)], axis=-1) * np.diff(_EDGES)[:, None] * self.length
        joints = np.concatenate([np.zeros_like(along[:, :1]), np.cumsum(along, axis=1)], axis=1)  # [T, 10, 2]
        marks, wanted = _along(joints, self.link_points), _along(joints, s)
        target = self.link_positions[:, :, :2]
        shift_from, shift_to = marks.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
        a, b = _complex(marks - shift_from), _complex(target - shift_to)
        turn = np.sum(np.conj(a) * b, axis=1)
        turn = turn / np.abs(turn)
        points = _complex(wanted - shift_from) * turn[:, None]
        return np.stack([points.real, points.imag], axis=-1) + shift_to


def _complex(points: Array) -> NDArray[np.complex128]:
    return points[..., 0] + 1j * points[..., 1]


def _along(joints: Array, s: Array) -> Array:
    """Points at the fractions `s` of a chain whose corners are `joints [T, 10, 2]`, `[T, S, 2]`."""
    link = np.clip(np.searchsorted(_EDGES, s, side="right") - 1, 0, 8)
    part = ((s - _EDGES[link]) / np.diff(_EDGES)[link])[:, None]
    return (1 - part) * joints[:, link] + part * joints[:, link + 1]


def cycle_mean(values: Array, samples: float) -> Array:
    """Running mean over a window of `samples` (need not be whole), which removes a rhythm of that period exactly.

    Args:
        values: `[T, ...]`.
        samples: Window length in samples, at most T - 1.

    Returns:
        `[T', ...]` with `T' = T - ceil(samples)`; row i is centred on row `i + samples / 2` of the input.

    >>> t = np.arange(100)
    >>> bool(np.allclose(cycle_mean(5 + np.sin(2 * np.pi * t / 20), 20.0), 5))
    True
    """
    steps = len(values)
    if not 0 < samples <= steps - 1:
        raise ValueError(f"the window must lie in (0, {steps - 1}] samples; received {samples}")
    first = (values[1:] + values[:-1]) / 2
    total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(first, axis=0)])  # trapezoidal integral
    whole, part = int(np.floor(samples)), samples - np.floor(samples)
    count = steps - int(np.ceil(samples))
    upper = total[whole : whole + count]
    if part > 0:
        rest, after = values[whole : whole + count], values[whole + 1 : whole + 1 + count]
        upper = upper + part * (rest + part * (after - rest) / 2)
    return np.asarray((upper - total[:count]) / samples)
