"""What recurrent PPO reaches with velocities hidden, and what it costs, beside its controls and peers.

    python -m benchmarks.recurrent_ppo --seeds 0 1 2 3 4
    python -m benchmarks.recurrent_ppo --tasks CartPole-v1 Pendulum-v1 --cells memoryless traces full
    python -m benchmarks.recurrent_ppo --tasks Pendulum-v1 --no-mirror
    python -m benchmarks.recurrent_ppo --tasks CartPole-v1 Pendulum-v1 --cells sb3-contrib "SB3 PPO, all seen"
    python -m benchmarks.recurrent_ppo --seeds --speed 6144      # what learning costs, beside SB3 and sb3-contrib

Writes `benchmarks/results/recurrent_ppo.json` and `.md`, after every run, so that it can be interrupted; runs already
there are not repeated. Controls: without memory, with exponential averages of what is seen in place of a cell that
learns what to keep, and without memory but shown the velocities. 10 to 35 CPU-seconds per seed and task, one thread.
Peers (sb3-contrib) run where they are installed, in the same process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from agents.evaluation import evaluate
from agents.ppo_tasks import CONTROLS, SETTINGS, make_agent, make_task
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import write_atomically
from benchmarks.ppo_peers import PEERS, learned
from rnn.models import CELLS

PLAIN, OURS_ZOO, PEER_ZOO = "SB3 PPO, 64-64 tanh", "ours, zoo settings", "sb3-contrib RecurrentPPO, zoo settings"


@dataclass
class Args:
    tasks: list[str] = field(default_factory=lambda: list(SETTINGS))
    """Environments; velocities are hidden in all."""
    cells: list[str] = field(default_factory=lambda: ["gru"])
    """Cells, by name, controls: "memoryless", "traces" (exponential averages), "full" (velocities shown), or peers:
    "sb3-contrib" (its recurrent PPO), "SB3 PPO, all seen" (`benchmarks/ppo_peers.py`)."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """One run each."""
    mirror: bool = True
    """Tell the learner that both sides of a task are alike, where its settings do (`agents.ppo_tasks`)."""
    steps: int = 100_000
    """Environment steps per run."""
    episodes: int = 50
    """Fresh episodes on which the final policy is judged, acting greedily."""
    speed: int = 0
    """Environment steps for the comparison of costs with SB3's PPO and sb3-contrib's RecurrentPPO; 0 skips it."""
    out: Path = Path("benchmarks/results")
    """Where the tables go."""


def run(task: str, cell: str, seed: int, args: Args, **changes: Any) -> dict[str, Any]:
    """Train once; the course of training returns, the final greedy policy, and CPU-seconds."""
    if cell in PEERS:
        return run_peer(task, cell, seed, args)
    agent = make_agent(task, cell, seed=seed, **changes)
    course: list[tuple[int, float]] = []

    def note(local: dict[str, Any], _: Any) -> bool:
        done, episodes = agent.num_timesteps, agent.ep_info_buffer
        if episodes and done >= (len(course) + 1) * args.steps / 20:
            course.append((done, round(float(np.mean([e["r"] for e in list(episodes)[-30:]])), 1)))
        return True

    began = time.process_time()
    agent.learn(args.steps, callback=note)
    cpu = time.process_time() - began
    returns = evaluate(agent, make_task(task, args.episodes, hide=cell != "full"), args.episodes, seed=10_000 + seed)
    return row(task, cell, seed, args, returns, cpu, course)


def run_peer(task: str, peer: str, seed: int, args: Args) -> dict[str, Any]:
    """Train a peer once, and judge it as ours are judged."""
    began = time.process_time()
    actor, hide = learned(peer, task, seed, args.steps)
    cpu = time.process_time() - began
    returns = evaluate(actor, make_task(task, args.episodes, hide=hide), args.episodes, seed=10_000 + seed)
    return row(task, peer, seed, args, returns, cpu, [])


def row(
    task: str, cell: str, seed: int, args: Args, returns: np.ndarray, cpu: float, course: list[tuple[int, float]]
) -> dict[str, Any]:
    """What one run came to."""
    return {
        "task": task,
        "cell": cell,
        "seed": seed,
        "steps": args.steps,
        "final": round(float(returns.mean()), 2),
        "std": round(float(returns.std()), 2),
        "worst": round(float(returns.min()), 2),
        "cpu_seconds": round(cpu, 1),
        "course": course,
    }


def learners() -> dict[str, tuple[Callable[[], Any], str]]:
    """Whose costs are compared, and the method that is the update; CartPole, velocities hidden.

    The first four share one recipe: 32 worlds, 32 steps, 10 epochs in batches of 256 steps, 64 units and 64-64 tanh
    layers. The last two share the other, of rl-baselines3-zoo: 8 worlds, 32 steps, 20 epochs in one batch, an LSTM of
    64 units each for actor and critic with 64 tanh units behind it.
    """
    from stable_baselines3 import PPO

    from sim.sb3 import SB3VecEnv

    task = "CartPole-v1"
    rates = {"learning_rate": 1e-3, "device": "cpu", "seed": 0}
    plain = {"n_steps": 32, "n_epochs": 10, "batch_size": 256, "policy_kwargs": {"net_arch": [64, 64]}, **rates}
    zoo = {"horizon": 32, "minibatch": 8, "epochs": 20, "discount": 0.98, "gae_lambda": 0.8, "shared": False}
    found: dict[str, tuple[Callable[[], Any], str]] = {
        PLAIN: (lambda: PPO("MlpPolicy", SB3VecEnv(make_task(task, 32)), **plain), "train"),
        "ours, memoryless 64-64": (lambda: RecurrentPPO(make_task(task, 32), cell="frame"), "update"),
        "ours, gru 64": (lambda: RecurrentPPO(make_task(task, 32), cell="gru"), "update"),
        "ours, lstm 64": (lambda: RecurrentPPO(make_task(task, 32), cell="lstm"), "update"),
        OURS_ZOO: (lambda: RecurrentPPO(make_task(task, 8), cell="lstm", reward_scale=1.0, **zoo), "update"),
    }
    if importlib.util.find_spec("sb3_contrib"):
        from sb3_contrib import RecurrentPPO as Peer

        net = {"lstm_hidden_size": 64, "net_arch": [64], "enable_critic_lstm": True}
        same = {"n_steps": 32, "n_epochs": 20, "batch_size": 256, "gamma": 0.98, "gae_lambda": 0.8, **rates}
        worlds = lambda: SB3VecEnv(make_task(task, 8))
        found[PEER_ZOO] = (lambda: Peer("MlpLstmPolicy", worlds(), policy_kwargs=net, **same), "train")
    return found


def costs(steps: int, rounds: int = 6) -> dict[str, Any]:
    """CPU-seconds of learning and of its updates, learners in turn.

    Each learns `steps` in so many rounds, one learner after the other in every round, so that whatever else the
    machine does meets all of them alike; figures are medians of rounds after the first, which warms up.
    """
    agents, spent = {name: (build(), method) for name, (build, method) in learners().items()}, [0.0]

    def timed(inner: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*a: Any, **k: Any) -> Any:
            began = time.process_time()
            out = inner(*a, **k)
            spent[0] += time.process_time() - began
            return out

        return wrapped

    for agent, method in agents.values():
        setattr(agent, method, timed(getattr(agent, method)))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
    for turn in range(rounds):
        for name, (agent, _) in agents.items():
            spent[0], before, began = 0.0, agent.num_timesteps, time.process_time()
            agent.learn(steps // rounds, reset_num_timesteps=turn == 0)
            total, done = time.process_time() - began, agent.num_timesteps - (before if turn else 0)
            taken[name].append((1e3 * spent[0] / done, 1e3 * total / done))
    found: dict[str, Any] = {"steps": steps, "rounds": rounds}
    for name, each in taken.items():
        update, total = np.array(each[1:]).T
        found[name] = {
            "update_ms_per_step": round(float(np.median(update)), 4),
            "total_ms_per_step": round(float(np.median(total)), 4),
            "total_ms_each_round": [round(float(t), 4) for t in total],
            "update_ms_each_round": [round(float(t), 4) for t in update],
        }
    return found


def costs_table(found: dict[str, Any]) -> list[str]:
    """Lines of the table of costs, each learner beside the one that it is to be compared with."""
    lines = [
        "",
        f"Cost of learning CartPole, velocities hidden, medians of {found['rounds'] - 1} rounds of "
        f"{found['steps'] // found['rounds']:,} steps in turn. One recipe: 32 worlds, 32 steps, 10 epochs in batches",
        "of 256 steps. Zoo settings (8 worlds, 20 epochs, an LSTM each for actor and critic) for both libraries.",
        "",
        "| learner | steps per CPU-second | update, ms per step | update against plain PPO's | steps per CPU-second "
        "against sb3-contrib's |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        if name in ("steps", "rounds"):
            continue
        total, update = row["total_ms_per_step"], row["update_ms_per_step"]
        zoo = name in (OURS_ZOO, PEER_ZOO)
        beside = "" if zoo else f"{update / found[PLAIN]['update_ms_per_step']:.2f}"
        peer = f"{found[PEER_ZOO]['total_ms_per_step'] / total:.1f}" if zoo and PEER_ZOO in found else ""
        lines.append(f"| {name} | {1e3 / total:.0f} | {update:.3f} | {beside} | {peer} |")
    return lines


def write(results: dict[str, Any], out: Path) -> None:
    """Both tables."""
    write_atomically(out / "recurrent_ppo.json", (json.dumps(results, indent=1) + "\n").encode())
    lines = [
        "# Recurrent PPO, velocities hidden",
        "",
        "Final greedy policy over fresh episodes; CPU-seconds per seed, one thread.",
        "",
        "| task | cell | steps | seeds | final, mean of seeds | spread | worst seed | each | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    runs = results["runs"]
    about = lambda r: (r["task"], ", ".join(filter(None, [r["cell"], r.get("note")])), r["steps"])
    for key in dict.fromkeys(map(about, runs)):
        rows = [r for r in runs if about(r) == key]
        finals, cpu = np.array([r["final"] for r in rows]), np.mean([r["cpu_seconds"] for r in rows])
        each = ", ".join(f"{f:.0f}" if abs(f) > 95 else f"{f:.1f}" for f in finals)
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]:,} | {len(rows)} | {finals.mean():.1f} | {finals.std():.1f} "
            f"| {finals.min():.1f} | {each} | {cpu:.0f} |"
        )
    if "costs" in results:
        lines += costs_table(results["costs"])
    write_atomically(out / "recurrent_ppo.md", ("\n".join(lines) + "\n").encode())


def main(args: Args) -> dict[str, Any]:
    torch.set_num_threads(1)
    for kind, asked, known in (("task", args.tasks, [*SETTINGS]), ("cell", args.cells, [*CELLS, *CONTROLS, *PEERS])):
        if unknown := [name for name in asked if name not in known]:
            raise ValueError(f"unknown {kind} {unknown[0]!r}; choose among {', '.join(known)}")
    for name in ("steps", "episodes"):
        if getattr(args, name) < 1:
            raise ValueError(f"{name} is at least 1, received {getattr(args, name)}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "recurrent_ppo.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"runs": []}
    results["machine"] = {"python": platform.python_version(), "torch": torch.__version__, "threads": 1}
    if args.speed:
        results["costs"] = costs(args.speed)
        write(results, args.out)
    plan = [(task, cell, seed) for task in args.tasks for cell in args.cells for seed in args.seeds]
    for task, cell, seed in plan:
        about = {"task": task, "cell": cell, "seed": seed, "steps": args.steps}
        told = "mirror_signs" in SETTINGS[task] and cell not in PEERS
        note = {"note": "both sides alike" if args.mirror else "not told that both sides are alike"} if told else {}
        if any({**row, **about, **note} == row for row in results["runs"]):
            continue
        changes = {} if args.mirror or not told else {"mirror_signs": None, "mirror_actions": None}
        found = {**run(task, cell, seed, args, **changes), **note}
        results["runs"].append(found)
        write(results, args.out)
        print({k: v for k, v in found.items() if k != "course"}, flush=True)
    return results


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"recurrent_ppo: {error}")
