"""World models on disk: they know what they are of, and are not given to another body."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from rnn.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from rnn.dynamics import RecurrentDynamics
from rnn.model_body import Body, BodyMismatch

__all__ = ["load_dynamics", "read_dynamics", "save_dynamics"]

KIND = "dynamics"


def save_dynamics(
    path: str | os.PathLike[str], model: RecurrentDynamics, *, readings: Sequence[str] = (), **settings: Any
) -> None:
    """Write a model with the name of its body, the names of its readings, and the settings that built it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save_dynamics(file, RecurrentDynamics(3, 1, hidden=8, body="Pendulum-v1"), hidden=8)
    >>> load_dynamics(file, RecurrentDynamics(3, 1, hidden=8, body="Pendulum-v1"), hidden=8)
    """
    about = {"kind": KIND, "body": model.body, "readings": list(readings), **settings}
    save_checkpoint(path, model.state_dict(), about)


def load_dynamics(
    path: str | os.PathLike[str], model: RecurrentDynamics, *, readings: Sequence[str] = (), **settings: Any
) -> None:
    """Weights and scales into a model that was built for the body at hand, all or nothing.

    Args:
        path: what `save_dynamics` wrote.
        model: of the body at hand.
        readings: names of its readings; () if they have none.
        settings: with which it was built.

    Raises:
        FileNotFoundError: no such file.
        BodyMismatch: the stored model is of another body.
        CheckpointError: a damaged file, one of another kind, or a model of other settings.
    """
    tensors, about = _opened(path, Body(model.body, model.obs_size, model.action_size))
    file = Path(path).name
    named = about.get("readings", [])
    if named and readings and list(readings) != named:
        odd = sorted(set(named) ^ set(readings))
        raise BodyMismatch(
            f"{file} was trained on readings {'in another order' if not odd else 'with other names: ' + ', '.join(odd)}"
            f"; fit a model of {model.body!r} again"
        )
    if other := {name: about[name] for name in settings if name in about and about[name] != settings[name]}:
        received = {name: settings[name] for name in other}
        raise CheckpointError(f"{file} is a model with {_told(other)}, received {_told(received)}; pass its settings")
    load_weights(model, tensors, file)


def read_dynamics(path: str | os.PathLike[str], body: Body) -> RecurrentDynamics:
    """A stored `RecurrentDynamics`, built with the settings it was saved with: cell, hidden, layers and bounded.

    Raises:
        FileNotFoundError: no such file.
        BodyMismatch: it is of another body.
        CheckpointError: a damaged file, or one of another kind.
    """
    tensors, about = _opened(path, body)
    names = ("cell", "hidden", "layers", "bounded")
    if missing := [name for name in names if name not in about]:
        raise CheckpointError(f"{Path(path).name} was saved without {', '.join(missing)}; fit the model again")
    model = RecurrentDynamics(body.readings, body.actions, body=body.name, **{name: about[name] for name in names})
    load_weights(model, tensors, Path(path).name)
    return model.eval()


def _opened(path: str | os.PathLike[str], body: Body) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a stored model of this body."""
    tensors, about = load_checkpoint(path, KIND)
    try:
        known = Body(about.get("body", ""), len(tensors["obs_scale.mean"]), len(tensors["action_scale.mean"]))
    except KeyError as error:
        raise CheckpointError(f"{Path(path).name} has no {error}: it is damaged; fit the model again") from error
    known.check(body)
    return tensors, about


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
