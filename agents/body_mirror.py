"""The animal in a mirror: which sense, muscle, oscillator and connection takes the place of which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.cpg_policy import CpgActor
from agents.spinal_actor import SpinalActor
from agents.synergies import SynergyHead, synergies
from rnn.cpg import PhaseCell
from sim.anatomy import MUSCLE_NAMES

__all__ = ["Reflection", "generator_mirror", "muscle_mirror", "sense_mirror", "tie_sides"]

_ODD = ("velocity.left", "yaw_rate", "up.y", "heading.sin", "target.sin", "left", "turn")


class Reflection(NamedTuple):
    """The image of numbers x is `sign * x[order]`; the image of the image is x.

    >>> Reflection(torch.tensor([1, 0, 2]), torch.tensor([1.0, 1.0, -1.0])).of(torch.tensor([3.0, 4.0, 5.0])).tolist()
    [4.0, 3.0, -5.0]
    """

    order: Tensor
    sign: Tensor

    def of(self, x: Tensor, dim: int = -1) -> Tensor:
        shape = [-1 if k == dim % x.dim() else 1 for k in range(x.dim())]
        return x.index_select(dim, self.order) * self.sign.to(x.dtype).reshape(shape)

    def __add__(self, other: Reflection) -> Reflection:  # type: ignore[override]
        """Of the numbers of both, one after the other."""
        return Reflection(torch.cat([self.order, other.order + len(self.order)]), torch.cat([self.sign, other.sign]))


def sense_mirror(names: Sequence[str]) -> Reflection:
    """Of observations by name (`SalamanderVectorEnv.observation_names`, `agents.drive_world.READINGS`): bends, sideways
    speed and turns change sign, limbs change places. Limb angles do not change sign, since on both sides they count
    forwards, up and in."""
    odd = [name in _ODD or ".axis." in name for name in names]
    order = [names.index(name if odd[k] else _across(name)) for k, name in enumerate(names)]
    return Reflection(torch.tensor(order), 1.0 - 2.0 * torch.tensor(odd))


def muscle_mirror() -> Reflection:
    """Of the 48 activations: the spine's left and right change places, and the limbs'."""
    return _even([MUSCLE_NAMES.index(_across(name)) for name in MUSCLE_NAMES])


def synergy_mirror() -> Reflection:
    """Of the 48 `agents.synergies`, each of which is its own image, or that turned round."""
    patterns = synergies()
    return Reflection(torch.arange(48), (patterns * muscle_mirror().of(patterns, 0)).sum(0).round())


def generator_mirror(cell: PhaseCell) -> dict[str, Reflection]:
    """Of a phase network's "unit" [N], "edge" [E], "input" [I] and "output" [O]."""
    S, limbs = cell.segments, len(cell.limbs)
    swap = [cell.limbs.index(_across(name)) for name in cell.limbs]
    unit = [*range(S, 2 * S), *range(S), *(2 * S + k for k in swap)]
    edges = list(zip(cell.couplings.sender, cell.couplings.receiver, strict=True))
    edge = [edges.index((unit[a], unit[b])) for a, b in edges]
    first = 4 + limbs
    drives = [2, 3, 0, 1, *(4 + k for k in swap)]
    stretch = [*range(first + S, first + 2 * S), *range(first, first + S)]
    output = [*unit, *(2 * S + limbs + k for k in swap)]
    return {"unit": _even(unit), "edge": _even(edge), "input": _even(drives + stretch), "output": _even(output)}


def tie_sides(actor: CpgActor, head: nn.Module, senses: Reflection) -> None:
    r"""Make learning the same on both sides, for an actor `a = W [y, x] + b` on the 48 muscles that is so at the start.

    Every gradient is replaced by the mean of itself and its mirror image, :math:`(G + M_a G M_z) / 2` for W, so that a
    step of any method that treats all weights alike keeps the policy of the mirrored animal the mirrored policy.
    """
    cpg, muscles = actor.cpg, muscle_mirror()
    assert isinstance(cpg, PhaseCell)
    parts = generator_mirror(cpg)
    latent = muscles + senses + _even([0]) if isinstance(actor, SpinalActor) else parts["output"] + senses
    rows = synergy_mirror() if isinstance(head, SynergyHead) else muscles
    pairs: list[tuple[Tensor, Reflection, Reflection | None]] = [
        (head.linear.weight, rows, latent),  # type: ignore[union-attr, list-item]
        (head.linear.bias, rows, None),  # type: ignore[union-attr, list-item]
        (actor.sense.weight, parts["input"], senses),
        (actor.base, parts["input"], None),
        *((getattr(cpg, name), parts["unit"], None) for name in ("nu0", "nu1", "r0", "r1")),
        *((getattr(cpg, name), parts["edge"], None) for name in ("coupling", "bias")),
    ]
    noise = head.log_std
    assert isinstance(noise, nn.Parameter)
    if isinstance(head, SynergyHead):  # each synergy is its own image
        pairs.append((noise, _even(latent.order.tolist()), None))
    elif noise.dim() == 2:
        pairs.append((noise, _even(latent.order.tolist()), muscles))
    else:
        pairs.append((noise, muscles, None))
    for parameter, rows, columns in pairs:
        parameter.register_hook(lambda g, rows=rows, columns=columns: 0.5 * (g + _image(g, rows, columns)))


def _image(g: Tensor, rows: Reflection, columns: Reflection | None) -> Tensor:
    g = rows.of(g, 0)
    return g if columns is None else columns.of(g, 1)


def _even(order: list[int]) -> Reflection:
    return Reflection(torch.tensor(order), torch.ones(len(order)))


def _across(name: str) -> str:
    """The name of the same thing on the other side."""
    parts = name.split(".")
    return ".".join({"left": "right", "right": "left"}.get(part, part) for part in parts)
