"""What does each unit of a network do? Hold every one at every dose, and watch the animals.

One animal per unit and dose, all in one batched simulation: speed, turning, frequency, gait and uprightness of each,
as heat maps (atlas.png), dose-response curves (responses.png) and body paths (paths.png). The best levers for going
faster, slower, left, right, backwards, for stopping and for changing the gait are printed, and written as edits files
for steer.py. 64 units at 9 doses for 10 s take about four minutes on two cores in water. Networks whose single units do
not steer are pushed along directions of the state as well (directions.png): the mean change that a change of the drive
makes to the state in one step, so that a dose of 1 stands for one unit of drive. With --quantity output the swings of
the joints are scaled and reversed too (gains.png, see `agents.gains`), which turns on land and goes backwards. How far
the best unit, direction and gain turn the animal and change its speed, each over doses where it only rises or only
falls, is told last.

    python scripts/clamp_atlas.py --policy zoo/newt_gru
    python scripts/clamp_atlas.py --policy zoo/newt_lstm --quantity c --world land --drive 2
    python scripts/clamp_atlas.py --policy zoo/newt_lstm --world land --drive 2 --quantity output --pairs 9-13 8-12
    python scripts/clamp_atlas.py --policy zoo/newt_gru --quantity output --units 0 --no-ways    # mostly the gains
    python scripts/clamp_atlas.py --controller phase --doses 0 0.2 0.4 0.6 0.8
    python scripts/steer.py --policy zoo/newt_gru --edits RUN/levers/left.json

Stopped half-way? The same command with the same --out goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from agents.atlas import MEASURES, Row, atlas_rows, best_levers, edit_of, monotone, reach, run_rows
from agents.atlas_plots import draw
from agents.controller import NetworkController, make_controller
from agents.directions import directions, driven
from agents.experiment import make_worlds
from agents.gains import QUANTITY, gains
from agents.learned import make_learned
from agents.policy_zoo import find_policy
from agents.runs import Run, load_traces
from agents.schedule import Schedule
from rnn import Edit, edits_to_json
from rnn.cell import quantities, unit_labels

GAIN_DOSES = (-1.5, -1.25, -1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1, 1.25, 1.5)
WAY_DOSES = (-4, -3, -2, -1.5, -1.25, -1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4)


@dataclass(frozen=True)
class Args:
    """Clamp every unit of a network; see the top of this file for examples."""

    policy: str | None = None
    """A learned network, zoo/NAME or a folder from learn_motion.py; by default the pattern generator below."""
    controller: Literal["phase", "leaky", "rate"] = "phase"
    """Which pattern generator, without --policy."""
    world: Literal["pool", "land", "rough", "shore", "channel"] = "pool"
    """Where."""
    drive: float = 4.0
    """Drive under which the units are held."""
    quantity: str | None = None
    """What is held: h, c, forget ...; by default the activity of the units."""
    units: str = ""
    """Which units, such as 0:16 or 3,7,12; by default all."""
    pairs: tuple[str, ...] = ()
    """Pairs of units that are held together: 3+17 at the same value, 9-13 the second at the negated value."""
    doses: tuple[float, ...] = ()
    """Values; by default nine, evenly over the range that the quantity is seen to have over all drives."""
    ways: bool = True
    """Push along directions of the state too."""
    way_doses: tuple[float, ...] = WAY_DOSES
    """How far, drive units."""
    gain_doses: tuple[float, ...] = GAIN_DOSES
    """Doses of the gains, if the quantity is "output"."""
    seconds: float = 10.0
    """Simulated time of each animal."""
    onset: float = 2.0
    """When the clamps begin, s."""
    settle: float = 2.0
    """Time after the onset that is not measured, s."""
    chunk: int = 128
    """Animals in one batch."""
    timestep: float = 0.002
    """Physics step, s."""
    out: Path | None = None
    """Run folder; by default runs/clamp_atlas/<stamp>_seed0."""


def main(args: Args) -> dict:
    """List the rows, simulate them chunk by chunk, find the levers, write everything."""
    make = maker(args)
    cell = make(()).cell
    quantity = args.quantity or cell.activity
    if quantity not in quantities(cell):
        raise ValueError(f"this network has no quantity {quantity!r}; it has {', '.join(quantities(cell))}")
    doses = list(args.doses) or default_doses(cell, quantity)
    ways = directions(cell, args.drive, quantity=quantity) if args.ways else {}
    units = parse_units(args.units, quantities(cell)[quantity])
    held = {"quantity": quantity, "units": units, "pairs": parse_pairs(args.pairs, "+")}
    held["opposites"] = parse_pairs(args.pairs, "-")
    scaled = gains(cell, args.drive) if quantity == QUANTITY else {}
    doses_of = {"way_doses": args.way_doses, "scaled": scaled, "scaled_doses": args.gain_doses}
    rows = atlas_rows(cell, doses, **held, ways=ways, **doses_of)
    if args.out:
        check_same(args, doses)
    with Run(args.out, args) if args.out else Run.new("clamp_atlas", args) as run:
        run.save_json("atlas.json", {"key": key_of(args, doses), "doses": doses, "rows": len(rows)})
        measured = simulate(run, args, make, rows, quantity)
        write_table(run.folder / "atlas.csv", rows, measured)
        found = write_levers(run.folder / "levers", rows, measured, quantity, round(args.onset * 100))
        steering = {name: monotone(rows, measured, name) for name in ("yaw_rate", "forward_speed")}
        untouched = {name: float(measured[name][0]) for name in MEASURES}
        result = {"untouched": untouched, "levers": found, "reach": reach(rows, measured), **steering}
        run.save_json("metrics.json", result)
        draw(run.folder, rows, measured)
        tell(result, quantity, unit_labels(cell, quantity), len(rows))
        print(f"written to {run.folder}: {', '.join(sorted(path.name for path in run.folder.iterdir()))}")
        return result


def maker(args: Args) -> Any:
    """From edits to a controller."""
    drive = Schedule.constant(args.drive)

    def make(edits: Sequence[Edit]) -> NetworkController:
        if args.policy:
            return make_learned(args.policy, drive, edits=edits)
        return make_controller(args.controller, drive, edits=edits)

    return make


def default_doses(cell: Any, quantity: str) -> list[float]:
    """Nine values over what the quantity reaches at drives of 1 to 5."""
    levels = torch.linspace(1.0, 5.0, 9)
    seen = driven(cell, torch.stack([levels, levels, 0 * levels], 1), 500, record=(quantity,)).trace[quantity][200:]
    low, high = float(seen.min()), float(seen.max())
    if low < 0 < high:
        low, high = -max(-low, high), max(-low, high)
    return [round(value, 4) for value in np.linspace(low, high, 9).tolist()]


def parse_units(text: str, width: int) -> list[int] | None:
    """Read `0:16` or `3,7,12`.

    >>> parse_units("0:3,7", 9)
    [0, 1, 2, 7]
    """
    if not text.strip():
        return None
    chosen: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?::(\d+))?\s*", part)
        if not match:
            raise ValueError(f"units are written 0:16 or 3,7,12, received {text!r}")
        first = int(match.group(1))
        chosen += range(first, int(match.group(2))) if match.group(2) else [first]
    if max(chosen, default=width) >= width:
        raise ValueError(f"the quantity has units 0 to {width - 1}, received {text!r}")
    return chosen


def parse_pairs(texts: Sequence[str], sign: str) -> list[tuple[int, int]]:
    """Those of pairs such as `3+17` or `9-13` that have this sign.

    >>> parse_pairs(["3+17", "9-13"], "-")
    [(9, 13)]
    """
    pairs = []
    for text in texts:
        match = re.fullmatch(r"\s*(\d+)\s*([-+])\s*(\d+)\s*", text)
        if not match:
            raise ValueError(f"a pair of units is written 3+17 or 9-13, received {text!r}")
        if match.group(2) == sign:
            pairs.append((int(match.group(1)), int(match.group(3))))
    return pairs


def key_of(args: Args, doses: Sequence[float]) -> str:
    """What must be the same for chunks to belong together."""
    settings = {name: value for name, value in asdict(args).items() if name != "out"}
    weights = (find_policy(args.policy) / "network.safetensors").read_bytes() if args.policy else b""
    text = json.dumps({**settings, "doses": list(doses)}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode() + weights).hexdigest()[:16]


def check_same(args: Args, doses: Sequence[float]) -> None:
    """Refuse to go on in a folder with an atlas of other settings."""
    path = Path(args.out or "") / "atlas.json"
    if path.is_file() and json.loads(path.read_text())["key"] != key_of(args, doses):
        raise ValueError(f"{args.out} holds an atlas of other settings or another network; choose another --out")


def simulate(run: Run, args: Args, make: Any, rows: list[Row], quantity: str) -> dict[str, np.ndarray]:
    """All rows, chunk by chunk; finished chunks are read back."""
    parts, env = [], None
    starts = range(0, len(rows), args.chunk)
    for number, first in enumerate(tqdm(starts, desc="chunks", leave=False)):
        name = f"chunks/{number:03d}.npz"
        (run.folder / "chunks").mkdir(exist_ok=True)
        if not (run.folder / name).is_file():
            part = rows[first : first + args.chunk]
            if env is None or env.num_envs != len(part):
                env = make_worlds(args.world, len(part), timestep=args.timestep)
            times = {"seconds": args.seconds, "onset": args.onset, "settle": args.settle}
            run.save_traces(run_rows(env, make, part, quantity, **times), name)
        parts.append(load_traces(run.folder / name))
    return {name: np.concatenate([part[name] for part in parts]) for name in (*MEASURES, "path")}


def write_table(path: Path, rows: list[Row], measured: dict[str, np.ndarray]) -> None:
    """Every row with its measures as CSV."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "dose", *MEASURES])
        for i, row in enumerate(rows):
            table.writerow([row.name, row.dose, *(float(measured[name][i]) for name in MEASURES)])


def write_levers(
    folder: Path, rows: list[Row], measured: dict[str, np.ndarray], quantity: str, start: int
) -> list[dict[str, Any]]:
    """The best levers as edits files: GOAL.json the best, GOAL_2.json the next."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    told, count = [], {}
    for lever in best_levers(rows, measured):
        count[lever.goal] = count.get(lever.goal, 0) + 1
        name = lever.goal if count[lever.goal] == 1 else f"{lever.goal}_{count[lever.goal]}"
        (folder / f"{name}.json").write_text(edits_to_json(edit_of(rows[lever.row], quantity, start), indent=1) + "\n")
        told.append({"file": f"levers/{name}.json", **asdict(lever)})
    return told


def tell(result: dict, quantity: str, labels: list[str], count: int) -> None:
    """Print the levers and what steers smoothly."""
    base = result["untouched"]
    print(
        f"\n{count} animals; untouched: {base['forward_speed']:.2f} BL/s, {base['yaw_rate']:.1f} deg/s, "
        f"{base['frequency']:.2f} Hz"
    )
    print(f"{'goal':>10}  {'held':<22}{'at':>7}  {'BL/s':>6} {'deg/s':>7} {'Hz':>5}  upright")
    for lever in result["levers"]:
        m = lever["measures"]
        print(
            f"{lever['goal']:>10}  {lever['name']:<22}{lever['dose']:7.2f}  {m['forward_speed']:6.2f} "
            f"{m['yaw_rate']:7.1f} {m['frequency']:5.2f}  {m['uprightness']:.2f}"
        )
    for what, unit in (("turning", "deg/s"), ("speed", "BL/s")):
        for kind in ("unit", "direction", "gain"):
            if kind not in result["reach"][what]:
                print(f"{what}: no {kind} changes it to both sides" if what == "turning" else f"{what}: no {kind}")
                continue
            best = result["reach"][what][kind]
            ratio = f", {best['ratio']:.1f} times" if "ratio" in best else ""
            print(
                f"{what}: best {kind} {best['name']}, {best['low']:.2f} to {best['high']:.2f} {unit}{ratio}, monotone "
                f"over {best['from']:.2f} to {best['to']:.2f}{' (all doses)' if best['whole'] else ''}"
            )
    print(f"{len(labels)} units of {quantity!r}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError, IndexError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; finished chunks are kept, the same command with the same --out goes on")
