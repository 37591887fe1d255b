"""What do the Q learners reach, after how many steps and CPU-seconds? Every figure of the Q family in one command.

    python benchmarks/q_family.py                          # everything: hours
    python benchmarks/q_family.py --only table1 cartpole   # some sections, merged into the stored results

Each section is a command of `scripts/nfq_tables.py` or `scripts/train_q.py` (one process, one thread); its run folder
stands under `--work`, is gone on with when interrupted, and is read when complete. Written:
`benchmarks/results/q_family.json` and `.md`. CPU-seconds are of learning alone (evaluations are not counted).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_Q = ["scripts/train_q.py", "--seeds", "0:5"]
_HIDDEN = [*_Q, "--hide", "velocity"]
_SLOW = ["--evaluate-every", "3000"]

# section: (heading, command)
SECTIONS: dict[str, tuple[str, list[str]]] = {
    "table1": (
        "NFQ table 1: pole from random data, 50 runs, success: all of 200 test episodes last 300 s",
        "scripts/nfq_tables.py --table 1 --runs 50 --tests 200".split(),
    ),
    "table2": (
        "NFQ table 2: mountain car, growing batch, 6 runs (two layers of 15 units; the paper has 5)",
        "scripts/nfq_tables.py --table 2 --runs 6 --max-episodes 100 --tests 500 --gamma 0.98 --hints 100".split()
        + ["--hidden", "15", "15"],
    ),
    "table2_published": (
        "NFQ table 2 with the published network (5, 5), without hints, 6 runs of at most 100 episodes",
        "scripts/nfq_tables.py --table 2 --runs 6 --max-episodes 100 --gamma 1.0 --hints 0".split(),
    ),
    "table3": (
        "NFQ table 3: cart-pole regulator, growing batch",
        "scripts/nfq_tables.py --table 3 --runs 5 --max-episodes 300 --hidden 15 15".split(),
    ),
    "cartpole": ("CartPole-v1, velocities hidden, recurrent DQN, 24,000 steps", [*_HIDDEN, "--steps", "24000", *_SLOW]),
    "cartpole_controls": (
        "The same beside its controls",
        [*_HIDDEN, "--steps", "24000", "--controls", "--evaluate-every", "8000"],
    ),
    "mountain_car_fitted": (
        "MountainCar-v0, fitted Q (NFQ, two layers of 15 units, hint to goal)",
        [*_Q, "--env", "MountainCar-v0", "--agent", "fitted_q", "--worlds", "4", "--steps", "6400"]
        + ["--evaluate-every", "400"],
    ),
    "cartpole_fitted": (
        "CartPole-v1, velocities hidden, recurrent fitted Q",
        [*_HIDDEN, "--agent", "recurrent_fitted_q", "--steps", "11200", "--evaluate-every", "1600"],
    ),
    "pendulum": (
        "Pendulum-v1 with 5 torques, velocity hidden, recurrent DQN",
        [*_HIDDEN, "--env", "Pendulum-v1", "--steps", "60000", "--evaluate-every", "6000"],
    ),
    "oscillator": (
        "oscillator/Damped-v0 with 5 forces, velocity hidden, with controls",
        [*_HIDDEN, "--env", "oscillator/Damped-v0", "--steps", "30000", "--controls", "--seeds", "0:5"],
    ),
    "acrobot": ("Acrobot-v1, velocities hidden, with controls", [*_HIDDEN, "--env", "Acrobot-v1", "--controls"]),
    "mountain_car": (
        "MountainCar-v0, velocity hidden, with controls",
        [*_HIDDEN, "--env", "MountainCar-v0", "--steps", "100000", "--controls"],
    ),
}


@dataclass(frozen=True)
class Args:
    """Benchmark of the Q family; see the top of this file."""

    only: tuple[str, ...] = ()
    """Sections to run; all by default."""
    work: Path = Path("runs/q_family")
    """Where the run folders stand."""


def main(args: Args) -> dict[str, Any]:
    """Run sections, merge them into the stored results, write the table."""
    unknown = set(args.only) - set(SECTIONS)
    if unknown:
        raise ValueError(f"unknown sections {sorted(unknown)}; the sections are {', '.join(SECTIONS)}")
    path = RESULTS / "q_family.json"
    stored: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for name in args.only or SECTIONS:
        stored[name] = section(name, args.work / name)
        stored = {key: stored[key] for key in SECTIONS if key in stored}
        path.write_text(json.dumps(stored, indent=1) + "\n")
        (RESULTS / "q_family.md").write_text(report(stored))
    print(report(stored))
    return stored


def section(name: str, folder: Path) -> dict[str, Any]:
    """Run one section unless its folder is complete, and read what it measured."""
    heading, command = SECTIONS[name]
    table = command[2] if command[0].endswith("nfq_tables.py") else None
    file = folder / (f"table{table}.json" if table else "results.json")
    if not file.is_file():
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *command, "--out", str(folder)], cwd=ROOT, env=env, check=True)
    data = json.loads(file.read_text())
    return {
        "heading": heading,
        "command": "python " + " ".join(command),
        "measured": time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime)),
        "machine": platform.machine(),
        **({"table": data} if table else data),
    }


def report(stored: dict[str, Any]) -> str:
    """The results as a page."""
    lines = ["# Q family", "", "Written by `python benchmarks/q_family.py`. CPU-seconds are per seed, one thread.", ""]
    for part in stored.values():
        lines += [f"## {part['heading']}", "", f"`{part['command']}`", ""]
        lines += nfq_rows(part["table"]) if "table" in part else q_rows(part)
        lines.append("")
    return "\n".join(lines)


def nfq_rows(data: dict[str, Any]) -> list[str]:
    if "rows" in data:
        head = ["| random episodes | transitions | last iterate | chosen iterate | paper |", "|---|---|---|---|---|"]
        paper = {str(k): v for k, v in data["paper"]["success_percent"].items()}
        body = [
            f"| {n} | {row['transitions']:.0f} | {row['last']} of {data['runs']} | {row['chosen']} of {data['runs']} "
            f"| {paper.get(str(n), '')} % |"
            for n, row in data["rows"].items()
        ]
        note = f"A random episode lasts {data['steps_per_random_episode']:.1f} steps (paper: about 6). "
        return [*head, *body, "", note + f"{data['cpu_seconds']} CPU-s for all."]
    paper = data["paper"]
    target = paper.get("steps_to_goal", paper.get("cost"))
    episodes = [f[0] for f in data["first_success"] if f]
    names = ("mean_episodes", "mean_cycles", "best_policy", "mean_best_policy")
    rounded = {name: data[name] and round(data[name], 1) for name in names}
    return [
        f"Succeeded: {data['succeeded']} of {data['runs']} runs; of these, episodes to the first success: mean "
        f"{rounded['mean_episodes']} ({min(episodes, default=0)} to {max(episodes, default=0)}), "
        f"paper {paper['episodes']}; cycles {rounded['mean_cycles']}, paper {paper['cycles']}. Best policy "
        f"{rounded['best_policy']}, mean of the runs' best {rounded['mean_best_policy']}, paper {target}. "
        f"{data['cpu_seconds']} CPU-s for all."
    ]


def q_rows(part: dict[str, Any]) -> list[str]:
    lines = [
        "| variant | seeds | final policy (worst, best seed) | best checkpoint | CPU-s | reached | steps | CPU-s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in part["summary"].items():
        spread = [f"{values[0]} ({values[1]} to {values[2]})" for values in (row["final"], row["best"])]
        steps = " to ".join(str(v) for v in row.get("steps_to_threshold", ["-"]))
        cpu = " to ".join(str(v) for v in row.get("cpu_seconds_to_threshold", ["-"]))
        total = float(np.round(row["cpu_seconds"][0], 1))
        reached = f"{row['reached_threshold']} of {row['seeds']}"
        lines.append(f"| {name} | {row['seeds']} | {spread[0]} | {spread[1]} | {total} | {reached} | {steps} | {cpu} |")
    return lines


if __name__ == "__main__":
    main(tyro.cli(Args))
