"""A cell as a map of its packed state, with exact Jacobians, on a float64 copy."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from rnn.cell import Cell, Tap, no_tap
from rnn.edits import Edit, EditPlan
from rnn.model import pack, unpack

__all__ = ["StepMap", "angle_entries", "frozen_copy", "wrapped"]

ROWS = 8192  # rows of one batch when Jacobians are computed


def frozen_copy(cell: Cell) -> Any:
    """A float64 copy of a module in evaluation mode whose parameters ask for no gradient."""
    twin = copy.deepcopy(cell)
    twin.double().eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    return twin


def angle_entries(state: Any, name: str = "") -> list[bool]:
    """Which entries of a packed state are angles, known by the name `phase` in the state."""
    if isinstance(state, Tensor):
        width = state[0].numel() * (2 if state.is_complex() else 1)
        return [name == "phase"] * width
    names = getattr(state, "_fields", [""] * len(state))
    return [entry for part, leaf in zip(names, state, strict=True) for entry in angle_entries(leaf, part)]


def wrapped(difference: Tensor, angles: Tensor) -> Tensor:
    """The difference [..., S] with angles brought to [-pi, pi)."""
    turn = torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
    return torch.where(angles, turn, difference)


class StepMap(nn.Module):
    """One step of a cell as `s_{t+1} = F(s_t, x_t)` with s [B, S] real and float64.

    The cell is copied, so that nothing done here reaches the original.

    Args:
        cell: any cell.
        x: the input when none is given, [I]; None for zero.
        edits: edits that act at every step (the same in every row), so that a clamped network can be analysed too.

    >>> from rnn.linear import LinearCell
    >>> D = torch.tensor([[0.5, 1.0], [0.0, 0.25]])
    >>> cell = LinearCell.from_matrices(torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(2, 1), D)
    >>> StepMap(cell).jacobian(torch.zeros(1, 2))[0].tolist()
    [[0.5, 1.0], [0.0, 0.25]]
    """

    def __init__(self, cell: Cell, x: Tensor | Sequence[float] | None = None, *, edits: Sequence[Edit] = ()):
        super().__init__()
        self.cell = frozen_copy(cell)
        start = self.cell.initial_state(1)
        self.size = pack(start).shape[-1]
        self.angles = torch.tensor(angle_entries(start))
        self.dt = float(getattr(cell, "dt", 1.0))
        given = torch.zeros(cell.input_size) if x is None else torch.as_tensor(x)
        if given.shape != (cell.input_size,):
            raise ValueError(f"`x` has shape {tuple(given.shape)}, the cell takes I={cell.input_size}; pass [I]")
        self.x = given.detach().double()
        self.plan = EditPlan(self.cell, edits) if edits else None
        self.forward_mode = True

    def tap(self) -> Tap:
        """The tap of the edits."""
        return no_tap if self.plan is None else self.plan.tap(0, {})

    def initial(self, rows: int = 1) -> Tensor:
        """The cell's own first state, packed [rows, S]."""
        return pack(self.cell.initial_state(rows)).double()

    def packed(self, state: Any) -> Tensor:
        """A state, packed or not, as [B, S] float64."""
        s = (state if isinstance(state, Tensor) else pack(state)).detach().double()
        s = s.unsqueeze(0) if s.dim() == 1 else s
        if s.shape[-1] != self.size:
            raise ValueError(f"a packed state of this cell has {self.size} numbers, received {s.shape[-1]}")
        return s

    def step(self, s: Tensor, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Next state [B, S] and output [B, O]; `x` is [I] or [B, I]."""
        x = (self.x if x is None else x).expand(s.shape[0], -1)
        y, state = self.cell(x, unpack(self.cell, s), self.tap())
        following = pack(state)
        return following.expand(s.shape[0], -1), y

    def forward(self, s: Tensor, x: Tensor | None = None) -> Tensor:
        """F(s, x) [B, S]."""
        return self.step(s, x)[0]

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """`a - b`, angles wrapped."""
        return wrapped(a - b, self.angles)

    def orbit(self, s: Tensor, steps: int, xs: Tensor | None = None) -> Tensor:
        """States [steps + 1, B, S] from s on, the first included; `xs` [steps, B or 1, I] or the constant input.

        Raises:
            FloatingPointError: a state is not finite; the step is told.
        """
        states = [s]
        with torch.no_grad():
            for t in range(steps):
                s = self(s, None if xs is None else xs[t])
                if not bool(s.isfinite().all()):
                    raise FloatingPointError(
                        f"the state is not finite after {t + 1} steps; the network diverges from this start, so begin "
                        "closer to its attractor or follow it for fewer steps"
                    )
                states.append(s)
        return torch.stack(states)

    def jacobian(self, s: Tensor, x: Tensor | None = None) -> Tensor:
        """`dF/ds` at every row, [B, S, S]; row i of each is the gradient of entry i of the next state.

        Each state is repeated S times and row i asked for the gradient of its entry i: one batch, any cell.
        """
        batch, size = s.shape
        chunk = max(1, ROWS // size)
        if batch > chunk:
            xs = [None] * batch if x is None or x.dim() == 1 else x
            parts = [
                self.jacobian(s[i : i + chunk], x if xs is not x else x[i : i + chunk]) for i in range(0, batch, chunk)
            ]
            return torch.cat(parts)
        if x is not None and x.dim() > 1:
            x = x.expand(batch, -1).repeat_interleave(size, 0)
        with torch.enable_grad():
            rows = s.detach().double().repeat_interleave(size, 0).requires_grad_(True)
            following = self(rows, x).reshape(batch, size, size)
            diagonal = following.diagonal(dim1=1, dim2=2).sum()
            if not diagonal.requires_grad:  # the next state does not hear the present one
                return torch.zeros(batch, size, size, dtype=torch.float64)
            (gradient,) = torch.autograd.grad(diagonal, rows, allow_unused=True)
        if gradient is None:
            return torch.zeros(batch, size, size, dtype=torch.float64)
        return gradient.reshape(batch, size, size)

    def push(self, s: Tensor, frame: Tensor, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`F(s)` [B, S] and `dF/ds Q` [B, S, k] for a few directions Q [B, S, k], by forward differentiation.

        Cheaper than `jacobian` for k much less than S. A cell with an operation that has no forward derivative is
        differentiated backward.
        """
        batch, size, k = frame.shape
        if self.forward_mode:
            rows = s.detach().repeat_interleave(k, 0)
            inputs = None if x is None else x.expand(batch, -1).repeat_interleave(k, 0)
            try:
                with torch.no_grad(), forward_ad.dual_level(), warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, when its rules are first loaded
                    dual = forward_ad.make_dual(rows, frame.mT.reshape(batch * k, size))
                    following, pushed = forward_ad.unpack_dual(self(dual, inputs))
                pushed = torch.zeros_like(following) if pushed is None else pushed
                return following[::k], pushed.reshape(batch, k, size).mT
            except (NotImplementedError, RuntimeError):
                self.forward_mode = False
        with torch.no_grad():
            return self(s, x), self.jacobian(s, x) @ frame

    def jacobians(self, states: Tensor, xs: Tensor | None = None) -> Tensor:
        """Jacobians along an orbit: states [T, B, S] (before each step) to [T, B, S, S]."""
        steps, batch, size = states.shape
        flat = None if xs is None else xs.expand(steps, batch, -1).reshape(steps * batch, -1)
        return self.jacobian(states.reshape(-1, size), flat).reshape(steps, batch, size, size)
