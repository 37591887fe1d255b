"""What noisy, late sensors cost oscillators that listen to them, and one that hardly does: Gymnasium's Swimmer-v5.

    python -m benchmarks.swimmer --seeds 90 91 92 93 94
    python -m benchmarks.swimmer --seeds 60 61 62 63 64 --conditions undisturbed --controllers steered
    python -m benchmarks.swimmer --seeds 50 51 52 53 54 55 56 57 --conditions undisturbed --controllers steered \
        --starts random

The first evolves controllers with sensor noise of 0.1 and 5 steps (0.2 s) of delay, and judges each on unseen episodes
with them and without; the others, without them, from the stated start and from random ones. Writes
`benchmarks/results/swimmer.json` and `.md` after every run; runs already there are not repeated. 15 to 40 CPU-seconds
per run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import tempfile
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import evolve_swimmer

CONDITIONS = {"disturbed": {"noise": 0.1, "delay": 5}, "undisturbed": {"noise": 0.0, "delay": 0}}


@dataclass
class Args:
    seeds: list[int] = field(default_factory=lambda: [20, 21, 22, 23, 24])
    """One evolution each."""
    conditions: list[str] = field(default_factory=lambda: ["disturbed"])
    """While evolving: "disturbed" (noise and delay), "undisturbed"."""
    controllers: list[str] = field(default_factory=lambda: ["guarded"])
    """Of `scripts/evolve_swimmer.py`."""
    starts: list[str] = field(default_factory=lambda: ["stated"])
    """"stated" (1 Hz, 0.8 rad, lag 1.5 rad), "random"."""
    short: int = 40
    """Generations on episodes of 400 steps."""
    long: int = 20
    """Generations on whole episodes."""
    refine: int = 40
    """Generations on whole episodes with small steps."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "swimmer.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# Swimmer-v5 with noisy, late sensors",
        "",
        "Return of unseen episodes; mean of seeds, spread, each (without/with). The stated start is 1 Hz, 0.8 rad, lag",
        "1.5 rad. `guarded` is an oscillator with feedback where that proved itself; the row above it is that",
        "oscillator before feedback was looked for.",
        "",
        "| controller | start | evolved | generations | seeds | without | with noise and delay | each | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    names = "controller", "start", "condition", "generations"
    for key in dict.fromkeys(tuple(run[name] for name in names) for run in runs):
        some = [run for run in runs if tuple(run[name] for name in names) == key]
        cpu = np.mean([run["cpu_seconds"] for run in some])
        if key[0] == "guarded":
            before = scores(some, "oscillator", "oscillator_noise_and_delay")
            lines.append(f"| its oscillator | {key[1]} | {key[2]} | | {len(some)} | {before} | |")
        after = scores(some, "mean", "noise_and_delay")
        lines.append(f"| {key[0]} | {key[1]} | {key[2]} | {key[3]} | {len(some)} | {after} | {cpu:.0f} |")
    write_atomically(out / "swimmer.md", ("\n".join(lines) + "\n").encode())


def scores(runs: list[dict[str, Any]], without: str, disturbed: str) -> str:
    """Three columns: mean and spread without noise and delay, with them, and each run."""
    a, b = (np.array([run[name] for run in runs]) for name in (without, disturbed))
    each = ", ".join(f"{x:.0f}/{y:.0f}" for x, y in zip(a, b, strict=True))
    return f"{a.mean():.1f} +- {a.std():.1f} | {b.mean():.1f} +- {b.std():.1f} | {each}"


def main(args: Args) -> list[dict[str, Any]]:
    path = args.out / "swimmer.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    plan = product(args.conditions, args.starts, args.seeds, args.controllers)
    for condition, start, seed, controller in plan:
        about = {"controller": controller, "condition": condition, "start": start, "seed": seed}
        settings = evolve_swimmer.Args(
            seeds=[seed],
            controller=controller,
            start=start,
            short=args.short,
            long=args.long,
            refine=args.refine,
            **CONDITIONS[condition],
        )
        generations = args.short + args.long + args.refine
        about["generations"] = generations + (settings.feedback if controller == "guarded" else 0)
        if any({**run, **about} == run for run in runs):
            continue
        with tempfile.TemporaryDirectory() as folder:
            runs.append({**evolve_swimmer.main(replace(settings, out=Path(folder)))[0], **about})
        write(runs, args.out)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
