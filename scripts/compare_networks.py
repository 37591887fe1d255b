"""How alike is what networks do, whatever their units are called?

Distances between the dynamics of networks that swim: each is kicked and comes back to its rhythm, a linear operator
is fitted to its delay-embedded activity, and operators are compared up to rotation (dynamical similarity analysis).
Compared are trained networks of the same cell (other seeds), of other cells, the pattern generators, and controls made
of the first network: seen through a rotation (distance near 0), at twice the frequency, and with its time shuffled.

    python scripts/compare_networks.py                                        # the zoo and the pattern generators
    python scripts/compare_networks.py --train gru lstm elman --seeds 3       # and small networks trained for it
    python scripts/compare_networks.py --policies zoo/newt_gru RUN/gru_1 RUN/gru_2 phase   # folders of learn_motion.py

Writes distances.csv, distances.png and summary.json. Half a minute; a trained network takes about half a minute more,
is kept in the folder, and is not trained again by the same command with the same --out.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from agents.controller import CONTROLLERS, make_controller
from agents.directions import driven
from agents.imitation import Imitation, build_cell, imitate
from agents.motion import Motion
from agents.policy_zoo import load_policy, policies, save_policy
from agents.runs import Run
from agents.schedule import Schedule
from rnn.analysis.similarity import compare_dynamics
from rnn.cell import Cell
from rnn.edits import Noise

CONTROLS = ("rotated", "twice as fast", "shuffled")


@dataclass(frozen=True)
class Args:
    """Compare networks; see the top of this file."""

    policies: tuple[str, ...] = ()
    """Trained networks, zoo/NAME or folders, and pattern generators (phase, leaky, rate); by default all of both."""
    train: tuple[str, ...] = ()
    """Cells of which small networks are trained for the comparison."""
    seeds: int = 3
    """How many of each."""
    hidden: int = 32
    """Their units."""
    iterations: int = 500
    """Their training."""
    drive: float = 4.0
    """Drive under which all are watched."""
    steps: int = 300
    """Length of what is watched, control steps."""
    rows: int = 8
    """Kicked runs of each network."""
    rank: int = 8
    """Components kept of the delay-embedded activity."""
    out: Path | None = None
    """Run folder; by default runs/compare_networks/<stamp>_seed0."""


def main(args: Args) -> dict[str, Any]:
    """Watch all, compare, write and draw."""
    names = list(args.policies) or [*(f"zoo/{name}" for name in policies()), *CONTROLLERS]
    with Run(args.out, args) if args.out else Run.new("compare_networks", args) as run:
        cells = {name: load(name) for name in names}
        for cell in args.train:
            for seed in range(args.seeds):
                cells[f"{cell} {seed}"] = trained(run.folder / "networks" / f"{cell}_{seed}", cell, seed, args)
        courses = {name: watched(cell, args) for name, cell in cells.items()}
        still = [name for name, course in courses.items() if float(course[-100:].std(0).max()) < 1e-2]
        for name in still:
            print(f"{name} has no rhythm under drive {args.drive:g}; it is left out")
            del courses[name]
        if len(courses) < 2:
            raise ValueError(f"two networks with a rhythm are needed, found {len(courses)}; try another --drive")
        first = next(iter(courses))
        courses |= {f"{first}, {name}": course for name, course in zip(CONTROLS, controls(courses[first]), strict=True)}
        found = compare_dynamics(list(courses.values()), list(courses), rank=args.rank)
        kinds = [kind(cells[name]) if name in cells else "" for name in courses]
        told = summary(list(courses), found.matrix.numpy(), kinds) | {"no rhythm": still}
        with (run.folder / "distances.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["", *courses])
            table.writerows([name, *row] for name, row in zip(courses, found.matrix.tolist(), strict=True))
        run.save_json("summary.json", told)
        draw(run.folder)
        for name, value in told.items():
            print(f"{name}: {value:.3f} rad" if isinstance(value, float) else f"{name}: {', '.join(value) or 'none'}")
        print(f"written to {run.folder}: distances.csv, distances.png, summary.json")
        return told


def load(name: str) -> Cell:
    """A pattern generator or a trained network."""
    if name in CONTROLLERS:
        return make_controller(name, Schedule.constant(4.0)).cell
    return load_policy(name)[0]


def kind(cell: Cell) -> str:
    """What sort of network it is: its class, without what wraps a learned one."""
    return type(getattr(cell, "core", cell)).__name__.removesuffix("Cell")


def trained(folder: Path, cell: str, seed: int, args: Args) -> Cell:
    """A small network that learned the newt's motion, trained here unless the folder holds it."""
    if not (folder / "network.safetensors").is_file():
        torch.manual_seed(seed)
        motion = Motion.load("both")
        network = build_cell(cell, args.hidden, motion)
        seconds = imitate(network, motion, Imitation(iterations=args.iterations, seed=seed))
        save_policy(folder, network, {"cell": cell, "hidden": args.hidden, "data": "both", "dt": 0.01})
        print(f"trained {folder.name} in {seconds:.0f} s")
    return load_policy(folder)[0]


def watched(cell: Cell, args: Args) -> Tensor:
    """Activity [T, B, n] of settled runs that are kicked by noise of a tenth of each unit's swing, then left alone."""
    drives = torch.tensor([[args.drive, args.drive, 0.0]]).expand(args.rows, 3)
    settle = 400
    quiet = driven(cell, drives[:1], settle, record=(cell.activity,)).trace[cell.activity][-100:]
    std = 0.1 * np.ptp(quiet[:, 0].numpy(), axis=0)[None]
    kick = [Noise(cell.activity, std=std, seed=1, steps=slice(settle, settle + 5))]
    run = driven(cell, drives, settle + 5 + args.steps, record=(cell.activity,), edits=kick)
    return run.trace[cell.activity][settle + 5 :]


def controls(course: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same activity rotated at random, at twice the frequency, and with its steps shuffled."""
    generator = torch.Generator().manual_seed(0)
    n = course.shape[-1]
    rotation = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0].to(course)
    return course @ rotation, course[::2], course[torch.randperm(len(course), generator=generator)]


def summary(names: list[str], matrix: np.ndarray, kinds: list[str]) -> dict[str, Any]:
    """Mean distances: to the controls (of no kind), between networks of a kind, and between kinds."""
    first, told = names[0], {}
    for name in CONTROLS:
        told[f"{first} to itself {name}"] = float(matrix[0, names.index(f"{first}, {name}")])
    real = [i for i, name in enumerate(kinds) if name]
    pairs = [(i, j) for i in real for j in real if j < i]
    for each in dict.fromkeys(kinds[i] for i in real):
        within = [matrix[i, j] for i, j in pairs if kinds[i] == kinds[j] == each]
        if within:
            told[f"{each}: between networks of this kind"] = float(np.mean(within))
    told["between kinds"] = float(np.mean([matrix[i, j] for i, j in pairs if kinds[i] != kinds[j]] or [np.nan]))
    return told


def draw(folder: Path) -> None:
    """distances.png from distances.csv: the matrix, and the networks laid out in a plane."""
    with (folder / "distances.csv").open() as file:
        names, *rows = list(csv.reader(file))
    names, matrix = names[1:], np.array([row[1:] for row in rows], dtype=float)
    size = 0.32 * len(names) + 3
    figure = Figure(figsize=(2.1 * size, size), layout="constrained")
    FigureCanvasAgg(figure)
    heat, plane = figure.subplots(1, 2)
    image = heat.imshow(matrix, cmap="magma")
    figure.colorbar(image, ax=heat, label="distance, rad")
    heat.set_xticks(range(len(names)), range(1, len(names) + 1), fontsize=7)
    heat.set_yticks(range(len(names)), [f"{name}  {i}" for i, name in enumerate(names, 1)], fontsize=7)
    place = _plane(matrix)
    for i, name in enumerate(names):
        plane.plot(*place[i], "x" if ", " in name else "o", color="0.5" if ", " in name else "#2b6a8f")
        plane.annotate(str(i + 1), place[i], fontsize=8, xytext=(4, 3), textcoords="offset points")
    plane.set(title="distances in a plane (crosses: controls)", xlabel="rad", ylabel="rad")
    plane.set_aspect("equal", adjustable="datalim")
    plane.margins(0.15)
    figure.savefig(folder / "distances.png", dpi=130)


def _plane(matrix: np.ndarray) -> np.ndarray:
    """Classical multidimensional scaling: coordinates [n, 2] whose distances come near those of the matrix."""
    centre = np.eye(len(matrix)) - 1 / len(matrix)
    values, vectors = np.linalg.eigh(-0.5 * centre @ matrix**2 @ centre)
    return vectors[:, -1:-3:-1] * np.sqrt(np.maximum(values[-1:-3:-1], 0))


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
