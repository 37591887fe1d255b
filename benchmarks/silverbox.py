"""Silverbox: oscillator cells and small gated networks against the published figures.

    python benchmarks/silverbox.py --data DATA

Question: how well, and how fast, does each model of this library simulate a measured Duffing oscillator? Prints and
writes (CSV) the test RMSE in mV on the three standard tests, 50 samples not scored, beside published baselines:
"Baseline results for selected nonlinear system identification benchmarks" (Champneys et al., 2024). The oscillators
take seconds, the networks minutes of one core; rows of models that are not run again are kept. `--models fast` times
the quickest way to 0.28 mV: one oscillator with a linear readout.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from rnn.baselines import fit_cubic, fit_linear
from rnn.identify import identify
from rnn.metrics import rmse
from rnn.recordings import load_benchmark

PUBLISHED = {  # mV: multisine, arrow, arrow without extrapolation
    "published LSTM": (1.50, 2.68, 0.960),
    "published GRU": (1.49, 2.80, 0.947),
    "published Elman": (1.64, 4.88, 1.73),
    "published GP NARX": (0.301, 0.60, 0.259),
}
MODELS = {
    "fast": ("oscillator", {"method": "symplectic", "degree": 1, "oscillators_only": True}),
    "oscillator": ("oscillator", {}),
    "gru": ("gru", {"hidden_size": 8, "base": False}),
    "lstm": ("lstm", {"hidden_size": 5, "base": True}),  # alone, six units were at .6 of std when this was at .03
    "elman": ("elman", {"hidden_size": 12}),
    "linear": ("linear", {}),
}


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    data: Path = Path(os.environ.get("SALAMANDER_LAB_DATA", "data"))
    """folder with SNLS80mV.mat, or one above it"""
    models: tuple[str, ...] = ("fast", "oscillator", "gru", "lstm")
    """some of fast, oscillator, gru, lstm, elman, linear"""
    out: Path = Path("benchmarks/results/silverbox.csv")
    """where the table is written"""
    seconds: float = 600.0
    """processor time for each network"""
    seed: int = 0
    """of the networks"""
    verbose: bool = False
    """tell of every stage"""


def main(args: Args) -> list[dict[str, object]]:
    """Fit each model, test it, and write the table."""
    torch.set_num_threads(1)
    benchmark = load_benchmark("silverbox", args.data)
    w = benchmark.window
    rows: list[dict[str, object]] = []
    older = list(csv.DictReader(args.out.read_text().splitlines())) if args.out.exists() else []

    def add(name: str, errors: tuple[float, ...], cpu_seconds: float | None, note: str) -> None:
        keys = ("multisine_mV", "arrow_mV", "no_extrapolation_mV")
        row = {"model": name} | {k: round(e, 4) for k, e in zip(keys, errors, strict=True)}
        rows.append(row | {"cpu_seconds": None if cpu_seconds is None else round(cpu_seconds, 1), "note": note})
        print(
            f"{name:<24}" + "".join(f"{e:>10.4g}" for e in errors) + f"{cpu_seconds or 0:>10.1f} CPU-s  {note}",
            flush=True,
        )
        done = {str(row["model"]) for row in rows}
        write(args.out, [*rows, *(old for old in older if old["model"] not in done)])

    for name, errors in PUBLISHED.items():
        add(name, errors, None, "Champneys et al. 2024")
    for name, make in (("linear least squares", fit_linear), ("cubic least squares", fit_cubic)):
        model = make(benchmark.train, window=w)
        add(name, tuple(rmse(r.y[w:], model.simulate(r, w)[w:]) for r in benchmark.tests.values()), None, "")
    log = (lambda line: print("   ", line, flush=True)) if args.verbose else (lambda line: None)
    for key in args.models:
        if key not in MODELS:
            raise ValueError(f"unknown model {key!r}; the models are {', '.join(MODELS)}")
        name, settings = MODELS[key]
        settings = dict(settings)
        if settings.pop("oscillators_only", False):
            settings |= {"hidden_size": 1, "choose": False}
        if name in ("gru", "lstm", "elman"):
            settings["clock"] = time.process_time
        found = identify(name, benchmark.train, window=w, seconds=args.seconds, seed=args.seed, log=log, **settings)
        errors = tuple(rmse(r.y[w:], found.system.simulate(r)[w:]) for r in benchmark.tests.values())
        size = sum(p.numel() for p in found.system.model.parameters())
        add(key, errors, found.cpu_seconds, f"{size} parameters")
    return rows


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The table so far, as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"silverbox: {error}")
