"""Policies trained inside a model: by backpropagation through it, or by actor and critic on imagined rollouts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, map_state
from rnn.models import make_cell

__all__ = ["Imagination", "ImaginedPolicy", "PolicyMemory", "lambda_returns"]


def lambda_returns(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    r"""Targets [T, B] of values: `G_t = r_t + g_t ((1 - l) v_{t+1} + l G_{t+1})`, with `G_T = v_T`.

    Args:
        reward: r_t that follows step t, [T, B].
        discount: g_t, gamma times the probability of going on, [T, B].
        value: v_{t+1}, of the states reached, [T, B].
        lambda_: l; 0 is the one-step target, 1 the whole imagined return.

    >>> one = torch.ones(2, 1)
    >>> lambda_returns(one, one, 10 * one, 1.0).flatten().tolist(), lambda_returns(one, one, 10 * one, 0.0)[0].item()
    ([12.0, 11.0], 11.0)
    """
    target, targets = value[-1], []
    for r, g, v in zip(*(reversed(part.unbind(0)) for part in (reward, discount, value)), strict=True):
        target = r + g * ((1 - lambda_) * v + lambda_ * target)
        targets.append(target)
    return torch.stack(targets[::-1])


class PolicyMemory(NamedTuple):
    """The state of a recurrent policy."""

    cell: Any


class ImaginedPolicy(nn.Module):
    """A recurrent policy over observations, squashed to [-1, 1].

    Args:
        obs_size: D.
        action_size: A.
        cell: name of a cell, or a cell of D inputs.
        hidden: H.

    >>> policy = ImaginedPolicy(3, 1, hidden=8)
    >>> action, memory = policy(torch.zeros(4, 3), policy.initial_state(4))
    >>> action.shape
    torch.Size([4, 1])
    """

    def __init__(self, obs_size: int, action_size: int, *, cell: str | Cell = "gru", hidden: int = 64):
        super().__init__()
        self.cell = cell if isinstance(cell, Cell) else make_cell(cell, obs_size, hidden)
        self.register_buffer("mean", torch.zeros(obs_size))
        self.register_buffer("std", torch.ones(obs_size))
        self.mean: Tensor
        self.std: Tensor
        H = self.cell.output_size
        self.head = nn.Sequential(nn.Linear(H + obs_size, hidden), nn.Tanh(), nn.Linear(hidden, action_size))
        self.critic = nn.Sequential(
            nn.Linear(H + obs_size, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )
        self.target = copy.deepcopy(self.critic).requires_grad_(False)

    def initial_state(self, batch: int) -> PolicyMemory:
        return PolicyMemory(self.cell.initial_state(batch))

    def latent(self, obs: Tensor, memory: PolicyMemory) -> tuple[Tensor, PolicyMemory]:
        """What head and critic read."""
        x = (obs - self.mean) / self.std
        y, cell = self.cell(x, memory.cell)
        return torch.cat([y, x], -1), PolicyMemory(cell)

    def forward(self, obs: Tensor, memory: PolicyMemory) -> tuple[Tensor, PolicyMemory]:
        """The action [B, A] without exploration."""
        z, memory = self.latent(obs, memory)
        return torch.tanh(self.head(z)), memory


class Imagination:
    r"""Trains a policy on rollouts that a model imagines.

    With `lambda_ = 1` and `bootstrap = False` the policy ascends the imagined return itself, by backpropagation
    through model and reward (as in PILCO and stochastic value gradients). Otherwise a critic is learned on
    lambda-returns and bounds the horizon, and gradients of these returns reach the policy through the model, as in
    "Dream to Control" (Hafner et al., 2020).

    Args:
        policy: the policy.
        model: `begin(obs)`, `step(state, action) -> (state, obs)`; differentiable. Its weights are left alone.
        reward: of (observation, action, next observation) [N], differentiable.
        horizon: imagined steps.
        alive: probability of going on [N] after an observation; None for always.
        discount: gamma.
        lambda_: of the returns.
        bootstrap: end imagined rollouts in the critic's value.
        learning_rate: of Adam, policy and critic.
    """

    def __init__(
        self,
        policy: ImaginedPolicy,
        model: Any,
        reward: Callable[[Tensor, Tensor, Tensor], Tensor],
        *,
        horizon: int = 20,
        alive: Callable[[Tensor], Tensor] | None = None,
        discount: float = 0.98,
        lambda_: float = 0.95,
        bootstrap: bool = True,
        learning_rate: float = 1e-3,
    ):
        self.policy, self.model, self.reward, self.alive = policy, model, reward, alive
        self.horizon, self.discount, self.lambda_, self.bootstrap = horizon, discount, lambda_, bootstrap
        own = [*policy.cell.parameters(), *policy.head.parameters()]
        self.actor_optimiser = torch.optim.Adam(own, lr=learning_rate)
        self.critic_optimiser = torch.optim.Adam(policy.critic.parameters(), lr=learning_rate)

    def update(self, obs: Tensor, memory: PolicyMemory | None = None) -> dict[str, float]:
        """One step of policy and critic from starts [B, D] (with the policy's memory there).

        Raises:
            FloatingPointError: an imagined return that is not finite.
        """
        policy, state = self.policy, self.model.begin(obs)
        memory = policy.initial_state(len(obs)) if memory is None else map_state(Tensor.detach, memory)
        latents, rewards, discounts = [], [], []
        with _frozen(self.model):
            for _ in range(self.horizon):
                z, memory = policy.latent(obs, memory)
                action = torch.tanh(policy.head(z))
                state, following = self.model.step(state, action)
                rewards.append(self.reward(obs, action, following))
                going = torch.ones(len(obs)) if self.alive is None else self.alive(following)
                discounts.append(self.discount * going)
                latents.append(z)
                obs = following
            latents.append(policy.latent(obs, memory)[0])
            zs, reward, discount = torch.stack(latents), torch.stack(rewards), torch.stack(discounts)
            value = policy.target(zs[1:]).squeeze(-1) if self.bootstrap else torch.zeros_like(reward)
            targets = lambda_returns(reward, discount, value, self.lambda_)
            loss = -targets[0].mean() if not self.bootstrap else -targets.mean()
            if not torch.isfinite(loss):
                raise FloatingPointError("an imagined return is not finite: the model has left its data; fit it again")
            self.actor_optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for g in self.actor_optimiser.param_groups for p in g["params"]], 1.0)
            self.actor_optimiser.step()
        weight = torch.cat([torch.ones(1, len(reward[0])), discount[:-1].detach()]).cumprod(0)
        error = (policy.critic(zs[:-1].detach()).squeeze(-1) - targets.detach()).square()
        critic_loss = (weight * error).mean()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()
        with torch.no_grad():
            for slow, fast in zip(policy.target.parameters(), policy.critic.parameters(), strict=True):
                slow.lerp_(fast, 0.02)
        return {"imagined_return": -loss.item(), "critic_loss": critic_loss.item()}


class _frozen:
    """The parameters of a model without gradients for a while; their flags are put back as they were."""

    def __init__(self, model: Any):
        self.parameters = list(model.parameters()) if isinstance(model, nn.Module) else []

    def __enter__(self) -> None:
        self.flags = [p.requires_grad for p in self.parameters]
        for p in self.parameters:
            p.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for p, flag in zip(self.parameters, self.flags, strict=True):
            p.requires_grad_(flag)
