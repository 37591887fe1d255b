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
from agents.gains import Gain
from rnn.cell import Cell, quantities, unit_labels
from rnn.edits import Add, Clamp, Edit, Scale
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

__all__ = [
    "GOALS", "MEASURES", "Lever", "Row", "atlas_rows", "best_levers", "edit_of", "edits_of", "monotone", "reach",
    "run_rows", "sound_rows",
]  # fmt: skip

MEASURES = ("forward_speed", "yaw_rate", "frequency", "uprightness", "gait", "amplitude", "diverged")
"""BL/s, deg/s (left is positive), Hz, cosine of the trunk's roll, 0 rest 1 walk 2 swim, degrees, 0 or 1."""
GAIT_CODES = {"rest": 0.0, "walk": 1.0, "swim": 2.0}
PATH_EVERY = 10
BENDING = 10.0
"""Least amplitude of the joint that bends most in a gait, degrees; newts: 22 and 32. A still, soft tail swings by 8."""
GOALS = ("faster", "slower", "left", "right", "stop", "backwards", "walk", "swim")


@dataclass(frozen=True, eq=False)
class Row:
    """One animal: what is done to its network.

    Attributes:
        name: the address, or the name of a direction.
        dose: the value held or added; NaN for an untouched network.
        hold: values at which units are held [H], NaN where left alone. push: values added at every step [H], or None.
        factor: by which units are multiplied before [H], or None.
    """

    name: str
    dose: float
    hold: Tensor
    push: Tensor | None = None
    factor: Tensor | None = None

    @property
    def kind(self) -> str:
        """ "unit", "direction" or "gain"."""
        return "gain" if self.factor is not None else "unit" if self.push is None else "direction"


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
    opposites: Sequence[tuple[int, int]] = (),
    ways: dict[str, Tensor] | None = None,
    way_doses: Sequence[float] | None = None,
    scaled: dict[str, Gain] | None = None,
    scaled_doses: Sequence[float] = (),
) -> list[Row]:
    """Every unit, chosen pairs, directions and gains at every dose; the first row is untouched.

    Args:
        cell: the network. doses: values. quantity: what is held; None for the activity.
        units: which units; None for all. pairs: units that are held at the same value together.
        opposites: units of which the second is held at the negated value.
        ways: directions [H] by name, pushed along by the dose at every step.
        way_doses: doses of the directions; None for the same as of the units.
        scaled: gains of joint targets by name, for the quantity "output". scaled_doses: theirs.
    """
    quantity = quantity or cell.activity
    width = quantities(cell)[quantity]
    labels = unit_labels(cell, quantity)
    blank = torch.full((width,), math.nan)
    rows = [Row("untouched", math.nan, blank)]
    held = [((u,), (1.0,)) for u in (range(width) if units is None else units)]
    together = [(tuple(p), (1.0, 1.0)) for p in pairs] + [(tuple(p), (1.0, -1.0)) for p in opposites]
    for members, signs in [*held, *together]:
        for unit in members:
            if not 0 <= unit < width:
                raise ValueError(f"{quantity!r} has units 0 to {width - 1}, received {unit}")
        for dose in doses:
            hold = blank.clone()
            hold[list(members)] = float(dose) * torch.tensor(signs)
            rows.append(Row(("-" if signs[-1] < 0 else "+").join(labels[u] for u in members), float(dose), hold))
    for name, way in (ways or {}).items():
        rows += [
            Row(name, float(dose), blank, float(dose) * way) for dose in (doses if way_doses is None else way_doses)
        ]
    for name, gain in (scaled or {}).items():
        for dose in scaled_doses:
            factor, push = gain.edit(float(dose))
            rows.append(Row(name, float(dose), blank, push, factor))
    return rows


def edits_of(rows: Sequence[Row], quantity: str, start: int) -> list[Edit]:
    """The edits of a batch with these rows, from a step on."""
    edits: list[Edit] = [Clamp(quantity, torch.stack([row.hold for row in rows]), steps=slice(start, None))]
    if any(row.factor is not None for row in rows):
        same = torch.ones_like(rows[0].hold)
        factors = torch.stack([same if row.factor is None else row.factor for row in rows])
        edits.append(Scale(quantity, factors, steps=slice(start, None)))
    if any(row.push is not None for row in rows):
        none = torch.zeros_like(rows[0].hold)
        pushes = torch.stack([none if row.push is None else row.push for row in rows])
        edits.append(Add(quantity, pushes, steps=slice(start, None)))
    return edits


def edit_of(row: Row, quantity: str, start: int) -> list[Edit]:
    """The same for one animal alone, as an edits file holds it."""
    steps = slice(start, None)
    held = torch.nonzero(~torch.isnan(row.hold)).flatten().tolist()
    edits: list[Edit] = [Clamp(f"{quantity}[{unit}]", float(row.hold[unit]), steps=steps) for unit in held]
    if row.factor is not None:
        edits.append(Scale(quantity, row.factor[None], steps=steps))
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

    Returns: each of `MEASURES` [B], and "path" [B, T, 2], the trunk's middle every tenth of a second, m.
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
    by 5 degrees per second or more beyond it; "stop": below 0.05 BL/s; "backwards": below -0.05 BL/s;
    "walk", "swim": that gait, at 0.5 Hz or more with a bending spine, where the untouched animal has another.
    """
    speed, turn, gait = measured["forward_speed"], measured["yaw_rate"], measured["gait"]
    sound = sound_rows(measured)
    sound[0] = False
    same = gait == gait[0]
    moving = (measured["frequency"] >= 0.5) & (measured["amplitude"] >= BENDING)
    stopped = np.abs(speed) + measured["amplitude"] / 1000
    wanted = {
        "faster": (speed, same & (speed > 1.05 * speed[0])),
        "slower": (-speed, same & (speed < 0.95 * speed[0]) & (speed > 0.05)),
        "left": (turn, turn > turn[0] + 5),
        "right": (-turn, turn < turn[0] - 5),
        "stop": (-stopped, np.abs(speed) < 0.05),
        "backwards": (-speed, speed < -0.05),
        "walk": (speed, moving & (gait == 1) & (gait[0] != 1)),
        "swim": (speed, moving & (gait == 2) & (gait[0] != 2)),
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


def sound_rows(measured: dict[str, np.ndarray]) -> np.ndarray:
    """Which animals stay upright (mean cosine of the roll above 0.7), do not diverge, and have finite measures [B]."""
    finite = np.isfinite(measured["forward_speed"]) & np.isfinite(measured["yaw_rate"])
    return (measured["uprightness"] > 0.7) & (measured["diverged"] == 0) & finite


def monotone(
    rows: Sequence[Row],
    measured: dict[str, np.ndarray],
    name: str,
    *,
    least: int = 4,
    where: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """For each unit or direction, the longest run of doses over which a measure only rises or only falls.

    The untouched animal is dose 0 of a direction or gain. Animals that are not sound end a run.

    Args:
        rows: of the atlas. measured: their measures. name: which measure. least: shorter runs are left out.
        where: which rows may belong to a run; None for all [B].

    Returns:
        By row name: "doses" and "values" of that run, "span", its last value less its first, and "whole", whether it is
        the whole range of doses.
    """
    found: dict[str, dict[str, Any]] = {}
    sound = sound_rows(measured) & (True if where is None else where)
    values = measured[name]
    for unit in dict.fromkeys(row.name for row in rows[1:]):
        index = [i for i, row in enumerate(rows) if row.name == unit]
        doses = {i: rows[i].dose for i in index}
        if rows[index[0]].kind != "unit" and 0.0 not in doses.values():
            doses[0] = 0.0
        index = sorted(doses, key=doses.__getitem__)
        best: list[int] = []
        for sign in (1, -1):
            current: list[int] = []
            for i in index:
                rises = bool(current) and sign * (values[i] - values[current[-1]]) > 0
                current = [*current, i] if rises and sound[i] else [i] if sound[i] else []
                if len(current) >= least and _span(values, current) > _span(values, best):
                    best = current
        if best:
            run = [float(values[i]) for i in best]
            found[unit] = {
                "doses": [doses[i] for i in best],
                "values": run,
                "span": run[-1] - run[0],
                "whole": len(best) == len(index),
            }
    return found


def reach(rows: Sequence[Row], measured: dict[str, np.ndarray]) -> dict[str, dict[str, dict[str, Any]]]:
    """How far the best single unit and the best direction turn the animal and change its speed, monotonically.

    Turning counts to the side to which a lever turns less; speed as the ratio of fastest to slowest among animals that
    keep the untouched one's gait and go at 0.05 BL/s or more.

    Returns:
        "turning" and "speed", each by kind ("unit", "direction", "gain"): "name", "low", "high" (deg/s or BL/s), "from"
        and "to" (doses), "whole"; for speed "ratio" as well. A kind of which nothing steers is left out.
    """
    kinds = {row.name: row.kind for row in rows[1:]}
    going = (measured["gait"] == measured["gait"][0]) & (measured["forward_speed"] >= 0.05)
    courses = {
        "turning": monotone(rows, measured, "yaw_rate"),
        "speed": monotone(rows, measured, "forward_speed", where=going),
    }
    found: dict[str, dict[str, dict[str, Any]]] = {"turning": {}, "speed": {}}
    for what, score in (("turning", lambda low, high: min(-low, high)), ("speed", lambda low, high: high / low)):
        for unit, course in courses[what].items():
            low, high = min(course["values"]), max(course["values"])
            worth = score(low, high)
            told = {"name": unit, "low": low, "high": high, "from": course["doses"][0], "to": course["doses"][-1]}
            told |= {"whole": course["whole"], "worth": worth} | ({"ratio": worth} if what == "speed" else {})
            best = found[what].get(kinds[unit])
            if worth > 0 and (best is None or worth > best["worth"]):
                found[what][kinds[unit]] = told
    for kind in (told for by_kind in found.values() for told in by_kind.values()):
        del kind["worth"]
    return found


def _span(values: np.ndarray, index: Sequence[int]) -> float:
    return float(abs(values[index[-1]] - values[index[0]])) if index else 0.0
