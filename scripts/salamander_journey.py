"""What does the newt plan on its way, and what does it then do?

    python -m scripts.salamander_journey --model runs/salamander_world/checkpoints/model.safetensors --world shore
    python -m scripts.salamander_journey --model ... --world land --bearing 140 --film

One journey by plans in a model that `scripts/salamander_world.py` learned. `journey.png` shows the way on the map, with
what every plan promised beside what came of it; the drives that were chosen, and distance and depth, over time.
`journey.csv` holds what is drawn, ten rows a second; with `--film`, `journey.mp4` shows the animal. Some 20
CPU-seconds.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from agents.drive_journeys import Journey, travel
from agents.drive_planning import ModelPilot
from agents.drive_world import READINGS, SUBMERGED, DriveWorlds, drives_of
from agents.efference import EfferentDynamics
from agents.runs import Run
from rnn.cell import unit_labels
from rnn.stored_dynamics import load_dynamics
from scripts import salamander_world
from sim.arena import get_world


@dataclass
class Args:
    model: Path
    """Checkpoint of a model from `scripts/salamander_world.py`."""
    world: Literal["pool", "land", "shore"] = "shore"
    """Where."""
    bearing: float = 140.0
    """In the pool and on land, where the target lies as seen from the animal, degrees to the left."""
    distance: float = 3.0
    """And how far away, BL. On the shore it is 0.8 BL up the beach, and the animal faces away from it by `bearing`."""
    seconds: float = 40.0
    """After which it ends in any case."""
    film: bool = False
    """Film it."""
    seed: int = 0
    """Of the plans."""
    out: Path = Path("runs/salamander_journey")
    """Run folder."""


def main(args: Args) -> Journey:
    """Travel, write, draw."""
    torch.set_num_threads(1)
    start, heading, target = place(args)
    model = salamander_world.build(salamander_world.Args())
    load_dynamics(args.model, model, readings=READINGS)
    pilot = ModelPilot(EfferentDynamics(model), seed=args.seed)
    with Run(args.out, args):
        worlds = DriveWorlds(1, world=args.world)
        readings = worlds.start(start, heading)
        worlds.trace = [] if args.film else None
        journey = travel(worlds, readings, target[None], pilot, args.seconds)
        write(args.out / "journey.csv", journey, target)
        draw(args.out / "journey.png", args.world, journey, target, pilot.plans, pilot.every)
        if worlds.trace is not None:
            from sim.video import film

            seen = {name: np.array([step[name][0] for step in worlds.trace]) for name in worlds.trace[0]}
            time = worlds.body.dt * np.arange(1, len(worlds.trace) + 1)
            names = unit_labels(worlds.cell)[: seen["neurons"].shape[1]]
            film({"time": time, **seen, "neuron_names": names, "world": args.world}, args.out / "journey.mp4")
    arrived = journey.seconds[0]
    print(f"arrived after {arrived:.1f} s" if np.isfinite(arrived) else f"came within {journey.least[0]:.2f} BL")
    return journey


def place(args: Args) -> tuple[np.ndarray, float, np.ndarray]:
    """Where the snout is (BL), which way it points (rad), and where to go (BL)."""
    angle = np.radians(args.bearing)
    if args.world != "shore":
        return np.zeros(2), 0.0, args.distance * np.array([np.cos(angle), np.sin(angle)])
    edge = get_world("shore").waterline
    return np.array([edge + 1.5, 0.0]), np.pi - angle, np.array([edge - 0.8, 0.0])


def write(file: Path, journey: Journey, target: np.ndarray) -> None:
    """Time (s), centre of mass (BL), distance to the target (BL), part under water, and drives, ten rows a second."""
    left, right = drives_of(journey.actions[:, 0])
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["time_s", "x_BL", "y_BL", "distance_BL", "under_water", "drive_left", "drive_right"])
        for k in range(len(left)):
            x, y = journey.track[k + 1, 0]
            wet = journey.readings[k + 1, 0, SUBMERGED].mean()
            row = [(k + 1) / 10, x, y, np.hypot(x - target[0], y - target[1]), wet, left[k], right[k]]
            writer.writerow([round(float(value), 4) for value in row])


def draw(file: Path, world: str, journey: Journey, target: np.ndarray, plans: list[Tensor], every: int) -> None:
    """The map on the left, what was done over time on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    track, time = journey.track[:, 0], np.arange(len(journey.track)) / 10
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    ground = figure.add_subplot(grid[:, 0])
    for k, plan in enumerate(plans):
        way = np.concatenate([track[[k * every]], plan[:, 0].numpy()])
        ground.plot(way[:, 0], way[:, 1], color="0.6", linewidth=0.8, label="plans" if k == 0 else None, zorder=2)
    dots = ground.scatter(track[:, 0], track[:, 1], c=time, cmap="viridis", s=9, zorder=3, label="way")
    ground.plot(*track[0], "k^", markersize=7, label="start", zorder=4)
    ground.add_patch(plt.Circle((float(target[0]), float(target[1])), 0.5, color="C3", fill=False, linestyle="--"))
    ground.plot(*target, "+", color="C3", label="target, and where it counts as reached")
    ground.set(xlabel="BL", ylabel="BL", aspect="equal", title=f"{world}: from above")
    ground.margins(0.15)
    if world == "shore":
        low, high = ground.get_xlim()
        ground.axvspan(get_world(world).waterline, max(high, get_world(world).waterline), color="C0", alpha=0.12, lw=0)
        ground.set_xlim(low, high)
    ground.legend(loc="best", fontsize="small")
    figure.colorbar(dots, ax=ground, label="s", shrink=0.7)
    drives, state = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    for name, drive in zip(("left", "right"), drives_of(journey.actions[:, 0]), strict=True):
        drives.step(time[:-1], drive, where="post", label=name)
    drives.axhline(3.0, color="0.6", linestyle=":", linewidth=1)
    drives.set(ylabel="drive", title="drives; swims where their mean is above 3", xlim=(0, time[-1]))
    drives.legend(fontsize="small")
    state.plot(time, np.linalg.norm(track - target, axis=1), "k", label="distance, BL")
    state.axhline(0.5, color="C3", linestyle="--", linewidth=1)
    state.plot(time, journey.readings[:, 0, SUBMERGED].mean(1), color="C0", label="part of the body under water")
    state.set(xlabel="s", xlim=(0, time[-1]), ylim=(0, None))
    state.legend(fontsize="small")
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
