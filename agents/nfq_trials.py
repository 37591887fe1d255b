"""Episodes of fitted Q on the tasks of 2005, many runs side by side: to gather data, and to judge policies."""

from __future__ import annotations

import numpy as np

from agents.held_windows import held_windows, keep_actions
from agents.nfq import NFQ
from sim.nfq_tasks import Task

__all__ = ["balance", "greedy_episodes", "random_episodes", "trials"]


def random_episodes(task: Task, rng: np.random.Generator, episodes: int) -> list[np.ndarray]:
    """Transitions of random behaviour until failure: state, action, cost, next state, discount."""
    state = task.start(rng, episodes)
    parts: list[tuple[np.ndarray, ...]] = []
    while len(state):
        action = rng.integers(len(task.forces), size=len(state))
        after = task.step(state, action, rng)
        ended = task.failed(after)
        parts.append((state, action, task.cost(after), after, 1.0 - ended))
        state = after[~ended]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def greedy_episodes(task: Task, nfq: NFQ, rng: np.random.Generator, length: int, *, reach: int = 1) -> None:
    """One episode of every run with its own greedy policy (random before the first fit), added to its data.

    Actions are kept up for `reach` steps, and transitions reach over as many (`agents.held_windows`).
    """
    runs = nfq.members
    action, left = np.zeros((2, runs), dtype=np.int64)
    state, alive = task.start(rng, runs), np.ones(runs, dtype=bool)
    rows: list[tuple[np.ndarray, ...]] = []
    for _ in range(length):
        if nfq.iterations:
            wanted = nfq.act(state[:, None])[:, 0]
        else:
            wanted = rng.integers(len(task.forces), size=runs)
        action, left = keep_actions(wanted, action, left, ~alive, reach)
        after = task.step(state, action, rng)
        ended = task.failed(after) | (task.reached(after) & task.goal_ends)
        rows.append((state, action, task.cost(after), after, 1.0 - ended, alive.copy()))
        alive &= ~ended
        state = np.where(alive[:, None], after, state)
        if not alive.any():
            break
    columns = [np.stack(column, 1) for column in zip(*rows, strict=True)]
    for k in range(runs):
        s_tm1, a_tm1, cost_t, s_t, discount_t = [column[k][columns[5][k]] for column in columns[:5]]
        total, last, power = held_windows(a_tm1, cost_t, discount_t == 0, gamma=nfq.config.gamma, reach=reach)
        nfq.add(k, s_tm1, a_tm1, np.minimum(total, 1), s_t[last], power * discount_t[last])


def balance(task: Task, nfq: NFQ, rng: np.random.Generator, episodes: int, steps: int) -> np.ndarray:
    """Steps until failure of greedy episodes, [R, episodes]."""
    state = task.start(rng, nfq.members * episodes, test=True)
    alive = np.ones(len(state), dtype=bool)
    lasted = np.zeros(len(state), dtype=np.int64)
    for _ in range(steps):
        action = nfq.act(state.reshape(nfq.members, episodes, -1)).ravel()
        state = task.step(state, action, rng)
        lasted += alive
        alive &= ~task.failed(state)
        state[~alive] = 0.0
        if not alive.any():
            break
    return lasted.reshape(nfq.members, episodes)


def trials(task: Task, nfq: NFQ, rows: list[int], starts: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of some runs' greedy policies succeed from every start, and their mean number of steps outside the goal."""
    members = nfq.members_of(rows)
    count, size = starts.shape
    state, rng = np.tile(starts, (len(rows), 1)), np.random.default_rng(0)
    running = np.ones(len(state), dtype=bool)
    good = np.ones(len(rows), dtype=bool)
    outside = np.zeros(len(state))
    for _ in range(steps):
        action = members.act(state.reshape(len(rows), count, size)).ravel()
        state = np.where(running[:, None], task.step(state, action, rng), state)
        failed = running & task.failed(state)
        good &= ~failed.reshape(len(rows), count).any(1)
        running &= np.repeat(good, count)
        outside += running & ~task.reached(state)
        if task.goal_ends:
            running &= ~task.reached(state)
        if not running.any():
            break
    if task.goal_ends:
        good &= ~running.reshape(len(rows), count).any(1)
        outside += 1
    else:
        good &= task.reached(state).reshape(len(rows), count).all(1)
    return good, outside.reshape(len(rows), count).mean(1)
