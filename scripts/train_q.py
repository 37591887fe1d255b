"""How well does a Q learner do with and without memory? Curves, a table, and controls, over several seeds.

    python scripts/train_q.py --env CartPole-v1 --hide velocity --agent recurrent_dqn --seeds 0:5 --steps 30000
    python scripts/train_q.py --env CartPole-v1 --hide velocity --controls recurrent memoryless
    python scripts/train_q.py --env MountainCar-v0 --agent fitted_q --steps 20000

About 30 CPU-seconds per seed for the first. Each seed saves its exact state and goes on from it when the command is
given again with the same `--out`. The run folder holds `metrics.csv` (return at every evaluation), `results.json`,
and `curves.png`; the curve of the recurrent agent should rise to the full-state one, and the memoryless stay below.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro
from stable_baselines3.common.callbacks import BaseCallback

from agents.learner import CHECKPOINT, evaluate
from agents.q_films import film_agent
from agents.q_tasks import AGENTS, CONTROLS, REACHED, THRESHOLDS, make_agent, make_task
from agents.runs import Run, write_atomically


@dataclass(frozen=True)
class Args:
    """Train Q learners; see the top of this file for examples."""

    env: str = "CartPole-v1"
    """Id of the task."""
    hide: Literal["velocity", "nothing"] = "nothing"
    """What the agent cannot see."""
    agent: Literal["dqn", "recurrent_dqn", "pqn", "fitted_q", "recurrent_fitted_q"] = "recurrent_dqn"
    """Which learner."""
    cell: str = "gru"
    """Cell of the recurrent ones."""
    controls: tuple[Literal["recurrent", "memoryless", "trace", "full_state"], ...] = ("recurrent",)
    """What to run: the agent itself; without memory; with fixed exponential traces; without memory, nothing hidden."""
    seeds: str = "0:5"
    """FIRST:LAST (not included) or FIRST:LAST:STEP, or one number."""
    steps: int = 30_000
    """Decisions of all worlds together."""
    frame_skip: int = 1
    """Environment steps under each decision."""
    worlds: int = 16
    """Worlds that run side by side."""
    evaluate_every: int = 2_000
    """Environment steps between evaluations (20 episodes, not counted as CPU-seconds)."""
    episodes: int = 50
    """Fresh episodes of the final evaluation."""
    stop_at: float | None = None
    """Stop a seed before its steps are over once two evaluations in a row reach this return."""
    jobs: int = 1
    """Seeds that run at the same time."""
    set: dict[str, str] = field(default_factory=dict)
    """Further settings of the learner, NAME VALUE pairs (values as JSON)."""
    film: bool = False
    """Film an episode of the best weights of the first seed of every variant."""
    out: Path | None = None
    """Run folder; by default runs/train_q/<stamp>_seed<k>."""


def main(args: Args) -> list[dict[str, Any]]:
    """Train every seed of every variant, write and draw."""
    if not args.controls:
        raise ValueError("--controls names what to train, one or more of recurrent, memoryless, trace, full_state")
    if min(args.steps, args.worlds, args.evaluate_every, args.episodes) < 1:
        raise ValueError("--steps, --worlds, --evaluate-every and --episodes count from 1")
    run = Run(args.out, args) if args.out else Run.new("train_q", args)
    with run:
        jobs = [(args, variant, seed, run.folder) for variant in args.controls for seed in seeds_of(args.seeds)]
        if args.jobs > 1:
            with ProcessPoolExecutor(args.jobs) as pool:
                results = list(pool.map(train_seed, *zip(*jobs, strict=True)))
        else:
            results = [train_seed(*job) for job in jobs]
        run.save_json("results.json", {"results": results, "summary": summary(results)})
        draw(results, run.folder / "curves.png", f"{args.env}, {args.hide} hidden")
    print(table(results))
    return results


def seeds_of(text: str) -> range:
    parts = [int(part) for part in text.split(":")]
    return range(*parts) if len(parts) > 1 else range(parts[0], parts[0] + 1)


class Curve(BaseCallback):
    """Evaluates every so often, keeps the curve and the CPU-seconds of learning alone, and the best weights."""

    def __init__(self, args: Args, variant: str, folder: Path, spent: float = 0.0):
        super().__init__()
        self.args, self.folder, self.every = args, folder, min(args.evaluate_every, args.steps)
        self.worlds = make_task(args.env, 20, hide=hidden(args, variant), frame_skip=args.frame_skip)
        self.rows: list[list[float]] = []
        self.started, self.outside, self.before = time.process_time(), 0.0, spent

    def cpu(self) -> float:
        return self.before + time.process_time() - self.started - self.outside

    def settled(self) -> bool:
        """Whether the last two evaluations reached what was asked for."""
        goal = self.args.stop_at
        return goal is not None and len(self.rows) > 1 and min(row[2] for row in self.rows[-2:]) >= goal

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every < self.args.worlds:
            begun = time.process_time()
            score = float(evaluate(self.model, self.worlds, 20, seed=50_000).mean())
            self.rows.append([self.num_timesteps, self.cpu() - (time.process_time() - begun), score])
            if score >= max(row[2] for row in self.rows):
                self.model.save(self.folder / "best", light=True)
            # the curve first: rows beyond the saved state are dropped when the seed is gone on with
            write_atomically(self.folder / "curve.json", json.dumps(self.rows).encode())
            self.model.save(self.folder / "last")
            self.outside += time.process_time() - begun
            return not self.settled()
        return True


def hidden(args: Args, variant: str) -> bool:
    return args.hide == "velocity" and variant != "full_state"


def train_seed(args: Args, variant: str, seed: int, root: Path) -> dict[str, Any]:
    """One seed of one variant, from the start or from where it stopped."""
    torch.set_num_threads(1)
    folder = root / f"{variant}_seed{seed}"
    done = folder / "result.json"
    if done.is_file():
        return json.loads(done.read_text())
    env = make_task(args.env, args.worlds, hide=hidden(args, variant), frame_skip=args.frame_skip)
    settings: dict[str, Any] = {key: json.loads(value) for key, value in args.set.items()}
    if args.agent != "fitted_q":
        settings = {"cell": args.cell, **settings, **CONTROLS[variant]}
    curve = Curve(args, variant, folder)
    if (folder / "last" / CHECKPOINT).is_file():
        agent = AGENTS[args.agent].load(folder / "last", env)
        stored = json.loads((folder / "curve.json").read_text())
        curve.rows = [row for row in stored if row[0] <= agent.num_timesteps]
        curve.before = curve.rows[-1][1]
        if not curve.settled():
            agent.resume(curve)
    else:
        agent = make_agent(args.agent, args.env, env, seed=seed, **settings)
        agent.learn(args.steps, callback=curve)
    cpu = curve.cpu()
    fresh = make_task(args.env, args.episodes, hide=hidden(args, variant), frame_skip=args.frame_skip)
    final = evaluate(agent, fresh, args.episodes, seed=90_000 + seed)
    kept = AGENTS[args.agent].load(folder / "best")
    best = evaluate(kept, fresh, args.episodes, seed=90_000 + seed)
    if args.film and seed == seeds_of(args.seeds)[0]:
        how: dict[str, Any] = {"hide": hidden(args, variant), "frame_skip": args.frame_skip}
        print(film_agent(kept, args.env, folder / "film.mp4", seed=seed, **how))
    threshold = THRESHOLDS.get(args.env)
    reached = next((row for row in curve.rows if threshold is not None and row[2] >= threshold), None)
    result = {
        "variant": variant,
        "agent": args.agent,
        "seed": seed,
        "steps": agent.num_timesteps,
        "cpu_seconds": round(cpu, 1),
        "final": round(float(final.mean()), 2),
        "final_worst_episode": float(final.min()),
        "best": round(float(best.mean()), 2),
        **({"reached_goal": round(float((best > REACHED[args.env]).mean()), 3)} if args.env in REACHED else {}),
        "steps_to_threshold": reached and reached[0],
        "cpu_seconds_to_threshold": reached and round(reached[1], 1),
        "curve": [[row[0], round(row[1], 1), round(row[2], 1)] for row in curve.rows],
    }
    write_atomically(done, json.dumps(result).encode())
    print({key: value for key, value in result.items() if key != "curve"}, flush=True)
    return result


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds, by variant."""
    rows = {}
    for variant in dict.fromkeys(r["variant"] for r in results):
        own = [r for r in results if r["variant"] == variant]
        rows[variant] = {"seeds": len(own)}
        for key in [k for k in ("final", "best", "cpu_seconds", "reached_goal") if k in own[0]]:
            values = [r[key] for r in own]
            rows[variant][key] = [
                round(float(f(values)), 3 if key == "reached_goal" else 1) for f in (np.mean, np.min, np.max)
            ]
        steps = [r["steps_to_threshold"] for r in own if r["steps_to_threshold"]]
        rows[variant]["reached_threshold"] = len(steps)
        if steps:
            rows[variant]["steps_to_threshold"] = [min(steps), max(steps)]
            cpu = [r["cpu_seconds_to_threshold"] for r in own if r["steps_to_threshold"]]
            rows[variant]["cpu_seconds_to_threshold"] = [min(cpu), max(cpu)]
    return rows


def table(results: list[dict[str, Any]]) -> str:
    head = ("variant", "seeds", "final mean (worst, best seed)", "best checkpoint", "CPU-s", "reached: steps, CPU-s")
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|---|"]
    for name, row in summary(results).items():
        f, b, c = row["final"], row["best"], row["cpu_seconds"]
        first = f"{row['reached_threshold']} of {row['seeds']}"
        if "steps_to_threshold" in row:
            s, t = row["steps_to_threshold"], row["cpu_seconds_to_threshold"]
            first += f", {s[0]} to {s[1]}, {t[0]} to {t[1]}"
        lines.append(
            f"| {name} | {row['seeds']} | {f[0]} ({f[1]}, {f[2]}) | {b[0]} ({b[1]}, {b[2]}) | {c[0]} | {first} |"
        )
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path, title: str) -> None:
    """Every seed's curve, one colour per variant, and the CSV they are drawn from."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with (path.parent / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "seed", "steps", "cpu_seconds", "mean_return"])
        for r in results:
            writer.writerows([r["variant"], r["seed"], *row] for row in r["curve"])
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for k, variant in enumerate(dict.fromkeys(r["variant"] for r in results)):
        for r in (r for r in results if r["variant"] == variant):
            steps, _, score = zip(*r["curve"], strict=True) if r["curve"] else ((), (), ())
            axes.plot(steps, score, color=f"C{k}", lw=1, label=variant if r["seed"] == results[0]["seed"] else None)
    axes.set(xlabel="environment steps", ylabel="mean return of 20 episodes", title=title)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (gymnasium.error.Error, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; give the same command with --out RUN_FOLDER to go on from the last evaluation")
