"""Tracked carts and a pendulum: the last 30 % of each recording predicted from its first ten samples.

    python benchmarks/air_track.py --data DATA

Question: fitted to the first 70 % of a measured free oscillation, does the oscillator cell foretell the rest better
than linear least squares, and how long can it be trusted? Half a minute of one core. Prints and writes (CSV) the
normalised error and the prediction horizon (error below 0.4 standard deviations) of one cart, two coupled carts and a
pendulum.
Recordings: "Distilling free-form natural laws from experimental data" (Schmidt, Lipson, 2009).
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from rnn.baselines import fit_cubic, fit_linear
from rnn.identify import identify
from rnn.metrics import nrmse, prediction_horizon, rmse
from rnn.recordings import OSCILLATORS, load_oscillator


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    data: Path = Path(os.environ.get("SALAMANDER_LAB_DATA", "data"))
    """folder with the recordings, or one above it"""
    window: int = 10
    """samples of the test part from which the state is found; not scored"""
    out: Path = Path("benchmarks/results/air_track.csv")
    """where the table is written"""


def main(args: Args) -> list[dict[str, object]]:
    """Fit, predict, compare."""
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    w = args.window
    for name in OSCILLATORS:
        train, (test, *_) = load_oscillator(name, args.data)
        found = identify("oscillator", train, window=w)
        models = {
            "linear least squares": fit_linear(train, window=w).simulate,
            "cubic least squares": fit_cubic(train, window=w).simulate,
            "oscillator": found.system.simulate,
        }
        for label, simulate in models.items():
            hat = simulate(test, w)
            horizon = prediction_horizon(test.y[w:], hat[w:], train[0].y.std(0))
            row = {
                "recording": name, "model": label, "rmse": round(rmse(test.y[w:], hat[w:]), 4), "unit": test.unit,
                "nrmse": round(nrmse(test.y[w:], hat[w:]), 4), "horizon_s": round(horizon * test.dt, 2),
                "of_s": round((len(test) - w) * test.dt, 2),
                "cpu_seconds": round(found.cpu_seconds, 1) if label == "oscillator" else None,
            }  # fmt: skip
            rows.append(row)
            print("  ".join(f"{value}" for value in row.values()), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
