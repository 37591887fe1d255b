"""Checkpoints: weights as safetensors with a JSON description inside, written aside and renamed; no pickles."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

__all__ = [
    "CheckpointError",
    "flatten",
    "load_checkpoint",
    "load_weights",
    "restore",
    "save_checkpoint",
    "write_atomically",
]

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another model, or of a newer format."""


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file aside, flush it to the disk and rename it: there is the old file or the new one, never half.

    Raises:
        OSError: the disk is full or not writable; what was there before is untouched and the partial file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        Path(aside).unlink(missing_ok=True)
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
        kept = "the earlier file is untouched" if path.exists() else "nothing was written"
        raise OSError(error.errno, f"cannot save {path.name} ({len(data)} bytes): {why}; {kept}") from error


def save_checkpoint(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Save tensors and a description (`config["kind"]` names what it is) in one file, atomically.

    >>> import torch
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save_checkpoint(path, {"w": torch.ones(2)}, {"kind": "toy"})
    >>> load_checkpoint(path)[1]["kind"]
    'toy'
    """
    text = json.dumps({"format": FORMAT, **config})
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata={"config": text}))


def load_checkpoint(path: str | os.PathLike[str], kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a checkpoint.

    Args:
        path: the file.
        kind: what it must be.

    Raises:
        FileNotFoundError: no such file. CheckpointError: damaged, truncated, of a newer format or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged or truncated ({error}); take an earlier checkpoint") from error
    except KeyError as error:
        raise CheckpointError(
            f"{path.name} holds tensors but no description; it was not written by this library"
        ) from error
    if config.get("format", 0) > FORMAT:
        raise CheckpointError(f"{path.name} has format {config['format']}, this version reads up to {FORMAT}; update")
    if kind is not None and config.get("kind") != kind:
        raise CheckpointError(f"{path.name} is a checkpoint of {config.get('kind')!r}, expected {kind!r}")
    return tensors, config


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], name: str = "the checkpoint") -> None:
    """Copy weights into a module, all or nothing.

    Raises:
        CheckpointError: names or shapes that do not fit, each told; the module is not changed.
    """
    own = module.state_dict()
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    shapes = [
        f"{key} is {tuple(tensors[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    told = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(extra)}"] * bool(extra) + shapes
    if told:
        raise CheckpointError(f"{name} is of another model ({'; '.join(told)}); build the model with its settings")
    module.load_state_dict(dict(tensors))


def flatten(data: Any, prefix: str) -> tuple[dict[str, Tensor], Any]:
    """Nested dictionaries and lists (an optimiser's state) as tensors by name and a JSON skeleton that refers to them.

    >>> import torch
    >>> tensors, skeleton = flatten({"step": 3, "m": [torch.ones(1)]}, "adam")
    >>> list(tensors), restore(skeleton, tensors)["step"]
    (['adam.m.0'], 3)
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, Mapping):
            keys = [[key, walk(item, f"{name}.{key}")] for key, item in value.items()]
            return {"items": keys}
        if isinstance(value, list | tuple):
            return [walk(item, f"{name}.{i}") for i, item in enumerate(value)]
        return value

    skeleton = walk(data, prefix)
    return tensors, skeleton


def restore(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The nested data that `flatten` took apart."""
    if isinstance(skeleton, dict):
        if "tensor" in skeleton:
            return tensors[skeleton["tensor"]].clone()
        return {key: restore(item, tensors) for key, item in skeleton["items"]}
    if isinstance(skeleton, list):
        return [restore(item, tensors) for item in skeleton]
    return skeleton
