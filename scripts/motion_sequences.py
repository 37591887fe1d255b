"""Five ways in which sequences and labels meet, on the motion of the newt.

    python scripts/motion_sequences.py --task ground --out runs/ground
    python scripts/motion_sequences.py --task all --seeds 20 21 22 --table benchmarks/results/motion_sequences.csv

Questions: which ground does the animal feel, from its joints alone (`ground`, one label per sequence)? Where in the
step cycle is it (`phase`, one label per step)? In which order did it rest, walk and swim, when only the order is told
and not the times (`order`, connectionist temporal classification)? How does it move to a score of drives (`score`,
sequence to sequence)? How would it go on (`continue`, a mixture density fed back)? The joint angles are those of the
recorded and simulated newt under random scores of drive, 25 samples a second, with sensor noise (see
`agents.motion_tasks`). Writes summary.csv and a figure, and with `--table FILE` keeps the measures there, every one as
CSV and medians over seeds beside it in Markdown; about half a minute for each task and seed on one core. The network
without memory (`frame`) stands beside.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
import tyro

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from torch import Tensor

from agents.motion_tasks import GROUNDS, PERIOD, in_order, in_phase, on_ground, onward, to_score
from rnn.data import Sections
from rnn.fit import Training, evaluate, fit
from rnn.model import Model
from rnn.models import make_cell
from rnn.objectives import accuracy, cross_entropy, mixture_density, mixture_sample, squared_error
from rnn.orders import collapse, edit_distance, order_loss
from rnn.unroll import unroll

COMPONENTS = 6  # of the mixture


@dataclass(frozen=True)
class Args:
    """Options of the tasks."""

    task: str = "ground"
    """ground, phase, order, score, continue, or all"""
    cells: tuple[str, ...] = ("gru", "frame")
    """names of cells, see rnn.models"""
    hidden: int = 48
    """units"""
    rows: int = 256
    """training sequences; a third as many for the test"""
    seconds: float = 4.0
    """length of a sequence"""
    noise: float = 0.05
    """of the joint sensors, rad"""
    iterations: int = 600
    """batches of 64 sequences"""
    seed: int = 0
    """of scores, noise and weights"""
    seeds: tuple[int, ...] = ()
    """several, one training after another"""
    device: str = "cpu"
    """cpu or cuda"""
    out: Path = Path("runs/motion_sequences")
    """folder for the results"""
    table: Path | None = None
    """a CSV file that keeps the measures of all tasks, for example benchmarks/results/motion_sequences.csv"""
    quiet: bool = False
    """print the summary only"""


class Task(NamedTuple):
    """Data, number of outputs, loss, and what the figures call the score (a function of model and test data)."""

    make: Callable[..., Sections]
    outputs: int
    objective: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Model, Sections, Args], dict[str, float]]


def label_accuracy(model: Model, test: Sections, args: Args) -> dict[str, float]:
    """Share of right labels where they are asked for."""
    with torch.no_grad():
        return {"accuracy": accuracy(model(test.us).outputs, test.ys, test.mask)}


def order_errors(model: Model, test: Sections, args: Args) -> dict[str, float]:
    """Errors in the order per gait told, and the share of rows without error."""
    with torch.no_grad():
        best = model(test.us).outputs.argmax(-1)
    said = [[k - 1 for k in collapse(row) if k > 0] for row in best.T]
    said = [[k for i, k in enumerate(order) if i == 0 or k != order[i - 1]] for order in said]
    truth = [collapse(row) for row in test.ys.T]
    distance = [edit_distance(a, b) for a, b in zip(said, truth, strict=True)]
    return {
        "label_error": sum(distance) / sum(map(len, truth)),
        "rows_right": float(np.mean([d == 0 for d in distance])),
    }


def angle_error(model: Model, test: Sections, args: Args) -> dict[str, float]:
    """Error of the joint angles, free-running from the score, in degrees and over their standard deviation."""
    mse = evaluate(model, test)
    spread = float((test.ys - test.ys.mean((0, 1))).square().mean())
    return {"rmse_degrees": math.degrees(math.sqrt(mse)), "nrmse": math.sqrt(mse / spread)}


def continuation(model: Model, test: Sections, args: Args) -> dict[str, float]:
    """Sampled motion after two seconds of listening: does it keep the animal's frequency and amplitude?"""
    truth, made = continued(model, test, args)
    return {
        "negative_log_likelihood": evaluate(model, test, objective=mixture_density),
        "frequency_error_hz": float((main_frequency(made) - main_frequency(truth)).abs().median()),
        "amplitude_ratio": float((made.std(0) / truth.std(0)).mean()),
    }


@torch.no_grad()
def continued(model: Model, test: Sections, args: Args) -> tuple[Tensor, Tensor]:
    """True and sampled spine angles after the first two seconds [T', B, 8]."""
    known = min(50, len(test.us) // 2)
    generator = torch.Generator().manual_seed(args.seed)
    run = unroll(model.cell, test.us[:known])
    state, output, made = run.state, model.readout(run.outputs[-1], test.us[known - 1]), []
    for x in test.us[known:].unbind(0):
        angles = mixture_sample(output, 8, temperature=0.5, generator=generator)
        made.append(angles)
        x = torch.cat([x[:, :-8], angles], -1)
        z, state = model.cell(x, state)
        output = model.readout(z, x)
    return test.ys[known - 1 : -1], torch.stack(made)


def main_frequency(angles: Tensor) -> Tensor:
    """Strongest frequency of the last spine joint [B], Hz, from the spectrum with a parabola through its peak."""
    x = (angles[..., 7] - angles[..., 7].mean(0)) * torch.hann_window(len(angles))[:, None]
    power = torch.fft.rfft(x, n=8 * len(x), dim=0).abs()
    peak = power[1:-1].argmax(0) + 1
    a, b, c = (power.gather(0, (peak + k)[None])[0] for k in (-1, 0, 1))
    shift = 0.5 * (a - c) / (a - 2 * b + c)
    return (peak + shift) / (8 * len(x) * PERIOD)


TASKS: dict[str, Task] = {
    "ground": Task(on_ground, 4, cross_entropy, label_accuracy),
    "phase": Task(in_phase, 4, cross_entropy, label_accuracy),
    "order": Task(in_order, 4, order_loss, order_errors),
    "score": Task(to_score, 24, squared_error, angle_error),
    "continue": Task(onward, COMPONENTS * 17, mixture_density, continuation),
}


def main(args: Args) -> list[dict[str, object]]:
    """Every task with every seed; the summary."""
    if args.task not in (*TASKS, "all"):
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(TASKS)} and all")
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for seed in args.seeds or (args.seed,):
        for task in TASKS if args.task == "all" else (args.task,):
            rows += learn(replace(args, task=task, seed=seed))
            with (args.out / "summary.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
                writer.writeheader()
                writer.writerows(rows)
    return rows


def learn(args: Args) -> list[dict[str, object]]:
    """Learn the task with each cell, measure on unseen sequences, keep and draw."""
    task = TASKS[args.task]
    drawn = {"seconds": args.seconds, "noise": args.noise}
    train = task.make(args.rows, torch.Generator().manual_seed(args.seed), **drawn)
    test = task.make(max(args.rows // 3, 8), torch.Generator().manual_seed(args.seed + 1000), **drawn)
    rows: list[dict[str, object]] = []
    fig, axes = plt.subplots(
        1, len(args.cells), figsize=(6 * len(args.cells), 3.4), squeeze=False, layout="constrained"
    )
    for name, axis in zip(args.cells, axes[0], strict=True):
        torch.manual_seed(args.seed)
        model = Model(make_cell(name, train.us.shape[-1], args.hidden), task.outputs)
        settings = Training(iterations=args.iterations, batch=64, lr=5e-3, seed=args.seed, check_every=25, warm_up=20)
        begun = time.process_time()
        held = test.pick(slice(0, test.us.shape[1] // 2))  # chooses the weights; the rest is measured on
        done = fit(model, train, held, settings, objective=task.objective, device=args.device, progress=not args.quiet)
        model.cpu()
        unseen = test.pick(slice(test.us.shape[1] // 2, None))
        found = task.measure(model, unseen, args)
        rows.append(
            {
                "task": args.task,
                "cell": name,
                "seed": args.seed,
                **found,
                "cpu_seconds": round(time.process_time() - begun, 1),
            }
        )
        if args.table is not None:
            keep(args.table, args, name, found, rows[-1]["cpu_seconds"])
        told = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
        print(f"{args.task}, {name}: {told} ({done.iterations} batches, {rows[-1]['cpu_seconds']} CPU-s)", flush=True)
        draw(axis, model, unseen, args)
        axis.set_title(f"{name}: {told}", fontsize=9)
    fig.savefig(args.out / f"{args.task}.png", dpi=110)
    plt.close(fig)
    return rows


def keep(path: Path, args: Args, cell: str, found: dict[str, float], cpu_seconds: object) -> None:
    """Put what was measured into a table of all tasks, in place of older measures of the same training."""
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    mine = {"task": args.task, "cell": cell, "seed": str(args.seed)}
    rows = [row for row in rows if {key: row[key] for key in mine} != mine]
    common = {"iterations": str(args.iterations), "rows": str(args.rows), "cpu_seconds": str(cpu_seconds)}
    rows += [mine | {"measure": key, "value": f"{value:.4g}"} | common for key, value in found.items()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    path.with_suffix(".md").write_text(medians(rows))


def medians(rows: list[dict[str, str]]) -> str:
    """The table in Markdown: medians over seeds and their extremes."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    lines = [
        "# Sequences and labels on the motion of the newt", "",
        "`python scripts/motion_sequences.py --task all --seeds ... --table FILE`. On unseen sequences; medians over "
        "seeds (extremes, number of seeds), and the processor seconds of a training. `frame` has no memory.", "",
        "| task | measure | batches | " + " | ".join(cells) + " |", "|---|---|---|" + "---|" * len(cells),
    ]  # fmt: skip
    keys = [(task, row["measure"], row["iterations"]) for task in TASKS for row in rows if row["task"] == task]
    for task, measure, iterations in dict.fromkeys(keys):
        line = f"| {task} | {measure.replace('_', ' ')} | {iterations} |"
        for cell in cells:
            ours = {"task": task, "measure": measure, "iterations": iterations, "cell": cell}
            found = [row for row in rows if {key: row[key] for key in ours} == ours]
            values = sorted(float(row["value"]) for row in found)
            if values:
                seconds = statistics.median(float(row["cpu_seconds"]) for row in found)
                line += f" {statistics.median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g}, {len(values)}),"
                line += f" {seconds:.0f} s"
            line += " |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def draw(axis, model: Model, test: Sections, args: Args) -> None:
    """One unseen sequence: angles said and true, or the labels' probabilities over the true ones."""
    t = np.arange(len(test.us)) * PERIOD
    with torch.no_grad():
        out = model(test.us).outputs
    axis.set_xlabel("time [s]")
    if args.task == "continue":
        truth, made = continued(model, test, args)
        late = t[-len(truth) :]
        axis.plot(late, truth[:, 0, 7].rad2deg().numpy(), color="0.6", lw=3, label="true")
        axis.plot(late, made[:, 0, 7].rad2deg().numpy(), color="C3", lw=1, label="sampled")
        axis.set_ylabel("last spine joint [deg]")
    elif args.task == "score":
        axis.plot(t, test.ys[:, 0, [3, 7]].rad2deg().numpy(), color="0.6", lw=3)
        axis.plot(t, out[:, 0, [3, 7]].rad2deg().numpy(), color="C3", lw=1)
        axis.set_ylabel("two spine joints [deg]")
    else:
        probability = out[:, 0].softmax(-1)
        if args.task == "order":
            probability = torch.cat([probability[:, 1:], probability[:, :1]], -1)  # the blank last
        axis.imshow(probability.T.numpy(), aspect="auto", origin="lower", extent=(t[0], t[-1], -0.5, 3.5), cmap="Greys")
        axis.step(t, test.ys[:, 0].numpy(), color="C3", lw=1, label="true")
        names = {"ground": GROUNDS, "order": ("rest", "walk", "swim", "blank")}.get(
            args.task, ("1/4", "2/4", "3/4", "4/4")
        )
        axis.set_yticks(range(4), names)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except ValueError as error:
        sys.exit(f"motion_sequences: {error}")
