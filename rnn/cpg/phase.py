"""Amplitude-controlled phase oscillators: the salamander's pattern generator of 2007."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Tap, no_tap
from rnn.cpg.wiring import LIMBS, Couplings, CpgCell, Layout

__all__ = ["PROFILES", "DriveLaw", "PhaseCell", "PhaseState", "Profile"]


class DriveLaw(NamedTuple):
    """Frequency nu = nu1 d + nu0 (Hz) and amplitude R = r1 d + r0 (rad) for a drive low <= d <= high, else 0."""

    low: float
    high: float
    nu1: float
    nu0: float
    r1: float
    r0: float


@dataclass(frozen=True)
class Profile:
    """Numbers of a phase-oscillator network.

    Attributes:
        body: drive law of the body oscillators.
        limb: drive law of the limb oscillators.
        rate: a, how fast amplitudes follow their target, 1/s.
        w_body: coupling between neighbouring segments of a side, 1/s.
        w_contralateral: coupling between the two sides of a segment, 1/s.
        w_limb: coupling between limbs, left-right and fore-hind, 1/s.
        w_limb_to_body: coupling from a limb to the segments of its girdle and side, 1/s.
        limb_to_body: phase by which those segments lag the limb, rad: one number, or fore and hind.
        lags: phase lag between each segment and the next as a fraction of the cycle: one number, or one per pair.
        mean_drive: take nu (and the upper end of the window) from the mean drive of both sides, so that the side
            drives set amplitudes only.
        turn: with `mean_drive`, how much amplitude a side gains per unit of its drive above the mean of both sides
            (rad); None for the slope r1 of the drive law.
    """

    body: DriveLaw
    limb: DriveLaw
    rate: float
    w_body: float
    w_contralateral: float
    w_limb: float
    w_limb_to_body: float
    limb_to_body: float | tuple[float, float] = 0.0
    lags: float | tuple[float, ...] = 1 / 8
    mean_drive: bool = False
    turn: float | None = None


# Table S1 of "From swimming to walking with a salamander robot driven by a spinal cord model" (Ijspeert, Crespi,
# Ryczko, Cabelguen, 2007).
ROBOT = Profile(
    body=DriveLaw(1.0, 5.0, 0.2, 0.3, 0.065, 0.196),
    limb=DriveLaw(1.0, 3.0, 0.2, 0.0, 0.131, 0.131),
    rate=20.0,
    w_body=10.0,
    w_contralateral=10.0,
    w_limb=10.0,
    w_limb_to_body=30.0,
)
# The same network at the speed of Pleurodeles waltl. Body frequency about x2.9: drive 3 to 5 spans the recorded
# trials, 2.6 to 3.8 Hz (2.57 to 3.85). Limb frequency x2.25: drive 1 to 3 walks at 0.45 to 1.35 Hz.
# Couplings and rate x3, so that locking keeps pace with the frequency. Body amplitude hardly depends on drive, as the
# animal's does not (D'Aout & Aerts, 1997). Turn: twice the published amplitude slope, so that a side drive of one unit
# turns the animal by tens of degrees a second. Lags: recorded swimming joints (Karakasiliotis et al., 2016), in all
# 0.870 of a cycle over the eight joints.
NEWT = Profile(
    body=DriveLaw(1.0, 5.0, 0.64, 0.65, 0.03, 0.336),
    limb=DriveLaw(1.0, 3.0, 0.45, 0.0, 0.131, 0.131),
    rate=60.0,
    w_body=30.0,
    w_contralateral=30.0,
    w_limb=30.0,
    w_limb_to_body=90.0,
    limb_to_body=(-0.5562, -0.0805),
    lags=(0.193, 0.082, 0.082, 0.108, 0.149, 0.139, 0.117),
    mean_drive=True,
    turn=0.13,
)
PROFILES = {"robot": ROBOT, "newt": NEWT}


class PhaseState(NamedTuple):
    """Phases (rad, in [-pi, pi)), amplitudes, their rates (1/s), and the fraction of its amplitude a unit sends on."""

    phase: Tensor
    amplitude: Tensor
    rate: Tensor
    sent: Tensor


class PhaseCell(CpgCell):
    """Coupled phase oscillators with controlled amplitude, one per segment and side and one per limb.

    Continuous equations, for oscillator i with senders j:

        theta_i' = 2 pi nu_i + sum_j w_ij r_j sin(theta_j - theta_i - phi_ij) - k s_i sin(theta_i)
        r_i''    = a (a/4 (R_i - r_i) - r_i')
        x_i      = r_i (1 + cos theta_i)

    nu_i and R_i follow the drive (`DriveLaw`), s_i is the stretch input of the body, k the feedback gain: stretch
    draws a segment's side towards its own peak. Discrete update, over one step of `dt`: R is constant, so that with
    e = r - R and b = a/2 the amplitude is exact,

        r <- R + (e + (r' + b e) dt) exp(-b dt),    r' <- (r' - b (r' + b e) dt) exp(-b dt),

    and theta takes `substeps` Euler steps with the new amplitudes; phase-locked motion, whose rate is constant, is
    exact. Source: "From swimming to walking with a salamander robot driven by a spinal cord model" (Ijspeert, Crespi,
    Ryczko, Cabelguen, 2007); limb-to-body phase and pi couplings of the limbs as in its public reimplementations.

    Taps in the order of the step: input, frequency (Hz), target (R), coupling, bias [1, E], amplitude, phase, activity.
    An activity that a tap lowers also lowers the amplitude that other oscillators receive, from the next step on.
    Output: activities x of the body, then r cos(theta) and r sin(theta) of the limbs.

    Args:
        segments: S, segments of the body.
        limbs: names of the limbs, out of `fore.left`, `fore.right`, `hind.left`, `hind.right`; () for none.
        profile: "newt", "robot", or a `Profile`.
        dt: step, s.
        substeps: Euler steps of the phases in one step.
        feedback_gain: k, 1/s per unit of stretch.
        random_phases: start with random phases instead of the pattern that the biases ask for.
        seed: seed of the random phases.

    Raises:
        ValueError: unknown profile, wrong limb names, or a wrong number of lags.

    >>> from rnn import unroll; from rnn.cpg import drive_input
    >>> cell = PhaseCell(profile="robot")
    >>> ys, state, trace = unroll(cell, drive_input(cell, 4.0, batch=(100, 1)), record=("frequency.body.left[0]",))
    >>> round(trace["frequency.body.left[0]"][-1].item(), 3)
    1.1
    """

    activity = "activity"
    silenced = "amplitude"

    def __init__(
        self,
        segments: int = 8,
        limbs: Sequence[str] = LIMBS,
        *,
        profile: str | Profile = "newt",
        dt: float = 0.01,
        substeps: int = 4,
        feedback_gain: float = 0.0,
        random_phases: bool = False,
        seed: int = 0,
    ):
        super().__init__(segments, limbs, dt=dt, substeps=substeps)
        if isinstance(profile, str):
            if profile not in PROFILES:
                raise ValueError(f"unknown profile {profile!r}; the profiles are {', '.join(PROFILES)}")
            profile = PROFILES[profile]
        self.profile, self.random_phases, self.seed = profile, random_phases, seed
        N = self.num_oscillators = 2 * segments + len(self.limbs)
        lags = _lags(profile.lags, segments)
        self.couplings = phase_couplings(self.layout, profile, lags)
        self.coupling = nn.Parameter(torch.tensor(self.couplings.weight))
        self.bias = nn.Parameter(torch.tensor(self.couplings.bias))
        laws = torch.tensor([profile.body] * (2 * segments) + [profile.limb] * len(self.limbs))
        self.nu1, self.nu0, self.r1, self.r0 = (nn.Parameter(laws[:, k].clone()) for k in range(2, 6))
        self.feedback_gain = nn.Parameter(torch.tensor(float(feedback_gain)))
        self.register_buffer("low", laws[:, 0].clone())
        self.register_buffer("high", laws[:, 1].clone())
        self.register_buffer("own_drive", self.layout.drive_weights(mean=False))
        self.register_buffer("shared_drive", self.layout.drive_weights(mean=profile.mean_drive))
        sender, receiver = torch.tensor(self.couplings.sender), torch.tensor(self.couplings.receiver)
        self.register_buffer("cell_index", sender * 2 * N + receiver)
        self.register_buffer("rest_phase", _pattern(self.layout, lags))
        self.low: Tensor
        self.high: Tensor
        self.own_drive: Tensor
        self.shared_drive: Tensor
        self.cell_index: Tensor
        self.rest_phase: Tensor

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        S = self.segments
        units = {"body.left": range(S), "body.right": range(S, 2 * S)}
        units |= {f"limb.{name}": range(2 * S + k, 2 * S + k + 1) for k, name in enumerate(self.limbs)}
        return {
            "input": self.layout.input_groups(),
            "activity": units,
            "coupling": self.couplings.groups("coupling"),
            "bias": self.couplings.groups("bias"),
        }

    def initial_state(self, batch: int) -> PhaseState:
        zero = self.zeros(batch, self.num_oscillators)
        phase = self.rest_phase.expand_as(zero).clone()
        if self.random_phases:
            generator = torch.Generator().manual_seed(self.seed)
            draw = torch.rand(zero.shape, generator=generator, dtype=torch.float64)
            phase = ((2 * draw - 1) * math.pi).to(zero)
        return PhaseState(phase, zero, zero.clone(), torch.ones_like(zero))

    def forward(self, x: Tensor, state: PhaseState, tap: Tap = no_tap) -> tuple[Tensor, PhaseState]:
        x = tap("input", x)
        nu, target = self._follow_drive(x)
        nu, target = tap("frequency", nu), tap("target", target)
        mixing = self._mixing(tap("coupling", self.coupling.unsqueeze(0)), tap("bias", self.bias.unsqueeze(0)))
        b, dt = self.profile.rate / 2, self.dt
        error, decay = state.amplitude - target, math.exp(-b * dt)
        slope = state.rate + b * error
        free = target + (error + slope * dt) * decay
        rate = (state.rate - b * slope * dt) * decay
        r = tap("amplitude", free)
        if r is not free:
            rate = torch.where(r == free, rate, 0.0)
        phase = self._advance(state.phase, nu, r * state.sent, mixing, self.stretch(x))
        phase = tap("phase", torch.remainder(phase + math.pi, 2 * math.pi) - math.pi)
        cosine = torch.cos(phase)
        raw = r * (1 + cosine)
        activity = tap("activity", raw)
        sent = state.sent.new_ones(1, 1).expand_as(raw)
        if activity is not raw:
            sent = torch.where(raw > 1e-6, (activity / raw.clamp(min=1e-9)).clamp(0.0, 1.0), state.sent)
        n = 2 * self.segments
        limb = (r * sent)[:, n:]
        y = torch.cat((activity[:, :n], limb * cosine[:, n:], limb * torch.sin(phase[:, n:])), -1)
        return y, PhaseState(phase, r, rate, sent)

    def _follow_drive(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies nu (Hz) and target amplitudes R from the drives, each [B, N]."""
        drives = x[:, : 4 + len(self.limbs)]
        own, shared = drives @ self.own_drive, drives @ self.shared_drive
        below = shared <= self.high
        nu = torch.where((shared >= self.low) & below, self.nu1 * shared + self.nu0, 0.0)
        turn = self.profile.turn
        target = self.r1 * own if turn is None else self.r1 * shared + turn * (own - shared)
        return nu, torch.where((own >= self.low) & below, (target + self.r0).clamp(min=0.0), 0.0)

    def _mixing(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Couplings as one matrix [., 2 N, 2 N] that maps r [sin, cos](theta) of the senders to the receivers."""
        N = self.num_oscillators
        C, D = weight * torch.cos(bias), weight * torch.sin(bias)
        values = torch.cat((C, D, -D, C), -1)
        index = self.cell_index
        index = torch.cat((index, index + N, index + 2 * N * N, index + 2 * N * N + N))
        flat = values.new_zeros(values.shape[0], 4 * N * N).index_add(1, index, values)
        return flat.view(-1, 2 * N, 2 * N)

    def _advance(self, phase: Tensor, nu: Tensor, r: Tensor, mixing: Tensor, stretch: Tensor) -> Tensor:
        h, N = self.dt / self.substeps, self.num_oscillators
        turn, r2 = (2 * math.pi * h) * nu, torch.cat((r, r), -1) * h
        shared = mixing.shape[0] == 1
        mixing = mixing[0] if shared else mixing
        pull = nn.functional.pad(self.feedback_gain * h * stretch, (0, N - stretch.shape[1]))
        for _ in range(self.substeps):
            sine, cosine = torch.sin(phase), torch.cos(phase)
            sent = torch.cat((sine, cosine), -1) * r2
            got = sent @ mixing if shared else torch.bmm(sent.unsqueeze(1), mixing).squeeze(1)
            phase = phase + turn + cosine * got[:, :N] - sine * (got[:, N:] + pull)
        return phase


def _lags(lags: float | Sequence[float], segments: int) -> list[float]:
    """Lag from each segment to the next, in cycles; recorded lags are spread over another number of segments."""
    if isinstance(lags, int | float):
        return [float(lags)] * (segments - 1)
    if len(lags) == segments - 1:
        return list(lags)
    known = torch.tensor([0.0, *lags]).cumsum(0)
    place = torch.linspace(0, len(lags), segments)
    low = place.floor().long().clamp(max=len(lags) - 1)
    along = known[low] + (place - low) * (known[low + 1] - known[low])
    return along.diff().tolist()


def _pattern(layout: Layout, lags: Sequence[float]) -> Tensor:
    """The phases that the biases ask for: a wave down the body, sides and diagonal limbs in turn."""
    wave = -2 * math.pi * torch.tensor([0.0, *lags]).cumsum(0)
    limbs = torch.tensor([math.pi * (layout.limb_side(k) ^ layout.limb_girdle(k)) for k in range(layout.num_limbs)])
    phase = torch.cat((wave, wave + math.pi, limbs))
    return torch.remainder(phase + math.pi, 2 * math.pi) - math.pi


def phase_couplings(layout: Layout, profile: Profile, lags: Sequence[float]) -> Couplings:
    """All connections: along the body in both directions, across, between limbs, from limbs to the body."""
    table, S = Couplings(), layout.segments
    phi = profile.limb_to_body
    phi = phi if isinstance(phi, tuple) else (phi, phi)
    for side in (0, S):
        for i in range(S - 1):
            groups = ("body", "midbody") if i == S // 2 - 1 else ("body",)
            lag = 2 * math.pi * lags[i]
            table.add(side + i, side + i + 1, profile.w_body, lag, "body.descending", *groups)
            table.add(side + i + 1, side + i, profile.w_body, -lag, "body.ascending", *groups)
    for i in range(S):
        table.add(i, S + i, profile.w_contralateral, math.pi, "contralateral")
        table.add(S + i, i, profile.w_contralateral, math.pi, "contralateral")
    for k in range(layout.num_limbs):
        side, girdle = layout.limb_side(k), layout.limb_girdle(k)
        for j in range(layout.num_limbs):
            if (layout.limb_side(j) != side) + (layout.limb_girdle(j) != girdle) == 1:
                table.add(2 * S + j, 2 * S + k, profile.w_limb, math.pi, "limb")
        for i in range(S):
            if layout.girdle(i) == girdle:
                table.add(2 * S + k, side * S + i, profile.w_limb_to_body, phi[girdle], "limb_to_body")
    return table
