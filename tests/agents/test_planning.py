"""Planners against closed forms: linear-quadratic control, known optima, refusals."""

import numpy as np
import pytest
import torch

from agents.planning import Planner, PlannerConfig, RecurrentPlanner, coloured_noise, model_return
from agents.tasks import TASKS, TrueModel
from rnn.dynamics import RecurrentDynamics

A, B = torch.tensor([[1.0, 0.2], [0.0, 1.0]]), torch.tensor([[0.0], [0.2]])


class Linear:
    def begin(self, obs):
        return type("S", (), {"obs": obs})()

    def step(self, state, action):
        obs = state.obs @ A.T + action @ B.T
        return self.begin(obs), obs


def riccati_gain(steps):
    """First gain of the finite-horizon regulator with cost |next x|^2 + 0.1 u^2."""
    P, K = torch.zeros(2, 2), None
    for _ in range(steps):
        M = P + torch.eye(2)
        K = torch.linalg.solve(0.1 * torch.eye(1) + B.T @ M @ B, B.T @ M @ A)
        P = A.T @ M @ (A - B @ K)
    return K


@pytest.mark.parametrize("method", ["cem", "icem", "mppi"])
def test_the_planner_finds_the_linear_quadratic_regulator(method):
    objective = model_return(Linear(), lambda o, a, n: -(n**2).sum(1) - 0.1 * (a**2).sum(1))
    temperature = {"temperature": 0.1} if method == "mppi" else {}
    planner = Planner(objective, 1, method=method, horizon=8, candidates=600, elites=40, iterations=12, floor=0.01,
                      colour=1.0, **temperature)  # fmt: skip
    start = torch.tensor([[0.3, 0.0], [-0.2, 0.2], [0.0, -0.2]])
    exact = -start @ riccati_gain(8).T
    assert exact.abs().max() < 0.9  # the box does not bind
    torch.testing.assert_close(planner.plan(start, 3), exact, atol=0.08, rtol=0.0)


def test_worlds_are_planned_side_by_side_as_if_alone_and_plans_are_shifted():
    objective = lambda start, a: -((a - start[None, :, None, :]) ** 2).sum((0, 3))
    planner = Planner(objective, 1, horizon=4, candidates=200, elites=20)
    start = torch.tensor([[0.5], [-0.5]])
    torch.testing.assert_close(planner.plan(start, 2), start, atol=0.1, rtol=0.0)
    planner.reset(torch.tensor([True, False]))
    assert not planner.mean[:, 0].any() and planner.mean[:, 1].all()


def test_a_model_that_returns_nan_raises_and_is_never_ranked():
    planner = Planner(lambda start, a: torch.where(a[0, :, :, 0] > 0, torch.nan, -1.0), 1)
    with pytest.raises(FloatingPointError, match="not finite"):
        planner.plan(torch.zeros(1, 1), 1)


def test_nothing_is_earned_after_the_end():
    reward, alive = lambda o, a, n: torch.ones(len(o)), lambda n: (n[:, 0] < 0.5).float()

    class Counter(Linear):
        def step(self, state, action):
            return self.begin(state.obs + 0.2), state.obs + 0.2

    value = model_return(Counter(), reward, alive=alive)(torch.zeros(2, 1), torch.zeros(6, 2, 3, 1))
    assert value.tolist() == [[3.0] * 3] * 2  # 0.2, 0.4 alive; the step to 0.6 still pays


def test_noise_has_unit_variance_and_the_spectrum_it_is_named_after():
    noise = coloured_noise(1.0, 128, (4000,), torch.Generator().manual_seed(0))
    assert noise.var().item() == pytest.approx(1.0, abs=0.1)
    power = torch.fft.rfft(noise, dim=0).abs().square().mean(1)
    slope = np.polyfit(np.log(np.arange(2, 40)), power[2:40].log().numpy(), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.2)
    with pytest.raises(ValueError, match="elites"):
        PlannerConfig(candidates=5, elites=10)


@pytest.mark.parametrize("name", list(TASKS))
def test_the_equations_given_to_planners_are_those_of_the_environment(name):
    task = TASKS[name]
    env = task.make()
    obs, _ = env.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(15):
        action = rng.uniform(-1, 1, 1)
        planned = task.to_model(torch.as_tensor(action[None], dtype=torch.float32))
        predicted = task.truth(torch.as_tensor(obs[None], dtype=torch.float32), planned)
        following, reward, over, _, _ = env.step(task.to_env(action))
        np.testing.assert_allclose(predicted[0], following, atol=2e-4)
        if name == "pendulum":
            asked = task.reward(torch.as_tensor(obs[None]), planned, predicted)
            assert asked.item() == pytest.approx(reward, abs=1e-3)
        else:
            assert bool(task.alive(predicted)[0]) != over
        obs = following
        if over:
            break


def test_with_the_true_equations_the_pendulum_is_swung_up():
    task = TASKS["pendulum"]
    env = task.make()
    obs, _ = env.reset(seed=3)
    planner = Planner(model_return(TrueModel(task), task.reward), 1, method="icem", horizon=20, candidates=64,
                      elites=8, iterations=2)  # fmt: skip
    rewards = []
    for _ in range(120):
        action = planner.plan(torch.as_tensor(obs)[None], 1)[0].numpy()
        obs, reward, *_ = env.step(task.to_env(action))
        rewards.append(reward)
    assert np.mean(rewards[-20:]) > -0.1


def test_a_planner_in_a_recurrent_model_hears_every_reading_and_action_until_it_is_reset():
    torch.manual_seed(0)
    model = RecurrentDynamics(2, 1, cell="gru", hidden=4)
    objective = model_return(model, lambda obs, action, after: -action.square().sum(-1) + 0.1 * obs.sum(-1))
    planner = RecurrentPlanner(model, objective, 1, horizon=3, candidates=8, elites=2, iterations=1)
    readings = torch.randn(5, 3, 2)
    state = model.begin(readings[0])
    with torch.no_grad():
        for reading in readings:
            action = planner.plan(reading, 3)
            state, _ = model.step(state._replace(obs=reading), action)
    torch.testing.assert_close(planner.state.cell, state.cell)
    planner.reset()
    assert planner.state is None and planner.mean is None


def test_a_proposal_that_is_best_is_what_is_planned():
    best = torch.tensor([[0.83, -0.61], [-0.97, 0.31]])
    needle = lambda start, a: -((a - best[:, None, None]).abs().amax((0, 3)) > 1e-6).float()
    proposals = torch.stack([torch.zeros(2, 2), best], 1)[:, None].expand(2, 3, 2, 2)
    planner = Planner(needle, 2, method="icem", horizon=2, candidates=8, elites=2, iterations=2)
    assert torch.equal(planner.plan(torch.zeros(3, 1), 3, proposals), best[0].expand(3, 2))
    assert planner.predicted.tolist() == [0.0, 0.0, 0.0]
