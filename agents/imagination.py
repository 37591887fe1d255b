"""Policies trained inside a model: by backpropagation through it, or by actor and critic on imagined rollouts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, map_state
from rnn.models import make_cell

__all__ = ["Dreamer", "Imagination", "ImaginedPolicy", "PolicyMemory", "lambda_returns"]


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
        """What head and critic read: the cell's output and the scaled observation."""
        x = (obs - self.mean) / self.std
        y, cell = self.cell(x, memory.cell)
        return torch.cat([y, x], -1), PolicyMemory(cell)

    def values(self, z: Tensor) -> Tensor:
        """Values [...] by the slow critic, with gradients to what is observed but not to the cell.

        Otherwise the policy would learn a memory that pleases the critic instead of actions that earn.
        """
        H = self.cell.output_size
        return self.target(torch.cat([z[..., :H].detach(), z[..., H:]], -1)).squeeze(-1)

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
        saturation: price of the squares of what goes into the policy's tanh: a model that is wrong at first would
            otherwise drive it so far into saturation that no gradient comes back.
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
        saturation: float = 0.002,
    ):
        self.policy, self.model, self.reward, self.alive = policy, model, reward, alive
        self.saturation = saturation
        self.horizon, self.discount, self.lambda_, self.bootstrap = horizon, discount, lambda_, bootstrap
        self.reached: tuple[Tensor, PolicyMemory] | None = None
        own = [*policy.cell.parameters(), *policy.head.parameters()]
        self.actor_optimiser = torch.optim.Adam(own, lr=learning_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(policy.critic.parameters(), lr=learning_rate, fused=True)

    def update(self, obs: Tensor, memory: PolicyMemory | None = None) -> dict[str, float]:
        """One step of policy and critic from starts [B, D] (with the policy's memory there).

        `reached` then holds the observations and memories at which the rollouts ended.

        Raises:
            FloatingPointError: an imagined return that is not finite.
        """
        policy, state = self.policy, self.model.begin(obs)
        memory = policy.initial_state(len(obs)) if memory is None else map_state(Tensor.detach, memory)
        latents, rewards, discounts, pressed = [], [], [], []
        with _frozen(self.model):
            for _ in range(self.horizon):
                z, memory = policy.latent(obs, memory)
                pressed.append(policy.head(z))
                action = torch.tanh(pressed[-1])
                state, following = self.model.step(state, action)
                rewards.append(self.reward(obs, action, following))
                going = torch.ones(len(obs)) if self.alive is None else self.alive(following)
                discounts.append(self.discount * going)
                latents.append(z)
                obs = following
            self.reached = obs.detach(), map_state(Tensor.detach, memory)
            latents.append(policy.latent(obs, memory)[0])
            zs, reward, discount = torch.stack(latents), torch.stack(rewards), torch.stack(discounts)
            value = policy.values(zs[1:]) if self.bootstrap else torch.zeros_like(reward)
            targets = lambda_returns(reward, discount, value, self.lambda_)
            loss = -targets[0].mean() if not self.bootstrap else -targets.mean()
            if not torch.isfinite(loss):
                raise FloatingPointError("an imagined return is not finite: the model has left its data; fit it again")
            self.actor_optimiser.zero_grad()
            (loss + self.saturation * torch.stack(pressed).square().mean()).backward()
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
                slow.lerp_(fast, 0.05)
        return {"imagined_return": -loss.item(), "critic_loss": critic_loss.item()}


class Dreamer:
    """A policy that lives in a world and learns in its model between episodes.

    Imagined rollouts start where it has been, with the memory that the policy would have there: it is first run over
    the `burn_in` observations before. Most go on where the last ones ended, so that the policy learns in the states to
    which its present actions lead and not only where earlier ones led, until they are renewed or leave what was seen.

    Args:
        trainer: policy, model and reward.
        batch: rollouts imagined per update.
        burn_in: observations before a start.
        noise: greatest standard deviation of exploration, in units of half the action box. Each episode draws its own
            from 0 to that: a policy that only ever lived with noise may be stuck without it, and would never know.
        renewed: share of the rollouts that start from a real observation; 1 for all.
        seed: of starts and exploration.
    """

    def __init__(
        self,
        trainer: Imagination,
        *,
        batch: int = 64,
        burn_in: int = 8,
        noise: float = 0.3,
        renewed: float = 0.3,
        seed: int = 0,
    ):
        self.trainer, self.policy = trainer, trainer.policy
        self.batch, self.burn_in, self.noise, self.renewed = batch, burn_in, noise, renewed
        self.generator = torch.Generator().manual_seed(seed)
        self.memory: PolicyMemory | None = None
        self.level = noise

    def reset(self) -> None:
        """Forget: a new episode."""
        self.memory = None
        self.level = self.noise * torch.rand((), generator=self.generator).item()

    @torch.no_grad()
    def act(self, obs: Tensor, *, explore: bool = True) -> Tensor:
        """Actions [B, A] in [-1, 1] for observations [B, D]; the memory goes along."""
        memory = self.policy.initial_state(len(obs)) if self.memory is None else self.memory
        action, self.memory = self.policy(obs, memory)
        if explore:
            action = action + self.level * torch.empty_like(action).normal_(generator=self.generator)
        return action.clamp(-1, 1)

    def learn(self, episodes: Sequence[Tensor], updates: int) -> dict[str, float]:
        """Train in the model from starts among the observations of episodes, each [T, D]. Returns the last metrics.

        Raises:
            ValueError: every episode is shorter than the burn-in.
        """
        W, lived = self.burn_in + 1, torch.cat(list(episodes))
        ends = torch.cat([torch.arange(len(e)) >= W - 1 for e in episodes]).nonzero().flatten()
        if not len(ends):
            raise ValueError(f"every episode is shorter than {W} observations; shorten the burn-in")
        std = lived.std(0)
        self.policy.mean.copy_(lived.mean(0))
        self.policy.std.copy_(torch.where(std > 1e-6, std, 1.0))
        low, high = lived.amin(0), lived.amax(0)
        reached: tuple[Tensor, PolicyMemory] | None = None
        metrics: dict[str, float] = {}
        for _ in range(updates):
            end = ends[torch.randint(len(ends), (self.batch,), generator=self.generator)]
            past = lived[end + torch.arange(1 - W, 1)[:, None]]  # [W, B, D]
            memory = self.policy.initial_state(self.batch)
            with torch.no_grad():
                for obs in past[:-1].unbind(0):
                    _, memory = self.policy.latent(obs, memory)
            start = past[-1]
            if reached is not None:
                inside = ((reached[0] >= low) & (reached[0] <= high)).all(1)
                again = inside & (torch.rand(self.batch, generator=self.generator) >= self.renewed)
                start, memory = (_choose(again, old, new) for old, new in zip(reached, (start, memory), strict=True))
            metrics = self.trainer.update(start, memory)
            reached = self.trainer.reached
        return metrics


def _choose(mask: Tensor, one: Any, other: Any) -> Any:
    """Rows of one state where the mask [B] is true, else of the other."""
    return map_state(lambda a, b: torch.where(mask.reshape(-1, *[1] * (a.dim() - 1)), a, b), one, other)


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
