"""How does the newt move under its pattern generator?

Runs the salamander in a world under one of three networks and a descending drive, and prints its gait beside the
animal's. 8 seconds take about 5 s on a laptop, the film half a minute more.

    python scripts/locomotion.py --world pool --drive 4
    python scripts/locomotion.py --world land --controller leaky --drive 2 --no-film
    python scripts/locomotion.py --policy zoo/newt_gru --drive 4     # a network that learned the motion
    python scripts/locomotion.py --world shore --drive-schedule "0=2, 8=2, 8=4" --seconds 20

Look for: a wave that travels from head to tail in water (film: the raster's stripes slant), a standing wave on land
with the trunk and the tail base in opposite phase, and a jump of the frequency where the drive passes 3.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from agents.controller import make_controller
from agents.experiment import live, make_worlds, report
from agents.learned import make_learned
from agents.runs import Run
from agents.schedule import Schedule


@dataclass(frozen=True)
class Args:
    """Drive the salamander with a pattern generator; see the top of this file for examples."""

    world: Literal["pool", "land", "rough", "shore", "channel"] = "pool"
    """Where: still water, flat ground, rough ground, a ramp into water, or water with a current."""
    controller: Literal["phase", "leaky", "rate"] = "phase"
    """Phase oscillators (2007), leaky-integrator neurons (after 2001), or a rate network with adaptation."""
    profile: Literal["newt", "robot"] = "newt"
    """Parameters of the phase network: scaled to the animal's speed, or as published for the robot."""
    policy: str | None = None
    """A learned network instead: zoo/NAME, or a folder from learn_motion.py."""
    closed_loop: bool = False
    """The learned network feels the spine's angles."""
    drive: float = 4.0
    """Descending drive: below 1 rest, 1 to 3 walking, 3 to 5 swimming."""
    drive_schedule: str | None = None
    """Drive over time, "TIME=DRIVE, ..." or "TIME=LEFT/RIGHT, ...", seconds; linear, repeat a time for a jump."""
    limb_drive: float = 0.0
    """Added to the drive that the limb centres receive; +4 silences them, so that slow swimming is possible."""
    seconds: float = 8.0
    """Simulated time."""
    current: float = 0.1
    """Speed of the channel's current against the animal, m/s."""
    film: bool = True
    """Render film.mp4."""
    seed: int = 0
    """Seed of the starting posture."""
    out: Path | None = None
    """Run folder; by default runs/locomotion/<stamp>_seed<k>."""


def main(args: Args) -> dict:
    """Build, run, measure, save."""
    drive = Schedule.parse(args.drive_schedule) if args.drive_schedule else Schedule.constant(args.drive)
    with Run(args.out, args) if args.out else Run.new("locomotion", args, seed=args.seed) as run:
        options = {"current": (-args.current, 0.0, 0.0)} if args.world == "channel" else {}
        env = make_worlds(args.world, **options)
        body = env.unwrapped.salamander
        if args.policy:
            feedback = body.joint_angles if args.closed_loop else None
            controller = make_learned(args.policy, drive, limb_drive=args.limb_drive, feedback=feedback)
        else:
            controller = make_controller(
                args.controller, drive, profile=args.profile, limb_drive=args.limb_drive, dt=body.dt
            )
        recorder = live(env, controller, args.seconds, seed=args.seed)
        return report(run, recorder, film=args.film)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
