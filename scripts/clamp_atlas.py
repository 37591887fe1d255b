"""What does each unit of a network do? Hold every one at every dose, and watch the animals.

One animal per unit and dose, all in one batched simulation: speed, turning, frequency, gait and uprightness of each,
as heat maps (atlas.png), dose-response curves (responses.png) and body paths (paths.png). The best levers for going
faster, slower, left, right, backwards, for stopping and for changing the gait are printed, and written as edits files
for steer.py. 64 units at 9 doses for 10 s take about four minutes on two cores in water. Directions in the state in
which the drive moves it are pushed along as well, for networks whose single units do not steer.

    python scripts/clamp_atlas.py --policy zoo/newt_gru
    python scripts/clamp_atlas.py --policy zoo/newt_lstm --quantity c --world land --drive 2
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

from agents.atlas import MEASURES, Row, atlas_rows, best_levers, directions, edit_of, monotone, run_rows
from agents.controller import NetworkController, make_controller
from agents.experiment import make_worlds
from agents.imitation import free_run
from agents.learned import make_learned
from agents.policy_zoo import find_policy
from agents.runs import Run, load_traces
from agents.schedule import Schedule
from rnn import Edit, edits_to_json
from rnn.cell import quantities, unit_labels


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
    """Pairs of units that are held together, such as 3+17."""
    doses: tuple[float, ...] = ()
    """Values; by default nine, evenly over the range that the quantity is seen to have over all drives."""
    ways: bool = True
    """Push along directions of the state too (each dose scaled by a fifth)."""
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
    ways = {}
    if args.ways:
        ways = {name: 0.2 * way for name, way in directions(cell, args.drive, quantity=quantity).items()}
    units = parse_units(args.units, quantities(cell)[quantity])
    rows = atlas_rows(cell, doses, quantity=quantity, units=units, pairs=parse_pairs(args.pairs), ways=ways)
    if args.out:
        check_same(args, doses)
    with Run(args.out, args) if args.out else Run.new("clamp_atlas", args) as run:
        run.save_json("atlas.json", {"key": key_of(args, doses), "doses": doses, "rows": len(rows)})
        measured = simulate(run, args, make, rows, quantity)
        write_table(run.folder / "atlas.csv", rows, measured)
        found = write_levers(run.folder / "levers", rows, measured, quantity, round(args.onset * 100))
        steering = {name: monotone(rows, measured, name) for name in ("yaw_rate", "forward_speed")}
        result = {"untouched": {name: float(measured[name][0]) for name in MEASURES}, "levers": found, **steering}
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
    seen = free_run(cell, torch.stack([levels, levels, 0 * levels], 1), 500, record=(quantity,)).trace[quantity][200:]
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


def parse_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Read `3+17`."""
    pairs = []
    for text in texts:
        match = re.fullmatch(r"\s*(\d+)\s*\+\s*(\d+)\s*", text)
        if not match:
            raise ValueError(f"a pair of units is written 3+17, received {text!r}")
        pairs.append((int(match.group(1)), int(match.group(2))))
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
    for name, what, unit in (("yaw_rate", "turning", "deg/s"), ("forward_speed", "speed", "BL/s")):
        best = sorted(result[name].items(), key=lambda item: -abs(item[1]["span"]))[:3]
        for address, course in best:
            values, doses = course["values"], course["doses"]
            print(
                f"{what} is monotone in {address}: {values[0]:.2f} to {values[-1]:.2f} {unit} over "
                f"{doses[0]:.2f} to {doses[-1]:.2f}"
            )
    print(f"{len(labels)} units of {quantity!r}")


def draw(folder: Path, rows: list[Row], measured: dict[str, np.ndarray]) -> None:
    """atlas.png, responses.png, paths.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row.name for row in rows[1:]))
    doses = [row.dose for row in rows[1:] if row.name == names[0]]
    grid = {name: measured[name][1:].reshape(len(names), len(doses)) for name in MEASURES}
    draw_maps(plt, folder / "atlas.png", names, doses, grid, measured)
    draw_responses(plt, folder / "responses.png", names, doses, grid, measured)
    path = measured["path"][1:].reshape(len(names), len(doses), *measured["path"].shape[1:])
    draw_paths(plt, folder / "paths.png", names, doses, grid, path)


def draw_maps(plt: Any, file: Path, names: list[str], doses: list[float], grid: dict, measured: dict) -> None:
    """Units by doses, sorted by how far they turn the animal."""
    order = np.argsort(-np.nanmax(np.abs(grid["yaw_rate"] - measured["yaw_rate"][0]), axis=1))
    panels = (
        ("forward_speed", "speed (BL/s)", "viridis", None),
        ("yaw_rate", "turning, left + (deg/s)", "RdBu_r", float(np.nanpercentile(np.abs(grid["yaw_rate"]), 98))),
        ("frequency", "frequency (Hz)", "viridis", None),
        ("gait", "rest 0, walk 1, swim 2", "cividis", None),
        ("uprightness", "uprightness", "magma", None),
    )
    height = max(3.0, 0.13 * len(names) + 1.2)
    figure, axes = plt.subplots(1, len(panels), figsize=(14, height), sharey=True, layout="constrained")
    for axis, (name, title, colours, limit) in zip(axes, panels, strict=True):
        bounds = {} if limit is None else {"vmin": -limit, "vmax": limit}
        image = axis.imshow(grid[name][order], aspect="auto", cmap=colours, interpolation="nearest", **bounds)
        figure.colorbar(image, ax=axis, shrink=0.5, location="bottom", label=title)
        axis.set_xticks(range(0, len(doses), 2), [f"{d:.2g}" for d in doses[::2]])
    axes[0].set_yticks(range(len(names)), [names[i] for i in order], fontsize=6)
    axes[0].set_xlabel("dose")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def draw_responses(plt: Any, file: Path, names: list[str], doses: list[float], grid: dict, measured: dict) -> None:
    """Dose against response, all units thin, the five that do most named."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    labels = {"forward_speed": "speed (BL/s)", "yaw_rate": "turning, left + (deg/s)", "frequency": "frequency (Hz)"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        reach = np.nan_to_num(np.ptp(grid[name], axis=1))
        for i in np.argsort(reach):
            best = i in np.argsort(-reach)[:5]
            style = {"lw": 1.6, "marker": "o", "ms": 3, "label": names[i]} if best else {"lw": 0.5, "color": "0.8"}
            axis.plot(doses, grid[name][i], **style)
        axis.axhline(measured[name][0], color="k", lw=0.8, ls=":")
        axis.set(xlabel="dose", ylabel=label)
        axis.legend(fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def draw_paths(plt: Any, file: Path, names: list[str], doses: list[float], grid: dict, path: np.ndarray) -> None:
    """Ways of the animals, from above, for the six units that turn or slow it most."""
    reach = np.nan_to_num(np.ptp(grid["yaw_rate"], axis=1)) / 40 + np.nan_to_num(np.ptp(grid["forward_speed"], axis=1))
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained", sharex=True, sharey=True)
    colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, len(doses)))
    for axis, i in zip(axes.flat, np.argsort(-reach)[:6], strict=False):
        for dose, colour, way in zip(doses, colours, path[i], strict=True):
            axis.plot(100 * way[:, 0], 100 * way[:, 1], color=colour, label=f"{dose:.2g}")
        axis.set(title=names[i], aspect="equal")
        axis.spines[["top", "right"]].set_visible(False)
    axes.flat[0].legend(title="dose", fontsize=6)
    axes[1, 0].set(xlabel="x (cm)", ylabel="y (cm)")
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError, IndexError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; finished chunks are kept, the same command with the same --out goes on")
