"""Learned forces: a small network of displacements, velocities and inputs that pushes oscillators."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LearnedForce"]


class LearnedForce(nn.Module):
    r"""What springs, friction and constant gains leave out, as one network shared by all oscillators:

        F(q, p, x) = V tanh(A [q; p] + G x + e).

    It covers inputs whose effect depends on where the system is (a pendulum on a pivot that is shaken), amplifiers
    that saturate, friction that jumps with the sign of the velocity, levels that drain by a square root. V begins at
    zero: a fitted model with a new force does what it did. So does e: the force begins as an odd function, equal to
    both sides as most mechanics are, and leaves that where the record asks for it.

    Args:
        oscillators: n. input_size: I.
        units: of the network, K.

    >>> force = LearnedForce(2, 1, 6)
    >>> force(torch.ones(3, 2), torch.ones(3, 2), force.felt(torch.ones(3, 1))).abs().max().item()
    0.0
    """

    def __init__(self, oscillators: int, input_size: int, units: int):
        super().__init__()
        n = oscillators
        self.A = nn.Parameter(torch.randn(units, 2 * n) / math.sqrt(2 * n))
        self.G = nn.Parameter(torch.randn(units, input_size) / math.sqrt(max(input_size, 1)))
        self.e = nn.Parameter(torch.zeros(units))
        self.V = nn.Parameter(torch.zeros(n, units))

    def felt(self, x: Tensor) -> Tensor:
        """The inputs' share `G x + e` [..., K], which does not depend on the motion."""
        return x @ self.G.mT + self.e

    def forward(self, q: Tensor, p: Tensor, felt: Tensor) -> Tensor:
        """F at displacements and velocities [..., n]."""
        return torch.tanh(torch.cat([q, p], -1) @ self.A.mT + felt) @ self.V.mT

    def before(self, q: Tensor, p: Tensor, angle: Tensor, felt: Tensor) -> Tensor:
        """The velocity after the force acted over `angle` at rest, by the explicit rule."""
        return p - angle * self(q, p, felt)

    def after(self, q: Tensor, p: Tensor, angle: Tensor, felt: Tensor) -> Tensor:
        """The same by the implicit rule, to the order that makes `before`, motion and `after` a second-order step."""
        return p - angle * self(q, self.before(q, p, angle, felt), felt)
