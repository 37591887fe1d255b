"""Records of systems: checking, scaling, splitting and cutting into sections."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Record", "Scaling", "Sections", "check_training", "columns", "cut", "split"]


@dataclass(frozen=True, eq=False)
class Record:
    """One measured run of a system.

    Args:
        u: inputs [T, I]; [T] is one input, None an unforced system (I = 0).
        y: outputs [T, O]; [T] is one output.
        dt: sampling time in seconds.
        name: for messages and plots.
        unit: unit of the outputs, for messages and plots.

    Raises:
        ValueError: lengths that differ, values that are not finite, no samples, a sampling time that is not positive.

    >>> Record(np.zeros(5), np.arange(5.0), 0.1)[1:3].y.tolist()
    [[1.0], [2.0]]
    """

    u: Any
    y: Any
    dt: float = 1.0
    name: str = "record"
    unit: str = ""

    def __post_init__(self) -> None:
        y = columns(self.y, f"the outputs of {self.name}")
        u = np.zeros((len(y), 0)) if self.u is None else columns(self.u, f"the inputs of {self.name}")
        if u.size == 0 and len(u) in (0, len(y)):
            u = np.zeros((len(y), 0))
        object.__setattr__(self, "u", u)
        object.__setattr__(self, "y", y)
        if len(u) != len(y):
            raise ValueError(
                f"{self.name}: u has {len(u)} samples and y has {len(y)}; both must be of the same instants, time first"
            )
        if len(y) == 0 or y.shape[1] == 0:
            raise ValueError(f"{self.name}: y has shape {y.shape}; a record needs samples and at least one output")
        for letter, values in (("u", u), ("y", y)):
            bad = ~np.isfinite(values)
            if bad.any():
                t, channel = (int(i) for i in np.argwhere(bad)[0])
                raise ValueError(
                    f"{self.name}: {letter}[{t}, {channel}] is {values[t, channel]}; {int(bad.sum())} values in all "
                    "are not finite: cut the record into sections without gaps (u_0, y_0, u_1, ...) or fill them"
                )
        if not (self.dt > 0 and math.isfinite(self.dt)):
            raise ValueError(f"{self.name}: dt is {self.dt}; the sampling time must be a positive number of seconds")

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, span: slice) -> Record:
        return replace(self, u=self.u[span], y=self.y[span])

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of inputs and of outputs, (I, O)."""
        return self.u.shape[1], self.y.shape[1]


def columns(values: Any, what: str) -> np.ndarray:
    """Values as [T, channels] in double precision; [T] is one channel.

    Raises:
        ValueError: not numbers, or another shape.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are not numbers: {error}") from error
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{what} have shape {array.shape}; pass [T] or [T, channels]")
    return np.ascontiguousarray(array)


def check_training(records: Sequence[Record], shortest: int = 2) -> list[str]:
    """Refuse records that nothing can be learned from; return warnings about the rest.

    Raises:
        ValueError: no records, different numbers of channels or sampling times, an output that never changes, or
            every record shorter than `shortest` samples.
    """
    if not records:
        raise ValueError("there is no record to learn from")
    first = records[0]
    for record in records[1:]:
        if record.sizes != first.sizes:
            raise ValueError(f"{record.name} has (I, O) = {record.sizes}, {first.name} has {first.sizes}")
        if abs(record.dt - first.dt) > 1e-6 * first.dt:
            raise ValueError(f"{record.name} has dt = {record.dt:g} s, {first.name} has {first.dt:g} s; resample one")
    longest = max(len(record) for record in records)
    if longest < shortest:
        raise ValueError(f"the longest record has {longest} samples, at least {shortest} are needed (window included)")
    y, u = np.concatenate([r.y for r in records]), np.concatenate([r.u for r in records])
    flat = [i for i in range(y.shape[1]) if np.ptp(y[:, i]) == 0]
    if flat:
        raise ValueError(
            f"output {flat[0]} of {first.name} is constant ({y[0, flat[0]]:g}); there is nothing to learn, leave it out"
        )
    still = [i for i in range(u.shape[1]) if np.ptp(u[:, i]) == 0]
    return [f"input {i} is constant ({u[0, i]:g}) and tells nothing" for i in still]


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations that make channels comparable, from the training records alone."""

    u_mean: list[float] = field(default_factory=list)
    u_std: list[float] = field(default_factory=list)
    y_mean: list[float] = field(default_factory=list)
    y_std: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, records: Sequence[Record]) -> Scaling:
        """The scaling of these records; a constant channel keeps its size.

        >>> Scaling.of([Record(np.array([0.0, 2.0]), np.array([10.0, 30.0]))]).y_std
        [10.0]
        """
        u, y = np.concatenate([r.u for r in records]), np.concatenate([r.y for r in records])
        spread = lambda x: np.where(np.ptp(x, 0) > 0, x.std(0), 1.0).tolist() if x.shape[1] else []
        return cls(u.mean(0).tolist(), spread(u), y.mean(0).tolist(), spread(y))

    def scale(self, record: Record) -> Record:
        """The record in units of standard deviations about the mean."""
        if record.sizes != (len(self.u_mean), len(self.y_mean)):
            raise ValueError(
                f"{record.name} has (I, O) = {record.sizes}, the model was made for "
                f"{(len(self.u_mean), len(self.y_mean))}"
            )
        return replace(
            record,
            u=(record.u - np.array(self.u_mean)) / np.array(self.u_std),
            y=(record.y - np.array(self.y_mean)) / np.array(self.y_std),
        )

    def unscale(self, y: np.ndarray) -> np.ndarray:
        """Scaled outputs [..., O] in the data's unit."""
        return y * np.array(self.y_std) + np.array(self.y_mean)

    def to_json(self) -> str:
        return json.dumps(self.__dict__)


class Sections(NamedTuple):
    """Sections of records, padded at the end: inputs [T, B, I], outputs [T, B, O], and where they are real [T, B]."""

    us: Tensor
    ys: Tensor
    mask: Tensor

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Sections:
        """The sections on another device or in another floating type; labels stay integers."""
        move = lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None)
        return Sections(*(move(x) for x in self))

    def pick(self, rows: Tensor | Sequence[int] | slice) -> Sections:
        """Some of the sections, cut after the last step that counts in any of them."""
        chosen = Sections(self.us[:, rows], self.ys[:, rows], self.mask[:, rows])
        real = chosen.mask.any(1).nonzero()
        steps = int(real[-1]) + 1 if len(real) else 0
        return Sections(*(x[:steps] for x in chosen))


def cut(
    records: Sequence[Record],
    length: int | None = None,
    stride: int | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Sections:
    """Cut records into sections of `length` samples (None: whole records), one every `stride` samples (None: `length`).

    The rest of a record becomes a shorter section if it is at least a quarter of the length.

    >>> record = Record(np.zeros(10), np.arange(10.0))
    >>> cut([record], 4).mask.sum(0).tolist()
    [4, 4, 2]
    """
    pieces: list[Record] = []
    for record in records:
        if length is None or len(record) <= length:
            pieces.append(record)
            continue
        step = stride or length
        starts = range(0, len(record), step)
        for start in starts:
            piece = record[start : start + length]
            if len(piece) == length or (
                len(piece) >= length / 4 and start + len(piece) == len(record) and step >= length
            ):
                pieces.append(piece)
    steps, (I, O) = max(len(piece) for piece in pieces), pieces[0].sizes
    us, ys = torch.zeros(steps, len(pieces), I, dtype=dtype), torch.zeros(steps, len(pieces), O, dtype=dtype)
    mask = torch.zeros(steps, len(pieces), dtype=torch.bool)
    for b, piece in enumerate(pieces):
        us[: len(piece), b] = torch.as_tensor(piece.u, dtype=dtype)
        ys[: len(piece), b] = torch.as_tensor(piece.y, dtype=dtype)
        mask[: len(piece), b] = True
    return Sections(us, ys, mask)


def split(records: Sequence[Record], held_out: float = 0.2) -> tuple[list[Record], list[Record]]:
    """Training and held-out parts: the last records where there are five or more, else the end of every record in time.

    >>> train, valid = split([Record(None, np.arange(100.0))])
    >>> len(train[0]), len(valid[0])
    (80, 20)
    """
    if not 0 < held_out < 1:
        raise ValueError(f"the held-out share must lie between 0 and 1, received {held_out}")
    if len(records) >= 5:
        kept = max(1, round(len(records) * (1 - held_out)))
        return list(records[:kept]), list(records[kept:])
    cuts = [max(1, round(len(record) * (1 - held_out))) for record in records]
    train = [record[:cut_at] for record, cut_at in zip(records, cuts, strict=True)]
    valid = [record[cut_at:] for record, cut_at in zip(records, cuts, strict=True) if cut_at < len(record)]
    return train, valid
