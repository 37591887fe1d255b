"""Which levers does a learned network have, and does the animal do what the atlas says when they are pulled one by one?

    python -m benchmarks.levers                                  # both networks of the zoo, about eight CPU-minutes
    python -m benchmarks.levers --policies zoo/newt_gru --worlds land --goals left right

In the pool at drive 4 and on land at drive 2 the network's state is pushed along its directions (`agents.directions`)
and the swings of its joint targets are scaled and reversed (`agents.gains`), one animal per dose; and its drive inputs
are held at values of other gaits. The best lever of each goal goes into `zoo/NAME/levers/WORLD_GOAL.json`, and
`scripts/steer.py --edits` is run with it on one animal. `benchmarks/results/levers.md` has both figures, and how far
turning and speed go over doses where they only rise or only fall. Single units are the atlas's own matter:
`scripts/clamp_atlas.py`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.atlas import GOALS, Row, atlas_rows, best_levers, edit_of, reach, run_rows
from agents.controller import NetworkController
from agents.directions import directions
from agents.experiment import make_worlds
from agents.gains import QUANTITY, gains
from agents.learned import make_learned
from agents.policy_zoo import find_policy, load_policy
from agents.runs import write_atomically
from agents.schedule import Schedule
from rnn import Edit, edits_to_json
from rnn.cell import Cell
from scripts import steer

DRIVES = {"pool": 4.0, "land": 2.0}
WAY_DOSES = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
GAIN_DOSES = (-1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
DRIVE_DOSES = (0.5, 2.0, 4.0)
"""Rest, walking, swimming."""
TIMES: dict[str, Any] = {"seconds": 10.0, "onset": 2.0, "settle": 2.0}
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Args:
    """Find levers, pull each."""

    policies: tuple[str, ...] = ("zoo/newt_gru", "zoo/newt_lstm")
    """Learned networks."""
    worlds: tuple[str, ...] = tuple(DRIVES)
    """Where: pool, land."""
    goals: tuple[str, ...] = GOALS
    """Which goals; levers of the others that were found before are kept."""
    work: Path = Path("runs/levers")
    """Where the runs of steer.py go."""
    out: Path = RESULTS / "levers"
    """The results, without their ending; those of other networks that are there already are kept."""


def main(args: Args) -> dict[str, Any]:
    """Network by network and world by world; the results are written after each."""
    torch.set_num_threads(1)
    path = args.out.with_suffix(".json")
    results = json.loads(path.read_text()) if path.is_file() else {}
    for policy in args.policies:
        for world in args.worlds:
            found, where = examine(policy, world, args.work, args.goals), f"{policy} {world}"
            kept = [lever for lever in results.get(where, {}).get("levers", []) if lever["goal"] not in args.goals]
            order = lambda lever: GOALS.index(lever["goal"])
            results[where] = {**found, "levers": sorted([*kept, *found["levers"]], key=order)}
            write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
            write_atomically(args.out.with_suffix(".md"), table(results).encode())
    return results


def examine(policy: str, world: str, work: Path, goals: Sequence[str] = GOALS) -> dict[str, Any]:
    """Levers of one network in one world, and what steer.py says of each."""
    cell, _ = load_policy(policy)
    drive = DRIVES[world]
    ways: dict[str, Any] = {"ways": directions(cell, drive), "way_doses": WAY_DOSES}
    scaled: dict[str, Any] = {"scaled": gains(cell, drive), "scaled_doses": GAIN_DOSES}
    found: dict[str, Any] = {"reach": {}, "levers": []}
    best: dict[str, tuple[Any, list[Edit]]] = {}
    rows_of = {
        cell.activity: atlas_rows(cell, (), units=(), **ways),
        QUANTITY: atlas_rows(cell, (), quantity=QUANTITY, units=(), **scaled),
        "input": held_drives(cell),
    }
    for quantity, rows in rows_of.items():
        make = lambda edits: controller(policy, drive, edits)
        measured = run_rows(make_worlds(world, len(rows)), make, rows, quantity, **TIMES)
        found["untouched"] = {name: float(measured[name][0]) for name in ("forward_speed", "yaw_rate", "frequency")}
        for what, kinds in reach(rows, measured).items():
            found["reach"].setdefault(what, {}).update(kinds)
        for lever in best_levers(rows, measured, each=1):
            if lever.goal not in best or serves(lever, lever.goal) > serves(best[lever.goal][0], lever.goal):
                best[lever.goal] = (lever, edit_of(rows[lever.row], quantity, round(100 * TIMES["onset"])))
    for goal in goals:
        file = find_policy(policy) / "levers" / f"{world}_{goal}.json"
        file.unlink(missing_ok=True)
        if goal in best:
            lever, edits = best[goal]
            write_atomically(file, (edits_to_json(edits) + "\n").encode())
            steered = pull(policy, world, file, work)
            found["levers"].append(
                {"goal": goal, "name": lever.name, "dose": lever.dose, "atlas": lever.measures, "steer": steered}
            )
    return found


def held_drives(cell: Cell) -> list[Row]:
    """Both sides' drive inputs held at one value."""
    groups = cell.groups()["input"]
    blank = torch.full((cell.input_size,), math.nan)
    rows = [Row("untouched", math.nan, blank)]
    for dose in DRIVE_DOSES:
        hold = blank.clone()
        hold[[*groups["drive.left"], *groups["drive.right"]]] = dose
        rows.append(Row("drive inputs", dose, hold))
    return rows


def serves(lever: Any, goal: str) -> float:
    """How well a lever serves its goal, to choose between two."""
    m = lever.measures
    return {
        "faster": m["forward_speed"], "walk": m["forward_speed"], "swim": m["forward_speed"],
        "slower": -m["forward_speed"], "backwards": -m["forward_speed"],
        "left": m["yaw_rate"], "right": -m["yaw_rate"],
        "stop": -abs(m["forward_speed"]) - m["amplitude"] / 1000,
    }[goal]  # fmt: skip


def controller(policy: str, drive: float, edits: Sequence[Edit]) -> NetworkController:
    """The network under a constant drive, with edits."""
    return make_learned(policy, Schedule.constant(drive), edits=edits)


def pull(policy: str, world: str, file: Path, work: Path) -> dict[str, Any]:
    """One animal under `scripts/steer.py --edits`: its gait after the first quarter, BL/s, deg/s, Hz."""
    out = work / Path(policy).name / file.stem
    told = steer.main(
        steer.Args(
            world=world,
            policy=policy,
            drive=DRIVES[world],
            edits=file,
            seconds=TIMES["seconds"],
            film=False,
            out=out,
        )
    )
    return {name: told[name] for name in ("gait", "forward_speed", "yaw_rate", "frequency")}


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "# Levers of the learned networks",
        "",
        "`python -m benchmarks.levers`. Directions of the state are pushed along by a dose in drive units, gains of "
        "joint targets scaled by a dose (`agents.gains`), drive inputs held at it. The atlas measures from 4 to 10 s, "
        "2 s after the onset, many animals at once; steer.py the single animal from 2.5 to 10 s. Left is positive. A "
        "goal without a row has no lever among them.",
        "",
        "| network, world | goal | lever | dose | atlas: BL/s | deg/s | Hz | steer.py: gait | BL/s | deg/s | Hz |",
        "|" + "---|" * 11,
    ]
    for where, found in results.items():
        base = found["untouched"]
        values = [f"{base[name]:.2f}" for name in ("forward_speed", "yaw_rate", "frequency")]
        lines.append(f"| {where} | untouched | | | {' | '.join(values)} | | | | |")
        for lever in found["levers"]:
            a, s = lever["atlas"], lever["steer"]
            parts = [where, lever["goal"], lever["name"], f"{lever['dose']:g}"]
            parts += [f"{a['forward_speed']:.2f}", f"{a['yaw_rate']:.1f}", f"{a['frequency']:.2f}", s["gait"]]
            parts += [f"{s['forward_speed']:.2f}", f"{s['yaw_rate']:.1f}", f"{s['frequency']:.2f}"]
            lines.append("| " + " | ".join(parts) + " |")
    lines += [
        "",
        "How far they reach over doses where the measure only rises or only falls:",
        "",
        "| network, world | measure | kind | name | from | to | over doses |",
        "|" + "---|" * 7,
    ]
    for where, found in results.items():
        for what, kinds in found["reach"].items():
            for kind, best in kinds.items():
                unit = "deg/s" if what == "turning" else f"BL/s, {best['ratio']:.1f} times"
                span = f"{best['low']:.2f} | {best['high']:.2f} {unit} | {best['from']:g} to {best['to']:g}"
                lines.append(f"| {where} | {what} | {kind} | {best['name']} | {span} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"levers: {error}")
