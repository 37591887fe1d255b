"""How do other libraries' Q learners do on the same task, in the same steps and CPU-seconds?

    python benchmarks/q_peers.py                                   # all that is installed: about 20 CPU-minutes
    python benchmarks/q_peers.py --only ours sb3 --seeds 200:201
    python benchmarks/q_peers.py --peer OTHER/bin/python           # d3rlpy and TorchRL stand in another Python

Three comparisons on CartPole-v1, one thread, five seeds each on which no setting was chosen, 50 fresh episodes at the
end:
everything seen, Stable-Baselines3's DQN with the settings that rl-baselines3-zoo tuned for this task, beside our
learner without memory; everything seen, d3rlpy's NFQ beside our fitted Q; velocities hidden, a recurrent DQN put
together from TorchRL's parts (`q_peer_torchrl.py`) beside ours. A peer that is not installed is left out by name.
Written seed by seed to `q_peers.json` and `.md` in `benchmarks/results/`; rows that stand there with the same steps
are kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
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

    only: tuple[str, ...] = ()
    """Learners to run (ours, sb3, ours_fitted, d3rlpy, ours_recurrent, torchrl); all by default."""
    seeds: str = "200:205"
    """FIRST:LAST."""
    steps: int | None = None
    """Environment steps; by default those of each comparison."""
    evaluations: int = 10
    """Evaluations along the way (20 episodes each, not counted as CPU-seconds)."""
    peer: str = sys.executable
    """A Python that has d3rlpy and TorchRL."""
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

    def __init__(self, every: int, player: Any, hide: bool):
        super().__init__()
        self.every, self.player, self.hide, self.outside, self.next = every, player, hide, 0.0, every
        self.started = time.process_time()
        self.curve: list[list[float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next:
            self.next += self.every
            begun = time.process_time()
            spent = begun - self.started - self.outside
            score = float(
                evaluate(self.player(self.model), make_task(TASK, 20, hide=self.hide), 20, seed=50_000).mean()
            )
            self.curve.append([self.num_timesteps, round(spent, 1), round(score, 1)])
            self.outside += time.process_time() - begun
        return True


def ours(kind: str, hide: bool, worlds: int, **changes: Any) -> Callable[..., dict[str, Any]]:
    """A learner of ours, with the settings of `agents.q_tasks` but for the changes."""

    def run(seed: int, steps: int, args: Args) -> dict[str, Any]:
        agent = make_agent(kind, TASK, make_task(TASK, worlds, hide=hide), seed=seed, **changes)
        return judged(agent, lambda model: model, seed, steps, args, hide)

    return run


def sb3(seed: int, steps: int, args: Args) -> dict[str, Any]:
    """Stable-Baselines3's DQN."""
    env = DummyVecEnv([lambda: gymnasium.make(TASK)])
    return judged(DQN("MlpPolicy", env, seed=seed, device="cpu", **ZOO), Peer, seed, steps, args, False)


def judged(agent: Any, player: Any, seed: int, steps: int, args: Args, hide: bool) -> dict[str, Any]:
    watch = Watch(steps // args.evaluations, player, hide)
    agent.learn(steps, callback=watch)
    total = time.process_time() - watch.started - watch.outside
    final = evaluate(player(agent), make_task(TASK, 50, hide=hide), 50, seed=90_000 + seed)
    first = next((row for row in watch.curve if row[2] >= THRESHOLD), None)
    row = {"seed": seed, "final": float(final.mean()), "cpu_seconds": round(total, 1), "first": first}
    return {**row, "curve": watch.curve}


def elsewhere(name: str) -> Callable[..., dict[str, Any] | None]:
    """A peer in the Python of `--peer`; None where it is not installed there."""

    def run(seed: int, steps: int, args: Args) -> dict[str, Any] | None:
        script = Path(__file__).with_name(f"q_peer_{name}.py")
        options = {"seed": seed, "steps": steps, "every": steps // args.evaluations, "threshold": THRESHOLD}
        command = [args.peer, str(script), *[part for k, v in options.items() for part in (f"--{k}", str(v))]]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if any(f"No module named '{module}'" in done.stderr for module in (name, "tensordict")):
            return None
        if done.returncode:
            raise RuntimeError(f"the comparison with {name} failed:\n{done.stderr[-4000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    return run


PLAIN: dict[str, Any] = {
    **{"scale": (1.0, 1.0, 10.0, 1.0), "gap": 0.0, "batch": 32, "lr": 1e-3, "lr_end": 0.05},
    **{"mirror_signs": None, "mirror_actions": None},
}
"""What `q_peer_torchrl.py` has too."""
# learner: (comparison, steps, label, run)
SEEN, FITTED, HIDDEN = "everything seen", "everything seen, fitted Q", "velocities hidden"
LEARNERS: dict[str, tuple[str, int, str, Callable[..., dict[str, Any] | None]]] = {
    "ours": (SEEN, 50_000, "ours, no memory", ours("dqn", False, 16)),
    "sb3": (SEEN, 50_000, "Stable-Baselines3 DQN, zoo settings", sb3),
    "ours_fitted": (FITTED, 12_000, "ours, fitted Q", ours("fitted_q", False, 4)),
    "d3rlpy": (FITTED, 12_000, "d3rlpy NFQ (DQN without a delayed target)", elsewhere("d3rlpy")),
    "ours_recurrent": (HIDDEN, 24_000, "ours, recurrent DQN", ours("recurrent_dqn", True, 16)),
    "ours_plain": (HIDDEN, 24_000, "ours, recurrent DQN, no gap, no mirror", ours("recurrent_dqn", True, 16, **PLAIN)),
    "torchrl": (HIDDEN, 24_000, "recurrent DQN of TorchRL's parts, settings of the one above", elsewhere("torchrl")),
}


def main(args: Args) -> dict[str, Any]:
    """Run every seed of every learner, writing after each."""
    torch.set_num_threads(1)
    unknown = set(args.only) - set(LEARNERS)
    if unknown:
        raise ValueError(f"unknown learners {sorted(unknown)}; the learners are {', '.join(LEARNERS)}")
    first, _, last = args.seeds.partition(":")
    seeds = range(int(first), int(last or int(first) + 1))
    file = args.out / "q_peers.json"
    data: dict[str, list[dict[str, Any]]] = json.loads(file.read_text()) if file.is_file() else {}
    for name in args.only or LEARNERS:
        _, steps, label, run = LEARNERS[name]
        steps = args.steps or steps
        data[name] = [row for row in data.get(name, []) if row["steps"] == steps]
        for seed in seeds:
            if any(row["seed"] == seed for row in data[name]):
                continue
            row = run(seed, steps, args)
            if row is None:
                print(f"{label} is left out: not installed in {args.peer} (extra `peers`)")
                break
            data[name].append({**row, "steps": steps})
            file.write_text(json.dumps({key: data[key] for key in LEARNERS if key in data}, indent=1) + "\n")
            (args.out / "q_peers.md").write_text(page(data))
    print(page(data))
    return data


def page(data: dict[str, list[dict[str, Any]]]) -> str:
    """The results as a page."""
    lines = [f"# Peers on {TASK}", ""]
    lines += ["Written by `python benchmarks/q_peers.py`; one thread, CPU-seconds of learning alone.", ""]
    lines += [
        "| task | learner | steps | seeds | final policy (worst, best seed) | CPU-s | at 475: seeds | steps | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, (task, _, label, _) in LEARNERS.items():
        rows = data.get(key)
        if not rows:
            continue
        final, cpu = [r["final"] for r in rows], np.mean([r["cpu_seconds"] for r in rows])
        found = [r["first"] for r in rows if r["first"]]
        steps, spent = [f"{min(c)} to {max(c)}" for c in list(zip(*found, strict=True))[:2]] if found else "--"
        lines.append(
            f"| {task} | {label} | {rows[0]['steps']:,} | {len(rows)} | {np.mean(final):.1f} ({min(final):.1f}, "
            f"{max(final):.1f}) | {cpu:.1f} | {len(found)} of {len(rows)} | {steps} | {spent} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"q_peers: {error}")
