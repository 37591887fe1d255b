"""How many periods ahead can a learned model see, open loop?

    python -m scripts.fit_world --task pendulum --out runs/world_pendulum
    python -m scripts.fit_world --task forced --out runs/world_forced

Logs episodes under random pushes, fits models, and predicts held-out episodes from a measured beginning: a recurrent
model trained by gradients, a latent state-space model, one whose fast weights are fitted while it runs, an ensemble and
polynomials (full observation), linear ones fitted to all data and to each episode's beginning, the equations of the
task without what is hidden, and the last value. `horizon.csv` holds, per model, the median horizon (steps and natural
periods until the error exceeds 0.4 deviations; `episodes_through` counts those that never do), the error after 1 to 200
steps, the error of the dominant frequency and the drift of the amplitude, the share of readings inside the 90 %
interval where a model gives one, and how many steps a CPU-second buys in a planner's batch. `error.png` draws the
errors.
Minutes of CPU.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.foresight import (
    POLYNOMIALS,
    ROWS,
    TASKS,
    Foretold,
    Logged,
    log,
    of_ensemble,
    of_fast_weights,
    of_latent,
    of_linear,
    of_polynomial,
    of_recurrent,
    of_simulator,
)
from agents.runs import Run
from rnn.dynamics import horizon, open_loop_error
from rnn.open_loop import STEPS, amplitude_drift, coverage, frequency_error, rmse_curve, steps_per_second
from rnn.stored_dynamics import save_dynamics

COVERED = (1, 10, 50, 100)
"""Steps ahead at which calibration is reported."""


@dataclass
class Args:
    task: str = "pendulum"
    """"pendulum" (Pendulum-v1), or "forced" (oscillator/Forced-v0: two unknown rhythms shake it)."""
    cell: str = "gru"
    """Cell of the recurrent model."""
    hidden: int = 32
    """Its units."""
    layers: tuple[int, ...] = (64, 64)
    """Layers between cell and prediction."""
    episodes: int = 128
    """Logged for training; a quarter as many are held out."""
    length: int = 400
    """Steps of each."""
    gradient_steps: int = 2600
    """Of the recurrent model, most of them one step ahead, the last in open loop; 0 leaves it out."""
    ensemble_steps: int = 6000
    """Of the ensemble, where observation is full; 0 leaves it out."""
    latent_steps: int = 800
    """Gradient steps of the latent state-space model; 0 leaves it out."""
    device: str = "cpu"
    """Where the recurrent and the latent model learn: "cpu" or "cuda"."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/world")
    """Run folder."""


def checked(args: Args) -> dict[str, Any]:
    """The task.

    Raises:
        ValueError: settings with which nothing could be fitted or measured.
    """
    if args.task not in TASKS:
        raise ValueError(f"unknown task {args.task!r}; the tasks are {', '.join(TASKS)}")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {args.device!r}: PyTorch sees no CUDA device here; take --device cpu")
    task = TASKS[args.task]
    shortest = task["warmup"] + max(task["stages"])
    least = {"episodes": 4, "length": shortest, "hidden": 1, "seed": 0}
    least |= {name: 0 for name in ("gradient_steps", "ensemble_steps", "latent_steps")}
    for name, bound in least.items():
        if getattr(args, name) < bound:
            why = {"episodes": ": a quarter as many are held out", "length": ": open loops are learned from"}
            raise ValueError(f"{name} is at least {bound}{why.get(name, '')}; received {getattr(args, name)}")
    if any(units < 1 for units in args.layers):
        raise ValueError(f"every layer has at least 1 unit, received {args.layers}")
    return task


def main(args: Args) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    task = checked(args)
    torch.manual_seed(args.seed)
    obs, actions, rewards = log(task, args.episodes, args.length, 2 * args.seed)
    held, pushes, _ = log(task, args.episodes // 4, 4 * args.length, 2 * args.seed + 1)
    data = Logged(obs, actions, rewards, held, pushes, task["warmup"])
    with Run(args.out, args) as run:
        errors, rows = {}, []
        for name, foretell in models(args, task, data).items():
            began = time.process_time()
            found = foretell()
            row, errors[name] = judged(name, found, data, task["period"], time.process_time() - began)
            rows.append(row)
            run.log(**row)
            print(row, flush=True)
        draw(errors, task["period"], args.out / "error.png")
    with (args.out / "horizon.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def models(args: Args, task: dict[str, Any], data: Logged) -> dict[str, Callable[[], Foretold]]:
    """What is fitted and run, by name, in the order of the table."""
    measured, pushes = data.held[: data.warmup], data.pushes[data.warmup - 1 :]
    found: dict[str, Callable[[], Foretold]] = {}
    if args.gradient_steps:
        found[args.cell] = lambda: recurrent(args, task, data)
    if args.latent_steps:
        how = {"steps": args.latent_steps, "seed": args.seed, "device": args.device, "body": task["env"]}
        found["latent"] = lambda: of_latent(data, **how)
    if task["full"] and args.ensemble_steps:
        found["ensemble"] = lambda: of_ensemble(data, steps=args.ensemble_steps, body=task["env"])
    if task["full"]:
        found |= {name: lambda shape=shape: of_polynomial(data, **shape) for name, shape in POLYNOMIALS.items()}
    else:
        found["fast weights"] = lambda: of_fast_weights(data)
    found["linear, all data"] = lambda: of_linear(data, task["lags"])
    if not task["full"]:
        found["linear, each episode"] = lambda: of_linear(data, task["lags"], each=True)
    found["simulator"] = lambda: of_simulator(args.task, measured[-1], pushes)
    found["last value"] = lambda: Foretold(measured[-1:].expand(len(pushes), -1, -1))
    return found


def recurrent(args: Args, task: dict[str, Any], data: Logged) -> Foretold:
    """The recurrent model, kept in the run folder."""
    shape = {"cell": args.cell, "hidden": args.hidden, "layers": args.layers}
    how = {"gradient_steps": args.gradient_steps, "seed": args.seed, "device": args.device}
    found, model = of_recurrent(task, data, **how, **shape)
    about = {"cell": args.cell, "hidden": args.hidden, "layers": list(args.layers), "bounded": task["full"]}
    save_dynamics(args.out / "checkpoints" / "model.safetensors", model.cpu(), **about)
    return found


@torch.no_grad()
def judged(
    name: str, found: Foretold, data: Logged, period: float, spent: float
) -> tuple[dict[str, Any], torch.Tensor]:
    """A row of the table, and the error k steps ahead over episodes [K]."""
    truth, std = data.held[data.warmup :], data.obs.std((0, 1))
    predicted = found.predicted.to(truth.dtype)
    error = open_loop_error(predicted, truth, std)
    ahead, curve = horizon(error).float(), rmse_curve(error, STEPS)
    inside = None if found.courses is None else coverage(found.courses, truth)
    row: dict[str, Any] = {
        "model": name,
        "horizon_steps": ahead.median().item(),
        "horizon_periods": round(ahead.median().item() / period, 2),
        "tenth": round(ahead.quantile(0.1).item() / period, 2),
        "episodes_through": round((ahead == len(truth)).float().mean().item(), 3),
        **{f"rmse_{k}": float(f"{curve[k]:.3g}") if k in curve else "" for k in STEPS},
        "frequency_error": round(frequency_error(predicted[..., 0], truth[..., 0]), 4),
        "amplitude_drift": round(amplitude_drift(predicted[..., 0], truth[..., 0]), 4),
        **{
            f"inside_90_{k}": "" if inside is None or k > len(inside) else round(inside[k - 1].item(), 3)
            for k in COVERED
        },
        "steps_per_cpu_second": "" if found.step is None else round(steps_per_second(found.step, ROWS), -2),
        "cpu_seconds": round(spent, 1),
    }
    return row, error.square().mean(1).sqrt()


def draw(errors: dict[str, torch.Tensor], period: float, path: Path) -> None:
    """Error against natural periods ahead, one line per model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, error in errors.items():
        ahead = torch.arange(1, len(error) + 1) / period
        axes.plot(ahead, error.clamp(1e-6, 1e3), lw=1, label=name)
    axes.axhline(0.4, color="0.6", lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="natural periods ahead", ylabel="error, deviations")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    FigureCanvasAgg(figure).print_png(path)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the models judged until now stand in metrics.csv")
