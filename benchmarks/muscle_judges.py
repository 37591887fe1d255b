"""What a policy through the newt's muscles is judged by: its gait, the targets it finds, the line it crosses."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np

from agents.experiment import live
from agents.rollout import rollout
from sim.gait import gait_metrics
from sim.reference import check
from sim.trajectory import Trajectory

__all__ = ["TASKS", "Place", "judge"]

SEED, SETTLING = 98_765, 2.0  # of all judged worlds; s left out of every recorded gait


class Place(NamedTuple):
    """The environment's task, where it is set, and what else its worlds are made with."""

    task: str
    world: str | None = None
    options: dict[str, Any] | None = None


TASKS = {
    "swim": Place("swim"),
    "walk": Place("walk"),
    "rough": Place("walk", "rough", {"reset_spread": 2.0}),
    "shore": Place("shore"),
    "steer": Place("steer"),
}
"""Rough ground: every start has other stones under the feet."""


def judge(task: str, actor: Any, worlds: int, seconds: float | None = None) -> dict[str, Any]:
    """How so many animals fare in the published physics, from starts that differ a little.

    Args:
        task: of `TASKS`.
        actor: of activations.
        worlds: animals.
        seconds: of a recorded gait, 8 by default; or of an episode: by default 20 to steer, 30 to reach the line.
    """
    place = TASKS[task]
    follows_goal = place.task in ("shore", "steer")
    limit = {"shore": 30.0, "steer": 20.0}.get(task, 8.0) if seconds is None else seconds
    env = gymnasium.make_vec(
        f"sim:salamander/{place.task.capitalize()}-v0",
        num_envs=worlds,
        world=place.world,
        max_episode_steps=round(limit / 0.01) if follows_goal else None,
        terminate=follows_goal,
        reset_noise=0.05,  # rad
        threads=1,
        **(place.options or {}),
    )
    return _goals(env, actor) if follows_goal else _gait(env, actor, limit, place.task)


def _gait(env: Any, actor: Any, seconds: float, task: str) -> dict[str, Any]:
    recorder = live(env, actor, seconds, seed=SEED, neurons=False, progress=None)
    settled = min(SETTLING, seconds / 4)
    ahead, inside, found = [], [], []
    for world in range(env.num_envs):
        trajectory = Trajectory.from_arrays(recorder.traces(world)).between(start=settled)
        way = trajectory.centre()[[0, -1], 0]
        ahead.append((way[1] - way[0]) / trajectory.duration / env.unwrapped.salamander.length)
        found.append(gait_metrics(trajectory))
        judged = [line for line in check(found[-1], task) if line.judged]
        inside.append([line.passed for line in judged])
    return {
        "ahead": _mean(ahead),
        "slowest": round(float(np.nanmin(ahead)), 4),
        "speed": _mean([m.speed for m in found]),
        "frequency": _mean([m.frequency for m in found]),
        "stride": _mean([m.stride for m in found]),
        "waves": _mean([m.waves for m in found]),
        "tail": _mean([m.displacement[-1] for m in found]),
        "duty": _mean([m.duty_mean for m in found]),
        "slip": _mean([m.slip for m in found]),
        "cost": _mean([m.cost_of_transport for m in found]),  # J/(kg m), positive muscle work
        "bands": {line.label: int(n) for line, n in zip(judged, np.sum(inside, 0), strict=True)},
        "diverged": int(recorder.diverged.sum()),
    }


def _goals(env: Any, actor: Any) -> dict[str, Any]:
    """Targets found and body lengths gained on them, or when the line was crossed; and who turned over."""
    B, names = env.num_envs, env.unwrapped.observation_names
    over, renewed = np.zeros(B, bool), np.zeros(B, bool)
    targets, gained, seconds = np.zeros(B), np.zeros(B), np.full(B, np.nan)
    fell, diverged = 0, 0
    place = names.index("target.distance" if "target.distance" in names else "goal.distance")
    for step in rollout(env, actor, int(env.unwrapped.max_episode_steps), seed=SEED):
        terms = step.info["reward_terms"]
        nearer = step.obs[:, place] - step.next_obs[:, place]
        gained += np.where(over | renewed, 0.0, nearer)
        there = terms.get("reached", terms.get("arrived")) > 0
        targets += there & ~over
        seconds[there & ~over] = (step.step + 1) * env.unwrapped.dt
        renewed = there
        lost = step.terminated & ~over & ~there
        diverged += int((lost & step.info["diverged"]).sum())
        fell += int((lost & ~step.info["diverged"]).sum())
        over |= step.terminated | step.truncated
        if over.all():
            break
    arrived = ~np.isnan(seconds)
    return {
        "targets": _mean(targets),
        "found_one": _mean(arrived),
        "gained": _mean(gained),
        "arrived": _mean(arrived),
        "seconds": round(float(np.median(seconds[arrived])), 2) if arrived.any() else None,
        "fell": fell,
        "diverged": diverged,
    }


def _mean(values: Any) -> float | None:
    return None if np.isnan(np.asarray(values, float)).all() else round(float(np.nanmean(values)), 4)
