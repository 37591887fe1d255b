"""Attention: queries, keys, values, positions, masks, pooling; a transformer and a linear-cost form as cells."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear, scaled_dot_product_attention

from rnn.cell import Cell, Tap, no_tap
from rnn.elman import uniform

__all__ = [
    "AttentionPooling", "LinearAttentionCell", "TransformerCell", "attend", "attention_weights", "causal_mask",
    "positions",
]  # fmt: skip


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None = None, beta: float | None = None) -> Tensor:
    """`softmax(beta Q K^T)`, [..., T, S]: how much each query takes from each key.

    Args:
        queries: [..., T, d].
        keys: [..., S, d].
        mask: true where a query may look, [..., T, S].
        beta: inverse temperature; None for 1 / sqrt(d).

    >>> attention_weights(torch.eye(2), torch.eye(2), beta=100.0).round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    scores = (queries.shape[-1] ** -0.5 if beta is None else beta) * queries @ keys.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, -1)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, beta: float | None = None
) -> Tensor:
    """`softmax(beta Q K^T) V`, [..., T, v]; arguments as in `attention_weights`, values [..., S, v]."""
    return attention_weights(queries, keys, mask, beta) @ values


def causal_mask(steps: int, device: torch.device | None = None) -> Tensor:
    """True where a step may look, at itself and before, [T, T].

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return torch.ones(steps, steps, dtype=torch.bool, device=device).tril()


def positions(times: Tensor, size: int) -> Tensor:
    """Sines and cosines of time at wavelengths from 2 pi to 10,000 x 2 pi steps, [..., size].

    References:
        Attention Is All You Need (Vaswani et al., 2017).
    """
    exponent = torch.arange(0, size, 2, device=times.device, dtype=times.dtype) / size
    angle = times[..., None] * 10_000.0**-exponent
    return torch.stack([torch.sin(angle), torch.cos(angle)], -1).flatten(-2)[..., :size]


class AttentionPooling(nn.Module):
    """A set or sequence as one vector: learned queries take what they look for, whatever the order.

    Args:
        size: width of the elements, I.
        queries: number of learned queries, Q; the output has Q x H numbers.
        hidden_size: H, width of keys and values.

    >>> pool, xs = AttentionPooling(3, hidden_size=4), torch.randn(5, 2, 3)
    >>> bool(torch.allclose(pool(xs), pool(xs.flip(0)), atol=1e-6))
    True
    """

    def __init__(self, size: int, *, queries: int = 1, hidden_size: int = 16):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, hidden_size) / math.sqrt(hidden_size))
        self.keys, self.values = nn.Linear(size, hidden_size), nn.Linear(size, hidden_size)
        self.output_size = queries * hidden_size

    def forward(self, xs: Tensor, mask: Tensor | None = None) -> Tensor:
        """From xs [T, B, I], and where it is true [T, B], to [B, Q H]."""
        xs = xs.transpose(0, 1)
        may = None if mask is None else mask.T[:, None, :]
        return attend(self.queries, self.keys(xs), self.values(xs), may).flatten(1)


class LinearAttentionState(NamedTuple):
    memory: Tensor
    weight: Tensor


class LinearAttentionCell(Cell):
    r"""Causal attention at constant cost per step: a recurrent network whose state is a matrix.

    .. math::
        S_t = S_{t-1} + \phi(k_t) v_t^\top, \quad z_t = z_{t-1} + \phi(k_t), \qquad
        y_t = h_t = W \frac{S_t^\top \phi(q_t)}{z_t^\top \phi(q_t)} + V x_t, \qquad \phi = 1 + \mathrm{elu}

    with q, k and v linear in x. Each step weighs all earlier values by `phi(q) phi(k)` instead of `exp(q k)`.
    Quantities: `input`, `query`, `key`, `value`, `h`.

    References:
        Transformers are RNNs (Katharopoulos et al., 2020).

    Args:
        input_size: I.
        hidden_size: H, width of queries, keys, values and output.

    >>> LinearAttentionCell(2, 4).initial_state(1).memory.shape
    torch.Size([1, 4, 4])
    """

    sequence_path = "scan"
    sequence_seen = ("h",)

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.weight_qkv = uniform(3 * hidden_size, input_size, input_size)
        self.bias_qkv = nn.Parameter(torch.zeros(3 * hidden_size))
        self.weight_out = uniform(hidden_size, hidden_size, hidden_size)
        self.weight_skip = uniform(hidden_size, input_size, input_size)

    def initial_state(self, batch: int) -> LinearAttentionState:
        size = self.hidden_size
        return LinearAttentionState(self.zeros(batch, size, size), self.zeros(batch, size))

    def forward(self, x: Tensor, state: LinearAttentionState, tap: Tap = no_tap) -> tuple[Tensor, LinearAttentionState]:
        x = tap("input", x)
        q, k, v = linear(x, self.weight_qkv, self.bias_qkv).chunk(3, -1)
        q, k, v = tap("query", 1 + elu(q)), tap("key", 1 + elu(k)), tap("value", v)
        memory = state.memory + k[:, :, None] * v[:, None, :]
        weight = state.weight + k
        taken = torch.einsum("bkv,bk->bv", memory, q) / (weight * q).sum(-1, keepdim=True)
        h = tap("h", linear(taken, self.weight_out) + linear(x, self.weight_skip))
        return h, LinearAttentionState(memory, weight)

    def sequence(
        self, xs: Tensor, state: LinearAttentionState, resets: Tensor | None, fresh: object, holds: tuple[()] = ()
    ) -> tuple[Tensor, LinearAttentionState, dict[str, Tensor]]:
        """The whole sequence as one masked product; the cost grows with T^2, in few large operations."""
        q, k, v = (p.transpose(0, 1) for p in linear(xs, self.weight_qkv, self.bias_qkv).chunk(3, -1))
        q, k = 1 + elu(q), 1 + elu(k)  # [B, T, H]
        steps, batch = xs.shape[:2]
        may = causal_mask(steps, xs.device).expand(batch, -1, -1)
        carried = torch.ones(batch, steps, 1, dtype=xs.dtype, device=xs.device)
        if resets is not None:
            episode = resets.long().cumsum(0).T
            may = may & (episode[:, :, None] == episode[:, None, :])
            carried = (episode == 0)[..., None].to(xs.dtype)
        scores = (q @ k.mT) * may
        taken = scores @ v + carried * (q @ state.memory)
        total = scores.sum(-1, keepdim=True) + carried * (q @ state.weight[..., None])
        h = linear((taken / total).transpose(0, 1), self.weight_out) + linear(xs, self.weight_skip)
        last = may[:, -1, :, None] * k  # [B, T, H]
        memory = carried[:, -1:] * state.memory + last.mT @ v
        return h, LinearAttentionState(memory, carried[:, -1] * state.weight + last.sum(1)), {"h": h}


class TransformerState(NamedTuple):
    keys: Tensor
    values: Tensor
    age: Tensor


class TransformerCell(Cell):
    r"""A causal self-attention network, the non-recurrent reference, in the form of a cell that remembers keys and
    values.

    Each of L blocks is `e <- e + attention(norm(e))`, `e <- e + mlp(norm(e))` on the embedded input plus sinusoids of
    the steps since the start; the output is `y_t = h_t = norm(e)`. It looks at the last `context` steps. Stepping it
    costs one
    row of the attention matrix per step; over a whole sequence (`path="scan"`) all rows are computed together.
    Quantities: `input`, `layer0.attended`, `layer0.h`, ..., `h`.

    References:
        Attention Is All You Need (Vaswani et al., 2017).

    Args:
        input_size: I.
        hidden_size: H.
        blocks: L.
        heads: number of heads, which divides H.
        context: steps that can be seen, the present one included.

    >>> TransformerCell(2, 8, blocks=3, context=16).initial_state(1).keys.shape
    torch.Size([1, 3, 16, 8])
    """

    sequence_path = "scan"
    sequence_seen = ("h",)

    def __init__(self, input_size: int, hidden_size: int, *, blocks: int = 2, heads: int = 2, context: int = 64):
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"H={hidden_size} does not divide into {heads} heads; choose another `heads`")
        if context < 1 or blocks < 1:
            raise ValueError(f"`context` and `blocks` are at least 1, received {context} and {blocks}")
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.heads, self.context = heads, context
        self.embed = nn.Linear(input_size, hidden_size)
        self.qkv = nn.ModuleList(nn.Linear(hidden_size, 3 * hidden_size, bias=False) for _ in range(blocks))
        self.out = nn.ModuleList(nn.Linear(hidden_size, hidden_size) for _ in range(blocks))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden_size, 4 * hidden_size), nn.GELU(), nn.Linear(4 * hidden_size, hidden_size))
            for _ in range(blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(2 * blocks + 1))

    def initial_state(self, batch: int) -> TransformerState:
        shape = (batch, len(self.qkv), self.context, self.hidden_size)
        return TransformerState(self.zeros(*shape), self.zeros(*shape), self.zeros(batch, 1))

    def forward(self, x: Tensor, state: TransformerState, tap: Tap = no_tap) -> tuple[Tensor, TransformerState]:
        x = tap("input", x)
        age = state.age + 1  # steps that may be seen, this one included
        back = torch.arange(self.context - 1, -1, -1, device=x.device)  # how long ago each key was
        may = (back < age)[:, None, None, :]  # [B, 1, 1, context]
        e = self.embed(x) + positions(state.age[:, 0], self.hidden_size)
        keys, values = [], []
        for l in range(len(self.qkv)):
            q, k, v = self.qkv[l](self.norms[2 * l](e)).chunk(3, -1)
            keys.append(torch.cat([state.keys[:, l, 1:], k[:, None]], 1))
            values.append(torch.cat([state.values[:, l, 1:], v[:, None]], 1))
            taken = self._attend(q[:, None], keys[-1], values[-1], may)[:, 0]
            e = e + tap(f"layer{l}.attended", self.out[l](taken))
            e = tap(f"layer{l}.h", e + self.mlp[l](self.norms[2 * l + 1](e)))
        h = tap("h", self.norms[-1](e))
        return h, TransformerState(torch.stack(keys, 1), torch.stack(values, 1), age)

    def sequence(
        self, xs: Tensor, state: TransformerState, resets: Tensor | None, fresh: object, holds: tuple[()] = ()
    ) -> tuple[Tensor, TransformerState, dict[str, Tensor]]:
        """The whole sequence at once."""
        steps, batch = xs.shape[:2]
        may, age = self._sight(steps, batch, state, resets)
        e = self.embed(xs.transpose(0, 1)) + positions(age.to(xs.dtype), self.hidden_size)  # [B, T, H]
        keys, values = [], []
        for l in range(len(self.qkv)):
            q, k, v = self.qkv[l](self.norms[2 * l](e)).chunk(3, -1)
            keys.append(torch.cat([state.keys[:, l], k], 1))
            values.append(torch.cat([state.values[:, l], v], 1))
            e = e + self.out[l](self._attend(q, keys[-1], values[-1], may))
            e = e + self.mlp[l](self.norms[2 * l + 1](e))
        h = self.norms[-1](e).transpose(0, 1)
        kept = lambda cache: torch.stack(cache, 1)[:, :, steps:]
        return h, TransformerState(kept(keys), kept(values), age[:, -1:].to(xs.dtype) + 1), {"h": h}

    def _sight(self, steps: int, batch: int, state: TransformerState, resets: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where each step may look, among the remembered steps and the new ones, [B, 1, T, context + T], and the steps
        since each row's start, [B, T]."""
        device = state.keys.device
        t = torch.arange(steps, device=device)
        s = torch.arange(-self.context, steps, device=device)  # when each key was
        may = (s <= t[:, None]) & (s > t[:, None] - self.context) & (s >= -state.age)[:, None, :]
        age = state.age + t
        if resets is not None:
            episode = resets.long().cumsum(0).T  # [B, T]
            before = torch.cat([episode.new_zeros(batch, self.context), episode], 1)
            may = may & (episode[:, :, None] == before[:, None, :])
            begin = torch.where(resets.T, t, -1).cummax(1).values
            age = torch.where(begin >= 0, t - begin, age)
        return may[:, None], age

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, may: Tensor) -> Tensor:
        """Attention by heads: q [B, T, H], k and v [B, S, H], may [B, 1, T, S]."""
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (q, k, v))
        return scaled_dot_product_attention(q, k, v, attn_mask=may).transpose(1, 2).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, heads={self.heads}, context={self.context}"
