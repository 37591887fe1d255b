"""Which parts of a run can be measured: stretches under one drive, on one side of the water's edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sim.gait import GaitMetrics, gait_metrics
from sim.trajectory import Trajectory

__all__ = ["Stretch", "steady", "stretches"]

_SETTLING = 1.0
"""Seconds left out after a change of the drive."""
_SHORTEST = 1.5
"""Seconds that must remain to be measured."""


class Stretch(NamedTuple):
    """A part of a run and its gait; `straight` if both sides had the same drive. Measured from `start` + 1 s on."""

    start: float
    stop: float
    straight: bool
    metrics: GaitMetrics


def stretches(traces: Mapping[str, Any], trajectory: Trajectory) -> list[Stretch]:
    """Cut a run where the drive changed or the animal passed the water's edge, and measure every piece.

    Args:
        traces: recorded arrays; `drive` [T, 4] and `submerged` [T, 9] are used where they are there.
        trajectory: the same run.
    """
    time = np.asarray(traces["time"])
    drive = np.asarray(traces["drive"]) if "drive" in traces else np.zeros((len(time), 4))
    wet = np.asarray(traces["submerged"]).mean(1) > 0.5 if "submerged" in traces else np.zeros(len(time), bool)
    change = (np.abs(np.diff(drive, axis=0)).max(1) > 1e-6) | (np.diff(wet.astype(int)) != 0)
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), len(time)]
    found = []
    for first, last in zip(edges, edges[1:], strict=False):
        start, stop = float(time[first]), float(time[last - 1])
        if stop - start >= _SETTLING + _SHORTEST:
            metrics = gait_metrics(trajectory, start=start + _SETTLING, stop=stop)
            found.append(Stretch(start, stop, bool(np.ptp(drive[first]) < 1e-6), metrics))
    return found


def steady(parts: list[Stretch]) -> dict[str, Stretch]:
    """The longest straight stretch of each gait but rest."""
    best: dict[str, Stretch] = {}
    for part in parts:
        gait = part.metrics.gait
        if gait != "rest" and part.straight:
            if gait not in best or part.stop - part.start > best[gait].stop - best[gait].start:
                best[gait] = part
    return best
