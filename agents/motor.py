"""The motor layer: from the outputs of a central pattern generator to muscle activations or joint targets.

A pattern generator says when (phases, amplitudes); this layer says how far each joint goes. The spine's amplitude
profiles and the limbs' cycles are those of the recorded newt, so far as stored in `agents/motor.json` they were
adjusted on the simulated body by `scripts/fit_motor.py`. The layer holds no state and no rhythm of its own.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sim.anatomy import LIMB_MUSCLE, MUSCLE_GAMMA, SWIM_REST, WALK_REST
from sim.reference import recorded_cycle

__all__ = ["SpinalMotor", "motor_settings"]

_LIMBS, _JOINTS, _HARMONICS = 4, 4, 4
_CONTRALATERAL = [1, 0, 3, 2]


@cache
def motor_settings(controller: str = "phase") -> dict[str, Any]:
    """The stored settings of the motor layer for one kind of network ("phase", "leaky", "rate")."""
    table = json.loads((Path(__file__).parent / "motor.json").read_text())
    return {**table["common"], **table.get(controller, {})}


def limb_series() -> Tensor:
    """Fourier series of the recorded walking cycle, [girdle, joint, 1 + 2K], left and right averaged.

    Coefficients are ordered constant, cosines 1..K, sines 1..K of the girdle's left limb oscillator's phase. The
    hind table is shifted by half a cycle, so that a network whose fore and hind limbs are in antiphase reproduces
    the recorded offset between them.
    """
    phase = np.arange(256) / 256
    angles = recorded_cycle("walk")(phase)
    limbs = angles[:, 8:].reshape(256, 4, 4)
    series = np.zeros((2, _JOINTS, 1 + 2 * _HARMONICS))
    for girdle in range(2):
        left, right = limbs[:, 2 * girdle], limbs[:, 2 * girdle + 1]
        mean = 0.5 * (left + np.roll(right, 128, axis=0))
        if girdle == 1:
            mean = np.roll(mean, 128, axis=0)
        spectrum = np.fft.rfft(mean, axis=0) / 256
        series[girdle, :, 0] = spectrum[0].real
        series[girdle, :, 1 : 1 + _HARMONICS] = 2 * spectrum[1 : 1 + _HARMONICS].real.T
        series[girdle, :, 1 + _HARMONICS :] = -2 * spectrum[1 : 1 + _HARMONICS].imag.T
    return torch.tensor(series, dtype=torch.float32)


class SpinalMotor(nn.Module):
    """Outputs of a pattern generator [B, 2S + 2L] to 48 muscle activations or 24 joint targets [B, A].

    Spine: each side's activation is `g_i x`, x the side's activity `r (1 + cos theta)`, with `g_i = s_i / (2 R)`
    and `s = phi / (pi/2 - phi)`, so that an Ekeberg joint with alpha/beta = pi/2 swings by phi at amplitude R. The
    profile phi passes from the swimming to the walking one as the limb centres become active.

    Limbs: each joint's set point is a Fourier series in its oscillator's phase, scaled by the amplitude of the girdle's
    pair; yaw more on the side away from the higher drive, so that the animal turns towards the more driven side, as it
    does in water (measured: with the limbs' own amplitudes it turns the other way). Co-contraction C about the rest
    angle turns a set point into two activations, `M+- = (C +- D) / 2`, `D = (C + gamma) (q - q_0) beta / alpha`. A limb
    whose centre is silent while the spine beats is held folded back, as swimming newts do with tonic limb muscles
    (Delvolve et al., 1997).

    Args:
        controller: "phase", "leaky" or "rate": whose stored settings to use.
        control: "muscle" or "joint".
        segments: number of body segments, S = 8.
        overrides: settings that replace the stored ones.
    """

    def __init__(
        self,
        controller: str = "phase",
        *,
        control: str = "muscle",
        segments: int = 8,
        overrides: dict[str, Any] | None = None,
    ):
        super().__init__()
        if segments != 8:
            raise ValueError(f"the body has 8 spine joints, received a network of {segments} segments; use 8")
        if control not in ("muscle", "joint"):
            raise ValueError(f"control is 'muscle' or 'joint', received {control!r}")
        settings = {**motor_settings(controller), **(overrides or {})}
        self.control, self.segments = control, segments
        self.cocontraction = float(settings["cocontraction"])
        self.limb_reference, self.body_reference = settings["limb_reference"], settings["body_reference"]
        self.turn_reach = float(settings["turn_reach"])
        self.register_buffer("turn_gain", torch.tensor(settings["turn_gain"]).repeat_interleave(2))
        swim, walk = (torch.tensor(np.radians(settings[k]), dtype=torch.float32) for k in ("spine_swim", "spine_walk"))
        self.register_buffer("swim_gain", swim / (math.pi / 2 - swim) / (2 * settings["swim_reference"]))
        self.register_buffer("walk_gain", walk / (math.pi / 2 - walk) / (2 * settings["walk_reference"]))
        series = limb_series()
        series[..., 1:] *= torch.tensor(settings["limb_amplitude"]).reshape(2, _JOINTS, 1)
        series[..., 0] += torch.tensor(np.radians(settings["limb_offset"]), dtype=torch.float32).reshape(2, _JOINTS)
        self.register_buffer("series", _shift(series, settings["limb_phase"]).repeat_interleave(2, 0))
        self.register_buffer("rest", torch.tensor(WALK_REST[8:], dtype=torch.float32).reshape(_LIMBS, _JOINTS))
        self.register_buffer("folded", torch.tensor(SWIM_REST[8:], dtype=torch.float32).reshape(_LIMBS, _JOINTS))
        self.limb_ratio = LIMB_MUSCLE[1] / LIMB_MUSCLE[0]
        self.turn_gain: Tensor
        self.swim_gain: Tensor
        self.walk_gain: Tensor
        self.series: Tensor
        self.rest: Tensor
        self.folded: Tensor

    def forward(self, y: Tensor) -> Tensor:
        """Activations [B, 48] or joint targets [B, 24] (rad) for one step of network output [B, 2S + 2L]."""
        S = self.segments
        left, right = y[:, :S], y[:, S : 2 * S]
        cosine, sine = y[:, 2 * S : 2 * S + _LIMBS], y[:, 2 * S + _LIMBS : 2 * S + 2 * _LIMBS]
        radius = torch.sqrt((cosine**2 + sine**2).clamp_min(1e-12))
        stepping = (radius / self.limb_reference).clamp(0.0, 1.5)
        gait = _smooth(stepping.mean(1, keepdim=True))
        gain = self.swim_gain + (self.walk_gain - self.swim_gain) * gait
        spine_left, spine_right = gain * left, gain * right
        beating = _smooth((left + right).mean(1, keepdim=True) / self.body_reference)
        limbs = self._limb_targets(cosine / radius, sine / radius, stepping, beating)
        if self.control == "joint":
            total = spine_left + spine_right
            spine = math.pi / 2 * (spine_left - spine_right) / (1 + total)
            return torch.cat([spine, limbs.flatten(1)], 1)
        pull = (self.cocontraction + MUSCLE_GAMMA) * self.limb_ratio * (limbs - self.rest)
        pull = pull.clamp(-self.cocontraction, self.cocontraction)
        plus, minus = (self.cocontraction + pull) / 2, (self.cocontraction - pull) / 2
        return torch.cat(
            [torch.stack([spine_left, spine_right], 2).flatten(1), torch.stack([plus, minus], 3).flatten(1)], 1
        )

    def _limb_targets(self, cosine: Tensor, sine: Tensor, stepping: Tensor, beating: Tensor) -> Tensor:
        """Set points of the limb joints [B, 4, 4]."""
        cosines, sines = [cosine], [sine]  # of the phase and its multiples
        for _ in range(_HARMONICS - 1):
            c, s = cosines[-1], sines[-1]
            cosines.append(c * cosine - s * sine)
            sines.append(c * sine + s * cosine)
        waves = torch.stack([*cosines, *sines], 2)
        swing = (self.series[..., 1:] * waves.unsqueeze(2)).sum(-1)
        across = stepping[:, _CONTRALATERAL]
        girdle = 0.5 * (stepping + across)
        asymmetry = torch.tanh(self.turn_gain / self.turn_reach * (across - stepping))
        yaw = girdle * (1 + self.turn_reach * asymmetry)
        scale = torch.stack([yaw, *[girdle] * (_JOINTS - 1)], 2)
        target = self.series[..., 0] + scale * swing
        fold = ((1 - _smooth(stepping)) * beating).unsqueeze(2)
        return target + fold * (self.folded - target)


def _shift(series: Tensor, cycles: list[float]) -> Tensor:
    """The series of `f(theta + 2 pi c)`, c in cycles per girdle and joint [2, 4]."""
    angle = 2 * math.pi * torch.tensor(cycles).reshape(2, _JOINTS, 1) * torch.arange(1, _HARMONICS + 1)
    a, b = series[..., 1 : 1 + _HARMONICS], series[..., 1 + _HARMONICS :]
    return torch.cat([series[..., :1], a * angle.cos() + b * angle.sin(), b * angle.cos() - a * angle.sin()], -1)


def _smooth(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3 - 2 * x)
