"""The tour: one newt rests, walks into the water, swims, turns left and right, and stops, all by clamped neurons.

    python scripts/demo.py                # or: make demo

A pattern generator of phase oscillators drives the muscles. Its own drive is zero throughout; everything that the
animal does is done to it by holding its drive neurons at chosen values for chosen times (the edits are drawn into the
film and stored in traces.npz). Takes about a minute on a laptop and leaves runs/demo/latest/ with film, traces,
plots and metrics; the printed tables stand the walking and the swimming beside the animal's figures.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro

from agents.controller import make_controller
from agents.experiment import live, make_worlds, report
from agents.runs import Run
from agents.schedule import Schedule
from rnn import Clamp, Edit


@dataclass(frozen=True)
class Args:
    """The tour; nothing needs to be set."""

    film: bool = True
    """Render film.mp4 and a small film.webp."""
    out: Path = Path("runs/demo/latest")
    """Where the results go; what is there is replaced."""


@dataclass(frozen=True)
class Scene:
    """A stretch of the tour: drive of the left and the right side from `start` to `stop`, s."""

    start: float
    stop: float
    left: float
    right: float


REST, WALK, SWIM = 0.0, 2.2, 4.2
TOUR = (
    Scene(1.0, 11.0, WALK, WALK),
    Scene(11.0, 15.0, SWIM, SWIM),
    Scene(15.0, 18.0, SWIM + 0.7, SWIM - 0.7),
    Scene(18.0, 21.0, SWIM - 0.7, SWIM + 0.7),
    Scene(21.0, 23.0, SWIM, SWIM),
)
SECONDS = 25.0


def tour(dt: float) -> list[Edit]:
    """The clamps of the tour."""
    edits: list[Edit] = []
    for scene in TOUR:
        steps = slice(round(scene.start / dt), round(scene.stop / dt))
        edits.append(Clamp("drive.left", scene.left, steps=steps))
        edits.append(Clamp("drive.right", scene.right, steps=steps))
    return edits


def main(args: Args) -> dict:
    """Run the tour, film it, measure walking and swimming."""
    shutil.rmtree(args.out, ignore_errors=True)
    with Run(args.out, args) as run:
        env = make_worlds("shore")
        controller = make_controller("phase", Schedule.constant(REST), edits=tour(0.01))
        recorder = live(env, controller, SECONDS)
        return report(run, recorder, film=args.film, webp=args.film)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
