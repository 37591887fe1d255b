"""Exploration by muscle synergies: one noise bends the whole trunk, where 48 noises of their own would cancel."""

from __future__ import annotations

import math
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from agents.heads import DiagonalGaussian, StateNoiseHead
from sim.anatomy import MUSCLE_NAMES

__all__ = ["RotatedGaussian", "SynergyHead", "moving", "synergies"]

SPINE = 8


def synergies() -> Tensor:
    r"""48 orthonormal patterns of the newt's muscles, the columns of S [48, 48]; its mirror turns each into +-itself.

    The spine's 16: :math:`c_k(i) \otimes (1, \pm 1) / \sqrt 2`, with c_k the cosine waves along the joints
    (:math:`k = 0 \dots 7` half waves), minus for bending, plus for stiffness. The limbs' 32: each of the four joints,
    fore and hind alike or opposed, left and right alike or opposed, antagonists opposed (moving) or alike (stiffness).

    >>> S = synergies()
    >>> bool(torch.allclose(S.T @ S, torch.eye(48), atol=1e-6)), S[:16, 0].mul(4).round().int().tolist()[:4]
    (True, [1, -1, 1, -1])
    """
    k, i = torch.arange(SPINE).double()[None], torch.arange(SPINE).double()[:, None]
    waves = torch.cos(math.pi * k * (i + 0.5) / SPINE) * torch.where(k > 0, math.sqrt(2 / SPINE), math.sqrt(1 / SPINE))
    pair = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / math.sqrt(2)  # opposed, alike
    spine = torch.stack([torch.kron(waves, pair[:, [column]]) for column in (0, 1)], 2).permute(0, 2, 1).flatten(1)
    limbs = torch.kron(pair, torch.kron(pair, torch.kron(torch.eye(4, dtype=torch.float64), pair)))
    return torch.block_diag(spine, limbs).float()


def moving(waves: int = 3, limbs: bool = True) -> Tensor:
    """Which of the 48 synergies [48] a reflex may use: those that bend the spine in its longest waves and those that
    move the limbs, not short waves and stiffness.

    >>> int(moving().sum()), int(moving(limbs=False).sum())
    (19, 3)
    """
    chosen = torch.zeros(len(MUSCLE_NAMES), dtype=torch.bool)
    chosen[:waves] = True
    chosen[2 * SPINE :: 2] = limbs
    return chosen


class RotatedGaussian(DiagonalGaussian):
    """A normal density whose independent directions are the columns of an orthonormal S [A, A].

    Args:
        mean: [..., A].
        std: of the directions [..., A].
        axes: S.
    """

    def __init__(self, mean: Tensor, std: Tensor, axes: Tensor):
        super().__init__(mean, std)
        self.axes = axes

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + (self.std * torch.empty_like(self.mean).normal_(generator=generator)) @ self.axes.T

    def log_prob(self, action: Tensor) -> Tensor:
        return DiagonalGaussian(torch.zeros_like(self.std), self.std).log_prob((action - self.mean) @ self.axes)


class SynergyHead(StateNoiseHead):
    r"""A `StateNoiseHead` on the newt's muscles whose weights and noise are of synergies.

    .. math::
        a = S (W z + b) + S E^\top z, \qquad E_{ij} \sim N(0, \sigma_{ij}^2)

    with S of `synergies`; `linear` holds W [synergy, latent] and b, and `log_std` is [latent, synergy].

    >>> head = SynergyHead(3, spaces.Box(-1.0, 1.0, (48,)))
    >>> head(torch.ones(2, 3)).log_prob(torch.zeros(2, 48)).shape
    torch.Size([2])
    """

    def __init__(self, latent: int, space: spaces.Box, *, log_std: float = -0.5):
        super().__init__(latent, space, log_std=log_std)
        if self.width != len(MUSCLE_NAMES):
            raise ValueError(f"the synergies are of {len(MUSCLE_NAMES)} muscles, received {space}")
        self.register_buffer("axes", synergies())
        self.axes: Tensor

    def forward(self, z: Tensor) -> RotatedGaussian:
        own = super().forward(z)
        return RotatedGaussian(own.mean @ self.axes.T, own.std, self.axes)

    def draw(self, dist: Any, z: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return dist.mean + torch.einsum("bi,bij->bj", z, noise * self.log_std.exp()) @ self.axes.T
