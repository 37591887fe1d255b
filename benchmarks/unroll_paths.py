"""How long does a training step through time take on each path of `unroll`, with and without resets and clamps?

    python benchmarks/unroll_paths.py            # two minutes on one core; writes
    benchmarks/results/unroll_paths.{json,md}

A training step is forward and backward through T steps. Every figure is a ratio to `torch.nn.LSTM` (or GRU, or RNN)
without resets, run in turn with it: processor time, median over pairs. Below 1 is faster than torch's module.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from rnn import Clamp, unroll
from rnn.cell import Cell
from rnn.models import make_cell

RESULTS = Path(__file__).parent / "results"
PEERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}


@dataclass(frozen=True)
class Args:
    pairs: int = 9
    """timed pairs per figure"""
    threads: int = 1
    """threads of torch"""
    out: Path = RESULTS
    """folder for the results"""


def training_step(cell: Cell, xs: torch.Tensor, **settings):
    """One forward and backward pass, as a function to be timed."""

    def step() -> None:
        cell.zero_grad()
        unroll(cell, xs, **settings).outputs.square().mean().backward()

    return step


def torch_step(module: torch.nn.Module, xs: torch.Tensor):
    def step() -> None:
        module.zero_grad()
        module(xs)[0].square().mean().backward()

    return step


def ratio(step, reference, pairs: int) -> float:
    """Median of processor time of `step` over that of `reference`, run in turn."""
    step(), reference()
    quotients = []
    for _ in range(pairs):
        begin = time.process_time()
        reference()
        middle = time.process_time()
        step()
        quotients.append((time.process_time() - middle) / (middle - begin))
    return statistics.median(quotients)


def main(args: Args) -> list[dict]:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = []
    for B, H, T, I in ((64, 128, 256, 64), (16, 32, 256, 8)):
        xs = torch.randn(T, B, I)
        resets = torch.rand(T, B) < 1 / 100
        clamp = (Clamp("h[3]", 0.5, steps=slice(40, 200)),)
        for name, peer in PEERS.items():
            reference = torch_step(peer(I, H), xs)
            for path in ("loop", "fused", "auto"):
                for case, settings in (
                    ("plain", {}),
                    ("resets", {"resets": resets}),
                    ("clamp", {"edits": clamp}),
                ):
                    step = training_step(make_cell(name, I, H), xs, path=path, **settings)
                    value = ratio(step, reference, args.pairs)
                    rows.append(dict(cell=name, B=B, H=H, T=T, path=path, case=case, ratio=round(value, 3)))
                    print(rows[-1], flush=True)
        reference = torch_step(torch.nn.LSTM(I, H), xs)
        for name in ("lru", "linoss"):
            for path in ("loop", "scan"):
                for case, settings in (("plain", {}), ("resets", {"resets": resets})):
                    value = ratio(
                        training_step(make_cell(name, I, H), xs, path=path, **settings), reference, args.pairs
                    )
                    rows.append(dict(cell=name, B=B, H=H, T=T, path=path, case=case, ratio=round(value, 3)))
                    print(rows[-1], flush=True)
    write(rows, args)
    return rows


def write(rows: list[dict], args: Args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    about = {"torch": torch.__version__, "threads": args.threads, "pairs": args.pairs}
    (args.out / "unroll_paths.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    lines = [
        "# Time of a training step through `unroll`, relative to torch's module without resets",
        "",
        f"`python benchmarks/unroll_paths.py`, torch {torch.__version__}, {args.threads} thread(s), processor time, "
        f"median of {args.pairs} pairs. LSTM, GRU and Elman against `nn.LSTM`, `nn.GRU`, `nn.RNN`; LRU and LinOSS "
        "against `nn.LSTM`. Resets: one per row and 100 steps. Clamp: one unit of h for 160 of 256 steps.",
        "",
        "| cell | B | H | T | path | plain | resets | clamp |",
        "|---|---|---|---|---|---|---|---|",
    ]
    table: dict[tuple, dict[str, float]] = {}
    for r in rows:
        table.setdefault((r["cell"], r["B"], r["H"], r["T"], r["path"]), {})[r["case"]] = r["ratio"]
    for key, cases in table.items():
        cells = [f"{cases[c]:.2f}" if c in cases else "" for c in ("plain", "resets", "clamp")]
        lines.append("| " + " | ".join([*map(str, key), *cells]) + " |")
    (args.out / "unroll_paths.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
