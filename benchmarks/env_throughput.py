"""How much of bare MuJoCo's speed does the vector environment keep, and how much faster is it than processes?

    python benchmarks/env_throughput.py            # about 4 minutes on 2 cores

Three ways of stepping the same salamander under the same muscle activations, on land (walk) and in the pool (swim):

- the vector environment with 256 worlds: observations, rewards, autoreset, water surface and all;
- bare open-loop `mujoco.rollout` of the same 256 worlds, from the same states, on as many threads: the floor;
- Gymnasium's `AsyncVectorEnv` over the single environment, one process per world.

The three are timed in turn, several times over, so that whatever else the machine does falls on all of them; the ratios
are medians of the ratios within a turn, of wall-clock time and of processor time (which holds up on a busy machine).
Writes benchmarks/results/env_throughput.json and .md.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import mujoco
import numpy as np
import tyro
from mujoco import rollout
from numpy.typing import NDArray

import sim  # noqa: F401 (registers the environments)
from sim.anatomy import MAX_ACTIVATION
from sim.arena import build_spec
from sim.salamander_env import SalamanderVectorEnv


@dataclass(frozen=True)
class Args:
    """Time the environments; see the top of this file."""

    worlds: int = 256
    """Worlds of the vector environment and of the bare rollout."""
    threads: int = 2
    """Threads of both."""
    steps: int = 30
    """Control steps (10 ms, 5 physics steps each) per measurement."""
    repeats: int = 7
    """Measurements of each kind."""
    processes: int = 8
    """Worlds of `AsyncVectorEnv`."""
    out: Path = Path(__file__).parent / "results"
    """Where the results are written."""


def activations(task: str, worlds: int, steps: int) -> NDArray[np.float32]:
    """A travelling wave of the spine at 3 Hz and stepping limbs at 1 Hz, each world at its own phase, `[T, B, 48]`."""
    t = 0.01 * np.arange(steps)[:, None, None]
    start = np.linspace(0, 2 * np.pi, worlds, endpoint=False)[None, :, None]
    along, limb = 2 * np.pi * np.arange(8) / 8, np.repeat([0, np.pi, np.pi, 0], 4) + np.tile([0, 1.6, 0.6, 0.3], 4)
    swim = task == "swim"
    spine = np.cos(2 * np.pi * (3.0 if swim else 1.0) * t + start - along)
    limbs = np.zeros((steps, worlds, 16)) if swim else np.cos(2 * np.pi * t + start - limb)
    signal = np.concatenate([np.broadcast_to(spine, (steps, worlds, 8)), limbs], axis=2)
    pairs = np.stack([1 + signal, 1 - signal], axis=3).reshape(steps, worlds, 48)
    return (0.25 * MAX_ACTIVATION * pairs).astype(np.float32)


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def processor_seconds(processes: list[Any]) -> float:
    """Processor time that running processes have used so far, s; NaN where there is no /proc."""
    try:
        stats = [Path(f"/proc/{p.pid}/stat").read_text().rpartition(")")[2].split() for p in processes]
    except OSError:
        return math.nan
    return sum(int(s[11]) + int(s[12]) for s in stats) / os.sysconf("SC_CLK_TCK")


def measure(task: Literal["walk", "swim"], args: Args) -> dict[str, object]:
    """Rates and ratios of one task."""
    B, T = args.worlds, args.steps
    env = SalamanderVectorEnv(B, task=task, threads=args.threads, max_episode_steps=100_000)
    env.reset(seed=0)
    actions = activations(task, B, T)
    for action in actions:  # settle, so that what is timed is under way
        env.step(action)
    state = env.get_state()

    def vector() -> None:
        for action in actions:
            env.step(action)

    model = build_spec(env.salamander.world, look=False).compile()
    spec = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
    data, row = mujoco.MjData(model), np.empty(mujoco.mj_stateSize(model, spec))
    initial = np.empty((B, len(row)))
    for world in range(B):
        mujoco.mj_copyData(data, model, env.salamander.batch.get_data(world))
        mujoco.mj_getState(model, data, row, spec)
        initial[world] = row
    substeps = env.salamander.substeps
    control = np.repeat(actions.transpose(1, 0, 2), substeps, axis=1).astype(np.float64)
    states = np.empty((B, T * substeps, len(row)))
    sensors = np.empty((B, T * substeps, model.nsensordata))
    datas = [mujoco.MjData(model) for _ in range(args.threads)]

    with rollout.Rollout(nthread=args.threads) as pool:

        def bare() -> None:
            pool.rollout(model, datas, initial, control, nstep=T * substeps, state=states, sensordata=sensors)

        single = f"salamander/{task.title()}-v0"
        several: Any = gymnasium.make_vec(single, args.processes, vectorization_mode="async", max_episode_steps=100_000)
        several.reset(seed=0)
        few = actions[:, : args.processes]

        def processes() -> None:
            for action in few:
                several.step(action)

        for warm_up in (bare, vector, processes):
            warm_up()
        rows: list[dict[str, float]] = []
        for _ in range(args.repeats):
            env.set_state(state)
            vector_wall, vector_cpu = timed(vector)
            bare_wall, bare_cpu = timed(bare)
            before = processor_seconds(several.processes)
            async_wall, async_cpu = timed(processes)
            async_cpu += processor_seconds(several.processes) - before
            rows.append(
                {
                    "vector": B * T / vector_wall,
                    "bare": B * T / bare_wall,
                    "async": args.processes * T / async_wall,
                    "ratio_to_bare": bare_wall / vector_wall,
                    "ratio_to_bare_cpu": bare_cpu / vector_cpu,
                    "ratio_to_async": (B * T / vector_wall) / (args.processes * T / async_wall),
                    "ratio_to_async_cpu": (B * T / vector_cpu) / (args.processes * T / async_cpu),
                }
            )
        several.close()
    env.close()
    result: dict[str, object] = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    return result | {"diverged": int(env.salamander.diverged.sum()), "repeats": rows}


KINDS = ("ratio_to_bare", "ratio_to_bare_cpu", "ratio_to_async", "ratio_to_async_cpu")


def table(results: dict[str, dict[str, object]], args: Args) -> str:
    """The results as Markdown."""
    lines = [
        f"Control steps (10 ms = 5 physics steps) per second; {args.worlds} worlds, {args.threads} threads;"
        f" AsyncVectorEnv with {args.processes} processes. Medians of {args.repeats}.",
        "",
        "| task | vector env | bare rollout | AsyncVectorEnv | to bare | to bare, CPU | to Async | to Async, CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, r in results.items():
        rates = " | ".join(f"{r[k]:,.0f}" for k in ("vector", "bare", "async"))
        ratios = " | ".join(f"{r[k]:.2f}" for k in KINDS)
        lines.append(f"| {task} | {rates} | {ratios} |")
    lines += ["", "Wanted: at least 0.9 of bare, at least 2 times AsyncVectorEnv."]
    return "\n".join(lines) + "\n"


def main(args: Args) -> dict[str, dict[str, object]]:
    """Measure both tasks, print, save."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    results = {"walk": measure("walk", args), "swim": measure("swim", args)}
    text = table(results, args)
    print(text)
    args.out.mkdir(parents=True, exist_ok=True)
    machine = {"processors": os.cpu_count(), "mujoco": mujoco.__version__, "python": platform.python_version()}
    settings = {k: v for k, v in asdict(args).items() if k != "out"}
    data = {"machine": machine, "settings": settings, "results": results}
    (args.out / "env_throughput.json").write_text(json.dumps(data, indent=2) + "\n")
    (args.out / "env_throughput.md").write_text(text)
    return results


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
