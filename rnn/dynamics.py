"""Models of how observations follow actions: recurrent, of any cell; and how far ahead a model can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rnn.cell import Cell, map_state
from rnn.model_body import Body, BodyMismatch, check_data
from rnn.models import make_cell
from rnn.sequence import run_sequence

__all__ = ["DynamicsState", "RecurrentDynamics", "Standardiser", "horizon", "open_loop_error"]


class Standardiser(nn.Module):
    """Takes data to mean 0 and deviation 1, and back; entries that never vary keep the scale 1.

    >>> scale = Standardiser(1).fit(torch.tensor([[1.0], [3.0]]))
    >>> scale(torch.tensor([[3.0]])).item(), scale.back(torch.tensor([[0.0]])).item()
    (1.0, 2.0)
    """

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.mean: Tensor
        self.std: Tensor

    def fit(self, x: Tensor) -> Standardiser:
        """Take mean and deviation from data [..., size]."""
        flat = x.reshape(-1, x.shape[-1])
        std = flat.std(0, correction=0)
        self.mean.copy_(flat.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))
        return self

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def back(self, z: Tensor) -> Tensor:
        return z * self.std + self.mean


class DynamicsState(NamedTuple):
    """The cell's state and the last observation [B, D], measured or predicted."""

    cell: Any
    obs: Tensor


class RecurrentDynamics(nn.Module):
    r"""Recurrent dynamics in observation space.

    .. math::
        (y_t, s_t) = \text{cell}([\tilde o_t, \tilde a_t], s_{t-1}), \qquad
        o_{t+1} = o_t + \sigma_\Delta \odot (C y_t + D [\tilde o_t, \tilde a_t] + b)

    with standardised observations and actions; sigma_Delta is the deviation of one step's change. With `layers` a
    network of that many units per layer takes the place of the affine map. Warm-up feeds measured observations, open
    loop feeds the model's own.

    Args:
        obs_size: D.
        action_size: A.
        cell: name of a cell in `rnn.models`, or a cell of D + A inputs.
        hidden: H.
        layers: units of SiLU layers between cell and prediction.
        bounded: keep predictions within the range of the training data, which is where stops and saturating sensors
            are: a reading at its bound then asks only that the model does not predict less.
        sums: readings that are increments (a displacement, a turn): in open loop what they add up to counts too.
        stress: weight of the errors of increments and of what they add up to, relative to those of other readings.
        body: what the model is of (an environment's id, a body's name); asked about another, it refuses.

    >>> model = RecurrentDynamics(3, 1, cell="gru", hidden=8)
    >>> model.simulate(torch.zeros(5, 2, 3), torch.zeros(12, 2, 1)).shape  # 5 measured steps, 8 predicted
    torch.Size([8, 2, 3])
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        cell: str | Cell = "gru",
        hidden: int = 64,
        layers: Sequence[int] = (),
        bounded: bool = False,
        sums: Sequence[int] = (),
        stress: float = 1.0,
        body: str = "",
        **kw: Any,
    ):
        super().__init__()
        self.sums, self.stress = list(sums), stress
        self.obs_size, self.action_size, self.body = obs_size, action_size, body
        self.cell = cell if isinstance(cell, Cell) else make_cell(cell, obs_size + action_size, hidden, **kw)
        self.obs_scale, self.action_scale = Standardiser(obs_size), Standardiser(action_size)
        self.change_scale = Standardiser(obs_size)
        self.bounded = bounded
        self.register_buffer("low", torch.full((obs_size,), -torch.inf))
        self.register_buffer("high", torch.full((obs_size,), torch.inf))
        self.low: Tensor
        self.high: Tensor
        sizes = [self.cell.output_size + obs_size + action_size, *layers]
        between = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
        last = nn.Linear(sizes[-1], obs_size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.readout: nn.Module = nn.Sequential(*between, last) if layers else last

    def fit_scales(self, obs: Tensor, actions: Tensor) -> None:
        """Take scales from data, time first: obs [T + 1, B, D], actions [T, B, A].

        Raises:
            ValueError: other shapes, or numbers that are not finite.
        """
        check_data(obs, actions, 1)
        self.obs_scale.fit(obs)
        self.action_scale.fit(actions)
        self.change_scale.fit(obs[1:] - obs[:-1])
        if self.bounded:
            self.low.copy_(obs.flatten(0, 1).amin(0))
            self.high.copy_(obs.flatten(0, 1).amax(0))

    def check(self, body: str, readings: int, actions: int) -> None:
        """Refuse another body than the one of the training.

        Raises:
            BodyMismatch: names or sizes differ.
        """
        Body(self.body, self.obs_size, self.action_size).check(Body(body, readings, actions))

    def begin(self, obs: Tensor) -> DynamicsState:
        """The state of a fresh episode at observations [B, D]."""
        if obs.shape[-1] != self.obs_size:
            raise BodyMismatch(f"the model knows {self.obs_size} readings, received {obs.shape[-1]}; fit another model")
        return DynamicsState(self.cell.initial_state(len(obs)), obs)

    def step(self, state: DynamicsState, action: Tensor) -> tuple[DynamicsState, Tensor]:
        """The next observation [B, D] after an action [B, A]."""
        if action.shape[-1] != self.action_size:
            raise BodyMismatch(f"the model knows {self.action_size} actions, received {action.shape[-1]}")
        x = torch.cat([self.obs_scale(state.obs), self.action_scale(action)], -1)
        y, inner = self.cell(x, state.cell)
        obs = state.obs + self.change_scale.back(self.readout(torch.cat([y, x], -1)))
        obs = torch.minimum(torch.maximum(obs, self.low), self.high)
        return DynamicsState(inner, obs), obs

    def simulate(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Predictions [T - W + 1, B, D] of the observations W, W + 1 ... T.

        Args:
            obs: measured ones, [W, B, D] with W >= 1, numbers 0 to W - 1.
            actions: [T, B, A], action t leads from observation t to t + 1.
        """
        state = self.begin(obs[0])
        given, predictions = obs.unbind(0), []
        for t, action in enumerate(actions.unbind(0)):
            if t < len(given):
                state = state._replace(obs=given[t])
            state, prediction = self.step(state, action)
            if t >= len(given) - 1:
                predictions.append(prediction)
        return torch.stack(predictions)

    def one_step_loss(self, obs: Tensor, actions: Tensor, washout: int) -> Tensor:
        """Squared error of predictions one step ahead of measured readings, from step `washout` on, in units of the
        deviation of a step's change; obs [T + 1, B, D], actions [T, B, A]. Runs on a cell's fast path."""
        x = torch.cat([self.obs_scale(obs[:-1]), self.action_scale(actions)], -1)
        y, _ = run_sequence(self.cell, x, self.cell.initial_state(x.shape[1]))
        change, after = self.readout(torch.cat([y, x], -1)[washout:]), obs[washout + 1 :]
        error = change - self.change_scale(obs[1:] - obs[:-1])[washout:]
        error = torch.where(after >= self.high, error.clamp(max=0.0), error)
        return torch.where(after <= self.low, error.clamp(min=0.0), error).square().mean()

    def loss(self, obs: Tensor, actions: Tensor, warmup: int) -> Tensor:
        """Squared error of the open loop in units of each reading's deviation; obs [T + 1, B, D], actions [T, B, A].

        The running sums of the increments `sums` count as further readings, in the same units: an error that stays
        small in every step but always has one sign leads far astray.
        """
        error = (self.simulate(obs[:warmup], actions) - obs[warmup:]) / self.obs_scale.std
        square = torch.cat([error, error[..., self.sums].cumsum(0)], -1).square().mean((0, 1))
        weight = torch.ones_like(square)
        weight[[*self.sums, *range(self.obs_size, len(weight))]] = self.stress
        return (weight * square).sum() / weight.sum()


def fit(
    model: RecurrentDynamics,
    obs: Tensor,
    actions: Tensor,
    *,
    warmup: int,
    stages: Mapping[int, int],
    one_step: int = 0,
    section: int = 50,
    batch: int = 32,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Train on logged sequences by prediction one step ahead, then in open loop over growing horizons.

    One step ahead every reading of a section teaches, so that many cheap steps make the model exact before open loops
    make it robust to its own errors.

    Args:
        model: its scales are set from the data first.
        obs: [T + 1, B, D].
        actions: [T, B, A].
        warmup: measured steps before each open loop.
        stages: {open-loop steps: gradient steps}, in order; short ones first keep the gradients tame.
        one_step: gradient steps one step ahead, before the stages.
        section: steps of the sections on which these run.
        batch: sections per gradient step.
        learning_rate: of Adam, with a one-cycle course over all stages.
        seed: of the choice of sections.

    Returns:
        the losses.

    Raises:
        FloatingPointError: a loss that is not finite.
        ValueError: a stage longer than the data, data of other shapes or that are not finite.
    """
    model.fit_scales(obs, actions)
    total = one_step + sum(stages.values())
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    course = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=total + 1, pct_start=0.1)
    rng = np.random.default_rng(seed)
    losses = []
    for ahead, steps in [(0, one_step), *stages.items()]:
        length = warmup + ahead - 1 if ahead else min(section, len(actions))
        if length > len(actions):
            raise ValueError(f"{warmup} + {ahead} steps do not fit in sequences of {len(actions)}; shorten the stage")
        for _ in range(steps):
            begin = rng.integers(0, len(actions) - length + 1)
            rows = torch.from_numpy(rng.integers(0, obs.shape[1], batch))
            part = obs[begin : begin + length + 1, rows], actions[begin : begin + length, rows]
            loss = model.loss(*part, warmup) if ahead else model.one_step_loss(*part, min(warmup, length - 1))
            if not torch.isfinite(loss):
                raise FloatingPointError("the loss is not finite; lower the learning rate or shorten the stages")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            course.step()
            losses.append(loss.item())
    return losses


def open_loop_error(predicted: Tensor, truth: Tensor, std: Tensor) -> Tensor:
    """Root-mean-square error [K, B] of predictions [K, B, D], each reading in units of its deviation [D]."""
    return ((predicted - truth) / std).square().mean(-1).sqrt()


def horizon(error: Tensor, threshold: float = 0.4) -> Tensor:
    """Steps [B] before the error [K, B] first exceeds a threshold; K where it never does.

    >>> horizon(torch.tensor([[0.1, 0.5], [0.2, 0.1], [0.9, 0.1]])).tolist()
    [2, 0]
    """
    beyond = (error > threshold) | error.isnan()
    never = torch.full((1, error.shape[1]), True)
    return torch.cat([beyond, never]).int().argmax(0)


def spread(state: Any, copies: int) -> Any:
    """Each row of a state repeated `copies` times, row by row."""
    return map_state(lambda s: s.repeat_interleave(copies, 0), state)
