"""A small latent state-space model: recurrent core, categorical latents, two-hot rewards."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, map_state
from rnn.model_body import BodyMismatch
from rnn.models import make_cell

__all__ = ["RSSM", "LatentState", "balanced_kl", "symexp", "symlog", "two_hot", "two_hot_mean"]


def symlog(x: Tensor) -> Tensor:
    """`sign(x) ln(1 + |x|)`: near 0 the identity, far away logarithmic."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`.

    >>> symexp(symlog(torch.tensor([-20.0, 0.5]))).round(decimals=3).tolist()
    [-20.0, 0.5]
    """
    return x.sign() * x.abs().expm1()


def two_hot(x: Tensor, bins: Tensor) -> Tensor:
    """Weights [..., K] on the two bins [K] around x, whose mean is x (clipped to the bins).

    >>> two_hot(torch.tensor(0.25), torch.tensor([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.75, 0.25]
    """
    x = x.clamp(bins[0], bins[-1])
    above = torch.searchsorted(bins, x.contiguous()).clamp(1, len(bins) - 1)
    low, high = bins[above - 1], bins[above]
    weight = (x - low) / (high - low)
    one_hot = nn.functional.one_hot
    K = len(bins)
    return one_hot(above - 1, K) * (1 - weight).unsqueeze(-1) + one_hot(above, K) * weight.unsqueeze(-1)


def two_hot_mean(logits: Tensor, bins: Tensor) -> Tensor:
    """The expected value under logits over bins."""
    return logits.softmax(-1) @ bins


def balanced_kl(posterior: Tensor, prior: Tensor, *, free: float = 1.0, balance: float = 0.2) -> tuple[Tensor, Tensor]:
    r"""KL divergence of categorical latents, each side trained at its own rate, and the plain divergence.

    .. math::
        \max(f, KL[\text{sg}(q) \| p]) + \beta \max(f, KL[q \| \text{sg}(p)])

    The prior learns to predict the posterior quickly, the posterior bends towards the prior slowly (beta), and
    neither below f free nats. Source: "Mastering Diverse Domains through World Models" (Hafner et al., 2023).

    Args:
        posterior: log-probabilities q, [..., groups, classes].
        prior: log-probabilities p, likewise.
        free: f, nats, over all groups.
        balance: beta.
    """

    def divergence(q: Tensor, p: Tensor) -> Tensor:
        return (q.exp() * (q - p)).sum((-1, -2))

    dynamic = divergence(posterior.detach(), prior).clamp(min=free)
    representation = divergence(posterior, prior.detach()).clamp(min=free)
    with torch.no_grad():
        plain = divergence(posterior, prior).mean()
    return (dynamic + balance * representation).mean(), plain


class LatentState(NamedTuple):
    """The recurrent state, its output h [B, H], and the latent z [B, groups * classes] (one-hot groups)."""

    cell: Any
    h: Tensor
    z: Tensor


class RSSM(nn.Module):
    r"""A recurrent state-space model of vectors.

    .. math::
        h_t = \text{cell}([z_{t-1}, a_{t-1}], h_{t-1}), \quad p(z_t \mid h_t), \quad q(z_t \mid h_t, o_t), \quad
        \hat o_t, \hat r_t, \hat c_t \text{ from } [h_t, z_t]

    Observations are predicted in symlog space by squared error, rewards by a two-hot distribution over symlog bins,
    going on (c) by a logistic. Latents are groups of categorical variables with 1 % of uniform mixed in, sampled with
    straight-through gradients. Source: "Mastering Diverse Domains through World Models" (Hafner et al., 2023).

    Args:
        obs_size: D.
        action_size: A.
        cell: name of a cell in `rnn.models`, or a cell of groups * classes + A inputs.
        hidden: H, also the width of the layers.
        groups: categorical variables.
        classes: values of each.
        body: what the model is of.

    >>> model = RSSM(3, 1, hidden=16, groups=2, classes=4)
    >>> losses = model.loss(torch.zeros(5, 2, 3), torch.zeros(5, 2, 1), torch.zeros(5, 2), torch.ones(5, 2))
    >>> sorted(losses)
    ['continues', 'kl', 'kl_plain', 'obs', 'reward']
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        cell: str | Cell = "gru",
        hidden: int = 128,
        groups: int = 8,
        classes: int = 8,
        body: str = "",
    ):
        super().__init__()
        self.obs_size, self.action_size, self.groups, self.classes, self.body = (
            obs_size,
            action_size,
            groups,
            classes,
            body,
        )
        Z = groups * classes
        self.cell = cell if isinstance(cell, Cell) else make_cell(cell, Z + action_size, hidden)
        H = self.cell.output_size
        self.prior = _layers(H, hidden, Z)
        self.posterior = _layers(H + obs_size, hidden, Z)
        self.decoder = _layers(H + Z, hidden, obs_size)
        self.register_buffer("bins", torch.linspace(-6.0, 6.0, 41))
        self.bins: Tensor
        self.reward_head, self.continue_head = _layers(H + Z, hidden, 41), _layers(H + Z, hidden, 1)
        nn.init.zeros_(self.reward_head[-1].weight)  # type: ignore[arg-type]

    def initial_state(self, batch: int) -> LatentState:
        """Before the first observation: zero latent."""
        first = next(self.prior.parameters())
        zero = first.new_zeros(batch, self.groups * self.classes)
        return LatentState(self.cell.initial_state(batch), first.new_zeros(batch, self.cell.output_size), zero)

    def observe(
        self, state: LatentState, action: Tensor, obs: Tensor, *, draw: bool = True
    ) -> tuple[LatentState, Tensor, Tensor]:
        """The state after acting [B, A] and then seeing [B, D]; log-probabilities of posterior and prior.

        The latent is drawn, or without `draw` the most probable one.
        """
        if obs.shape[-1] != self.obs_size:
            raise BodyMismatch(f"the model knows {self.obs_size} readings, received {obs.shape[-1]}; fit another model")
        h, cell = self.cell(torch.cat([state.z, action], -1), state.cell)
        prior = self._log_p(self.prior(h))
        posterior = self._log_p(self.posterior(torch.cat([h, symlog(obs)], -1)))
        return LatentState(cell, h, self._sample(posterior, draw)), posterior, prior

    def imagine(self, state: LatentState, action: Tensor, *, draw: bool = True) -> LatentState:
        """The state after acting, unseen: drawn, or the most probable."""
        h, cell = self.cell(torch.cat([state.z, action], -1), state.cell)
        return LatentState(cell, h, self._sample(self._log_p(self.prior(h)), draw))

    def decode(self, state: LatentState) -> tuple[Tensor, Tensor, Tensor]:
        """Observation [B, D], reward [B] and probability of going on [B] that a state predicts."""
        x = torch.cat([state.h, state.z], -1)
        reward = symexp(two_hot_mean(self.reward_head(x), self.bins))
        return symexp(self.decoder(x)), reward, torch.sigmoid(self.continue_head(x)).squeeze(-1)

    def run(
        self, obs: Tensor, actions: Tensor, first: Tensor | None = None, state: LatentState | None = None
    ) -> tuple[list[LatentState], Tensor, Tensor]:
        """States, posteriors and priors over observations [T, B, D] and the actions [T, B, A] that led to them."""
        B = obs.shape[1]
        state = self.initial_state(B) if state is None else state
        fresh, states, posteriors, priors = self.initial_state(B), [], [], []
        starts = [None] * len(obs) if first is None else first.unbind(0)
        for o, a, start in zip(obs.unbind(0), actions.unbind(0), starts, strict=True):
            if start is not None:
                state = map_state(
                    lambda old, new, s=start: torch.where(s.reshape(-1, *[1] * (old.dim() - 1)), new, old), state, fresh
                )
                a = a * ~start.unsqueeze(-1)
            state, posterior, prior = self.observe(state, a, o)
            states.append(state)
            posteriors.append(posterior)
            priors.append(prior)
        return states, torch.stack(posteriors), torch.stack(priors)

    def loss(
        self,
        obs: Tensor,
        actions: Tensor,
        reward: Tensor,
        continues: Tensor,
        first: Tensor | None = None,
        *,
        free: float = 1.0,
        balance: float = 0.2,
    ) -> dict[str, Tensor]:
        """Parts of the loss over sequences [T, B, ...]; the action and reward at t are those that led to obs t.

        The sum of all parts but `kl_plain` is what is minimised.
        """
        states, posterior, prior = self.run(obs, actions, first)
        x = torch.cat([torch.stack([s.h for s in states]), torch.stack([s.z for s in states])], -1)
        kl, plain = balanced_kl(posterior, prior, free=free, balance=balance)
        target = two_hot(symlog(reward), self.bins)
        return {
            "obs": (self.decoder(x) - symlog(obs)).square().sum(-1).mean(),
            "reward": -(target * self.reward_head(x).log_softmax(-1)).sum(-1).mean(),
            "continues": nn.functional.binary_cross_entropy_with_logits(self.continue_head(x).squeeze(-1), continues),
            "kl": kl,
            "kl_plain": plain,
        }

    def _log_p(self, logits: Tensor) -> Tensor:
        p = logits.unflatten(-1, (self.groups, self.classes)).softmax(-1)
        return (0.99 * p + 0.01 / self.classes).log()

    def _sample(self, log_p: Tensor, draw: bool = True) -> Tensor:
        score = log_p - torch.empty_like(log_p).exponential_().log() if draw else log_p
        hard = nn.functional.one_hot(score.argmax(-1), self.classes).to(log_p.dtype)
        p = log_p.exp()
        return (hard + p - p.detach()).flatten(-2)


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, outputs))
