"""World models on disk: they know what they are of, and are not given to another body."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnn.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from rnn.dynamics import Body, BodyMismatch, RecurrentDynamics

__all__ = ["load_dynamics", "save_dynamics"]

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
    tensors, about = load_checkpoint(path, KIND)
    file = Path(path).name
    try:
        known = Body(about.get("body", ""), len(tensors["obs_scale.mean"]), len(tensors["action_scale.mean"]))
    except KeyError as error:
        raise CheckpointError(f"{file} has no {error}: it is damaged; fit the model again") from error
    known.check(Body(model.body, model.obs_size, model.action_size))
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


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
