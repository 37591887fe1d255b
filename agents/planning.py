"""Planning in a model: the cross-entropy method, its improved form, and path integrals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnn.dynamics import spread

__all__ = ["Planner", "PlannerConfig", "RecurrentPlanner", "coloured_noise", "model_return"]

Objective = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of a planner; defaults of the cross-entropy method follow Chua et al. (2018)."""

    method: str = "cem"
    """"cem", "icem" or "mppi"."""
    horizon: int = 15
    """Steps planned ahead, H."""
    candidates: int = 350
    """Action sequences tried in each iteration, P."""
    iterations: int = 5
    """Refinements of each plan."""
    elites: int = 35
    """Best sequences from which the next mean and deviation come (cem, icem)."""
    momentum: float = 0.1
    """Weight of the old mean and deviation."""
    deviation: float = 0.5
    """Initial standard deviation, in units of half the action box."""
    floor: float = 0.05
    """Least standard deviation."""
    temperature: float = 0.5
    """mppi: softness of the weighting, in standard deviations of the returns."""
    colour: float = 2.0
    """icem, mppi: exponent beta of the noise's power spectrum 1 / f^beta; 0 is white."""
    kept: float = 0.3
    """icem: part of the elites that is tried again in the next iteration and in the next step."""
    decay: float = 1.25
    """icem: factor by which candidates become fewer in each iteration."""

    def __post_init__(self) -> None:
        if self.method not in ("cem", "icem", "mppi"):
            raise ValueError(f"method is 'cem', 'icem' or 'mppi', received {self.method!r}")
        for name in ("horizon", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, received {getattr(self, name)}; nothing would be planned")
        if not (self.temperature > 0 and self.decay >= 1 and self.deviation > 0):
            raise ValueError(
                "temperature and deviation are greater than 0 and decay is at least 1, received "
                f"{self.temperature}, {self.deviation} and {self.decay}"
            )
        if not 2 <= self.elites <= self.candidates:
            raise ValueError(f"elites lie between 2 and the candidates ({self.candidates}), received {self.elites}")


class Planner:
    """Chooses actions by trying many sequences in a model, for B worlds at once, warm-started from the last plan.

    Sources: "Deep Reinforcement Learning in a Handful of Trials" (Chua et al., 2018) for cem; "Sample-efficient
    Cross-Entropy Method for Real-time Planning" (Pinneri et al., 2020) for icem; "Information Theoretic MPC for
    Model-Based Reinforcement Learning" (Williams et al., 2017) for mppi.

    Args:
        objective: returns [B, P] of action sequences [H, B, P, A] in [-1, 1] from a start.
        action_size: A.
        config: settings, or give them as keywords.
        seed: of the sampling.

    >>> target = torch.tensor([0.5, -0.5])
    >>> planner = Planner(lambda start, a: -((a - target) ** 2).sum((0, 3)), 2, horizon=3, candidates=100, elites=10)
    >>> bool(torch.allclose(planner.plan(torch.zeros(4, 1), 4), target.expand(4, 2), atol=0.1))
    True
    """

    def __init__(
        self, objective: Objective, action_size: int, config: PlannerConfig | None = None, *, seed: int = 0, **kw: Any
    ):
        self.objective, self.action_size = objective, action_size
        self.config = config or PlannerConfig(**kw)
        self.generator = torch.Generator().manual_seed(seed)
        self.mean: Tensor | None = None
        self.kept: Tensor | None = None
        self.predicted: Tensor | None = None

    def reset(self, rows: Tensor | None = None) -> None:
        """Forget the plans of the worlds `rows` [B], or of all."""
        if rows is None or self.mean is None:
            self.mean = self.kept = None
        else:
            self.mean[:, rows] = 0.0
            if self.kept is not None:
                self.kept[:, rows] = 0.0

    @torch.no_grad()
    def plan(self, start: Any, batch: int, proposals: Tensor | None = None) -> Tensor:
        """Actions [B, A] for now; `predicted` then holds what the plan is expected to return [B].

        Args:
            start: from where, as the objective takes it.
            batch: B.
            proposals: sequences [H, B, K, A] that are tried beside the sampled ones in the first iteration.

        Raises:
            FloatingPointError: the model gave a return that is not a number; such a sequence is never ranked at all.
        """
        c, shape = self.config, (self.config.horizon, batch, self.action_size)
        mean = torch.zeros(shape) if self.mean is None else torch.cat([self.mean[1:], torch.zeros(1, *shape[1:])])
        kept = self.kept
        if kept is not None:
            kept = torch.cat([kept[1:], kept[-1:]])
        std = torch.full(shape, c.deviation)
        for iteration in range(c.iterations):
            actions = self._sample(mean, std, iteration, kept)
            if proposals is not None and iteration == 0:
                actions = torch.cat([actions, proposals], 2)
            returns = self._score(start, actions)
            if c.method == "mppi":
                scale = returns.std(1, keepdim=True) + 1e-8
                weight = torch.softmax((returns - returns.amax(1, keepdim=True)) / (c.temperature * scale), 1)
                mean = (weight[None, :, :, None] * actions).sum(2)
                self.predicted = (weight * returns).sum(1)
                continue
            best = returns.topk(c.elites, 1).indices
            elite = actions.gather(2, best[None, :, :, None].expand(c.horizon, -1, -1, self.action_size))
            mean = c.momentum * mean + (1 - c.momentum) * elite.mean(2)
            std = (c.momentum * std + (1 - c.momentum) * elite.std(2)).clamp(min=c.floor)
            if c.method == "icem":
                kept = elite[:, :, : max(1, int(c.kept * c.elites))]
            self.predicted = returns.amax(1)
        self.mean, self.kept = mean, kept
        if c.method == "icem" and kept is not None:
            return kept[0, :, 0].clone()
        return mean[0].clamp(-1, 1)

    def _sample(self, mean: Tensor, std: Tensor, iteration: int, kept: Tensor | None) -> Tensor:
        c = self.config
        count = c.candidates
        if c.method == "icem":
            count = max(2 * c.elites, int(c.candidates * c.decay**-iteration))
        H, B, A = mean.shape
        if c.method == "cem":
            noise = torch.empty(H, B, count, A).normal_(generator=self.generator)
        else:
            noise = coloured_noise(c.colour, H, (B, count, A), self.generator)
        actions = (mean.unsqueeze(2) + std.unsqueeze(2) * noise).clamp(-1, 1)
        if c.method == "icem" and kept is not None:
            actions = torch.cat([actions, kept], 2)
        actions[:, :, 0] = mean.clamp(-1, 1)
        return actions

    def _score(self, start: Any, actions: Tensor) -> Tensor:
        returns = self.objective(start, actions)
        if returns.shape != actions.shape[1:3]:
            raise ValueError(f"returns must be {tuple(actions.shape[1:3])}, received {tuple(returns.shape)}")
        if not torch.isfinite(returns).all():
            bad = int((~torch.isfinite(returns)).sum())
            raise FloatingPointError(
                f"the model gave {bad} of {returns.numel()} returns that are not finite; it has left its data: "
                "fit it again, shorten the horizon, or bound its predictions"
            )
        return returns


class RecurrentPlanner(Planner):
    """Plans in a recurrent model, which hears every reading and every action since the last `reset`.

    Args:
        model: `begin(obs)` and `step(state, action) -> (state, obs)`, with actions in [-1, 1]; its states hold `obs`.
        objective: as for `Planner`; starts are the model's states.
        action_size, settings: as for `Planner`.
    """

    def __init__(self, model: Any, objective: Objective, action_size: int, **settings: Any):
        super().__init__(objective, action_size, **settings)
        self.model, self.state = model, None

    def reset(self, rows: Tensor | None = None) -> None:
        super().reset(rows)
        self.state = None

    @torch.no_grad()
    def plan(self, start: Any, batch: int, proposals: Tensor | None = None) -> Tensor:
        """Actions [B, A] for the readings [B, D]."""
        state = self.model.begin(start) if self.state is None else self.state._replace(obs=start)
        action = super().plan(state, batch, proposals)
        self.state = self.model.step(state, action)[0]
        return action


def coloured_noise(beta: float, steps: int, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Gaussian noise [steps, *shape] of unit variance with power spectrum 1 / f^beta along time.

    Source: "On generating power law noise" (Timmer & Koenig, 1995).

    >>> smooth = coloured_noise(2.0, 64, (500,), torch.Generator().manual_seed(0))
    >>> bool((smooth[1:] * smooth[:-1]).mean() > 0.8)
    True
    """
    if steps < 3 or beta == 0:
        return torch.empty(steps, *shape).normal_(generator=generator)
    frequency = torch.fft.rfftfreq(2 * steps)
    scale = frequency.clamp(min=1.0 / (2 * steps)) ** (-beta / 2)
    parts = torch.empty(2, len(scale), *shape).normal_(generator=generator)
    spectrum = torch.complex(parts[0], parts[1]) * scale.reshape(-1, *[1] * len(shape))
    noise = torch.fft.irfft(spectrum, n=2 * steps, dim=0)[:steps]
    power = (scale[1:-1] ** 2).sum() * 4 + 2 * scale[0] ** 2 / 2 + 2 * scale[-1] ** 2 / 2
    return noise * (2 * steps) / power.sqrt()


def model_return(
    model: Any,
    reward: Callable[[Tensor, Tensor, Tensor], Tensor],
    *,
    alive: Callable[[Tensor], Tensor] | None = None,
    discount: float = 1.0,
    to_model: Callable[[Tensor], Tensor] | None = None,
    terminal: Callable[[Tensor], Tensor] | None = None,
) -> Objective:
    """The objective of a planner: what the model predicts for action sequences, summed over the horizon.

    Args:
        model: has `begin(obs [N, D])` and `step(state, action [N, A]) -> (state, obs [N, D])`.
        reward: of (observation, action, next observation), [N].
        alive: false [N] where an episode ends, after which nothing is earned.
        discount: gamma.
        to_model: from planned actions in [-1, 1] to those of the model.
        terminal: value of the last observation [N].

    The start may be observations [B, D], or a state of the model that holds them (a named tuple with `obs`).
    """

    def objective(start: Any, actions: Tensor) -> Tensor:
        H, B, P, A = actions.shape
        state = model.begin(start.repeat_interleave(P, 0)) if isinstance(start, Tensor) else spread(start, P)
        obs = state.obs
        flat = actions.reshape(H, B * P, A)
        flat = flat if to_model is None else to_model(flat)
        total, weight = torch.zeros(B * P), torch.ones(B * P)
        for action in flat.unbind(0):
            state, following = model.step(state, action)
            total = total + weight * reward(obs, action, following)
            weight = weight * discount
            if alive is not None:
                weight = weight * alive(following)
            obs = following
        if terminal is not None:
            total = total + weight * terminal(obs)
        return total.reshape(B, P)

    return objective
