"""A Q network over any cell: observation, last action and last reward in, action values out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from agents.forecast import Forecast
from agents.replay import Sequences
from agents.spaces import rebuild
from rnn.cell import Cell, map_state
from rnn.models import make_cell
from rnn.sequence import run_sequence
from rnn.unroll import unroll

__all__ = ["QNetwork", "QState", "Trace", "TraceState"]


class QState(NamedTuple):
    """What a recurrent Q agent carries from step to step."""

    memory: Any
    """State of the cell."""
    action: Tensor
    """Last action, [B, A] one-hot; zeros at the start of an episode."""


class TraceState(NamedTuple):
    m: Tensor


class Trace(Cell):
    r"""Exponential traces of the inputs, `m_t = g m_{t-1} + (1 - g) x_t`, with fixed g: memory without learning.

    The output is x and its traces, through one dense layer. The control for every recurrent score, after
    "Partially Observable Reinforcement Learning with Memory Traces" (Eberhard et al., 2025).

    >>> Trace(2, 8, decays=(0.5,)).initial_state(3).m.shape
    torch.Size([3, 2])
    """

    activity = "m"

    def __init__(self, input_size: int, hidden_size: int, *, decays: tuple[float, ...] = (0.5, 0.8, 0.95)):
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.register_buffer("decay", torch.tensor(decays).repeat_interleave(input_size))
        self.dense = nn.Linear(input_size * (1 + len(decays)), hidden_size)

    decay: Tensor

    def initial_state(self, batch: int) -> TraceState:
        return TraceState(self.zeros(batch, len(self.decay)))

    def forward(self, x: Tensor, state: TraceState, tap: Any = lambda name, value: value) -> tuple[Tensor, TraceState]:
        x = tap("input", x)
        copies = x.repeat(1, len(self.decay) // self.input_size)
        m = tap("m", self.decay * state.m + (1 - self.decay) * copies)
        return torch.tanh(self.dense(torch.cat([x, m], 1))), TraceState(m)


class QNetwork(nn.Module):
    r"""Action values of a partially observed world.

    .. math:: u_t = [s \odot o_t; a_{t-1}; r_t], \qquad h_t = f(u_t, h_{t-1}), \qquad
        Q(h_t, a) = V(h_t) + A(h_t, a) - \tfrac1K \sum_b A(h_t, b)

    (dueling; Wang et al., 2016). Without a cell h_t is a dense layer of the inputs: a plain DQN.

    Args:
        obs_size: D.
        num_actions: K.
        cell: name of a cell of `rnn.models`, "trace", a cell whose inputs fit, or None for no memory.
        hidden_size: units of the cell.
        scale: factors of the observations, [D], or one number.
        encoder: width of a dense ReLU layer before the cell; 0 for none.
        heads: width of the dense layer of each head; 0 for linear heads.
        norm: layer normalisation after every dense layer and after the cell.
        initial_value: added to every value at the start.
        forecast: a second head that foretells the next observation (see `agents.forecast`).

    The attribute `path` says how sequences are unrolled: "auto" by `rnn.sequence`, else as in `rnn.unroll`.

    Raises:
        ValueError: a cell instance with another number of inputs.
    """

    scale: Tensor

    def __init__(
        self,
        obs_size: int,
        num_actions: int,
        *,
        cell: str | Cell | None = "gru",
        hidden_size: int = 64,
        scale: float | tuple[float, ...] = 1.0,
        encoder: int = 0,
        heads: int = 64,
        dueling: bool = True,
        previous_action: bool = True,
        previous_reward: bool = False,
        norm: bool = False,
        initial_value: float = 0.0,
        forecast: bool = False,
    ):
        super().__init__()
        self.num_actions, self.dueling = num_actions, dueling
        self.path = "auto"
        self.previous_action, self.previous_reward = previous_action, previous_reward
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32).expand(obs_size).clone())
        width = obs_size + num_actions * previous_action + int(previous_reward)
        self.encoder: nn.Module = nn.Identity()
        if encoder:
            self.encoder = _dense(width, encoder, norm)
            width = encoder
        self.cell: Cell | None = _cell(cell, width, hidden_size)
        if self.cell is None:
            self.dense = _dense(width, hidden_size, norm)
        size = hidden_size if self.cell is None else self.cell.output_size
        self.after: nn.Module = nn.LayerNorm(size) if norm and self.cell is not None else nn.Identity()
        self.advantage = _head(size, heads, num_actions, norm)
        self.value = _head(size, heads, 1, norm) if dueling else None
        last = list((self.advantage if self.value is None else self.value).parameters())[-1]
        with torch.no_grad():
            last.add_(initial_value)  # the bias of the last layer
        self.forecast = Forecast(size, obs_size, num_actions) if forecast else None

    def initial_state(self, batch: int) -> QState:
        device = self.scale.device
        memory = () if self.cell is None else self.cell.initial_state(batch)
        return QState(memory, torch.zeros(batch, self.num_actions, device=device))

    def inputs(self, obs: Tensor, action: Tensor, reward: Tensor, first: Tensor) -> Tensor:
        """What the cell receives: obs [..., D], one-hot last action [..., K], last reward [...]."""
        kept = (~first)[..., None].to(obs.dtype)
        parts = [obs * self.scale]
        if self.previous_action:
            parts.append(action * kept)
        if self.previous_reward:
            parts.append(reward[..., None] * kept)
        return self.encoder(torch.cat(parts, -1))

    def values(self, h: Tensor) -> Tensor:
        """Action values [..., K] from the output of the cell."""
        h = self.after(h)
        advantage = self.advantage(h)
        if self.value is None:
            return advantage
        return self.value(h) + advantage - advantage.mean(-1, keepdim=True)

    def step(self, obs: Tensor, state: QState, first: Tensor, reward: Tensor) -> tuple[Tensor, QState]:
        """One step: values [B, K] and the state (the action is filled in by who acts)."""
        u = self.inputs(obs, state.action, reward, first)
        if self.cell is None:
            return self.values(self.dense(u)), state
        memory = state.memory
        if first.any():
            fresh = self.cell.initial_state(len(obs))
            memory = map_state(lambda old, new: torch.where(_like(first, old), new, old), memory, fresh)
        h, memory = self.cell(u, memory)
        return self.values(h), QState(memory, state.action)

    def sequence(self, data: Sequences, memory: Any = None) -> Tensor:
        """Values [T, B, K] of whole sequences; the state is reset inside them where an episode starts."""
        return self.values(self.outputs(data, memory))

    def outputs(self, data: Sequences, memory: Any = None) -> Tensor:
        """What the heads see, [T, B, H], along whole sequences."""
        action = one_hot(data.before, self.num_actions).to(data.obs.dtype)
        u = self.inputs(data.obs, action, data.earned, data.first)
        return self.dense(u) if self.cell is None else self.course(u, memory, data.first)[0]

    def course(self, u: Tensor, memory: Any, first: Tensor) -> tuple[Tensor, Any]:
        """Outputs of the cell [T, B, H] along sequences, and the state after them."""
        assert self.cell is not None
        if self.path == "auto":
            return run_sequence(self.cell, u, memory, first)
        run = unroll(self.cell, u, memory, resets=first, path=self.path)
        return run.outputs, run.state

    def burn_in(self, data: Sequences, steps: int) -> Any:
        """State of the cell after the first steps of sequences, from the stored state; without gradient."""
        if self.cell is None:
            return ()
        memory = rebuild(self.cell.initial_state(data.obs.shape[1]), data.state) if data.state else None
        if not steps:
            return memory
        with torch.no_grad():
            action = one_hot(data.before[:steps], self.num_actions).to(data.obs.dtype)
            u = self.inputs(data.obs[:steps], action, data.earned[:steps], data.first[:steps])
            return self.course(u, memory, data.first[:steps])[1]


def _like(flags: Tensor, part: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (part.dim() - 1))


def _dense(inputs: int, outputs: int, norm: bool) -> nn.Module:
    layers = [nn.Linear(inputs, outputs), *([nn.LayerNorm(outputs)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers)


def _head(inputs: int, hidden: int, outputs: int, norm: bool) -> nn.Module:
    return (
        nn.Sequential(_dense(inputs, hidden, norm), nn.Linear(hidden, outputs))
        if hidden
        else nn.Linear(inputs, outputs)
    )


def _cell(cell: str | Cell | None, inputs: int, hidden_size: int) -> Cell | None:
    if cell is None or cell == "none":
        return None
    if cell == "trace":
        return Trace(inputs, hidden_size)
    if isinstance(cell, str):
        return make_cell(cell, inputs, hidden_size)
    if cell.input_size != inputs:
        raise ValueError(
            f"the cell takes {cell.input_size} inputs, the network gives it {inputs}; build it with I={inputs}"
        )
    return cell
