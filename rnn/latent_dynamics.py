"""A latent state-space model as a model of observations: fitted to logged sequences, run in open loop, planned in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rnn.cell import map_state
from rnn.dynamics import Standardiser
from rnn.model_body import BodyMismatch, check_data
from rnn.rssm import RSSM, LatentState

__all__ = ["LatentDynamics", "LatentRow"]


class LatentRow(NamedTuple):
    """The latent state, and the observation [B, D] that it belongs to: seen, or predicted."""

    latent: LatentState
    obs: Tensor


class LatentDynamics(nn.Module):
    r"""An `RSSM` between standardised observations, with the verbs of the other models.

    In open loop the prior speaks alone: `h` runs on what was drawn from it, and each draw is one possible course; their
    mean predicts, their spread says how sure it is. The squared error of observations is weighed by the inverse
    variance of what a reading may be wrong by, `precision` standard deviations: with weight 1 an error of a tenth of a
    deviation costs less than the nats that avoid it, and the latent leaves it out.

    Args:
        obs_size: D.
        action_size: A.
        precision: error of a reading, in deviations, that costs half a nat.
        sample: draw latents in `begin`, `see` and `step`; without it they are the most probable, which a planner
            compares actions by (of many draws it would choose the luckiest). `simulate` always draws.
        body: what the model is of; asked about another size, it refuses.
        shape: further arguments of `rnn.rssm.RSSM` (cell, hidden, groups, classes).

    >>> model = LatentDynamics(3, 1, hidden=8, groups=2, classes=4)
    >>> model.simulate(torch.zeros(5, 2, 3), torch.zeros(12, 2, 1), samples=4).shape  # 5 measured steps, 8 predicted
    torch.Size([4, 8, 2, 3])
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        precision: float = 0.05,
        sample: bool = False,
        body: str = "",
        **shape: object,
    ) -> None:
        super().__init__()
        if not precision > 0:
            raise ValueError(f"precision is an error in deviations, greater than 0; received {precision}")
        self.obs_size, self.action_size, self.precision, self.body = obs_size, action_size, precision, body
        self.sample = sample
        self.core = RSSM(obs_size, action_size, body=body, **shape)  # type: ignore[arg-type]
        self.obs_scale, self.action_scale = Standardiser(obs_size), Standardiser(action_size)

    def fit(
        self,
        obs: Tensor,
        actions: Tensor,
        reward: Tensor | None = None,
        *,
        steps: int = 1500,
        section: int = 64,
        batch: int = 16,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> list[float]:
        """Train on logged sequences, on the device where the model is.

        Args:
            obs: [T + 1, B, D].
            actions: [T, B, A], action t leads from observation t to t + 1.
            reward: [T, B], of the same steps; None for none.
            steps: gradient steps.
            section: steps of the sections on which these run.
            batch: sections per gradient step.
            learning_rate: of Adam, with a one-cycle course.
            seed: of the choice of sections.

        Returns:
            the losses.

        Raises:
            ValueError: sequences that are not of the model's sizes, not finite, or shorter than a section.
            FloatingPointError: a loss that is not finite.
        """
        self._check(obs, actions)
        check_data(obs, actions, 1)
        if len(actions) < section:
            raise ValueError(f"sections of {section} steps do not fit in sequences of {len(actions)}; shorten them")
        device = self.core.bins.device
        self.obs_scale.fit(obs.to(device))
        self.action_scale.fit(actions.to(device))
        o, a = self.obs_scale(obs.to(device)), self.action_scale(actions.to(device))
        r = torch.zeros_like(o[1:, :, 0]) if reward is None else reward.to(device)
        a, r = torch.cat([torch.zeros_like(a[:1]), a]), torch.cat([torch.zeros_like(r[:1]), r])
        rng, losses = np.random.default_rng(seed), []
        optimiser = torch.optim.Adam(self.core.parameters(), lr=learning_rate)
        course = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps + 1, pct_start=0.1)
        for _ in range(steps):
            begin = rng.integers(0, len(o) - section + 1)
            rows = torch.from_numpy(rng.integers(0, o.shape[1], batch)).to(device)
            seen, did, earned = (x[begin : begin + section, rows] for x in (o, a, r))
            parts = self.core.loss(seen, did, earned, torch.ones_like(earned))
            loss = 0.5 * parts["obs"] / self.precision**2 + parts["reward"] + parts["continues"] + parts["kl"]
            if not torch.isfinite(loss):
                raise FloatingPointError("the latent model's loss is not finite; lower the learning rate")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.core.parameters(), 100.0)
            optimiser.step()
            course.step()
            losses.append(loss.item())
        return losses

    @torch.no_grad()
    def simulate(self, obs: Tensor, actions: Tensor, *, samples: int = 1) -> Tensor:
        """Courses [S, T - W + 1, B, D] of the observations W, W + 1 ... T, drawn from the prior.

        Args:
            obs: measured ones, [W, B, D] with W >= 1, numbers 0 to W - 1.
            actions: [T, B, A], action t leads from observation t to t + 1.
            samples: S, courses per row.
        """
        self._check(obs, actions)
        W, before, found = len(obs), self.sample, []
        self.sample = True
        try:
            row = self.begin(obs[0])
            for action, seen in zip(actions[: W - 1], obs[1:], strict=True):
                row = self.see(row, action, seen)
            row = map_state(lambda part: part.repeat(samples, *[1] * (part.dim() - 1)), row)
            for action in actions[W - 1 :].unbind(0):
                row, predicted = self.step(row, action.repeat(samples, 1))
                found.append(predicted)
        finally:
            self.sample = before
        return torch.stack(found).unflatten(1, (samples, -1)).transpose(0, 1)

    def begin(self, obs: Tensor) -> LatentRow:
        """The state of a fresh episode at observations [B, D]."""
        if obs.shape[-1] != self.obs_size:
            raise BodyMismatch(f"the model knows {self.obs_size} readings, received {obs.shape[-1]}; fit another model")
        none = obs.new_zeros(len(obs), self.action_size)
        latent, *_ = self.core.observe(self.core.initial_state(len(obs)), none, self.obs_scale(obs), draw=self.sample)
        return LatentRow(latent, obs)

    def see(self, row: LatentRow, action: Tensor, obs: Tensor) -> LatentRow:
        """The state after acting [B, A] and then seeing [B, D]."""
        latent, *_ = self.core.observe(row.latent, self.action_scale(action), self.obs_scale(obs), draw=self.sample)
        return LatentRow(latent, obs)

    def step(self, row: LatentRow, action: Tensor) -> tuple[LatentRow, Tensor]:
        """The state after acting [B, A], drawn or most probable, and the observation [B, D] that it means."""
        latent = self.core.imagine(row.latent, self.action_scale(action), draw=self.sample)
        obs = self.obs_scale.back(self.core.decode(latent)[0])
        return LatentRow(latent, obs), obs

    def _check(self, obs: Tensor, actions: Tensor) -> None:
        sizes = obs.shape[-1], actions.shape[-1]
        if sizes != (self.obs_size, self.action_size) or obs.dim() != 3 or actions.dim() != 3:
            raise BodyMismatch(
                f"the model knows {self.obs_size} readings and {self.action_size} actions, time first, received "
                f"{tuple(obs.shape)} and {tuple(actions.shape)}; fit another model"
            )
