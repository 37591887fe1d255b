"""Does every cell, exported, give torch's numbers?

    python -m benchmarks.export_parity

Each cell of `rnn.models`, the pattern generators, an oscillator inside an actor, a stack and a whole recurrent policy
run 200 steps in torch, in the numpy runner and in onnxruntime, from the same state over the same inputs. Writes
`benchmarks/results/export_parity.json` and `.md` after every cell: the largest differences of what
`agents.export_check.export_checked` writes, of both precisions, and how far torch itself in single precision is from
double. 2 to 4 CPU-seconds a cell with ONNX, most of it torch's exporter; below 1 without. Ends with an error if a file
misses the bound.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium import spaces

from agents.cpg_policy import CpgActor
from agents.export import CellStep, DoubleStep, PolicyStep
from agents.export_check import BOUND, course, export_checked
from agents.policies import RecurrentPolicy
from agents.runs import write_atomically
from agents.spinal_actor import SpinalActor
from rnn.cpg import LeakyCell, PhaseCell, RateCell, drive_input
from rnn.models import CELLS, make_cell
from rnn.stack import Stack

Step = CellStep | PolicyStep


def lively(policy: RecurrentPolicy) -> RecurrentPolicy:
    """A policy whose actions fill their box, which those of a fresh one do not."""
    torch.nn.init.normal_(policy.head.linear.weight, std=0.5)
    policy.scale.update(torch.randn(100, policy.observation_size))
    return policy


OTHERS: dict[str, Callable[[], Step]] = {
    "phase oscillators": lambda: CellStep(PhaseCell()),
    "leaky neurons": lambda: CellStep(LeakyCell()),
    "rate neurons": lambda: CellStep(RateCell()),
    "generator with its muscles": lambda: CellStep(SpinalActor(3, drive=2.0)),
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


def parity(name: str, args: Args) -> dict[str, Any]:
    """Largest differences of one step's exports from torch, and torch's own from double precision."""
    step = build(name, args.hidden)
    xs = inputs(step, args.steps)
    truth = course(step, xs)
    row: dict[str, Any] = {"name": name, "steps": args.steps, "largest_output": float(np.abs(truth).max())}
    row["rounding"] = float(np.abs(truth - course(DoubleStep(step), xs)).max())
    with tempfile.TemporaryDirectory() as folder:
        for form, path in {"onnx": "step.onnx", "numpy": "numpy"}.items():
            if form == "numpy" or args.onnx:
                found = export_checked(step, Path(folder) / path, form, xs=xs)
                other = "double" if found.precision == "single" else "single"
                beside = export_checked(step, Path(folder) / path, form, xs=xs, precision=other)
                row[form] = found._asdict()
                row |= {f"{form}_{one.precision}": one.difference for one in (found, beside)}
    return row


def write(rows: list[dict[str, Any]], args: Args) -> None:
    """Both tables."""
    write_atomically(args.out / "export_parity.json", (json.dumps({"rows": rows}, indent=1) + "\n").encode())
    met = [form for form in ("onnx", "numpy") for row in rows if form in row and row[form]["holds"]]
    lines = [
        "# Exported cells beside torch",
        "",
        f"Largest difference of outputs from torch in the precision of the file: {args.steps} steps, {args.hidden}",
        f"units. Within the bound of {BOUND:g} are {met.count('onnx')} ONNX files and {met.count('numpy')} for numpy,",
        f"of {len(rows)} each, as `agents.export_check` writes them: in single precision, or, where that misses the",
        "bound, in double inside. Outputs are single in both, so that 0 means equal to their last digit. Rounding is",
        "the difference of torch itself between the two precisions.",
        "",
        "| step | ONNX in single | in double | written | numpy in single | in double | written | rounding "
        "| largest output |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["name"]]
        for form in ("onnx", "numpy"):
            found = [f"{row[f'{form}_{p}']:.1e}".replace("0.0e+00", "0") for p in ("single", "double") if form in row]
            cells += [*found, row[form]["precision"]] if found else ["not run"] * 3
        lines.append(f"| {' | '.join(cells)} | {row['rounding']:.1e} | {row['largest_output']:.2g} |")
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
    missed = [name for name in args.names for form in ("onnx", "numpy") if not rows[name].get(form, {}).get("holds", 1)]
    if missed:
        raise ValueError(f"further than {BOUND:g} from torch in both precisions: {', '.join(missed)}")
    return [rows[name] for name in args.names]


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"export_parity: {error}")
