"""What Q learning looks like while it learns: fitted iterations on a pole, deep Q learning with and without memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from agents.learner import evaluate
from agents.nfq import NFQ, NFQConfig
from agents.nfq_trials import balance, random_episodes
from agents.q_tasks import make_agent, make_task
from lecture_figures.page import COLOURS, Figure, Table, axes_of, label
from sim.nfq_tasks import Pole

RUNS, ITERATIONS, LIMIT = 8, 14, 600  # limit: steps of 0.1 s
STEPS, EVERY = 9_600, 1_600  # of the deep learners
AGENTS = {  # name: (hidden velocities, learner)
    "all seen, no memory": (False, "dqn"),
    "velocities hidden, no memory": (True, "dqn"),
    "velocities hidden, gated memory": (True, "recurrent_dqn"),
}


def learning_curves() -> Table:
    """H25: balancing time against fitted iterations; return against steps of deep Q learning."""
    table, task, rng = Table(), Pole(), np.random.default_rng(0)
    nfq = NFQ(2, len(task.forces), NFQConfig(gamma=0.98, epochs=60), members=RUNS, seed=0)
    for member in range(RUNS):
        nfq.add(member, *random_episodes(task, rng, 200))
    courses = [np.full(RUNS, np.mean(nfq.sizes()) / 200 * task.dt)]  # random behaviour
    for _ in range(ITERATIONS):
        nfq.iterate()
        courses.append(balance(task, nfq, np.random.default_rng(1), 5, LIMIT).mean(1) * task.dt)
    for member, course in enumerate(np.stack(courses, 1)):
        table.course("nfq", f"run {member}", course)
    table.numbers["NFQ: transitions per run"] = float(np.mean(nfq.sizes()))
    table.numbers["NFQ: mean seconds after the last iteration"] = float(courses[-1].mean())
    for name, (hide, kind) in AGENTS.items():
        agent = make_agent(kind, "CartPole-v1", make_task("CartPole-v1", 16, hide=hide), seed=1, epsilon_steps=5000)
        fresh = make_task("CartPole-v1", 10, hide=hide)
        scores = [evaluate(agent, fresh, 10, seed=2).mean()]

        def judge(model: Any, worlds: Any = fresh, scores: list[float] = scores) -> bool:
            if model.num_timesteps % EVERY == 0:
                scores.append(evaluate(model, worlds, 10, seed=2).mean())
            return True

        agent.learn(STEPS, callback=lambda seen, _: judge(seen["self"]))
        table.course("dqn", name, scores, step=EVERY)
        table.numbers[f"{name}: return at the end"] = float(scores[-1])
    return table


def draw_learning_curves(table: Table) -> Drawing:
    drawing, (left, right) = axes_of(2)
    runs = table.panel("nfq")
    for x, y in runs.values():
        left.plot(x, y, color=COLOURS[7], lw=0.8)
    x = next(iter(runs.values()))[0]
    left.plot(x, np.mean([y for _, y in runs.values()], 0), color=COLOURS[0], lw=2, label=f"mean of {len(runs)} runs")
    label(left, "Fitted Q on a pole, from 200 random episodes", "fitted iteration", "balanced, s (of 60)", legend=True)
    for colour, (name, (x, y)) in zip(COLOURS, table.panel("dqn").items(), strict=False):
        right.plot(x, y, "o-", color=colour, ms=3, label=name)
    right.set_ylim(0, 520)
    label(right, "Deep Q learning on CartPole", "environment steps", "return of 10 episodes", legend=True)
    return drawing


FIGURES = (Figure("H25", "Berlin 2018", "Learning curves of NFQ and DQN", learning_curves, draw_learning_curves),)
