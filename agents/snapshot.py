"""A tree of plain values and arrays in one file, without pickles: what a learner is made of when it is stored."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from agents.runs import write_atomically

__all__ = ["pack", "read_snapshot", "unpack", "write_snapshot"]


def pack(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Split a tree into named tensors and a JSON value.

    Dictionaries, lists, tuples (named ones become tuples), deques, numbers, strings, None, arrays, tensors and the
    random generators of NumPy and PyTorch may stand in it.

    Raises:
        TypeError: something else stands in it; its place is named.

    >>> arrays, plain = pack({"a": (1, np.arange(2.0)), 3: None})
    >>> unpack(arrays, plain)
    {'a': (1, array([0., 1.])), 3: None}
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(tree, "", tensors)


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    def inside(key: Any, item: Any) -> Any:
        return _pack(item, f"{place}.{key}" if place else str(key), tensors)

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {"dict": [[inside(k, k), inside(k, v)] for k, v in value.items()]}
    if isinstance(value, list | tuple | deque):
        kind = "list" if isinstance(value, list) else "tuple" if isinstance(value, tuple) else "deque"
        items = [inside(i, item) for i, item in enumerate(value)]
        return {kind: items, "maxlen": value.maxlen} if isinstance(value, deque) else {kind: items}
    if isinstance(value, np.random.Generator):
        return {"generator": inside("state", value.bit_generator.state)}
    if isinstance(value, torch.Generator):
        return {"torch_generator": inside("state", value.get_state())}
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        tensors[place] = torch.from_numpy(np.array(value))
        return {"array": place, "scalar": isinstance(value, np.generic)}
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().clone().contiguous()
        return {"tensor": place}
    raise TypeError(f"cannot store {place or 'the tree'}: {type(value).__name__} is neither a plain value nor an array")


def unpack(tensors: dict[str, Tensor], plain: Any) -> Any:
    """The tree that `pack` took apart."""
    if not isinstance(plain, dict):
        return plain
    kind, value = next(iter(plain.items()))
    if kind == "dict":
        return {unpack(tensors, k): unpack(tensors, v) for k, v in value}
    if kind in ("list", "tuple", "deque"):
        items = [unpack(tensors, item) for item in value]
        return items if kind == "list" else tuple(items) if kind == "tuple" else deque(items, plain["maxlen"])
    if kind == "array":
        array = tensors[value].numpy()
        return array[()] if plain["scalar"] else array
    if kind == "tensor":
        return tensors[value]
    if kind == "generator":
        state = unpack(tensors, value)
        bits = getattr(np.random, state["bit_generator"])()
        bits.state = state
        return np.random.Generator(bits)
    generator = torch.Generator()
    generator.set_state(unpack(tensors, value))
    return generator


def write_snapshot(path: Path, tree: Any) -> Path:
    """Write a tree to one safetensors file, aside and renamed; the plain part stands in the file's metadata."""
    tensors, plain = pack(tree)
    return write_atomically(path, save(tensors, {"tree": json.dumps(plain)}))


def read_snapshot(path: Path) -> Any:
    """Read what `write_snapshot` wrote.

    Raises:
        ValueError: there is no such file, or it is truncated or not a snapshot.
    """
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}; pass the folder that was given to `save`")
    try:
        with safe_open(path, "pt") as file:
            # Copied, since a tensor inside the file may stand unaligned, which changes the last bit of what follows.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            plain = json.loads((file.metadata() or {})["tree"])
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or not a checkpoint of a learner ({error}); use an older checkpoint of the run"
        ) from error
    return unpack(tensors, plain)
