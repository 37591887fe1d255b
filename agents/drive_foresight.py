"""How far ahead a model of the driven animal sees: joints, place and direction after some seconds in open loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.drive_world import path
from rnn.arx import least_squares
from rnn.dynamics import RecurrentDynamics
from sim.anatomy import JOINT_NAMES

__all__ = ["foresee"]

ANGLES = slice(len(JOINT_NAMES))


@torch.no_grad()
def foresee(
    models: Mapping[str, RecurrentDynamics],
    data: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    worlds: Sequence[str],
    warmup: int = 10,
    ahead: int = 20,
) -> list[dict[str, Any]]:
    """Errors in open loop, per model and world, beside those of a linear model and of the last value.

    Args:
        models: by name; each hears as many of the actions as it knows.
        data: readings [T + 1, B, D] and actions [T, B, A] from which the linear model comes, and the deviations in
            units of which joints are counted.
        held: runs of which all pieces of `warmup` and `ahead` readings are predicted, as many from each world.
        worlds: names, in the order of the held-out runs.
    """
    obs, actions = held
    pieces = range(0, len(actions) - warmup - ahead + 2, warmup + ahead)
    measured = torch.cat([obs[k : k + warmup + ahead] for k in pieces], 1)
    done = torch.cat([actions[k : k + warmup + ahead - 1] for k in pieces], 1)
    given, truth = measured[:warmup], measured[warmup:]
    found = {
        **{name: model.simulate(given, done[..., : model.action_size]) for name, model in models.items()},
        "linear, 2 lags": least_squares(data[0], data[1][..., :2], given, done[..., :2], lags=2).float(),
        "last value": given[-1:].expand_as(truth),
    }
    std = data[0].std((0, 1)).clamp(min=1e-6)
    world = np.tile(np.repeat(np.arange(len(worlds)), obs.shape[1] // len(worlds)), len(pieces))
    nowhere = torch.zeros(measured.shape[1])
    place, heading = path(truth, torch.zeros(len(nowhere), 2), nowhere)
    rows = []
    for name, guess in found.items():
        there, facing = path(guess, torch.zeros(len(nowhere), 2), nowhere)
        off = (there[-1] - place[-1]).norm(dim=-1)
        turned = torch.remainder(facing[-1] - heading[-1] + torch.pi, 2 * torch.pi) - torch.pi
        joints = ((guess - truth) / std)[..., ANGLES].square().mean(-1)
        for k, where in enumerate(worlds):
            some = torch.as_tensor(world == k)
            rows.append(
                {
                    "model": name,
                    "world": where,
                    "joints_mean": round(joints[:, some].mean().sqrt().item(), 3),
                    "joints_at_2s": round(joints[-1, some].mean().sqrt().item(), 3),
                    "position_at_2s_BL": round(off[some].median().item(), 3),
                    "heading_at_2s_deg": round(turned[some].abs().median().rad2deg().item(), 1),
                    "travelled_BL": round(place[-1, some].norm(dim=-1).median().item(), 3),
                }
            )
    return rows
