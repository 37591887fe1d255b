"""A cell that hears what is and its image in a mirror, and readouts that make of both one answer that has two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, map_state, no_tap, scoped

__all__ = ["Image", "MirroredCell", "MirroredLayers", "MirroredReadout", "MirroredState"]


class Image(nn.Module):
    r"""What a mirror makes of numbers, :math:`\sigma \odot x_\pi`, [..., N].

    Args:
        size: N.
        signs: sigma, 1 or -1 each; None for 1.
        order: pi, which number takes the place of each; None for itself.

    Raises:
        ValueError: signs or an order of another size, or whose image of the image is not the number itself.

    >>> Image(3, (-1.0, 1.0, 1.0), (0, 2, 1))(torch.tensor([3.0, 4.0, 5.0])).tolist()
    [-3.0, 5.0, 4.0]
    """

    signs: Tensor
    order: Tensor

    def __init__(self, size: int, signs: Sequence[float] | None = None, order: Sequence[int] | None = None):
        super().__init__()
        signs, order = signs or (1.0,) * size, order or tuple(range(size))
        own = sorted(order) == list(range(size)) and [order[k] for k in order] == list(range(size))
        if not own or len(signs) != size or {abs(s) for s in signs} != {1.0} or [signs[k] for k in order] != [*signs]:
            raise ValueError(
                f"a mirror takes a sign of 1 or -1 for each of {size} numbers and an order, and the image of the image "
                f"is the number itself; received {tuple(signs)} and {tuple(order)}"
            )
        self.moves = tuple(order) != tuple(range(size))
        self.register_buffer("signs", torch.tensor(signs, dtype=torch.float32), persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x.index_select(-1, self.order) if self.moves else x) * self.signs


class MirroredState(NamedTuple):
    """States of the inner cell: of what is, and of its image."""

    here: Any
    image: Any


class MirroredCell(Cell):
    r"""One cell with two states, of which the second hears the image of the input.

    .. math::
        (y^{here}, s^{here}) = f(x, s^{here}), \qquad
        (y^{image}, s^{image}) = f(\sigma \odot x_\pi, s^{image}), \qquad y = [y^{here}, y^{image}]

    The weights are shared. If the input turns into its image, the two halves of output and state change places and
    nothing else happens, at any time; so what `MirroredReadout` reads turns into its image too, with whatever weights.
    A system that is the same on both sides (a pendulum, a cart, a spine) is then learned once, not twice. The cost is
    that of twice the batch. Units are addressed as `here.h[3]` and `image.h[3]`.

    See also: "MDP Homomorphic Networks: Group Symmetries in Reinforcement Learning" (van der Pol et al., 2020).

    Args:
        cell: f.
        signs: sigma, 1 or -1 for every input, [I]; None for 1.
        order: pi, which input takes the place of each in the mirror, [I]; None for itself.

    Raises:
        ValueError: signs or an order that are not of the inputs, or whose image of the image is not the input itself.

    >>> from rnn.gru import GRUCell
    >>> cell, x = MirroredCell(GRUCell(2, 4), (1.0, -1.0)), torch.randn(3, 2)
    >>> y, state = cell(x, cell.initial_state(3))
    >>> z, image = cell(cell.image(x), cell.initial_state(3))
    >>> torch.equal(y[:, :4], z[:, 4:]), torch.equal(state.image.h, image.here.h)
    (True, True)
    """

    def __init__(self, cell: Cell, signs: Sequence[float] | None = None, order: Sequence[int] | None = None):
        super().__init__()
        self.cell, self.image = cell, Image(cell.input_size, signs, order)
        self.input_size, self.output_size = cell.input_size, 2 * cell.output_size
        self.activity = f"here.{cell.activity}"
        self.silenced = f"here.{cell.silenced}" if cell.silenced else None

    def initial_state(self, batch: int) -> MirroredState:
        return MirroredState(self.cell.initial_state(batch), self.cell.initial_state(batch))

    def forward(self, x: Tensor, state: MirroredState, tap: Tap = no_tap) -> tuple[Tensor, MirroredState]:
        x = tap("input", x)
        if tap is no_tap:
            ys, after = self.cell(self.sides(x), self.joined(state))
            return self.parted(ys), self.split(after)
        y, here = self.cell(x, state.here, scoped(tap, "here"))
        z, image = self.cell(self.image(x), state.image, scoped(tap, "image"))
        return torch.cat([y, z], -1), MirroredState(here, image)

    def sides(self, x: Tensor) -> Tensor:
        """Inputs [..., B, I] and their images, [..., 2 B, I]."""
        return torch.cat([x, self.image(x)], -2)

    def parted(self, ys: Tensor) -> Tensor:
        """Outputs [..., 2 B, O] of the inner cell as those of this one, [..., B, 2 O]."""
        return torch.cat(ys.chunk(2, -2), -1)

    def joined(self, state: MirroredState) -> Any:
        """Both states as one of the inner cell, of twice the batch."""
        return map_state(lambda a, b: torch.cat([a, b]), state.here, state.image)

    def split(self, state: Any) -> MirroredState:
        """The other way round."""
        return MirroredState(*(map_state(lambda part, k=k: part.chunk(2)[k], state) for k in (0, 1)))

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        inner = self.cell.groups()
        table: dict[str, Mapping[str, Sequence[int]]] = {
            f"{side}.{quantity}": {f"{side}.{name}": index for name, index in groups.items()}
            for side in ("here", "image")
            for quantity, groups in inner.items()
        }
        return {**table, **({"input": inner["input"]} if "input" in inner else {})}


class MirroredLayers(nn.Module):
    """The same layers on both halves of what a `MirroredCell` gives, [..., 2 O] to [..., 2 Z].

    >>> MirroredLayers(nn.Linear(4, 3))(torch.zeros(5, 8)).shape
    torch.Size([5, 6])
    """

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.layers = layers

    def forward(self, y: Tensor) -> Tensor:
        here, image = y.chunk(2, -1)
        return torch.cat([self.layers(here), self.layers(image)], -1)


class MirroredReadout(nn.Module):
    r"""A linear answer that turns into its image when the two halves of the input change places.

    .. math:: a = \tfrac12 \big( W z^{here} + b + \sigma \odot (W z^{image} + b)_{\pi} \big)

    Args:
        linear: W and b, of one half.
        signs: sigma, 1 or -1 for every answer; None for 1.
        order: pi, which answer takes the place of each in the mirror; None for itself.

    Raises:
        ValueError: signs or an order that are not of the answers, or whose image of the image is not the answer itself.

    >>> readout, z = MirroredReadout(nn.Linear(4, 1), signs=(-1.0,)), torch.randn(5, 4)
    >>> bool((readout(torch.cat([z, z], -1)) == 0).all())  # what is its own image pushes to neither side
    True
    """

    def __init__(self, linear: nn.Linear, *, signs: Sequence[float] | None = None, order: Sequence[int] | None = None):
        super().__init__()
        self.linear, self.image = linear, Image(linear.out_features, signs, order)

    def forward(self, z: Tensor) -> Tensor:
        here, image = z.chunk(2, -1)
        return 0.5 * (self.linear(here) + self.image(self.linear(image)))
