"""Fitted Q: known costs to go, the gradient of RProp's networks, resume, and the three models."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.exploration import HeldActions
from agents.fitted_q import FittedQ, fitted_targets
from agents.learner import evaluate
from agents.nfq import NFQ, NFQConfig
from agents.random_trees import RandomTrees
from agents.rprop import SigmoidNets


class Corridor(gymnasium.Env):
    """Positions 0 to 4, one step left or right at a reward of -1, the goal right of 4. Cost to go: steps left."""

    observation_space = spaces.Box(0, 5, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(5)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x, self.t = max(self.x + 2 * int(action) - 1, 0), self.t + 1
        return np.array([self.x], np.float32), -1.0, self.x > 4, self.t >= 30, {}


def corridors(n=4):
    return SyncVectorEnv([Corridor] * n, autoreset_mode=AutoresetMode.SAME_STEP)


MODELS = {
    "nfq": dict(model="nfq", hidden=(5, 5), epochs=200, refit=True, cost_scale=0.1, iterations=3),
    "modern": dict(model="modern", hidden=(32,), lr=1e-2, batch=64, epochs=15, cost_scale=1.0, iterations=4),
    "averaged": dict(model="modern", hidden=(32,), lr=1e-2, lr_end=0.3, batch=64, epochs=8, cost_scale=1.0,
                     iterations=4, target_rate=0.2, lambda_=0.2),
    "trees": dict(model="trees", trees=10, cost_scale=1.0, iterations=3),
    "random_trees": dict(model="random_trees", trees=20, leaf=1, cost_scale=1.0, sweeps=40),
    "kept": dict(model="random_trees", trees=20, leaf=1, cost_scale=1.0, sweeps=40, reach=2),
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_the_costs_to_go_are_the_steps_left(model):
    agent = FittedQ(corridors(), seed=0, gamma=1.0, random_steps=200, refit_every=100, **MODELS[model]).learn(600)
    values = agent.values(np.arange(5.0)[:, None]) / MODELS[model]["cost_scale"]
    assert np.abs(values[:, 1] - [5, 4, 3, 2, 1]).max() < 0.8
    assert (values.argmin(1) == 1).all()
    assert evaluate(agent, corridors(), 20, seed=1).min() >= -5


@pytest.mark.parametrize("model", MODELS)
def test_a_stopped_fit_resumes_with_the_same_numbers(model, tmp_path):
    from stable_baselines3.common.callbacks import BaseCallback

    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 172

    def make():
        return FittedQ(corridors(), seed=3, random_steps=100, refit_every=60, **{**MODELS[model], "epochs": 5})

    whole = make().learn(280)
    make().learn(280, callback=Stop()).save(tmp_path)
    resumed = FittedQ.load(tmp_path, corridors()).resume()
    probe = np.linspace(0, 5, 11)[:, None].astype(np.float32)
    if model == "trees":  # grown again, not stored: the data are the same until a tie is broken another way
        assert len(resumed.data) == len(whole.data)
    else:
        assert np.array_equal(whole.values(probe), resumed.values(probe))


@pytest.mark.parametrize("model", MODELS)
def test_a_light_checkpoint_acts_as_the_learner_did(model, tmp_path):
    agent = FittedQ(corridors(), seed=3, random_steps=100, refit_every=60, **{**MODELS[model], "epochs": 5}).learn(180)
    agent.save(tmp_path, light=True)
    probe = np.linspace(0, 5, 11)[:, None].astype(np.float32)
    again = FittedQ.load(tmp_path).values(probe)
    assert np.allclose(again, agent.values(probe)) if model != "trees" else np.ptp(again) > 0


def test_the_gradient_of_the_batch_of_networks_is_that_of_autograd(monkeypatch):
    monkeypatch.setattr("agents.rprop.ROWS", 3)  # so that the seven examples come in three pieces
    nets = SigmoidNets(3, (2, 5, 4, 1), generator=torch.Generator().manual_seed(1))
    x, y = torch.rand(3, 2, 7), torch.rand(3, 7)
    weight = (torch.rand(3, 7) > 0.3).float()
    _, gradient = nets.gradient(x, y, weight)
    flat = nets.flat.clone().requires_grad_()
    nets.flat = flat
    h, layers = x, nets._layers(flat)
    for part in layers:
        h = torch.sigmoid(part[:, :, :-1] @ h + part[:, :, -1:])
    (0.5 * weight * (h[:, 0] - y) ** 2).sum().backward()
    assert torch.allclose(gradient, flat.grad, atol=1e-6)


def test_members_learn_apart_and_padding_is_not_learned_from():
    config = NFQConfig(epochs=40)
    rng = np.random.default_rng(0)
    data = [rng.uniform(-1, 1, (n, 2)) for n in (30, 50)]
    both = NFQ(2, 2, config, members=2, seed=5)
    for k, s in enumerate(data):
        both.add(k, s, np.zeros(len(s)), np.full(len(s), 0.1 + 0.5 * k), s, np.zeros(len(s)))
    both.iterate()
    alone = NFQ(2, 2, config, seed=5)
    alone.add(0, data[0], np.zeros(30), np.full(30, 0.1), data[0], np.zeros(30))
    # the same starting weights as member 0 of the pair
    alone.nets.reset = lambda: alone.nets.flat.copy_(SigmoidNetsLike(both))
    alone.iterate()
    assert np.allclose(both.values(np.stack([data[0]] * 2))[0], alone.values(data[0][None])[0], atol=1e-3)
    assert np.abs(both.values(np.zeros((2, 1, 2)))[:, 0, 0] - [0.1, 0.6]).max() < 0.05


def SigmoidNetsLike(nfq):
    """Weights that the first member started its (only) fit from."""
    generator = torch.Generator().manual_seed(5)
    flat = torch.empty(nfq.nets.flat.shape)
    for _ in range(2):  # one draw when built, one at the refit
        flat.uniform_(-0.5, 0.5, generator=generator)
    return flat[:1]


def test_targets_stop_at_terminations():
    target = fitted_targets(np.array([1.0, 1.0]), np.array([0.9, 0.0]), np.array([[3.0, 2.0], [3.0, 2.0]]))
    assert target.tolist() == [2.8, 1.0]


def test_mixed_horizons_lean_on_what_was_paid_until_an_episode_ends_and_worlds_stay_apart():
    cost = np.array([1.0, 5.0, 1.0, 5.0, 1.0, 5.0])  # worlds 0 and 1 in turn
    values = np.array([[10.0, 9.0], [7.0, 8.0]] * 3)  # the best: 9 and 7
    discount = np.array([0.5, 0.5, 0.5, 0.0, 0.5, 0.5])  # world 1 ends for good at its second step
    ended = np.array([0, 0, 1, 1, 0, 0], bool)  # world 0 is cut short at its second
    found = fitted_targets(cost, discount, values, lambda_=0.5, ended=ended, worlds=2).reshape(3, 2)
    last = np.array([1 + 0.5 * 9, 5 + 0.5 * 7])
    middle = np.array([1 + 0.5 * 9, 5.0])
    first = np.array([1, 5]) + 0.5 * (0.5 * np.array([9, 7]) + 0.5 * middle)
    assert np.allclose(found, [first, middle, last])
    older = fitted_targets(np.append(3.0, cost), np.append(0.5, discount), np.append([[4.0, 9.0]], values, 0),
                           lambda_=0.5, ended=np.append(False, ended), worlds=2)  # fmt: skip
    assert older[0] == 3 + 0.5 * 4 and np.array_equal(older[1:], found.ravel())


def test_the_mirror_image_of_every_transition_is_fitted_too(monkeypatch):
    seen = []
    monkeypatch.setattr("agents.regressors.Perceptron.fit", lambda self, *what: seen.append(what) or 0.0)
    options = dict(random_steps=80, refit_every=200, iterations=1, cost_scale=1.0)
    FittedQ(corridors(), seed=0, mirror_signs=(-1.0,), mirror_actions=(1, 0), **options).learn(80)
    (state, action, target), half = seen[0], 80
    assert np.array_equal(state[half:], -state[:half]) and np.array_equal(action[half:], 1 - action[:half])
    assert len(state) == 160 and np.array_equal(target[half:], target[:half])


def test_a_gap_is_added_to_what_dearer_actions_are_fitted_to():
    learner = lambda gap: FittedQ(corridors(), seed=0, gap=gap, **{**MODELS["modern"], "random_steps": 200})
    plain, wide = learner(0.0).learn(200), learner(0.5)
    wide.data, wide.fits = plain.data, 1
    wide.regressor.net.load_state_dict(plain.regressor.net.state_dict())
    q, rows = plain.regressor.values(plain.data.obs), np.arange(200)
    dearer = q[rows, plain.data.action] - q.min(1)
    assert dearer.max() > 0.1
    assert np.allclose(wide._targets(wide.regressor) - plain._targets(plain.regressor), 0.5 * dearer, atol=1e-5)


def test_settings_of_the_modern_form_are_refused_by_the_others_and_lambda_by_joined_steps():
    with pytest.raises(ValueError, match="'trees' does not take lambda_, gap"):
        FittedQ(corridors(), model="trees", lambda_=0.5, gap=0.5)
    with pytest.raises(ValueError, match="give one of the two"):
        FittedQ(corridors(), lambda_=0.5, reach=2)


def test_costs_outside_the_sigmoid_and_goals_of_the_wrong_size_are_refused():
    with pytest.raises(ValueError, match="range of the sigmoid"):
        NFQ(1, 2, NFQConfig()).add(0, np.zeros((1, 1)), np.zeros(1), np.array([2.0]), np.zeros((1, 1)), np.ones(1))
    with pytest.raises(ValueError, match="hint_low"):
        FittedQ(corridors(), hints=5)
    with pytest.raises(ValueError, match="continuous actions"):
        FittedQ("Pendulum-v1")


def test_on_kept_trees_the_values_of_a_corridor_settle_at_the_discounted_steps_left():
    rng, gamma = np.random.default_rng(0), 0.9
    x = rng.integers(5, size=200).astype(float)
    action = rng.integers(2, size=200)
    after, rows = np.maximum(x + 2 * action - 1, 0), [np.flatnonzero(action == a) for a in (0, 1)]
    forest = RandomTrees(2, 8, leaf=1)
    forest.grow([x[r, None] for r in rows], np.concatenate([after[r, None] for r in rows]))
    changes = [forest.sweep([np.ones(len(r)) for r in rows], [gamma * (after[r] < 5) for r in rows]) for _ in range(60)]
    assert changes[1] > 0.1 and changes[-1] < 1e-9
    assert all(b <= gamma * a + 1e-9 for a, b in zip(changes[:-1], changes[1:], strict=True))
    exact = (1 - gamma ** np.arange(5, 0, -1)) / (1 - gamma)
    assert np.allclose(forest.values(np.arange(5.0)[:, None])[:, 1], exact)


def test_new_trees_begin_with_what_the_old_ones_knew():
    x = np.linspace(0, 1, 60)[:, None]
    forest = RandomTrees(1, 10, leaf=2)
    forest.grow([x], x)
    forest.sweep([x[:, 0] * 3], [np.zeros(60)])
    before = forest.values(x)
    forest.grow([x], x, number=1)
    assert 0 < np.abs(forest.values(x) - before).max() < 0.3


def test_a_random_action_is_kept_up_for_as_long_as_was_asked_and_as_often_as_a_short_one():
    rng, greedy = np.random.default_rng(0), np.full(50, 9)
    for hold in (1, 5):
        held = HeldActions(50, 3, hold)
        seen = np.array([held(greedy, 0.3, rng) for _ in range(600)])
        assert abs((seen != 9).mean() - 0.3) < 0.02
        runs = [len(part) for part in "".join("x" if a != 9 else " " for a in seen[20:, 3]).split()]
        assert min(runs[1:-1]) >= hold
    resumed = HeldActions(50, 3, 5)
    resumed.restore(held.snapshot())
    again = np.random.default_rng(1)
    assert np.array_equal(held(greedy, 0.3, np.random.default_rng(1)), resumed(greedy, 0.3, again))
