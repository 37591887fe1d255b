"""Evolution of a salamander's gait at muscle level: what a gait is rewarded for and pays for, and the search."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from agents.evolution import evolve
from agents.rollout import rollout
from agents.salamander_gait import SalamanderGait
from sim.footfall import slip_speeds
from sim.salamander_tasks import GRAVITY
from sim.trajectory import SPINE

__all__ = ["COARSE", "DUTY", "EPISODE", "POPULATION", "PRICES", "Prices", "evolve_gait", "stumbling", "sway"]

POPULATION = {"swim": 16, "walk": 24}
"""Candidates of a generation, one animal each."""
EPISODE = {"swim": 300, "walk": 200}
"""Control steps of 10 ms in a candidate's life."""

COARSE: dict[str, dict[str, Any]] = {"swim": {"timestep": 0.005, "integrator": "euler"}, "walk": {"timestep": 0.005}}
"""Physics of the first part of the search, up to three times as many steps a second; what is found there is a few
percent too fast. On the ground Euler steps will not do: the ways that 32 random gaits go in two seconds correlate with
those in fine physics by 0.81, and in discrete steps of 5 ms by 0.997."""
DUTY = 0.76, 0.05
"""Part of the cycle that a walking newt's foot is on the ground (Ashley-Ross & Bechtel, 2004), and by how much a foot
may miss it for nothing."""


@dataclass(frozen=True)
class Prices:
    """What is taken off the task's own reward."""

    steadiness: float = 0.5
    """For swaying: per (BL/s)^2 of the centre of mass sideways and per rad^2 of heading's deviation from the start; and
    per BL/s of speed beyond a third more than what the task asks for."""
    effort: float = 0.0
    """For muscle power, per body weight lifted by a body length each second."""
    slip: float = 0.0
    """Walking: for the mean horizontal speed of standing feet, per BL/s."""
    duty: float = 0.0
    """Walking: for a duty factor that misses the newt's (`DUTY`), per unit, summed over the feet."""
    bending: float = 0.0
    """For the mean square of the spine's joint angles, per rad^2."""


PRICES = {"swim": Prices(effort=0.01), "walk": Prices(slip=0.5, duty=0.5, bending=0.5)}
"""Of each task. In the water the task's own economy hardly tells gaits apart at the power that its speed takes; without
a further price of effort the best is a short quick wave, which sways least and wastes most; at 0.03 it is a beating
tail, and so it is at a price of bending of 0.5 (0.74 and 0.82 waves per body, over two seeds and one). On land, without
prices of slip and duty, the best slithers on feet that never lift, or runs."""


def evolve_gait(
    task: str,
    *,
    minutes: float,
    worlds: int | None = None,
    episode: int | None = None,
    coarse: float = 0.6,
    prices: Prices | None = None,
    seed: int = 0,
    threads: int = 1,
    world: str | None = None,
    after: Callable[[dict[str, Any], np.ndarray, int], None] | None = None,
) -> tuple[SalamanderGait, np.ndarray]:
    """The best of random starts, then CMA-ES; the gait and the better of the last mean and the best candidate [D].

    Args:
        task: "swim" or "walk".
        minutes: CPU time.
        worlds: animals side by side, one candidate each; None, here and below, for the task's own.
        episode: control steps (10 ms) of a candidate's life; the first sixth is not scored.
        coarse: part of the time in coarse physics.
        prices: what is taken off the reward.
        seed: of everything.
        threads: of the physics.
        world: where.
        after: called after every generation, and at the end, with a row of its course (none at the end), the unit
            vector found so far, and the environment steps lived.
    """
    gait, cost = SalamanderGait(task), prices or PRICES[task]
    worlds, episode = worlds or POPULATION[task], episode or EPISODE[task]
    rough, fine = (
        gymnasium.make_vec(
            f"sim:salamander/{task.capitalize()}-v0",
            num_envs=worlds,
            world=world,
            max_episode_steps=None,
            terminate=False,
            threads=threads,
            **physics,
        )
        for physics in (COARSE[task], {})
    )
    began, lived = time.process_time(), 0

    def score(candidates: np.ndarray) -> np.ndarray:
        nonlocal lived
        early = time.process_time() - began < 60 * minutes * coarse
        lived += worlds * episode
        return _score(rough if early else fine, gait, candidates, episode, cost, seed)

    def follow(generation: int, mean: np.ndarray, best: float) -> bool:
        cpu = time.process_time() - began
        if after is not None:
            after({"generation": generation, "steps": lived, "best": best, "cpu_seconds": cpu}, mean, lived)
        return cpu > 60 * minutes

    draws = np.random.default_rng(seed).random((4 * worlds, gait.space.size))
    scores = np.concatenate([score(part) for part in draws.reshape(4, worlds, -1)])
    start = draws[scores.argmax()]
    found = evolve(score, start, sigma=0.2, population=worlds, generations=10_000, seed=seed, after=follow)
    finalists = np.stack([found.mean, found.best] + [found.mean] * (worlds - 2))
    chosen = finalists[int(score(finalists)[:2].argmax())]
    if after is not None:
        after({}, chosen, lived)
    return gait, chosen


def _score(
    env: Any, gait: SalamanderGait, candidates: np.ndarray, episode: int, prices: Prices, seed: int
) -> np.ndarray:
    """Mean reward per step less prices [P], without the first sixth of the episode."""
    body, settled = env.unwrapped.salamander, episode // 6
    weight = body.mass * GRAVITY * body.length
    total, contact, feet = np.zeros(len(candidates)), [], []
    for step in rollout(env, gait.controller(candidates), episode, seed=seed):
        if step.step < settled:
            continue
        bend = np.square(body.joint_angles()[:, SPINE]).mean(1)
        paid = prices.steadiness * sway(env, step.next_obs) + prices.effort * body.muscle_power() / weight
        total += step.reward - paid - prices.bending * bend
        if gait.task == "walk":
            contact.append(body.foot_contact())
            feet.append(body.foot_positions() / body.length)
    total /= episode - settled
    return total - stumbling(np.array(contact), np.array(feet), body.dt, prices) if contact else total


def sway(env: Any, obs: np.ndarray) -> np.ndarray:
    """What is against a calm gait [B]: lateral speed, heading, and more haste than the task asks for."""
    names, wanted = env.unwrapped.observation_names, env.unwrapped.task.wanted
    forward, left, cosine = (obs[:, names.index(n)] for n in ("velocity.forward", "velocity.left", "heading.cos"))
    return left**2 + 2 * (1 - cosine) + np.maximum(forward - wanted * 4 / 3, 0.0)


def stumbling(contact: np.ndarray, feet: np.ndarray, dt: float, prices: Prices) -> np.ndarray:
    """What an episode's steps cost [B]: standing feet that slide, and feet that stand too long or not long enough.

    Args:
        contact: which feet are on the ground [T, B, 4].
        feet: where they are, BL [T, B, 4, 3].
        dt: s.
        prices: of slip and duty.
    """
    T, B, F = contact.shape
    slips = slip_speeds(contact.reshape(T, B * F), feet.reshape(T, B * F, 3), dt).reshape(B, F)
    stands = np.isfinite(slips)  # a foot that never stands cannot slip; its duty factor is what it pays for
    slip = np.where(stands, slips, 0.0).sum(1) / np.maximum(stands.sum(1), 1)
    usual, free = DUTY
    missed = np.maximum(np.abs(contact.mean(0) - usual) - free, 0.0).sum(1)
    return prices.slip * slip + prices.duty * missed
