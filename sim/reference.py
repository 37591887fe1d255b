"""The living animal's figures with their sources, its recorded joint cycles, and ours printed beside them.

Bands say when a simulated newt counts as moving like the animal. They are drawn around the measured figures, wide
enough for the spread between the recorded trials; each row of `BANDS` names where its figure comes from.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.gait import GaitMetrics
from sim.recorded import recorded_cycle

__all__ = [
    "BANDS",
    "DISPLACEMENT",
    "JOINT_AMPLITUDES",
    "PHASE_LAGS",
    "Band",
    "Check",
    "DisplacementProfile",
    "check",
    "drive_checks",
    "format_checks",
    "gait_table",
    "recorded_cycle",
    "swim_sweep_checks",
]

Array = NDArray[np.float64]
KARAKASILIOTIS = "Karakasiliotis et al. 2016"
"""Pleurodeles waltl: "From cineradiography to biorobots: an approach for designing robots to emulate and study animal
locomotion" (Karakasiliotis et al., 2016), the data as stored with "Balancing central control and sensory feedback
produces adaptable and robust locomotor patterns in a spiking, neuromechanical model of the salamander spinal cord"
(Pazzaglia et al., 2025), https://github.com/AlexPazzaglia/SalamandraSNN."""
SECOND_LAB = "second laboratory, in Pazzaglia et al. 2025"
"""A second set of swimming newts (2023) stored with the same model; its animals swim twice as fast."""
ASHLEY_ROSS = "Ashley-Ross & Bechtel 2004"
"""Taricha torosa, walking on land: "Kinematics of the transition between aquatic and terrestrial locomotion in the newt
Taricha torosa" (Ashley-Ross & Bechtel, 2004)."""
ASHLEY_ROSS_TREADMILL = "Ashley-Ross et al. 2009"
"""Taricha torosa on a treadmill, 0.63 snout-vent lengths/s with duty factor 0.77: "Kinematics of level terrestrial and
underwater walking in the California newt, Taricha torosa" (Ashley-Ross, Lundin & Johnson, 2009). A snout-vent length
is 0.48 of the total length of the Pleurodeles of Pazzaglia et al., hence 0.30 BL/s (across species)."""
IJSPEERT = "Ijspeert et al. 2007"
"""Gait change under rising drive: "From swimming to walking with a salamander robot driven by a spinal cord model"
(Ijspeert, Crespi, Ryczko & Cabelguen, 2007), doi:10.1126/science.1138353."""
DAOUT = "D'Août & Aerts 1997"
"""Axolotl: speed linear in frequency (r^2 0.71), wavelength constant: "Kinematics and efficiency of steady swimming in
adult axolotls (Ambystoma mexicanum)" (D'Août & Aerts, 1997)."""

JOINT_AMPLITUDES: dict[str, tuple[float, ...]] = {
    "swim": (10.8, 13.4, 13.0, 12.8, 23.2, 31.8, 28.0, 34.0),
    "walk": (5.2, 22.9, 17.5, 2.1, 18.8, 19.0, 2.3, 6.4),
}
"""Half ranges of the eight spine joints, degrees (Karakasiliotis et al. 2016; walking: of the mean cycle)."""

PHASE_LAGS = (0.193, 0.082, 0.082, 0.108, 0.149, 0.139, 0.117)
"""Lag of each spine joint behind the one before while swimming, fraction of a cycle (Karakasiliotis et al. 2016)."""


@dataclass(frozen=True)
class DisplacementProfile:
    """Lateral displacement of the animal's midline, half peak-to-peak."""

    source: str
    where: tuple[float, ...]
    """Body lengths from the snout."""
    amplitude: tuple[float, ...]
    """Body lengths."""


_TENTHS = tuple(round(0.1 * i, 1) for i in range(11))
DISPLACEMENT: dict[str, tuple[DisplacementProfile, ...]] = {
    "swim": (
        DisplacementProfile(
            KARAKASILIOTIS, _TENTHS, (0.040, 0.025, 0.022, 0.035, 0.043, 0.050, 0.065, 0.080, 0.095, 0.110, 0.130)
        ),
        DisplacementProfile(
            SECOND_LAB,
            (0.0, 0.123, 0.191, 0.276, 0.360, 0.444, 0.505, 0.606, 0.736, 0.869, 1.0),
            (0.035, 0.017, 0.015, 0.023, 0.028, 0.039, 0.046, 0.061, 0.072, 0.081, 0.106),
        ),
    ),
    "walk": (
        DisplacementProfile(
            f"{KARAKASILIOTIS} (provisional)",
            _TENTHS,
            (0.070, 0.070, 0.070, 0.070, 0.050, 0.030, 0.050, 0.062, 0.050, 0.025, 0.025),
        ),
    ),
}
"""Displacement profiles per gait; the walking one is marked as provisional by its authors."""


@dataclass(frozen=True)
class Band:
    """One measure: how to read it from the metrics, the animal's figure, and the band that ours must lie in."""

    label: str
    unit: str
    read: Callable[[GaitMetrics], float]
    animal: float
    low: float
    high: float
    """Infinite bounds: reported beside the animal's figure, not judged."""
    source: str


_INF = math.inf
BANDS: dict[str, tuple[Band, ...]] = {
    "swim": (
        Band("frequency", "Hz", lambda m: m.frequency, 3.17, -_INF, _INF, KARAKASILIOTIS),
        Band("speed", "BL/s", lambda m: m.speed, 0.714, -_INF, _INF, KARAKASILIOTIS),
        Band("stride", "BL/cycle", lambda m: m.stride, 0.225, 0.18, 0.28, KARAKASILIOTIS),
        Band("waves per body", "1/BL", lambda m: m.waves, 1.16, 0.9, 1.2, KARAKASILIOTIS),
        Band("displacement minimum at", "BL", lambda m: m.displacement_minimum, 0.2, 0.15, 0.30, KARAKASILIOTIS),
        Band("tail-tip displacement", "BL", lambda m: m.displacement[-1], 0.130, 0.09, 0.14, KARAKASILIOTIS),
        Band("snout displacement", "BL", lambda m: m.displacement[0], 0.040, -_INF, _INF, KARAKASILIOTIS),
        Band("Strouhal number", "", lambda m: m.strouhal, 0.58, -_INF, _INF, KARAKASILIOTIS),
    ),
    "walk": (
        Band("frequency", "Hz", lambda m: m.frequency, math.nan, -_INF, _INF, ""),
        Band("speed", "BL/s", lambda m: m.speed, 0.30, 0.1, 0.6, ASHLEY_ROSS_TREADMILL),
        Band("duty factor, four feet", "", lambda m: m.duty_mean, 0.76, 0.65, 0.85, ASHLEY_ROSS),
        Band("trunk to tail base", "cycle", lambda m: m.trunk_tail_phase, 0.50, 0.45, 0.55, KARAKASILIOTIS),
        Band("least joint amplitude at", "BL", lambda m: m.node, 0.47, 0.46, 0.48, KARAKASILIOTIS),
        Band("travelling share", "", lambda m: m.travelling_index, 0.14, -_INF, _INF, KARAKASILIOTIS),
        Band("stance slip", "BL/s", lambda m: m.slip, math.nan, -_INF, _INF, ""),
    ),
}
"""Measures of a single run, per gait. What holds across runs is in `swim_sweep_checks` and `drive_checks`."""

DRY_WORLDS = ("land", "rough")


@dataclass(frozen=True)
class Check:
    """One line of a gait table."""

    label: str
    unit: str
    ours: float
    animal: float
    low: float
    high: float
    source: str

    @property
    def judged(self) -> bool:
        """Whether there is a band at all."""
        return math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def passed(self) -> bool:
        """Inside the band; NaN never is."""
        return not self.judged or self.low <= self.ours <= self.high

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is undefined or unbounded becomes None."""
        plain = lambda x: x if math.isfinite(x) else None
        numbers = {k: plain(getattr(self, k)) for k in ("ours", "animal", "low", "high")}
        verdict = self.passed if self.judged else None
        return {"label": self.label, "unit": self.unit, **numbers, "passed": verdict, "source": self.source}


def check(metrics: GaitMetrics, gait: str = "swim") -> list[Check]:
    """Lay one run beside the animal's figures.

    The stride band belongs to swimming at 2.6 Hz and above, where the animal was recorded; below, it is only reported.

    Raises:
        ValueError: An unknown gait, or swimming asked of a world without water.
    """
    if gait not in BANDS:
        raise ValueError(f"gait must be one of {', '.join(BANDS)}; received {gait!r}")
    if gait == "swim" and metrics.world in DRY_WORLDS:
        raise ValueError(
            f"swimming figures need water; the trajectory is from {metrics.world!r}. Run it in pool, shore or channel, "
            "or ask for gait='walk'"
        )
    rows = []
    for band in BANDS[gait]:
        slow = band.label == "stride" and not metrics.frequency >= 2.55
        low, high = (-_INF, _INF) if slow else (band.low, band.high)
        rows.append(Check(band.label, band.unit, band.read(metrics), band.animal, low, high, band.source))
    return rows


def swim_sweep_checks(runs: Sequence[GaitMetrics]) -> list[Check]:
    """What holds across swimming runs of different drive: range of frequencies, strides, speed and wavelength trends.

    Args:
        runs: Metrics of at least three swimming runs.

    Raises:
        ValueError: Fewer than three runs.
    """
    if len(runs) < 3:
        raise ValueError(f"a trend needs at least three runs; received {len(runs)}")
    f = np.array([m.frequency for m in runs])
    speed = np.array([m.speed for m in runs])
    wavelength = 1.0 / np.array([m.waves for m in runs])
    strides = [m.stride for m in runs if m.frequency >= 2.55] or [math.nan]
    fit = np.polyfit(f, wavelength, 1)
    trend = abs(fit[0]) * np.ptp(f) / np.mean(wavelength)
    slope, r = np.polyfit(f, speed, 1)[0], np.corrcoef(f, speed)[0, 1]
    return [
        Check("lowest frequency", "Hz", float(f.min()), 2.6, -_INF, 2.6, KARAKASILIOTIS),
        Check("highest frequency", "Hz", float(f.max()), 3.8, 3.8, _INF, KARAKASILIOTIS),
        Check("least stride", "BL/cycle", float(np.min(strides)), 0.18, 0.18, 0.28, KARAKASILIOTIS),
        Check("greatest stride", "BL/cycle", float(np.max(strides)), 0.28, 0.18, 0.28, KARAKASILIOTIS),
        Check("speed on frequency, r", "", float(r), math.sqrt(0.71), 0.8, 1.0 + 1e-9, DAOUT),
        Check("speed on frequency, slope", "BL", float(slope), math.nan, 1e-9, _INF, DAOUT),
        Check("wavelength over range", "", float(trend), 0.0, -_INF, 0.10, DAOUT),
    ]


def drive_checks(drives: ArrayLike, runs: Sequence[GaitMetrics]) -> list[Check]:
    """What a rising drive must do: rest, then walk, then swim, each gait once, with a jump in frequency between.

    Args:
        drives: Drive of each run.
        runs: Metrics of the runs.

    Raises:
        ValueError: As many drives as runs are needed.
    """
    levels = np.asarray(drives, dtype=np.float64)
    if levels.shape != (len(runs),):
        raise ValueError(f"one drive per run: received {levels.shape} drives for {len(runs)} runs")
    ordered = [runs[i] for i in np.argsort(levels)]
    order = [m.gait for i, m in enumerate(ordered) if i == 0 or m.gait != ordered[i - 1].gait]
    walks = [m.frequency for m in ordered if m.gait == "walk"] or [math.nan]
    swims = [m.frequency for m in ordered if m.gait == "swim"] or [math.nan]
    in_order = float(order == ["rest", "walk", "swim"])
    jump = float(np.min(swims) / np.max(walks))
    return [
        Check(f"gait order: {', '.join(order)}", "", in_order, 1.0, 1.0, 1.0, IJSPEERT),
        Check("slowest swim over fastest walk", "", jump, math.nan, 1.0 + 1e-9, _INF, IJSPEERT),
    ]


def format_checks(rows: Sequence[Check], title: str) -> str:
    """The table as text: ours, the animal's, the band, the verdict, the source."""
    number = lambda x: "-" if math.isnan(x) else f"{x:.3g}"

    def band(c: Check) -> str:
        if not c.judged:
            return "reported"
        if math.isinf(c.low) or math.isinf(c.high):
            return f"<= {c.high:.3g}" if math.isinf(c.low) else f">= {c.low:.3g}"
        return f"{c.low:.3g} to {c.high:.3g}"

    lines = [f"{title:<34}{'ours':>9}{'animal':>9}  {'band':<14}{'':<9}source"]
    for c in rows:
        verdict = "" if not c.judged else "in band" if c.passed else "OUTSIDE"
        label = f"{c.label}, {c.unit}" if c.unit else c.label
        lines.append(f"{label:<34}{number(c.ours):>9}{number(c.animal):>9}  {band(c):<14}{verdict:<9}{c.source}")
    return "\n".join(line.rstrip() for line in lines)


def gait_table(metrics: GaitMetrics, gait: str = "swim") -> str:
    """Our figures beside the animal's, and whether they lie in the band; then the profiles along the body.

    Raises:
        ValueError: An unknown gait, or swimming asked of a world without water.
    """
    row = lambda name, values: f"{name:<34}" + " ".join(f"{v:>6.3g}" for v in values)
    text = [
        format_checks(check(metrics, gait), f"{gait} ({metrics.cycles:.1f} cycles)"),
        row("spine half ranges, deg: ours", metrics.joint_amplitudes[:8]),
        row("  animal", JOINT_AMPLITUDES[gait]),
        row("displacement, BL: ours", metrics.displacement),
        row("  animal", DISPLACEMENT[gait][0].amplitude),
    ]
    if gait == "swim":
        text += [row("joint lags, cycle: ours", metrics.phase_lags), row("  animal", PHASE_LAGS)]
    else:
        text += [row("duty of each foot: ours", metrics.duty)]
    return "\n".join(text)
