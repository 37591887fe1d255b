"""How many oscillator steps a second does the batched environment make, and what does batching gain?

Random actions, all four tasks, several batch sizes; Gymnasium's SyncVectorEnv over the same single environment beside
it. Prints steps per second of CPU time, medians over interleaved repeats. Takes about half a minute.

    python benchmarks/oscillator_throughput.py
"""

import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import tyro

from sim.oscillator_env import OscillatorEnv, OscillatorVectorEnv
from sim.oscillator_tasks import TASKS


@dataclass(frozen=True)
class Args:
    """See the top of this file."""

    worlds: tuple[int, ...] = (1, 64, 1024, 8192)
    """Batch sizes."""
    steps: int = 100_000
    """World steps per measurement (at least 20 batch steps)."""
    repeats: int = 3
    """Measurements per figure."""


def rate(env: gym.vector.VectorEnv, steps: int) -> float:
    """World steps per second of CPU time under random actions drawn beforehand."""
    count = max(min(steps // env.num_envs, 4000), 20)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(16)]
    for action in actions[:4]:
        env.step(action)
    start = time.process_time()
    for i in range(count):
        env.step(actions[i % 16])
    return count * env.num_envs / (time.process_time() - start)


def main(args: Args) -> dict[str, dict[str, float]]:
    """Measure and print one row per task."""
    columns = [*(f"batch {n}" for n in args.worlds), "sync 64"]
    print(f"{'task':<12}" + "".join(f"{c:>14}" for c in columns) + "   (world steps per CPU second)")
    table = {}
    for task in TASKS:
        envs = [OscillatorVectorEnv(n, task=task, max_episode_steps=500) for n in args.worlds]
        single = lambda task=task: OscillatorEnv(task=task, max_episode_steps=500)
        sync = gym.vector.SyncVectorEnv([single] * 64, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
        runs = [[*(rate(e, args.steps) for e in envs), rate(sync, args.steps // 10)] for _ in range(args.repeats)]
        table[task] = dict(zip(columns, np.median(runs, axis=0).tolist(), strict=True))
        print(f"{task:<12}" + "".join(f"{v:>14,.0f}" for v in table[task].values()))
    return table


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
