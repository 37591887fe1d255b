"""The written-out parts of a gradient step against what torch gives."""

import copy

import pytest
import torch
from torch import nn

from agents.dense import through_layers
from agents.descent import clipped_step
from agents.ppo import ppo_loss


def network():
    layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    return nn.Sequential(layers, nn.Linear(8, 1))


def adam(net, **settings):
    groups = [{"params": [*net[0].parameters()], "lr": 1e-2}, {"params": [*net[1].parameters()]}]
    return torch.optim.Adam(groups, lr=3e-3, eps=1e-5, fused=True, **settings)


@pytest.mark.parametrize("max_norm", [0.05, 50.0])
@pytest.mark.parametrize("settings", [{}, {"betas": (0.5, 0.9), "weight_decay": 0.1}])
def test_steps_are_those_of_adam_after_clipping_and_its_state_can_be_taken_over(max_norm, settings):
    torch.manual_seed(0)
    ours = network()
    theirs = copy.deepcopy(ours)
    ours_adam, theirs_adam = adam(ours, **settings), adam(theirs, **settings)
    for step in range(6):
        x = torch.randn(16, 3)
        norm = clipped_step(ours_adam, ours(x).square().mean(), max_norm)
        theirs_adam.zero_grad()
        theirs(x).square().mean().backward()
        assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs.parameters(), max_norm).item(), rel=1e-5)
        theirs_adam.step()
        if step == 2:  # through a checkpoint, and from torch's steps to ours
            ours_adam = adam(ours, **settings)
            ours_adam.load_state_dict(copy.deepcopy(theirs_adam.state_dict()))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_weight_without_a_gradient_stays_and_a_gradient_that_is_not_finite_changes_none():
    net, unused = network(), nn.Parameter(torch.ones(2))
    net[1].bias.requires_grad_(False)
    optimiser = torch.optim.Adam([*net.parameters(), unused], fused=True)
    before = [p.detach().clone() for p in (*net.parameters(), unused)]
    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        clipped_step(optimiser, (net(torch.ones(2, 3)) * torch.inf).sum(), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, (*net.parameters(), unused), strict=True))
    clipped_step(optimiser, net(torch.ones(2, 3)).sum(), 1.0)
    moved = [not torch.equal(a, b) for a, b in zip(before, (*net.parameters(), unused), strict=True)]
    assert moved == [True] * 5 + [False, False]


@pytest.mark.parametrize(
    "layers",
    [
        network(),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Tanh(), nn.Tanh()),  # two tanh: run as it is
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.ELU()),
        nn.Sequential(),
        nn.Linear(3, 2),
    ],
)
def test_layers_give_the_values_and_gradients_of_calling_them(layers):
    torch.manual_seed(0)
    layers = copy.deepcopy(layers).double()
    x = torch.randn(5, 2, 3, dtype=torch.double, requires_grad=True)
    plain, fast = layers(x), through_layers(layers, x)
    torch.testing.assert_close(fast, plain)
    weight, leaves = torch.randn_like(plain), [x, *layers.parameters()]
    for a, b in zip(
        torch.autograd.grad((fast * weight).sum(), leaves),
        torch.autograd.grad((plain * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_gradients_of_the_losses_are_those_of_their_formulas():
    torch.manual_seed(0)
    log_prob, value = (torch.randn(40, dtype=torch.double, requires_grad=True) for _ in range(2))
    old, advantage, target = torch.randn(3, 40, dtype=torch.double)
    loss_pi, loss_v, kl, clipped = ppo_loss(log_prob, old, advantage, value, target, clip=0.2)
    ratio = (log_prob - old).exp()
    surrogate = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    error = (value - target).square().mean()
    torch.testing.assert_close(torch.stack([loss_pi, loss_v]), torch.stack([surrogate, error]))
    torch.testing.assert_close(kl, (ratio - 1 - ratio.log()).mean().detach())
    assert clipped.item() == pytest.approx(((ratio < 0.8) | (ratio > 1.2)).double().mean().item())
    ours = torch.autograd.grad(loss_pi + 0.5 * loss_v, [log_prob, value])
    theirs = torch.autograd.grad(surrogate + 0.5 * error, [log_prob, value])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
