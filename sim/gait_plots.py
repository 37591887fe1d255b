"""Pictures of a gait: joint angles, footfall diagram, displacement beside the animal's, spine kymograph, path.

Each `draw_*` fills a Matplotlib axes from a trajectory; `plot_gait` writes all of them as PNG files. Drawing uses the
Agg canvas directly, so no display is needed and the caller's Matplotlib settings are left alone.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim import footfall, rhythm
from sim.gait import PROFILE, GaitMetrics, displacement_profile, gait_metrics
from sim.reference import DISPLACEMENT
from sim.trajectory import AXIAL_JOINTS, Trajectory

__all__ = [
    "draw_displacement",
    "draw_footfalls",
    "draw_joint_angles",
    "draw_kymograph",
    "draw_path",
    "plot_gait",
]

FORE, HIND, OURS, ANIMAL = "#c1440e", "#1f6f8b", "#1b1b1b", "#8a8a8a"


def draw_joint_angles(axes: Axes, trajectory: Trajectory) -> None:
    """Angles of the eight spine joints over time, stacked head to tail, degrees."""
    angles = np.rad2deg(trajectory.spine())
    spacing = max(20.0, 1.2 * float(np.ptp(angles, axis=0).max()))
    for joint, trace in enumerate(angles.T):
        axes.axhline(-joint * spacing, color="0.9", linewidth=0.6)
        axes.plot(trajectory.time, trace - joint * spacing, color=OURS, linewidth=0.9)
    axes.set_yticks([-j * spacing for j in range(8)], [f"axis.{j + 1}" for j in range(8)])
    top, bottom = spacing / 2, -7 * spacing
    axes.plot([trajectory.time[-1]] * 2, [bottom - top, bottom], color=FORE, linewidth=2, clip_on=False)
    axes.text(trajectory.time[-1], bottom - top / 2, f" {top:.0f}°", color=FORE, va="center", fontsize=8)
    axes.set(xlabel="time, s", title="Spine joint angles", xlim=(trajectory.time[0], trajectory.time[-1]))


def draw_footfalls(axes: Axes, trajectory: Trajectory) -> None:
    """Footfall diagram: a bar while a foot is on the ground, with its duty factor."""
    contact = footfall.bridged(trajectory.foot_contact, trajectory.dt)
    frequency = rhythm.fundamental_frequency(trajectory.spine(), trajectory.dt)
    duty = footfall.duty_factors(contact, trajectory.dt, frequency)
    for row, intervals in enumerate(footfall.stances(contact, trajectory.time)):
        spans = [(stance.touchdown, stance.liftoff - stance.touchdown) for stance in intervals]
        axes.broken_barh(spans, (row - 0.35, 0.7), color=FORE if row < 2 else HIND)
    if not contact.any():
        axes.text(0.5, 0.5, "no foot touches the ground", transform=axes.transAxes, ha="center", color=ANIMAL)
    labels = [f"{label}\n{value:.2f}" for label, value in zip(footfall.FOOT_LABELS, duty, strict=True)]
    axes.set_yticks(range(4), labels)
    axes.set(ylim=(3.6, -0.6), xlim=(trajectory.time[0], trajectory.time[-1]), xlabel="time, s")
    axes.set_title("Footfalls (number: duty factor)")


def draw_displacement(axes: Axes, trajectory: Trajectory, metrics: GaitMetrics) -> None:
    """Lateral displacement along the body, beside the animal's profile for the same gait."""
    fine = np.linspace(0.0, 1.0, 101)
    axes.plot(fine, displacement_profile(trajectory, metrics.frequency, fine), color=OURS, label="simulated")
    axes.plot(PROFILE, metrics.displacement, "o", color=OURS, markersize=4)
    if metrics.gait in DISPLACEMENT:
        for profile, mark in zip(DISPLACEMENT[metrics.gait], ("s--", "^:"), strict=False):
            axes.plot(profile.where, profile.amplitude, mark, color=HIND, markersize=3, label=profile.source)
    axes.set(xlabel="distance from the snout, body lengths", ylabel="lateral displacement, body lengths", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.set_title("Displacement in the moving body frame")
    axes.legend(fontsize=7, frameon=False)


def draw_kymograph(axes: Axes, trajectory: Trajectory) -> None:
    """Spine angle over time and body: slanted stripes are a travelling wave, upright blocks a standing one."""
    angles = np.rad2deg(trajectory.spine())
    limit = max(float(np.abs(angles).max()), 1.0)
    place = np.linspace(AXIAL_JOINTS[0], AXIAL_JOINTS[-1], 151)
    between = np.stack([np.interp(place, AXIAL_JOINTS, row) for row in angles], axis=1)
    extent = (trajectory.time[0], trajectory.time[-1], place[-1], place[0])
    image = axes.imshow(between, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent, aspect="auto")
    axes.set(xlabel="time, s", ylabel="distance from the snout, body lengths")
    axes.set_title("Spine bending, degrees (positive: to the left)")
    colours = axes.get_figure()
    if colours is not None:
        colours.colorbar(image, ax=axes, fraction=0.04)


def draw_path(axes: Axes, trajectory: Trajectory) -> None:
    """Path of the centre of mass from above with the midline drawn at eight moments, body lengths."""
    length = trajectory.length
    path = trajectory.centre()[:, :2] / length
    axes.plot(path[:, 0], path[:, 1], color=ANIMAL, linewidth=1)
    midline = trajectory.midline(np.linspace(0.0, 1.0, 41)) / length
    moments = np.linspace(0, len(path) - 1, 8).astype(int)
    for i, shade in zip(moments, np.linspace(0.75, 0.0, 8), strict=True):
        axes.plot(midline[i, :, 0], midline[i, :, 1], color=str(shade), linewidth=2)
        axes.plot(*midline[i, 0], "o", color=FORE, markersize=4)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="x, body lengths", ylabel="y, body lengths", title="Path from above (dot: snout)")


def plot_gait(
    trajectory: Trajectory,
    out: str | PathLike[str],
    metrics: GaitMetrics | None = None,
    *,
    start: float | None = None,
    stop: float = np.inf,
    seconds: float = 4.0,
    only: Sequence[str] = (),
) -> list[Path]:
    """Write the pictures as `joint_angles.png`, `footfalls.png`, `displacement.png`, `kymograph.png`, `path.png`.

    Args:
        trajectory: The whole motion.
        out: Folder, made if it is missing.
        metrics: Its figures; measured here if not given.
        start: Measure from this time on, s; None leaves out the first quarter.
        stop: Measure up to this time, s.
        seconds: The time traces show the last so many seconds of that.
        only: Names of the pictures wanted; all by default.

    Returns:
        The files written.

    Raises:
        ValueError: An unknown picture name.
    """
    m = metrics or gait_metrics(trajectory, start=start, stop=stop)
    first = trajectory.time[0] + 0.25 * trajectory.duration if start is None else start
    measured = trajectory.between(first, stop)
    end = measured.between(measured.time[-1] - seconds)
    pictures: dict[str, Callable[[Axes], None]] = {
        "joint_angles": lambda axes: draw_joint_angles(axes, end),
        "footfalls": lambda axes: draw_footfalls(axes, end),
        "displacement": lambda axes: draw_displacement(axes, measured, m),
        "kymograph": lambda axes: draw_kymograph(axes, end),
        "path": lambda axes: draw_path(axes, trajectory),
    }
    unknown = sorted(set(only) - set(pictures))
    if unknown:
        raise ValueError(f"pictures are {', '.join(pictures)}; received {', '.join(unknown)}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in pictures.items():
        if only and name not in only:
            continue
        figure = Figure(figsize=(7.0, 4.0), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        path = folder / f"{name}.png"
        figure.savefig(path)
        written.append(path)
    return written
