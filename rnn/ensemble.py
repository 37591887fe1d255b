"""Probabilistic ensembles: several networks that say how observations change, and how sure they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.dynamics import Standardiser
from rnn.model_body import BodyMismatch, check_data

__all__ = ["Ensemble", "EnsembleState"]


class EnsembleState(NamedTuple):
    """Observations [B, D] and the member that each row follows [B]."""

    obs: Tensor
    member: Tensor


class Ensemble(nn.Module):
    r"""E networks side by side, each giving a normal density of the change of the observation.

    .. math::
        o_{t+1} - o_t \sim N(\mu_e(f(o_t), a_t), \sigma_e^2(f(o_t), a_t))

    Trained on bootstrapped rows by the negative log-likelihood, with softly bounded variances. In a rollout each row
    follows one member throughout, so that disagreement between rows is what is not known, and noise within a row what
    is random. Source: "Deep Reinforcement Learning in a Handful of Trials using Probabilistic Dynamics Models" (Chua,
    Calandra, McAllister & Levine, 2018).

    Args:
        obs_size: D.
        action_size: A.
        members: E.
        hidden: units of each of two layers.
        body: what the model is of; asked about another size, it refuses.
        sample: draw the noise within a row; without it rows follow the mean.

    >>> model = Ensemble(3, 1, members=2, hidden=8)
    >>> state, obs = model.step(model.begin(torch.zeros(4, 3)), torch.zeros(4, 1))
    >>> obs.shape, state.member.tolist()
    (torch.Size([4, 3]), [0, 1, 0, 1])
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        members: int = 5,
        hidden: int = 64,
        body: str = "",
        sample: bool = False,
    ):
        super().__init__()
        self.obs_size, self.action_size, self.members, self.body, self.sample = (
            obs_size,
            action_size,
            members,
            body,
            sample,
        )
        sizes = [obs_size + action_size, hidden, hidden, 2 * obs_size]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            self.weights.append(nn.Parameter(torch.randn(members, a, b) * a**-0.5))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, b)))
        self.x_scale, self.y_scale = Standardiser(obs_size + action_size), Standardiser(obs_size)
        self.top = nn.Parameter(torch.full((obs_size,), 0.5))
        self.bottom = nn.Parameter(torch.full((obs_size,), -8.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, in standard units, [E, N, D], for standardised inputs [E, N, D + A]."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = nn.functional.silu(x) if k < len(self.weights) - 1 else x
        mean, log_var = x.chunk(2, -1)
        log_var = self.top - nn.functional.softplus(self.top - log_var)
        return mean, self.bottom + nn.functional.softplus(log_var - self.bottom)

    def begin(self, obs: Tensor) -> EnsembleState:
        """A state at observations [B, D]; rows are dealt to the members in turn.

        Raises:
            BodyMismatch: the number of readings is not that of the training.
        """
        if obs.shape[-1] != self.obs_size:
            raise BodyMismatch(f"the model knows {self.obs_size} readings, received {obs.shape[-1]}; fit another model")
        return EnsembleState(obs, torch.arange(len(obs), device=obs.device) % self.members)

    def step(self, state: EnsembleState, action: Tensor) -> tuple[EnsembleState, Tensor]:
        """The next observations [B, D], each by its row's member; B a multiple of E is fastest."""
        x = self.x_scale(torch.cat([state.obs, action], -1))
        B, E = len(x), self.members
        padding = -B % E
        padded = torch.cat([x, x[:1].expand(padding, -1)]) if padding else x
        dealt = padded.reshape(-1, E, x.shape[-1]).transpose(0, 1)  # [B, I] -> [E, B / E, I], row b to member b % E
        mean, log_var = self(dealt)
        change = mean + (0.5 * log_var).exp() * torch.randn_like(mean) if self.sample else mean
        change = change.transpose(0, 1).reshape(-1, self.obs_size)[:B]
        obs = state.obs + self.y_scale.back(change)
        return EnsembleState(obs, state.member), obs

    def fit(
        self,
        obs: Tensor,
        actions: Tensor,
        next_obs: Tensor,
        *,
        steps: int = 500,
        batch: int = 256,
        learning_rate: float = 2e-3,
        weight_decay: float = 3e-5,
        generator: torch.Generator | None = None,
    ) -> float:
        """Train on transitions [N, ...]; goes on from the present weights. Returns the last log-likelihood loss.

        Raises:
            FloatingPointError: a loss that is not finite.
            ValueError: data of other shapes, or that are not finite.
        """
        check_data(obs, actions, 0)
        check_data(next_obs, actions, 0)
        x, y = torch.cat([obs, actions], -1), next_obs - obs
        self.x_scale.fit(x)
        self.y_scale.fit(y)
        x, y = self.x_scale(x), self.y_scale(y)
        rows = torch.randint(len(x), (self.members, len(x)), generator=generator)
        optimiser = torch.optim.Adam(self.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        course = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=0.02 * learning_rate)
        loss = torch.zeros(())
        for _ in range(steps):
            pick = rows.gather(1, torch.randint(len(x), (self.members, min(batch, len(x))), generator=generator))
            mean, log_var = self(x[pick])
            nll = ((mean - y[pick]).square() * (-log_var).exp() + log_var).mean()
            loss = nll + 0.01 * (self.top - self.bottom).mean()
            if not torch.isfinite(loss):
                raise FloatingPointError("the ensemble's loss is not finite; lower the learning rate")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            course.step()
        return loss.item()

    @torch.no_grad()
    def spread(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Every member's mean [E, N, D] and deviation [E, N, D] of the next observation, for rows [N, ...]."""
        x = self.x_scale(torch.cat([obs, actions], -1)).expand(self.members, -1, -1)
        mean, log_var = self(x)
        return obs + self.y_scale.back(mean), (0.5 * log_var).exp() * self.y_scale.std
