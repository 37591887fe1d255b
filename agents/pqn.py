"""Q learning without replay or target network: many worlds, Q(lambda), layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agents.q_network import QNetwork
from agents.recurrent_dqn import RecurrentDQN, RecurrentDQNConfig
from agents.replay import SequenceReplay, Sequences
from agents.returns import lambda_returns, td_errors
from agents.spaces import leaves, rebuild

__all__ = ["PQN", "PQNConfig"]


@dataclass(frozen=True)
class PQNConfig(RecurrentDQNConfig):
    """Settings beside those of the recurrent DQN; replay, n-step and target settings have no effect here."""

    rollout: int = 32
    """Steps of every world between two updates."""
    epochs: int = 2
    """Passes over a rollout."""
    minibatches: int = 4
    """Groups of whole worlds per pass."""
    lambda_: float = 0.9
    """Mixing of horizons; Simplifying Deep Temporal Difference Learning (Gallici et al., 2025) takes 0.65 to 0.95."""
    encoder: int = 64
    epsilon: float = 0.05
    epsilon_steps: int = 50_000
    forecast: float = 0.0
    """Weight of a second loss, the error of the foretold next observation: what was not seen has to be remembered."""
    act_with_target: bool = True
    """Judge with an average of the weights; acting while learning uses the weights themselves."""
    target_rate: float = 0.005


class PQN(RecurrentDQN):
    r"""Parallelised Q network: on-policy rollouts of all worlds, Q(lambda) targets, nothing kept afterwards.

    .. math:: G_t = r_{t+1} + \gamma \big((1 - \lambda) \max_a Q(h_{t+1}, a) + \lambda G_{t+1}\big)

    Layer normalisation bounds the values instead of a target network. Rollouts start in the state in which the last
    one ended, and states are reset inside them.

    >>> agent = PQN("CartPole-v1", num_envs=4, hidden_size=8, encoder=8, rollout=8).learn(72)
    >>> agent._n_updates
    2
    """

    Config = PQNConfig
    config: PQNConfig

    def build(self) -> None:
        super().build()
        c = self.config
        if c.forecast < 0:
            raise ValueError(f"`forecast` weighs a loss, 0 or more; received {c.forecast}")
        if self.n_envs % min(c.minibatches, self.n_envs):
            raise ValueError(f"{self.n_envs} worlds do not divide into {c.minibatches} minibatches of whole worlds")
        self.online = self._normed()
        self.target = self._normed().requires_grad_(False)
        self.target.load_state_dict(self.online.state_dict())
        self.optimiser = torch.optim.Adam([{"params": list(self.online.parameters()), "factor": 1.0}], c.lr)
        sizes = [] if self.online.cell is None else leaves(self.online.cell.initial_state(1))
        self.replay = SequenceReplay(
            c.rollout + 1,
            self.n_envs,
            self.obs_size,
            length=c.rollout,
            state_sizes=[tuple(part.shape[1:]) for part in sizes],
        )

    def _normed(self) -> QNetwork:
        c = self.config
        return QNetwork(
            self.obs_size,
            self.num_actions,
            cell=c.cell,
            hidden_size=c.hidden_size,
            scale=c.scale,
            encoder=c.encoder,
            heads=c.heads,
            dueling=c.dueling,
            previous_action=c.previous_action,
            previous_reward=c.previous_reward,
            norm=True,
            initial_value=c.initial_value,
            forecast=c.forecast > 0,
        ).to(self.device)

    def next_batch(self) -> Any:
        if self.replay.count <= 1 or (self.replay.count - 1) % self.config.rollout or self.owed < 1:
            return None
        self.owed = 0.0
        return self.replay.tape()

    def observe(self, transition: Any, state: Any) -> None:
        super().observe(transition, state)
        self.owed = 1.0

    def update(self, batch: Sequences) -> dict[str, float]:
        c = self.config
        share = c.lr_end + (1 - c.lr_end) * max(self._current_progress_remaining, 0.0)
        self.optimiser.param_groups[0]["lr"] = c.lr * share
        memory = batch.state
        loss_sum, norm = 0.0, 0.0
        discount_t = c.gamma * (~batch.terminated[:-1]).float()
        for _ in range(c.epochs):
            order = torch.randperm(self.n_envs, generator=self.generator)
            for rows in order.chunk(min(c.minibatches, self.n_envs)):
                part = batch._replace(**{n: getattr(batch, n)[:, rows] for n in _ROWS})
                start = self._start([part[rows] for part in memory], len(rows))
                h = self.online.outputs(part, start)
                q = self.online.values(h)
                with torch.no_grad():
                    v_t = q[1:].amax(2)
                    cut = part.truncated[:-1]
                    target, valid = lambda_returns(part.reward[:-1], discount_t[:, rows], v_t, c.lambda_, cut)
                td = td_errors(q[:-1], part.action[:-1], target)
                loss = (td.square() * valid).sum() / valid.sum().clamp_min(1)
                if self.online.forecast is not None:
                    loss = loss + c.forecast * self.online.forecast.loss(h, part)
                norm = self.descend(self.optimiser, loss, c.max_norm)
                loss_sum = float(loss.detach())
                with torch.no_grad():
                    for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                        slow.lerp_(fast, c.target_rate)
        return {"loss": loss_sum, "gradient_norm": norm, "epsilon": float(self.epsilon().mean())}

    def _start(self, parts: list[torch.Tensor], batch: int) -> Any:
        return rebuild(self.online.cell.initial_state(batch), parts) if self.online.cell is not None else None

    def networks(self) -> dict[str, nn.Module]:
        return {"online": self.online, "target": self.target}


_ROWS = ("obs", "first", "before", "earned", "action", "reward", "terminated", "truncated")
