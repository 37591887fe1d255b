"""Policies trained inside a model: targets by hand, gradients through the model, a regulator found."""

import pytest
import torch

from agents.imagination import Dreamer, Imagination, ImaginedPolicy, lambda_returns

A, B = torch.tensor([[1.0, 0.2], [0.0, 1.0]]), torch.tensor([[0.0], [0.2]])


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.A, self.B = torch.nn.Parameter(A.clone()), torch.nn.Parameter(B.clone())

    def begin(self, obs):
        return type("S", (), {"obs": obs})()

    def step(self, state, action):
        obs = state.obs @ self.A.T + action @ self.B.T
        return self.begin(obs), obs


def cost(obs, action, following):
    return -(following**2).sum(1) - 0.1 * (action**2).sum(1)


def regulated(policy, steps=25):
    obs = torch.tensor([[1.0, 0.0], [-0.8, 0.5], [0.5, 0.8], [0.0, -1.0]])
    memory, model, total = policy.initial_state(4), Linear(), 0.0
    with torch.no_grad():
        for _ in range(steps):
            action, memory = policy(obs, memory)
            following = model.step(model.begin(obs), action)[1]
            total += cost(obs, action, following).mean().item()
            obs = following
    return total


def test_returns_mix_one_step_and_whole_imagined_returns_by_hand():
    reward, discount = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [0.5]])
    value = torch.tensor([[10.0], [20.0]])
    last = 2 + 0.5 * 20
    mixed = lambda_returns(reward, discount, value, 0.6)
    assert mixed.flatten().tolist() == pytest.approx([1 + 0.5 * (0.4 * 10 + 0.6 * last), last])


@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_policy_trained_in_a_model_regulates_and_leaves_the_model_alone(bootstrap):
    torch.manual_seed(0)
    policy, model = ImaginedPolicy(2, 1, cell="gru", hidden=16), Linear()
    before = regulated(policy)
    trainer = Imagination(
        policy, model, cost, horizon=12, bootstrap=bootstrap, lambda_=0.95 if bootstrap else 1.0, learning_rate=5e-3
    )
    for _ in range(120):
        trainer.update(torch.randn(32, 2))
    after = regulated(policy)
    assert after > 0.4 * before
    assert torch.equal(model.A, A) and model.A.requires_grad and model.A.grad is None


def test_a_model_that_gives_nan_stops_before_the_policy_changes():
    policy, model = ImaginedPolicy(2, 1, hidden=8), Linear()
    model.A.data.fill_(float("nan"))
    before = policy.head[0].weight.clone()
    with pytest.raises(FloatingPointError, match="left its data"):
        Imagination(policy, model, cost, horizon=3).update(torch.randn(4, 2))
    assert torch.equal(before, policy.head[0].weight)


def test_a_critic_cannot_be_pleased_through_the_memory():
    """Where nothing that is seen changes, a critic that likes large memories teaches the cell nothing."""
    torch.manual_seed(0)
    policy = ImaginedPolicy(2, 1, hidden=8)

    class Still:
        def begin(self, obs):
            return obs

        def step(self, state, action):
            return state, state

    before = [p.clone() for p in policy.cell.parameters()]
    trainer = Imagination(policy, Still(), lambda obs, action, following: 0 * following[:, 0], horizon=4, saturation=0)
    metrics = trainer.update(torch.randn(16, 2))
    assert all(torch.equal(p, q) for p, q in zip(before, policy.cell.parameters(), strict=True))
    assert metrics["imagined_return"] != 0  # the critic did promise something


def test_imagined_starts_carry_the_memory_of_their_own_episode():
    policy = ImaginedPolicy(1, 1, hidden=4)
    seen = []

    class Spy:
        def __init__(self):
            self.policy, self.reached = policy, None

        def update(self, obs, memory):
            seen.append((obs, memory))
            return {}

    episodes = [torch.arange(0.0, 5)[:, None], torch.tensor([[9.0]]), torch.arange(20.0, 26)[:, None]]
    Dreamer(Spy(), batch=200, burn_in=3).learn(episodes, 1)
    obs, memory = seen[0]
    assert sorted(set(obs.flatten().tolist())) == [3, 4, 23, 24, 25]
    expected = policy.initial_state(1)
    for value in (20.0, 21.0, 22.0):
        _, expected = policy.latent(torch.tensor([[value]]), expected)
    row = obs.flatten().tolist().index(23.0)
    torch.testing.assert_close(
        memory.cell[row] if torch.is_tensor(memory.cell) else memory.cell[0][row],
        expected.cell[0] if torch.is_tensor(expected.cell) else expected.cell[0][0],
    )
    with pytest.raises(ValueError, match="shorter"):
        Dreamer(Spy(), burn_in=9).learn(episodes, 1)


def test_imagined_rollouts_go_on_where_they_ended_unless_that_is_beyond_what_was_seen():
    policy = ImaginedPolicy(1, 1, hidden=4)
    starts = []

    class Counting:
        """A rollout that moves on by 1, from whole numbers to halves."""

        def __init__(self):
            self.policy, self.reached = policy, None

        def update(self, obs, memory):
            starts.append(obs)
            self.reached = (torch.where(obs % 1 == 0, obs + 0.5, obs + 1), memory)
            return {}

    Dreamer(Counting(), batch=400, burn_in=1, renewed=0.25).learn([torch.arange(0.0, 5)[:, None]], 12)
    real = torch.stack([(obs % 1 == 0).float().mean() for obs in starts])
    assert real[0] == 1 and real[1] < 0.6 and real[5:].mean() > 0.25
    later = torch.stack(starts[1:])
    assert later.max() <= 4.0 and (later[later % 1 != 0] > 0).all()  # 4.5 lies beyond what was seen
    starts.clear()
    Dreamer(Counting(), batch=400, burn_in=1, renewed=1.0).learn([torch.arange(0.0, 5)[:, None]], 3)
    assert all((obs % 1 == 0).all() for obs in starts)


def test_a_dreamer_that_acts_in_halves_acts_as_in_one_go():
    policy = ImaginedPolicy(2, 1, hidden=4)
    obs = torch.randn(6, 3, 2)
    dreamer = Dreamer(Imagination(policy, Linear(), cost), seed=0)
    actions = [dreamer.act(o, explore=False) for o in obs]
    memory, expected = policy.initial_state(3), []
    with torch.no_grad():
        for o in obs:
            action, memory = policy(o, memory)
            expected.append(action)
    assert torch.equal(torch.stack(actions), torch.stack(expected))
    dreamer.reset()
    assert torch.equal(dreamer.act(obs[0], explore=False), expected[0])
    assert not torch.equal(dreamer.act(obs[0]), dreamer.act(obs[0], explore=False))
