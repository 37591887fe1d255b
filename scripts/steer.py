"""What happens when chosen neurons are held at chosen values while the animal moves?

The same as locomotion.py, with clamps: `ADDRESS[@START:STOP]=VALUE`, times in seconds, as many as you like.

    python scripts/steer.py --drive 4 --clamp 'drive.left@2:6=4.6'           # turn left for four seconds
    python scripts/steer.py --world land --drive 2 --clamp 'limb.*@4:=0'     # silence the limb centres
    python scripts/steer.py --drive 4 --edits cut.json                       # lesions, patches, noise, scaling
    python scripts/steer.py --policy zoo/newt_gru --drive 4 --clamp 'h[12]@3:6=0.9'    # a unit of a learned network
    python scripts/steer.py --drive 4 --sweep 'drive.left=3:5:9'             # dose and response in one batched pass

An address is a unit or a group of units (`body.left[3]`, `limb.fore.right`, `limb.*`), an input (`drive.left`), or
any quantity of the network (`phase.body.left`, `coupling.midbody`, `bias.body`); a wrong one lists near matches.
An edits file is a JSON list such as [{"kind": "lesion", "address": "body.left", "start": 200, "stop": 600}], in steps.
"""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from agents.controller import make_controller
from agents.experiment import live, make_worlds, report
from agents.learned import make_learned
from agents.runs import Run
from agents.schedule import Schedule
from rnn import Clamp, Edit, edits_from_json, parse_edit
from sim.gait import gait_metrics
from sim.trajectory import Trajectory

MEASURES = ("forward_speed", "yaw_rate", "frequency", "stride", "waves", "duty_mean")


@dataclass(frozen=True)
class Args:
    """Steer the salamander by its neurons; see the top of this file for examples."""

    world: Literal["pool", "land", "rough", "shore", "channel"] = "pool"
    """Where."""
    controller: Literal["phase", "leaky", "rate"] = "phase"
    """Which network."""
    profile: Literal["newt", "robot"] = "newt"
    """Parameters of the phase network."""
    policy: str | None = None
    """A learned network instead: zoo/NAME, or a folder from learn_motion.py."""
    drive: float = 4.0
    """Descending drive: below 1 rest, 1 to 3 walking, 3 to 5 swimming."""
    drive_schedule: str | None = None
    """Drive over time, "TIME=DRIVE, ..." or "TIME=LEFT/RIGHT, ...", seconds; linear, repeat a time for a jump."""
    limb_drive: float = 0.0
    """Added to the drive of the limb centres."""
    clamp: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Clamps, ADDRESS[@START:STOP]=VALUE, seconds; repeat the option or give several."""
    edits: Path | None = None
    """JSON file with more edits."""
    sweep: str | None = None
    """ADDRESS=FIRST:LAST:COUNT: hold the address at each value, one animal each, and draw dose against response."""
    seconds: float = 8.0
    """Simulated time."""
    film: bool = True
    """Render film.mp4 (not for a sweep)."""
    seed: int = 0
    """Seed of the starting posture."""
    out: Path | None = None
    """Run folder; by default runs/steer/<stamp>_seed<k>."""


def main(args: Args) -> dict:
    """Build, steer, measure, save."""
    drive = Schedule.parse(args.drive_schedule) if args.drive_schedule else Schedule.constant(args.drive)
    edits = read_edits(args, dt=0.01)
    doses = parse_sweep(args.sweep) if args.sweep else None
    worlds = len(doses[1]) if doses else 1
    if doses:
        edits.append(Clamp(doses[0], doses[1]))
    options = {"limb_drive": args.limb_drive, "edits": edits}
    if args.policy:
        controller = make_learned(args.policy, drive, **options)
    else:
        controller = make_controller(args.controller, drive, profile=args.profile, dt=0.01, **options)
    with Run(args.out, args) if args.out else Run.new("steer", args, seed=args.seed) as run:
        env = make_worlds(args.world, worlds)
        recorder = live(env, controller, args.seconds, seed=args.seed, neurons=worlds == 1)
        if doses is None:
            return report(run, recorder, film=args.film)
        rows = [{"dose": float(dose), **_measure(recorder.traces(i))} for i, dose in enumerate(doses[1])]
        write_sweep(run, doses[0], rows)
        draw_sweep(run.folder)
        return {"sweep": rows}


def read_edits(args: Args, dt: float) -> list[Edit]:
    """The edits of the command line and of the file."""
    edits: list[Edit] = [parse_edit(text, dt) for text in args.clamp]
    if args.edits is not None:
        if not args.edits.is_file():
            raise ValueError(f"no edits file at {args.edits}; write a JSON list of edits there")
        edits += edits_from_json(args.edits.read_text())
    return edits


def parse_sweep(text: str) -> tuple[str, np.ndarray]:
    """Read `ADDRESS=FIRST:LAST:COUNT`.

    >>> parse_sweep("drive.left=3:5:5")[1].tolist()
    [3.0, 3.5, 4.0, 4.5, 5.0]
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([-+.\deE]+):([-+.\deE]+):(\d+)\s*", text)
    if not match or int(match.group(4)) < 2:
        raise ValueError(f"a sweep is written ADDRESS=FIRST:LAST:COUNT with COUNT of 2 or more, received {text!r}")
    return match.group(1), np.linspace(float(match.group(2)), float(match.group(3)), int(match.group(4)))


def _measure(traces: dict) -> dict[str, float]:
    metrics = gait_metrics(Trajectory.from_arrays(traces))
    return {"gait": metrics.gait, **{name: getattr(metrics, name) for name in MEASURES}}


def write_sweep(run: Run, address: str, rows: list[dict]) -> None:
    """Write sweep.csv and metrics.json, and print the table."""
    with (run.folder / "sweep.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["address", *rows[0]])
        table.writeheader()
        table.writerows({"address": address, **row} for row in rows)
    run.save_json("metrics.json", {"address": address, "sweep": rows})
    print(f"\n{address:>12}  gait   speed BL/s  turning deg/s  frequency Hz")
    for row in rows:
        print(
            f"{row['dose']:12.3f}  {row['gait']:5s}  {row['forward_speed']:10.3f}  "
            f"{row['yaw_rate']:13.2f}  {row['frequency']:12.2f}"
        )
    print(f"written to {run.folder}: sweep.csv, sweep.png, metrics.json")


def draw_sweep(folder: Path) -> None:
    """Draw sweep.png from sweep.csv."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with (folder / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    dose = np.array([float(row["dose"]) for row in rows])
    labels = {"forward_speed": "speed (BL/s)", "yaw_rate": "turning, left + (deg/s)", "frequency": "frequency (Hz)"}
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        axis.plot(dose, [float(row[name]) for row in rows], "o-", color="#2b6a8f")
        axis.set(xlabel=f"{rows[0]['address']} held at", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "sweep.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError, IndexError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
