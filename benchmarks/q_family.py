"""What do the Q learners reach, after how many steps and CPU-seconds? Every figure of the Q family in one command.

    python benchmarks/q_family.py                          # everything: hours
    python benchmarks/q_family.py --only table1 cartpole   # some sections, merged into the stored results
    python benchmarks/q_family.py --only peers --peer PYTHON   # other libraries beside ours, by `q_peers.py`

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
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.learner import evaluate
from agents.lqg import RhythmLQG, damped_lqg
from agents.pendulum_optimum import PendulumOptimum
from agents.q_tasks import REACHED, make_task
from agents.rules import BearingRule, LinearMap, PositionMap, search_map, search_weights

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PEERS = "peers"
"""The part that `q_peers.py` measures and writes: SB3's DQN, d3rlpy's NFQ and TorchRL beside ours."""
POLL = 2.0  # seconds between looks for seeds that are finished

_Q = ["scripts/train_q.py", "--seeds", "200:205"]  # no setting was chosen on these seeds
_HIDDEN = [*_Q, "--hide", "velocity"]
_BOTH = ["--controls", "recurrent", "memoryless"]

# section: (heading, command)
SECTIONS: dict[str, tuple[str, list[str]]] = {
    "table1": (
        "NFQ table 1: pole from random data, 50 runs, success: all of 200 test episodes last 300 s; 40 iterates, "
        "always the last 5 averaged, and the chosen one is the best of ten in 30 other episodes",
        "scripts/nfq_tables.py --table 1 --runs 50 --tests 200 --choose 30 --average 5 --iterates 40 --seed 8".split(),
    ),
    "table2": (
        "NFQ table 2: mountain car, growing batch (two layers of 15 units, three iterations after each episode, "
        "training actions kept up for 2 steps; the paper has 5 units, 1 and 1)",
        "scripts/nfq_tables.py --table 2 --runs 20 --max-episodes 60 --gamma 0.98 --hints 100 --seed 9".split()
        + ["--hidden", "15", "15", "--iterations", "3", "--reach", "2"],
    ),
    "table2_published": (
        "NFQ table 2 with the published network (5, 5), at most 60 episodes",
        "scripts/nfq_tables.py --table 2 --runs 20 --max-episodes 60 --gamma 0.98 --hints 100 --seed 7".split(),
    ),
    "table3": (
        "NFQ table 3: cart-pole regulator, growing batch (two layers of 15 units, 6 iterations after an episode, "
        "training actions kept up for 3 steps, the last 3 iterates averaged; the paper has 5, 1, 1 and 1)",
        "scripts/nfq_tables.py --table 3 --runs 5 --max-episodes 120 --after 15 --group 1 --seed 11".split()
        + "--hidden 15 15 --iterations 6 --average 3 --reach 3".split(),
    ),
    "oscillator": (
        "oscillator/Damped-v0 with 5 forces, velocity hidden",
        [*_HIDDEN, "--env", "oscillator/Damped-v0", "--steps", "10000", "--evaluate-every", "5000", *_BOTH],
    ),
    "rhythm": (
        "oscillator/Forced-v0 with 5 forces: hold a rhythm while two unknown ones shake, velocity hidden",
        [*_HIDDEN, "--env", "oscillator/Forced-v0", "--steps", "20000", "--evaluate-every", "5000", *_BOTH],
    ),
    "steer": (
        "salamander/Steer-v0 by drive clamps, the bearing seen for 0.5 s of every 2 s (Euler steps of 5 ms); both "
        "learn from mirror images too",
        ["scripts/train_q.py", "--seeds", "310:315", "--hide", "velocity", "--env", "salamander/Steer-v0"]
        + ["--steps", "16000", *_BOTH, "--evaluate-every", "4000", "--episodes", "60", "--film"],
    ),
    "cartpole": (
        "CartPole-v1, velocities hidden, recurrent DQN with gaps widened, learning from both sides of a mirror; a seed "
        "stops once two evaluations in a row reach 495",
        ["scripts/train_q.py", "--seeds", "330:335", "--hide", "velocity", "--steps", "50000"]
        + ["--evaluate-every", "3000", "--stop-at", "495"],
    ),
    "cartpole_controls": (
        "CartPole-v1, velocities hidden, the controls of recurrent DQN, with the same settings",
        [*_HIDDEN, "--steps", "24000", "--controls", "memoryless", "trace", "full_state", "--evaluate-every", "8000"],
    ),
    "cartpole_fitted": (
        "CartPole-v1, velocities hidden, recurrent fitted Q over the tape and its mirror image; stopped as above",
        ["scripts/train_q.py", "--seeds", "310:315", "--hide", "velocity", "--agent", "recurrent_fitted_q"]
        + ["--steps", "20000", "--evaluate-every", "2000", "--stop-at", "495"],
    ),
    "pendulum": (
        "Pendulum-v1 with 5 torques, velocity hidden, recurrent DQN",
        ["scripts/train_q.py", "--seeds", "300:305", "--hide", "velocity", "--env", "Pendulum-v1"]
        + ["--steps", "36000", "--evaluate-every", "6000"],
    ),
    "mountain_car_fitted": (
        "MountainCar-v0, fitted Q on totally randomised trees, actions kept up for 10 steps, drawn to what is untried; "
        "a seed stops once two evaluations in a row reach -104",
        ["scripts/train_q.py", "--seeds", "310:315", "--env", "MountainCar-v0", "--agent", "fitted_q", "--worlds", "4"]
        + ["--steps", "20000", "--evaluate-every", "1000", "--stop-at", "-104"],
    ),
    "mountain_car": (
        "MountainCar-v0, velocity hidden, with controls; a seed stops once two evaluations in a row reach -112",
        ["scripts/train_q.py", "--seeds", "300:305", "--hide", "velocity", "--env", "MountainCar-v0"]
        + ["--steps", "24000", "--evaluate-every", "4000", "--stop-at", "-112"]
        + ["--controls", "recurrent", "full_state", "memoryless", "trace"],
    ),
    "lunar_lander": (
        "LunarLander-v3, velocities hidden, Q(lambda) without replay in 32 worlds, each of the 140,000 decisions kept "
        "up for 4 steps; every variant also foretells what it sees next (needs the extra `lander`)",
        ["scripts/train_q.py", "--seeds", "330:335", "--hide", "velocity", "--env", "LunarLander-v3", "--agent", "pqn"]
        + ["--worlds", "32", "--frame-skip", "4", "--steps", "140000", "--evaluate-every", "20000", "--jobs", "2"]
        + ["--controls", "recurrent", "full_state", "memoryless", "trace", "--film"],
    ),
    "acrobot": (
        "Acrobot-v1, velocities hidden, with controls",
        ["scripts/train_q.py", "--seeds", "300:305", "--hide", "velocity", "--env", "Acrobot-v1", "--steps", "16000"]
        + ["--controls", "recurrent", "full_state", "memoryless", "trace", "--evaluate-every", "4000"],
    ),
}


@dataclass(frozen=True)
class Args:
    """Benchmark of the Q family; see the top of this file."""

    only: tuple[str, ...] = ()
    """Sections to run; all by default."""
    work: Path = Path("runs/q_family")
    """Where the run folders stand."""
    peer: str = sys.executable
    """A Python that has d3rlpy and TorchRL, for the part `peers`."""


def main(args: Args) -> dict[str, Any]:
    """Run sections, merge them into the stored results, write the table."""
    unknown = set(args.only) - set(SECTIONS) - {PEERS}
    if unknown:
        raise ValueError(f"unknown sections {sorted(unknown)}; the sections are {', '.join(SECTIONS)}, {PEERS}")
    from benchmarks.q_family_page import report

    path = RESULTS / "q_family.json"
    stored: dict[str, Any] = {}
    for name in args.only or [*SECTIONS, PEERS]:
        if name == PEERS:
            command = [sys.executable, "benchmarks/q_peers.py", "--peer", args.peer, "--out", str(RESULTS)]
            subprocess.run(command, cwd=ROOT, env=ONE_THREAD, check=True)
            continue
        if name == "lunar_lander" and find_spec("Box2D") is None:
            print("lunar_lander is left out: Box2D is missing, `pip install -e '.[lander]'` brings it")
            continue
        for measured in section(name, args.work / name):
            stored = json.loads(path.read_text()) if path.is_file() else {}  # another call may have written meanwhile
            stored[name] = measured
            stored = {key: stored[key] for key in [*SECTIONS, *stored] if key in stored}
            path.write_text(json.dumps(stored, indent=1) + "\n")
            (RESULTS / "q_family.md").write_text(report(stored))
    if stored:
        print(report(stored))
    return stored


def section(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Run one section unless its folder is complete; gives what is measured after every seed, the whole last."""
    from scripts.train_q import summary

    heading, command = SECTIONS[name]
    folder = folder.with_name(f"{folder.name}_{zlib.crc32(' '.join(command).encode()):08x}")  # one per command
    table = command[2] if command[0].endswith("nfq_tables.py") else None
    file = folder / (f"table{table}.json" if table else "results.json")
    about = {"heading": heading, "command": "python " + " ".join(command), "machine": platform.machine()}
    if not file.is_file():
        process = subprocess.Popen([sys.executable, *command, "--out", str(folder)], cwd=ROOT, env=ONE_THREAD)
        seen = 0
        while process.poll() is None:
            done = seeds_done(folder)
            if len(done) > seen:
                seen = len(done)
                yield {**about, "so_far": True, "results": done, "summary": summary(done)}
            time.sleep(POLL)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    data = json.loads(file.read_text())
    yield {
        **about,
        "measured": time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime)),
        **({"table": data} if table else data),
        **({"references": REFERENCES[name]()} if name in REFERENCES else {}),
    }


def seeds_done(folder: Path) -> list[dict[str, Any]]:
    """Results of the seeds of `scripts/train_q.py` that are finished, oldest first."""
    files = sorted(folder.glob("*_seed*/result.json"), key=lambda file: file.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


def oscillator_references(episodes: int = 50) -> dict[str, float]:
    """Mean returns without learning: idle, the best map found from position to force, and LQG with the same forces."""
    forces = np.linspace(-1, 1, 5)
    worlds = lambda: make_task("oscillator/Damped-v0", 10, choices=len(forces))
    score = lambda actor, seed, count=episodes: float(evaluate(actor, worlds(), count, seed=seed).mean())
    chosen, fresh = 1234, 90_200  # seeds: of the episodes on which the best is chosen, and of those reported
    r = max((0.01, 0.03, 0.1, 0.3, 1.0), key=lambda r: score(damped_lqg(r, forces), chosen))
    best = search_map(lambda actor: score(actor, chosen, 10), len(forces))
    idle = PositionMap(np.full(9, len(forces) // 2))
    return {
        "idle": round(score(idle, fresh), 1),
        "best of 150 maps from position to force": round(score(best, fresh), 1),
        f"LQG, effort weight {r}": round(score(damped_lqg(r, forces), fresh), 1),
    }


def rhythm_references(episodes: int = 50) -> dict[str, float]:
    """The same for the rhythm: idle, the best linear map found from what is seen to force, and LQG."""
    forces = np.linspace(-1, 1, 5)
    worlds = lambda: make_task("oscillator/Forced-v0", 10, choices=len(forces))
    score = lambda actor, seed, count=episodes: float(evaluate(actor, worlds(), count, seed=seed).mean())
    chosen, fresh = 1234, 90_200  # seeds, as above
    r = max((0.0003, 0.001, 0.003, 0.01), key=lambda r: score(RhythmLQG(r, forces=forces), chosen, 10))
    best = search_weights(lambda actor: score(actor, chosen, 10), forces)
    return {
        "idle": round(score(LinearMap(np.zeros(4), forces), fresh), 1),
        "best of 150 linear maps from position and reference to force": round(score(best, fresh), 1),
        f"LQG, effort weight {r}": round(score(RhythmLQG(r, forces=forces), fresh), 1),
    }


def steer_references(episodes: int = 60) -> dict[str, str]:
    """Targets reached by two rules that need no learning, in the same physics and on the same number of episodes."""
    env = make_task("salamander/Steer-v0", episodes)
    said = {}
    for holds, name in ((True, "turn by the bearing seen last"), (False, "turn while it is seen, else straight")):
        returns = evaluate(BearingRule(env.observation_names, holds=holds), env, episodes, seed=90_200)
        said[name] = f"{returns.mean():.1f}, {100 * (returns > REACHED['salamander/Steer-v0']).mean():.0f} % reached"
    return said


def pendulum_references(episodes: int = 50) -> dict[str, float]:
    """The same five torques chosen by dynamic programming, which knows the equations and sees the velocity."""
    actor = PendulumOptimum(np.linspace(-2, 2, 5))
    returns = evaluate(actor, make_task("Pendulum-v1", episodes, hide=False), episodes, seed=90_200)
    return {"dynamic programming with the true equations and the velocity shown": round(float(returns.mean()), 1)}


REFERENCES = {
    "oscillator": oscillator_references,
    "rhythm": rhythm_references,
    "steer": steer_references,
    "pendulum": pendulum_references,
}


if __name__ == "__main__":
    sys.path.append(str(ROOT))  # for `scripts`, which lies beside this folder, and for this folder as a package
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"q_family: {error}")
