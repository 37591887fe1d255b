"""What the clamp of each unit does to the moving animal: rows of one batch, their measures, and the best levers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.controller import NetworkController
from agents.experiment import live
from agents.imitation import free_run
from rnn.cell import Cell, quantities, unit_labels
from rnn.edits import Add, Clamp, Edit
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

__all__ = [
    "GOALS", "MEASURES", "Lever", "Row", "atlas_rows", "best_levers", "directions", "edit_of", "edits_of", "monotone",
    "run_rows",
]  # fmt: skip

MEASURES = ("forward_speed", "yaw_rate", "frequency", "uprightness", "gait", "amplitude", "diverged")
"""BL/s, deg/s (left is positive), Hz, cosine of the trunk's roll, 0 rest 1 walk 2 swim, degrees, 0 or 1."""
GAIT_CODES = {"rest": 0.0, "walk": 1.0, "swim": 2.0}
PATH_EVERY = 10
GOALS = ("faster", "slower", "left", "right", "stop", "backwards", "walk", "swim")


@dataclass(frozen=True, eq=False)
class Row:
    """One animal: what is done to its network.

    Attributes:
        name: the address, or the name of a direction.
        dose: the value held or added; NaN for an untouched network.
        hold: values at which units are held [H], NaN where left alone. push: values added at every step [H], or None.
    """

    name: str
    dose: float
    hold: Tensor
    push: Tensor | None = None


@dataclass(frozen=True)
class Lever:
    """A row that serves a goal well: what it does beside what an untouched animal does."""

    goal: str
    row: int
    name: str
    dose: float
    measures: dict[str, float]


def atlas_rows(
    cell: Cell,
    doses: Sequence[float],
    *,
    quantity: str | None = None,
    units: Sequence[int] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    ways: dict[str, Tensor] | None = None,
) -> list[Row]:
    """Every unit, chosen pairs and directions at every dose; the first row is untouched.

    Args:
        cell: the network. doses: values. quantity: what is held; None for the activity.
        units: which units; None for all. pairs: units that are held at the same value together.
        ways: directions [H] by name, pushed along by the dose at every step.
    """
    quantity = quantity or cell.activity
    width = quantities(cell)[quantity]
    labels = unit_labels(cell, quantity)
    blank = torch.full((width,), math.nan)
    rows = [Row("untouched", math.nan, blank)]
    for members in [(u,) for u in (range(width) if units is None else units)] + [tuple(p) for p in pairs]:
        for unit in members:
            if not 0 <= unit < width:
                raise ValueError(f"{quantity!r} has units 0 to {width - 1}, received {unit}")
        for dose in doses:
            hold = blank.clone()
            hold[list(members)] = float(dose)
            rows.append(Row("+".join(labels[u] for u in members), float(dose), hold))
    for name, way in (ways or {}).items():
        rows += [Row(name, float(dose), blank, float(dose) * way) for dose in doses]
    return rows


def directions(cell: Cell, drive: float, *, quantity: str | None = None, steps: int = 600) -> dict[str, Tensor]:
    """Directions of the state in which the drive moves its mean, each of length 1 [H].

    "turning": left side driven more, against right; "drive": the drive half a unit higher, against lower; "gait":
    swimming at drive 4 against walking at 2.
    """
    quantity = quantity or cell.activity
    cases = {
        "turning": ((drive + 0.6, drive - 0.6), (drive - 0.6, drive + 0.6)),
        "drive": ((drive + 0.5, drive + 0.5), (drive - 0.5, drive - 0.5)),
        "gait": ((4.0, 4.0), (2.0, 2.0)),
    }
    sides = torch.tensor([[*side, 0.0] for pair in cases.values() for side in pair])
    course = free_run(cell, sides, 2 * steps, record=(quantity,)).trace[quantity][steps:]
    mean = course.mean(0).unflatten(0, (-1, 2))
    return {name: (m[0] - m[1]) / (m[0] - m[1]).norm().clamp(min=1e-9) for name, m in zip(cases, mean, strict=True)}


def edits_of(rows: Sequence[Row], quantity: str, start: int) -> list[Edit]:
    """The edits of a batch with these rows, from a step on."""
    edits: list[Edit] = [Clamp(quantity, torch.stack([row.hold for row in rows]), steps=slice(start, None))]
    if any(row.push is not None for row in rows):
        none = torch.zeros_like(rows[0].hold)
        pushes = torch.stack([none if row.push is None else row.push for row in rows])
        edits.append(Add(quantity, pushes, steps=slice(start, None)))
    return edits


def edit_of(row: Row, quantity: str, start: int) -> list[Edit]:
    """The same for one animal alone, as an edits file holds it."""
    steps = slice(start, None)
    held = torch.nonzero(~torch.isnan(row.hold)).flatten().tolist()
    edits: list[Edit] = [Clamp(f"{quantity}[{unit}]", row.dose, steps=steps) for unit in held]
    if row.push is not None:
        edits.append(Add(quantity, row.push[None], steps=steps))
    return edits


def run_rows(
    env: Any,
    make: Callable[[Sequence[Edit]], NetworkController],
    rows: Sequence[Row],
    quantity: str,
    *,
    seconds: float,
    onset: float,
    settle: float,
    progress: str | None = None,
) -> dict[str, np.ndarray]:
    """Let one animal per row move, and measure it from `onset + settle` on.

    Returns:
        Each of `MEASURES` [B], and "path" [B, T, 2], the trunk's middle every tenth of a second, m.
    """
    body = env.unwrapped.salamander
    controller = make(edits_of(rows, quantity, round(onset / body.dt)))
    recorder = live(env, controller, seconds, seed=0, progress=progress, neurons=False)
    if recorder.interrupted:
        raise KeyboardInterrupt
    out: dict[str, list[Any]] = {name: [] for name in (*MEASURES, "path")}
    for i in range(len(rows)):
        traces = recorder.traces(i)
        metrics = gait_metrics(Trajectory.from_arrays(traces), start=onset + settle)
        for name in ("forward_speed", "yaw_rate", "frequency"):
            out[name].append(getattr(metrics, name))
        out["gait"].append(GAIT_CODES[metrics.gait])
        out["amplitude"].append(max(metrics.joint_amplitudes[:8]))
        out["uprightness"].append(float(traces["uprightness"][round((onset + settle) / body.dt) :].mean()))
        out["diverged"].append(float(recorder.diverged[i]))
        out["path"].append(traces["link_positions"][::PATH_EVERY, :4, :2].mean(1))
    return {name: np.array(values, dtype=np.float32) for name, values in out.items()}


def best_levers(rows: Sequence[Row], measured: dict[str, np.ndarray], *, each: int = 3) -> list[Lever]:
    """The rows that serve each goal best; a goal that no row serves has no lever.

    Counted are animals that stay upright (cosine above 0.7) and did not diverge. "faster" and "slower" keep
    the gait and lie 5 % or more from the untouched animal's speed, slower ones still go ahead; "left" and "right" turn
    by 5 degrees per second or more beyond it; "stop": below 0.05 BL/s; "backwards": below -0.02 BL/s;
    "walk" and "swim": that gait where the untouched animal has another.
    """
    speed, turn, gait = measured["forward_speed"], measured["yaw_rate"], measured["gait"]
    sound = (measured["uprightness"] > 0.7) & (measured["diverged"] == 0) & np.isfinite(speed) & np.isfinite(turn)
    sound[0] = False
    same = gait == gait[0]
    stopped = np.abs(speed) + measured["amplitude"] / 1000
    wanted = {
        "faster": (speed, same & (speed > 1.05 * speed[0])),
        "slower": (-speed, same & (speed < 0.95 * speed[0]) & (speed > 0.05)),
        "left": (turn, turn > turn[0] + 5),
        "right": (-turn, turn < turn[0] - 5),
        "stop": (-stopped, np.abs(speed) < 0.05),
        "backwards": (-speed, speed < -0.02),
        "walk": (speed, (gait == 1) & (gait[0] != 1)),
        "swim": (speed, (gait == 2) & (gait[0] != 2)),
    }
    levers = []
    for goal in GOALS:
        score, serves = wanted[goal]
        best = np.argsort(np.where(sound & serves, -score, np.inf))[:each]
        for i in best:
            if sound[i] and serves[i]:
                told = {name: float(measured[name][i]) for name in MEASURES}
                levers.append(Lever(goal, int(i), rows[i].name, rows[i].dose, told))
    return levers


def monotone(rows: Sequence[Row], measured: dict[str, np.ndarray], name: str, *, least: int = 4) -> dict[str, dict]:
    """For each unit, the longest run of doses over which a measure only rises or only falls, all upright.

    Returns:
        By row name: "doses" and "values" of that run, and "span", its last value less its first; runs of fewer than
        `least` doses are left out.
    """
    found: dict[str, dict] = {}
    sound = (measured["uprightness"] > 0.7) & (measured["diverged"] == 0) & np.isfinite(measured[name])
    for unit in dict.fromkeys(row.name for row in rows[1:]):
        index = [i for i, row in enumerate(rows) if row.name == unit]
        best: list[int] = []
        for sign in (1, -1):
            current: list[int] = []
            for i in index:
                rises = bool(current) and sign * (measured[name][i] - measured[name][current[-1]]) > 0
                current = [*current, i] if rises and sound[i] else [i] if sound[i] else []
                if len(current) >= least and _span(measured[name], current) > _span(measured[name], best):
                    best = current
        if best:
            values = [float(measured[name][i]) for i in best]
            found[unit] = {"doses": [rows[i].dose for i in best], "values": values, "span": values[-1] - values[0]}
    return found


def _span(values: np.ndarray, index: Sequence[int]) -> float:
    return float(abs(values[index[-1]] - values[index[0]])) if index else 0.0
