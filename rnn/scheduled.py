"""Dynamics whose linear map follows the actions, fitted at once, and a recurrent cell for what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.dynamics import DynamicsState, RecurrentDynamics
from rnn.sequence import run_sequence

__all__ = ["ScheduledDynamics", "ScheduledState", "hinges"]


class ScheduledState(NamedTuple):
    """The cell's state, the p - 1 standardised readings and actions before the present ones, newest first,
    [B, p - 1, D] and [B, p - 1, A]."""

    inner: Any
    obs: Tensor
    actions: Tensor


Switch = tuple[Sequence[float], float]
"""A direction w [A] and a bound c: something begins where w . a >= c."""


def hinges(actions: Tensor, knots: Sequence[int], switches: Sequence[Switch] = (), degree: int = 2) -> Tensor:
    """A basis of functions of the actions [..., A] in [-1, 1]: one, products up to a degree, hinges and steps.

    Args:
        knots: number of hinges max(0, a_i - c) per action, their corners c spread evenly inside (-1, 1).
        switches: for each a hinge max(0, w . a - c) and a step, 1 where w . a >= c.
        degree: 1 or 2.

    >>> hinges(torch.tensor([0.5]), (3,))  # 1, a, a^2, hinges at -0.5, 0 and 0.5
    tensor([1.0000, 0.5000, 0.2500, 1.0000, 0.5000, 0.0000])
    """
    parts = [torch.ones_like(actions[..., :1]), actions]
    if degree == 2:
        parts += [actions[..., i:] * actions[..., i : i + 1] for i in range(actions.shape[-1])]
    for i, count in enumerate(knots):
        corners = torch.linspace(-1, 1, count + 2, dtype=actions.dtype, device=actions.device)[1:-1]
        parts.append((actions[..., i : i + 1] - corners).clamp(min=0))
    for direction, bound in switches:
        beyond = (actions * actions.new_tensor(direction)).sum(-1, keepdim=True) - bound
        parts += [beyond.clamp(min=0), (beyond >= 0).to(actions.dtype)]
    return torch.cat(parts, -1)


class ScheduledDynamics(RecurrentDynamics):
    r"""A linear recurrence with coefficients that follow the actions, and a recurrent cell for what it leaves.

    .. math::
        \phi_t = [\tilde o_t, \ldots, \tilde o_{t-p+1}, \tilde a_{t-1}, \ldots, \tilde a_{t-p+1}, 1], \qquad
        \psi_t = [\text{hinges}(a_t) \otimes [1, c_t], \tanh (g_t / \sigma_g)], \qquad
        \tilde o_{t+1} = W (\phi_t \otimes \psi_t)
        + \frac{\sigma_\Delta}{\sigma} (C y_t + D [\tilde o_t, \tilde a_t] + b)

    c_t is the mean of the readings `context` (how much of a body is under water). An oscillation turns by an angle that
    depends on what drives it: a linear map cannot say that, and a network of sums and squashed sums learns it slowly;
    here it is one least-squares fit, from which gradients then go on. Predictions stay within the range of the data.
    Linear models with scheduled coefficients: "Identification of linear parameter varying models" (Bamieh & Giarre,
    2002).

    Args:
        obs_size: D.
        action_size: A.
        lags: p, readings that are seen at once.
        knots: of `hinges`, per action.
        switches: of `hinges`: where actions cross them the coefficients may jump.
        degree: of `hinges`.
        context: readings; they enter phi with their present value only.
        gates: readings g, in which the coefficients are linear until they saturate: the loads on the feet, say.
        inputs: actions that enter phi with their present value too, and not psi: what acts on the body in proportion.
        ridge: of the fit, relative to features of unit mean square.
        pace: how fast gradients move W, relative to the other weights.
        cell: of the remainder, as for `RecurrentDynamics`, with its `hidden` and `layers`.
        settings: further ones of `RecurrentDynamics`.

    >>> model = ScheduledDynamics(3, 1, lags=2, knots=(3,), hidden=8)
    >>> model.fit_scales(torch.randn(60, 2, 3), torch.rand(59, 2, 1))
    >>> model.simulate(torch.zeros(5, 2, 3), torch.zeros(12, 2, 1)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        lags: int = 2,
        knots: Sequence[int] = (),
        switches: Sequence[Switch] = (),
        degree: int = 2,
        context: Sequence[int] = (),
        gates: Sequence[int] = (),
        inputs: Sequence[int] = (),
        ridge: float = 1e-3,
        pace: float = 0.03,
        **settings: Any,
    ):
        super().__init__(obs_size, action_size, bounded=True, **settings)
        if lags < 1 or ridge <= 0:
            raise ValueError(f"lags >= 1 and ridge > 0 are needed, received {lags} and {ridge}")
        self.lags, self.knots, self.context, self.ridge, self.pace = lags, tuple(knots), list(context), ridge, pace
        self.switches = [(tuple(direction), bound) for direction, bound in switches]
        self.degree = degree
        self.quick = [k for k in range(obs_size) if k not in self.context]
        self.inputs, self.schedule = list(inputs), [k for k in range(action_size) if k not in inputs]
        width = obs_size + (lags - 1) * (len(self.quick) + action_size) + len(self.inputs) + 1
        basis = hinges(torch.zeros(len(self.schedule)), self.knots, self.switches, degree)
        self.gates = list(gates)
        columns = width * (basis.numel() * (2 if self.context else 1) + len(self.gates))
        self.register_buffer("base", torch.zeros(columns, obs_size))
        self.base: Tensor
        self.moved = nn.Parameter(torch.zeros_like(self.base))

    def fit_scales(self, obs: Tensor, actions: Tensor) -> None:
        """Scales and W from data, time first: obs [T + 1, B, D], actions [T, B, A]."""
        super().fit_scales(obs, actions)
        z, p, T = self.obs_scale(obs), self.lags, len(actions)
        features = self._features(
            z[p - 1 : T], self._past(z, p, T), actions[p - 1 :], self._past_actions(actions, p, T)
        )
        gram, cross, count = 0.0, 0.0, (T - p + 1) * obs.shape[1]
        for x, y in zip(features.flatten(0, 1).split(2000), z[p:].flatten(0, 1).split(2000), strict=True):
            gram, cross = gram + (x.mT @ x).double(), cross + (x.mT @ y).double()
        assert isinstance(gram, Tensor)
        prior = self.ridge * count * torch.eye(len(gram), dtype=gram.dtype)
        self.base.copy_(torch.linalg.solve(gram + prior, cross))
        with torch.no_grad():
            self.moved.zero_()

    def begin(self, obs: Tensor) -> DynamicsState:
        """The state of a fresh episode at observations [B, D], as if it had rested there."""
        state = super().begin(obs)
        past = self.obs_scale(obs)[:, None].expand(-1, self.lags - 1, -1)
        none = self.action_scale.mean.expand(len(obs), self.lags - 1, -1)
        return DynamicsState(ScheduledState(state.cell, past, none), obs)

    def step(self, state: DynamicsState, action: Tensor) -> tuple[DynamicsState, Tensor]:
        """The next observation [B, D] after an action [B, A]."""
        inner, past, before = state.cell
        z = self.obs_scale(state.obs)
        x = torch.cat([z, self.action_scale(action)], -1)
        y, inner = self.cell(x, inner)
        ahead = self._features(z, past, action, before) @ (self.base + self.pace * self.moved)
        obs = self.obs_scale.back(ahead) + self.change_scale.std * self.readout(torch.cat([y, x], -1))
        obs = torch.minimum(torch.maximum(obs, self.low), self.high)
        if self.lags > 1:
            past = torch.cat([z[:, None], past[:, :-1]], 1)
            before = torch.cat([action[:, None], before[:, :-1]], 1)
        return DynamicsState(ScheduledState(inner, past, before), obs), obs

    def one_step_loss(self, obs: Tensor, actions: Tensor, washout: int) -> Tensor:
        """As in `RecurrentDynamics`; W stays, being the best one step ahead already."""
        p, T = self.lags, len(actions)
        washout = max(washout, p - 1)
        z = self.obs_scale(obs)
        x = torch.cat([z[:-1], self.action_scale(actions)], -1)
        y, _ = run_sequence(self.cell, x, self.cell.initial_state(x.shape[1]))
        with torch.no_grad():
            features = self._features(
                z[p - 1 : T], self._past(z, p, T), actions[p - 1 :], self._past_actions(actions, p, T)
            )
            ahead = self.obs_scale.back(features @ (self.base + self.pace * self.moved))[washout - p + 1 :]
        after = obs[washout + 1 :]
        error = self.readout(torch.cat([y, x], -1)[washout:]) - (after - ahead) / self.change_scale.std
        error = torch.where(after >= self.high, error.clamp(max=0.0), error)
        return torch.where(after <= self.low, error.clamp(min=0.0), error).square().mean()

    @staticmethod
    def _past(z: Tensor, p: int, T: int) -> Tensor:
        """Readings before times p - 1 to T - 1, newest first, [T - p + 1, B, p - 1, D]."""
        parts = [z[p - 1 - k : T - k] for k in range(1, p)]
        return torch.stack(parts, -2) if parts else z[: T - p + 1, :, None][:, :, :0]

    @staticmethod
    def _past_actions(actions: Tensor, p: int, T: int) -> Tensor:
        return ScheduledDynamics._past(actions, p, T)

    def _features(self, z: Tensor, past: Tensor, action: Tensor, before: Tensor) -> Tensor:
        """phi x psi [..., R] of standardised readings [..., D], older ones [..., p - 1, D], and actions."""
        older = [past[..., self.quick].flatten(-2), self.action_scale(before).flatten(-2)] if self.lags > 1 else []
        now = self.action_scale(action)[..., self.inputs]
        phi = torch.cat([z, *older, now, torch.ones_like(z[..., :1])], -1)
        psi = hinges(action[..., self.schedule], self.knots, self.switches, self.degree)
        if self.context:
            psi = torch.cat([psi, psi * self.obs_scale.back(z)[..., self.context].mean(-1, keepdim=True)], -1)
        if self.gates:
            offset = (self.obs_scale.mean / self.obs_scale.std)[self.gates]
            psi = torch.cat([psi, torch.tanh(z[..., self.gates] + offset)], -1)
        return (phi[..., :, None] * psi[..., None, :]).flatten(-2)
