"""How an animal moves, measured from its trajectory alone: speed, stride, waves, displacement, turning, cost, gait.

The rhythm itself (frequency, amplitudes, lags) is measured in `sim.rhythm`, the feet in `sim.footfall`;
`gait_metrics` gathers all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim import footfall, rhythm
from sim.trajectory import AXIAL_JOINTS, SPINE, Trajectory, cycle_mean

__all__ = [
    "Gait",
    "GaitMetrics",
    "Trajectory",
    "classify",
    "cost_of_transport",
    "displacement_profile",
    "gait_metrics",
    "gait_over_time",
    "speeds",
    "trunk_tail_phase",
    "yaw_rate",
]

Array = NDArray[np.float64]
Gait = Literal["rest", "walk", "swim"]

PROFILE = np.linspace(0.0, 1.0, 11)
"""Places of the displacement profile, body lengths from the snout, as the animal's figures are given."""
_LIMB_YAWS = np.arange(8, 24, 4)
"""Yaw joints of the four limbs among the 24 joints."""
_NO_RHYTHM_WINDOW = 0.25
"""Averaging window (fraction of the recording) where there is no cycle to average over."""


def _window(trajectory: Trajectory, frequency: float) -> float:
    """Averaging window in samples: one cycle, or a quarter of the recording when still or too short."""
    steps = len(trajectory.time)
    samples = 1.0 / (frequency * trajectory.dt) if frequency > 0 else np.inf
    return float(samples if samples <= 0.75 * (steps - 1) else max(_NO_RHYTHM_WINDOW * (steps - 1), 1.0))


def speeds(trajectory: Trajectory, frequency: float) -> tuple[float, float, float]:
    """Speed along the path, straight, and forwards, m/s.

    The centre of mass is averaged over one cycle, so that its sway does not lengthen the path.

    Returns:
        Length of the averaged path over time (>= 0); straight distance between its ends over time (>= 0);
        its progress along the averaged body axis over time (negative when the animal goes backwards).
    """
    samples = _window(trajectory, frequency)
    path = cycle_mean(trajectory.centre()[:, :2], samples)
    axis = cycle_mean(trajectory.axis(), samples)
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    elapsed = (len(path) - 1) * trajectory.dt
    if elapsed <= 0:
        return math.nan, math.nan, math.nan
    steps = np.diff(path, axis=0)
    forward = np.sum(steps * (axis[1:] + axis[:-1]) / 2)
    along = np.linalg.norm(steps, axis=1).sum()
    return float(along / elapsed), float(np.linalg.norm(path[-1] - path[0]) / elapsed), float(forward / elapsed)


def yaw_rate(trajectory: Trajectory, frequency: float) -> float:
    """Mean rate of turning, rad/s, counter-clockwise positive: the slope of the cycle-averaged heading."""
    heading = cycle_mean(np.unwrap(trajectory.heading), _window(trajectory, frequency))
    if len(heading) < 2:
        return math.nan
    return float(np.polyfit(np.arange(len(heading)) * trajectory.dt, heading, 1)[0])


def displacement_profile(trajectory: Trajectory, frequency: float, where: Sequence[float] | Array = PROFILE) -> Array:
    """Lateral displacement of the midline in the moving body frame, body lengths, `[S]`.

    Half the peak-to-peak sideways motion of each point in a cycle, averaged over cycles. The frame moves with the
    cycle-averaged centre of mass and points along the cycle-averaged body axis, so progress and turning drop out
    while the recoil of the head stays in.

    Args:
        trajectory: At least one and a half cycles.
        frequency: Hz.
        where: `[S]` distances from the snout, body lengths.
    """
    samples = _window(trajectory, frequency)
    origin = cycle_mean(trajectory.centre()[:, :2], samples)
    axis = cycle_mean(trajectory.axis(), samples)
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    first = int(round(samples / 2))
    points = trajectory.midline(where)[first : first + len(origin)]
    origin, axis = origin[: len(points)], axis[: len(points)]
    offset = points - origin[:, None]
    lateral = axis[:, None, 0] * offset[..., 1] - axis[:, None, 1] * offset[..., 0]
    if frequency > 0 and len(lateral) * trajectory.dt * frequency < 1.0:
        return np.asarray(np.ptp(lateral, axis=0) / 2 / trajectory.length)
    return rhythm.half_ranges(lateral, trajectory.dt, frequency) / trajectory.length


def trunk_tail_phase(amplitudes: NDArray[np.complex128]) -> float:
    """Lag of the tail base (joints 5 and 6) behind the trunk (joints 2 and 3), fraction of a cycle in [0, 1).

    0.5 in the walking animal, whose trunk and tail base bend to opposite sides.
    """
    trunk, tail = amplitudes[1:3].sum(), amplitudes[4:6].sum()
    return float((np.angle(trunk * np.conj(tail)) / (2 * np.pi)) % 1.0)


def cost_of_transport(trajectory: Trajectory, speed: float) -> float:
    """Positive mechanical work of the muscles per mass and distance, J/(kg m); NaN where not recorded.

    Work that the motion does on the muscles (negative power) is not given back, as in an animal.
    """
    if trajectory.power is None or trajectory.mass is None or not speed > 0:
        return math.nan
    return float(np.mean(np.maximum(trajectory.power, 0.0)) / (trajectory.mass * speed))


def classify(frequency: float, spine_amplitude: float, limb_amplitude: float, duty: float, travelling: float) -> Gait:
    """Rest, walk or swim, from frequency, contact and wave.

    Rest: no rhythm above 0.15 Hz, or nothing moves by 1.5 degrees. Walk: the limbs step (yaw above 5 degrees) and
    the feet stand for a fifth of the time or more, or the spine makes a standing wave (stepping in water).
    Everything else that beats is swimming. The thresholds lie far from the animal's figures for either gait.

    Args:
        frequency: Hz.
        spine_amplitude: Greatest half range of a spine joint, rad.
        limb_amplitude: Mean half range of the limb yaw joints, rad.
        duty: Mean duty factor of the feet.
        travelling: `sim.rhythm.travelling_index` of the spine.
    """
    if frequency < 0.15 or max(spine_amplitude, limb_amplitude) < np.deg2rad(1.5):
        return "rest"
    stepping = limb_amplitude > np.deg2rad(5.0)
    return "walk" if stepping and (duty >= 0.2 or travelling < 0.35) else "swim"


@dataclass(frozen=True)
class GaitMetrics:
    """All gait measures of one trajectory; lengths in body lengths (BL), angles in degrees, NaN where undefined."""

    gait: Gait
    world: str
    duration: float
    """Seconds that were measured."""
    cycles: float
    """Cycles in that time."""
    frequency: float
    """Hz, from the spectrum of the spine joints."""
    frequency_counted: float
    """Hz, from zero crossings."""
    speed: float
    """BL/s along the path."""
    speed_straight: float
    """BL/s between the ends of the path."""
    forward_speed: float
    """BL/s along the body axis, negative backwards."""
    stride: float
    """BL per cycle, speed over frequency."""
    joint_amplitudes: tuple[float, ...]
    """`[24]` degrees, half range in a cycle."""
    phase_lags: tuple[float, ...]
    """`[7]` fraction of a cycle by which each spine joint follows the one before."""
    joint_phases: tuple[float, ...]
    """`[24]` lag of each joint's fundamental behind that of axis.1, fraction of a cycle in [0, 1)."""
    waves: float
    """Waves per body length, positive towards the tail."""
    travelling_index: float
    """0 standing wave, 1 travelling wave."""
    displacement: tuple[float, ...]
    """`[11]` BL at 0, 0.1 .. 1.0 of the body, half peak-to-peak."""
    displacement_minimum: float
    """Place of the least displacement, BL from the snout."""
    trunk_tail_phase: float
    """Joints 5-6 behind joints 2-3, fraction of a cycle."""
    node: float
    """Place of the spine joint of least amplitude, BL from the snout."""
    duty: tuple[float, ...]
    """`[4]` duty factor of fore left, fore right, hind left, hind right."""
    duty_mean: float
    footfall_phases: tuple[float, ...]
    """`[4]` touchdown after that of the hind left foot, fraction of a cycle."""
    slip: float
    """BL/s, mean horizontal speed of the feet in stance."""
    yaw_rate: float
    """deg/s, counter-clockwise positive."""
    turning_radius: float
    """BL; infinite when straight."""
    cost_of_transport: float
    """J/(kg m), positive muscle work."""
    strouhal: float
    """Frequency x tail-tip half amplitude / speed, as in the animal's figures."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; what is undefined or infinite becomes None."""

        def plain(value: Any) -> Any:
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def gait_metrics(trajectory: Trajectory, start: float | None = None, stop: float = math.inf) -> GaitMetrics:
    """Measure everything.

    Args:
        trajectory: The motion; a steady stretch of three cycles or more gives reliable figures.
        start: From this time on, s; by default the first quarter is left out as settling.
        stop: Up to this time, s.

    Raises:
        ValueError: No samples between start and stop.
    """
    t = trajectory
    part = t.between(t.time[0] + 0.25 * t.duration if start is None else start, stop)
    dt, length = part.dt, part.length
    f = rhythm.fundamental_frequency(part.spine(), dt) or rhythm.fundamental_frequency(part.joint_angles, dt)
    if f * part.duration < 1.0:
        f = 0.0  # less than a cycle is no rhythm that could be measured
    z = rhythm.complex_amplitudes(part.joint_angles, dt, f)
    spine = z[SPINE]
    amplitudes = rhythm.half_ranges(part.joint_angles, dt, f)
    along, straight, forward = (v / length for v in speeds(part, f))
    contact = footfall.bridged(part.foot_contact, dt)
    duty = footfall.duty_factors(contact, dt, f)
    feet = part.foot_positions
    slips = np.full(4, np.nan) if feet is None else footfall.slip_speeds(contact, feet, dt) / length
    turn = yaw_rate(part, f)
    profile = displacement_profile(part, f)
    fine = np.linspace(0.0, 0.6, 61)
    travelling = rhythm.travelling_index(spine)
    moving = f > 0
    gait = classify(f, amplitudes[SPINE].max(), amplitudes[_LIMB_YAWS].mean(), float(duty.mean()), travelling)
    return GaitMetrics(
        gait=gait,
        world=part.world or "",
        duration=part.duration,
        cycles=f * part.duration,
        frequency=f,
        frequency_counted=rhythm.zero_crossing_frequency(part.spine(), dt),
        speed=along,
        speed_straight=straight,
        forward_speed=forward,
        stride=along / f if moving else math.nan,
        joint_amplitudes=_floats(np.rad2deg(amplitudes)),
        phase_lags=_floats(rhythm.phase_lags(spine)) if moving else (math.nan,) * 7,
        joint_phases=_floats((np.angle(z[0] * np.conj(z)) / (2 * np.pi)).round(12) % 1.0)
        if moving
        else (math.nan,) * 24,
        waves=rhythm.wave_number(spine) if moving else math.nan,
        travelling_index=travelling if moving else math.nan,
        displacement=_floats(profile),
        displacement_minimum=float(fine[np.argmin(displacement_profile(part, f, fine))]) if moving else math.nan,
        trunk_tail_phase=trunk_tail_phase(spine) if moving else math.nan,
        node=float(AXIAL_JOINTS[np.argmin(amplitudes[SPINE])]) if moving else math.nan,
        duty=_floats(duty),
        duty_mean=float(duty.mean()),
        footfall_phases=_floats(footfall.touchdown_phases(contact, part.time, f)),
        slip=float(np.nanmean(slips)) if np.any(np.isfinite(slips)) else math.nan,
        yaw_rate=math.degrees(turn),
        turning_radius=along / abs(turn) if abs(turn) > 1e-6 else math.inf,
        cost_of_transport=cost_of_transport(part, along * length),
        strouhal=f * float(profile[-1]) / along if moving and along > 0 else math.nan,
    )


def gait_over_time(
    trajectory: Trajectory, window: float = 1.5, every: float = 0.25
) -> tuple[Array, tuple[Gait, ...], Array]:
    """Gait and frequency in a sliding window: what a changing drive or a shore makes of the motion.

    Args:
        trajectory: The motion.
        window: Length of the window, s; it should hold a cycle and a half of the slowest gait.
        every: Shift between windows, s.

    Returns:
        Middles of the windows `[N]` s, gait in each, frequency in each `[N]` Hz.

    Raises:
        ValueError: The trajectory is shorter than the window.
    """
    t = trajectory
    if t.duration < window:
        raise ValueError(f"the window ({window} s) must fit into the trajectory ({t.duration:.3f} s)")
    starts = np.arange(t.time[0], t.time[-1] - window + 1e-9, every)
    found = [gait_metrics(t, start=s, stop=s + window + t.dt / 2) for s in starts]
    return starts + window / 2, tuple(m.gait for m in found), np.array([m.frequency for m in found])


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
