"""Tasks that need memory, cell by cell: adding, copying, temporal order, a late answer, digits.

    python scripts/sequence_tasks.py --task copying --cells elman lstm orthogonal lru --delay 200 --out runs/copying
    python scripts/sequence_tasks.py --task adding --cells elman lstm orthogonal lru --delay 400 --out runs/adding
    python scripts/sequence_tasks.py --task digits --cells elman gru lru --out runs/digits

Question: which recurrent cells carry information over long lags? Every cell stands between the same per-step network
and the same readout and has the same number of batches. Writes curves.csv, summary.csv and a figure, the loss against
iterations beside the loss of the best answer without memory. Minutes per cell on one core: expect the plain network and
the LSTM to stay at the line without memory in the copying task and the orthogonal and diagonal cells to fall to zero.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
import tyro

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from torch import Tensor

from rnn.cell import Cell
from rnn.data import Sections
from rnn.fit import Training, evaluate, fit
from rnn.model import Model
from rnn.models import CELLS, make_cell
from rnn.objectives import Objective, accuracy, cross_entropy, squared_error
from rnn.stack import Stack
from rnn.tasks import SYMBOLS, adding, copying, copying_baseline, digits, late_answer, temporal_order

Stream = Callable[[torch.Generator], Sections]


@dataclass(frozen=True)
class Args:
    """Options of the comparison."""

    task: str = "copying"
    """copying, adding, temporal_order, late_answer or digits"""
    cells: tuple[str, ...] = ("elman", "lstm", "orthogonal", "lru")
    """names of cells, see rnn.models"""
    delay: int = 200
    """blanks between symbols and answer (copying), length (adding, temporal_order), lag (late_answer)"""
    hidden: int = 128
    """units (or complex modes) per cell"""
    iterations: int = 1500
    """batches"""
    batch: int = 32
    """sequences per batch"""
    lr: float = 1e-3
    """learning rate; recurrent matrices that stay orthogonal get a tenth"""
    seed: int = 0
    """of weights and batches"""
    device: str = "cpu"
    """cpu or cuda"""
    solved: float = 0.1
    """a cell has solved the task at this share of the loss without memory, and stops"""
    out: Path = Path("runs/sequence_tasks")
    """folder for the results"""
    quiet: bool = False
    """print the summary only"""


@dataclass(frozen=True)
class Task:
    """Batches, sizes, loss, and the loss of the best answer without memory."""

    draw: Stream
    test: Sections
    outputs: int
    objective: Objective
    without_memory: float
    labels: bool
    train: Sections | None = None


def make_task(args: Args) -> Task:
    """The task of this name.

    Raises:
        ValueError: an unknown name.
    """
    test = torch.Generator().manual_seed(10_000 + args.seed)
    makers: dict[str, tuple[Callable[..., Sections], int, Objective, float]] = {
        "copying": (copying, SYMBOLS + 1, cross_entropy, copying_baseline(args.delay)),
        "adding": (adding, 1, squared_error, 1 / 6),
        "temporal_order": (temporal_order, 4, cross_entropy, math.log(4)),
        "late_answer": (late_answer, 2, cross_entropy, math.log(2)),
    }
    if args.task == "digits":
        train, held = digits()
        return Task(lambda g: train, held, 10, cross_entropy, math.log(10), True, train)
    if args.task not in makers:
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(makers)}, digits")
    make, outputs, objective, baseline = makers[args.task]
    draw = lambda generator: make(args.delay, args.batch, generator)
    return Task(draw, make(args.delay, 200, test), outputs, objective, baseline, objective is cross_entropy)


def make_model(name: str, inputs: int, outputs: int, args: Args) -> Model:
    """A per-step network, the cell, and a readout; cells that can be set for long memories are."""
    torch.manual_seed(args.seed)
    settings = {"lru": {"r_min": 0.99, "r_max": 0.999}}.get(name, {})
    if args.task in ("copying", "digits"):
        cell: Cell = make_cell(name, inputs, args.hidden, **settings)
    else:
        front = make_cell("frame", inputs, 16)
        cell = Stack([front, make_cell(name, front.output_size, args.hidden, **settings)])
    return Model(cell, outputs, feedthrough=False)


def learn(name: str, task: Task, args: Args) -> tuple[list[dict[str, float]], dict[str, object]]:
    """Train one cell until it has solved the task or the batches are used up."""
    model = make_model(name, task.test.us.shape[-1], task.outputs, args).to(args.device)
    settings = Training(
        lr=args.lr, iterations=args.iterations, clip_norm=1.0, seed=args.seed, check_every=25, decay="none",
        batch=args.batch, target=args.solved * task.without_memory,
    )  # fmt: skip
    begun = time.process_time()
    slow = {n for n, _ in model.named_parameters() if "parametrizations" in n}
    done = fit(
        model, task.train if task.train is not None else task.draw(torch.Generator().manual_seed(args.seed)),
        task.test, settings, objective=task.objective, stream=None if task.train is not None else task.draw,
        slow=slow, progress=not args.quiet,
    )  # fmt: skip
    loss = evaluate(model, task.test.to(args.device), objective=task.objective)
    with torch.no_grad():
        out = model(task.test.us.to(args.device)).outputs.cpu()
    right: Tensor | float = accuracy(out, task.test.ys, answered(args, task)) if task.labels else math.nan
    summary: dict[str, object] = {
        "cell": name, "parameters": sum(p.numel() for p in model.parameters()), "iterations": done.iterations,
        "cpu_seconds": round(time.process_time() - begun, 1), "loss": loss, "without_memory": task.without_memory,
        "accuracy": right, "solved": loss <= args.solved * task.without_memory, "stopped": done.stopped,
    }  # fmt: skip
    return done.history, summary


def answered(args: Args, task: Task) -> Tensor:
    """Steps at which the answer is asked for: in the copying task the last ten."""
    if args.task != "copying":
        return task.test.mask
    mask = torch.zeros_like(task.test.mask)
    mask[-10:] = True
    return mask


def main(args: Args) -> list[dict[str, object]]:
    """Learn the task with each cell, save and draw."""
    for name in args.cells:
        if name not in CELLS:
            raise ValueError(f"unknown cell {name!r}; the cells are {', '.join(CELLS)}")
    task = make_task(args)
    args.out.mkdir(parents=True, exist_ok=True)
    curves, summaries = [], []
    for name in args.cells:
        history, summary = learn(name, task, args)
        curves += [{"cell": name, "iteration": row["iteration"], "loss": row["valid_loss"]} for row in history]
        summaries.append(summary)
        word = "solved" if summary["solved"] else "not solved"
        print(
            f"{name:<12} {word:<11} loss {summary['loss']:.4g} of {task.without_memory:.4g} without memory, accuracy "
            f"{summary['accuracy']:.3f}, {summary['iterations']} batches, {summary['cpu_seconds']} CPU-s", flush=True,
        )  # fmt: skip
        write(args.out / "curves.csv", curves)
        write(args.out / "summary.csv", summaries)
    draw(args.out)
    return summaries


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def draw(folder: Path) -> None:
    """Loss against batches, from the CSV."""
    with (folder / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "summary.csv").open() as file:
        baseline = float(next(csv.DictReader(file))["without_memory"])
    fig, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name in dict.fromkeys(row["cell"] for row in rows):
        points = [(float(r["iteration"]), float(r["loss"])) for r in rows if r["cell"] == name]
        axis.semilogy(*zip(*points, strict=True), label=name)
    axis.axhline(baseline, color="0.5", ls=":", label="without memory")
    axis.set(xlabel="batches", ylabel="loss on unseen sequences")
    axis.legend()
    fig.savefig(folder / "curves.png", dpi=110)
    plt.close(fig)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except ValueError as error:
        sys.exit(f"sequence_tasks: {error}")
