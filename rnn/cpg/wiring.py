"""Who is where in a salamander's pattern generator: segments, sides, limbs, girdles, inputs, outputs, couplings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnn.cell import Cell

__all__ = ["LIMBS", "Couplings", "CpgCell", "Layout", "drive_input"]

LIMBS = ("fore.left", "fore.right", "hind.left", "hind.right")
SIDES = ("left", "right")


@dataclass(frozen=True)
class Layout:
    """Places and names of segments and limbs, shared by all pattern generators.

    Segment 0 is the most rostral. The first half of the segments belongs to the fore girdle, the rest to the hind
    girdle. Inputs are, in this order: `drive.left` (2: fore girdle, hind girdle), `drive.right` (2), `drive.limb`
    (one offset per limb, added to the drive its centre receives), `stretch.left` (S) and `stretch.right` (S).
    Outputs are the body activities, left then right (2 S), then cosines and sines of the limbs' rhythms (L and L).

    Raises:
        ValueError: no segment, or a limb not called `fore|hind.left|right`.
    """

    segments: int
    limbs: tuple[str, ...] = LIMBS

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"a body needs at least 1 segment, received {self.segments}")
        wrong = [limb for limb in self.limbs if limb not in LIMBS]
        if wrong or len(set(self.limbs)) != len(self.limbs):
            raise ValueError(f"limbs must be different names out of {LIMBS}, received {self.limbs}")

    @property
    def num_limbs(self) -> int:
        return len(self.limbs)

    @property
    def input_size(self) -> int:
        return 4 + self.num_limbs + 2 * self.segments

    @property
    def output_size(self) -> int:
        return 2 * self.segments + 2 * self.num_limbs

    def girdle(self, segment: int) -> int:
        """0 if the segment belongs to the fore girdle, 1 to the hind girdle."""
        return int(segment >= self.segments // 2)

    def limb_girdle(self, limb: int) -> int:
        return int(self.limbs[limb].startswith("hind"))

    def limb_side(self, limb: int) -> int:
        return int(self.limbs[limb].endswith("right"))

    def input_groups(self) -> dict[str, tuple[int, ...]]:
        """Names of the inputs."""
        first, S = 4 + self.num_limbs, self.segments
        return {
            "drive.left": (0, 1),
            "drive.right": (2, 3),
            "drive.limb": tuple(range(4, first)),
            "stretch.left": tuple(range(first, first + S)),
            "stretch.right": tuple(range(first + S, first + 2 * S)),
        }

    def output_index(self) -> dict[str, tuple[int, ...]]:
        """Names of the outputs: `body.left`, `body.right`, and (cosine, sine) of each `limb.*`."""
        S, L = self.segments, self.num_limbs
        index = {"body.left": tuple(range(S)), "body.right": tuple(range(S, 2 * S))}
        index |= {f"limb.{name}": (2 * S + k, 2 * S + L + k) for k, name in enumerate(self.limbs)}
        return index

    def drive_weights(self, mean: bool) -> Tensor:
        """Matrix from the drives and limb offsets [4 + L] to the 2 S + L places (body left, right, limbs).

        With `mean` each place receives the mean of both sides of its girdle instead of its own side's drive.
        """
        S, L = self.segments, self.num_limbs
        weights = torch.zeros(4 + L, 2 * S + L)
        places = [(side, self.girdle(i)) for side in (0, 1) for i in range(S)]
        places += [(self.limb_side(k), self.limb_girdle(k)) for k in range(L)]
        for place, (side, girdle) in enumerate(places):
            if mean:
                weights[girdle, place] = weights[2 + girdle, place] = 0.5
            else:
                weights[2 * side + girdle, place] = 1.0
        for k in range(L):
            weights[4 + k, 2 * S + k] = 1.0
        return weights


@dataclass
class Couplings:
    """A list of connections, sender to receiver, with named groups; one entry per connection.

    >>> table = Couplings(); table.add(1, 0, 10.0, 0.5, "body", "body.ascending"); table.groups("coupling")
    {'coupling.body': (0,), 'coupling.body.ascending': (0,)}
    """

    receiver: list[int] = field(default_factory=list)
    sender: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    members: dict[str, list[int]] = field(default_factory=dict)

    def add(self, sender: int, receiver: int, weight: float, bias: float, *groups: str) -> None:
        """Connect `sender` to `receiver` and enter the connection into the groups."""
        for group in groups:
            self.members.setdefault(group, []).append(len(self.weight))
        self.sender.append(sender)
        self.receiver.append(receiver)
        self.weight.append(weight)
        self.bias.append(bias)

    def groups(self, quantity: str) -> dict[str, tuple[int, ...]]:
        """Indices of the connections in each group, named `quantity.group`."""
        return {f"{quantity}.{name}": tuple(index) for name, index in self.members.items()}


class CpgCell(Cell):
    """What all pattern generators of this package share: a layout, its input and output names.

    Attributes:
        layout: places and names.
        dt: duration of one step, s.
        body_slice: the outputs of the body, left then right.
        limb_slice: the outputs of the limbs, cosines then sines.
        reference_amplitude: output half-amplitude of the body at drive 4, to which a motor layer can normalise.
    """

    reference_amplitude: float = 0.456

    def __init__(self, segments: int, limbs: Sequence[str], *, dt: float, substeps: int):
        super().__init__()
        if dt <= 0 or substeps < 1:
            raise ValueError(f"dt must be positive and substeps at least 1, received dt={dt}, substeps={substeps}")
        self.layout = Layout(segments, tuple(limbs))
        self.segments, self.limbs, self.dt, self.substeps = segments, tuple(limbs), dt, substeps
        self.input_size, self.output_size = self.layout.input_size, self.layout.output_size
        self.body_slice = slice(0, 2 * segments)
        self.limb_slice = slice(2 * segments, self.output_size)

    def stretch(self, x: Tensor) -> Tensor:
        """The feedback inputs, left then right [B, 2 S]."""
        return x[:, 4 + len(self.limbs) :]


def drive_input(cell: Cell, left: Any, right: Any = None, limb: Any = 0.0, batch: int | Sequence[int] = 1) -> Tensor:
    """Input of a pattern generator for given drives, without feedback, [B, I].

    Args:
        cell: a pattern generator.
        left: drive of the left side: one number, one per row [B], or (fore girdle, hind girdle) per row [B, 2] (use
            [1, 2] for the same in every row; further leading dimensions are time).
        right: drive of the right side, likewise; None for the same as the left.
        limb: offset of the limb centres' drive: one number, one per row [B], or one per row and limb [B, L]; +4
            silences all limbs.
        batch: number of rows, or a shape such as (T, B).

    >>> from rnn.cpg import PhaseCell
    >>> drive_input(PhaseCell(segments=2), 4.0, limb=-1.0)
    tensor([[ 4.,  4.,  4.,  4., -1., -1., -1., -1.,  0.,  0.,  0.,  0.]])
    """
    groups: Mapping[str, Sequence[int]] = cell.groups()["input"]
    leading = (batch,) if isinstance(batch, int) else tuple(batch)
    zeros = cell.zeros(1)
    parts = {"drive.left": left, "drive.right": left if right is None else right, "drive.limb": limb}
    values = {name: torch.as_tensor(part).to(zeros) for name, part in parts.items()}
    values = {name: value.unsqueeze(-1) if value.dim() == 1 else value for name, value in values.items()}
    shape = torch.broadcast_shapes(leading, *(value.shape[:-1] for value in values.values()))
    x = zeros.new_zeros(*shape, cell.input_size)
    for name, value in values.items():
        x[..., list(groups[name])] = value.expand(*shape, len(groups[name]))
    return x
