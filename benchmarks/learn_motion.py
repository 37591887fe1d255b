"""Which cells can learn the newt's motion, how near do they stay, and what do they stand?

    python benchmarks/learn_motion.py                                    # all rows, about 25 CPU-minutes
    python benchmarks/learn_motion.py --cells gru lstm --seeds 25 26     # some, added to the stored rows

One row for each cell and seed: training in free run (as `scripts/learn_motion.py` does), a thousand cycles of free run
beside the motion, the body in open and closed loop over its drives, and the trials of `agents.trials`. Rows are written
to `benchmarks/results/learn_motion.csv` as they come and trained networks kept under `--work`, so that an interrupted
run goes on where it was; `learn_motion.md` is made from the CSV. Above the cells stands the motion itself, played to
the body: what a network without any error would reach. Settings were chosen on seeds 100 to 102.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from agents.imitation import SETTINGS, Imitation, build_cell, imitate
from agents.learned import LearnedCell
from agents.motion import Motion
from agents.motion_table import DRIVES, TURN, missed_bands, number, table, told
from agents.policy_zoo import ZOO, load_policy, save_policy
from agents.reproduction import LEVELS, bands_held, contraction, in_the_body, reproduce
from agents.runs import write_atomically
from agents.trials import (
    play_motion,
    pushes_forgotten,
    rough_ground,
    sensor_trials,
    share_in_bands,
    shore_crossing,
    switches_gait,
    weight_trials,
)
from sim.gait import GaitMetrics
from sim.reference import swim_sweep_checks

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MAIN = ("lstm", "gru")
"""Trained on every seed; the others on the first."""
FADES = 0.9
"""A network for the zoo forgets a tenth of any push in a cycle at the least."""
CHOSEN = (
    "Of {} seeds in which every push fades the one that misses fewest bands over all drives and, of several, turns "
    "best on land, where the motion itself turns by {:.1f} degrees/s. All seeds: `benchmarks/results/learn_motion.md`."
)


@dataclass(frozen=True)
class Args:
    """Fill the table; see the top of this file."""

    cells: tuple[str, ...] = tuple(SETTINGS)
    """Which cells."""
    seeds: tuple[int, ...] = (25, 26, 27, 28, 29)
    """Of weights and draws: all for LSTM and GRU, the first for the others."""
    hidden: int = 80
    """Units of each cell."""
    cycles: int = 1000
    """Length of the free run."""
    train_only: bool = False
    """Train and keep the networks, measure nothing yet."""
    table_only: bool = False
    """Only write the table from the stored rows."""
    zoo: bool = False
    """Store the LSTM and the GRU that miss fewest bands as zoo/newt_lstm and zoo/newt_gru, with what was measured."""
    work: Path = ROOT / "runs" / "learn_motion_benchmark"
    """Where trained networks are kept."""
    out: Path = RESULTS / "learn_motion"
    """The results, without their ending."""


def main(args: Args) -> list[dict[str, Any]]:
    """Train and measure what is missing, row by row."""
    if unknown := set(args.cells) - set(SETTINGS):
        raise ValueError(f"unknown cells {', '.join(sorted(unknown))}; there are {', '.join(SETTINGS)}")
    torch.set_num_threads(1)
    motion = Motion.load("both")
    rows = read_rows(args.out.with_suffix(".csv"))
    if not args.table_only:
        if not args.train_only and not any(row["cell"] == "motion" for row in rows):
            rows = add_row(args, {"cell": "motion", "seed": "", **ceiling(motion)})
        todo = [(cell, seed) for seed in args.seeds for cell in args.cells if cell in MAIN or seed == args.seeds[0]]
        for name, seed in todo:
            if any(row["cell"] == name and str(row["seed"]) == str(seed) for row in rows):
                continue
            cell, card = learned(args, name, seed, motion)
            print(f"{name} {seed}: trained in {card['seconds']:.0f} CPU-s", flush=True)
            if args.train_only:
                continue
            began = time.process_time()
            about = {"cell": name, "seed": seed, "parameters": card["parameters"], "train_seconds": card["seconds"]}
            rows = add_row(args, {**about, **measure(cell, motion, args.cycles)})
            print(f"{name} {seed}: measured in {time.process_time() - began:.0f} CPU-s", flush=True)
    if rows and not args.train_only:
        write_rows(args, rows)
    if args.zoo:
        publish(args, read_rows(args.out.with_suffix(".csv")), motion)
    return rows


def publish(args: Args, rows: list[dict[str, Any]], motion: Motion) -> None:
    """Of the measured LSTMs and GRUs those that miss fewest bands and turn best on land, with cards, into the zoo."""
    kept = ("cell", "hidden", "data", "dt", "seconds", "training")
    best = max(number(row, "walk_open_turn") for row in rows if row["cell"] == "motion")
    for name in MAIN:
        settled = lambda row: max(number(row, f"{gait}_multiplier") for gait in LEVELS) < FADES
        found = [row for row in rows if row["cell"] == name and settled(row)]
        if found:
            row = max(found, key=lambda row: (-missed_bands(row), number(row, "walk_open_turn")))
            cell, card = learned(args, name, int(row["seed"]), motion)
            config = {key: card[key] for key in kept} | {
                "measured": told(row),
                "limits": [CHOSEN.format(len(found), best)],
            }
            save_policy(ZOO / f"newt_{name}", cell, config)


def learned(args: Args, name: str, seed: int, motion: Motion) -> tuple[LearnedCell, dict[str, Any]]:
    """The trained network of a row, from the disk if it is there."""
    folder = args.work / f"{name}_{args.hidden}_{seed}"
    settings = Imitation(**{**SETTINGS[name], "seed": seed})
    if not (folder / "config.json").is_file():
        torch.manual_seed(seed)
        cell = build_cell(name, args.hidden, motion)
        seconds = imitate(cell, motion, settings)
        card = {"cell": name, "hidden": args.hidden, "data": motion.data, "dt": 0.01, "seconds": seconds}
        save_policy(folder, cell, {**card, "training": vars(settings)})
    return load_policy(folder)


def measure(cell: LearnedCell, motion: Motion, cycles: int) -> dict[str, Any]:
    """A row: free run, pushes, the body, and, where there is a rhythm, the trials."""
    row: dict[str, Any] = {}
    for gait, (drive, _) in LEVELS.items():
        free = reproduce(cell, motion, gait, cycles=cycles)
        row |= {
            f"{gait}_hz": free.frequency,
            f"{gait}_hz_error": free.frequency / free.wanted - 1,
            f"{gait}_phase_error": free.phase_error,
            f"{gait}_amplitude_error": free.amplitude_error,
            f"{gait}_angle_error_deg": math.degrees(free.angle_error),
            f"{gait}_drift": free.drift,
            f"{gait}_multiplier": contraction(cell, drive)["multiplier"] if free.frequency else math.nan,
        }
    row["rhythm"] = int(all(abs(row[f"{gait}_hz_error"]) < 0.25 for gait in LEVELS))
    for gait, (drive, world) in LEVELS.items():
        sides = [(d, d) for d in DRIVES[gait]] + [(drive + TURN, drive - TURN), (drive - TURN, drive + TURN)]
        for loop in ("open", "closed"):
            runs = in_the_body(cell, world, sides, closed=loop == "closed")
            row |= {f"{gait}_{loop}_{key}": value for key, value in body_columns(runs, gait).items()}
    return {**row, **(trials(cell, motion) if row["rhythm"] else {})}


def body_columns(runs: list[GaitMetrics], gait: str) -> dict[str, Any]:
    """Bands, speed, stride and turning of the runs over `DRIVES` and the two that turn."""
    held, of, missed = bands_held(runs[0], gait)
    straight = runs[: len(DRIVES[gait])]
    columns: dict[str, Any] = {
        "bands": f"{held}/{of}",
        "missed": "; ".join(missed),
        "in_bands_over_drives": share_in_bands(straight, gait),
        "speed": runs[0].speed,
        "stride": runs[0].stride,
        "yaw": runs[0].yaw_rate,
        "turn": 0.5 * (runs[-2].yaw_rate - runs[-1].yaw_rate),
    }
    if gait == "swim" and not all(run.frequency > 0 and run.waves > 0 for run in straight):
        columns |= {"sweep": "0/7", "sweep_missed": "all: no wave at some drive"}
    elif gait == "swim":
        checks = swim_sweep_checks(straight)
        columns["sweep"] = f"{sum(row.passed for row in checks)}/{len(checks)}"
        columns["sweep_missed"] = "; ".join(row.label for row in checks if not row.passed)
    return columns


def trials(cell: LearnedCell, motion: Motion) -> dict[str, Any]:
    """What the network stands, as shares of trials in which the gait keeps all its bands."""
    row: dict[str, Any] = {}
    for gait in LEVELS:
        senses = sensor_trials(cell, gait)
        row |= {f"{gait}_{name}": share_in_bands([run], gait) for name, run in senses.items()}
        row[f"{gait}_weight_noise"] = share_in_bands(weight_trials(cell, gait), gait)
        row[f"{gait}_pushes"] = pushes_forgotten(cell, motion, gait)
    row["switch_error"] = switches_gait(cell, motion)["error"]
    rough = rough_ground(cell)
    row |= {"rough_bands": share_in_bands(rough, "walk"), "rough_speed": float(np.mean([run.speed for run in rough]))}
    return row | {f"shore_{key}": value for key, value in shore_crossing(cell).items()}


def ceiling(motion: Motion) -> dict[str, Any]:
    """The row of the motion itself."""
    row: dict[str, Any] = {}
    for gait, (drive, world) in LEVELS.items():
        sides = [(d, d) for d in DRIVES[gait]] + [(drive + TURN, drive - TURN), (drive - TURN, drive + TURN)]
        runs = play_motion(motion, world, sides)
        row |= {f"{gait}_open_{key}": value for key, value in body_columns(runs, gait).items()}
    return row


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run; numbers stay text."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add_row(args: Args, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a row to those on the disk, which another run may have written meanwhile."""
    rows = [*read_rows(args.out.with_suffix(".csv")), row]
    write_rows(args, rows)
    return rows


def write_rows(args: Args, rows: list[dict[str, Any]]) -> None:
    """CSV and table, at once or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()})
    write_atomically(args.out.with_suffix(".csv"), text.getvalue().encode())
    rows = read_rows(args.out.with_suffix(".csv"))
    write_atomically(args.out.with_suffix(".md"), table(rows, args.hidden).encode())


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"learn_motion: {error}")
