"""The state of running worlds as a tree: so that a resumed run meets the same future."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

__all__ = ["NotCapturable", "capture", "restore"]


class NotCapturable(TypeError):
    """The worlds hold something that is neither a plain value nor an object of plain values."""


_LEFT_OUT = {
    "class_attributes",
    "env_fns",
    "spec",
    "metadata",
    "render_mode",
    "waiting",
    "_cached_spec",
    "logger",
    "screen",
    "clock",
    "surf",
}


def capture(env: Any) -> dict[str, Any]:
    """The state of an environment, single or vector, with all of its wrappers, as a tree of plain values and arrays.

    An environment (or wrapper) that offers `get_state()` and `set_state(state)` answers for itself. Otherwise the
    numbers, arrays and random generators among its attributes are taken, and those of the objects it holds: enough for
    Gymnasium's classic control and toy text, for the wrappers of Gymnasium and SB3, and for `VecNormalize`.

    Raises:
        NotCapturable: it holds a physics engine (Box2D, MuJoCo) and offers no `get_state`.
    """
    return _capture(env, {})


def restore(env: Any, state: dict[str, Any]) -> None:
    """Put an environment of the same construction into a captured state."""
    _restore(env, state, set())


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(k) and _plain(v) for k, v in value.items())
    if isinstance(value, list | tuple | deque):
        return all(_plain(item) for item in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc"  # letters and objects in arrays (the map of a lake) are not what changes
    return value is None or isinstance(value, bool | int | float | str | np.random.Generator)


def _skipped(name: str, value: Any) -> bool:
    kinds = (gymnasium.Space, Enum, ModuleType, type, Callable)
    if name in _LEFT_OUT or isinstance(value, kinds):  # type: ignore[arg-type]
        return True
    return name.endswith("_space") or name.endswith("_spaces")


def _own(obj: Any) -> bool:
    return hasattr(obj, "get_state") and hasattr(obj, "set_state") and not isinstance(obj, gymnasium.Wrapper)


def _children(obj: Any) -> list[Any]:
    """The objects inside a value: itself, or the elements of a sequence or mapping."""
    if isinstance(obj, dict):
        return list(obj.values())
    return list(obj) if isinstance(obj, list | tuple | deque) else [obj]


def _capture(obj: Any, seen: dict[int, Any]) -> dict[str, Any]:
    if id(obj) in seen:
        return {"again": True}
    seen[id(obj)] = obj
    if _own(obj):
        return {"own": obj.get_state()}
    if not hasattr(obj, "__dict__"):
        module = getattr(type(obj), "__module__", "?")  # Box2D's own types have none
        raise NotCapturable(f"{module}.{type(obj).__name__} offers no get_state and set_state")
    values: dict[str, Any] = {}
    objects: dict[str, list[Any]] = {}
    for name, value in vars(obj).items():
        if _skipped(name, value):
            continue
        if _plain(value):
            values[name] = value
        elif not isinstance(value, np.ndarray):
            objects[name] = [None if _plain(v) or _skipped("", v) else _capture(v, seen) for v in _children(value)]
    return {"values": values, "objects": objects}


def _restore(obj: Any, state: dict[str, Any], seen: set[int]) -> None:
    if "again" in state or id(obj) in seen:
        return
    seen.add(id(obj))
    if "own" in state:
        obj.set_state(state["own"])
        return
    for name, value in state["values"].items():
        held = getattr(obj, name, None)
        if isinstance(held, np.ndarray) and isinstance(value, np.ndarray) and held.shape == value.shape:
            held[...] = value
        elif is_dataclass(obj):
            object.__setattr__(obj, name, value)  # settings may be frozen
        else:
            setattr(obj, name, value)
    for name, parts in state["objects"].items():
        for part, inner in zip(_children(getattr(obj, name)), parts, strict=True):
            if inner is not None:
                _restore(part, inner, seen)
