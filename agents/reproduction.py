"""How well a learned network keeps the motion: running free, and in the body."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from agents.controller import NetworkController
from agents.experiment import live, make_worlds
from agents.imitation import free_run
from agents.learned import AngleMotor, LearnedCell
from agents.motion import Motion
from agents.schedule import Schedule
from rnn.analysis.limit_cycles import NoRhythm, limit_cycle
from rnn.edits import Edit
from sim import rhythm
from sim.gait import GaitMetrics, gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory

__all__ = ["LEVELS", "Reproduction", "bands_held", "contraction", "in_the_body", "reproduce"]

LEVELS = {"walk": (2.0, "land"), "swim": (4.0, "pool")}
"""Drive and world in which each gait is judged."""
STILL = math.radians(1.0)


@dataclass(frozen=True)
class Reproduction:
    """A free run beside the motion that was learned.

    Attributes:
        gait: which gait. cycles: length of the run.
        frequency: of the network over the last cycles, Hz. wanted: that of the motion, Hz.
        phase_error: greatest departure of a joint's phase from the motion, cycles; all joints share one free offset.
        amplitude_error: greatest departure of a joint's half range, relative.
        angle_error: root mean square over joints and time, rad.
        worst_phase, worst_amplitude: the joints with these errors. Joints that move by less than a degree are left out.
        drift: change of the root mean square angle from the first ten settled cycles to the last ten, relative.
    """

    gait: str
    cycles: float
    frequency: float
    wanted: float
    phase_error: float
    amplitude_error: float
    angle_error: float
    worst_phase: int
    worst_amplitude: int
    drift: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def reproduce(cell: LearnedCell, motion: Motion, gait: str, *, drive: float | None = None, cycles: float = 1000):
    """Let a network run free for many cycles, and lay the last ten beside the motion.

    Args:
        cell: the network. motion: what it learned. gait: "walk" or "swim". drive: mean drive. cycles: length.
    """
    drive = LEVELS[gait][0] if drive is None else drive
    wanted, dt = motion.frequency(gait, drive), 0.01
    span = math.ceil(10 / wanted / dt)
    steps = max(math.ceil(cycles / wanted / dt), 3 * span)
    drives, state, early = torch.tensor([[drive, drive, 0.0]]), None, None
    done = 0
    while done < steps:  # in parts, so that a thousand cycles need no memory
        part = min(4000, steps - done) if steps - done > span else steps - done
        part = steps - done if steps - done - part < span else part
        run = free_run(cell, drives, part, state=state)
        state, done = run.state, done + part
        if early is None:
            early = run.outputs[2 * span : 3 * span, 0] if part >= 3 * span else run.outputs[-span:, 0]
    angles = run.outputs[-span:, 0].double().numpy()
    frequency = rhythm.fundamental_frequency(angles, dt)
    goal = motion.cycle(gait, drive, samples=512).double().numpy()
    ours = rhythm.complex_amplitudes(angles, dt, frequency) if frequency else np.zeros(24, complex)
    aims = np.fft.rfft(goal, axis=0)[1] / 256
    moving = np.ptp(goal, axis=0) / 2 > STILL
    offset = np.vdot(aims[moving], ours[moving])
    phases = np.angle(ours * np.conj(aims) * np.conj(offset)) / (2 * math.pi)
    phase_error = np.where(moving, np.abs(phases), 0.0)
    ranges = rhythm.half_ranges(angles, dt, frequency) if frequency else np.zeros(24)
    aimed = np.ptp(goal, axis=0) / 2
    amplitude_error = np.where(moving, np.abs(ranges / np.maximum(aimed, 1e-9) - 1), 0.0)
    turns = frequency * dt * np.arange(len(angles))
    projected = np.exp(-2j * math.pi * turns) @ (angles - angles.mean(0))
    time = turns + np.angle(np.vdot(aims[moving], projected[moving])) / (2 * math.pi)
    shape = np.stack([np.interp(time % 1, np.arange(513) / 512, np.append(g, g[0])) for g in goal.T], 1)
    first = float(early.double().std()) if early is not None else math.nan
    return Reproduction(
        gait=gait,
        cycles=steps * dt * wanted,
        frequency=float(frequency),
        wanted=wanted,
        phase_error=float(phase_error.max()) if frequency else 1.0,
        amplitude_error=float(amplitude_error.max()),
        angle_error=float(np.sqrt(np.mean((angles - shape) ** 2))),
        worst_phase=int(phase_error.argmax()),
        worst_amplitude=int(amplitude_error.argmax()),
        drift=float(angles.std() / first - 1),
    )


def contraction(cell: LearnedCell, drive: float) -> dict[str, float]:
    """What becomes of a push in one cycle: the largest Floquet multipliers beside the neutral one.

    Returns:
        "frequency" Hz, "neutral" (distance of the neutral multiplier from 1), "multiplier" (largest other modulus);
        NaN where the network has no rhythm.
    """
    x = torch.tensor([drive] * 4 + [0.0] * (cell.input_size - 4))
    try:
        cycle = limit_cycle(cell, x, transient=800, watch=600)
    except NoRhythm:
        return {"frequency": math.nan, "neutral": math.nan, "multiplier": math.nan}
    away = (cycle.multipliers - 1).abs()
    first = int(away.argmin())
    rest = [float(abs(m)) for i, m in enumerate(cycle.multipliers) if i != first]
    return {"frequency": 100 * cycle.frequency, "neutral": float(away[first]), "multiplier": max(rest)}


def in_the_body(
    cell: LearnedCell,
    world: str,
    drives: Sequence[tuple[float, float]],
    *,
    seconds: float = 8.0,
    start: float | None = None,
    closed: bool = False,
    control: str = "muscle",
    limb_drive: float = 0.0,
    edits: Sequence[Edit] = (),
    **options: Any,
) -> list[GaitMetrics]:
    """Gaits of simulated animals under a network, one animal per pair of drives (left, right), in one batch.

    Args:
        cell: the network. world: where. drives: left and right drive of each animal.
        seconds: simulated time. start: from when on the gait is measured, s; None
            leaves out the first quarter.
        closed: the network feels the spine's angles. control: "muscle" or "joint". limb_drive, edits: see
            `agents.controller`. options: of the environment.
    """
    env = make_worlds(world, len(drives), control=control, **options)
    body = env.unwrapped.salamander
    schedules = [Schedule((0.0,), (left,), (right,)) for left, right in drives]
    feedback = body.joint_angles if closed else None
    motor: Any = AngleMotor(control)
    controller = NetworkController(cell, motor, schedules, limb_drive=limb_drive, edits=edits, feedback=feedback)
    recorder = live(env, controller, seconds, progress=None, neurons=False)
    return [gait_metrics(Trajectory.from_arrays(recorder.traces(i)), start=start) for i in range(len(drives))]


def bands_held(metrics: GaitMetrics, gait: str) -> tuple[int, int, list[str]]:
    """Bands of the living animal that a gait lies in, of how many, and the names of those that it does not."""
    judged = [row for row in check(metrics, gait) if row.judged]
    missed = [row.label for row in judged if not row.passed]
    return len(judged) - len(missed), len(judged), missed
