"""Does every cell, exported, give torch's numbers?

    python -m benchmarks.export_parity

Each cell of `rnn.models`, the pattern generators, an oscillator inside an actor, a stack and a whole recurrent policy
run 200 steps in torch, in the numpy runner and in onnxruntime, from the same state over the same inputs. Writes
`benchmarks/results/export_parity.json` and `.md` after every cell: the largest differences, and how far torch itself,
in single precision, is from double precision; two honest runs in single precision may differ as much.
About 4 CPU-seconds a cell with ONNX, most of it torch's exporter; below 1 without.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium import spaces

from agents.cpg_policy import CpgActor
from agents.export import CellStep, PolicyStep, export_numpy, export_onnx, step_inputs
from agents.numpy_runner import NumpyRunner
from agents.policies import RecurrentPolicy
from agents.runs import write_atomically
from rnn.cpg import LeakyCell, PhaseCell, RateCell, drive_input
from rnn.models import CELLS, make_cell
from rnn.stack import Stack

Step = CellStep | PolicyStep
BOUND = 1e-5


def lively(policy: RecurrentPolicy) -> RecurrentPolicy:
    """A policy whose actions fill their box, which those of a fresh one do not."""
    torch.nn.init.normal_(policy.head.linear.weight, std=0.5)
    policy.scale.update(torch.randn(100, policy.observation_size))
    return policy


OTHERS: dict[str, Callable[[], Step]] = {
    "phase oscillators": lambda: CellStep(PhaseCell()),
    "leaky neurons": lambda: CellStep(LeakyCell()),
    "rate neurons": lambda: CellStep(RateCell()),
    "oscillators in an actor": lambda: CellStep(CpgActor(3, PhaseCell(segments=2, limbs=()), feedback=0.1)),
    "GRU under LSTM": lambda: CellStep(Stack([make_cell("gru", 3, 16), make_cell("lstm", 16, 16)])),
    "recurrent policy": lambda: PolicyStep(lively(RecurrentPolicy(3, spaces.Box(-2, 2, (2,)), previous_action=True))),
}


@dataclass
class Args:
    names: list[str] = field(default_factory=lambda: [*CELLS, *OTHERS])
    """What is exported."""
    steps: int = 200
    """Steps of the comparison."""
    hidden: int = 64
    """Units of a cell."""
    onnx: bool = True
    """ONNX too, where its packages are installed."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def build(name: str, hidden: int) -> Step:
    """A step by name, its weights drawn from one seed."""
    torch.manual_seed(0)
    return (OTHERS[name]() if name in OTHERS else CellStep(make_cell(name, 3, hidden))).eval()


def inputs(step: Step, steps: int) -> torch.Tensor:
    """Normal numbers of deviation 0.5, or for a pattern generator a drive that rises through walking to swimming."""
    cell = getattr(step, "cell", None)
    if isinstance(cell, PhaseCell | LeakyCell | RateCell):
        return torch.cat([drive_input(cell, float(d)) for d in torch.linspace(1.5, 4.5, steps)])
    return 0.5 * torch.randn(steps, step.inputs, generator=torch.Generator().manual_seed(1))


def course(step: Step, xs: torch.Tensor) -> np.ndarray:
    """Outputs over time in torch, the state carried by hand."""
    _, *state = step_inputs(step)
    outputs = []
    with torch.no_grad():
        for x in xs:
            y, *state = step(x[None], *(part.to(xs) if part.is_floating_point() else part for part in state))
            outputs.append(y[0].numpy())
    return np.array(outputs)


def in_onnx(step: Step, xs: torch.Tensor, folder: Path) -> np.ndarray:
    """Outputs over time in onnxruntime."""
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about its own parts
        session = onnxruntime.InferenceSession(str(export_onnx(step, folder / "step.onnx")))
    names, outputs = [i.name for i in session.get_inputs()], []
    state = [part.numpy() for part in step_inputs(step)[1:]]
    for x in xs:
        y, *state = session.run(None, dict(zip(names, [x[None].numpy(), *state], strict=True)))
        outputs.append(y[0])
    return np.array(outputs)


def parity(name: str, args: Args) -> dict[str, Any]:
    """Largest differences of one step's exports from torch, and torch's own from double precision."""
    step = build(name, args.hidden)
    xs = inputs(step, args.steps)
    truth = course(step, xs)
    row: dict[str, Any] = {"name": name, "steps": args.steps, "largest_output": float(np.abs(truth).max())}
    row["rounding"] = float(np.abs(truth - course(copy.deepcopy(step).double(), xs.double())).max())
    with tempfile.TemporaryDirectory() as folder:
        runner = NumpyRunner(export_numpy(step, Path(folder) / "numpy"))
        row["numpy"] = float(np.abs(np.array([runner(x.numpy()) for x in xs]) - truth).max())
        if args.onnx:
            row["onnx"] = float(np.abs(in_onnx(step, xs, Path(folder)) - truth).max())
            if row["onnx"] > BOUND:  # rounding, or a fault? in double precision rounding is nothing
                from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Missing

                truth = course(step.double(), xs.double())
                try:
                    row["onnx_double"] = float(np.abs(in_onnx(step, xs.double(), Path(folder)) - truth).max())
                except Missing:  # onnxruntime has no erf in double precision, which GELU needs
                    row["onnx_double"] = None
    return row


def write(rows: list[dict[str, Any]], args: Args) -> None:
    """Both tables."""
    write_atomically(args.out / "export_parity.json", (json.dumps({"rows": rows}, indent=1) + "\n").encode())
    lines = [
        "# Exported cells beside torch",
        "",
        f"Largest difference of outputs over {args.steps} steps, {args.hidden} units; the bound is {BOUND:g}. Rounding",
        "is the difference of torch itself between single and double precision; relative, the larger difference over",
        "the largest output where that is above 1.",
        "",
        "| step | ONNX | ONNX in double precision | numpy alone | rounding | largest output | relative |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        onnx, largest = f"{row['onnx']:.1e}" if "onnx" in row else "not run", row["largest_output"]
        relative = max(row["numpy"], row.get("onnx", 0.0)) / max(1.0, largest)
        double = row.get("onnx_double", "")
        double = "cannot run" if double is None else f"{double:.1e}" if double else ""
        lines.append(
            f"| {row['name']} | {onnx} | {double} | {row['numpy']:.1e} | {row['rounding']:.1e} | {largest:.2g} "
            f"| {relative:.1e} |"
        )
    write_atomically(args.out / "export_parity.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    if unknown := set(args.names) - {*CELLS, *OTHERS}:
        raise ValueError(f"unknown {sorted(unknown)}; choose among {', '.join([*CELLS, *OTHERS])}")
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if args.onnx and missing:
        raise ValueError(f"{', '.join(missing)} not installed: pip install 'salamander-lab[export]', or --no-onnx")
    path = args.out / "export_parity.json"
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for name in args.names:
        rows[name] = parity(name, args)
        write([rows[known] for known in (*CELLS, *OTHERS) if known in rows], args)
        print(rows[name], flush=True)
    return [rows[name] for name in args.names]


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"export_parity: {error}")
