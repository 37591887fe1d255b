"""Many reservoirs of one size in one pass, each with weights of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from rnn.cell import Cell, Tap, no_tap
from rnn.fused import TooHard
from rnn.reservoir import EchoState, EchoStateCell

__all__ = ["ReservoirBatch"]


class ReservoirBatch(Cell):
    """Reservoirs side by side: row r of the batch is reservoir r.

    The equation is that of `EchoStateCell`. A sweep over radii, scales, leaks and seeds is one run; give the same
    input to all by `xs.expand(T, R, I)`. Sparse reservoirs are one block-diagonal sparse matrix. Dense ones are
    multiplied as a batch on a GPU; on a CPU (`path="fused"`) they go through time one after the other, because one
    matrix of 500 units fits in the cache and a hundred do not.

    Args:
        cells: R echo state cells of equal sizes, all dense or all with the same fan-in.

    >>> sweep = ReservoirBatch([EchoStateCell(1, 30, radius=r, seed=0) for r in (0.5, 0.9, 1.2)])
    >>> sweep(torch.ones(3, 1), sweep.initial_state(3))[0].shape
    torch.Size([3, 30])

    Raises:
        ValueError: cells of another kind or of different sizes.
    """

    weight_ih: Tensor
    bias: Tensor
    weight_hh: Tensor
    sources: Tensor | None
    leak: Tensor
    sequence_seen = ("h",)

    def __init__(self, cells: Sequence[EchoStateCell]):
        super().__init__()
        if not cells or any(type(cell) is not EchoStateCell for cell in cells):
            raise ValueError("a batch of reservoirs is made of one or more EchoStateCells")
        sizes = {(c.input_size, *c.weight_hh.shape) for c in cells}
        if len(sizes) > 1:
            raise ValueError(f"the reservoirs of a batch must have equal sizes and fan-in, received {sorted(sizes)}")
        first = cells[0]
        self.input_size, self.hidden_size, self.output_size = first.input_size, first.hidden_size, first.hidden_size
        self.number = len(cells)
        for name in ("weight_ih", "bias", "weight_hh"):
            self.register_buffer(name, torch.stack([getattr(cell, name) for cell in cells]))
        sources = None if first.sources is None else torch.stack([c.sources for c in cells])  # type: ignore[misc]
        self.register_buffer("sources", sources)
        self.register_buffer("leak", torch.tensor([[cell.leak] for cell in cells]).to(first.weight_hh))
        self._blocks: Tensor | None = None

    @property
    def sequence_path(self) -> str | None:
        """The fast path that `unroll` may take: dense reservoirs on a CPU."""
        return "fused" if self.sources is None and self.weight_hh.device.type == "cpu" else None

    sequence_on_cpu = True

    def initial_state(self, batch: int) -> EchoState:
        return EchoState(self.zeros(batch, self.hidden_size))

    def forward(self, x: Tensor, state: EchoState, tap: Tap = no_tap) -> tuple[Tensor, EchoState]:
        n = self._rows(x)
        x = tap("input", x)
        z = torch.einsum("rhi,ri->rh", self.weight_ih[:n], x) + self.bias[:n] + self._recur(state.h)
        h = tap("h", torch.lerp(state.h, torch.tanh(z), self.leak[:n]))
        return h, EchoState(h)

    def sequence(
        self, xs: Tensor, state: EchoState, resets: Tensor | None, fresh: EchoState | None, holds: tuple[()] = ()
    ) -> tuple[Tensor, EchoState, dict[str, Tensor]]:
        """The whole sequence, reservoir after reservoir, in as many threads as torch uses."""
        if torch.is_grad_enabled() and (xs.requires_grad or state.h.requires_grad):
            raise TooHard("gradients with respect to inputs or states are wanted")
        self._rows(xs[0])
        drive = torch.einsum("rhi,tri->rth", self.weight_ih, xs) + self.bias[:, None]
        out = np.empty((self.number, len(xs), self.hidden_size), dtype=drive.numpy().dtype)

        def run(r: int) -> None:
            W, u, h, a = self.weight_hh[r].numpy(), drive[r].numpy(), state.h[r].numpy(), float(self.leak[r, 0])
            again = resets[:, r].tolist() if resets is not None else [False] * len(u)
            z = np.empty_like(h)
            for t in range(len(u)):
                if again[t]:
                    h = fresh.h[r].numpy()  # type: ignore[union-attr]
                np.dot(W, h, out=z)
                np.add(z, u[t], out=z)
                new = np.tanh(z, out=out[r, t])
                if a != 1:
                    new *= a
                    new += (1 - a) * h
                h = new

        if torch.get_num_threads() > 1:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(run, range(self.number)))
        else:
            for r in range(self.number):
                run(r)
        hs = torch.from_numpy(out).transpose(0, 1)
        return hs, EchoState(hs[-1]), {"h": hs}

    def _rows(self, x: Tensor) -> int:
        if len(x) not in (1, self.number):  # one row stands for the first reservoir: the cell is looked at that way
            raise ValueError(f"there are {self.number} reservoirs, received {len(x)} rows; pass one row per reservoir")
        return len(x)

    def _recur(self, h: Tensor) -> Tensor:
        n = len(h)
        if self.sources is None:
            return torch.bmm(self.weight_hh[:n], h[:, :, None])[:, :, 0]
        if h.requires_grad or n < self.number:
            heard = h.gather(1, self.sources[:n].flatten(1)).view_as(self.weight_hh[:n])
            return (self.weight_hh[:n] * heard).sum(-1)
        return (self._block_diagonal() @ h.reshape(-1)).view_as(h)

    def _block_diagonal(self) -> Tensor:
        """All recurrent weights as one sparse matrix [R H, R H], made once per dtype and device."""
        weight = self.weight_hh
        if self._blocks is None or (self._blocks.dtype, self._blocks.device) != (weight.dtype, weight.device):
            assert self.sources is not None
            size, fan_in = self.number * self.hidden_size, weight.shape[-1]
            # 32-bit indices: with 64-bit ones the product takes three times as long
            shift = self.hidden_size * torch.arange(self.number, device=weight.device)[:, None, None]
            columns = (self.sources + shift).flatten().int()
            rows = torch.arange(0, size * fan_in + 1, fan_in, device=weight.device).int()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR")
                self._blocks = torch.sparse_csr_tensor(
                    rows, columns, weight.flatten(), size=(size, size), check_invariants=False
                )
        return self._blocks

    def extra_repr(self) -> str:
        return f"{self.number} x ({self.input_size}, {self.hidden_size})"
