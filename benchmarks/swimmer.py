"""What noisy, late sensors cost oscillators that listen to them, and one that hardly does: Gymnasium's Swimmer-v5.

    python -m benchmarks.swimmer --seeds 10 11 12 13 14

Evolves both with sensor noise of 0.1 and 5 steps (0.2 s) of delay, and judges each on unseen episodes with them and
without. Writes `benchmarks/results/swimmer.json` and `.md` after every run; runs already there are not repeated. About
15 CPU-seconds per run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.runs import write_atomically
from scripts import evolve_swimmer

CONDITIONS = {"disturbed": {"noise": 0.1, "delay": 5}, "undisturbed": {"noise": 0.0, "delay": 0}}


@dataclass
class Args:
    seeds: list[int] = field(default_factory=lambda: [10, 11, 12, 13, 14])
    """One evolution each."""
    conditions: list[str] = field(default_factory=lambda: ["disturbed"])
    """While evolving: "disturbed" (noise and delay), "undisturbed"."""
    short: int = 12
    """Generations on episodes of 400 steps."""
    long: int = 8
    """Generations on whole episodes."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def write(runs: list[dict[str, Any]], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "swimmer.json", (json.dumps({"runs": runs}, indent=1) + "\n").encode())
    lines = [
        "# Swimmer-v5 with noisy, late sensors",
        "",
        "Return of unseen episodes from the stated start (1 Hz, 0.8 rad, lag 1.5 rad); mean of seeds, spread, each.",
        "",
        "| controller | evolved | generations | without | with noise and delay | each | CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((run["controller"], run["condition"], run["generations"]) for run in runs):
        some = [run for run in runs if (run["controller"], run["condition"], run["generations"]) == key]
        plain, disturbed = (np.array([run[name] for run in some]) for name in ("mean", "noise_and_delay"))
        each = ", ".join(f"{a:.0f}/{b:.0f}" for a, b in zip(plain, disturbed, strict=True))
        cpu = np.mean([run["cpu_seconds"] for run in some])
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]:.0f} | {plain.mean():.1f} +- {plain.std():.1f} "
            f"| {disturbed.mean():.1f} +- {disturbed.std():.1f} | {each} | {cpu:.0f} |"
        )
    write_atomically(out / "swimmer.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> list[dict[str, Any]]:
    path = args.out / "swimmer.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for condition in args.conditions:
        for seed in args.seeds:
            for controller in evolve_swimmer.GAITS:
                about = {"controller": controller, "condition": condition, "seed": seed}
                generations = args.short + args.long
                if any({**run, **about, "generations": generations} == run for run in runs):
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    settings = evolve_swimmer.Args(
                        out=Path(folder),
                        seeds=[seed],
                        controller=controller,
                        short=args.short,
                        long=args.long,
                        **CONDITIONS[condition],
                    )
                    runs.append({**evolve_swimmer.main(settings)[0], **about})
                write(runs, args.out)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
