"""How long does a training step through time take on a GPU: loop, fused kernel, scan, captured graph?

    python benchmarks/unroll_gpu.py                                   # a few minutes; writes
    benchmarks/results/unroll_gpu.{json,md}
    python benchmarks/unroll_gpu.py --device cpu --steps 64 --repeats 1 --out /tmp/smoke      # does it run?

Question: which way through `unroll` is fastest for which length, forward alone and with the backward pass, with and
without a clamped unit? "graph" is the plain loop captured in a CUDA graph and replayed, so that no kernel is
launched from Python; every figure is the median time in milliseconds after two runs to warm up. Without a GPU nothing
is measured (unless asked for with `--device cpu`) and the command ends well.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from rnn import Clamp, unroll
from rnn.cell import Cell
from rnn.models import make_cell

WAYS = {"lstm": ("loop", "fused", "graph"), "gru": ("loop", "fused", "graph"), "lru": ("loop", "scan", "graph")}
CLAMPED = {"lstm": "h[3]", "gru": "h[3]", "lru": "input[3]"}  # a scan cannot hold a state, but its inputs
WARM_UP = 2  # runs before any is timed


@dataclass(frozen=True)
class Args:
    """Sizes of the measurement."""

    device: str = "cuda"
    """cuda, or cpu for a trial"""
    cells: tuple[str, ...] = ("lstm", "gru", "lru")
    """cells, some of lstm, gru, lru"""
    steps: tuple[int, ...] = (64, 256, 1024, 4096)
    """lengths of sequences, T"""
    batch: int = 64
    """rows, B"""
    inputs: int = 64
    """inputs, I"""
    hidden: int = 128
    """units, H"""
    repeats: int = 5
    """timed runs of which the median is taken"""
    out: Path = Path(__file__).parent / "results"
    """folder for the results"""


def runner(cell: Cell, xs: Tensor, way: str, clamped: bool, backward: bool) -> Callable[[], None]:
    """One run through a sequence, to be timed; a graph is captured here, and replayed when called.

    Raises:
        ValueError: a graph on a device that has none.
    """
    edits = (Clamp(CLAMPED[type(cell).__name__.removesuffix("Cell").lower()], 0.5),) if clamped else ()
    path = "loop" if way == "graph" else way

    def once() -> None:
        with torch.set_grad_enabled(backward):
            loss = unroll(cell, xs, edits=edits, path=path).outputs.square().mean()
        if backward:
            loss.backward()

    if way != "graph":
        return once
    if xs.device.type != "cuda":
        raise ValueError("only a GPU captures graphs; leave 'graph' out on a CPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            once()
    torch.cuda.current_stream().wait_stream(side)
    cell.zero_grad(set_to_none=False)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay


def milliseconds(run: Callable[[], None], repeats: int, device: str) -> float:
    """Median time of a run, after the device has finished it."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(repeats):
        wait()
        begin = time.perf_counter()
        run()
        wait()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def main(args: Args) -> list[dict[str, object]]:
    """Measure every way, and write the tables as they grow; [] without a GPU."""
    if args.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing was measured and nothing written (try --device cpu --steps 64)")
        return []
    torch.manual_seed(0)
    rows: list[dict[str, object]] = []
    for name in args.cells:
        if name not in WAYS:
            raise ValueError(f"unknown cell {name!r}; the cells are {', '.join(WAYS)}")
        ways = [way for way in WAYS[name] if way != "graph" or args.device == "cuda"]
        for T, way, clamped, backward in (
            (T, way, clamped, backward)
            for T in args.steps
            for way in ways
            for clamped in (False, True)
            for backward in (False, True)
        ):
            cell = make_cell(name, args.inputs, args.hidden).to(args.device)
            xs = torch.randn(T, args.batch, args.inputs, device=args.device)
            row: dict[str, object] = {"cell": name, "T": T, "way": way, "clamp": clamped, "backward": backward}
            try:
                run = runner(cell, xs, way, clamped, backward)
                row["ms"] = round(milliseconds(run, args.repeats, args.device), 3)
            except RuntimeError as error:  # out of memory, or an operation that no graph can hold: told in the table
                row["failed"] = str(error).splitlines()[0]
                warnings.warn(f"{row}", stacklevel=1)
            rows.append(row)
            print(row, flush=True)
            write(rows, args)
    return rows


def write(rows: list[dict[str, object]], args: Args) -> None:
    """JSON and a table with one line per cell, length and way."""
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    about = {
        "device": device, "torch": torch.__version__, "B": args.batch, "I": args.inputs, "H": args.hidden,
        "repeats": args.repeats,
    }  # fmt: skip
    (args.out / "unroll_gpu.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    lines = [
        "# Time of a run through `unroll`, in milliseconds", "",
        f"`python benchmarks/unroll_gpu.py --device {args.device}`, {device}, torch {torch.__version__}, B = "
        f"{args.batch}, I = {args.inputs}, H = {args.hidden}, median of {args.repeats}.", "",
        "| cell | T | way | forward | forward, clamp | and backward | and backward, clamp |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    found = {(r["cell"], r["T"], r["way"], r["clamp"], r["backward"]): r for r in rows}
    for key in dict.fromkeys((r["cell"], r["T"], r["way"]) for r in rows):
        cases = [found.get((*key, clamp, backward)) for backward in (False, True) for clamp in (False, True)]
        shown = ["" if case is None else f"{case['ms']:.2f}" if "ms" in case else "failed" for case in cases]
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(shown)} |")
    (args.out / "unroll_gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
