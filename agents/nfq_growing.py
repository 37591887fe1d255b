"""NFQ with a growing batch: act greedily for an episode, fit again, test, and go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.nfq import NFQ
from agents.nfq_trials import greedy_episodes, trials
from sim.nfq_tasks import Task

__all__ = ["Growing", "grow"]


@dataclass(frozen=True)
class Growing:
    """How a batch grows and how its policies are tested."""

    length: int
    """Steps of a training episode, at most."""
    steps: int
    """Steps of a test episode, at most."""
    episodes: int = 150
    """Training episodes, at most."""
    iterations: int = 1
    """NFQ iterations after each episode."""
    reach: int = 1
    """Steps for which a training action is kept up, and over which transitions reach (`agents.held_windows`)."""
    after: int | None = None
    """Episodes by which training goes on once every run has succeeded; None: to the end."""
    together: int = 1
    """Training episodes between two fits once every run has succeeded (the paper has 1): data are cheap then, fits are
    not."""


def grow(
    task: Task,
    nfq: NFQ,
    rng: np.random.Generator,
    tests: np.ndarray,
    plan: Growing,
    others: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Train all runs of `nfq` side by side; a policy succeeds that passes from all starts `tests` [N, S].

    Returns:
        Of every run: `first` (episode and cycles of the first success, or None), `best` (least mean number of steps
        outside the goal of a successful policy, or None), `successes` (episode, cycles, that number), and `elsewhere`,
        that number of the policy of `best` from the starts `others` [N', S], which had no part in its choice.
    """
    runs: list[dict[str, Any]] = [
        {"first": None, "best": None, "elsewhere": None, "successes": []} for _ in range(nfq.members)
    ]
    episode, end = 0, plan.episodes
    while episode < end:
        batch = min(plan.together if all(run["first"] for run in runs) else 1, end - episode)
        for _ in range(batch):
            greedy_episodes(task, nfq, rng, plan.length, reach=plan.reach)
        episode += batch
        for _ in range(plan.iterations):
            nfq.iterate()
        for k, cost in successful(task, nfq, tests, plan.steps, [run["best"] for run in runs]):
            run = runs[k]
            run["successes"].append([episode, nfq.sizes()[k], cost])
            run["first"] = run["first"] or [episode, nfq.sizes()[k]]
            if run["best"] is None or cost < run["best"]:
                run["best"] = cost
                if others is not None:
                    passed, elsewhere = trials(task, nfq, [k], others, plan.steps)
                    run["elsewhere"] = float(elsewhere[0]) if passed[0] else None
        if plan.after is not None and all(run["first"] for run in runs):
            end = min(end, max(run["first"][0] for run in runs) + plan.after)
    return runs


def successful(
    task: Task, nfq: NFQ, tests: np.ndarray, steps: int, best: list[float | None]
) -> list[tuple[int, float]]:
    """Runs whose policies pass from all starts, with their costs.

    Few and short tests go before many and long ones, since most policies fail; a run that has succeeded before is
    tested in full only if it promises to be better than its best.
    """
    rows = np.arange(nfq.members)
    cost = np.zeros(len(rows))
    for count, time in ((10, min(steps, 500)), (100, steps), (len(tests), steps)):
        good, cost = trials(task, nfq, rows.tolist(), tests[:count], time)
        if count < len(tests) and time == steps:
            known = np.array([np.inf if (value := best[k]) is None else value for k in rows])
            good &= cost < known
        rows, cost = rows[good], cost[good]
        if not len(rows):
            break
    return [(int(k), float(value)) for k, value in zip(rows, cost, strict=True)]
