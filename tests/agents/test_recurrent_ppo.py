"""Recurrent PPO: returns by hand, sequences without padding, probes with known values, resume, guards."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.advantages import gae
from agents.evaluation import evaluate, memory_self_test
from agents.policies import RecurrentPolicy
from agents.ppo import Collector, PPOConfig, ppo_loss, sequences
from agents.probes import worlds
from agents.recurrent_ppo import RecurrentPPO
from agents.rollout import rollout as live
from rnn.cell import Cell


def test_advantages_equal_discounted_returns_at_lambda_one_and_bootstrap_only_through_time_limits():
    reward = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    ended = torch.tensor([[False, False], [True, True], [False, False]])
    discount = 0.5 * torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])  # column 0 terminates, column 1 is cut
    value = torch.tensor([[3.0, 3.0], [5.0, 5.0], [7.0, 7.0]])
    following = torch.tensor([[5.0, 5.0], [100.0, 10.0], [8.0, 8.0]])
    advantage = gae(reward, discount, ended, value, following, 1.0)
    # by hand: t=2: 4 + .5*8; t=1: 2 (terminated) or 2 + .5*10 (truncated); t=0: 1 + .5 * (that)
    returns = torch.tensor([[1 + 0.5 * 2, 1 + 0.5 * 7], [2.0, 7.0], [8.0, 8.0]])
    torch.testing.assert_close(advantage + value, returns)
    one_step = gae(reward, discount, ended, value, following, 0.0)
    torch.testing.assert_close(one_step, reward + discount * following - value)


def test_the_ratio_is_clipped_only_on_the_side_that_would_gain():
    ratio = torch.tensor([2.0, 2.0, 0.5, 0.5], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    loss, *_ = ppo_loss(ratio.log(), torch.zeros(4), advantage, torch.zeros(4), torch.zeros(4), clip=0.2)
    assert loss.item() == pytest.approx(-(1.2 - 2.0 + 0.5 - 0.8) / 4)
    loss.backward()
    assert ratio.grad.tolist() == pytest.approx([0.0, 0.25, -0.25, 0.0])


def collect(config, cell="gru", count=3, length=5, rollouts=2, shared=True, **kwargs):
    torch.manual_seed(1)
    env = worlds(count, length, **kwargs)
    policy = RecurrentPolicy(2, env.single_action_space, cell=cell, hidden=5, shared=shared, previous_action=True)
    policy.scale.update(torch.randn(50, 2))
    collector = Collector(policy, config)

    class Player:
        initial_state = staticmethod(policy.initial_state)

        def act(self, obs, state, *, step, first):
            state = policy.act(torch.as_tensor(obs), state, torch.as_tensor(first))
            return policy.to_env(state), state

    before = policy.initial_state(count)
    for step in live(env, Player(), rollouts * config.horizon, seed=0):
        if collector.add(torch.as_tensor(step.obs), torch.as_tensor(step.next_obs), before, step):
            rollout = collector.rollout()
        before = step.state
    return policy, rollout


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman", "lru"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("burn_in, length", [(0, 12), (0, 4), (6, 4), (6, 12)])
def test_sequences_give_back_the_probabilities_and_values_of_acting(cell, shared, burn_in, length):
    """With the weights unchanged the ratio is 1 everywhere: over resets, seams of sequences, and after burn-in."""
    config = PPOConfig(horizon=12, sequence_length=length, burn_in=burn_in, minibatch=2)
    policy, rollout = collect(config, cell, shared=shared)
    assert rollout.first[burn_in:].any() and not rollout.first[burn_in:].all()
    seen = 0
    for batch in sequences(policy, rollout, config):
        dist, value = policy.evaluate(batch.x, batch.state, batch.first)
        torch.testing.assert_close(dist.log_prob(batch.action), batch.log_prob, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(value, batch.target - batch.advantage, atol=2e-6, rtol=1e-5)
        seen += batch.advantage.numel()
    assert seen == 12 * 3


def test_refreshed_states_follow_the_weights_and_stored_ones_do_not():
    config = PPOConfig(horizon=12, sequence_length=4, minibatch=9)
    policy, rollout = collect(config, length=50)
    with torch.no_grad():
        policy.actor_cell.weight_hh.mul_(0.5)
    torch.manual_seed(0)
    fresh = next(sequences(policy, rollout, config))
    torch.manual_seed(0)
    stale = next(sequences(policy, rollout, PPOConfig(horizon=12, sequence_length=4, minibatch=9, refresh=False)))
    changed = (fresh.state.actor.h - stale.state.actor.h).abs().amax(1)
    assert (changed > 1e-4).sum() == 6  # the three first sequences of a rollout start from the same stored state


class Blind(Cell):
    """A person's own cell, of the one kind that cannot remember."""

    def __init__(self, inputs, units):
        super().__init__()
        self.input_size, self.output_size = inputs, units
        self.linear = torch.nn.Linear(inputs, units)

    def initial_state(self, batch):
        return (self.zeros(batch, 1),)

    def forward(self, x, state, tap=None):
        return torch.tanh(self.linear(x)), state


def learn(seed=0, steps=3000, count=16, env=None, **kwargs):
    settings = dict(horizon=8, minibatch=8, epochs=4, hidden=16, layers=(16,), learning_rate=3e-3, reward_scale=1.0)
    env = env or worlds(count, **kwargs.pop("task"))
    return RecurrentPPO(env, seed=seed, **{**settings, **kwargs}).learn(steps)


def value_at_start(agent):
    obs = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    return agent.network.value(obs, agent.initial_state(2))


def test_a_reward_of_one_after_one_step_has_value_one_whatever_is_done():
    agent = learn(task=dict(length=1), steps=2500, discount=0.9)
    assert value_at_start(agent).tolist() == pytest.approx([1.0, 1.0], abs=0.1)


def test_a_reward_two_steps_away_is_discounted_once_and_a_time_limit_bootstraps():
    agent = learn(task=dict(length=2), steps=4000, discount=0.5)
    assert value_at_start(agent).tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    cut = learn(task=dict(length=2, truncates=True), steps=4000, discount=0.5)
    assert (value_at_start(cut) > 0.52).all()


def test_memory_is_needed_to_answer_a_cue_that_is_gone_and_a_memoryless_policy_cannot():
    task = dict(length=3, acts=True)
    agent = learn(task=task, steps=8000, learning_rate=1e-2)
    assert evaluate(agent, worlds(20, **task), 40, seed=5).mean() > 0.9
    blind = learn(task=task, steps=2000, learning_rate=1e-2, cell=Blind(2, 16))
    assert abs(evaluate(blind, worlds(40, **task), 40, seed=5).mean()) < 0.5


@pytest.mark.parametrize(
    "space", [spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2), spaces.Box(-1.0, 1.0, (1,), np.float32)]
)
def test_every_kind_of_action_learns_to_answer_the_cue(space):
    task = dict(length=1, acts=True, space=space)
    agent = learn(task=task, steps=4000, learning_rate=1e-2)
    assert evaluate(agent, worlds(20, **task), 40, seed=5).mean() > 0.8


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path):
    def fresh():
        return RecurrentPPO(worlds(3, 5, acts=True), seed=3, horizon=6, burn_in=4, sequence_length=3, hidden=8)

    whole = fresh().learn(150)
    half = fresh()

    def stop(local, _):
        return local["self"].num_timesteps < 81  # in the middle of a rollout

    half.learn(150, callback=stop)
    half.save(tmp_path)
    resumed = RecurrentPPO.load(tmp_path, worlds(3, 5, acts=True)).resume()
    assert resumed.num_timesteps == whole.num_timesteps
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_memory_reaches_the_policy_and_losing_it_in_an_episode_warns():
    agent = RecurrentPPO(worlds(2, 5), seed=0, hidden=8)
    obs = np.random.default_rng(0).normal(size=(4, 2, 2)).astype(np.float32)
    assert memory_self_test(agent, obs).remembers
    _, state = agent.predict(obs[0], episode_start=np.ones(2, bool))
    agent.predict(obs[1], state)
    with pytest.warns(UserWarning, match="lost its memory"):
        agent.predict(obs[2])


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match="sequence_length must divide"):
        PPOConfig(horizon=32, sequence_length=5)
    with pytest.raises(ValueError, match="acts in"):
        RecurrentPPO(worlds(1, 2, space=spaces.Dict({"a": spaces.Discrete(2)})))
    with pytest.raises(ValueError, match="bounded Box"):
        RecurrentPPO(worlds(1, 2, space=spaces.Box(-np.inf, np.inf, (1,))))
    with pytest.raises(ValueError, match="Box of floats"):
        RecurrentPPO(worlds(1, 2, space=spaces.Box(0, 5, (1,), np.int64)))
    with pytest.raises(ValueError, match="low < high"):
        RecurrentPPO(worlds(1, 2, space=spaces.Box(1.0, 1.0, (1,))))
    with pytest.raises(TypeError, match=r"received GRU; .*from_torch"):
        RecurrentPPO(worlds(1, 2), cell=torch.nn.GRU(2, 4))


@pytest.mark.parametrize(
    "name, value, rule",
    [
        ("clip", -0.2, "clip must be greater than 0"),
        ("gradient_norm", 0.0, "gradient_norm must be greater than 0"),
        ("reward_scale", float("nan"), "reward_scale must be greater than 0"),
        ("learning_rate", -1e-3, "learning_rate must be greater than 0"),
        ("entropy", float("nan"), "entropy must be >= 0"),
        ("spread_decay", 2.0, r"spread_decay lies in \[0, 1\]"),
        ("epochs", 0, "epochs >= 1"),
        ("hidden", 0, "hidden, noise_steps"),
        ("layers", (0,), "hidden, noise_steps"),
        ("noise", "pink", "'step' or 'state'"),
        ("noise_steps", 0, "hidden, noise_steps"),
        ("normalise_until", -1.0, "normalise_until"),
        ("log_std", float("nan"), "log_std is a finite"),
    ],
)
def test_settings_with_which_nothing_could_be_learned_are_refused_by_name(name, value, rule):
    with pytest.raises(ValueError, match=rule):
        RecurrentPPO(worlds(1, 2), **{name: value})


def test_a_state_or_flags_of_other_worlds_are_refused():
    agent = RecurrentPPO(worlds(2, 5), seed=0, hidden=4)
    _, state = agent.predict(np.zeros((3, 2), np.float32), episode_start=np.ones(3, bool))
    with pytest.raises(ValueError, match="state is of 3 worlds, the observations of 2"):
        agent.predict(np.zeros((2, 2), np.float32), state)
    with pytest.raises(ValueError, match="3 flags for 2 worlds"):
        agent.predict(np.zeros((2, 2), np.float32), None, np.ones(3, bool))


def test_an_environment_of_other_spaces_is_refused_and_the_old_one_kept():
    agent = RecurrentPPO(worlds(2, 5), seed=0, horizon=4, hidden=4)
    before = agent.worlds
    with pytest.raises(ValueError, match="build a new learner"):
        agent.set_env(worlds(2, 5, space=spaces.Discrete(3)))
    assert agent.worlds is before and agent.learn(16).num_timesteps == 16


def test_an_observation_that_changes_its_shape_is_named_as_the_environments_fault():
    env = worlds(2, 4)
    env.envs[1].step = lambda action: (np.zeros(3, np.float32), 0.0, False, False, {})
    with pytest.raises(ValueError, match="must keep its spaces"):
        RecurrentPPO(env, seed=0, horizon=4, hidden=4).learn(40)


def test_a_network_that_gives_no_numbers_never_acts():
    agent = RecurrentPPO(worlds(2, 4), seed=0, horizon=4, hidden=4)
    with torch.no_grad():
        agent.network.head.linear.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="earlier checkpoint"):
        agent.predict(np.zeros((2, 2), np.float32), episode_start=np.ones(2, bool), deterministic=True)
    with pytest.raises(FloatingPointError, match="earlier checkpoint"):
        agent.learn(40)


def test_a_reward_that_is_not_a_number_stops_before_any_weight_changes():
    env = worlds(2, 4)
    agent = RecurrentPPO(env, seed=0, horizon=4, hidden=8)
    before = {k: v.clone() for k, v in agent.network.state_dict().items()}
    for single in env.envs:
        single.step = lambda action, step=single.step: (step(action)[0], float("nan"), False, False, {})
    with pytest.raises(FloatingPointError, match="nan"):
        agent.learn(40)
    assert all(torch.equal(before[k], v) for k, v in agent.network.state_dict().items())
