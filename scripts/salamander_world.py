"""Can a model learned from the animal's motion steer it, in the water, on land, and out of the water?

    python -m scripts.salamander_world --out runs/salamander_world
    python -m scripts.salamander_world --ceiling 2 --out runs/salamander_world     # the simulator in the model's place

Logs animals under random drives in pool, land and shore, on errands at changing drives on land and across the shore,
and then under plans in the model of what was logged so far; fits one model to all of it and to its image in a mirror.
The model hears an efference copy, what a pattern generator run beside the animal's asks of the joints. It predicts
joint angles and displacement for 2 s open loop on held-out runs under random drives, beside a model without the copy,
the last value and a linear model; then drives are planned in it to reach targets 3 body lengths away in all directions,
and to get from the water to a place on land. Rules without a model turn towards the target: at a drive that swims, at
one that walks, and on the shore at one after the other. `prediction.csv` and `journeys.csv` hold the figures,
`track_WORLD.png` shows the ways. About 4 CPU-minutes.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from agents.drive_foresight import foresee
from agents.drive_journeys import Journey, by_bearing, by_medium, by_whim, practise, travel
from agents.drive_planning import ModelPilot, SimulatorPilot
from agents.drive_world import BODY, READINGS, SUBMERGED, SWITCHES, TOUCH, DriveWorlds, log, mirrored
from agents.efference import EfferenceCopy, EfferentDynamics
from agents.runs import Run
from rnn.dynamics import RecurrentDynamics, fit
from rnn.scheduled import ScheduledDynamics
from rnn.stored_dynamics import load_dynamics, save_dynamics
from sim.arena import get_world

WORLDS = ("pool", "land", "shore")
WARMUP, AHEAD = 10, 20  # readings of 0.1 s: 1 s measured, 2 s predicted
SWIM, WALK, STRIDE = 0.55, -0.33, -0.2
"""Actions whose mean drives, 4.0, 2.0 and 2.3, swim, walk, and walk faster."""

RULES = {
    "pool": ("swimming",),
    "land": ("striding", "walking", "swimming"),
    "shore": ("switching", "swimming", "walking"),
}
"""Pilots without a model, per world, the one that suits it best first."""


@dataclass
class Args:
    cell: str = "gru"
    """Cell of the model."""
    hidden: int = 64
    """Its units."""
    animals: int = 12
    """Animals logged in each of the three worlds under random drives, and on errands on the shore, twice as many on
    errands on land; a third as many in each world are held out."""
    seconds: float = 20.0
    """Logged from each."""
    practice: int = 1
    """Rounds in which as many animals on the shore, and a third as many elsewhere, follow plans in the model so far."""
    one_step: int = 500
    """Gradient steps of the model one step ahead, after its linear part was fitted at once."""
    gradient_steps: int = 300
    """And in open loop."""
    compare: bool = True
    """Fit a model without the efference copy too, for the table of predictions."""
    targets: int = 6
    """Targets in the pool; half as many on land and on the shore."""
    ceiling: int = 0
    """Targets in the pool for which the simulator plans too, half as many elsewhere (half a CPU-minute to one each)."""
    rules: int = 3
    """Rules per world that travel too, the best suited first."""
    plans: bool = True
    """Travel by plans in the model."""
    patience: float = 40.0
    """Seconds after which a journey ends on land and on the shore; half as many in the pool."""
    model: Path | None = None
    """Checkpoint of a model that was learned before: nothing is learned then, only planned."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/salamander_world")
    """Run folder."""


def main(args: Args, report: Callable[[dict[str, Any]], None] = lambda found: None) -> dict[str, Any]:
    """All of it; `report` is called with what was found so far whenever there is more."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    with Run(args.out, args) as run:
        found: dict[str, Any] = {"journeys": [], "prediction": []}
        model = build(args)
        if args.model is None:
            found |= learn(args, model)
            write(args.out / "prediction.csv", found["prediction"])
            print(*found["prediction"], {k: found[k] for k in ("transitions", "fit_cpu_seconds")}, sep="\n", flush=True)
        else:
            load_dynamics(args.model, model, readings=READINGS, cell=args.cell, hidden=args.hidden)
        ways: dict[str, dict[str, Journey]] = {world: {} for world in WORLDS}
        rules = [(name, world) for world, names in RULES.items() for name in names[: args.rules]]
        plans = [("model", world) for world in reversed(WORLDS)] if args.plans else []
        ceiling = [("simulator", world) for world in WORLDS] if args.ceiling else []
        for name, world in [*plans, *rules, *ceiling]:
            found["journeys"].append(steer(args, model, world, name, ways[world]))
            print(found["journeys"][-1], flush=True)
            write(args.out / "journeys.csv", found["journeys"])
            report(found)
        run.save_json("metrics.json", found)
    return found


def learn(args: Args, model: ScheduledDynamics) -> dict[str, Any]:
    """Log, practise, fit; the model is kept in the run folder, and what it predicts of held-out runs is returned."""
    steps, copy = round(10 * args.seconds), EfferenceCopy()
    tell = lambda logged: (logged[0], copy.log(logged[1]))
    away = [errands(args, world, steps, k) for k, world in enumerate(("shore", "land", "land"))]
    data = tell(join(gather(args.animals, steps, 1000 * args.seed), *away))
    held = tell(gather(max(1, args.animals // 3), steps, 1000 * args.seed + 500))
    for k in range(args.practice):
        model.fit_scales(*with_image(data))
        drills = (drill(args, model, world, steps, 100 + 10 * k + n) for n, world in enumerate(WORLDS))
        data = join(data, *map(tell, drills))
    transitions = data[1].shape[0] * data[1].shape[1]
    data = with_image(data)
    began = time.process_time()
    teach(args, model, data)
    spent = round(time.process_time() - began, 1)
    about = {"readings": READINGS, "cell": args.cell, "hidden": args.hidden}
    save_dynamics(args.out / "checkpoints" / "model.safetensors", model, **about)
    models: dict[str, RecurrentDynamics] = {f"scheduled, {args.cell}, efference copy": model}
    if args.compare:
        models[f"scheduled, {args.cell}"] = alone = build(args, copy=False)
        teach(args, alone, (data[0], data[1][..., :2]), learning_rate=3e-3)
    return {
        "transitions": transitions,
        "fit_cpu_seconds": spent,
        "prediction": foresee(models, data, held, WORLDS, WARMUP, AHEAD),
    }


def teach(args: Args, model: ScheduledDynamics, data: tuple[Tensor, Tensor], learning_rate: float = 1e-3) -> None:
    """Fit one step ahead, then in open loop for 1 s and for 2 s."""
    stages = {10: args.gradient_steps // 2, AHEAD: args.gradient_steps - args.gradient_steps // 2}
    settings: dict[str, Any] = {"one_step": args.one_step, "stages": stages, "learning_rate": learning_rate}
    fit(model, *data, warmup=WARMUP, seed=args.seed, **settings)


def build(args: Args, copy: bool = True) -> ScheduledDynamics:
    """The model, with nothing learned yet.

    With the efference copy what is asked of the joints enters in proportion, and the rest of the map follows gait,
    depth and the loads on the feet. Without it, the map has to turn the gait's phase by what the drives say.
    """
    settings: dict[str, Any] = {"cell": args.cell, "hidden": args.hidden, "body": BODY, "lags": 2}
    settings |= {"sums": range(len(READINGS) - 3, len(READINGS)), "context": SUBMERGED, "pace": 0.03}
    if not copy:
        return ScheduledDynamics(len(READINGS), 2, knots=(3, 0), switches=SWITCHES, **settings)
    size = 2 + EfferenceCopy().size
    settings |= {"degree": 1, "switches": SWITCHES[1:2], "gates": TOUCH, "ridge": 1e-4, "layers": (64,), "stress": 10.0}
    return ScheduledDynamics(len(READINGS), size, inputs=range(2, size), **settings)


def join(*parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Logs side by side."""
    return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)


def gather(animals: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Readings and actions of all three worlds side by side, [T + 1, 3 B, D] and [T, 3 B, 2]."""
    return join(*(log(world, animals, steps, seed=seed + k) for k, world in enumerate(WORLDS)))


def with_image(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Logs, and beside them what the animals' images in a mirror would have logged."""
    return join(data, mirrored(*data))


def errands(args: Args, world: str, steps: int, k: int) -> tuple[Tensor, Tensor]:
    """Readings and actions of animals that go from one place to another at changing drives."""
    seed, count = 1000 * args.seed + 50 + 2 * k, args.animals
    return practise(world, by_whim(count, np.random.default_rng(seed)), count, steps, seed=seed + 1)


def drill(args: Args, model: RecurrentDynamics, world: str, steps: int, k: int) -> tuple[Tensor, Tensor]:
    """Readings and actions of animals that follow plans in the model so far."""
    seed, count = 1000 * args.seed + k, max(1, args.animals // (1 if world == "shore" else 3))
    pilot = ModelPilot(EfferentDynamics(model), seed=seed, iterations=2, candidates=32)
    return practise(world, pilot, count, steps, seed=seed)


def steer(args: Args, model: RecurrentDynamics, world: str, pilot: str, ways: dict[str, Journey]) -> dict[str, Any]:
    """Journeys in one world under one pilot, drawn beside those that others made."""
    count = args.targets if world == "pool" else max(1, args.targets // 2)
    start, heading, targets = places(world, count, np.random.default_rng(1000 + args.seed))
    some = min(count, args.ceiling if world == "pool" else max(1, args.ceiling // 2)) if pilot == "simulator" else count
    few = {"candidates": 12, "elites": 3, "iterations": 2}
    pilots: dict[str, Callable[[], Any]] = {
        "model": lambda: ModelPilot(EfferentDynamics(model), seed=args.seed),
        "swimming": lambda: by_bearing(SWIM),
        "walking": lambda: by_bearing(WALK),
        "striding": lambda: by_bearing(STRIDE, 2.0),
        "switching": by_medium,
        "simulator": lambda: SimulatorPilot(world, seed=args.seed, **few),
    }
    worlds = DriveWorlds(some, world=world)
    readings = worlds.start(start[:some], heading[:some])
    began = time.process_time()
    limit = args.patience / 2 if world == "pool" else args.patience
    ways[pilot] = travel(worlds, readings, targets[:some], pilots[pilot](), limit)
    draw(args.out / f"track_{world}.png", world, targets, ways)
    return summary(world, pilot, ways[pilot], time.process_time() - began)


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
    wet = journey.readings[-1][:, SUBMERGED].mean(1)
    return {
        "world": world,
        "pilot": pilot,
        "targets": len(arrived),
        "arrived": int(arrived.sum()),
        "median_seconds": round(float(np.median(journey.seconds)), 1) if arrived.mean() > 0.5 else None,
        "seconds": [round(float(s), 1) if np.isfinite(s) else None for s in journey.seconds],
        "least_distance_BL": round(float(np.median(journey.least)), 2),
        "under_water_at_end": round(float(wet.mean()), 2),
        "cpu_seconds": round(cpu, 1),
    }


def draw(file: Path, world: str, targets: np.ndarray, ways: dict[str, Journey]) -> None:
    """The ways from above, up to where they arrive."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kind = {"squeeze": False, "layout": "constrained", "sharex": True, "sharey": True}
    figure, axes = plt.subplots(1, len(ways), figsize=(4 * len(ways), 4), **kind)
    for axis, (name, journey) in zip(axes[0], ways.items(), strict=True):
        for k, seconds in enumerate(journey.seconds):
            way = journey.track[: round(10 * seconds) + 1 if np.isfinite(seconds) else None, k]
            axis.plot(way[:, 0], way[:, 1], color=f"C{k}")
            axis.plot(*way[0], ".", color=f"C{k}")
            axis.add_patch(plt.Circle(tuple(targets[k]), 0.5, color=f"C{k}", fill=False, linestyle="--"))
        if world == "shore":
            axis.axvline(get_world(world).waterline, color="0.6", linestyle=":")
        last = journey.seconds.max()
        title = f"{world}, {name}: " + (f"all in {last:.1f} s" if np.isfinite(last) else "not all arrived")
        axis.set(title=title, xlabel="BL", ylabel="BL", aspect="equal")
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
