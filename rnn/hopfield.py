"""Memories by energy: the binary Hopfield network, and the modern continuous one, which is attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.attention import attend

__all__ = ["BinaryHopfield", "ModernHopfield", "Recall", "crosstalk_errors", "damaged"]


class Recall(NamedTuple):
    """States [B, N], and energies after every sweep [sweeps + 1, B]."""

    states: Tensor
    energies: Tensor


class BinaryHopfield(nn.Module):
    r"""Units of +1 and -1 that pull each other into stored patterns.

    .. math::
        W = \frac1N \sum_\mu x^\mu {x^\mu}^\top \text{ with zero diagonal}, \qquad
        \xi_i \leftarrow \mathrm{sgn}\Big(\sum_j W_{ij} \xi_j - b_i\Big), \qquad
        E = -\tfrac12 \xi^\top W \xi + b^\top \xi

    Units are updated one after the other; each update lowers the energy or leaves it (at a sum of exactly b a unit
    keeps its value), so recall ends. Up to about 0.138 N random patterns are recalled with few errors, N / (2 ln N)
    without.

    References:
        Neural networks and physical systems with emergent collective computational abilities (Hopfield, 1982);
        Storing Infinite Numbers of Patterns in a Spin-Glass Model of Neural Networks (Amit, Gutfreund & Sompolinsky,
        1985).

    Args:
        patterns: what is stored, +1 and -1, [P, N].
        bias: b [N]; None for 0.

    >>> memory = BinaryHopfield(torch.tensor([[1.0, 1, 1, -1, -1, -1]]))
    >>> memory.recall(torch.tensor([[1.0, -1, 1, -1, -1, -1]])).states.tolist()
    [[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]]
    """

    W: Tensor
    b: Tensor

    def __init__(self, patterns: Tensor, *, bias: Tensor | None = None):
        super().__init__()
        if patterns.dim() != 2 or not bool((patterns.abs() == 1).all()):
            raise ValueError("patterns must be +1 and -1, shape [P, N]; for bits use 2 * bits - 1")
        W = patterns.T @ patterns / patterns.shape[1]
        self.register_buffer("W", W - torch.diag(torch.diagonal(W)))
        self.register_buffer("b", torch.zeros_like(W[0]) if bias is None else bias.to(W))

    def energy(self, states: Tensor) -> Tensor:
        """E of states [B, N], [B]."""
        return -0.5 * ((states @ self.W) * states).sum(-1) + states @ self.b

    @torch.no_grad()
    def recall(self, states: Tensor, *, sweeps: int = 20, synchronous: bool = False, seed: int = 0) -> Recall:
        """Let states [B, N] fall to rest.

        Args:
            states: where to begin.
            sweeps: at most so many updates of every unit; ends earlier when nothing changes.
            synchronous: all units at once, which may end in a cycle of two and whose energy may rise.
            seed: of the random order of the units, the same for all rows.
        """
        generator = torch.Generator().manual_seed(seed)
        states = states.clone()
        energies = [self.energy(states)]
        for _ in range(sweeps):
            before = states.clone()
            if synchronous:
                states = _sign(states @ self.W - self.b, states)
            else:
                for i in torch.randperm(states.shape[1], generator=generator).tolist():
                    states[:, i] = _sign(states @ self.W[:, i] - self.b[i], states[:, i])
            energies.append(self.energy(states))
            if torch.equal(states, before):
                break
        return Recall(states, torch.stack(energies))


def _sign(field: Tensor, old: Tensor) -> Tensor:
    return torch.where(field == 0, old, torch.sign(field))


def damaged(patterns: Tensor, fraction: float, seed: int = 0) -> Tensor:
    """Patterns with this fraction of their entries flipped, at random places that differ by row."""
    generator = torch.Generator().manual_seed(seed)
    flips = round(fraction * patterns.shape[1])
    places = torch.rand(patterns.shape, generator=generator).argsort(1)[:, :flips]
    return patterns.scatter(1, places, -patterns.gather(1, places))


def crosstalk_errors(units: int, loads: Tensor, *, sweeps: int = 20, seed: int = 0) -> Tensor:
    """Fraction of wrong units after recall from the intact random pattern, for P = load x N stored patterns, [n].

    It jumps near a load of 0.138 as the number of units grows.

    >>> errors = crosstalk_errors(200, torch.tensor([0.05, 0.3]))
    >>> bool(errors[0] < 0.01), bool(errors[1] > 0.1)
    (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for load in loads.tolist():
        number = max(1, round(load * units))
        patterns = torch.randint(2, (number, units), generator=generator).float() * 2 - 1
        probes = patterns[:50]
        rest = BinaryHopfield(patterns).recall(probes, sweeps=sweeps, seed=seed).states
        errors.append((rest != probes).float().mean())
    return torch.stack(errors)


class ModernHopfield(nn.Module):
    r"""Continuous states drawn to stored patterns by a softmax: one step of it is attention.

    .. math::
        \xi \leftarrow X \,\mathrm{softmax}(\beta X^\top \xi), \qquad
        E = -\tfrac1\beta \ln \sum_\mu e^{\beta x_\mu^\top \xi} + \tfrac12 \xi^\top \xi + \text{const}

    At large beta each pattern is a fixed point of its own and is reached in one step; at small beta neighbours merge
    into
    metastable states, averages of several patterns. With queries and keys projected it is the attention layer:
    `attend(queries, keys, values)` with patterns as keys and as values.

    References:
        Hopfield Networks is All You Need (Ramsauer et al., 2020).

    Args:
        patterns: what is stored, [P, N]; a parameter if `learned`.
        beta: inverse temperature.
        learned: let the patterns be trained.

    >>> X = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> ModernHopfield(X, beta=50.0)(torch.tensor([[0.9, 0.2, 0.1]])).round().tolist()
    [[1.0, 0.0, 0.0]]
    """

    patterns: Tensor

    def __init__(self, patterns: Tensor, *, beta: float = 8.0, learned: bool = False):
        super().__init__()
        if beta <= 0:
            raise ValueError(f"`beta` must be positive, received {beta}")
        if learned:
            self.patterns = nn.Parameter(patterns.clone())
        else:
            self.register_buffer("patterns", patterns.clone())
        self.beta = float(beta)

    def forward(self, states: Tensor, steps: int = 1) -> Tensor:
        """States [..., N] after `steps` updates."""
        for _ in range(steps):
            states = attend(states, self.patterns, self.patterns, beta=self.beta)
        return states

    def energy(self, states: Tensor) -> Tensor:
        """E of states [..., N], without the constant; no update raises it."""
        return -torch.logsumexp(self.beta * states @ self.patterns.T, -1) / self.beta + 0.5 * states.square().sum(-1)

    @torch.no_grad()
    def fixed_points(self, states: Tensor, *, steps: int = 500, tolerance: float = 1e-4) -> Tensor:
        """The different states where the given ones come to rest, [n, N]."""
        rest = self.forward(states, steps)
        found: list[Tensor] = []
        for state in rest:
            if all(float((state - other).norm()) > tolerance for other in found):
                found.append(state)
        return torch.stack(found)
