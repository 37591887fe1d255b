"""Can a network learn from scratch, through 48 muscles, to swim and to walk like a newt?

    python -m scripts.train_salamander --task swim --cell cpg --minutes 5 --out runs/learned_swim
    python -m scripts.train_salamander --task walk --cell cpg --minutes 10 --out runs/learned_walk
    python -m scripts.train_salamander --task swim --cell oscillators --out runs/ppo_swim
    python -m scripts.train_salamander --task walk --world rough --cell generator --out runs/ppo_rough
    python -m scripts.train_salamander --task walk --cell lstm --out runs/ppo_lstm
    python -m scripts.train_salamander --task steer --cell lstm --level drive --out runs/steer

`--cell cpg` evolves the weights of an oscillator network (frequency, gains, lags, limb phases) from a random start by
CMA-ES. All others learn by PPO: `--cell oscillators` is a network of oscillators inside the actor that hears all the
animal senses, `--cell generator` the fixed pattern generator, which learns feedback, any cell of `rnn.models` a plain
recurrent policy, at muscle level or (`--level drive`) on the drives of a fixed pattern generator. Writes `metrics.csv`
and `plots/learning.png` (the course of learning), a gait table beside the animal's, plots, traces and a film.
`--resume --out DIR` goes on with a run of PPO that was stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro

from agents.drive_level import SETTINGS, drive_worlds
from agents.evaluation import Greedy
from agents.experiment import live, report
from agents.gait_evolution import EPISODE, POPULATION, PRICES, Prices, evolve_gait
from agents.muscle_actors import Activations, DrivenMuscles
from agents.muscle_ppo import OSCILLATORS, muscle_worlds
from agents.persistence import CHECKPOINT
from agents.recurrent_ppo import RecurrentPPO
from agents.runs import Run, continued
from agents.salamander_gait import SalamanderGait
from agents.spinal_ppo import GENERATOR, muscle_learner

EVOLVED = ("swim", "walk")
STEPS = {"muscle": 200_000, "drive": 16_000}
WORLDS = {"muscle": 64, "drive": 16}
COARSE_PART = {OSCILLATORS: 0.5, GENERATOR: 0.9}
SECONDS = {"swim": 8.0, "walk": 8.0, "shore": 16.0, "steer": 16.0}
PRICE_NAMES = tuple(field.name for field in fields(Prices))


@dataclass
class Args:
    task: Literal["swim", "walk", "shore", "steer"] = "swim"
    """What is rewarded."""
    cell: str = "cpg"
    """"cpg" (evolved oscillators: swim and walk); by PPO "oscillators" or "generator" (muscle level), or a cell of
    `rnn.models`."""
    level: Literal["muscle", "drive"] = "muscle"
    """PPO acts on muscles, or on the drives of a fixed pattern generator."""
    world: str | None = None
    """Where, if not in the task's own: "rough" for walking, "channel" for swimming, "land" for steering ..."""
    minutes: float = 10.0
    """Evolution ends after so much CPU time."""
    steps: int | None = None
    """PPO's environment steps (at drive level, decisions of a quarter of a second); None for that of `STEPS`."""
    worlds: int | None = None
    """Animals side by side; None for the population of evolution (16 swimming, 24 walking), or for PPO 64 on muscles,
    16 on drives."""
    episode: int | None = None
    """Control steps (10 ms) of an episode of evolution; None for that of `agents.gait_evolution.EPISODE`."""
    steadiness: float | None = None
    """Price of swaying and of haste, swimming and walking; this and the next four are explained in
    `agents.gait_evolution.Prices`, None takes the task's own. PPO at muscle level pays this, effort and bending."""
    effort: float | None = None
    """Evolution's price of muscle power."""
    slip: float | None = None
    """Evolution's price of standing feet that slide, walking."""
    duty: float | None = None
    """Evolution's price of duty factors unlike the newt's, walking."""
    bending: float | None = None
    """Evolution's price of bending the spine."""
    coarse: float | None = None
    """Part of evolution's time (`agents.gait_evolution.COARSE`), or of the steps of PPO at muscle level, in coarse
    physics (`agents.muscle_ppo.muscle_worlds`); None for 0.6 (0.5 for the cell "oscillators",
    0.9 for "generator")."""
    seconds: float | None = None
    """Length of the recording at the end; None for that of `SECONDS`."""
    film: bool = True
    """Render it."""
    threads: int = 1
    """Of the physics."""
    resume: bool = False
    """Go on from the checkpoint of PPO in the run folder `out`, with the settings of that run."""
    seed: int = 0
    """Of everything."""
    out: Path | None = None
    """Run folder."""


def main(args: Args) -> dict[str, Any]:
    torch.set_num_threads(1)
    args = complete(resumed(args) if args.resume else args)
    run = Run(args.out, args, again=args.resume) if args.out else Run.new("train_salamander", args, seed=args.seed)
    with run:
        actor = by_evolution(args, run) if args.cell == "cpg" else by_policy_gradient(args, run)
        draw(run)
        env = gymnasium.make_vec(
            f"sim:salamander/{args.task.capitalize()}-v0",
            num_envs=1,
            world=args.world,
            max_episode_steps=None,
            terminate=False,
        )
        recorder = live(env, actor, args.seconds or SECONDS[args.task], seed=args.seed, neurons=False)
        return report(run, recorder, film=args.film, expected=args.task if args.task in EVOLVED else None)


def resumed(args: Args) -> Args:
    """The settings of a run of PPO that was stopped.

    Raises:
        ValueError: there is none in the folder, or no checkpoint in it.
    """
    if args.out is None:
        raise ValueError("--resume needs the run folder: --out DIR")
    args = continued(args, free=("film", "seconds", "threads"))
    if args.cell == "cpg":
        raise ValueError(f"evolution does not go on; {args.out}/gait.json has the gait that it had found")
    if not (args.out / "checkpoints" / CHECKPOINT).is_file():
        raise ValueError(f"the run in {args.out} was stopped before its first checkpoint; begin again, no --resume")
    return args


def complete(args: Args) -> Args:
    """The settings with what was left open filled in.

    Raises:
        ValueError: a cell that does not serve the task or the level, or a number out of range.
    """
    if args.cell == "cpg" and (args.task not in EVOLVED or args.level != "muscle"):
        raise ValueError(
            f"evolved oscillators swim or walk through muscles, received the task {args.task!r} at {args.level} level; "
            'choose another cell, such as "gru"'
        )
    if args.cell in (OSCILLATORS, GENERATOR) and args.level != "muscle":
        raise ValueError('oscillators act on muscles; at drive level choose another cell, such as "gru"')
    least = {"steps": 1, "worlds": 2 if args.cell == "cpg" else 1, "episode": 6, "threads": 1, "minutes": 0, "seed": 0}
    for name, bound in least.items():
        if (value := getattr(args, name)) is not None and value < bound:
            raise ValueError(f"{name} is at least {bound}, received {value}")
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"seconds is more than 0, received {args.seconds}")
    for name in PRICE_NAMES:
        if (value := getattr(args, name)) is not None and not value >= 0:
            raise ValueError(f"a price is at least 0, received {name}={value}")
    if args.coarse is not None and not 0 <= args.coarse <= 1:
        raise ValueError(f"coarse is a part of the time, 0 to 1, received {args.coarse}")
    own_worlds = POPULATION[args.task] if args.cell == "cpg" else WORLDS[args.level]
    own = PRICES.get(args.task, Prices())
    return replace(
        args,
        **{name: getattr(own, name) for name in PRICE_NAMES if getattr(args, name) is None},
        steps=STEPS[args.level] if args.steps is None else args.steps,
        worlds=own_worlds if args.worlds is None else args.worlds,
        episode=EPISODE.get(args.task) if args.episode is None else args.episode,
        seconds=SECONDS[args.task] if args.seconds is None else args.seconds,
        coarse=COARSE_PART.get(args.cell, 0.6) if args.coarse is None else args.coarse,
    )


def draw(run: Run) -> None:
    """The course of learning, as written to `metrics.csv`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    name = "best" if "best" in rows[0] else "reward"
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([float(row["steps"]) for row in rows], [float(row[name]) for row in rows], lw=1)
    axes.set(xlabel="environment steps", ylabel=f"{name} per step")
    (run.folder / "plots").mkdir(exist_ok=True)
    FigureCanvasAgg(figure).print_figure(run.folder / "plots" / "learning.png", dpi=150)


def by_evolution(args: Args, run: Run) -> Any:
    """The gait of the last generation's mean, or the best seen."""
    assert args.worlds is not None and args.coarse is not None
    best = -np.inf

    def after(row: dict[str, Any], unit: np.ndarray, steps: int) -> None:
        nonlocal best
        numbers = {
            name: value[0].tolist() for name, value in SalamanderGait(args.task).space.decode(unit[None]).items()
        }
        found = {"task": args.task, "unit": unit.tolist(), "numbers": numbers, "steps": steps}
        run.save_json("gait.json", found)  # so that a run that is killed has its gait
        if not row:
            return
        run.log(**row | {"best": round(row["best"], 4), "cpu_seconds": round(row["cpu_seconds"], 1)})
        if row["best"] > best + 0.02:
            best = row["best"]
            print(
                f"generation {row['generation']}: reward {best:.3f} per step, {steps} steps, "
                f"{row['cpu_seconds']:.0f} CPU-s",
                flush=True,
            )

    gait, unit = evolve_gait(
        args.task,
        minutes=args.minutes,
        worlds=args.worlds,
        episode=args.episode,
        coarse=args.coarse,
        prices=Prices(**{name: getattr(args, name) for name in PRICE_NAMES}),
        seed=args.seed,
        threads=args.threads,
        world=args.world,
        after=after,
    )
    return gait.controller(unit)


def by_policy_gradient(args: Args, run: Run) -> Any:
    """The greedy policy after training, as an actor on muscles."""
    assert args.worlds is not None and args.steps is not None and args.coarse is not None
    kept, every = run.folder / "checkpoints", args.steps / 50
    saved = RecurrentPPO.load(kept) if args.resume else None
    begun, pending = (saved.num_timesteps, bool(saved.collector.steps)) if saved else (0, False)
    before = run.rows("steps", begun) if saved else []
    if args.level == "drive":
        env: Any = drive_worlds(args.task, args.worlds, threads=args.threads, world=args.world)
        agent: RecurrentPPO = RecurrentPPO(env, seed=args.seed, cell=args.cell, hidden=64, **SETTINGS[args.task])
    else:
        prices = Prices(**{name: getattr(args, name) for name in PRICE_NAMES}) if args.task in EVOLVED else None
        places: dict[str, Any] = {"world": args.world, "threads": args.threads, "prices": prices}
        coarse = args.coarse > 0 and (begun < args.coarse * args.steps or pending)
        env = muscle_worlds(args.task, args.worlds, coarse=coarse, **places)
        agent = muscle_learner(args.task, args.cell, env, seed=args.seed)
    if saved:
        agent = type(agent).load(kept, env)
    lately: list[float] = []
    written, began = int(begun // every), time.process_time() - (float(before[-1]["cpu_seconds"]) if before else 0.0)

    def note(local: dict[str, Any], _: Any) -> bool:
        nonlocal written
        lately.append(float(local["transition"].reward.mean()))
        done = agent.num_timesteps
        if done >= (written + 1) * every or done >= args.steps:
            cpu, episodes = time.process_time() - began, agent.ep_info_buffer
            score = round(float(np.mean([e["r"] for e in episodes])), 3) if episodes else ""
            reward = float(np.mean(lately))
            run.log(steps=done, reward=round(reward, 4), score=score, cpu_seconds=round(cpu, 1))
            if written % 5 == 0:
                print(f"{done} steps: reward {reward:.3f} per step, {cpu:.0f} CPU-s", flush=True)
            lately.clear()
            written = int(done // every)
        return True

    def early(local: dict[str, Any], rest: Any) -> bool:
        """Until the coarse part is over, and the last rollout learned from."""
        return note(local, rest) and not (agent.num_timesteps >= args.coarse * args.steps and not agent.collector.steps)

    def go(until: Any) -> None:
        if agent.num_timesteps:  # of a saved run, or in coarse physics
            agent.resume(until, checkpoint=kept)
        else:
            agent.learn(args.steps, callback=until, checkpoint=kept)  # type: ignore[arg-type]

    if args.level == "drive":
        go(note)
        return DrivenMuscles(Greedy(agent))
    if coarse:
        go(early if args.coarse < 1 else note)
    if agent.num_timesteps < args.steps:
        if coarse:
            agent.set_env(muscle_worlds(args.task, args.worlds, coarse=False, **places))
        go(note)
    return Activations(Greedy(agent))


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; PPO goes on from its last checkpoint with --resume --out RUN_FOLDER")
