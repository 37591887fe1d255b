"""Policies trained inside a model: targets by hand, gradients through the model, a regulator found."""

import pytest
import torch

from agents.imagination import Imagination, ImaginedPolicy, lambda_returns

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
