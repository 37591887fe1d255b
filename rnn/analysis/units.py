"""What units carry: phase of the rhythm, side, drive; and how many dimensions the activity has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnn.analysis.result import Result

__all__ = ["Dimensionality", "UnitRoles", "circular_features", "dimensionality", "mutual_information", "unit_roles"]


@dataclass(frozen=True, eq=False)
class UnitRoles(Result):
    """How much of each unit's variance each behavioural quantity explains, and how many bits they share.

    Attributes:
        names: of the quantities [K].
        units: labels of the units [n].
        explained: share of a unit's variance explained by a regression on the quantity, 0 to 1 [n, K].
        information: mutual information in bits, above chance [n, K].
        preferred_phase: phase at which the unit is most active, cycles [n]; NaN without a quantity "phase".
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    explained: Tensor
    information: Tensor
    preferred_phase: Tensor

    def best(self, name: str, count: int = 5) -> list[tuple[str, float]]:
        """The units that carry a quantity most, with the share of their variance."""
        column = self.explained[:, self.names.index(name)]
        order = column.argsort(descending=True)[:count]
        return [(self.units[i], float(column[i])) for i in order.tolist()]

    def draw(self, axes: Axes) -> None:
        image = axes.imshow(self.explained.T.numpy(), aspect="auto", vmin=0, vmax=1, interpolation="none")
        axes.figure.colorbar(image, ax=axes, label="share of variance")
        axes.set_yticks(range(len(self.names)), self.names)
        axes.set(xlabel="unit", title="what the units carry")


def unit_roles(
    activity: Tensor, quantities: Mapping[str, Tensor], units: Sequence[str] | None = None, *, bins: int = 8
) -> UnitRoles:
    """Regress units on quantities and measure the information they share.

    A quantity called "phase" (or "phase.*") is circular, in cycles, and enters with two harmonics; any other enters
    with its square as well, so that a unit tuned to a middle value is found.

    Args:
        activity: course of the units [T, n] or [T, B, n].
        quantities: by name, [T] or [T, B], or [B] if it does not change within a run.
        units: labels.
        bins: for the mutual information, of equal counts.
    """
    three = activity if activity.dim() == 3 else activity.unsqueeze(1)
    steps, batch, n = three.shape
    flat = three.reshape(-1, n).double()
    explained, information = [], []
    phase = torch.full((n,), torch.nan, dtype=torch.float64)
    for name, quantity in quantities.items():
        q = _spread(quantity.double(), steps, batch).reshape(-1)
        circular = name.startswith("phase")
        features = circular_features(q) if circular else torch.stack([q, q.square()], 1)
        explained.append(_share(flat, features))
        b = q % 1 if circular else q
        information.append(torch.stack([mutual_information(flat[:, i], b, bins) for i in range(n)]))
        if name == "phase":
            centred = flat - flat.mean(0)
            first = circular_features(q)[:, :2].T @ centred
            phase = (torch.atan2(first[1], first[0]) / (2 * math.pi)) % 1
    labels = tuple(units) if units is not None else tuple(f"unit {i}" for i in range(n))
    return UnitRoles(tuple(quantities), labels, torch.stack(explained, 1), torch.stack(information, 1), phase)


def circular_features(phase: Tensor) -> Tensor:
    """Cosine and sine of a phase in cycles and of its double, [..., 4]."""
    angle = 2 * math.pi * phase
    return torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], -1)


def mutual_information(a: Tensor, b: Tensor, bins: int = 8) -> Tensor:
    """Bits shared by two signals [N], from bins of equal counts, less the bias of a finite sample (Miller & Madow).

    >>> b = torch.arange(4096) % 16
    >>> round(mutual_information(b.double(), b.double(), bins=16).item(), 1)
    4.0
    """
    i, j = _binned(a, bins), _binned(b, bins)
    joint = torch.zeros(bins, bins, dtype=torch.float64)
    joint.view(-1).index_add_(0, i * bins + j, torch.ones(len(a), dtype=torch.float64))
    p = joint / joint.sum()
    independent = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    held = p > 0
    bits = (p[held] * (p[held] / independent[held]).log2()).sum()
    used = int((p.sum(1) > 0).sum()), int((p.sum(0) > 0).sum())
    bias = (used[0] - 1) * (used[1] - 1) / (2 * len(a) * math.log(2))
    return (bits - bias).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Dimensionality(Result):
    """Principal components of an activity.

    Attributes:
        variance: along each component, largest first [n].
        components: in the columns [n, n].
        mean: [n].
    """

    variance: Tensor
    components: Tensor
    mean: Tensor

    @property
    def participation(self) -> float:
        """Participation ratio `(sum v)^2 / sum v^2`: the number of dimensions, if all were used alike."""
        return float(self.variance.sum().square() / self.variance.square().sum().clamp(min=1e-300))

    def needed(self, share: float = 0.95) -> int:
        """Components that hold this share of the variance."""
        held = self.variance.cumsum(0) / self.variance.sum().clamp(min=1e-300)
        return int((held < share).sum()) + 1

    def project(self, activity: Tensor, count: int = 2) -> Tensor:
        """Coordinates along the first components [..., count]."""
        return (activity.double() - self.mean) @ self.components[:, :count]

    def draw(self, axes: Axes) -> None:
        held = self.variance.cumsum(0) / self.variance.sum()
        axes.plot(torch.arange(1, len(held) + 1), held, ".-")
        axes.axhline(0.95, color="grey", lw=0.8)
        title = f"participation ratio {self.participation:.1f}, {self.needed()} components hold 95 %"
        axes.set(xlabel="components", ylabel="share of variance", ylim=(0, 1.02), title=title)


def dimensionality(activity: Tensor) -> Dimensionality:
    """Principal components of a course of units [..., n].

    >>> t = torch.linspace(0, 20 * math.pi, 2001)[:-1]
    >>> round(dimensionality(torch.stack([t.cos(), t.sin(), 0 * t], 1)).participation, 3)
    2.0
    """
    flat = activity.detach().reshape(-1, activity.shape[-1]).double()
    mean = flat.mean(0)
    _, singular, right = torch.linalg.svd(flat - mean, full_matrices=True)
    variance = torch.zeros(flat.shape[1], dtype=torch.float64)
    variance[: len(singular)] = singular.square() / len(flat)
    return Dimensionality(variance, right.T, mean)


def _spread(quantity: Tensor, steps: int, batch: int) -> Tensor:
    if quantity.shape == (steps, batch):
        return quantity
    if quantity.shape == (steps,) and (batch == 1 or steps != batch):
        return quantity[:, None].expand(steps, batch)
    if quantity.shape == (batch,):
        return quantity.expand(steps, batch)
    raise ValueError(
        f"a quantity has shape {tuple(quantity.shape)}, the activity T={steps}, B={batch}; pass [T], [B] or [T, B]"
    )


def _share(flat: Tensor, features: Tensor) -> Tensor:
    """Share of variance explained by a linear regression with intercept, corrected for the number of features [n]."""
    X = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    X = X / X.norm(dim=0).clamp(min=1e-300)
    beta = torch.linalg.lstsq(X, flat, driver="gelsd").solution
    left = (flat - X @ beta).square().sum(0)
    total = (flat - flat.mean(0)).square().sum(0)
    n, k = len(flat), features.shape[1]
    share = 1 - left / total.clamp(min=1e-300) * (n - 1) / max(n - k - 1, 1)
    return torch.where(total > 1e-12 * n, share.clamp(0, 1), torch.zeros_like(share))


def _binned(a: Tensor, bins: int) -> Tensor:
    """Number of the bin of each value; the bins hold equal counts."""
    a = a.double().contiguous()
    some = a[torch.linspace(0, len(a) - 1, min(len(a), 50_000)).long()]
    edges = some.quantile(torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    return torch.bucketize(a, edges, right=True)
