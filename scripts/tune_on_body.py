"""Fit a neuron network's numbers on the simulated animal: the last stage of their search.

    python scripts/tune_on_body.py --network leaky
    python scripts/tune_on_body.py --network rate --generations 30

Question: do numbers that were found without a body move one as they should? `evolve_leaky.py` and `tune_rate.py` know
only the network's rhythm; muscles, limbs and the projection of limbs on trunk act on a body that answers back. Here
every candidate drives a newt in water and on land, at rising drives and turning to one side, a second newt with all
its weights disturbed by noise, and is judged by the animal's bands (`sim.reference.check`), by the order of speeds and
frequencies and by its turns. CMA-ES from the stored numbers. About a minute of one core per generation; prints the
best loss (0: every wish met) and stores the best numbers at the end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro

from agents.controller import make_controller
from agents.experiment import live, make_worlds
from agents.schedule import Schedule
from rnn import Clamp, Edit, Scale
from rnn.cpg import LeakyCell, RateCell
from rnn.cpg.neurons import NeuronCell, stored_parameters
from rnn.cpg.search import SWIM_HZ, Knob, Parameters, beyond, evolve
from sim.gait import GaitMetrics, gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory


@dataclass(frozen=True)
class Args:
    """Options of the search on the body."""

    network: str = "leaky"
    """leaky or rate"""
    start: Path | None = None
    """numbers to start from; by default the stored ones"""
    out: Path | None = None
    """where the numbers are stored; by default over the stored ones"""
    generations: int = 15
    """generations, at most"""
    population: int = 10
    """candidates per generation"""
    spread: float = 0.04
    """first standard deviation of the search, as a share of each number's range"""
    seconds: float = 6.5
    """simulated time of each newt; the first 3 s are not measured"""
    noise: float = 0.05
    """relative noise of the weights of the disturbed newts"""
    seed: int = 1
    """of the search and of the noise"""


class Newt(NamedTuple):
    """One newt of a candidate: its drives and whether its weights are disturbed."""

    left: float
    right: float
    noisy: bool = False


NEWTS = {
    "pool": (Newt(3.3, 3.3), Newt(4, 4), Newt(4.6, 4.6), Newt(4.3, 3.7), Newt(4.6, 3.4), Newt(4, 4, True)),
    "land": (
        Newt(0.5, 0.5),
        Newt(1.3, 1.3),
        Newt(2, 2),
        Newt(2.8, 2.8),
        Newt(2.3, 1.7),
        Newt(2.6, 1.4),
        Newt(2, 2, True),
    ),
}
TURNS = {"pool": (6.0, 12.0), "land": (3.0, 6.0)}  # deg/s wanted at least of the two newts whose drives differ
IN_STEP = 0.2  # largest travelling share of the walking trunk's wave that costs nothing
CELLS: dict[str, tuple[Callable[..., NeuronCell], tuple[str, ...]]] = {
    "leaky": (LeakyCell, ("weight", "tau", "bias", "gain")),
    "rate": (RateCell, ("weight", "gain", "bias", "muscle_gain")),
}


def knobs(network: str, p: Parameters) -> list[Knob]:
    """What is searched: the muscles, every class's bias and drive, the limbs' bonds, and their pull on the body."""
    if network == "leaky":
        found = [Knob(("tau", "M"), 0.01, 0.1, log=True)]
        found += [Knob(("bias", c), -9.0, 2.0) for c in "ABCM"] + [Knob(("gain", c), 0.0, 2.0) for c in "ABCM"]
        width = 15.0
    else:
        found = [Knob(("bias", c), -10.0, 10.0) for c in "RM"] + [Knob(("gain", c), 0.2, 4.0, log=True) for c in "RM"]
        found += [Knob(("muscle", "gain"), 0.01, 0.5, log=True)]
        width = 100.0
    found += [Knob(("ring", name), 0.1, 10.0, log=True) for name in ("contralateral", "ipsilateral")]
    return found + [Knob(("to_body", i, 3), -width, width) for i in range(len(p["to_body"]))]


def edits(cells: Sequence[NeuronCell], written: Sequence[str], newts: Sequence[Newt], args: Args) -> list[Edit]:
    """Numbers of each candidate written into its newts, drives of the two sides, and noise on some newts' weights."""
    n, rows = len(newts), len(cells) * len(newts)
    found: list[Edit] = []
    for name in written:
        values = torch.stack([getattr(c, name).detach().reshape(-1) for c in cells]).repeat_interleave(n, 0)
        if values.shape[1] == 1:
            values = values.expand(rows, 1)
        found.append(Clamp(name, values))
    generator = torch.Generator().manual_seed(args.seed)
    draw = 1 + args.noise * torch.randn(1, len(cells[0].weight), generator=generator)
    noisy = torch.tensor([newt.noisy for newt in newts]).repeat(len(cells))[:, None]
    found.append(Scale("weight", torch.where(noisy, draw, torch.ones_like(draw)).numpy()))
    sides = [("drive.left", [newt.left for newt in newts]), ("drive.right", [newt.right for newt in newts])]
    return found + [Clamp(name, np.tile(values, len(cells))) for name, values in sides]


def gaits(network: str, candidates: Sequence[Parameters], world: str, args: Args) -> list[list[GaitMetrics | None]]:
    """The gait of every newt of every candidate in one world; None where the simulation diverged."""
    make, written = CELLS[network]
    newts, cells = NEWTS[world], [make(parameters=p) for p in candidates]
    env = make_worlds(world, len(cells) * len(newts))
    drives = [Schedule.constant((newt.left + newt.right) / 2) for _ in cells for newt in newts]
    controller = make_controller(network, drives, edits=edits(cells, written, newts, args))
    recorder = live(env, controller, args.seconds, progress=None, neurons=False)
    env.close()
    found: list[list[GaitMetrics | None]] = []
    for c in range(len(cells)):
        rows = range(c * len(newts), (c + 1) * len(newts))
        measure = lambda row: gait_metrics(Trajectory.from_arrays(recorder.traces(row)), start=3.0)
        found.append([None if recorder.diverged[row] else measure(row) for row in rows])
    return found


def band_loss(metrics: GaitMetrics, gait: str, margin: float = 0.1) -> float:
    """Distance outside the animal's bands, each narrowed by a margin and measured in its own width."""
    if metrics.gait != gait:
        return 5.0
    total = 0.0
    for row in check(metrics, gait):
        if row.judged and np.isfinite(row.high - row.low):
            width = row.high - row.low
            outside = beyond(np.array(row.ours), row.low + margin * width, row.high - margin * width)
            total += float(np.nan_to_num(outside / width, nan=2.0).clip(0, 2))
    return total


def rising(values: Sequence[float] | np.ndarray, step: float) -> float:
    """By how much values miss to rise by a step each."""
    return float(beyond(np.diff(values), step).sum() / step)


def loss(network: str, candidates: Sequence[Parameters], args: Args) -> np.ndarray:
    """Loss of each candidate."""
    swims, walks = (gaits(network, candidates, world, args) for world in ("pool", "land"))
    return np.array([_loss(swim, walk) for swim, walk in zip(swims, walks, strict=True)])


def _loss(swim: list[GaitMetrics | None], walk: list[GaitMetrics | None]) -> float:
    if any(m is None for m in (*swim, *walk)):
        return 1e3
    swims, walks = [m for m in swim if m], [m for m in walk if m]
    total = 0.0
    for m in (*swims[:3], swims[-1]):
        total += band_loss(m, "swim")
    for m in (*walks[1:4], walks[-1]):
        total += band_loss(m, "walk") + 5 * float(beyond(np.array(m.travelling_index), 0, IN_STEP))
    law = np.interp([newt.left for newt in NEWTS["pool"][:3]], list(SWIM_HZ), list(SWIM_HZ.values()))
    total += 50 * float(np.square(np.log([max(m.frequency, 0.1) for m in swims[:3]] / law)).sum())
    total += 20 * walks[0].speed  # at rest
    for group, speed, hz in ((swims[:3], 0.03, 0.15), (walks[1:4], 0.02, 0.05)):
        total += rising([m.forward_speed for m in group], speed) + rising([m.frequency for m in group], hz)
    for group, wanted in ((swims[3:5], TURNS["pool"]), (walks[4:6], TURNS["land"])):
        rates = np.array([m.yaw_rate for m in group])
        total += float((np.maximum(wanted - rates, 0) / wanted).sum()) + rising(rates, wanted[0])
    return total


def main(args: Args) -> Parameters:
    """Search from the stored numbers and store what is better."""
    if args.network not in CELLS:
        raise ValueError(f"unknown network {args.network!r}; the networks are {', '.join(CELLS)}")
    torch.set_num_threads(1)
    start = json.loads(args.start.read_text()) if args.start else stored_parameters(args.network)
    out = args.out or Path(f"rnn/cpg/{args.network}.json")
    first = float(loss(args.network, [start], args)[0])
    print(f"loss of the numbers to start from: {first:.4f}", flush=True)
    report = lambda generation, best: print(f"generation {generation:4d}  best loss {best:.4f}", flush=True)
    best, value = evolve(
        start, knobs(args.network, start), lambda candidates: loss(args.network, candidates, args), report=report,
        generations=args.generations, population=args.population, seed=args.seed, spread=args.spread,
    )  # fmt: skip
    if value >= first:
        print("nothing better was found; the numbers stay as they were")
        return start
    best["loss"] = {**start.get("loss", {}), "body": round(value, 4)}
    command = (
        f"python scripts/tune_on_body.py --network {args.network} --seed {args.seed} "
        f"--generations {args.generations} --population {args.population}"
    )
    best["body"] = [*start.get("body", []), command]
    out.write_text(json.dumps(best, indent=1) + "\n")
    return best


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
