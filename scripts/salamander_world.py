"""Can a model learned from the animal's motion steer it, in the water, on land, and out of the water?

    python -m scripts.salamander_world --out runs/salamander_world
    python -m scripts.salamander_world --ceiling 2 --out runs/salamander_world     # the simulator in the model's place

Logs animals under random drives in pool, land and shore; fits one recurrent model to all; predicts joint angles and
displacement for 2 s open loop on held-out runs, beside the last value and a linear model; then plans drives in it to
reach targets 3 body lengths away in all directions, and to get from the water to a place on land. `prediction.csv`
and `journeys.csv` hold the figures, `track.png` shows the ways. About 3 CPU-minutes.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from agents.drive_planning import Journey, ModelPilot, SimulatorPilot, by_bearing, travel
from agents.drive_world import READINGS, DriveWorlds, log, path
from agents.runs import Run
from rnn.arx import least_squares
from rnn.checkpoint import save_checkpoint
from rnn.dynamics import RecurrentDynamics, fit
from sim.arena import get_world

WORLDS = ("pool", "land", "shore")
WARMUP, AHEAD = 10, 20  # readings of 0.1 s: 1 s measured, 2 s predicted
ANGLES, TRAVEL = slice(0, 24), slice(len(READINGS) - 3, len(READINGS))


@dataclass
class Args:
    cell: str = "gru"
    """Cell of the model."""
    hidden: int = 128
    """Its units."""
    animals: int = 8
    """Animals logged in each of the three worlds; half as many are held out."""
    seconds: float = 30.0
    """Logged from each."""
    gradient_steps: int = 600
    """Of the model."""
    targets: int = 6
    """Targets in the pool; half as many on land and on the shore."""
    ceiling: int = 0
    """Targets in the pool for which the simulator plans too (about 30 CPU-seconds each)."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/salamander_world")
    """Run folder."""


def main(args: Args) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    with Run(args.out, args) as run:
        steps = round(10 * args.seconds)
        obs, actions = gather(args.animals, steps, 100 * args.seed)
        held = gather(max(1, args.animals // 2), steps, 100 * args.seed + 50)
        began = time.process_time()
        model = RecurrentDynamics(len(READINGS), 2, cell=args.cell, hidden=args.hidden, body="newt under drives")
        n = args.gradient_steps
        fit(model, obs, actions, warmup=WARMUP, stages={5: n // 3, AHEAD: n - n // 3}, seed=args.seed)
        spent = time.process_time() - began
        about = {"kind": "dynamics", "cell": args.cell, "hidden": args.hidden, "body": model.body}
        save_checkpoint(args.out / "checkpoints" / "model.safetensors", model.state_dict(), about)
        prediction = predict({args.cell: model}, (obs, actions), held)
        print(*prediction, f"fitted in {spent:.0f} CPU-s", sep="\n", flush=True)
        write(args.out / "prediction.csv", prediction)
        journeys = []
        for world in WORLDS:
            journeys += steer(args, model, world)
            write(args.out / "journeys.csv", journeys)
        run.save_json(
            "metrics.json", {"prediction": prediction, "journeys": journeys, "fit_cpu_seconds": round(spent, 1)}
        )
    return {"prediction": prediction, "journeys": journeys}


def gather(animals: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Readings and actions of all three worlds side by side, [T + 1, 3 B, D] and [T, 3 B, 2]."""
    parts = [log(world, animals, steps, seed=seed + k) for k, world in enumerate(WORLDS)]
    return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)


@torch.no_grad()
def predict(
    models: dict[str, RecurrentDynamics], data: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]
) -> list[dict[str, Any]]:
    """Errors after 2 s of open loop, over all pieces of 3 s of the held-out runs, per model and world."""
    obs, actions = held
    pieces = range(0, len(actions) - WARMUP - AHEAD + 2, WARMUP + AHEAD)
    measured = torch.cat([obs[k : k + WARMUP + AHEAD] for k in pieces], 1)
    done = torch.cat([actions[k : k + WARMUP + AHEAD - 1] for k in pieces], 1)
    given, truth = measured[:WARMUP], measured[WARMUP:]
    found = {
        **{name: model.simulate(given, done) for name, model in models.items()},
        "linear, 2 lags": least_squares(*data, given, done, lags=2).float(),
        "last value": given[-1:].expand_as(truth),
    }
    std = data[0].std((0, 1)).clamp(min=1e-6)
    world = np.tile(np.repeat(np.arange(len(WORLDS)), obs.shape[1] // len(WORLDS)), len(pieces))
    nowhere = torch.zeros(measured.shape[1])
    place, heading = path(truth, torch.zeros(len(nowhere), 2), nowhere)
    rows = []
    for name, guess in found.items():
        there, facing = path(guess, torch.zeros(len(nowhere), 2), nowhere)
        off = (there[-1] - place[-1]).norm(dim=-1)
        turned = torch.remainder(facing[-1] - heading[-1] + torch.pi, 2 * torch.pi) - torch.pi
        joints = ((guess - truth) / std)[..., ANGLES].square().mean(-1)
        for k, where in enumerate(WORLDS):
            some = torch.as_tensor(world == k)
            rows.append(
                {
                    "model": name,
                    "world": where,
                    "joints_mean": round(joints[:, some].mean().sqrt().item(), 3),
                    "joints_at_2s": round(joints[-1, some].mean().sqrt().item(), 3),
                    "position_at_2s_BL": round(off[some].median().item(), 3),
                    "heading_at_2s_deg": round(turned[some].abs().median().rad2deg().item(), 1),
                    "travelled_BL": round(place[-1, some].norm(dim=-1).median().item(), 3),
                }
            )
    return rows


def steer(args: Args, model: RecurrentDynamics, world: str) -> list[dict[str, Any]]:
    """Journeys in one world by the model's plans, by the bearing alone, and by the simulator's plans where asked."""
    count = args.targets if world == "pool" else max(1, args.targets // 2)
    start, heading, targets = places(world, count, np.random.default_rng(1000 + args.seed))
    limit = {"pool": 20.0, "land": 40.0, "shore": 40.0}[world]
    pilots: dict[str, Any] = {"model": (ModelPilot(model, seed=args.seed), count), "bearing": (by_bearing(), count)}
    if world == "pool" and args.ceiling:
        few = {"candidates": 16, "elites": 4, "iterations": 2, "pieces": 4}
        pilots["simulator"] = (SimulatorPilot(world, seed=args.seed, **few), min(args.ceiling, count))
    rows, ways = [], {}
    for name, (pilot, some) in pilots.items():
        worlds = DriveWorlds(some, world=world)
        readings = worlds.start(start[:some], heading[:some])
        began = time.process_time()
        journey = travel(worlds, readings, targets[:some], pilot, limit)
        ways[name] = journey
        rows.append(summary(world, name, journey, time.process_time() - began))
        print(rows[-1], flush=True)
    draw(args.out / f"track_{world}.png", world, targets, ways)
    return rows


def places(world: str, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where animals start (BL), which way they face, and where they are to go.

    In the pool and on land to 3 BL in directions all around; on the shore from the water, 1.5 BL from its edge and
    facing away or along, to a place 0.8 BL up the beach.
    """
    around = np.linspace(-0.8, 0.8, count) * np.pi if count > 1 else np.array([1.0])
    if world != "shore":
        heading = rng.uniform(-np.pi, np.pi, count)
        aim = heading + around
        return np.zeros((count, 2)), heading, 3.0 * np.stack([np.cos(aim), np.sin(aim)], 1)
    edge = get_world(world).waterline
    start = np.stack([np.full(count, edge + 1.5), np.zeros(count)], 1)
    targets = np.stack([np.full(count, edge - 0.8), rng.uniform(-1, 1, count)], 1)
    return start, np.linspace(-0.5, 0.5, count) * np.pi, targets


def summary(world: str, pilot: str, journey: Journey, cpu: float) -> dict[str, Any]:
    """One row: how many arrived, when, and on the shore, how much of the body is still under water."""
    arrived = np.isfinite(journey.seconds)
    wet = journey.readings[-1][:, [name.startswith("submerged") for name in READINGS]].mean(1)
    return {
        "world": world,
        "pilot": pilot,
        "targets": len(arrived),
        "arrived": int(arrived.sum()),
        "median_seconds": round(float(np.median(journey.seconds)), 1) if arrived.mean() > 0.5 else None,
        "least_distance_BL": round(float(np.median(journey.least)), 2),
        "under_water_at_end": round(float(wet.mean()), 2),
        "cpu_seconds": round(cpu, 1),
    }


def draw(file: Path, world: str, targets: np.ndarray, ways: dict[str, Journey]) -> None:
    """The ways from above."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(ways), figsize=(4 * len(ways), 4), squeeze=False, layout="constrained")
    for axis, (name, journey) in zip(axes[0], ways.items(), strict=True):
        for k in range(journey.track.shape[1]):
            axis.plot(journey.track[:, k, 0], journey.track[:, k, 1], color=f"C{k}")
            axis.plot(*targets[k], "o", color=f"C{k}", fillstyle="none", markersize=12)
        if world == "shore":
            axis.axvline(get_world(world).waterline, color="0.6", linestyle=":")
        axis.set(title=f"{world}, {name}", xlabel="BL", ylabel="BL", aspect="equal")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A table as CSV."""
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
