"""The nonlinear forces of an oscillator as kicks of its velocity: springs, friction and couplings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnn.cell import Tap, no_tap

if TYPE_CHECKING:
    from rnn.oscillator import OscillatorCell

__all__ = ["friction", "kicker", "spring"]


def kicker(cell: OscillatorCell, angle: Tensor, tap: Tap = no_tap) -> Callable[[Tensor, Tensor], Tensor]:
    """The nonlinear forces acting over `angle` = omega h at rest: `(q, p) -> p`.

    p' = -(S + D p), with S and D of q alone, by the midpoint rule, solved: p - angle (S + D p) / (1 + angle D / 2).
    """
    if cell.spring == "linear" and not cell.has_friction and not cell.coupled:
        return lambda q, p: p

    def kick(q: Tensor, p: Tensor) -> Tensor:
        e = q @ cell.E.mT if cell.coupled else q
        force = spring(cell, e)
        force = force + friction(cell, e) * p if cell.has_friction else force
        if cell.coupled:
            force = force @ cell.E + q @ cell.K.mT
        force = angle * tap("force", force)
        if cell.has_friction and not cell.coupled:
            force = force / (1 + 0.5 * angle * friction(cell, e))
        return p - force

    def cubic(q: Tensor, p: Tensor) -> Tensor:
        """The same for uncoupled cubic springs with friction, in seven operations."""
        slowing = torch.addcmul(d1, d2, q) * q
        force = torch.addcmul(torch.addcmul(k2, k3, q) * (q * q), slowing, p)
        return p - force / torch.add(inverse, slowing, alpha=0.5)

    if cell.spring == "cubic" and cell.has_friction and not cell.coupled and tap is no_tap:
        k2, k3, d1, d2, inverse = cell.k2, cell.k3, cell.d1, cell.d2, 1 / angle
        return cubic
    return kick


def spring(cell: OscillatorCell, q: Tensor) -> Tensor:
    """The spring's deviation from a straight line, s(q)."""
    if cell.spring == "cubic":
        return (cell.k2 + cell.k3 * q) * q * q
    if cell.spring == "learned":
        units = torch.tanh(q.unsqueeze(-1) * cell.spring_in.unsqueeze(-3) + cell.spring_bias.unsqueeze(-3))
        return (units * cell.spring_out.unsqueeze(-3)).sum(-1)
    return torch.zeros_like(q)


def friction(cell: OscillatorCell, q: Tensor) -> Tensor:
    """The friction f(q) beside the damping."""
    return (cell.d1 + cell.d2 * q) * q
