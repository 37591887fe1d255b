"""Recurrent Q learners reach known values; memory is what does it; padding, burn-in and resume change nothing."""

import functools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.learner import evaluate, memory_self_test
from agents.pqn import PQN
from agents.q_network import QNetwork
from agents.recurrent_dqn import RecurrentDQN
from agents.recurrent_fitted_q import RecurrentFittedQ, chunked
from rnn.models import make_cell


class Recall(gymnasium.Env):
    """A cue (-1 or 1), a blank, then one action: 1 if it names the cue, else 0. Without memory: 0.5 on average."""

    def __init__(self, blanks=2):
        self.blanks = blanks
        self.observation_space = spaces.Box(-1, 1, (2,))
        self.action_space = spaces.Discrete(2)

    def _obs(self):
        return np.array([self.cue if self.t == 0 else 0, float(self.t == self.blanks)], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.t = int(self.np_random.integers(2)) * 2 - 1, 0
        return self._obs(), {}

    def step(self, action):
        if self.t == self.blanks:
            return self._obs(), float(np.sign(action - 0.5) == self.cue), True, False, {}
        self.t += 1
        return self._obs(), 0.0, False, False, {}


class Endless(gymnasium.Env):
    """A reward of 1 per step; nothing ever terminates, a time limit cuts. The value is 1 / (1 - gamma)."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


def worlds(make, n=8):
    return SyncVectorEnv([make] * n, autoreset_mode=AutoresetMode.SAME_STEP)


FAST = dict(hidden_size=16, heads=0, lr=5e-3, lr_end=1.0, gamma=0.9)
AGENTS = {
    "dqn": functools.partial(
        RecurrentDQN,
        length=6,
        burn_in=2,
        n_step=3,
        epsilon=0.2,
        epsilon_steps=1000,
        warmup=200,
        target_rate=0.05,
        **FAST,
    ),
    "fitted": functools.partial(
        RecurrentFittedQ,
        length=6,
        epsilon=0.2,
        epsilon_steps=1000,
        warmup=200,
        refit_every=200,
        target_rate=0.3,
        **FAST,
    ),
    "pqn": functools.partial(
        PQN, rollout=12, encoder=16, epsilon=0.2, epsilon_steps=1000, epochs=4, target_rate=0.05, **FAST
    ),
}


@pytest.mark.parametrize("name", AGENTS)
def test_with_memory_the_cue_is_recalled_and_its_value_is_known(name):
    agent = AGENTS[name](worlds(Recall), seed=1).learn(2400)
    assert evaluate(agent, worlds(Recall), 40, seed=5).mean() == 1.0
    state, first = agent.initial_state(2), torch.ones(2, dtype=torch.bool)
    for cue, ready in ((1, 0), (0, 0)):
        obs = torch.tensor([[-cue, ready], [cue, ready]], dtype=torch.float32)
        _, state = agent.choose(obs, state, first, explore=False)
        first = torch.zeros(2, dtype=torch.bool)
    q = agent.scores(torch.tensor([[0.0, 1.0]] * 2), state, first)
    assert (q - torch.eye(2)).abs().max() < 0.3
    frames = np.array([[[-1, 0], [1, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 1]]], dtype=np.float32)
    assert memory_self_test(agent, frames).zeroed > 0.3


def test_without_memory_the_same_learner_can_only_guess():
    agent = AGENTS["dqn"](worlds(Recall), seed=1, cell=None, previous_action=False).learn(2000)
    assert 0.2 < evaluate(agent, worlds(Recall), 80, seed=5).mean() < 0.8


def test_a_time_limit_is_no_end_and_the_value_goes_beyond_it():
    limited = lambda: gymnasium.wrappers.TimeLimit(Endless(), 12)
    agent = AGENTS["dqn"](worlds(limited), seed=0, gamma=0.8, updates_per_step=0.25).learn(2400)
    q = agent.scores(torch.zeros(1, 1), agent.initial_state(1), torch.ones(1, dtype=torch.bool))
    assert abs(q.max().item() - 5.0) < 0.6


def filled(**settings):
    agent = RecurrentDQN(worlds(Recall), seed=3, hidden_size=8, length=10, burn_in=0, warmup=10_000, **settings)
    return agent.learn(640)


@pytest.mark.parametrize("cell", ["gru", "lstm", "lru"])
def test_what_follows_a_reset_does_not_depend_on_what_stood_before_it(cell):
    agent = filled(cell=cell)
    data = agent.replay.sample(16, agent.rng)
    padded = data._replace(obs=data.obs.clone(), state=[torch.full_like(s, 7.0) for s in data.state])
    begun = data.first.cumsum(0).bool()  # rows from the first reset on
    padded.obs[~begun] = 99.0
    assert begun.any() and not begun.all()
    for name, value in (
        (n, agent.online.sequence(d, agent.online.burn_in(d, 0))) for n, d in (("a", data), ("b", padded))
    ):
        grads = torch.autograd.grad(value[begun].square().sum(), list(agent.online.parameters()))
        if name == "a":
            kept, kept_grads = value, grads
    assert torch.allclose(kept[begun], value[begun], atol=1e-6)
    assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(kept_grads, grads, strict=True))


@pytest.mark.parametrize(
    ("cell", "path"),
    [("gru", "auto"), ("gru", "fused"), ("lstm", "fused"), ("elman", "fused"), ("lru", "scan"), ("linoss", "scan")],
)
def test_the_fast_way_through_a_sequence_gives_the_loss_and_the_gradients_of_the_plain_loop(cell, path):
    agent = filled(cell=cell)
    data = agent.replay.sample(16, agent.rng)
    assert data.first[1:].any()  # episodes end inside the sequences

    def learn(way):
        agent.online.path = agent.target.path = way
        td, mask = agent.errors(data)
        return td * mask, torch.autograd.grad((td.square() * mask).sum(), list(agent.online.parameters()))

    plain, plain_gradient = learn("loop")
    fast, gradient = learn(path)
    assert plain.abs().max() > 1e-3 and torch.allclose(plain, fast, atol=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(plain_gradient, gradient, strict=True))


def test_a_stored_state_is_the_state_that_acting_had():
    agent = filled()
    tape = agent.replay.tape()
    memory = agent.online.cell.initial_state(agent.n_envs)
    for t in (1, 7, 20):
        part = tape._replace(**{n: getattr(tape, n)[:t] for n in ("obs", "first", "before", "earned")}, state=[])
        assert torch.allclose(agent.online.burn_in(part, t).h, agent.replay.states[0][t], atol=1e-6)
    assert (agent.replay.states[0][0] == memory.h).all()


def test_burn_in_makes_up_for_a_wrong_state_as_fast_as_the_cell_forgets():
    agent = filled(cell=make_cell("leaky", 4, 8, leak=0.5))
    with torch.no_grad():
        agent.online.cell.weight_hh.zero_()  # h_t = (1 - leak) h_(t-1) + ...: the error halves at every step
    data = agent.replay.sample(16, agent.rng)
    data = data._replace(first=torch.zeros_like(data.first))
    wrong = data._replace(state=[s + 1.0 for s in data.state])
    for steps in (0, 3, 8):
        right, other = (agent.online.burn_in(d, steps).h for d in (data, wrong))
        assert torch.allclose(other - right, torch.full_like(right, 0.5**steps), atol=1e-5)


def test_pieces_of_the_tape_hold_every_step_once():
    x = torch.arange(24).reshape(12, 2)
    pieces = chunked(x, 4)
    assert pieces.shape == (4, 6) and sorted(pieces.flatten().tolist()) == list(range(24))
    assert (pieces[1:] - pieces[:-1] == 2).all()


@pytest.mark.parametrize("cell", ["gru", "elman"])
def test_pieces_of_the_tape_start_in_the_states_that_the_steps_before_them_left(cell):
    agent = AGENTS["fitted"](worlds(Recall), seed=1, cell=cell, warmup=10_000).learn(20 * 8)
    tape = agent.replay.tape()
    values, starts = agent.over_tape(agent.online, tape)
    h, kept = agent.online.cell.initial_state(8), []
    for t in range(len(tape.obs)):
        if t % 6 == 0:
            kept.append(h[0])
        one = tape._replace(**{n: getattr(tape, n)[t : t + 1] for n in ("obs", "first", "before", "earned")}, state=[])
        one = one._replace(state=list(h))
        assert torch.allclose(agent.online.sequence(one, h)[0], values[t], atol=1e-5)
        h = agent.online.burn_in(one, 1)
    assert torch.allclose(starts[0], torch.cat(kept[:3]), atol=1e-6) and starts[0].abs().max() > 0.01


@pytest.mark.parametrize("name", AGENTS)
def test_a_killed_run_resumes_with_the_numbers_of_an_uninterrupted_one(name, tmp_path):
    from stable_baselines3.common.callbacks import BaseCallback

    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 360

    whole = AGENTS[name](worlds(Recall), seed=2).learn(600)
    AGENTS[name](worlds(Recall), seed=2).learn(600, callback=Stop()).save(tmp_path)
    resumed = type(whole).load(tmp_path, worlds(Recall)).resume()
    assert whole._n_updates == resumed._n_updates > 0
    for key, value in whole.online.state_dict().items():
        assert torch.equal(value, resumed.online.state_dict()[key]), key
    for key, value in whole.target.state_dict().items():
        assert torch.equal(value, resumed.target.state_dict()[key]), key


def test_a_cell_of_ones_own_is_stored_by_its_class_and_asked_for_when_loading(tmp_path):
    cell = make_cell("elman", 4, 8)
    agent = RecurrentDQN(worlds(Recall), cell=cell).learn(80)
    agent.save(tmp_path)
    with pytest.raises(ValueError, match="pass one of the same class"):
        RecurrentDQN.load(tmp_path)
    again = RecurrentDQN.load(tmp_path, cell=make_cell("elman", 4, 8))
    assert torch.equal(again.online.cell.weight_hh, agent.online.cell.weight_hh)
    with pytest.raises(ValueError, match="I=4"):
        RecurrentDQN(worlds(Recall), cell=make_cell("elman", 9, 8))


def test_a_sequence_longer_than_any_episode_is_learned_from_and_a_replay_too_small_is_refused():
    agent = RecurrentDQN(worlds(Recall), length=30, burn_in=10, batch=4, warmup=400, hidden_size=8).learn(500)
    assert agent._n_updates > 0
    with pytest.raises(ValueError, match="raise `replay`"):
        RecurrentDQN(worlds(Recall), length=30, replay=100)


def test_dueling_heads_share_one_value_whatever_is_added_to_all_advantages():
    net = QNetwork(2, 3, cell="gru", hidden_size=4)
    h = torch.randn(5, 4)
    before = net.values(h)
    with torch.no_grad():
        net.advantage[-1].bias += 3.0
    assert torch.allclose(before, net.values(h), atol=1e-5)


def test_all_refinements_run_together():
    options = dict(priority=0.9, rescaling=True, period=4, encoder=8, encoder_lr=0.1, previous_reward=True)
    agent = AGENTS["dqn"](worlds(Recall), seed=1, **options).learn(600)
    assert agent._n_updates > 10 and len(np.unique(agent.replay.priorities)) > 10


@pytest.mark.parametrize("kind", [RecurrentDQN, PQN])
@pytest.mark.parametrize("settings", [{"dueling": True}, {"dueling": False}, {"dueling": False, "heads": 0}])
def test_a_first_value_moves_every_value_by_as_much_and_no_preference(kind, settings):
    plain, hopeful = (kind(worlds(Recall, 4), seed=4, initial_value=v, **settings) for v in (0.0, 1.5))
    obs, first = torch.randn(4, 2), torch.ones(4, dtype=torch.bool)
    before, after = (a.scores(obs, a.initial_state(4), first) for a in (plain, hopeful))
    assert torch.allclose(after, before + 1.5, atol=1e-6)


def test_worlds_explore_by_different_shares_which_begin_at_one():
    agent = RecurrentDQN(worlds(Recall), epsilon=0.4, epsilon_spread=7.0, epsilon_steps=100, warmup=10_000)
    assert np.array_equal(agent.epsilon(), np.ones(8))
    agent.num_timesteps = 100
    assert np.allclose(agent.epsilon(), [0.4 ** (1 + k) for k in range(8)])


@pytest.mark.parametrize("name", ["dqn", "fitted"])
def test_a_gap_of_a_half_doubles_what_separates_the_actions_and_leaves_the_best(name):
    at_once, more = functools.partial(Recall, 0), {"updates_per_step": 0.2} if name == "dqn" else {}
    agent = AGENTS[name](worlds(at_once), seed=1, gap=0.5, **more).learn(1400)  # Q(worse) = 0 - 0.5 (1 - Q(worse)) = -1
    cues = torch.tensor([[-1.0, 1.0], [1.0, 1.0]])
    q = agent.scores(cues, agent.initial_state(2), torch.ones(2, dtype=torch.bool))
    assert torch.allclose(q, 2 * torch.eye(2) - 1, atol=0.25)


def test_a_gap_without_end_is_refused():
    with pytest.raises(ValueError, match="from 0 to below 1"):
        RecurrentDQN(worlds(Recall), gap=1.0)
