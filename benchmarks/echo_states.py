"""How much do reservoirs remember, how far do they predict, and how fast do a hundred of them run?

    python benchmarks/echo_states.py                        # four minutes on one core
    python benchmarks/echo_states.py --only lorenz batch    # some of memory, mackey_glass, lorenz, batch, large

writes benchmarks/results/echo_states.json and .md. Every figure is a median over seeds, with its spread: single
networks of this kind differ by a factor of ten. All series are integrated here, by the method named.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro

from rnn.reservoir import EchoStateCell, EdgeOfStabilityCell
from rnn.reservoir_batch import ReservoirBatch
from rnn.ridge import EchoStateNetwork, memory_capacity
from rnn.series import LORENZ_EXPONENT, lorenz, mackey_glass, valid_time
from rnn.unroll import unroll

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Args:
    only: list[str] = field(default_factory=lambda: list(TASKS))
    """which figures"""
    seeds: int = 10
    """networks per figure (3 for Lorenz, with 20 starts each)"""
    threads: int = 1
    """threads of torch"""
    peer: str = sys.executable
    """a Python that has ReservoirPy, for the last comparison"""
    out: Path = RESULTS
    """folder for the results"""


def spread(values: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "lower_quartile": float(low), "upper_quartile": float(high),
            "least": float(min(values)), "most": float(max(values))}  # fmt: skip


def memory(args: Args) -> list[dict]:
    """Memory capacity of 100 units over delays 1 to 200; at most 100."""
    rows = []
    for name, make in (
        ("ES2N, beta 0.05", lambda s: EdgeOfStabilityCell(1, 100, proximity=0.05, input_scale=0.1, seed=s)),
        ("echo state network, radius 0.9", lambda s: EchoStateCell(1, 100, radius=0.9, input_scale=0.1, seed=s)),
        ("leaky, a 0.5", lambda s: EchoStateCell(1, 100, radius=0.9, leak=0.5, input_scale=0.1, seed=s)),
    ):
        values = [float(memory_capacity(make(seed), seed=seed).sum()) for seed in range(args.seeds)]
        rows.append({"task": "memory capacity, 100 units", "model": name, "unit": "steps", **spread(values)})
    return rows


def mackey_glass_errors(seeds: int, penalty: float) -> list[float]:
    """Mean squared error over 500 steps of free run, 1,000 units, each network on a series of its own."""
    errors = []
    for seed in range(seeds):
        series = torch.tensor(np.tanh(mackey_glass(2501, seed=seed) - 1)).reshape(-1, 1, 1)
        cell = EchoStateCell(1, 1000, radius=1.25, leak=0.3, input_scale=0.5, bias_scale=0.5, seed=seed)
        model = EchoStateNetwork(cell, 1, penalty=penalty)
        model.fit(series[:2000], series[1:2001], washout=100)
        _, state = model(series[:2000])
        free = model.generate(500, series[2000], state).outputs
        errors.append(float((free - series[2001:2501]).square().mean()))
    return errors


def mackey_glass_task(args: Args) -> list[dict]:
    rows = []
    for penalty, note in ((1e-8, "standard settings"), (1e-10, "the same, ridge 1e-10")):
        values = mackey_glass_errors(args.seeds, penalty)
        rows.append({"task": "Mackey-Glass (tau 17, RK4, h 0.1) free run, MSE over 500 steps",
                     "model": f"1,000 units, {note}", "unit": "1", **spread(values)})  # fmt: skip
    return rows


def lorenz_times(seed: int, penalty: float, train: int = 4000, starts: int = 20, horizon: int = 800) -> list[float]:
    """Valid prediction times in Lyapunov times, 500 units, from many starts after the training data."""
    dt, warm = 0.025, 200
    gap = horizon + warm
    series = lorenz(train + starts * gap + 1, dt=dt, seed=seed)
    mean, std = series[:train].mean(0), series[:train].std(0)
    z = torch.tensor((series - mean) / std)
    cell = EchoStateCell(3, 500, radius=0.4, input_scale=0.2, bias_scale=0.5, seed=seed)
    model = EchoStateNetwork(cell, 3, features=("bias", "input", "state", "square"), penalty=penalty)
    model.fit(z[:train, None], z[1 : train + 1, None], washout=100)
    begins = [train + i * gap + warm for i in range(starts)]
    _, state = model(torch.stack([z[b - warm : b] for b in begins], 1))
    free = model.generate(horizon, torch.stack([z[b] for b in begins]), state).outputs
    steps = [valid_time(free[:, i].numpy(), z[b + 1 : b + 1 + horizon].numpy()) for i, b in enumerate(begins)]
    return [n * dt * LORENZ_EXPONENT for n in steps]


def lorenz_task(args: Args) -> list[dict]:
    rows = []
    for penalty in (1e-8, 1e-10):
        values = [v for seed in range(3) for v in lorenz_times(seed, penalty)]
        rows.append({"task": "Lorenz (DOP853, 1e-10; dt 0.025 s; 4,000 steps) valid time, 3 networks x 20 starts",
                     "model": f"500 units, squared states, ridge {penalty:g}", "unit": "Lyapunov times",
                     **spread(values)})  # fmt: skip
    return rows


PEER = """
import sys, time, numpy as np
from reservoirpy.nodes import Reservoir
units, connectivity, steps, number = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
x = np.random.default_rng(0).uniform(-1, 1, (steps, 1))
settings = dict(sr=0.9, lr=0.3, rc_connectivity=connectivity, dtype=np.float32)
nodes = [Reservoir(units, seed=s, **settings) for s in range(number)]
for node in nodes: node.run(x[:2])
begin, wall = time.process_time(), time.perf_counter()
for node in nodes: node.run(x)
print((time.process_time() - begin) / steps / number * 1e6, (time.perf_counter() - wall) / steps / number * 1e6)
"""


def batch(args: Args) -> list[dict]:
    """Microseconds of processor time per reservoir and step: 100 reservoirs of 500 units, in turn with the peer."""
    rows = []
    with torch.no_grad():
        for fan_in, name in ((50, "sparse, 10 % connected"), (None, "dense")):
            cells = [EchoStateCell(1, 500, radius=0.9, leak=0.3, fan_in=fan_in, seed=s).float() for s in range(100)]
            group, xs = ReservoirBatch(cells), torch.rand(300, 100, 1, dtype=torch.float32)
            run = partial(unroll, group, xs)
            ours, theirs = [], []
            for _ in range(5):
                ours.append(_time(run) / 300 / 100)
                peer = _peer(args.peer, ["500", str(1.0 if fan_in is None else 0.1), "300", "10"])
                theirs += [] if peer is None else [peer]
            rows.append({"task": "100 reservoirs of 500 units at once", "model": name, "unit": "us per step",
                         **spread(ours)})  # fmt: skip
            if theirs:
                rows.append({"task": "100 reservoirs of 500 units at once", "model": f"ReservoirPy one by one, {name}",
                             "unit": "us per step", **spread(theirs)})  # fmt: skip
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                rows[-1]["times_faster_here"] = round(ratio, 2)
    return rows


def large(args: Args) -> list[dict]:
    """A sparse reservoir of 10,000 units: building it, and a step."""
    begin = time.process_time()
    cell = EchoStateCell(1, 10_000, radius=0.9, leak=0.3, seed=0).float()
    built = time.process_time() - begin
    xs = torch.rand(200, 1, 1, dtype=torch.float32)
    with torch.no_grad():
        step = _time(partial(unroll, cell, xs)) / 200
    task = "sparse reservoir of 10,000 units"
    return [{"task": task, "model": "building", "unit": "s", "median": built},
            {"task": task, "model": "one step", "unit": "us", "median": step}]  # fmt: skip


def _time(run: Callable[[], object]) -> float:
    """Microseconds of processor time."""
    run()
    begin = time.process_time()
    run()
    return (time.process_time() - begin) * 1e6


def _peer(python: str, arguments: list[str]) -> float | None:
    """Microseconds of ReservoirPy per reservoir and step; None where it is not installed."""
    done = subprocess.run([python, "-c", PEER, *arguments], capture_output=True, text=True, check=False)
    if "No module named 'reservoirpy'" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"the comparison with ReservoirPy failed:\n{done.stderr}")
    return float(done.stdout.split()[0])


TASKS = {"memory": memory, "mackey_glass": mackey_glass_task, "lorenz": lorenz_task, "batch": batch, "large": large}


def main(args: Args) -> list[dict]:
    if unknown := set(args.only) - set(TASKS):
        raise ValueError(f"unknown figures {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    torch.set_num_threads(args.threads)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    path = args.out / "echo_states.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    try:
        rows = [{"figure": name, **row} for name in args.only for row in TASKS[name](args)]
    finally:
        torch.set_default_dtype(before)
    rows = [row for row in kept if row["figure"] not in args.only] + rows
    for row in rows:
        print(row)
    args.out.mkdir(parents=True, exist_ok=True)
    about = {"torch": torch.__version__, "threads": args.threads, "seeds": args.seeds}
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    (args.out / "echo_states.md").write_text(as_table(rows))
    return rows


def as_table(rows: list[dict]) -> str:
    lines = ["# Echo state networks", "", "`python benchmarks/echo_states.py`", "",
             "| task | model | median | quartiles | unit |", "|---|---|---|---|---|"]  # fmt: skip
    for r in rows:
        quartiles = f"{r['lower_quartile']:.3g} to {r['upper_quartile']:.3g}" if "lower_quartile" in r else ""
        faster = f" ({r['times_faster_here']:g} times slower)" if "times_faster_here" in r else ""
        lines.append(f"| {r['task']} | {r['model']} | {r['median']:.3g}{faster} | {quartiles} | {r['unit']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"echo_states: {error}")
