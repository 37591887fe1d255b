"""Edits are data: clamp, patch, lesion, add, scale or disturb named units at named steps, for any cell."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rnn.cell import Cell, Tap, Target, no_tap, resolve

__all__ = [
    "Add", "Clamp", "Edit", "EditPlan", "Lesion", "Noise", "Patch", "Scale",
    "edits_from_json", "edits_to_json", "parse_edit",
]  # fmt: skip

Value = float | Sequence[Any] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class Edit:
    """Something done to the units at `address` during `steps` (start included, stop excluded; None: always).

    Steps count from the start of the rollout and do not restart when an episode does. A value is a number, or
    one number per batch row [B], or one per row and unit [B, n] (use [1, n] for the same in every row), so that
    one pass can try every unit; NaN in such an array leaves that entry alone.
    """

    address: str
    steps: slice | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = ""
    amount: ClassVar[str] = "value"

    def active(self, step: int) -> bool:
        """Whether the edit acts at this step."""
        if self.steps is None:
            return True
        return (self.steps.start or 0) <= step and (self.steps.stop is None or step < self.steps.stop)

    def apply(self, old: Tensor, step: int) -> Tensor:
        """The replacement for `old` [B, n]."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The edit as plain JSON data."""
        start = 0 if self.steps is None else (self.steps.start or 0)
        stop = None if self.steps is None else self.steps.stop
        data: dict[str, Any] = {"kind": self.kind, "address": self.address, "start": start, "stop": stop}
        if self.amount:
            data[self.amount] = _plain(getattr(self, self.amount))
        return data


@dataclass(frozen=True, eq=False)
class Clamp(Edit):
    """Hold units at a value: `u <- value`.

    >>> Clamp("h[12]", 0.8, steps=slice(200, 400)).describe()
    {'kind': 'clamp', 'address': 'h[12]', 'start': 200, 'stop': 400, 'value': 0.8}
    """

    value: Value = 0.0
    kind: ClassVar[str] = "clamp"

    def apply(self, old: Tensor, step: int) -> Tensor:
        return _where_given(_rows(self.value, old), old)


@dataclass(frozen=True, eq=False)
class Add(Edit):
    """Add to units, like an injected current: `u <- u + value`."""

    value: Value = 0.0
    kind: ClassVar[str] = "add"

    def apply(self, old: Tensor, step: int) -> Tensor:
        return _where_given(old + _rows(self.value, old), old)


@dataclass(frozen=True, eq=False)
class Scale(Edit):
    """Multiply units: `u <- factor u`."""

    factor: Value = 1.0
    kind: ClassVar[str] = "scale"
    amount: ClassVar[str] = "factor"

    def apply(self, old: Tensor, step: int) -> Tensor:
        return _where_given(old * _rows(self.factor, old), old)


@dataclass(frozen=True, eq=False)
class Lesion(Edit):
    """Silence units: nothing downstream hears them. Optionally only in some batch rows (`rows` [B] of 0 and 1)."""

    rows: Sequence[Any] | np.ndarray | Tensor | None = None
    kind: ClassVar[str] = "lesion"
    amount: ClassVar[str] = "rows"

    def apply(self, old: Tensor, step: int) -> Tensor:
        if self.rows is None:
            return torch.zeros_like(old)
        return old * (1 - _rows(self.rows, old))


@dataclass(frozen=True, eq=False)
class Noise(Edit):
    """Add white noise, `u <- u + std n`, n ~ N(0, 1), the same for the same seed and step."""

    std: Value = 0.1
    seed: int = 0
    kind: ClassVar[str] = "noise"
    amount: ClassVar[str] = "std"

    def apply(self, old: Tensor, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        draw = torch.randn(old.shape, generator=generator, dtype=torch.float64).to(old)
        return old + _rows(self.std, old) * draw

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "seed": self.seed}


@dataclass(frozen=True, eq=False)
class Patch(Edit):
    """Play a recorded course into units: `u_t <- values[t - start]`, values [T], [T, n] or [T, B, n].

    `Patch("c", other.trace["c"])` transplants one run's cell state into another.
    """

    values: Sequence[Any] | np.ndarray | Tensor = ()
    kind: ClassVar[str] = "patch"
    amount: ClassVar[str] = "values"

    def active(self, step: int) -> bool:
        start = 0 if self.steps is None else (self.steps.start or 0)
        return super().active(step) and 0 <= step - start < len(self.values)

    def apply(self, old: Tensor, step: int) -> Tensor:
        start = 0 if self.steps is None else (self.steps.start or 0)
        value = torch.as_tensor(self.values[step - start]).to(old)
        return _where_given(value.expand_as(torch.broadcast_tensors(value, old)[0]), old)


_KINDS: dict[str, type[Edit]] = {cls.kind: cls for cls in (Clamp, Add, Scale, Lesion, Noise, Patch)}


def _rows(value: Any, old: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else old.dtype).to(old)
    return tensor.unsqueeze(-1) if tensor.dim() == 1 else tensor


def _where_given(new: Tensor, old: Tensor) -> Tensor:
    new, old = torch.broadcast_tensors(new, old)
    return torch.where(torch.isnan(new), old, new)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value, dtype=float)
    return _nan_to_none(array.tolist())


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, list):
        return [_nan_to_none(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _none_to_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_none_to_nan(v) for v in value]
    return math.nan if value is None else value


def edits_to_json(edits: Sequence[Edit], indent: int | None = None) -> str:
    """Edits as a JSON list; NaN becomes null."""
    return json.dumps([edit.describe() for edit in edits], indent=indent)


def edits_from_json(text: str) -> list[Edit]:
    """Read edits written by `edits_to_json`, or by hand.

    >>> edits_from_json('[{"kind": "clamp", "address": "h[2]", "value": 0.5, "start": 10}]')[0].steps
    slice(10, None, None)

    Raises:
        ValueError: not JSON, not a list of objects, an unknown kind or an unknown key.
    """
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"edits must be a JSON list of objects; this is not JSON: {error}") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"edits must be a JSON list of objects, received {type(items).__name__}")
    return [_edit_from(dict(item)) for item in items]


def _edit_from(item: dict[str, Any]) -> Edit:
    kind = item.pop("kind", "clamp")
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of edit {kind!r}; the kinds are {', '.join(_KINDS)}")
    cls = _KINDS[kind]
    if "address" not in item:
        raise ValueError(f"an edit needs an 'address', received only {sorted(item)}")
    start, stop = item.pop("start", 0) or 0, item.pop("stop", None)
    keys = {"address", cls.amount, "seed"} if cls is Noise else {"address", cls.amount}
    unknown = set(item) - keys
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)} in a {kind} edit; allowed: {sorted(keys)}, start, stop")
    if cls.amount in item and not (cls is Lesion and item[cls.amount] is None):
        item[cls.amount] = _none_to_nan(item[cls.amount])
    return cls(**item, steps=None if start == 0 and stop is None else slice(start, stop))


def parse_edit(text: str, dt: float) -> Clamp:
    """Read a clamp as typed on a command line, `ADDRESS[@START:STOP]=VALUE`, times in seconds.

    >>> parse_edit("drive.left@2:6=4.6", dt=0.01).describe()
    {'kind': 'clamp', 'address': 'drive.left', 'start': 200, 'stop': 600, 'value': 4.6}

    Raises:
        ValueError: the text has not this form, or the time span is empty.
    """
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    match = re.fullmatch(rf"\s*([^@=]+?)\s*(?:@({number})?:({number})?)?\s*=\s*({number})\s*", text)
    if not match:
        raise ValueError(
            f"a clamp is written ADDRESS[@START:STOP]=VALUE with times in seconds, received {text!r}; "
            "for example 'drive.left@2:6=4.6' or 'limb.*@4:=0'"
        )
    address, start, stop, value = match.groups()
    first = round(float(start) / dt) if start else 0
    last = round(float(stop) / dt) if stop else None
    if first < 0 or (last is not None and last <= first):
        raise ValueError(f"a clamp must start at 0 s or later and stop after it starts, received {text!r}")
    steps = None if first == 0 and last is None else slice(first, last)
    return Clamp(address, float(value), steps=steps)


class EditPlan:
    """Edits, and addresses to record, resolved once against one cell, ready to act at every step.

    Raises:
        KeyError: an address names nothing in the cell (near matches are listed).
    """

    def __init__(self, cell: Cell, edits: Sequence[Edit] = (), record: Sequence[str] = ()):
        self.edits = tuple(edits)
        self.by_quantity: dict[str, list[tuple[Edit, Tensor | None]]] = {}
        for edit in self.edits:
            for target in resolve(cell, edit.address, lesion=isinstance(edit, Lesion)):
                index = None if target.units is None else torch.tensor(target.units)
                self.by_quantity.setdefault(target.quantity, []).append((edit, index))
        self.record: dict[str, list[Target]] = {address: resolve(cell, address) for address in record}
        self.watched = {target.quantity for targets in self.record.values() for target in targets}

    def touches(self, quantity: str) -> bool:
        """Whether some edit acts on this quantity at some step."""
        return quantity in self.by_quantity

    def tap(self, step: int, seen: dict[str, Tensor]) -> Tap:
        """The tap of one step: edits what is to be edited and puts what is watched into `seen`."""
        if not self.by_quantity and not self.watched:
            return no_tap
        by_quantity, watched = self.by_quantity, self.watched

        def tap(name: str, value: Tensor) -> Tensor:
            for edit, index in by_quantity.get(name, ()):
                if edit.active(step):
                    value = _write(edit, index, value, step)
            if name in watched:
                seen[name] = value
            return value

        return tap

    def read(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the step's tap saw, by recorded address [B, n]."""
        return {
            address: torch.cat([_take(seen[target.quantity], target.units) for target in targets], -1)
            for address, targets in self.record.items()
        }

    def clamped(self, cell: Cell, step: int) -> list[Target]:
        """The targets under an edit at this step (for marking them in a film)."""
        return [
            target
            for edit in self.edits
            if edit.active(step)
            for target in resolve(cell, edit.address, lesion=isinstance(edit, Lesion))
        ]


def _take(value: Tensor, index: tuple[int, ...] | None) -> Tensor:
    return value if index is None else value[..., list(index)]


def _write(edit: Edit, index: Tensor | None, value: Tensor, step: int) -> Tensor:
    if index is None:
        return edit.apply(value, step)
    index = index.to(value.device)
    new = edit.apply(value.index_select(-1, index), step)
    if new.shape[:-1] != value.shape[:-1]:
        value = value.expand(*new.shape[:-1], value.shape[-1])
    return value.index_copy(-1, index, new)


def check_span(edits: Sequence[Edit], steps: int, dt: float | None = None) -> None:
    """Refuse edits that begin after a run of `steps` steps has ended.

    Raises:
        ValueError: an edit starts at or after the end of the run.
    """
    for edit in edits:
        start = 0 if edit.steps is None else (edit.steps.start or 0)
        if start >= steps:
            end = f"{steps} steps" if dt is None else f"{steps * dt:g} s"
            first = f"step {start}" if dt is None else f"{start * dt:g} s"
            raise ValueError(
                f"the {edit.kind} of {edit.address!r} starts at {first}, but the run lasts {end}; "
                "start it earlier or run longer"
            )


def shifted(edit: Edit, steps: int) -> Edit:
    """The same edit, `steps` later."""
    start = 0 if edit.steps is None else (edit.steps.start or 0)
    stop = None if edit.steps is None or edit.steps.stop is None else edit.steps.stop + steps
    return replace(edit, steps=slice(start + steps, stop))
