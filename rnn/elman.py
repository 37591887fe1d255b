"""The simple recurrent network, in both conventions, with an optional leak."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnn.cell import Cell, Tap, no_tap
from rnn.fused import Hold, elman_sequence

__all__ = ["SQUASHINGS", "ElmanCell", "PreActivationCell", "squashing", "uniform"]

SQUASHINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "saturated": lambda z: z.clamp(0, 1),
    "identity": lambda z: z,
}


def squashing(name: str) -> Callable[[Tensor], Tensor]:
    """The nonlinearity of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in SQUASHINGS:
        raise ValueError(f"unknown squashing {name!r}; choose one of {', '.join(SQUASHINGS)}")
    return SQUASHINGS[name]


def uniform(rows: int, columns: int, hidden_size: int) -> nn.Parameter:
    """A weight matrix drawn from U(-1/sqrt(H), 1/sqrt(H)), as `torch.nn.RNN` draws them."""
    bound = 1 / math.sqrt(hidden_size)
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))


class ElmanState(NamedTuple):
    h: Tensor


class ElmanCell(Cell):
    r"""A layer of units that hears its own last output.

    .. math::
        z_t = V x_t + U h_{t-1} + b, \qquad h_t = (1 - a) h_{t-1} + a\, s(z_t), \qquad y_t = h_t

    With `leak` a = dt / tau it is the Euler step of a leaky integrator with time constant tau; 1 is the plain network.

    References:
        Finding Structure in Time (Elman, 1990).

    Args:
        input_size: I.
        hidden_size: H.
        squash: s; "tanh", "logistic", "relu", "saturated" (between 0 and 1) or "identity". Without input, tanh stays
            at 0 and the logistic drifts.
        leak: a in (0, 1], per step.
        bias: whether there is b [H].

    >>> cell = ElmanCell(1, 1, squash="logistic", bias=False)
    >>> _ = torch.nn.init.ones_(cell.weight_hh)
    >>> y, state = cell(torch.zeros(1, 1), cell.initial_state(1))
    >>> y.item()
    0.5
    """

    sequence_seen: tuple[str, ...] = ("h",)
    sequence_holds: tuple[str, ...] = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, *, squash: str = "tanh", leak: float = 1.0, bias: bool = True
    ):
        super().__init__()
        if not 0 < leak <= 1:
            raise ValueError(f"`leak` must lie in (0, 1], received {leak}; 1 is the plain network")
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.squash, self.leak = squash, float(leak)
        self.s = squashing(squash)
        self.weight_ih = uniform(hidden_size, input_size, hidden_size)
        self.weight_hh = uniform(hidden_size, hidden_size, hidden_size)
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if bias else None

    @property
    def sequence_path(self) -> str | None:
        """The fast path that `unroll` may take."""
        plain = type(self) is ElmanCell and self.leak == 1 and self.squash in ("tanh", "relu")
        return "fused" if plain else None

    def initial_state(self, batch: int) -> ElmanState:
        return ElmanState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: ElmanState, tap: Tap = no_tap) -> tuple[Tensor, ElmanState]:
        x = tap("input", x)
        z = tap("z", linear(x, self.weight_ih, self.bias) + linear(state.h, self.weight_hh))
        h = self.s(z) if self.leak == 1 else (1 - self.leak) * state.h + self.leak * self.s(z)
        h = tap("h", h)
        return h, ElmanState(h)

    def sequence(
        self,
        xs: Tensor,
        state: ElmanState,
        resets: Tensor | None,
        fresh: ElmanState | None,
        holds: tuple[Hold, ...] = (),
    ) -> tuple[Tensor, ElmanState, dict[str, Tensor]]:
        """Many steps in torch's fused kernel (see `rnn.fused`)."""
        return elman_sequence(self, xs, state, resets, fresh, holds)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, squash={self.squash!r}, leak={self.leak:g}"


class PreActivationState(NamedTuple):
    r: Tensor
    h: Tensor


class PreActivationCell(ElmanCell):
    r"""The simple recurrent network whose state is the sum before the squashing.

    .. math::
        r_t = (1 - a) r_{t-1} + a (W_{in} x_t + W_{rec} s(r_{t-1}) + b), \qquad y_t = h_t = s(r_t)

    With a = 1 it is the network of `ElmanCell`: r is that cell's z. With a = dt / tau it is the Euler step of
    `tau r' = -r + W_rec s(r) + W_in x + b`. Others, and the next step, hear `h`: a clamp of h holds what is heard
    while r goes on. Arguments as in `ElmanCell`.

    >>> cell = PreActivationCell(1, 2)
    >>> [tuple(part.shape) for part in cell.initial_state(3)]
    [(3, 2), (3, 2)]
    """

    def initial_state(self, batch: int) -> PreActivationState:  # type: ignore[override]
        r = self.zeros(batch, self.hidden_size)
        return PreActivationState(r, self.s(r))

    def forward(  # type: ignore[override]
        self, x: Tensor, state: PreActivationState, tap: Tap = no_tap
    ) -> tuple[Tensor, PreActivationState]:
        x = tap("input", x)
        z = linear(x, self.weight_ih, self.bias) + linear(state.h, self.weight_hh)
        r = tap("r", z if self.leak == 1 else (1 - self.leak) * state.r + self.leak * z)
        h = tap("h", self.s(r))
        return h, PreActivationState(r, h)
