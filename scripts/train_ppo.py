"""Can a policy with memory do without velocities?

    python -m scripts.train_ppo --env CartPole-v1 --cell gru --out runs/ppo_cartpole
    python -m scripts.train_ppo --env Pendulum-v1 --horizon 64 --minibatch 4 --worlds 16 --discount 0.95 --steps 100000

Trains recurrent PPO with velocities hidden, half a minute of CPU for 100,000 steps of CartPole, and judges the final
greedy policy on 50 fresh episodes. `metrics.csv` holds the course; `checkpoints/` the exact state, from which
`--resume` goes on. CartPole should end at 500 of 500; with `--cell frame`, which remembers nothing, near 50.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.evaluation import evaluate
from agents.persistence import CHECKPOINT
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import Run, continued
from sim.wrappers import HideVelocity


@dataclass
class Args:
    env: str = "CartPole-v1"
    """Gymnasium id."""
    hide: bool = True
    """Hide velocities."""
    cell: str = "gru"
    """A cell of `rnn.models`; "frame" is the memoryless control, "linear" keeps exponential traces."""
    hidden: int = 64
    """Units."""
    steps: int = 100_000
    """Environment steps."""
    worlds: int = 32
    """Worlds side by side."""
    horizon: int = 32
    """Steps per world between updates."""
    sequence_length: int = 0
    """Steps through which gradients flow; 0 for the horizon."""
    burn_in: int = 0
    """Steps over which states are run again before each epoch."""
    minibatch: int = 8
    """Sequences per gradient step."""
    discount: float = 0.995
    """gamma."""
    reward_scale: float = 0.05
    """Factor of rewards inside the learner."""
    noise: str = "step"
    """Exploration of continuous actions: "step" or "state"."""
    episodes: int = 50
    """Fresh episodes at the end."""
    resume: bool = False
    """Go on from the checkpoint in the run folder, with the settings of that run."""
    seed: int = 0
    """Of everything."""
    out: Path = Path("runs/ppo")
    """Run folder."""


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
        if getattr(args, name) < 1:
            raise ValueError(f"{name} is at least 1, received {getattr(args, name)}")
    if args.seed < 0:
        raise ValueError(f"a seed is at least 0, received {args.seed}")
    return args


def make(args: Args, worlds: int) -> SyncVectorEnv:
    """Worlds, velocities hidden if asked."""

    def one() -> Any:
        env = gymnasium.make(args.env)
        try:
            return HideVelocity(env) if args.hide else env
        except ValueError as error:
            raise ValueError(f"{error}; on the command line --no-hide leaves everything to be seen") from error

    return SyncVectorEnv([one] * worlds, autoreset_mode=AutoresetMode.SAME_STEP)


def main(args: Args) -> float:
    torch.set_num_threads(1)
    args, folder = checked(args), args.out / "checkpoints"
    with Run(args.out, replace(args, resume=False), again=args.resume) as run:
        spent = 0.0
        if args.resume:
            agent = RecurrentPPO.load(folder, make(args, args.worlds))
            if before := run.rows("steps", agent.num_timesteps):
                spent = float(before[-1]["cpu_seconds"])
        else:
            names = "cell hidden horizon sequence_length burn_in minibatch discount reward_scale noise".split()
            settings = {name: getattr(args, name) for name in names}
            agent = RecurrentPPO(
                make(args, args.worlds), seed=args.seed, previous_action=True, spread_decay=0.99, **settings
            )
        began = time.process_time()

        def note(local: Any, _: Any) -> bool:
            if agent.ep_info_buffer and agent._steps % max(1, args.steps // args.worlds // 50) == 0:
                score = float(np.mean([e["r"] for e in agent.ep_info_buffer]))
                cpu = round(spent + time.process_time() - began, 1)
                run.log(steps=agent.num_timesteps, score=round(score, 2), cpu_seconds=cpu)
            return True

        if args.resume:
            agent.resume(note, checkpoint=folder)
        else:
            agent.learn(args.steps, callback=note, checkpoint=folder)
        returns = evaluate(agent, make(args, args.episodes), args.episodes, seed=10_000 + args.seed)
        run.save_json("metrics.json", {"final": returns.mean(), "std": returns.std(), "worst": returns.min()})
        print(f"{returns.mean():.1f} +- {returns.std():.1f} over {args.episodes} fresh episodes")
    return float(returns.mean())


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (gymnasium.error.Error, ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command with --resume goes on from the last checkpoint")
