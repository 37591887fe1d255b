"""How many transitions a second does a latent world model train on, eagerly and as a captured graph?

    python -m benchmarks.world_model_gpu --batch 16 --length 64

Writes `benchmarks/results/world_model_gpu.json`. On a CUDA device the whole gradient step is captured in a CUDA graph
and replayed; without one the eager step is timed on the CPU, and the file says so. A minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.runs import write_atomically
from rnn.rssm import RSSM


@dataclass
class Args:
    batch: int = 16
    """Sequences, B."""
    length: int = 64
    """Steps, T."""
    hidden: int = 128
    """Width of the model."""
    obs: int = 70
    """Readings, D."""
    actions: int = 48
    """Actions, A."""
    steps: int = 5
    """Gradient steps that are timed on a CPU; a GPU takes forty times as many."""
    device: str = "auto"
    """"cpu", "cuda", or "auto"."""
    out: Path = Path("benchmarks/results/world_model_gpu.json")
    """The figures."""


def main(args: Args) -> dict[str, Any]:
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    model = RSSM(args.obs, args.actions, hidden=args.hidden).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, capturable=device == "cuda")
    T, B = args.length, args.batch
    obs, actions = torch.randn(T, B, args.obs, device=device), torch.randn(T, B, args.actions, device=device)
    reward, going = torch.randn(T, B, device=device), torch.ones(T, B, device=device)

    def step() -> None:
        parts = model.loss(obs, actions, reward, going)
        optimiser.zero_grad(set_to_none=True)
        (parts["obs"] + parts["reward"] + parts["continues"] + parts["kl"]).backward()
        optimiser.step()

    count = args.steps if device == "cpu" else 40 * args.steps
    figures = {"eager": rate(step, count, T * B, device)}
    if device == "cuda":
        figures["cuda_graph"] = rate(captured(step), count, T * B, device)
    where = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, one thread"
    result = {
        "device": where,
        "note": "" if device == "cuda" else "no CUDA device at hand: the eager step on a CPU, without graph capture",
        "batch": B,
        "length": T,
        "hidden": args.hidden,
        "parameters": sum(p.numel() for p in model.parameters()),
        "transitions_per_second": {name: round(value) for name, value in figures.items()},
        "torch": torch.__version__,
    }
    write_atomically(args.out, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result, indent=1))
    return result


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def rate(step: Callable[[], None], count: int, transitions: int, device: str) -> float:
    """Transitions per second: of wall time on a GPU, of CPU time on a CPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    for _ in range(2):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    began = clock()
    for _ in range(count):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return count * transitions / (clock() - began)


if __name__ == "__main__":
    main(tyro.cli(Args))
