"""How far apart the dynamics of two networks are, whatever their units are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rnn.analysis.result import Result

__all__ = ["Distances", "Operator", "angular_distance", "compare_dynamics", "linear_operator", "spectral_distance"]


@dataclass(frozen=True, eq=False)
class Operator(Result):
    """A linear operator that carries delay-embedded activity one step on.

    Attributes:
        matrix: in the space of the leading components [r, r].
        explained: share of variance of the next step that it explains.
    """

    matrix: Tensor
    explained: float

    @property
    def eigenvalues(self) -> Tensor:
        """Complex [r], largest modulus first."""
        values = torch.linalg.eigvals(self.matrix)
        return values[values.abs().argsort(descending=True)]

    def draw(self, axes: Axes) -> None:
        angle = torch.linspace(0, 2 * math.pi, 200)
        values = self.eigenvalues
        axes.plot(angle.cos(), angle.sin(), color="grey", lw=0.8)
        axes.plot(values.real, values.imag, "o", ms=4)
        axes.set(aspect="equal", title=f"operator, explains {100 * self.explained:.1f} %")


@dataclass(frozen=True, eq=False)
class Distances(Result):
    """Distances between the dynamics of several networks.

    Attributes:
        matrix: [n, n]. names: [n].
    """

    matrix: Tensor
    names: tuple[str, ...]

    def draw(self, axes: Axes) -> None:
        image = axes.imshow(self.matrix.numpy(), cmap="magma")
        axes.figure.colorbar(image, ax=axes, label="distance")
        axes.set_xticks(range(len(self.names)), self.names, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(self.names)), self.names, fontsize=7)


def linear_operator(activity: Tensor, *, delays: int = 10, rank: int = 8, ridge: float = 1e-6) -> Operator:
    """Delay-embed an activity, keep the leading components (whitened), and fit the operator of one step.

    Source: "Chaos as an intermittently forced linear system" (Brunton, Brunton, Proctor, Kaiser & Kutz, 2017).

    Args:
        activity: settled course [T, n] or several [T, B, n].
        delays: number of delayed copies.
        rank: r, components kept.
        ridge: relative to the mean variance.
    """
    three = (activity if activity.dim() == 3 else activity.unsqueeze(1)).detach().double()
    three = three - three.mean((0, 1))
    steps = three.shape[0] - delays + 1
    if steps < 2 * delays:
        raise ValueError(f"{three.shape[0]} steps are too few for {delays} delays; pass at least {3 * delays}")
    embedded = torch.cat([three[k : k + steps] for k in range(delays)], -1)  # [steps, B, delays n]
    flat = embedded.flatten(0, 1)
    _, singular, right = torch.linalg.svd(flat, full_matrices=False)
    kept = min(rank, int((singular > 1e-7 * singular[0]).sum()))
    whiten = right[:kept].T / singular[:kept] * math.sqrt(len(flat))
    before, after = (embedded[:-1] @ whiten).flatten(0, 1), (embedded[1:] @ whiten).flatten(0, 1)
    gram = before.T @ before
    solved = torch.linalg.solve(gram + ridge * gram.trace() / kept * torch.eye(kept).double(), before.T @ after)
    left = (after - before @ solved).square().sum()
    return Operator(solved.T, float(1 - left / after.square().sum()))


def spectral_distance(a: Operator, b: Operator) -> float:
    """Mean distance of the eigenvalues under the best pairing (missing ones count as 0)."""
    n = max(len(a.matrix), len(b.matrix))
    pads = [torch.nn.functional.pad(o.eigenvalues, (0, n - len(o.matrix))) for o in (a, b)]
    cost = (pads[0][:, None] - pads[1][None]).abs()
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[rows, columns].mean())


def angular_distance(a: Operator, b: Operator, *, steps: int = 300, restarts: int = 8, seed: int = 0) -> float:
    r"""The least angle between A and C B C^T over all orthogonal C, in radians, 0 to pi.

    .. math:: d = \min_{C \in O(r)} \arccos \frac{\langle A, C B C^T \rangle}{\|A\| \|B\|}

    C = expm(skew) times a start, of both determinants; the starts align the real Schur forms or are random.

    Source: "Beyond geometry: comparing the temporal structure of computation in neural circuits with dynamical
    similarity analysis" (Ostrow, Eisen, Kozachkov & Fiete, 2023).

    Args:
        a: one operator. b: the other.
        steps: of Adam.
        restarts: starts side by side.
        seed: of the random ones.
    """
    n = max(len(a.matrix), len(b.matrix))
    A, B = (torch.nn.functional.pad(o.matrix, (0, n - len(o.matrix), 0, n - len(o.matrix))) for o in (a, b))
    A, B = A / A.norm(), B / B.norm()
    generator = torch.Generator().manual_seed(seed)
    starts = torch.linalg.qr(torch.randn(restarts, n, n, generator=generator, dtype=torch.float64))[0]
    starts[0], starts[1] = torch.eye(n), _schur_basis(A) @ _schur_basis(B).T
    signs = torch.linalg.det(starts).sign()
    wanted = torch.where(torch.arange(restarts) % 2 == 0, 1.0, -1.0).double()
    starts[2:, :, 0] *= (signs * wanted)[2:, None]
    skew = torch.zeros(restarts, n, n, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([skew], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-4)
    best = -1.0
    for _ in range(steps):
        C = torch.linalg.matrix_exp(skew - skew.mT) @ starts
        cosine = (A * (C @ B @ C.mT)).sum((1, 2))
        best = max(best, float(cosine.detach().max()))
        optimiser.zero_grad()
        (-cosine.sum()).backward()
        optimiser.step()
        schedule.step()
    return math.acos(max(-1.0, min(1.0, best)))


def compare_dynamics(
    activities: Sequence[Tensor],
    names: Sequence[str] | None = None,
    *,
    method: str = "angular",
    delays: int = 10,
    rank: int = 8,
    steps: int = 200,
) -> Distances:
    """Distances between the dynamics of several recorded activities.

    Args:
        activities: settled courses, each [T, n] or [T, B, n]; n may differ.
        names: labels.
        method: "angular" or "spectral" (faster).
        delays: see `linear_operator`. rank: likewise.
        steps: of the search for the best change of basis.
    """
    if method not in ("angular", "spectral"):
        raise ValueError(f"unknown method {method!r}; choose 'angular' or 'spectral'")
    operators = [linear_operator(activity, delays=delays, rank=rank) for activity in activities]
    n = len(operators)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(i):
            pair = operators[i], operators[j]
            d = spectral_distance(*pair) if method == "spectral" else angular_distance(*pair, steps=steps)
            matrix[i, j] = matrix[j, i] = d
    return Distances(matrix, tuple(names) if names is not None else tuple(str(i) for i in range(n)))


def _schur_basis(A: Tensor) -> Tensor:
    from scipy.linalg import schur

    return torch.tensor(schur(A.numpy(), output="real")[1])
