"""A salamander's gait at muscle level as few numbers, to be learned from scratch: oscillators, gains, phases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.cpg_policy import GaitSpace, Range, chain_profile
from rnn.cpg import PhaseCell
from sim.anatomy import GIRDLES

__all__ = ["FREQUENCY", "HIND_SHARE", "SalamanderController", "SalamanderGait"]

SEGMENTS, LIMBS, JOINTS = 8, 4, 4
FREQUENCY = {"swim": (0.8, 3.8), "walk": (0.4, 1.35)}
"""Hz. Swimming: up to that of the fastest recorded newt (Karakasiliotis et al., 2016): muscles as strong as can be
excited gain speed by beating faster, with ever shorter strides. Walking: up to that of the newt's limb centres at the
end of their window (`rnn.cpg.phase`, profile "newt")."""
_BEHIND_HIPS = GIRDLES["hind"][0]
HIND_SHARE = np.clip(np.arange(SEGMENTS) - _BEHIND_HIPS + 1, 0, 2) / 2
"""How much of the rhythm of each spine joint's muscles comes from the hind limb's centre when walking, the rest from
the fore limb's [8]: the fields meet at the joint behind the hips, whose muscles get half of each."""


class SalamanderGait:
    r"""48 muscle activations from the phases of coupled oscillators; their weights are what is learned.

    .. math::
        a_{k,side} = g_k \tfrac12 (1 + c_{k,side}), \qquad
        D_{lj} = o_{gj} + A_{gj} \cos(\theta_l + \phi_{gj}), \qquad a^\pm_{lj} = (C \pm \text{clip}(D_{lj})) / 2

    Swimming, the spine follows 16 oscillators of its own, :math:`c_{k,side} = \cos\theta_{k,side}`. Walking, it follows
    the four limb centres, as when these take over the body's oscillators in "From swimming to walking with a salamander
    robot driven by a spinal cord model" (Ijspeert, Crespi, Ryczko, Cabelguen, 2007): with share :math:`s_k` of the hind
    limb (`HIND_SHARE`), :math:`c_{k,side} = (1 - s_k) \cos(\theta_{fore,side} + \psi) + s_k \cos(\theta_{hind,side} +
    \psi)`.

    Learned: frequency; gains g (at head, middle and tail tip, linear between); offset o of each girdle g and limb joint
    j; co-contraction C; swimming, the lag per segment at the neck and at the tail; walking, the limbs' amplitudes A and
    phases phi, and the phase psi between limbs and spine. Fixed: limbs across and along a side are in antiphase, left
    and right alike; where the fields of the limb centres meet.

    Args:
        task: "swim" (limbs hold a learned posture, A = 0) or "walk".

    >>> SalamanderGait("swim").space.size, SalamanderGait("walk").space.size
    (15, 30)
    """

    def __init__(self, task: str = "swim"):
        if task not in ("swim", "walk"):
            raise ValueError(f"the tasks are 'swim' and 'walk', received {task!r}")
        self.task = task
        limbs = {
            "limb.amplitude": (Range(0.0, 1.0), 2 * JOINTS),
            "limb.phase": (Range(-math.pi, math.pi, "angle"), 2 * JOINTS),
            "body.phase": (Range(-math.pi, math.pi, "angle"), 1),
        }
        self.space = GaitSpace(
            {
                "frequency": (Range(*FREQUENCY[task], "log"), 1),
                "gain": (Range(0.0, 1.0), 3),
                **({"lag": (Range(-1.5, 1.5), 2)} if task == "swim" else {}),
                "cocontraction": (Range(0.2, 1.0), 1),
                "limb.offset": (Range(-1.0, 1.0), 2 * JOINTS),
                **(limbs if task == "walk" else {}),
            }
        )

    def controller(self, unit: np.ndarray) -> SalamanderController:
        """An actor for `agents.rollout`, one gait per world, for unit vectors [P, D]."""
        return SalamanderController(self.space.decode(np.atleast_2d(unit)))


class SalamanderController:
    """Runs gaits, one per world; activations in [0, 1] for the muscle-level environments."""

    def __init__(self, values: Mapping[str, np.ndarray], dt: float = 0.01):
        v = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in values.items()}
        rows = len(v["gain"])
        self.walks = "body.phase" in v
        self.segments = 1 if self.walks else SEGMENTS  # a walking spine has no rhythm of its own
        self.cell = PhaseCell(self.segments, profile=chain_profile(1.0, 0.5), dt=dt, substeps=2)
        place = torch.linspace(0, 2, SEGMENTS)
        low = place.floor().long().clamp(max=1)
        self.gain = v["gain"][:, low] + (place - low) * (v["gain"][:, low + 1] - v["gain"][:, low])
        along = torch.linspace(0, 1, self.segments - 1)
        lags = torch.zeros(rows, 0) if self.walks else v["lag"][:, :1] + along * (v["lag"][:, 1:] - v["lag"][:, :1])
        bias = self.cell.bias.detach().repeat(rows, 1)
        groups = self.cell.groups()["bias"]
        for name, sign in (("bias.body.descending", 1.0), ("bias.body.ascending", -1.0)):
            for side in torch.tensor(groups.get(name, ()), dtype=torch.long).reshape(2, self.segments - 1):
                bias[:, side] = sign * lags
        self.replaced = {"frequency": v["frequency"].expand(-1, self.cell.num_oscillators), "bias": bias}
        wave = -torch.cat([torch.zeros(rows, 1), lags.cumsum(1)], 1)
        limb_phases = self.cell.rest_phase[2 * self.segments :].expand(rows, -1)
        self.phase = torch.cat([wave, wave + math.pi, limb_phases], 1)
        self.phase = torch.remainder(self.phase + math.pi, 2 * math.pi) - math.pi

        def girdles(name: str) -> Tensor:  # [P, 2 * 4] -> [P, 4 limbs, 4 joints]
            return v.get(name, torch.zeros(rows, 2 * JOINTS)).reshape(rows, 2, JOINTS).repeat_interleave(2, 1)

        self.offset, self.amplitude = girdles("limb.offset"), girdles("limb.amplitude")
        self.shift, self.tone = girdles("limb.phase"), v["cocontraction"].reshape(rows, 1, 1)
        self.ahead, self.share = (
            v.get("body.phase", torch.zeros(rows, 1)),
            torch.as_tensor(HIND_SHARE, dtype=torch.float32),
        )

    def _tap(self, name: str, value: Tensor) -> Tensor:
        return self.replaced.get(name, value)

    def initial_state(self, batch: int) -> Any:
        """Phases that the lags ask for, at full amplitude."""
        state = self.cell.initial_state(batch)
        full = torch.full_like(state.amplitude, 0.5)
        return state._replace(phase=self.phase.expand(batch, -1).clone(), amplitude=full)

    @torch.inference_mode()
    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        batch = len(first)
        if first.any() and step > 0:
            fresh = self.initial_state(batch)
            keep = torch.as_tensor(~first)[:, None]
            state = type(state)(*(torch.where(keep, a, b) for a, b in zip(state, fresh, strict=True)))
        x = torch.zeros(batch, self.cell.input_size)
        y, state = self.cell(x, state, self._tap)
        theta = state.phase[:, 2 * self.segments :, None]
        pull = (self.offset + self.amplitude * torch.cos(theta + self.shift)).clamp(-1, 1) * self.tone
        limbs = torch.stack([(self.tone + pull) / 2, (self.tone - pull) / 2], 3)
        sides = self._follow_limbs(theta[..., 0]) if self.walks else y[:, : 2 * SEGMENTS].unflatten(1, (2, SEGMENTS))
        spine = (self.gain[:, None] * sides).transpose(1, 2)
        return torch.cat([spine.flatten(1), limbs.flatten(1)], 1).numpy(), state

    def _follow_limbs(self, theta: Tensor) -> Tensor:
        """Rhythm (0 to 1) of the spine's muscles [B, 2 sides, 8 joints] from the limbs' phases [B, 4]."""
        fore, hind = torch.cos(theta + self.ahead).unflatten(1, (2, 2)).unbind(1)  # each [B, 2 sides]
        return 0.5 * (1 + (1 - self.share) * fore[..., None] + self.share * hind[..., None])
