"""What happens when the state of one run is played into another?

Runs a network under one drive, keeps the course of its state, and plays it into an animal that lives under another
drive: one that should walk swims while the transplanted state lasts, and goes back to walking when it ends. The patch
is left as an edits file, so that steer.py can replay it. Half a minute, and the film.

    python scripts/transplant.py --policy zoo/newt_lstm --donor 4 --drive 2
    python scripts/transplant.py --policy zoo/newt_gru --donor 2 --drive 4 --no-film
    python scripts/steer.py --policy zoo/newt_lstm --drive 2 --edits RUN/patch.json

More operations, with films: surgery.py.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from agents.experiment import live, make_worlds, report
from agents.learned import make_learned
from agents.policy_zoo import load_policy
from agents.runs import Run
from agents.schedule import Schedule
from agents.surgery import state_patches
from rnn import edits_to_json
from sim.gait import gait_metrics
from sim.trajectory import Trajectory


@dataclass(frozen=True)
class Args:
    """Play the state of one run into another; see the top of this file for examples."""

    policy: str = "zoo/newt_lstm"
    """A learned network, zoo/NAME or a folder from learn_motion.py."""
    donor: float = 4.0
    """Drive of the run whose state is taken."""
    drive: float = 2.0
    """Drive of the animal that receives it."""
    world: Literal["pool", "land", "rough", "shore", "channel"] = "pool"
    """Where the receiver is."""
    start: float = 4.0
    """When the transplant begins, s."""
    stop: float = 8.0
    """When it ends, s."""
    seconds: float = 12.0
    """Simulated time."""
    film: bool = True
    """Render film.mp4."""
    out: Path | None = None
    """Run folder; by default runs/transplant/<stamp>_seed0."""


def main(args: Args) -> dict:
    """Record the donor, patch the receiver, measure before, during and after."""
    if not 0 <= args.start < args.stop <= args.seconds:
        raise ValueError(
            f"0 <= start < stop <= seconds is needed, received {args.start}, {args.stop}, {args.seconds} s"
        )
    cell, _ = load_policy(args.policy)
    edits = state_patches(cell, args.donor, args.donor, round(100 * args.start), round(100 * args.stop))
    with Run(args.out, args) if args.out else Run.new("transplant", args) as run:
        (run.folder / "patch.json").write_text(edits_to_json(edits) + "\n")
        controller = make_learned(args.policy, Schedule.constant(args.drive), edits=edits)
        recorder = live(make_worlds(args.world), controller, args.seconds)
        data = report(run, recorder, film=args.film)
        trajectory = Trajectory.from_arrays(recorder.traces())
        cuts = {"before": (1.0, args.start), "during": (args.start, args.stop), "after": (args.stop, args.seconds)}
        parts = {name: gait_metrics(trajectory, a + 0.5, b) for name, (a, b) in cuts.items() if b - a > 2.0}
        for name, part in parts.items():
            print(f"{name:>8}: {part.gait}, {part.frequency:.2f} Hz, {part.forward_speed:.2f} BL/s")
        data["parts"] = {name: part.to_dict() for name, part in parts.items()}
        run.save_json("metrics.json", data)
        return data


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
