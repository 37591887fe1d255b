"""Proximal policy optimisation over sequences: the loss, the rollout it learns from, and the update."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from agents.advantages import gae, normalised
from agents.descent import clipped_step
from agents.policies import PolicyState, RecurrentPolicy
from agents.rollout import Transition
from rnn.cell import map_state

__all__ = ["Collector", "PPOConfig", "Rollout", "Sequences", "ppo_loss", "sequences", "update"]


@dataclass(frozen=True)
class PPOConfig:
    """Settings of recurrent PPO; those measured on tasks stand in `benchmarks/recurrent_ppo.py`."""

    horizon: int = 32
    """Steps per world between updates."""
    sequence_length: int = 0
    """Steps through which gradients flow; 0 for the whole horizon. Divides the horizon."""
    burn_in: int = 0
    """Steps before the horizon over which states are run again with the present weights before each epoch."""
    minibatch: int = 8
    """Sequences per gradient step."""
    epochs: int = 10
    """Passes over the rollout."""
    learning_rate: float = 1e-3
    """Adam's step at the start."""
    final_learning_rate: float = 0.0
    """Adam's step at the end; it falls linearly."""
    discount: float = 0.99
    """gamma."""
    gae_lambda: float = 0.95
    """lambda of the advantages."""
    clip: float = 0.2
    """Bound of the probability ratio, 1 +- clip."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    gradient_norm: float = 0.5
    """Clip of the gradient's norm."""
    reward_scale: float = 0.05
    """Factor of rewards inside the learner: keeps the value loss from swamping a cell shared with the policy."""
    spread_decay: float = 0.0
    """How slowly the floor of the advantages' deviation falls, per update, from the largest seen; 0 for no floor."""
    refresh: bool = True
    """Recompute the stored states at the starts of sequences with the present weights before each epoch."""
    target_kl: float = float("inf")
    """Stop the epochs of an update when the mean KL divergence from the acting policy exceeds this."""

    def __post_init__(self) -> None:
        length = self.sequence_length or self.horizon
        if self.horizon < 1 or length < 1 or self.horizon % length:
            raise ValueError(
                f"sequence_length must divide the horizon, received {length} and {self.horizon}; "
                "sequences never overlap or leave steps out"
            )
        if self.burn_in < 0 or self.minibatch < 1 or self.epochs < 1:
            raise ValueError(
                f"burn_in must be >= 0, minibatch and epochs >= 1, received {self.burn_in}, {self.minibatch} and "
                f"{self.epochs}"
            )
        for name in ("discount", "gae_lambda", "spread_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], received {getattr(self, name)}")
        for name in ("clip", "gradient_norm", "reward_scale", "target_kl", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be greater than 0, received {getattr(self, name)}; nothing would be learned"
                )
        for name in ("entropy", "value_weight", "final_learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be >= 0 and finite, received {getattr(self, name)}")


class Rollout(NamedTuple):
    """Steps of all worlds, time first; the first C steps of `x` and `first` are context for burn-in.

    Attributes:
        x: features, unscaled, [C + T, B, I].
        first: episode starts, [C + T, B].
        start: the policy's state before step 0 of `x`.
        stored: the states before steps C, C + L, ... as they were when acting.
        action: [T, B, n].
        log_prob: of the actions when they were taken, [T, B].
        advantage: [T, B].
        target: of the value, [T, B].
    """

    x: Tensor
    first: Tensor
    start: PolicyState
    stored: list[PolicyState]
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor


class Sequences(NamedTuple):
    """A minibatch of whole sequences, [L, N, ...], with the states before them."""

    x: Tensor
    first: Tensor
    state: PolicyState
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor


class Collector:
    """Gathers the steps of a rollout as they happen, keeping enough of the past for burn-in.

    Args:
        policy: the policy that acts.
        config: settings.
    """

    def __init__(self, policy: RecurrentPolicy, config: PPOConfig):
        self.policy, self.config = policy, config
        self.past: deque[tuple[Tensor, Tensor, PolicyState]] = deque(maxlen=config.horizon + config.burn_in)
        self.steps: list[tuple[Tensor, ...]] = []

    def add(self, obs: Tensor, next_obs: Tensor, before: PolicyState, step: Transition) -> bool:
        """Take in one step, with flat observations [B, D] and the state before it; true when the rollout is full."""
        policy, after = self.policy, step.state
        first = torch.as_tensor(step.first)
        before = policy.begin(before, first)
        self.past.append((policy.features(obs, before.previous), first, before))
        ended = torch.as_tensor(step.terminated | step.truncated)
        full = len(self.steps) + 1 == self.config.horizon
        # The value of the state reached is the next step's own, except at a time limit and at the rollout's end.
        ahead = policy.value(next_obs, after) if full or step.truncated.any() else torch.zeros_like(after.value)
        discount = self.config.discount * ~torch.as_tensor(step.terminated)
        reward = torch.as_tensor(np.asarray(step.reward, dtype=np.float32)) * self.config.reward_scale
        self.steps.append((after.action, after.log_prob, after.value, reward, discount, ended, ahead))
        return full

    def rollout(self) -> Rollout:
        """The rollout of the steps gathered since the last one."""
        action, log_prob, value, reward, discount, ended, ahead = map(torch.stack, zip(*self.steps, strict=True))
        next_value = torch.cat([torch.where(ended[:-1], ahead[:-1], value[1:]), ahead[-1:]])
        advantage = gae(reward, discount, ended, value, next_value, self.config.gae_lambda)
        T = len(self.steps)
        stored = [state for _, _, state in self.past][len(self.past) - T :: self.config.sequence_length or T]
        x, first = (torch.stack([step[k] for step in self.past]) for k in (0, 1))  # type: ignore[misc]
        self.steps = []
        return Rollout(x, first, self.past[0][2], stored, action, log_prob, advantage, advantage + value)


def sequences(
    policy: RecurrentPolicy, rollout: Rollout, config: PPOConfig, generator: torch.Generator | None = None
) -> Iterator[Sequences]:
    """One epoch: the rollout cut into sequences of all worlds, in shuffled minibatches, or as a whole in one.

    The states before the sequences are those of acting, or with `config.refresh` those that the present weights
    give. Nothing is padded: episodes end inside sequences, and the flags of `first` reset the state there.
    """
    T, B = rollout.advantage.shape
    L, C = config.sequence_length or T, len(rollout.x) - T
    states = rollout.stored
    if config.refresh and (C or L < T):
        start = rollout.start
        if C:
            start = policy.states(rollout.x[:C], start, rollout.first[:C], C)[-1]
        states = policy.states(rollout.x[C:], start, rollout.first[C:], L)[:-1]
    state = map_state(lambda *parts: torch.cat(parts), states[0], *states[1:]) if len(states) > 1 else states[0]

    def cut(x: Tensor) -> Tensor:  # [T, B, ...] -> [L, T/L * B, ...], segments in the order of `states`
        return (
            x if L == T else x.reshape(T // L, L, B, *x.shape[2:]).transpose(0, 1).reshape(L, T // L * B, *x.shape[2:])
        )

    parts = (cut(rollout.x[C:]), cut(rollout.first[C:]))
    rest = tuple(cut(part) for part in rollout[4:])
    if config.minibatch >= T // L * B:
        yield Sequences(*parts, state, *rest)
        return
    order = torch.randperm(T // L * B, generator=generator)
    for pick in order.split(config.minibatch):
        chosen = map_state(lambda s, pick=pick: s.index_select(0, pick), state)
        x, first, *others = (part.index_select(1, pick) for part in (*parts, *rest))
        yield Sequences(x, first, chosen, *others)


def ppo_loss(
    log_prob: Tensor, log_prob_old: Tensor, advantage: Tensor, value: Tensor, target: Tensor, *, clip: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Clipped surrogate and squared value error; also the KL estimate and the clipped fraction.

    .. math::
        L_\pi = -\mathrm{mean}\min(\rho A, \mathrm{clip}(\rho, 1-\epsilon, 1+\epsilon) A), \quad
        \rho = \pi / \pi_{old}, \qquad L_v = \mathrm{mean}(v - \hat v)^2, \qquad
        \widehat{KL} = \mathrm{mean}(\rho - 1 - \ln \rho)

    Source: "Proximal Policy Optimization Algorithms" (Schulman et al., 2017).

    >>> one = torch.ones(1)
    >>> ppo_loss((2 * one).log(), 0 * one, one, one, 0 * one, clip=0.2)[0].item() == -torch.tensor(1.2).item()
    True
    """
    return _Losses.apply(log_prob, log_prob_old, advantage, value, target, clip)


class _Losses(torch.autograd.Function):
    """The losses of `ppo_loss`, with the gradients of the first two written out."""

    @staticmethod
    def forward(
        ctx: Any, log_prob: Tensor, log_prob_old: Tensor, advantage: Tensor, value: Tensor, target: Tensor, clip: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        log_ratio, error = log_prob - log_prob_old, value - target
        ratio = log_ratio.exp()
        gain, excess = ratio * advantage, ratio - 1
        bounded = ratio.clamp(1 - clip, 1 + clip) * advantage
        ctx.save_for_backward((gain <= bounded) * gain / -gain.numel(), error * (2 / error.numel()))
        kl, clipped = (excess - log_ratio).mean(), (excess.abs() > clip).float().mean()
        ctx.mark_non_differentiable(kl, clipped)
        return -torch.minimum(gain, bounded).mean(), error.square().mean(), kl, clipped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_log_prob, of_value = ctx.saved_tensors
        return grads[0] * of_log_prob, None, None, grads[1] * of_value, None, None


def update(
    policy: RecurrentPolicy,
    optimiser: torch.optim.Adam,
    rollout: Rollout,
    config: PPOConfig,
    generator: torch.Generator | None = None,
    floor: float = 0.0,
) -> dict[str, float]:
    """All epochs over one rollout; returns means of the losses.

    Args:
        policy: what learns.
        optimiser: of its parameters, `fused`.
        rollout: what it learns from.
        config: settings.
        generator: of the shuffling.
        floor: least standard deviation that advantages are divided by. Once a task is solved what is left of them is
            noise, and dividing by its own deviation would make as much of it as of the lessons before.

    Raises:
        FloatingPointError: a loss that is not finite; the weights are those before the step that gave it.
    """
    totals: dict[str, float] = {}
    rollout = rollout._replace(advantage=normalised(rollout.advantage, floor))
    count = 0
    for _ in range(config.epochs):
        epoch_kl, batches = 0.0, 0
        for batch in sequences(policy, rollout, config, generator):
            dist, value = policy.evaluate(batch.x, batch.state, batch.first)
            log_prob = dist.log_prob(batch.action)
            loss_pi, loss_v, kl, clipped = ppo_loss(
                log_prob, batch.log_prob, batch.advantage, value, batch.target, clip=config.clip
            )
            loss = loss_pi + config.value_weight * loss_v
            if config.entropy:
                loss = loss - config.entropy * dist.entropy().mean()
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"the loss is {loss.item()} (policy {loss_pi.item()}, value {loss_v.item()}); "
                    "lower the learning rate or the reward scale"
                )
            norm = clipped_step(optimiser, loss, config.gradient_norm)
            count += 1
            batches += 1
            epoch_kl += kl.item()
            parts = {"policy_loss": loss_pi, "value_loss": loss_v, "kl": kl, "clipped": clipped}
            for name, part in (*((name, part.item()) for name, part in parts.items()), ("gradient_norm", norm)):
                totals[name] = totals.get(name, 0.0) + part
        if epoch_kl / batches > config.target_kl:
            break
    metrics = {name: total / count for name, total in totals.items()}
    return {**metrics, "target_std": float(rollout.target.std()), "gradient_steps": float(count)}
