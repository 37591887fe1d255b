"""Tasks that need memory, cell by cell: adding, copying, temporal order, a late answer, digits.

    python scripts/sequence_tasks.py --task copying --delay 200 --seeds 0 1 2 --out runs/copying
    python scripts/sequence_tasks.py --task adding --delay 400 --seeds 0 1 2 --out runs/adding
    python scripts/sequence_tasks.py --task copying --delay 1000 --cells orthogonal lru --out runs/copying_1000

Question: which recurrent cells carry information over long lags? Every cell has the same readout and the same number
of batches at most. Writes curves.csv, summary.csv and a figure, the loss against batches beside the loss of the best
answer without memory; `--table FILE` also keeps a row per task, cell and seed there and draws the table up beside it
(`benchmarks/results/sequence_tasks.md` is made so). Expect seconds to two minutes of one core per cell and seed: in
copying over 200 steps the plain network and the LSTM stay at the line without memory, the orthogonal and diagonal
cells fall below a tenth of it within two hundred batches; adding over 400 steps takes them 200 to 550.
"""

from __future__ import annotations

import csv
import itertools
import math
import statistics
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

from rnn.data import Sections
from rnn.fit import Training, evaluate, fit
from rnn.model import Model
from rnn.models import CELLS, make_cell
from rnn.objectives import Objective, accuracy, cross_entropy, squared_error
from rnn.stack import Stack
from rnn.stateless import FrameCell
from rnn.tasks import SYMBOLS, adding, copying, copying_baseline, digits, late_answer, temporal_order

Stream = Callable[[torch.Generator], Sections]


@dataclass(frozen=True)
class Args:
    """Options of the comparison."""

    task: str = "copying"
    """copying, adding, temporal_order, late_answer or digits"""
    cells: tuple[str, ...] = ("orthogonal", "lru", "elman", "lstm")
    """names of cells, see rnn.models"""
    delay: int = 200
    """blanks between symbols and answer (copying), length (adding, temporal_order), lag (late_answer)"""
    hidden: int = 128
    """units (or complex modes) per cell"""
    iterations: int = 800
    """batches"""
    batch: int = 32
    """sequences per batch"""
    lr: float | None = None
    """learning rate; by default 0.002, falling along half a cosine, for adding; elsewhere 0.01 for the
    diagonal cells, 0.003 for the orthogonal and 0.001 for all others. Orthogonal matrices and the eigenvalues of
    diagonal cells get a tenth"""
    seeds: tuple[int, ...] = (0,)
    """of weights and batches, one training each"""
    device: str = "cpu"
    """cpu or cuda"""
    solved: float = 0.1
    """a cell has solved the task at this share of the loss without memory, and stops"""
    out: Path = Path("runs/sequence_tasks")
    """folder for the results"""
    table: Path | None = None
    """a CSV file that keeps the results of all tasks, for example benchmarks/results/sequence_tasks.csv"""
    quiet: bool = False
    """print the summary only"""


@dataclass(frozen=True)
class Task:
    """Batches, sizes, loss, and the loss of the best answer without memory."""

    draw: Stream
    watched: Sections  # decides when to stop
    test: Sections  # is measured after that
    outputs: int
    objective: Objective
    without_memory: float
    labels: bool
    train: Sections | None = None


RATES = {"lru": 1e-2, "linoss": 1e-2, "orthogonal": 3e-3}  # their gradients last, and so they can learn fast
RATE = 1e-3
ADDING = 2e-3  # every cell
MARGIN = 0.8  # training stops at this share of a solution, so that other unseen sequences are solved too
FRONT = 32  # units of the layer without memory
DIAGONAL = ("lru", "linoss")
SLOW = ("nu", "theta", "stiffness", "damping")  # parameters of eigenvalues


def make_task(args: Args, seed: int) -> Task:
    """The task of this name.

    Raises:
        ValueError: an unknown name.
    """
    unseen = lambda start, number: make(args.delay, number, torch.Generator().manual_seed(start + seed))
    makers: dict[str, tuple[Callable[..., Sections], int, Objective, float]] = {
        "copying": (copying, SYMBOLS + 1, cross_entropy, copying_baseline(args.delay)),
        "adding": (adding, 1, squared_error, 1 / 6),
        "temporal_order": (temporal_order, 4, cross_entropy, math.log(4)),
        "late_answer": (late_answer, 2, cross_entropy, math.log(2)),
    }
    if args.task == "digits":
        train, held = digits()
        return Task(lambda g: train, held, held, 10, cross_entropy, math.log(10), True, train)
    if args.task not in makers:
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(makers)}, digits")
    make, outputs, objective, baseline = makers[args.task]
    draw = lambda generator: make(args.delay, args.batch, generator)
    watched, test = unseen(10_000, 200), unseen(20_000, 500)
    return Task(draw, watched, test, outputs, objective, baseline, objective is cross_entropy)


def make_model(name: str, task: Task, args: Args, seed: int) -> Model:
    """The cell and a readout. For adding, a layer without memory comes first, started from data.

    Diagonal cells start with moduli at which a tenth to nine tenths of a signal are left after the delay. To keep
    times apart, all angles are there at the start, of diagonal and orthogonal cells alike; to sum up, only those of
    less than one turn in six delays.
    """
    torch.manual_seed(seed)
    inputs, lag = task.test.us.shape[-1], task.test.us.shape[0]
    settings: dict[str, float] = {}
    if name in DIAGONAL:
        settings = {"r_min": 0.1 ** (1 / lag), "r_max": 0.9 ** (1 / lag)}
    if args.task != "adding":
        return Model(make_cell(name, inputs, args.hidden, **settings), task.outputs, feedthrough=False)
    front = FrameCell(inputs, FRONT, squash="relu", offset=True)
    front.standardise(task.draw(torch.Generator().manual_seed(seed)).us)
    if name == "lru":
        settings["max_phase"] = 1 / lag
    if name == "orthogonal":
        settings |= {"max_phase": 1 / lag, "gain": lag**-0.5}
    cell = make_cell(name, FRONT, args.hidden, **settings)
    return Model(Stack([front, cell]), task.outputs, feedthrough=False)


def learn(name: str, task: Task, args: Args, seed: int) -> tuple[list[dict[str, float]], dict[str, object]]:
    """Train one cell until it has solved the task or the batches are used up."""
    model = make_model(name, task, args, seed).to(args.device)
    rate = args.lr or (ADDING if args.task == "adding" else RATES.get(name, RATE))
    settings = Training(
        lr=rate, iterations=args.iterations, clip_norm=1.0, seed=seed, check_every=25, warm_up=20,
        decay="cosine" if args.task == "adding" else "none",
        batch=args.batch, target=MARGIN * args.solved * task.without_memory,
    )  # fmt: skip
    begun = time.process_time()
    slow = {n for n, _ in model.named_parameters() if "parametrizations" in n or n.split(".")[-1] in SLOW}
    done = fit(
        model, task.train if task.train is not None else task.draw(torch.Generator().manual_seed(seed)),
        task.watched, settings, objective=task.objective, stream=None if task.train is not None else task.draw,
        slow=slow, progress=not args.quiet,
    )  # fmt: skip
    loss = evaluate(model, task.test.to(args.device), objective=task.objective)
    with torch.no_grad():
        out = model(task.test.us.to(args.device)).outputs.cpu()
    right: Tensor | float = accuracy(out, task.test.ys, answered(args, task)) if task.labels else math.nan
    summary: dict[str, object] = {
        "task": args.task, "delay": "" if args.task == "digits" else args.delay, "cell": name, "seed": seed,
        "hidden": args.hidden, "parameters": sum(p.numel() for p in model.parameters()), "lr": rate,
        "batches": done.iterations, "cpu_seconds": round(time.process_time() - begun, 1), "loss": round(loss, 6),
        "without_memory": round(task.without_memory, 6), "accuracy": round(float(right), 4),
        "solved": loss <= args.solved * task.without_memory, "stopped": done.stopped,
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
    torch.set_num_threads(1)
    for name in args.cells:
        if name not in CELLS:
            raise ValueError(f"unknown cell {name!r}; the cells are {', '.join(CELLS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    curves: list[dict[str, object]] = []
    summaries: list[dict[str, object]] = []
    for name, seed in itertools.product(args.cells, args.seeds):
        task = make_task(args, seed)
        history, summary = learn(name, task, args, seed)
        curves += [{"cell": name, "seed": seed, "batch": r["iteration"], "loss": r["valid_loss"]} for r in history]
        summaries.append(summary)
        word = "solved" if summary["solved"] else "not solved"
        right = f"accuracy {summary['accuracy']:.3f}, " if task.labels else ""
        print(
            f"{name:<12} seed {seed}  {word:<11} loss {summary['loss']:.4g} of {task.without_memory:.4g} without "
            f"memory, {right}{summary['batches']} batches, {summary['cpu_seconds']} CPU-s",
            flush=True,
        )  # fmt: skip
        write(args.out / "curves.csv", curves)
        write(args.out / "summary.csv", summaries)
        if args.table is not None:
            keep(args.table, summary)
    draw(args.out)
    return summaries


def keep(path: Path, row: dict[str, object]) -> None:
    """Put a row into a table of all tasks, in place of an older one of the same training, and draw the table up."""
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    same = lambda other: all(str(other[key]) == str(row[key]) for key in ("task", "delay", "cell", "seed"))
    rows = [other for other in rows if not same(other)] + [{key: str(value) for key, value in row.items()}]
    write(path, rows)
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for other in rows:
        groups.setdefault((other["task"], other["delay"], other["cell"]), []).append(other)
    lines = [
        "# Tasks that need memory", "",
        "`python scripts/sequence_tasks.py --task TASK --delay DELAY --cells CELL --seeds ... --table FILE`. Solved: a "
        "loss on unseen sequences of at most a tenth of that without memory. Medians over seeds; loss as a share of "
        "the loss without memory, with its extremes.", "",
        "| task | delay | cell | solved | batches | loss / without memory | accuracy | CPU-s | parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for key, group in sorted(groups.items()):
        number = lambda name, group=group: [float(r[name]) for r in group]
        shares = sorted(a / b for a, b in zip(number("loss"), number("without_memory"), strict=True))
        right = f"{statistics.median(number('accuracy')):.3f}" if not math.isnan(number("accuracy")[0]) else ""
        lines.append(
            f"| {' | '.join(key)} | {sum(r['solved'] == 'True' for r in group)} of {len(group)} "
            f"| {statistics.median(number('batches')):.0f} "
            f"| {statistics.median(shares):.3f} ({shares[0]:.3f} to {shares[-1]:.3f}) | {right} "
            f"| {statistics.median(number('cpu_seconds')):.0f} | {group[0]['parameters']} |"
        )
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


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
    names = list(dict.fromkeys(row["cell"] for row in rows))
    for name, seed in dict.fromkeys((row["cell"], row["seed"]) for row in rows):
        points = [(float(r["batch"]), float(r["loss"])) for r in rows if (r["cell"], r["seed"]) == (name, seed)]
        first = seed == next(r["seed"] for r in rows if r["cell"] == name)
        axis.semilogy(
            *zip(*points, strict=True), color=f"C{names.index(name)}", lw=1.2, label=name if first else None
        )  # fmt: skip
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
