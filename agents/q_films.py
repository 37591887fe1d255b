"""One greedy episode of a learner as a film: steering from above, Gymnasium's own pictures for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from agents.drive_task import DriveTask
from agents.evaluation import Greedy
from agents.q_tasks import make_task
from agents.rollout import rollout
from agents.steer_film import steer_film, watch
from sim.encode import Mp4Writer

__all__ = ["film_agent"]


def film_agent(
    agent: Any, name: str, out: Path, *, hide: bool, seed: int = 0, worlds: int = 6, frame_skip: int = 1
) -> Path | str:
    """Film a learner in its task; returns the film's path, or why there is none.

    Args:
        agent: any learner, or any actor of `agents.rollout`.
        name: id of the task, as for `agents.q_tasks.make_task`.
        out: the film's name.
        hide: what `make_task` hides.
        seed: of the episode.
        worlds: how many steering animals are shown side by side.
        frame_skip: environment steps per action and picture.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if name == "salamander/Steer-v0":
        env: DriveTask = make_task(name, worlds, hide=hide)
        title = "steering by drive clamps; a filled target is in sight"
        return steer_film(watch(agent, env, seed=seed), out, length=env.inner.unwrapped.salamander.length, title=title)
    try:
        env_1 = make_task(name, 1, hide=hide, frame_skip=frame_skip, render_mode="rgb_array")
        return _pictures(agent, env_1, out, seed)
    except (DependencyNotInstalled, TypeError) as why:  # no pygame; or a task that draws no pictures
        return f"no film of {name}: {why}"


def _pictures(agent: Any, env: Any, out: Path, seed: int, max_steps: int = 1000) -> Path:
    frames: list[np.ndarray] = []
    player = Greedy(agent) if hasattr(agent, "choose") else agent
    for transition in rollout(env, player, max_steps, seed=seed):
        if transition.terminated[0] or transition.truncated[0]:
            break  # by now the world has started anew
        frames.append(np.asarray(env.render()[0]))
    height, width = (size - size % 2 for size in frames[0].shape[:2])
    fps = float(env.metadata.get("render_fps", 30))
    with Mp4Writer(out, width, height, fps) as writer:
        for frame in frames:
            writer.write(frame[:height, :width])
    env.close()
    return out
