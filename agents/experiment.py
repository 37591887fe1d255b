"""One experiment with the animal: worlds, a controller, a recording, and what is made of it afterwards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from agents.controller import NetworkController
from agents.recorder import Recorder
from agents.rollout import Worlds, rollout
from agents.runs import Run
from rnn.edits import check_span

__all__ = ["TASKS", "live", "make_worlds", "report"]

TASKS = {"pool": "Swim", "channel": "Swim", "land": "Walk", "rough": "Walk", "shore": "Shore"}
"""The Gymnasium task that goes with each world."""


def make_worlds(world: str, num_envs: int = 1, *, control: str = "muscle", **options: Any) -> Any:
    """A vector environment that runs on for ever: no time limit, no termination.

    Args:
        world: "pool", "channel", "land", "rough" or "shore".
        num_envs: how many animals.
        control: "muscle" (48 activations) or "joint" (24 target angles, rad).
        options: passed to the environment (length, timestep, current ...).

    Raises:
        ValueError: no world of that name.
    """
    if world not in TASKS:
        raise ValueError(f"unknown world {world!r}; the worlds are {', '.join(TASKS)}")
    return gymnasium.make_vec(
        f"sim:salamander/{TASKS[world]}-v0",
        num_envs=num_envs,
        world=world,
        control=control,
        terminate=False,
        max_episode_steps=None,
        **options,
    )


def live(
    env: Any,
    actor: Any,
    seconds: float,
    *,
    seed: int | None = 0,
    progress: str | None = "simulating",
    neurons: bool = True,
) -> Recorder:
    """Let an actor drive the animals for some time and record them; Ctrl-C ends the time early and loses nothing.

    Raises:
        ValueError: the time is not positive, or an edit starts after its end.
    """
    body = env.unwrapped.salamander
    steps = round(seconds / body.dt)
    if steps < 1:
        raise ValueError(f"the run must last at least one control step of {body.dt:g} s, received {seconds:g} s")
    controller = actor if isinstance(actor, NetworkController) else None
    if controller is not None:
        check_span(controller.edits(), steps, body.dt)
    recorder = Recorder(body, controller, neurons=neurons)
    try:
        for _ in rollout(Worlds(env), actor, steps, seed=seed, progress=progress):
            recorder.record()
    except KeyboardInterrupt:
        if not len(recorder):
            raise
        recorder.interrupted = True
    return recorder


def report(
    run: Run,
    recorder: Recorder,
    *,
    start: float | None = None,
    stop: float = np.inf,
    film: bool = True,
    expected: str | None = None,
    webp: bool = False,
    table: bool = True,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write traces, metrics, plots and film into the run, print the gait table, and return the metrics.

    Args:
        run: the run folder.
        recorder: the recording; world 0 is written.
        start: measure from this time on, s; None leaves out the first quarter.
        stop: measure up to this time, s.
        film: render the film.
        expected: "swim" or "walk": the animal's figures to print ours beside; None chooses by the gait that came out.
        webp: also write a small animation.
        table: print the gait table.
        extra: more entries for `metrics.json`.
    """
    from sim.gait import Trajectory, gait_metrics
    from sim.gait_plots import plot_gait
    from sim.reference import DRY_WORLDS, gait_table

    traces = recorder.traces()
    path = run.save_traces(traces)
    trajectory = Trajectory.load(path)
    metrics = gait_metrics(trajectory, start=start, stop=stop)
    gait = expected
    if gait is None and table and metrics.gait != "rest":
        gait = "walk" if trajectory.world in DRY_WORLDS else metrics.gait
    data = {**metrics.to_dict(), "diverged": bool(recorder.diverged[0]), **(extra or {})}
    run.save_json("metrics.json", data)
    print(f"\n{metrics.gait} in the {trajectory.world}: {metrics.speed:.2f} BL/s at {metrics.frequency:.2f} Hz")
    if gait is not None:
        print(gait_table(metrics, gait))
    plot_gait(trajectory, run.folder / "plots", start=start)
    if film and not recorder.interrupted:
        make_film(traces, run.folder / "film.mp4", webp=webp)
    if recorder.interrupted:
        run.finish("interrupted")
        print(f"interrupted after {traces['time'][-1]:.2f} s; what was recorded is kept")
    print(f"written to {run.folder}{os.sep}: traces.npz, metrics.json, plots{os.sep}" + (", film.mp4" if film else ""))
    return data


def make_film(traces: dict[str, Any], out: Any, *, webp: bool = False) -> None:
    """Render the film of a recording (see `sim.video`)."""
    from sim.video import film

    film(traces, out, webp=webp)


def rows(recorder: Recorder, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Recorded measurements of all worlds, [T, B, ...]."""
    return {name: np.stack(recorder.columns[name]) for name in names}
