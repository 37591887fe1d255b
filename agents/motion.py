"""The motion to be learned: the newt's joint cycles over gait, drive and turning, as one smooth table.

Two sources. "recorded" are the joint cycles of the living animal (`sim.reference.recorded_cycle`). "simulated" are the
joint targets that the phase network commands the simulated animal with, recorded over a grid of drives. Frequency,
amplitude over drive and the asymmetry of turning come from the simulated animal in either case, since the recorded
newts went straight; on land the asymmetry is strengthened (`LAND_YAW`), unless the source is "simulated".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.motor import SpinalMotor
from rnn.cpg import PhaseCell, drive_input
from rnn.unroll import unroll
from sim.anatomy import SWIM_REST
from sim.reference import recorded_cycle

__all__ = ["DATA", "GAITS", "Course", "Motion", "MotionState", "gait_of"]

DATA = ("both", "recorded", "simulated")
GAITS = ("rest", "walk", "swim")
HARMONICS = 5
"""Harmonics kept; beyond the fifth none of the recorded joints moves by a degree."""
SETTLE = 0.15
"""Time constant with which gait, frequency and amplitude follow the drive, s; the phase network's own is 2/60 s."""
_GRIDS = {"walk": (1.2, 1.6, 2.0, 2.4, 2.8), "swim": (1.2, 2.0, 3.0, 4.0, 5.0)}
_MIDDLE = {"walk": (2.0, 0.8), "swim": (3.5, 1.5)}
_HALVES = (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9)
MUSCLE_FREQUENCY = 15.0
"""Natural frequency of the spine's critically damped muscles, Hz (Pazzaglia et al., 2025): at 3.17 Hz, the mean of the
recorded swims, a joint swings by 4.5 % less than its target, so swimming targets are that much larger."""
WALK_LAG = (0.009, 0.024, 0.019, 0.014, 0.007, 0.005, -0.004, 0.026)
"""Lag of the walking spine's joints behind their targets, cycles (`agents.trials.follows`, drive 2): walking targets
lead by as much. Without it the trunk bends 0.457 of a cycle before the tail base instead of the recorded 0.472."""
LAND_YAW, LAND_BEND = 2.0, 0.5
"""Factors on the parts that the limbs' yaw and the bend of the spine have in a turn on land. As the phase network
commands them, and played to the body (`agents.trials.play_motion`) at drives of 2 +- 0.3 and 2 +- 0.6, they turn it by
3.5 and 7.6 degrees/s; with the yaw's asymmetry doubled and half the bend, which on land works against it, by 9.0 and
11.4."""
ODD = (3, 5, 6, 8, 9)
"""Monomials of `_monomials` that change their sign with the half difference."""
DT = 0.01


def gait_of(left: Tensor, right: Tensor, limb: Tensor) -> Tensor:
    """Which gait drives ask for: 0 rest, 1 walk, 2 swim.

    The limb centres work from 1 to 3 and the body from 1 to 5, as in "From swimming to walking with a salamander robot
    driven by a spinal cord model" (Ijspeert et al., 2007); an offset `limb` shifts what the limb centres receive.

    >>> gait_of(torch.tensor([0.5, 2.0, 4.0, 2.0]), torch.tensor([0.5, 2.0, 4.0, 2.0]), torch.tensor([0, 0, 0, 4.0]))
    tensor([0, 1, 2, 2])
    """
    mean = 0.5 * (left + right)
    limbs = (mean + limb >= 1) & (mean + limb <= 3)
    body = (mean >= 1) & (mean <= 5)
    return torch.where(body, torch.where(limbs, 1, 2), 0)


class MotionState(NamedTuple):
    """Phase in cycles [B], weights of the gaits [B, 3], smoothed frequency, mean drive and half difference [B, 3]."""

    phase: Tensor
    weight: Tensor
    smooth: Tensor


class Course(NamedTuple):
    """What phases, gaits and drives there are at every step: phase [T, B], weight [T, B, 3], mean, half [T, B]."""

    phase: Tensor
    weight: Tensor
    mean: Tensor
    half: Tensor


@dataclass(frozen=True, eq=False)
class Motion:
    """Joint angles as a function of phase and drive.

    For each gait `q(phi, m, h) = sum_k,p C_kp psi_p(m, h) e_k(phi)`, e the Fourier basis of five harmonics and psi
    monomials of the mean drive m and of half the left-right difference h.

    Attributes:
        tables: coefficients of the gaits "walk" and "swim" [P (1 + 2K), 24], rad.
        laws: frequency of the gaits as a polynomial in the mean drive, lowest order first, Hz.
        stand: posture at rest [24], rad.
        data: which source.
    """

    tables: dict[str, Tensor]
    laws: dict[str, tuple[float, ...]]
    stand: Tensor
    data: str

    @classmethod
    def load(cls, data: str = "both") -> Motion:
        """The motion from a source: "recorded", "simulated", or "both" (recorded spine, limbs of the simulated animal).

        Raises:
            ValueError: an unknown source.

        >>> motion = Motion.load("simulated")
        >>> [round(motion.frequency("swim", d), 1) for d in (3.0, 4.0, 5.0)]
        [2.6, 3.2, 3.9]
        """
        if data not in DATA:
            raise ValueError(f"`data` is {data!r}; the sources are {', '.join(DATA)}")
        return _build(data)

    def frequency(self, gait: str, drive: float) -> float:
        """Cycles per second of a gait at a mean drive."""
        return float(sum(c * drive**k for k, c in enumerate(self.laws[gait])))

    def start(self, phase: Tensor, left: Tensor, right: Tensor, limb: Tensor, *, resting: bool = False) -> MotionState:
        """The settled state under given drives [B]; or, `resting`, at rest before the drive comes on."""
        gait = gait_of(left, right, limb) * (0 if resting else 1)
        weight = torch.nn.functional.one_hot(gait, 3).to(phase)
        mean = 0.5 * (left + right)
        smooth = torch.stack([self._rate(gait, mean), mean, 0.5 * (left - right)], 1)
        return MotionState(phase, weight, smooth)

    def follow(self, left: Tensor, right: Tensor, limb: Tensor, state: MotionState) -> tuple[Course, MotionState]:
        """The course of phase and gait under drives [T, B]; the phase stands still at rest."""
        gait, mean = gait_of(left, right, limb), 0.5 * (left + right)
        aim = torch.stack([self._rate(gait, mean), mean, 0.5 * (left - right)], 2)
        hot = torch.nn.functional.one_hot(gait, 3).to(mean)
        steps = torch.arange(len(mean)).to(mean)
        lag = steps[:, None] - steps
        keep = math.exp(-DT / SETTLE)
        recent = torch.where(lag >= 0, (1 - keep) * keep ** lag.clamp(min=0), 0.0)
        fading = (keep ** (steps + 1))[:, None, None]
        weights = torch.einsum("ts,sbg->tbg", recent, hot) + fading * state.weight
        smooths = torch.einsum("ts,sbk->tbk", recent, aim) + fading * state.smooth
        phases = state.phase + DT * smooths[..., 0].cumsum(0)
        return Course(phases, weights, smooths[..., 1], smooths[..., 2]), MotionState(
            phases[-1] - phases[-1].floor(), weights[-1], smooths[-1]
        )

    def angles(self, course: Course, shift: Tensor | float = 0.0, series: Tensor | None = None) -> Tensor:
        """Joint angles [T, B, 24] of a course, its phase advanced by `shift` cycles (a number, or [B]).

        Args:
            series: what `series` gave for this course, to save time when it is asked for several shifts.
        """
        series = self.series(course) if series is None else series
        return (_basis(course.phase + shift)[..., None] * series).sum(-2)

    def series(self, course: Course) -> Tensor:
        """Fourier coefficients of the joints at every step of a course, [T, B, 1 + 2K, 24], rad."""
        parts = [
            course.weight[..., index : index + 1] * _monomials(gait, course.mean, course.half)
            for index, gait in ((1, "walk"), (2, "swim"))
        ]
        tables = [self.tables[gait].unflatten(0, (-1, 1 + 2 * HARMONICS)).flatten(1) for gait in ("walk", "swim")]
        total = (torch.cat(parts, -1) @ torch.cat(tables)).unflatten(-1, (1 + 2 * HARMONICS, -1))
        total[..., 0, :] += course.weight[..., :1] * self.stand
        return total

    def cycle(self, gait: str, drive: float, *, half: float = 0.0, samples: int = 256) -> Tensor:
        """One steady cycle of a gait [samples, 24]."""
        phase = (torch.arange(samples) / samples)[:, None]
        weight = torch.zeros(samples, 1, 3)
        weight[..., GAITS.index(gait)] = 1.0
        full = torch.ones(samples, 1)
        return self.angles(Course(phase, weight, full * drive, full * half))[:, 0]

    def _rate(self, gait: Tensor, mean: Tensor) -> Tensor:
        walk, swim = (
            torch.as_tensor(sum(c * mean**k for k, c in enumerate(self.laws[g]))).to(mean) for g in ("walk", "swim")
        )
        return torch.where(gait == 1, walk, torch.where(gait == 2, swim, torch.zeros_like(mean)))


def _basis(phase: Tensor) -> Tensor:
    turn = 2 * math.pi * phase[..., None] * torch.arange(1, HARMONICS + 1).to(phase)
    return torch.cat([torch.ones_like(phase)[..., None], turn.cos(), turn.sin()], -1)


def _monomials(gait: str, mean: Tensor, half: Tensor) -> Tensor:
    middle, spread = _MIDDLE[gait]
    m, h = (mean - middle) / spread, half
    return torch.stack([torch.ones_like(m), m, m**2, h, h**2, h**3, h * m, h**2 * m, h * m**2, h**3 * m], -1)


@cache
def _commanded(gait: str) -> tuple[Tensor, tuple[float, ...]]:
    """Coefficients [P (1 + 2K), 24] and frequency law of what the phase network commands, over its grid of drives."""
    grid = torch.cartesian_prod(torch.tensor(_GRIDS[gait]), torch.tensor(_HALVES))
    mean, half = grid.unbind(1)
    cell, motor, steps, settle = PhaseCell(dt=DT).eval(), SpinalMotor(control="joint"), 900, 500
    limb = 4.0 if gait == "swim" else 0.0
    x = drive_input(cell, mean + half, mean - half, limb=limb, batch=len(grid))
    reference = "phase.limb.fore.left" if gait == "walk" else "phase.body.left[0]"
    with torch.no_grad():
        run = unroll(cell, x.expand(steps, -1, -1), record=(reference,))
        angles = motor(run.outputs[settle:].flatten(0, 1)).unflatten(0, (steps - settle, -1))
    phase = np.unwrap(run.trace[reference][settle:, :, 0].double().numpy(), axis=0) / (2 * math.pi)
    rate = (phase[-1] - phase[0]) / ((steps - settle - 1) * DT)
    law = np.polynomial.polynomial.polyfit(mean.numpy(), rate, 1)
    monomials = _monomials(gait, mean, half).double()
    features = (monomials[None, :, :, None] * _basis(torch.tensor(phase))[:, :, None, :]).flatten(2).flatten(0, 1)
    table = torch.linalg.lstsq(features, angles.double().flatten(0, 1)).solution
    return table.float(), tuple(float(c) for c in law)


@cache
def _build(data: str) -> Motion:
    tables, laws = {}, {}
    for gait in ("walk", "swim"):
        table, laws[gait] = _commanded(gait)
        tables[gait] = table if data == "simulated" else _laid_over(table.clone(), gait, data)
    stand = tables["walk"].unflatten(0, (-1, 1 + 2 * HARMONICS))[0, 0].clone()
    stand[:8] = 0.0
    return Motion(tables, laws, stand, data)


def _laid_over(table: Tensor, gait: str, data: str) -> Tensor:
    """Replace the straight cycle by the recorded one, in the phase that fits the spine best; what turns is kept."""
    rows = table.unflatten(0, (-1, 1 + 2 * HARMONICS))
    phase = np.arange(512) / 512
    recorded = recorded_cycle(gait)(phase)
    if recorded.shape[1] == 8:
        recorded = np.concatenate([recorded, np.tile(SWIM_REST[8:], (512, 1))], 1)
    spectrum = np.fft.rfft(recorded, axis=0) / 512
    first = (rows[0, 1, :8] - 1j * rows[0, 1 + HARMONICS, :8]).numpy()
    lead = np.angle(np.vdot(spectrum[1, :8], first)) / (2 * math.pi)
    k = np.arange(1, HARMONICS + 1)
    turned = 2 * spectrum[1 : HARMONICS + 1] * np.exp(2j * math.pi * k * lead)[:, None]
    if gait == "walk":
        turned[:, :8] *= np.exp(2j * math.pi * np.outer(k, WALK_LAG))
    straight = np.concatenate([spectrum[:1].real, turned.real, -turned.imag])
    if gait == "swim":
        straight[0, :8] = 0.0  # the recorded animals held a slight bend; the pattern to be learned goes straight
    joints = slice(0, 8) if data == "both" and gait == "walk" else slice(0, 24)
    old = rows[0, :, :8].clone()
    fundamental = lambda part: float((part[1] ** 2 + part[1 + HARMONICS] ** 2).sum())
    slopes = [fundamental(row[:, :8]) ** 0.5 * math.copysign(1, float((row[:, :8] * old).sum())) for row in rows[1:3]]
    relative = [slope / fundamental(old) ** 0.5 for slope in slopes]
    if gait == "walk":
        rows[list(ODD), :, 8::4] *= LAND_YAW
        rows[list(ODD), :1, :8] *= LAND_BEND
    rows[0][:, joints] = torch.tensor(straight[:, joints], dtype=torch.float32)
    for power, slope in enumerate(relative, 1):
        rows[power][:, joints] = slope * rows[0][:, joints]
        rows[power][0, joints] = 0.0
    if gait == "swim":
        rows[:3, 1:, :8] *= 1 + (3.17 / MUSCLE_FREQUENCY) ** 2
    return rows.flatten(0, 1)
