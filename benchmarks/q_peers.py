"""How do other libraries' Q learners do on the same task, in the same CPU-seconds?

    python benchmarks/q_peers.py                    # CartPole-v1, everything seen: about 6 CPU-minutes
    python benchmarks/q_peers.py --seeds 200:201 --steps 20000

Stable-Baselines3's DQN with the settings that rl-baselines3-zoo tuned for CartPole-v1, beside our learner without
memory, on one thread, from the same seeds, judged on the same fresh episodes. Written row by row to `q_peers.json`
and `.md` in `benchmarks/results/`. d3rlpy and TorchRL are not compared.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.learner import evaluate
from agents.q_tasks import make_agent, make_task

RESULTS = Path(__file__).resolve().parent / "results"
TASK, THRESHOLD = "CartPole-v1", 475.0
ZOO: dict[str, Any] = {  # rl-baselines3-zoo, hyperparams/dqn.yml, CartPole-v1
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}


@dataclass(frozen=True)
class Args:
    """Peers of the Q family; see the top of this file."""

    seeds: str = "200:205"
    """FIRST:LAST."""
    steps: int = 50_000
    """Environment steps."""
    evaluate_every: int = 5_120
    """Environment steps between evaluations (20 episodes, not counted)."""
    out: Path = RESULTS
    """Folder for the table."""


class Peer:
    """An SB3 policy as an actor for `agents.learner.evaluate`."""

    def __init__(self, model: Any):
        self.model = model

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, tuple[()]]:
        return self.model.predict(np.asarray(obs), deterministic=True)[0], ()


class Watch(BaseCallback):
    """Scores along the way, and the CPU-seconds of learning alone."""

    def __init__(self, every: int, player: Any):
        super().__init__()
        self.every, self.player, self.outside, self.next = every, player, 0.0, every
        self.started = time.process_time()
        self.curve: list[list[float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next:
            self.next += self.every
            begun = time.process_time()
            spent = begun - self.started - self.outside
            score = float(evaluate(self.player(self.model), make_task(TASK, 10, hide=False), 20, seed=50_000).mean())
            self.curve.append([self.num_timesteps, round(spent, 1), round(score, 1)])
            self.outside += time.process_time() - begun
        return True


def ours(seed: int, args: Args) -> dict[str, Any]:
    """Our learner without memory."""
    agent = make_agent("dqn", TASK, make_task(TASK, 16, hide=False), seed=seed)
    return judged(agent, lambda model: model, args, seed)


def sb3(seed: int, args: Args) -> dict[str, Any]:
    """Stable-Baselines3's DQN."""
    env = DummyVecEnv([lambda: gymnasium.make(TASK)])
    return judged(DQN("MlpPolicy", env, seed=seed, device="cpu", **ZOO), Peer, args, seed)


def judged(agent: Any, player: Any, args: Args, seed: int) -> dict[str, Any]:
    watch = Watch(args.evaluate_every, player)
    agent.learn(args.steps, callback=watch)
    total = time.process_time() - watch.started - watch.outside
    final = evaluate(player(agent), make_task(TASK, 10, hide=False), 50, seed=90_000 + seed)
    first = next((row for row in watch.curve if row[2] >= THRESHOLD), None)
    return {"seed": seed, "final": float(final.mean()), "cpu_seconds": round(total, 1), "first": first}


def main(args: Args) -> dict[str, Any]:
    """Run every seed of both, writing after each."""
    torch.set_num_threads(1)
    first, _, last = args.seeds.partition(":")
    data: dict[str, Any] = {"steps": args.steps, "rows": {"ours": [], "sb3": []}}
    for seed in range(int(first), int(last or int(first) + 1)):
        for name, run in (("ours", ours), ("sb3", sb3)):
            data["rows"][name].append(run(seed, args))
            (args.out / "q_peers.json").write_text(json.dumps(data, indent=1) + "\n")
            (args.out / "q_peers.md").write_text(page(data))
    print(page(data))
    return data


def page(data: dict[str, Any]) -> str:
    """The results as a page."""
    lines = [f"# Peers: {TASK}, everything seen, {data['steps']:,} steps", ""]
    lines += ["Written by `python benchmarks/q_peers.py`; one thread, CPU-seconds of learning alone.", ""]
    lines += [
        "| learner | seeds | final policy (worst, best seed) | CPU-s | first 475: seeds, steps, CPU-s |",
        "|---|---|---|---|---|",
    ]
    names = {"ours": "ours, no memory", "sb3": "Stable-Baselines3 DQN, zoo settings"}
    for key, rows in data["rows"].items():
        if not rows:
            continue
        final, cpu = [r["final"] for r in rows], np.mean([r["cpu_seconds"] for r in rows])
        found = [r["first"] for r in rows if r["first"]]
        when = "-"
        if found:
            when = ", ".join(f"{min(c)} to {max(c)}" for c in list(zip(*found, strict=True))[:2])
        lines.append(
            f"| {names[key]} | {len(rows)} | {np.mean(final):.1f} ({min(final):.1f}, {max(final):.1f}) | {cpu:.1f} "
            f"| {len(found)} of {len(rows)}, {when} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(tyro.cli(Args))
