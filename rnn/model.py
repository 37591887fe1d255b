"""A model of a record: a cell, a readout and a rule for the initial state; many parameter copies in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from rnn.cell import Cell, map_state
from rnn.edits import Edit
from rnn.unroll import unroll

__all__ = ["Model", "Readout", "Simulated", "pack", "run_copies", "state_width", "unpack"]


class Readout(nn.Module):
    """Affine readout `y = C z + D x + b`, optionally with all products of two and three entries of z.

    Args:
        size: width of z, what the cell gives out.
        output_size: number of outputs, O.
        input_size: width of x; 0 leaves the feed-through D out.
        degree: 1, or up to 3 for products of entries of z.
        zero: start at `y = 0` instead of with a random C.

    >>> Readout(2, 1, degree=3).monomials  # z0 z0, z0 z1, z1 z1, then the products of three
    [(0, 0), (0, 1), (1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)]
    """

    def __init__(self, size: int, output_size: int, *, input_size: int = 0, degree: int = 1, zero: bool = False):
        super().__init__()
        if degree not in (1, 2, 3):
            raise ValueError(f"the degree of a readout is 1, 2 or 3, received {degree}")
        scale = 0.0 if zero else size**-0.5
        self.C = nn.Parameter(torch.empty(output_size, size).uniform_(-1, 1) * scale)
        self.b = nn.Parameter(torch.zeros(output_size))
        self.D = nn.Parameter(torch.zeros(output_size, input_size)) if input_size else None
        pairs = [(i, j) for i in range(size) for j in range(i, size)] if degree > 1 else []
        triples = [(i, j, k) for i, j in pairs for k in range(j, size)] if degree > 2 else []
        self.monomials: list[tuple[int, ...]] = [*pairs, *triples]
        self._pairs, self._triples = pairs, triples
        self.N = nn.Parameter(torch.zeros(output_size, len(self.monomials))) if self.monomials else None

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Outputs [..., O] of z [..., size] and x [..., I]; also with parameters stacked as [P, O, size], [P, 1, O]."""
        y = z @ self.C.mT + self.b
        if self.D is not None:
            y = y + x @ self.D.mT
        if self.N is not None:
            i, j = zip(*self._pairs, strict=True)
            products = [z[..., i] * z[..., j]]
            if self._triples:
                i, j, k = zip(*self._triples, strict=True)
                products.append(z[..., i] * z[..., j] * z[..., k])
            y = y + torch.cat(products, -1) @ self.N.mT
        return y


class Simulated(NamedTuple):
    """A run of a model: outputs [T, B, O], the final state of the cell, recorded courses [T, B, n]."""

    outputs: Tensor
    state: Any
    trace: dict[str, Tensor]


class Model(nn.Module):
    """A cell with a readout, run on inputs alone (simulation) or fed with outputs (`feedback`).

    The cell sees `x_t = u_t`, or `x_t = [u_t, y_{t-1}]` with `feedback`: the measured output while it is given
    (teacher forcing, warming up), its own output after that (free run).

    Args:
        cell: any cell, of `input_size` I, or I + O with feedback.
        output_size: number of outputs, O.
        start: initial state: "zero" (the cell's own), or "learned" (a parameter), or "encoder" (a network reads
            the first `window` inputs and outputs of a section and gives the state before its first step).
        window: samples that the encoder reads.
        feedback: feed outputs back to the cell.
        feedthrough: let the readout see the input.
        degree: degree of the readout, see `Readout`.
        encoder_units: hidden units of the encoder.

    Raises:
        ValueError: an unknown start, or a cell whose input size leaves no room for the fed-back outputs.
    """

    cell: Any  # a Cell; Any, since its own attributes (frequencies, say) are asked for

    def __init__(
        self,
        cell: Cell,
        output_size: int,
        *,
        start: str = "zero",
        window: int = 0,
        feedback: bool = False,
        feedthrough: bool = True,
        degree: int = 1,
        encoder_units: int = 32,
    ):
        super().__init__()
        if start not in ("zero", "learned", "encoder"):
            raise ValueError(f"unknown start {start!r}; the starts are 'zero', 'learned' and 'encoder'")
        if start == "encoder" and window < 1:
            raise ValueError(f"an encoder needs a window of at least one sample, received {window}")
        self.cell, self.output_size, self.start, self.window, self.feedback = cell, output_size, start, window, feedback
        self.input_size = cell.input_size - (output_size if feedback else 0)
        if self.input_size < 0:
            raise ValueError(
                f"with feedback the cell takes I + {output_size} inputs, received a cell of {cell.input_size}"
            )
        self.readout = Readout(
            cell.output_size, output_size, input_size=cell.input_size if feedthrough else 0, degree=degree
        )
        width = state_width(cell)
        if start == "learned":
            self.first = nn.Parameter(torch.zeros(width))
        if start == "encoder":
            self.encoder = nn.Sequential(
                nn.Linear(window * (self.input_size + output_size), encoder_units),
                nn.Tanh(),
                nn.Linear(encoder_units, width),
            )
            with torch.no_grad():
                self.encoder[2].weight.mul_(0.1)  # type: ignore[operator]

    def initial(self, us: Tensor, ys: Tensor | None = None) -> Any:
        """The state before the first step for inputs [T, B, I]; the encoder reads the first outputs too."""
        batch = us.shape[1]
        fresh = self.cell.initial_state(batch)
        if self.start == "learned":
            return unpack(self.cell, pack(fresh) + self.first)
        if self.start == "encoder":
            if ys is None or ys.shape[0] < self.window:
                given = 0 if ys is None else ys.shape[0]
                raise ValueError(f"the encoder reads {self.window} samples of u and y, received {given} of y")
            seen = torch.cat([us[: self.window], ys[: self.window]], -1)
            return unpack(self.cell, pack(fresh) + self.encoder(seen.transpose(0, 1).flatten(1)))
        return fresh

    def forward(
        self,
        us: Tensor,
        state: Any = None,
        *,
        ys: Tensor | None = None,
        last: Tensor | None = None,
        edits: Sequence[Edit] = (),
        record: Sequence[str] = (),
        path: str = "auto",
    ) -> Simulated:
        """Run over inputs [T, B, I].

        Args:
            us: inputs.
            state: state of the cell before the first step; None for `initial`.
            ys: measured outputs, as many steps as are known. Read by the encoder; with `feedback` also fed to the
                cell one step late, after which its own outputs are.
            last: with `feedback`, the output before the first step [B, O]; None for zero (the mean).
            edits: edits of named units, see `rnn.edits`. record: addresses to record. path: see `rnn.unroll`.
        """
        if state is None:
            state = self.initial(us, ys)
        if self.feedback:
            return self._fed(us, state, ys, last, edits, record)
        if us.dim() > 3:  # stacked copies
            zs, state = self.cell.scan(us, state)
            return Simulated(self.readout(zs, us), state, {})
        zs, state, trace = unroll(self.cell, us, state, edits=edits, record=record, path=path)
        return Simulated(self.readout(zs, us), state, trace)

    def _fed(
        self,
        us: Tensor,
        state: Any,
        ys: Tensor | None,
        last: Tensor | None,
        edits: Sequence[Edit],
        record: Sequence[str],
    ) -> Simulated:
        steps, batch = us.shape[:2]
        known = 0 if ys is None else min(ys.shape[0], steps)
        last = us.new_zeros(batch, self.output_size) if last is None else last
        outputs: list[Tensor] = []
        trace: dict[str, Tensor] = {}
        if ys is not None and known:
            xs = torch.cat([us[:known], torch.cat([last[None], ys[: known - 1]])], -1)
            zs, state, trace = unroll(self.cell, xs, state, edits=edits, record=record)
            outputs.append(self.readout(zs, xs))
            last = ys[known - 1]
        for t, u in enumerate(us[known:].unbind(0), known):
            x = torch.cat([u, last], -1)
            z, state, seen = unroll(self.cell, x[None], state, start=t, edits=edits, record=record)
            last = self.readout(z[0], x)
            outputs.append(last[None])
            trace = {name: torch.cat([trace[name], seen[name]]) if name in trace else seen[name] for name in seen}
        return Simulated(torch.cat(outputs), state, trace)


def state_width(cell: Cell) -> int:
    """Numbers in the state of one row (a complex one counts two).

    >>> from rnn.linear import MovingAverage
    >>> state_width(MovingAverage(3, decay=0.5))
    3
    """
    return pack(cell.initial_state(1)).shape[-1]


def pack(state: Any) -> Tensor:
    """A state as one real tensor [..., B, S]."""
    leaves: list[Tensor] = []
    map_state(lambda leaf: leaves.append(leaf) or leaf, state)  # type: ignore[func-returns-value]
    flat = [(torch.view_as_real(leaf) if leaf.is_complex() else leaf) for leaf in leaves]
    return torch.cat([leaf.reshape(leaf.shape[0], -1) for leaf in flat], -1)


def unpack(cell: Cell, packed: Tensor) -> Any:
    """The state that `pack` made [..., B, S]; leading dimensions before the batch are kept."""
    position = 0

    def take(leaf: Tensor) -> Tensor:
        nonlocal position
        width = leaf[0].numel() * (2 if leaf.is_complex() else 1)
        part = packed[..., position : position + width]
        position += width
        if leaf.is_complex():
            pairs = part.reshape(*packed.shape[:-1], *leaf.shape[1:], 2).contiguous()
            return torch.view_as_complex(pairs)
        part = part.reshape(*packed.shape[:-1], *leaf.shape[1:])
        return part if leaf.is_floating_point() else part.round().to(leaf.dtype)

    return map_state(take, cell.initial_state(1))


def stack(model: nn.Module, thetas: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Parameter copies [P, K] by name, vectors as [P, 1, n] and matrices as [P, m, n], ready to broadcast."""
    parameters = dict(model.named_parameters())
    split = thetas.split([parameters[name].numel() for name in names], 1)
    shaped = {}
    for name, part in zip(names, split, strict=True):
        shape = parameters[name].shape
        shaped[name] = part.reshape(len(thetas), *((1, *shape) if len(shape) < 2 else shape))
    return shaped


def run_copies(model: Model, names: Sequence[str], thetas: Tensor, us: Tensor, states: Tensor) -> Tensor:
    """Outputs [T, P, B, O] of P copies of a model that differ in the parameters `names` and in their initial states.

    A cell that `stacks` runs all copies in one batch by broadcasting; any other is mapped by `torch.func.vmap`.

    Args:
        model: the model; parameters not in `names` are the same in every copy.
        names: names of the parameters that differ.
        thetas: their values, flattened in that order [P, K].
        us: inputs [T, B, I].
        states: packed initial states of every copy [P, B, S].
    """
    if getattr(model.cell, "stacks", False) and not model.feedback:
        state = unpack(model.cell, states)
        if not names:
            us_ = us.unsqueeze(1).expand(-1, len(states), -1, -1)
            return model(us_, state).outputs
        return functional_call(model, stack(model, thetas, names), (us.unsqueeze(1), state)).outputs
    shapes = [dict(model.named_parameters())[name].shape for name in names]

    def one(theta: Tensor, packed: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes])
        values = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional_call(model, values, (us, unpack(model.cell, packed)), {"path": "loop"}).outputs

    return vmap(one, out_dims=1)(thetas, states)
