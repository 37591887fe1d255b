"""What a model is of, and whether data of it can be learned from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Body", "BodyMismatch", "check_data"]


class BodyMismatch(ValueError):
    """A model was asked about a body or world that it was not trained on."""


class Body(NamedTuple):
    """What a model is of: an environment's id or a body's name ("" for any), readings D and actions A.

    >>> print(Body("CartPole-v1", 4, 1))
    'CartPole-v1' (4 readings, 1 action)
    """

    name: str
    readings: int
    actions: int

    def __str__(self) -> str:
        return f"{self.name!r} ({self.readings} readings, {self.actions} action{'s' * (self.actions != 1)})"

    def check(self, asked: Body) -> None:
        """Refuse another one.

        Raises:
            BodyMismatch: names or sizes differ.
        """
        if self[1:] != asked[1:] or (self.name and asked.name and self.name != asked.name):
            raise BodyMismatch(f"the model was trained on {self}, asked about {asked}; fit a model of that one first")


def check_data(obs: Tensor, actions: Tensor, ahead: int) -> None:
    """Refuse logged data that teaches nothing: wrong shapes, or numbers that are not finite.

    Args:
        obs: [T + ahead, ..., D].
        actions: [T, ..., A].
        ahead: observations that stand beyond the last action.

    Raises:
        ValueError: with the place of what is wrong.

    >>> check_data(torch.zeros(5, 2, 3), torch.zeros(5, 2, 1), 1)
    Traceback (most recent call last):
    ValueError: 5 steps of actions need 6 of observations, received obs (5, 2, 3) and actions (5, 2, 1)
    """
    if len(obs) != len(actions) + ahead or obs.shape[1:-1] != actions.shape[1:-1]:
        raise ValueError(
            f"{len(actions)} steps of actions need {len(actions) + ahead} of observations, received obs "
            f"{tuple(obs.shape)} and actions {tuple(actions.shape)}"
        )
    for name, data in (("obs", obs), ("actions", actions)):
        bad = ~torch.isfinite(data)
        if bad.any():
            raise ValueError(
                f"{name} has {int(bad.sum())} numbers that are not finite, the first at {bad.nonzero()[0].tolist()}; "
                "leave these episodes out"
            )
