"""Fast weights: a cell that fits a linear recurrence to the sequence it is running on, and dynamics built on it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap
from rnn.dynamics import RecurrentDynamics

__all__ = ["AdaptiveDynamics", "LeastSquaresCell", "LeastSquaresState"]


class LeastSquaresState(NamedTuple):
    """The last p inputs, newest first [B, p, I], how many there were [B, 1], the sums A [B, R, R] and b [B, R, O]."""

    past: Tensor
    seen: Tensor
    gram: Tensor
    cross: Tensor


class LeastSquaresCell(Cell):
    r"""Predicts the next inputs by weights that it fits, at every step, to all that it has seen of this sequence.

    .. math::
        \phi_t = [x_t, x_{t-1}, \ldots, x_{t-p+1}, 1], \qquad
        A_t = \lambda A_{t-1} + \phi_{t-1} \phi_{t-1}^\top, \quad b_t = \lambda b_{t-1} + \phi_{t-1} x_t^\top, \qquad
        y_t = (A_t + \rho I)^{-1} (b_t + \rho W_0)^\top \phi_t

    This is recursive least squares with forgetting lambda around the slow weights W_0: the state is a matrix, as in
    linear attention, but what is stored is decorrelated before it is read. Fed with its own predictions it stops
    learning by itself, as a row that is already predicted leaves the solution where it is. Use double precision. A
    sequence whose predictions have diverged beyond what can be solved gives NaN; those beside it go on.
    Quantities: `input`, `features`, `weights` (flat), `y`.

    Sources: recursive least squares, in any text on adaptive filters; as a layer that learns in its forward pass:
    "Uncovering mesa-optimization algorithms in Transformers" (von Oswald et al., 2023).

    Args:
        input_size: I.
        lags: p, inputs that are remembered.
        outputs: O, the first inputs are predicted; None for all.
        forgetting: lambda, per step.
        ridge: rho, relative to inputs of unit variance.

    >>> wave = torch.sin(0.3 * torch.arange(40, dtype=torch.double))[:, None, None]
    >>> cell = LeastSquaresCell(1, lags=2).double()
    >>> state = cell.initial_state(1)
    >>> for x in wave[:-1]:
    ...     y, state = cell(x, state)
    >>> bool((y - wave[-1]).abs() < 1e-5)
    True
    """

    activity = "y"

    def __init__(
        self,
        input_size: int,
        *,
        lags: int = 8,
        outputs: int | None = None,
        forgetting: float = 1.0,
        ridge: float = 1e-8,
    ):
        super().__init__()
        if lags < 1 or not 0 < forgetting <= 1 or ridge <= 0:
            raise ValueError(
                f"lags >= 1, 0 < forgetting <= 1 and ridge > 0 are needed, received {lags}, {forgetting}, {ridge}"
            )
        self.input_size, self.output_size = input_size, input_size if outputs is None else outputs
        self.lags, self.forgetting, self.ridge = lags, forgetting, ridge
        self.slow = nn.Parameter(torch.zeros(lags * input_size + 1, self.output_size))

    def initial_state(self, batch: int) -> LeastSquaresState:
        R, O = self.slow.shape
        past = self.zeros(batch, self.lags, self.input_size)
        return LeastSquaresState(past, self.zeros(batch, 1), self.zeros(batch, R, R), self.zeros(batch, R, O))

    def forward(self, x: Tensor, state: LeastSquaresState, tap: Tap = no_tap) -> tuple[Tensor, LeastSquaresState]:
        x = tap("input", x)
        before, full = _features(state.past), (state.seen >= self.lags)[..., None]
        gram = self.forgetting * state.gram + full * before[:, :, None] * before[:, None, :]
        cross = self.forgetting * state.cross + full * before[:, :, None] * x[:, None, : self.output_size]
        past = torch.cat([x[:, None], state.past[:, :-1]], 1)
        features = tap("features", _features(past))
        prior = self.ridge * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        weights, failed = torch.linalg.solve_ex(gram + prior, cross + self.ridge * self.slow)
        weights = torch.where((failed == 0)[:, None, None], weights, torch.nan)  # a row that diverged; the others go on
        weights = tap("weights", weights.flatten(1)).reshape(weights.shape)
        y = tap("y", (features[:, None] @ weights).squeeze(1))
        return y, LeastSquaresState(past, state.seen + 1, gram, cross)


def _features(past: Tensor) -> Tensor:
    """The last inputs and a one, [B, p I + 1]."""
    return torch.cat([past.flatten(1), torch.ones_like(past[:, :1, 0])], 1)


class AdaptiveDynamics(RecurrentDynamics):
    """Recurrent dynamics over a `LeastSquaresCell`: the world's parameters are inferred while it is watched.

    The readout is what turns the cell's prediction into the change of the observation, and is not learned. Slow weights
    are those of one least-squares fit to all training sequences, which is where the cell begins in a new one.

    Args:
        obs_size: D.
        action_size: A.
        lags: p.
        body: what the model is of.
        settings: further settings of the cell.

    >>> model = AdaptiveDynamics(3, 1, lags=2)
    >>> model.simulate(torch.zeros(5, 2, 3).double(), torch.zeros(12, 2, 1).double()).shape
    torch.Size([8, 2, 3])
    """

    def __init__(self, obs_size: int, action_size: int, *, lags: int = 8, body: str = "", **settings: float):
        cell = LeastSquaresCell(obs_size + action_size, lags=lags, outputs=obs_size, **settings)
        super().__init__(obs_size, action_size, cell=cell, body=body)
        self.double().requires_grad_(False)

    def fit_scales(self, obs: Tensor, actions: Tensor) -> None:
        """Scales, slow weights and readout from data, time first: obs [T + 1, B, D], actions [T, B, A]."""
        super().fit_scales(obs, actions)
        D, cell, readout = self.obs_size, self.cell, self.readout
        assert isinstance(cell, LeastSquaresCell) and isinstance(readout, nn.Linear)
        x = torch.cat([self.obs_scale(obs[:-1].double()), self.action_scale(actions.double())], -1)
        rows = torch.cat([x[cell.lags - 1 - k : len(x) - k] for k in range(cell.lags)], -1).flatten(0, 1)
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        targets = self.obs_scale(obs[cell.lags :].double()).flatten(0, 1)
        prior = cell.ridge * torch.eye(rows.shape[1], dtype=rows.dtype)
        cell.slow.copy_(torch.linalg.solve(rows.mT @ rows / len(rows) + prior, rows.mT @ targets / len(rows)))
        scale = self.obs_scale.std / self.change_scale.std  # o' = s z', hence (o' - o) / s_d = (s / s_d) (z' - z)
        readout.weight.zero_()
        readout.weight[:, :D] = torch.diag(scale)
        readout.weight[:, D : 2 * D] = -torch.diag(scale)
        readout.bias.copy_(-self.change_scale.mean / self.change_scale.std)
