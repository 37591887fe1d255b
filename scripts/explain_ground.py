"""How does a network know what it walks on, and do we believe what it says about itself?

Simulated animals walk on land and in water under the same commands; an LSTM and a GRU learn to tell where a window of
half a second was taken, from the joint angles alone, the window being spliced into a walk on land. Where the evidence
lies is therefore known: relevance that falls outside the window is wrong. Compared are layer-wise relevance
(conserving), gradient x input, integrated gradients and occlusion, with chance as the control.

    python scripts/explain_ground.py
    python scripts/explain_ground.py --grounds land rough pool        # rough ground can hardly be told in half a second
    python scripts/explain_ground.py --animals 12 --updates 80        # smaller

Writes walks.npz (kept: not simulated again in the same --out), relevance.csv, relevance.png and metrics.json. About a
minute on one core. Look for: colour inside the lines, and in the same joints whatever the method.
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
from torch import Tensor, nn

from agents.controller import make_controller
from agents.experiment import live, make_worlds
from agents.runs import Run, load_traces
from agents.schedule import Schedule
from rnn.analysis.relevance import (
    Relevance,
    gradient_times_input,
    integrated_gradients,
    layerwise_relevance,
    occlusion,
    outputs_of,
)  # fmt: skip
from rnn.cell import Cell
from rnn.models import make_cell
from rnn.unroll import unroll
from sim.anatomy import JOINT_NAMES

EVERY = 3
"""Control steps of 10 ms per step of the series."""
STEPS, WINDOW = 40, 16
"""Length of a series and of the spliced window: 1.2 s (a cycle) and 0.48 s."""


@dataclass(frozen=True)
class Args:
    """Explain how networks tell the ground; see the top of this file."""

    grounds: tuple[str, ...] = ("land", "pool")
    """Worlds that are told apart; the first is that of the walk into which windows are spliced."""
    animals: int = 24
    """Animals on each ground; a third of them are unseen in training."""
    seconds: float = 6.0
    """How long each walks; the first 1.5 s are left out."""
    cells: tuple[str, ...] = ("lstm", "gru")
    """Which networks learn it."""
    hidden: int = 32
    """Their units."""
    updates: int = 250
    """Steps of Adam."""
    noise: float = 0.3
    """Noise on the readings while learning, standard deviations of a reading."""
    seed: int = 0
    """Of weights, splices and starting postures."""
    out: Path | None = None
    """Run folder; by default runs/explain_ground/<stamp>_seed0."""


def main(args: Args) -> dict[str, Any]:
    """Simulate, learn, explain, write."""
    with Run(args.out, args) if args.out else Run.new("explain_ground", args, seed=args.seed) as run:
        if not (run.folder / "walks.npz").is_file():
            run.save_traces(walks(args), "walks.npz")
        data = load_traces(run.folder / "walks.npz")
        angles = torch.stack([torch.as_tensor(data[world]) for world in args.grounds]).float()  # [K, T, B, 24]
        held = max(2, angles.shape[2] // 3)
        train, test = angles[:, :, held:], angles[:, :, :held]
        centre, scale = train.mean((0, 1, 2)), train.std((0, 1, 2)).clamp(min=1e-3)
        train, test = (train - centre) / scale, (test - centre) / scale
        told: dict[str, Any] = {"relevance in the window by chance": WINDOW / STEPS}
        shown: dict[str, Any] = {}
        for name in args.cells:
            torch.manual_seed(args.seed)
            cell = make_cell(name, angles.shape[3], args.hidden)
            weight, right = learn(cell, train, test, args)
            xs, label, start = spliced(test, 60, 9_999)
            told[f"{name}: unseen windows told apart"] = right
            for method, found in explain(cell, xs, weight, label).items():
                share, peak = inside(found, start, label > 0)
                told[f"{name}, {method}: relevance in the window"] = share
                told[f"{name}, {method}: strongest in the window"] = peak
                shown[f"{name}, {method}"] = found.inputs[:, : len(args.grounds)].permute(1, 2, 0).numpy()
                if method == "layer-wise":
                    told[f"{name}: conservation error of layer-wise relevance"] = float(found.missing.abs().max())
        run.save_traces({**shown, "start": start.numpy(), "label": label.numpy()}, "relevance.npz")
        with (run.folder / "relevance.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("measure", "value"), *told.items()])
        run.save_json("metrics.json", told)
        draw(run.folder, args.cells, args.grounds)
        for measure, value in told.items():
            print(f"{measure}: {value:.3g}")
        print(f"written to {run.folder}: relevance.png, relevance.csv, metrics.json, walks.npz")
        return told


def walks(args: Args) -> dict[str, np.ndarray]:
    """Joint angles [T, B, 24], rad, of animals that walk at drives of 1.6 to 2.4, by world."""
    drives = [Schedule.constant(float(drive)) for drive in np.linspace(1.6, 2.4, args.animals)]
    drives = [drives[i] for i in np.random.default_rng(args.seed).permutation(args.animals)]
    found = {}
    for world in args.grounds:
        controller = make_controller("phase", drives, limb_drive=0.0)
        recorder = live(make_worlds(world, args.animals), controller, args.seconds, seed=args.seed, neurons=False)
        found[world] = np.stack(recorder.columns["joint_angles"])[150::EVERY].astype(np.float32)
    return found


def spliced(angles: Tensor, rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Walks on flat land [T, B, 24] with a window from the ground `label` [B], at step `start` [B]."""
    g = torch.Generator().manual_seed(seed)
    _, length, animals, _ = angles.shape
    draw = lambda high: torch.randint(0, high, (rows,), generator=g)
    label, start = torch.arange(rows) % len(angles), draw(STEPS - WINDOW)
    t = torch.arange(STEPS)[:, None]
    base = angles[0][t + draw(length - STEPS), draw(animals)]
    window = angles[label, t + draw(length - STEPS), draw(animals)]
    within = (t >= start) & (t < start + WINDOW)
    return torch.where(within[..., None], window, base), label, start


def learn(cell: Cell, train: Tensor, test: Tensor, args: Args) -> tuple[Tensor, float]:
    """Readout weights [K, H] after learning, and the share of unseen windows that are told apart."""
    readout = nn.Linear(cell.output_size, len(train), bias=False)
    optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=5e-3)
    for update in range(args.updates):
        xs, label, _ = spliced(train, 48, args.seed * 100_000 + update)
        xs = xs + args.noise * torch.randn(xs.shape)
        loss = nn.functional.cross_entropy(readout(unroll(cell, xs).outputs[-1]), label)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*cell.parameters(), *readout.parameters()], 1.0)
        optimiser.step()
    with torch.no_grad():
        xs, label, _ = spliced(test, 600, 123_456)
        right = (readout(unroll(cell, xs).outputs[-1]).argmax(1) == label).float().mean()
    return readout.weight.detach(), float(right)


def explain(cell: Any, xs: Tensor, weight: Tensor, label: Tensor) -> dict[str, Relevance]:
    """What the score of the true ground, against the mean of all, rests on; by method."""
    contrast = weight - weight.mean(0)
    found: dict[str, list[Relevance]] = {}
    order: list[int] = []
    for ground in range(len(weight)):
        rows = (label == ground).nonzero()[:, 0]
        order += rows.tolist()
        part, score = xs[:, rows], outputs_of(contrast, ground)
        for method, result in (
            ("layer-wise", layerwise_relevance(cell, part, contrast[ground])),
            ("gradient x input", gradient_times_input(cell, part, score)),
            ("integrated gradients", integrated_gradients(cell, part, score, points=24)),
            ("occlusion", occlusion(cell, part, score, by_step=True)),
        ):
            found.setdefault(method, []).append(result)
    back = torch.tensor(order).argsort()
    join = lambda parts, name, axis: torch.cat([getattr(p, name) for p in parts], axis).index_select(axis, back)
    return {
        method: Relevance(join(p, "inputs", 1), join(p, "initial", 0), join(p, "score", 0), method)
        for method, p in found.items()
    }


def inside(found: Relevance, start: Tensor, rows: Tensor) -> tuple[float, float]:
    """Share of what speaks for the true ground that lies in the window, and how often its strongest fifth of a second.

    Counted are `rows` whose window is from another ground than the walk around it, and relevance above 0.
    """
    t = torch.arange(STEPS)[:, None]
    within = ((t >= start) & (t < start + WINDOW))[:, rows]
    size = found.inputs[:, rows].sum(2).clamp(min=0)
    share = (size * within).sum(0) / size.sum(0).clamp(min=1e-300)
    near = torch.nn.functional.avg_pool1d(size.T[None], 7, 1, padding=3, count_include_pad=False)[0].T
    peak = within.gather(0, near.argmax(0)[None])[0].double()
    return float(share.mean()), float(peak.mean())


def draw(folder: Path, cells: tuple[str, ...], grounds: tuple[str, ...]) -> None:
    """relevance.png: joints by steps, for one window of each ground but the first; methods side by side."""
    data = load_traces(folder / "relevance.npz")
    methods = ("layer-wise", "gradient x input", "integrated gradients", "occlusion")
    shown = [(cell, k) for cell in cells for k in range(1, len(grounds))]
    figure = Figure(figsize=(14, 2.6 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(shown), len(methods), squeeze=False, sharex=True, sharey=True)
    for row, (cell, k) in zip(grid, shown, strict=True):
        for axis, method in zip(row, methods, strict=True):
            values = data[f"{cell}, {method}"][k]
            span = np.abs(values).max() or 1.0
            axis.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-span, vmax=span, interpolation="nearest")
            for edge in (data["start"][k] - 0.5, data["start"][k] + WINDOW - 0.5):
                axis.axvline(edge, color="k", lw=1)
            axis.set_title(f"{cell}, {grounds[int(data['label'][k])]}: {method}", fontsize=9)
        row[0].set_yticks(range(0, 24, 4), [JOINT_NAMES[i] for i in range(0, 24, 4)], fontsize=6)
    for axis in grid[-1]:
        axis.set_xlabel(f"step of {EVERY * 10} ms")
    figure.savefig(folder / "relevance.png", dpi=120)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
