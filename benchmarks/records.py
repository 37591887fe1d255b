"""Records of ten systems that the library was not made for: does each model reach the noise?

    python benchmarks/records.py
    python benchmarks/records.py --records duffing tanks --models oscillator --seeds 14 15

Question: given a thousand samples with noise 40 dB below the signal and nothing else, how near to the noise do the
automatic choices of `scripts/fit_system.py` come, and is that better than linear and cubic least squares? Every system
is integrated here (see `benchmarks/known_systems.py`), excited anew for training and for the test of 500 samples; the
first 40 outputs of the test may be looked at and are not scored. The floor is the noise that was added to the scored
samples: no model can be nearer to the measurement than that, but by chance. Half a minute to two minutes of one core
for each record and model. Prints and writes a table (md, csv); rows of other runs of the table are kept.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from known_systems import SYSTEMS, measured

from rnn.baselines import fit_cubic, fit_linear
from rnn.identify import identify
from rnn.metrics import nrmse, rmse
from rnn.models import make_cell

LEAST_SQUARES = {"linear least squares": fit_linear, "cubic least squares": fit_cubic}
KEYS = ("record", "model", "seed", "rmse", "floor", "nrmse", "nrmse_floor", "unit", "cpu_seconds", "found")


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    records: tuple[str, ...] = tuple(SYSTEMS)
    """names of systems"""
    models: tuple[str, ...] = ("oscillator", "gru")
    """models of `scripts/fit_system.py`; linear and cubic least squares are always beside them"""
    seeds: tuple[int, ...] = (11, 12, 13)
    """of excitation, noise and weights; settings were chosen on seeds 0 and 10"""
    samples: int = 1000
    """of the training record"""
    seconds: float = 10.0
    """processor time for each network"""
    out: Path = Path("benchmarks/results/records")
    """where the table is written, without its ending"""
    verbose: bool = False
    """tell of every stage"""


def main(args: Args) -> list[dict[str, str]]:
    """Simulate, fit, run free, compare."""
    torch.set_num_threads(1)
    for name in args.records:
        if name not in SYSTEMS:
            raise ValueError(f"unknown record {name!r}; the records are {', '.join(SYSTEMS)}")
    for name in args.models:
        if name not in ("linear", "esn", "es2n"):
            make_cell(name, 1, 2)  # refuses a name that is none
    path = args.out.with_suffix(".csv")
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    for seed in args.seeds:
        for name in args.records:
            for row in judge(name, seed, args):
                key = {k: row[k] for k in ("record", "model", "seed")}
                rows = [old for old in rows if {k: old[k] for k in key} != key] + [row]
                write(args.out, rows)
    return rows


def judge(name: str, seed: int, args: Args):
    """A row for each model on one record."""
    window = 40
    (train, _), (test, noise) = measured(name, args.samples, 2 * seed), measured(name, args.samples // 2, 2 * seed + 1)
    log = (lambda line: print("   ", line, flush=True)) if args.verbose else (lambda line: None)
    y, floor = test.y[window:], noise[window:]
    for model in (*LEAST_SQUARES, *args.models):
        begun = time.process_time()
        if model in LEAST_SQUARES:
            hat, found = LEAST_SQUARES[model]([train], window=window).simulate(test, window), ""
        else:
            clock = {} if model in ("oscillator", "linear", "esn", "es2n") else {"clock": time.process_time}
            fitted = identify(model, [train], window=window, seconds=args.seconds, seed=seed, log=log, **clock)
            hat, found = fitted.system.simulate(test), describe(fitted.notes)
        row = {
            "record": name, "model": model, "seed": seed, "rmse": rmse(y, hat[window:]), "floor": rmse(y, y - floor),
            "nrmse": nrmse(y, hat[window:]), "nrmse_floor": nrmse(y, y - floor), "unit": test.unit,
            "cpu_seconds": round(time.process_time() - begun, 1), "found": found,
        }  # fmt: skip
        row = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in row.items()}
        print("  ".join(row.values()), flush=True)
        yield row


def describe(notes: dict) -> str:
    """What the automatic choices took, in a few words."""
    words = ("oscillators", "units", "method", "hold", "degree", "coupled", "forces", "base", "optimiser")
    return " ".join(f"{word}={notes[word]}" for word in words if notes.get(word) not in (None, False, ""))


def write(out: Path, rows: list[dict[str, str]]) -> None:
    """The table so far: every run as CSV, medians over seeds as multiples of the floor in Markdown."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, KEYS)
        writer.writeheader()
        writer.writerows(rows)
    records = [name for name in SYSTEMS if any(row["record"] == name for row in rows)]
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = [
        "# Records of systems that the library was not made for", "",
        "`python benchmarks/records.py`. Free-run error on 460 unseen samples, root mean square over outputs, each "
        "over its standard deviation, after training on 1,000 samples with noise 40 dB below the signal: median over "
        "seeds (its extremes) and processor seconds. The floor is the noise in the samples scored.", "",
        "| record | floor | " + " | ".join(models) + " |", "|" + "---|" * (2 + len(models)),
    ]  # fmt: skip
    for name in records:
        ours = [row for row in rows if row["record"] == name]
        cells = [f"{statistics.median(float(row['nrmse_floor']) for row in ours):.4f}"]
        for model in models:
            theirs = [row for row in ours if row["model"] == model]
            cells.append(summary(theirs) if theirs else "")
        lines.append(f"| {name}: {SYSTEMS[name].what} | " + " | ".join(cells) + " |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def summary(rows: list[dict[str, str]]) -> str:
    """Median, extremes and processor seconds."""
    values = sorted(float(row["nrmse"]) for row in rows)
    spread = f" ({values[0]:.4f} to {values[-1]:.4f})" if len(values) > 1 else ""
    seconds = statistics.median(float(row["cpu_seconds"]) for row in rows)
    return f"{statistics.median(values):.4f}{spread}, {seconds:.0f} s"


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except ValueError as error:
        sys.exit(f"records: {error}")
