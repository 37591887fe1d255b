"""Does neural fitted Q iteration do what its paper of 2005 says? Tables 1, 2 and 3, run again.

    python scripts/nfq_tables.py --table 1 --runs 50        # pole from random data: about 3 CPU-minutes
    python scripts/nfq_tables.py --table 2 --runs 20        # mountain car, growing batch: about 10 CPU-minutes
    python scripts/nfq_tables.py --table 3 --runs 5 --group 1 --after 15 \\
        --hidden 15 15 --iterations 6 --average 3 --reach 3 # cart-pole regulator: about 8 CPU-minutes

Runs advance together in groups, each with its own network and data. Written to the run folder: `table1.json` ...
with every run's figures, and `tables.png`. "Last" is the last iterate as it came; "chosen" is the iterate that did
best in rollouts apart from the test (the paper does not say which one it reports).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from agents.nfq import NFQ, NFQConfig
from agents.nfq_growing import Growing, grow
from agents.nfq_trials import balance, random_episodes
from agents.runs import Run, write_atomically
from agents.value_iteration import GridValues
from sim.nfq_tasks import CartPoleRegulator, MountainCar, Pole, Task

PAPER = {  # Neural Fitted Q Iteration (Riedmiller, 2005), tables 1 to 3
    1: {"success_percent": {50: 46, 100: 88, 150: 96, 200: 100}},
    2: {"episodes": 70.95, "cycles": 2777, "steps_to_goal": 28.7},
    3: {"episodes": 197.3, "cycles": 14440, "cost": 132.9, "linear_controller": 402.1},
}


@dataclass(frozen=True)
class Args:
    """Tables 1 to 3 of the 2005 paper; see the top of this file."""

    table: Literal[1, 2, 3] = 1
    """Which table."""
    runs: int = 50
    """Independent runs."""
    episodes: tuple[int, ...] = (50, 100, 150, 200)
    """Random episodes (table 1)."""
    max_episodes: int = 150
    """Episodes after which a run that never succeeded is given up (tables 2 and 3)."""
    epochs: int | None = None
    """RProp epochs per fit; by default what was found to serve each task."""
    gamma: float | None = None
    """Discount; by default what was found to serve each task."""
    hints: int | None = None
    """Artificial goal patterns (tables 2 and 3)."""
    hidden: tuple[int, ...] = (5, 5)
    """Sigmoid units per layer."""
    iterations: int = 1
    """NFQ iterations after each episode (tables 2 and 3; the paper has 1)."""
    average: int = 1
    """Iterates over which costs to go are averaged (the paper has 1)."""
    reach: int = 1
    """Steps for which training actions are kept up, and over which transitions reach (the paper has 1)."""
    after: int | None = None
    """Episodes by which a group of runs goes on once all have succeeded; by default to the last (tables 2 and 3)."""
    group: int = 5
    """Runs that advance together (tables 2 and 3): what is written at a time, and not done again after a stop."""
    tests: int = 1000
    """Test episodes."""
    iterates: int = 20
    """NFQ iterations (table 1); one of the last ten is chosen."""
    choose: int = 100
    """Episodes, apart from the test, by which one of the last ten iterates is chosen (table 1)."""
    grid: int = 801
    """Points per side of the grid on which the optimum is found (table 2)."""
    refit: bool = True
    """Start every fit from new weights."""
    seed: int = 0
    """Of everything."""
    out: Path | None = None
    """Run folder; by default runs/nfq_tables/<stamp>_seed<k>."""


def main(args: Args) -> dict[str, Any]:
    """Run one table and write it."""
    torch.set_num_threads(1)
    run = Run(args.out, args) if args.out else Run.new("nfq_tables", args, seed=args.seed)
    with run:
        started = time.process_time()
        result = (pole_table if args.table == 1 else growing_table)(args, run.folder / "rows.json")
        result.update(paper=PAPER[args.table], runs=args.runs)
        result.setdefault("cpu_seconds", round(time.process_time() - started, 1))
        run.save_json(f"table{args.table}.json", result)
        draw(result, args.table, run.folder / "tables.png")
    for key, value in result.items():
        print(f"{key}: {value}")
    return result


def settings(args: Args, **defaults: Any) -> NFQConfig:
    chosen = {name: getattr(args, name) for name in defaults if getattr(args, name) is not None}
    return NFQConfig(hidden=args.hidden, refit=args.refit, average=args.average, **{**defaults, **chosen})


def pole_table(args: Args, store: Path) -> dict[str, Any]:
    """Table 1: how many of the runs balance in all test episodes for 300 s, from random data alone.

    Rows that stand in `store`, from a run with the same arguments that was interrupted, are not computed again.
    """
    if args.iterates < 10:
        raise ValueError(
            f"one of the last ten iterates is chosen: `iterates` must be 10 at least, received {args.iterates}"
        )
    task, steps = Pole(), 3000
    config = settings(args, gamma=0.98, epochs=60)  # the paper: 0.95, "several hundred"
    rows = {int(n): row for n, row in json.loads(store.read_text()).items()} if store.is_file() else {}
    for episodes in [n for n in args.episodes if n not in rows]:
        rng = np.random.default_rng([args.seed, episodes])
        nfq = NFQ(2, len(task.forces), config, members=args.runs, seed=args.seed)
        for member in range(args.runs):
            nfq.add(member, *random_episodes(task, rng, episodes))
        for _ in range(args.iterates - 9):
            nfq.iterate()
        chosen, best = nfq.members_of(list(range(args.runs))), balance(task, nfq, rng, args.choose, steps).mean(1)
        for _ in range(9):
            nfq.iterate()
            lasted = balance(task, nfq, rng, args.choose, steps).mean(1)
            chosen.take(lasted > best, nfq)
            best = np.maximum(best, lasted)
        last = balance(task, nfq, rng, args.tests, steps)
        select = balance(task, chosen, rng, args.tests, steps)
        rows[episodes] = {
            "transitions": float(np.mean(nfq.sizes())),
            "last": int((last.min(1) >= steps).sum()),
            "last_mean_s": round(float(last.mean()) * task.dt, 1),
            "chosen": int((select.min(1) >= steps).sum()),
            "chosen_mean_s": round(float(select.mean()) * task.dt, 1),
        }
        write_atomically(store, json.dumps(rows).encode())
        print(f"{episodes} random episodes: {rows[episodes]}", flush=True)
    rows = dict(sorted(rows.items()))
    return {"rows": rows, "steps_per_random_episode": rows[args.episodes[-1]]["transitions"] / args.episodes[-1]}


def growing_table(args: Args, store: Path) -> dict[str, Any]:
    """Tables 2 and 3: after every greedy episode the data grow and the network is fitted again.

    Groups of runs that stand in `store`, from a call with the same arguments that was interrupted, are not run again.
    """
    task: Task = MountainCar() if args.table == 2 else CartPoleRegulator()
    length, steps = (50, 300) if args.table == 2 else (100, 3000)
    plan = Growing(length, steps, args.max_episodes, args.iterations, args.reach, args.after)
    config = settings(args, gamma=0.98, epochs=300, hints=100)
    tests = task.start(np.random.default_rng(999), args.tests, test=True)
    others = even_starts(args.tests) if isinstance(task, MountainCar) else None
    groups: list[dict[str, Any]] = json.loads(store.read_text()) if store.is_file() else []
    for begin in range(0, args.runs, args.group)[len(groups) :]:
        started = time.process_time()
        rng = np.random.default_rng([args.seed, begin])
        members = min(args.group, args.runs - begin)
        nfq = NFQ(len(task.names), len(task.forces), config, members=members, seed=int(rng.integers(2**31)))
        if config.hints:
            nfq.hint_states = task.goal_states(rng, config.hints)
        runs = grow(task, nfq, rng, tests, plan, others)
        groups.append({"runs": runs, "cpu_seconds": round(time.process_time() - started, 1)})
        write_atomically(store, json.dumps(groups).encode())
        print(
            f"runs {begin} to {begin + members - 1}: " + ", ".join(f"{r['first']} {r['best']}" for r in runs),
            flush=True,
        )
    runs = [run for group in groups for run in group["runs"]]
    found = [run["first"] for run in runs if run["first"]]
    best = [run["best"] for run in runs if run["best"] is not None]
    result = {
        "succeeded": len(found),
        "first_success": [run["first"] for run in runs],
        "mean_episodes": float(np.mean([f[0] for f in found])) if found else None,
        "mean_cycles": float(np.mean([f[1] for f in found])) if found else None,
        "best_policy": min(best, default=None),
        "mean_best_policy": float(np.mean(best)) if best else None,
        "best_policies": [run["best"] for run in runs],
        "cpu_seconds": round(sum(group["cpu_seconds"] for group in groups), 1),
    }
    if isinstance(task, MountainCar) and others is not None:
        chosen = min((run for run in runs if run["best"] is not None), key=lambda run: run["best"], default=None)
        if chosen and "elsewhere" in chosen:  # not in groups that an older version stored
            result["best_policy_even"] = chosen["elsewhere"]
        result |= optimum(task, tests, others, steps, args.grid)
    return result


def even_starts(count: int) -> np.ndarray:
    """As many starts of the mountain car as tests, at rest, evenly from the wall to the goal: no luck of a draw."""
    return np.stack([-1 + 1.7 * (np.arange(count) + 0.5) / count, np.zeros(count)], 1)


def optimum(task: MountainCar, tests: np.ndarray, even: np.ndarray, steps: int, points: int) -> dict[str, float]:
    """Mean steps to the goal of the best policy of the model, by value iteration on a fine grid.

    From the starts `tests`, from those that are spread `even`, and by how much (a standard deviation) the mean of the
    same policy changes from one draw of so many starts to another.
    """
    grid = GridValues(task, (-1.0, -6.0), (0.7, 6.0), points=points)
    starts = np.concatenate([tests, even])
    state, running, count = starts.copy(), np.ones(len(starts), dtype=bool), np.zeros(len(starts))
    rng = np.random.default_rng(0)
    for _ in range(steps):
        state = task.step(state, grid.act(state), rng)
        count += running
        running &= ~task.reached(state)
    drawn, spread = count[: len(tests)], count[len(tests) :]
    return {
        "optimum": float(drawn.mean()),
        "optimum_even": float(spread.mean()),
        "draw": float(spread.std() / len(tests) ** 0.5),
    }


def draw(result: dict[str, Any], table: int, path: Path) -> None:
    """The table as a figure, the paper's figures beside ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    if table == 1:
        sizes = list(result["rows"])
        for name in ("last", "chosen"):
            share = [100 * result["rows"][n][name] / result["runs"] for n in sizes]
            axes.plot(sizes, share, marker="o", label=f"ours, {name} iterate")
        axes.plot(list(PAPER[1]["success_percent"]), list(PAPER[1]["success_percent"].values()), "k--", label="2005")
        axes.set(xlabel="random episodes", ylabel="successful runs (%)", ylim=(0, 103))
    else:
        found = sorted(f[0] for f in result["first_success"] if f is not None)
        axes.step([0, *found], np.arange(len(found) + 1) / result["runs"] * 100, where="post", label="ours")
        axes.axvline(PAPER[table]["episodes"], color="k", ls="--", label="mean of 2005")
        axes.set(xlabel="episodes", ylabel="runs that have succeeded (%)", ylim=(0, 103))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Args))
