"""What one control step of 10 ms costs each pattern generator, on one thread.

    python benchmarks/cpg_cost.py

Prints CPU milliseconds per step by network and number of worlds. CPU time, not wall time, so that other work on the
machine hardly matters; the least of several repetitions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import tyro

from rnn.cell import Cell
from rnn.cpg import LeakyCell, PhaseCell, RateCell, drive_input


@dataclass
class Args:
    """Options of the benchmark."""

    worlds: tuple[int, ...] = (1, 256)
    """batch sizes"""
    steps: int = 100
    """steps per repetition"""
    repetitions: int = 5
    """repetitions; the fastest counts"""


@torch.inference_mode()
def cost(cell: Cell, worlds: int, steps: int, repetitions: int) -> float:
    """CPU milliseconds per step."""
    x, state = drive_input(cell, 2.0, batch=worlds), cell.initial_state(worlds)
    times = []
    for _ in range(repetitions + 1):
        start = time.process_time()
        for _ in range(steps):
            _, state = cell(x, state)
        times.append((time.process_time() - start) / steps * 1e3)
    return min(times[1:])


def main(args: Args) -> dict[tuple[str, int], float]:
    """Time all networks; returns milliseconds by name and number of worlds."""
    torch.set_num_threads(1)
    table = {}
    for name, make in (("phase", PhaseCell), ("leaky", LeakyCell), ("rate", RateCell)):
        for worlds in args.worlds:
            table[name, worlds] = cost(make().eval(), worlds, args.steps, args.repetitions)
            print(f"{name:6s} {worlds:5d} worlds  {table[name, worlds]:7.3f} ms per control step", flush=True)
    return table


if __name__ == "__main__":
    main(tyro.cli(Args))
