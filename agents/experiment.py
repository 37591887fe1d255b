"""One experiment with the animal: worlds, a controller, a recording, and what is made of it afterwards."""

from __future__ import annotations

from typing import Any

import gymnasium

from agents.controller import NetworkController
from agents.recorder import Recorder
from agents.rollout import Worlds, rollout
from agents.runs import Run
from agents.spans import Stretch, steady, stretches
from rnn.edits import check_span
from sim.gait import gait_metrics
from sim.gait_plots import plot_gait
from sim.reference import DRY_WORLDS, gait_table
from sim.trajectory import Trajectory

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
    film: bool = True,
    expected: str | None = None,
    webp: bool = False,
) -> dict[str, Any]:
    """Write traces, metrics, plots and film into the run, print the gait tables, and return the metrics.

    The whole run (without its first quarter) is measured, and each stretch between changes of the drive.

    Args:
        run: the run folder.
        recorder: the recording; world 0 is written.
        film: render the film.
        expected: "swim" or "walk": the animal's figures to print ours beside; None chooses by the gait that came out.
        webp: also write a small animation.
    """
    traces = recorder.traces()
    trajectory = Trajectory.load(run.save_traces(traces))
    whole = gait_metrics(trajectory)
    parts = [] if expected else stretches(traces, trajectory)
    tables = {gait: (_when(part), part.metrics) for gait, part in steady(parts).items()}
    for gait, (when, metrics) in (tables or {expected or whole.gait: (_when(None), whole)}).items():
        if gait != "rest":
            print(f"\n{when}\n{gait_table(metrics, 'walk' if trajectory.world in DRY_WORLDS else gait)}")
    if len(parts) > 1:
        print("\n" + "\n".join(_line(part) for part in parts))
    data = {
        **whole.to_dict(),
        "diverged": bool(recorder.diverged[0]),
        "interrupted": recorder.interrupted,
        "stretches": [{"start": p.start, "stop": p.stop, **p.metrics.to_dict()} for p in parts],
    }
    run.save_json("metrics.json", data)
    if len(traces["time"]) * recorder.salamander.dt >= 1.0:
        plot_gait(trajectory, run.folder / "plots")
    if recorder.interrupted:
        run.finish("interrupted")
        print(f"interrupted after {traces['time'][-1]:.2f} s; what was recorded is kept")
    elif film:
        make_film(traces, run.folder / "film.mp4", webp=webp)
    print(f"written to {run.folder}: {', '.join(sorted(path.name for path in run.folder.iterdir()))}")
    return data


def _when(part: Stretch | None) -> str:
    return "the whole run" if part is None else f"{part.start:.1f} to {part.stop:.1f} s"


def _line(part: Stretch) -> str:
    m = part.metrics
    return (
        f"{part.start:5.1f} to {part.stop:5.1f} s  {m.gait:5s} {m.forward_speed:6.2f} BL/s {m.frequency:5.2f} Hz "
        f"turning {m.yaw_rate:6.1f} deg/s"
    )


def make_film(traces: dict[str, Any], out: Any, *, webp: bool = False) -> None:
    """Render the film of a recording (see `sim.video`)."""
    from sim.video import film

    film(traces, out, webp=webp)
