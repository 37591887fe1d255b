"""The contract of a cell (one step of a recurrent system) and the addresses of its units."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Cell", "Tap", "Target", "map_state", "no_tap", "quantities", "resolve", "scoped", "unit_labels"]

Tap = Callable[[str, Tensor], Tensor]


def no_tap(name: str, value: Tensor) -> Tensor:
    """Return `value` unchanged: the tap of a step that is neither recorded nor edited."""
    return value


def scoped(tap: Tap, scope: str) -> Tap:
    """A tap for a nested cell: every name it sees is passed on as `scope.name`."""
    if tap is no_tap:
        return no_tap
    return lambda name, value: tap(f"{scope}.{name}", value)


def map_state(fn: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply `fn` to the tensors of one or more states of the same structure (nested named tuples)."""
    if isinstance(state, Tensor):
        return fn(state, *others)
    parts = (map_state(fn, *leaves) for leaves in zip(state, *others, strict=True))
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


class Cell(nn.Module):
    """One step of a recurrent system, `y_t, s_t = f(x_t, s_{t-1})`.

    A subclass sets `input_size` and `output_size` and defines `initial_state` and `forward`. Inside the step
    each quantity worth seeing passes through the tap, input first: `x = tap("input", x)`, then for example
    `h = tap("h", h)`. A tap may return another value, and everything downstream must use what it returns.
    That alone makes the quantity recordable, clampable, lesionable and patchable by its name.

    Attributes:
        input_size: number of inputs, I.
        output_size: number of outputs, O.
        activity: the quantity that a bare unit name means: what other units, and muscles, receive.
        silenced: the quantity that a lesion of a bare unit name sets to zero (default: the activity).
    """

    input_size: int
    output_size: int
    activity: str = "h"
    silenced: str | None = None

    def initial_state(self, batch: int) -> Any:
        """The state before the first step, a named tuple of tensors, each [B, ...]."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        """One step: input `x` [B, I] and state to output [B, O] and the next state."""
        raise NotImplementedError

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Names inside quantities: `{quantity: {group: indices}}`, e.g. `{"input": {"drive.left": (0, 1)}}`."""
        return {}

    def silenced_by(self, quantity: str) -> str:
        """The quantity that a lesion of a bare unit name in `quantity` sets to zero."""
        return self.silenced if self.silenced and quantity == self.activity else quantity

    def zeros(self, *shape: int) -> Tensor:
        """Zeros of the cell's own dtype and device (those of its first floating-point parameter or buffer)."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point() or tensor.is_complex():
                real = tensor.real if tensor.is_complex() else tensor
                return real.new_zeros(shape)
        return torch.zeros(shape)


class Target(NamedTuple):
    """Where an address points: a tapped quantity and positions in its last dimension (None: all of it)."""

    quantity: str
    units: tuple[int, ...] | None


def quantities(cell: Cell) -> dict[str, int]:
    """Width of every tapped quantity, in the order of the step, found by stepping the cell once on zeros.

    >>> from rnn.linear import MovingAverage
    >>> quantities(MovingAverage(1, decay=0.9))
    {'input': 1, 'h': 1}
    """
    cached = cell.__dict__.get("_quantities")
    if cached is None:
        widths: dict[str, int] = {}

        def spy(name: str, value: Tensor) -> Tensor:
            widths.setdefault(name, value.shape[-1])
            return value

        training = cell.training
        cell.eval()
        with torch.no_grad():
            cell(cell.zeros(1, cell.input_size), cell.initial_state(1), spy)
        cell.train(training)
        cached = cell.__dict__["_quantities"] = widths
    return cached


def unit_labels(cell: Cell, quantity: str | None = None) -> list[str]:
    """One address per unit of a quantity (default: the activity), by group name where the cell has one.

    >>> from rnn.cpg import PhaseCell
    >>> unit_labels(PhaseCell(segments=2))[:3]
    ['body.left[0]', 'body.left[1]', 'body.right[0]']
    """
    quantity = quantity or cell.activity
    width = quantities(cell)[quantity]
    labels = [f"{quantity}[{i}]" for i in range(width)]
    for name, index in _groups_of(cell, quantity).items():
        for position, unit in enumerate(index):
            if labels[unit] == f"{quantity}[{unit}]":
                labels[unit] = name if len(index) == 1 else f"{name}[{position}]"
    return labels


def resolve(cell: Cell, address: str, *, lesion: bool = False) -> list[Target]:
    """Find what an address means in a cell.

    An address is `NAME` or `NAME[INDEX]`. NAME is a quantity (`h`, `forget`, `input`), a named group of units or
    inputs (`body.left`, `drive.right`), a quantity of a group (`phase.body.left`), or a pattern with `*` over
    these (units that several matching groups share are found once). INDEX is `3`, `3:7` or `1,4,9`, counted inside the
    group or quantity; without it all is meant.

    Args:
        cell: the cell, or stack of cells, that is addressed.
        address: the address.
        lesion: let bare unit names mean the quantity that silences a unit instead of its activity.

    Raises:
        KeyError: nothing in the cell has this name; near matches are listed.
        IndexError: the index lies outside the group or quantity.
    """
    match = re.fullmatch(r"([^\[\]]+)(?:\[([-\d:,\s]*)\])?", address.strip())
    if not match:
        raise KeyError(f"an address is NAME or NAME[INDEX], received {address!r}; for example 'h[3]', 'body.left[0:2]'")
    name, picked = match.group(1), match.group(2)
    table = _address_table(cell, lesion)
    if "*" in name or "?" in name:
        names = [key for key in _bare_names(cell) if fnmatchcase(key, name)]
        names = names or [key for key in table if fnmatchcase(key, name)]
    else:
        names = [name] if name in table else []
    if not names:
        patterns = {f"{key[: dot.start()]}.*" for key in table for dot in re.finditer(r"\.", key)}
        near = difflib.get_close_matches(name, [*table, *patterns], n=5, cutoff=0.5) or sorted(table)[:12]
        raise KeyError(f"no unit, input or quantity is called {name!r}; near matches: {', '.join(near)}")
    return _without_overlap([_pick(table[key], picked, key, quantities(cell)) for key in names])


def _without_overlap(targets: Sequence[Target]) -> list[Target]:
    """The same units, each once: a pattern may match groups that share units, and an edit acts on a unit once."""
    whole = {target.quantity for target in targets if target.units is None}
    seen: dict[str, set[int]] = {quantity: set() for quantity, _ in targets}
    kept: dict[Target, None] = {}
    for quantity, units in targets:
        if units is None or quantity in whole:
            kept[Target(quantity, None)] = None
            continue
        new = tuple(unit for unit in units if unit not in seen[quantity])
        seen[quantity].update(units)
        if new:
            kept[Target(quantity, new)] = None
    return list(kept)


def _pick(target: Target, picked: str | None, name: str, widths: Mapping[str, int]) -> Target:
    if picked is None:
        return target
    members = target.units if target.units is not None else tuple(range(widths[target.quantity]))
    chosen: list[int] = []
    for part in picked.split(","):
        bounds = [int(p) if p.strip() else None for p in part.split(":")]
        if len(bounds) == 1 and bounds[0] is not None:
            if not -len(members) <= bounds[0] < len(members):
                raise IndexError(f"{name!r} has {len(members)} units (0 to {len(members) - 1}), received index {part}")
            chosen.append(members[bounds[0]])
        else:
            chosen.extend(members[slice(*bounds)])
    if not chosen:
        raise IndexError(f"{name}[{picked}] selects no unit; {name!r} has {len(members)} units")
    return Target(target.quantity, tuple(chosen))


def _groups_of(cell: Cell, quantity: str) -> dict[str, Sequence[int]]:
    return dict(cell.groups().get(quantity, {}))


def _bare_names(cell: Cell) -> list[str]:
    """Names that stand without a quantity: the groups of units and of inputs."""
    return [name for groups in cell.groups().values() for name in groups]


def _address_table(cell: Cell, lesion: bool) -> dict[str, Target]:
    widths = quantities(cell)
    table: dict[str, Target] = {}
    for quantity, groups in cell.groups().items():
        for name, index in groups.items():
            table[name] = Target(cell.silenced_by(quantity) if lesion else quantity, tuple(index))
            table[f"{quantity}.{name}"] = Target(quantity, tuple(index))
    units = _groups_of(cell, cell.activity)
    for quantity, width in widths.items():
        table[quantity] = Target(quantity, None)
        if width == widths.get(cell.activity):
            for name, index in units.items():
                table.setdefault(f"{quantity}.{name}", Target(quantity, tuple(index)))
    return table
