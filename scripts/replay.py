"""How does the body move when recorded joint angles are played through it?

Plays a joint cycle (a table of degrees over one cycle) through position-controlled joints and reports the gait, so
that body and water can be judged apart from any network.

    python scripts/replay.py --kinematics swimming.csv --frequency 3.17 --world pool
    python scripts/replay.py --gait walk --frequency 0.9 --world land     # the recorded newt's Fourier table

Columns: `time` (ignored but for its order), `Axis 1` .. `Axis 8`, and for limbs `Left Shoulder-yaw` and so on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from agents.experiment import live, make_worlds, report
from agents.runs import Run
from sim.anatomy import SWIM_REST
from sim.kinematics import load_cycle
from sim.reference import recorded_cycle


@dataclass(frozen=True)
class Args:
    """Play a joint cycle through the body; see the top of this file for examples."""

    kinematics: Path | None = None
    """CSV of one cycle, degrees."""
    gait: Literal["swim", "walk"] = "swim"
    """Without a CSV: which recorded cycle to play."""
    frequency: float = 3.17
    """Cycles per second."""
    world: Literal["pool", "land", "rough", "shore", "channel"] = "pool"
    """Where."""
    seconds: float = 6.0
    """Simulated time."""
    film: bool = True
    """Render film.mp4."""
    out: Path | None = None
    """Run folder; by default runs/replay/<stamp>_seed0."""


class CyclePlayer:
    """An actor that plays a periodic table of joint angles; the first half cycle fades in from the resting posture."""

    def __init__(self, angles, frequency: float, dt: float):
        self.angles, self.frequency, self.dt = angles, frequency, dt

    def initial_state(self, batch: int) -> None:
        return None

    def act(self, obs, state, *, step: int, first: np.ndarray):
        cycles = step * self.dt * self.frequency
        target = np.asarray(self.angles(cycles % 1.0))
        if target.shape[-1] == 8:
            target = np.concatenate([target, SWIM_REST[8:]])
        ramp = min(1.0, cycles / 0.5)
        target = np.concatenate([ramp * target[:8], target[8:]])
        return np.tile(target.astype(np.float32), (len(first), 1)), state


def main(args: Args) -> dict:
    """Load, play, measure, save."""
    if not args.frequency > 0:
        raise ValueError(
            f"the frequency must be positive, received {args.frequency}; the animal swims at 2.6 to 3.8 Hz"
        )
    angles = load_cycle(args.kinematics) if args.kinematics else recorded_cycle(args.gait)
    with Run(args.out, args) if args.out else Run.new("replay", args) as run:
        env = make_worlds(args.world, control="joint")
        recorder = live(env, CyclePlayer(angles, args.frequency, env.unwrapped.salamander.dt), args.seconds)
        return report(run, recorder, film=args.film)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
