"""Trials of many runs at once, and the optimum that they are held against."""

import numpy as np
import pytest

from agents.nfq import NFQ, NFQConfig
from agents.nfq_trials import trials
from agents.value_iteration import GridValues
from sim.nfq_tasks import CartPoleRegulator, MountainCar


class Scripted:
    """Two runs with a policy each, in place of fitted networks."""

    def __init__(self, *policies):
        self.policies = policies

    def members_of(self, rows):
        return Scripted(*[self.policies[k] for k in rows])

    def act(self, states):
        return np.stack([policy(s) for policy, s in zip(self.policies, states, strict=True)])


@pytest.fixture(scope="module")
def grid():
    return GridValues(MountainCar(), (-1.0, -6.0), (0.7, 6.0), points=141)


def test_no_simple_rule_beats_the_grids_policy_and_pushing_the_way_it_rolls_comes_close(grid):
    task = MountainCar()
    starts = np.stack([np.linspace(-0.95, 0.69, 60), np.zeros(60)], 1)
    along = lambda s: (s[:, 1] >= 0).astype(int)
    good, steps = trials(task, Scripted(grid.act, lambda s: np.ones(len(s), int)), [0, 1], starts, 200)
    assert good.tolist() == [True, False]  # the engine alone is too weak
    assert 25 < steps[0] < 33  # "fine Q table": 29.0 (Riedmiller, 2005)
    rolled, others = trials(task, Scripted(along), [0], starts, 300)
    assert not rolled[0] or others[0] >= steps[0] - 0.3


def test_the_grids_values_are_the_steps_that_its_policy_takes(grid):
    starts = np.array([[0.5, 1.0], [-0.3, 0.5], [0.0, 0.0]])
    for start in starts:
        steps = trials(MountainCar(), Scripted(grid.act), [0], start[None], 200)[1][0]
        assert abs(steps - grid.read(start[None])[0]) < 2.5


def test_a_regulator_must_end_in_the_goal_and_pays_for_every_step_outside():
    task = CartPoleRegulator()

    def feedback(s):  # linear state feedback, chosen by pole placement
        return (s @ np.array([1.0, 2.0, 30.0, 6.0]) > 0).astype(int)

    starts = np.array([[0.3, 0, 0, 0], [-0.2, 0, 0.02, 0]])
    good, outside = trials(task, Scripted(feedback, lambda s: np.zeros(len(s), int)), [0, 1], starts, 1500)
    assert not good[1] and 20 < outside[0] < 1500


def test_runs_that_are_taken_out_act_as_they_did():
    nfq = NFQ(2, 2, NFQConfig(epochs=5), members=3, seed=0)
    rng = np.random.default_rng(0)
    for k in range(3):
        nfq.add(k, rng.normal(size=(20, 2)), rng.integers(2, size=20), rng.random(20), rng.normal(size=(20, 2)),
                np.ones(20))  # fmt: skip
    nfq.iterate()
    probe = rng.normal(size=(3, 7, 2))
    assert np.allclose(nfq.members_of([2, 0]).values(probe[[2, 0]]), nfq.values(probe)[[2, 0]])
