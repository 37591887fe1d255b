"""NFQ with a growing batch: who succeeds, what is counted, and iterates that are averaged."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.nfq import NFQ, NFQConfig
from agents.nfq_growing import Growing, grow, successful
from agents.nfq_trials import greedy_episodes
from sim.nfq_tasks import Task


@dataclass(frozen=True)
class Line(Task):
    """A point that moves 0.1 left or right at a cost of 0.1; beyond 1 is forbidden, within 0.1 of 0 is the goal."""

    names: ClassVar = ("x",)
    forces: ClassVar = (-0.1, 0.1)
    goal_ends: ClassVar = False
    dt: float = 0.1

    def start(self, rng, count, *, test=False):
        return rng.uniform(-0.9, 0.9, (count, 1))

    def step(self, state, action, rng):
        return state + np.asarray(self.forces)[action][:, None]

    def failed(self, state):
        return np.abs(state[:, 0]) > 1

    def reached(self, state):
        return np.abs(state[:, 0]) <= 0.1 + 1e-9

    def cost(self, state):
        return np.where(self.failed(state), 1.0, np.where(self.reached(state), 0.0, 0.1))

    def goal_states(self, rng, count):
        return rng.uniform(-0.1, 0.1, (count, 1))


class Rule:
    """Policies in place of networks: home by the sign of x where true, else always to the right."""

    def __init__(self, *homing):
        self.homing, self.members, self.asked = homing, len(homing), []

    def members_of(self, rows):
        self.asked.append(list(rows))
        return Rule(*[self.homing[k] for k in rows])

    def act(self, states):
        return np.stack([(s[:, 0] < 0) if h else np.ones(len(s)) for h, s in zip(self.homing, states, strict=True)]
                        ).astype(int)  # fmt: skip


def test_a_run_on_a_line_learns_to_come_home_and_its_first_success_is_counted():
    task, rng = Line(dt=0.1), np.random.default_rng(0)
    nfq = NFQ(1, 2, NFQConfig(gamma=0.9, hidden=(8,), epochs=100, hints=20), members=2, seed=0)
    nfq.hint_states = task.goal_states(rng, 20)
    tests = np.linspace(-0.85, 0.85, 150)[:, None]
    plan = Growing(length=15, steps=30, episodes=20, iterations=3, after=2)
    runs = grow(task, nfq, rng, tests, plan)
    assert all(run["first"] for run in runs)
    last = max(run["first"][0] for run in runs)
    assert last <= 18 and max(run["successes"][-1][0] for run in runs) <= last + 2
    straight = np.maximum(np.ceil(np.abs(tests[:, 0]) / 0.1) - 2, 0).mean()
    for run in runs:
        assert straight <= run["best"] == min(cost for *_, cost in run["successes"])


def test_policies_that_fail_few_starts_are_not_tried_on_all():
    rule = Rule(True, False)
    found = successful(Line(dt=0.1), rule, np.linspace(-0.9, 0.9, 300)[:, None], 40, [None, None])
    assert [k for k, _ in found] == [0]
    assert rule.asked == [[0, 1], [0], [0]]
    assert successful(Line(dt=0.1), Rule(True), np.linspace(-0.9, 0.9, 300)[:, None], 40, [0.5]) == []


def test_kept_actions_make_longer_transitions_of_the_same_cost_to_go():
    task = Line(dt=0.1)
    nfq = NFQ(1, 2, NFQConfig(gamma=0.5), members=1, seed=0)
    greedy_episodes(task, nfq, np.random.default_rng(3), 6, reach=3)
    rows = np.concatenate(nfq.rows[0])
    moved = np.round(np.abs(rows[:, 3] - rows[:, 0]) / 0.1).astype(int)
    assert set(moved) <= {1, 2, 3} and moved.max() == 3
    alive = rows[:, 4] > 0
    assert np.allclose(rows[alive, 4], 0.5 ** (moved[alive] - 1))


def test_the_chosen_policy_is_measured_from_starts_that_had_no_part_in_its_choice(monkeypatch):
    class Fits(Rule):
        iterate = lambda self: None
        sizes = lambda self: [9, 9]

    monkeypatch.setattr("agents.nfq_growing.greedy_episodes", lambda *args, **options: None)
    others = np.array([[0.55], [-0.35]])  # 4 and 2 steps outside the goal on the way
    plan = Growing(10, 30, episodes=2)
    runs = grow(Line(dt=0.1), Fits(True, False), None, np.linspace(-0.9, 0.9, 7)[:, None], plan, others)
    assert [run["elsewhere"] for run in runs] == [3.0, None] and runs[0]["best"] > 3.0


def test_once_every_run_has_succeeded_episodes_are_gathered_together_between_fits(monkeypatch):
    log = []

    class Fits:
        members = 1
        iterate = lambda self: log.append("fit")
        sizes = lambda self: [log.count("episode")]

    monkeypatch.setattr("agents.nfq_growing.greedy_episodes", lambda *args, **options: log.append("episode"))
    monkeypatch.setattr("agents.nfq_growing.successful", lambda *args: [(0, 5.0)] if log.count("episode") == 2 else [])
    runs = grow(Line(dt=0.1), Fits(), None, None, Growing(10, 10, episodes=12, iterations=2, together=4))
    assert log == [*["episode", "fit", "fit"] * 2, *(["episode"] * 4 + ["fit"] * 2) * 2, *["episode"] * 2, "fit", "fit"]
    assert runs[0]["first"] == [2, 2] and runs[0]["best"] == 5.0


def test_a_gap_raises_what_the_dearer_action_costs_and_leaves_the_best_as_it_is():
    states, action = np.random.default_rng(0).uniform(-1, 1, (60, 1)), np.arange(60) % 2
    nfq = NFQ(1, 2, NFQConfig(hidden=(4,), epochs=80, gap=0.5), seed=1)
    nfq.add(0, states, action, 0.1 + 0.1 * action, states, np.zeros(60))  # every episode ends at once
    for _ in range(10):
        nfq.iterate()
    assert np.abs(nfq.values(np.zeros((1, 1, 1)))[0, 0] - [0.1, 0.1 + 0.1 / (1 - 0.5)]).max() < 0.02


def test_averaged_iterates_give_the_mean_of_their_costs_to_go():
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (30, 1))
    both = [NFQ(1, 2, NFQConfig(epochs=30, average=k), seed=4) for k in (1, 3)]
    probe, seen = rng.uniform(-1, 1, (1, 9, 1)), []
    for nfq in both:
        nfq.add(0, states, rng.integers(2, size=30), np.full(30, 0.3), states, np.zeros(30))
    both[1].rows = [list(part) for part in both[0].rows]
    for _ in range(4):  # every cost to go ends at once, so that the targets, and with them the fits, are the same
        for nfq in both:
            nfq.iterate()
        seen.append(both[0].values(probe))
    assert np.allclose(both[1].values(probe), np.mean(seen[-3:], 0), atol=1e-6)
    assert np.abs(seen[-1] - seen[-2]).max() > 1e-5
    assert np.allclose(both[1].members_of([0]).values(probe), both[1].values(probe))


def test_policies_are_taken_over_with_all_their_iterates():
    rng = np.random.default_rng(0)
    nfq = NFQ(1, 2, NFQConfig(epochs=10, average=2), members=3, seed=1)
    for k in range(3):
        nfq.add(k, rng.normal(size=(9, 1)), rng.integers(2, size=9), rng.random(9), rng.normal(size=(9, 1)), np.ones(9))
    for _ in range(2):
        nfq.iterate()
    probe = rng.normal(size=(3, 5, 1))
    early, before = nfq.members_of([0, 1, 2]), nfq.values(probe)
    for _ in range(2):
        nfq.iterate()
    after = nfq.values(probe)
    early.take(np.array([False, True, False]), nfq)
    assert np.allclose(early.values(probe), np.stack([before[0], after[1], before[2]]))
    assert np.array_equal(nfq.values(probe), after) and np.abs(after - before).min(axis=(1, 2)).max() > 0
