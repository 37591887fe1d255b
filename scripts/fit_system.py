"""Fit a model to measured inputs and outputs and run it free on new ones.

    python scripts/fit_system.py --train train.npz --test test.npz --init-window 50 --model oscillator --out runs/fit
    python scripts/fit_system.py --benchmark silverbox --data DATA --model gru --out runs/silverbox_gru

Question: can this model predict the record, given only inputs (and the first outputs, to find its initial state)?
Files are npz (`u [T, I]`, `y [T, O]`, `dt`, or sections `u_0, y_0, u_1, ...`), csv, txt or MATLAB (say which columns or
variables with --inputs and --outputs, and --dt or --time). Without --test the last 30 % of each record in time are the
test. Writes to --out: predictions.npz (`y_hat`), metrics.json, system.safetensors, config.yaml and two figures, the
free run beside the measurement and the error against steps ahead. Seconds to five minutes on a laptop CPU.
"""

from __future__ import annotations

import io
import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import tyro
import yaml

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rnn.baselines import fit_cubic, fit_linear
from rnn.checkpoint import write_atomically
from rnn.data import Record, split
from rnn.identify import identify
from rnn.loading import load_records
from rnn.metrics import nrmse, prediction_horizon, rmse
from rnn.recordings import load_benchmark

UNFORCED_WINDOW = 10  # samples: an unforced system says nothing about itself but by its outputs


@dataclass(frozen=True)
class Args:
    """Options of the fit."""

    out: Path
    """folder for the results"""
    train: Path | None = None
    """file with the training record or records"""
    test: Path | None = None
    """file with the test record or records; without it the last 30 %% of the training file"""
    benchmark: str | None = None
    """instead of files: silverbox"""
    data: Path | None = None
    """folder with the benchmark's files"""
    model: str = "oscillator"
    """oscillator, linear, esn, es2n, elman, gru, lstm, lru, linoss or another cell of rnn.models"""
    init_window: int | None = None
    """samples of a test record that may be used to find its initial state, and are not scored"""
    hidden: int | None = None
    """units or oscillators; by default found, or a usual number"""
    seconds: float = 300.0
    """time for training a network"""
    iterations: int | None = None
    """of Adam, for the same result on machines of any speed; by default as many as there is time for"""
    base: bool | None = None
    """let a network learn only what a fitted linear state space beside it leaves; by default what is better"""
    device: str = "cpu"
    """cpu or cuda"""
    inputs: tuple[str, ...] = ()
    """names or numbers of input columns or variables"""
    outputs: tuple[str, ...] = ()
    """names or numbers of output columns or variables"""
    dt: float | None = None
    """sampling time in seconds"""
    time: str | None = None
    """column with the time in seconds"""
    trial: str | None = None
    """column that numbers trials"""
    skip_rows: int = 0
    """lines before the header of a text file"""
    unit: str = ""
    """unit of the outputs, for the figures"""
    seed: int = 0
    """of everything random"""
    quiet: bool = False
    """print the result only"""


def main(args: Args) -> dict[str, Any]:
    """Load, fit, simulate, compare, save. Returns what metrics.json holds."""
    options = {key: value for key in ("iterations", "base") if (value := getattr(args, key)) is not None}
    if options and args.model in ("oscillator", "linear", "esn", "es2n"):
        raise ValueError(f"--{next(iter(options))} is for networks that are trained, received --model {args.model}")
    train, tests, window = load(args)
    window = window if args.init_window is None else args.init_window
    for name, records in tests.items():
        for record in records:
            if len(record) <= window:
                raise ValueError(f"{name}: {len(record)} samples, no more than the window of {window}; shorten it")
            if record.sizes != train[0].sizes:
                raise ValueError(f"{name} has (I, O) = {record.sizes}, the training record {train[0].sizes}")
    log = (lambda line: None) if args.quiet else (lambda line: print(line, flush=True))
    found = identify(
        args.model, train, window=window, hidden_size=args.hidden, seconds=args.seconds, device=args.device,
        seed=args.seed, progress=not args.quiet, log=log, **options,
    )  # fmt: skip
    models = {"model": found.system.simulate}
    for name, make in (("linear_least_squares", fit_linear), ("cubic_least_squares", fit_cubic)):
        models[name] = make(train, window=window).simulate
    std = np.concatenate([record.y for record in train]).std(0)
    std = np.where(std > 0, std, 1.0)
    results, runs = {}, {}
    for test, records in tests.items():
        runs[test] = {name: [simulate(record, window) for record in records] for name, simulate in models.items()}
        results[test] = {name: score(records, hats, window, std) for name, hats in runs[test].items()}
        results[test]["model"]["k_step"] = open_loop(found.system, records)
    first = next(iter(tests))
    metrics: dict[str, Any] = {
        "model": args.model, "test_rmse": results[first]["model"]["rmse"], "unit": tests[first][0].unit or args.unit,
        "test_nrmse": results[first]["model"]["nrmse"], "init_window": window,
        "prediction_horizon_s": results[first]["model"]["horizon_s"], "k_step_nrmse": results[first]["model"]["k_step"],
        "seconds_training": found.seconds, "cpu_seconds_training": found.cpu_seconds,
        "baselines": {name: results[first][name] for name in list(models)[1:]}, "tests": results, "found": found.notes,
    }  # fmt: skip
    save(args, metrics, tests, runs, found.system)
    report(metrics, results)
    return metrics


def load(args: Args) -> tuple[list[Record], dict[str, list[Record]], int]:
    """Training records, test records by name, and the window."""
    if args.benchmark is not None:
        if args.data is None:
            raise ValueError("a benchmark needs --data, the folder with its files (see scripts/download_data.py)")
        benchmark = load_benchmark(args.benchmark, args.data)
        return benchmark.train, {name: [record] for name, record in benchmark.tests.items()}, benchmark.window
    if args.train is None:
        raise ValueError("give --train FILE, or --benchmark NAME and --data FOLDER")
    read = lambda path: load_records(
        path, inputs=args.inputs, outputs=args.outputs, dt=args.dt, time=args.time, trial=args.trial,
        skip_rows=args.skip_rows,
    )  # fmt: skip
    train = read(args.train)
    if args.test is not None:
        test = read(args.test)
    else:
        train, test = split(train, 0.3)
    unforced = train[0].sizes[0] == 0 or all(np.ptp(record.u) == 0 for record in train)
    window = min(UNFORCED_WINDOW, min(len(record) for record in test) // 4) if unforced else 0
    return train, {"test": [replace(record, unit=args.unit) for record in test]}, window


def score(records: list[Record], hats: list[np.ndarray], window: int, std: np.ndarray) -> dict[str, Any]:
    """Errors after the window over all records of a test, and how long the first can be trusted."""
    y, y_hat = np.concatenate([r.y[window:] for r in records]), np.concatenate([h[window:] for h in hats])
    record = records[0]
    horizon = prediction_horizon(record.y[window:], hats[0][window:], std)
    return {
        "rmse": rmse(y, y_hat), "nrmse": nrmse(y, y_hat), "horizon_samples": horizon, "horizon_s": horizon * record.dt,
        "horizon_is_whole_record": horizon == len(record) - window,
    }  # fmt: skip


def open_loop(system, records: list[Record]) -> dict[str, float]:
    """Error k steps ahead over the records of a test, root mean square."""
    curves = [system.open_loop(record) for record in records]
    steps = sorted({k for curve in curves for k in curve})
    return {
        str(k): math.sqrt(float(np.mean([curve[k] ** 2 for curve in curves if k in curve]))) for k in steps
    }  # fmt: skip


def save(args: Args, metrics: dict[str, Any], tests: dict[str, list[Record]], runs, system) -> None:
    """predictions.npz, metrics.json, config.yaml, system.safetensors and the figures, each whole or not at all."""
    arrays = {}
    for n, (test, records) in enumerate(tests.items()):
        suffix = "" if n == 0 else f"_{test}"
        for i, hat in enumerate(runs[test]["model"]):
            arrays[f"y_hat{suffix}" if len(records) == 1 else f"y_hat{suffix}_{i}"] = hat
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(args.out / "predictions.npz", buffer.getvalue())
    write_atomically(args.out / "metrics.json", json.dumps(_plain(metrics), indent=2).encode())
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(args).items()}
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    write_atomically(args.out / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
    system.save(args.out / "system.safetensors", {"command": "fit_system", "test_rmse": metrics["test_rmse"]})
    first = next(iter(tests))
    draw_run(args.out / "simulation.png", tests[first][0], {k: v[0] for k, v in runs[first].items()}, metrics)
    draw_steps(args.out / "k_step.png", metrics, system.dt)


def draw_run(path: Path, record: Record, hats: dict[str, np.ndarray], metrics: dict[str, Any]) -> None:
    """The free run beside the measurement: the beginning, the end, and the error over the whole record."""
    O, T = record.sizes[1], len(record)
    t, part = np.arange(T) * record.dt, min(T, 400)
    fig, axes = plt.subplots(O, 3, figsize=(14, 1 + 2.6 * O), squeeze=False, layout="constrained")
    unit = f" [{metrics['unit']}]" if metrics["unit"] else ""
    for o in range(O):
        for axis, span in ((axes[o, 0], slice(0, part)), (axes[o, 1], slice(T - part, T))):
            axis.plot(t[span], record.y[span, o], color="0.7", lw=3, label="measured")
            axis.plot(t[span], hats["model"][span, o], color="C3", lw=1, label=f"{metrics['model']}, free run")
            if span.start == 0:
                axis.axvspan(0, metrics["init_window"] * record.dt, color="C0", alpha=0.15, lw=0)
            axis.set_ylabel(f"output {o}{unit}")
        for name, color in (("linear_least_squares", "C0"), ("cubic_least_squares", "C2"), ("model", "C3")):
            error = np.abs(hats[name][:, o] - record.y[:, o])
            width = max(1, T // 300)
            smooth = np.sqrt(np.convolve(np.nan_to_num(error, nan=np.inf) ** 2, np.ones(width) / width, "valid"))
            if np.isfinite(smooth).any():
                axes[o, 2].semilogy(t[: len(smooth)], np.maximum(smooth, 1e-12), color=color, lw=1, label=name)
        axes[o, 2].set_ylabel(f"error{unit}, running rms")
    axes[0, 0].set_title("beginning (shaded: used to find the state)")
    axes[0, 1].set_title("end")
    axes[0, 2].set_title(f"test RMSE {metrics['test_rmse']:.4g}{unit}")
    axes[0, 0].legend(loc="upper right", fontsize=8)
    axes[0, 2].legend(fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("time [s]")
    _write_figure(fig, path)


def draw_steps(path: Path, metrics: dict[str, Any], dt: float) -> None:
    """Error against how far ahead is predicted."""
    fig, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    curve = metrics["k_step_nrmse"]
    steps = np.array([int(k) for k in curve])
    if len(steps):
        axis.loglog(steps * dt, list(curve.values()), "o-", color="C3", label=metrics["model"])
    axis.axhline(0.4, color="0.6", ls=":", label="trusted below")
    axis.set(xlabel="prediction ahead [s]", ylabel="error / standard deviation")
    axis.legend()
    _write_figure(fig, path)


def _write_figure(fig, path: Path) -> None:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=110)
    plt.close(fig)
    write_atomically(path, buffer.getvalue())


def _plain(value: Any) -> Any:
    """As JSON knows it: no infinities."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def report(metrics: dict[str, Any], results: dict[str, Any]) -> None:
    """A table of the tests."""
    print(f"\n{'test':<24}{'model':<24}{'RMSE ' + metrics['unit']:>12}{'NRMSE':>10}{'trusted for':>14}")
    for test, rows in results.items():
        for name, row in rows.items():
            label = metrics["model"] if name == "model" else name
            whole = " (all)" if row["horizon_is_whole_record"] else ""
            print(f"{test:<24}{label:<24}{row['rmse']:>12.4g}{row['nrmse']:>10.4f}{row['horizon_s']:>12.4g} s{whole}")
    print(f"trained in {metrics['seconds_training']:.1f} s ({metrics['cpu_seconds_training']:.1f} CPU-s)")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, FileNotFoundError, OSError) as error:
        sys.exit(f"fit_system: {error}")
