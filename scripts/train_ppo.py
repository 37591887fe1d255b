"""Can a policy with memory do without velocities?

    python -m scripts.train_ppo --env CartPole-v1 --cell gru --out runs/ppo_cartpole
    python -m scripts.train_ppo --env Pendulum-v1 --cell lstm --out runs/ppo_pendulum
    python -m scripts.train_ppo --env CartPole-v1 --cell memoryless --out runs/ppo_memoryless

Trains recurrent PPO with velocities hidden, half a minute of CPU for 100,000 steps, and judges the final greedy policy
on 50 fresh episodes. `metrics.csv` and `learning.png` hold the course; `checkpoints/` the exact state, from which
`--resume` goes on. What is left open takes the task's own settings (`agents.ppo_tasks`: CartPole-v1, Pendulum-v1,
MountainCarContinuous-v0), for other tasks the defaults of `agents.recurrent_ppo`. CartPole should end at 500 of 500;
with `--cell memoryless` near 50. Other controls: "traces" (exponential averages) and "full" (velocities shown).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from agents.evaluation import evaluate
from agents.persistence import CHECKPOINT
from agents.ppo_tasks import WORLDS, make_agent, make_task
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import Run, continued


@dataclass
class Args:
    env: str = "CartPole-v1"
    """Gymnasium id."""
    hide: bool = True
    """Hide velocities."""
    cell: str = "gru"
    """A cell of `rnn.models`, or a control: "memoryless", "traces", "full"."""
    hidden: int = 64
    """Units."""
    steps: int = 100_000
    """Environment steps."""
    worlds: int | None = None
    """Worlds side by side."""
    horizon: int | None = None
    """Steps per world between updates."""
    sequence_length: int | None = None
    """Steps through which gradients flow; 0 for the horizon."""
    burn_in: int | None = None
    """Steps over which states are run again before each epoch."""
    minibatch: int | None = None
    """Sequences per gradient step."""
    learning_rate: float | None = None
    """Adam's step at the start; it falls to nothing."""
    discount: float | None = None
    """gamma."""
    reward_scale: float | None = None
    """Factor of rewards inside the learner."""
    noise: Literal["step", "state"] | None = None
    """Exploration of continuous actions."""
    episodes: int = 50
    """Fresh episodes at the end."""
    resume: bool = False
    """Go on from the checkpoint in the run folder."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/ppo")
    """Run folder."""


CHANGES = "horizon sequence_length burn_in minibatch learning_rate discount reward_scale noise".split()


def checked(args: Args) -> Args:
    """The settings, of the interrupted run if one is to go on.

    Raises:
        ValueError: counts that are too small, or other settings than those of the run that is to go on.
    """
    if args.resume:
        args = continued(args, free=("episodes",))
        if not (args.out / "checkpoints" / CHECKPOINT).is_file():
            raise ValueError(f"the run in {args.out} was stopped before its first checkpoint; begin again, no --resume")
    for name in ("worlds", "episodes"):
        if (asked := getattr(args, name)) is not None and asked < 1:
            raise ValueError(f"{name} is at least 1, received {asked}")
    if args.seed < 0:
        raise ValueError(f"a seed is at least 0, received {args.seed}")
    return args


def main(args: Args) -> float:
    torch.set_num_threads(1)
    args, folder = checked(args), args.out / "checkpoints"
    hide, spent = args.hide and args.cell != "full", 0.0
    with Run(args.out, replace(args, resume=False), again=args.resume) as run:
        if args.resume:
            agent = RecurrentPPO.load(folder, make_task(args.env, args.worlds or WORLDS.get(args.env, 32), hide=hide))
            if before := run.rows("steps", agent.num_timesteps):
                spent = float(before[-1]["cpu_seconds"])
        else:
            changes = {name: getattr(args, name) for name in CHANGES if getattr(args, name) is not None}
            agent = make_agent(
                args.env, args.cell, worlds=args.worlds, hide=hide, seed=args.seed, hidden=args.hidden, **changes
            )
        began = time.process_time()

        def note(local: Any, _: Any) -> bool:
            if agent.ep_info_buffer and agent._steps % max(1, args.steps // agent.n_envs // 50) == 0:
                score = float(np.mean([e["r"] for e in agent.ep_info_buffer]))
                cpu = round(spent + time.process_time() - began, 1)
                run.log(steps=agent.num_timesteps, score=round(score, 2), cpu_seconds=cpu)
            return True

        if args.resume:
            agent.resume(note, checkpoint=folder)
        else:
            agent.learn(args.steps, callback=note, checkpoint=folder)
        draw(args)
        returns = evaluate(agent, make_task(args.env, args.episodes, hide=hide), args.episodes, seed=10_000 + args.seed)
        run.save_json("metrics.json", {"final": returns.mean(), "std": returns.std(), "worst": returns.min()})
        print(f"{returns.mean():.1f} +- {returns.std():.1f} over {args.episodes} fresh episodes")
    return float(returns.mean())


def draw(args: Args) -> None:
    """The course of learning, as written to `metrics.csv`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = args.out / "metrics.csv"
    if not path.is_file():  # no episode has ended
        return
    with path.open() as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([float(row["steps"]) for row in rows], [float(row["score"]) for row in rows], lw=1)
    axes.set(xlabel="environment steps", ylabel="return, last 100 episodes", title=f"{args.env}, {args.cell}")
    FigureCanvasAgg(figure).print_png(args.out / "learning.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except ValueError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; --resume --out RUN_FOLDER goes on from the last checkpoint (every 20,000 steps)")
