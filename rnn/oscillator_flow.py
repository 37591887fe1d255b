"""The exact step of a damped linear oscillator under a drive, and what a scan of oscillators computes beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnn.cell import Tap
from rnn.oscillator_kicks import kicker

if TYPE_CHECKING:
    from rnn.oscillator import OscillatorCell

__all__ = ["damped_flow", "leap_scan", "split_scan", "stepper"]

Flow = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def damped_flow(zeta: Tensor, theta: Tensor) -> tuple[Flow, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Exact step of `q'' + 2 zeta q' + q = d` over the angle theta, the drive running straight from d0 to d1.

    With `c = cos(r theta)`, `s = sin(r theta) / r`, `r = sqrt(1 - zeta^2)` (hyperbolic where zeta > 1):

        [q; p] <- exp(-zeta theta) [[c + zeta s, s], [-s, c - zeta s]] [q; p] + [f0 d0 + f1 d1; f2 d0 + f3 d1].

    Returns:
        The four entries of the matrix and (f0, f1, f2, f3), each of the shape of zeta.
    """
    delta = 1 - zeta * zeta
    r = delta.abs().clamp_min(1e-8).sqrt()
    over = delta < 0
    decay = torch.exp(-zeta * theta)
    angle = torch.where(over, torch.zeros_like(theta), theta)
    hyper = torch.where(over, theta, torch.zeros_like(theta))
    slow, fast = torch.exp((r - zeta) * hyper), torch.exp(-(r + zeta) * hyper)
    c = torch.where(over, 0.5 * (slow + fast), decay * torch.cos(r * angle))
    s = torch.where(over, 0.5 * (slow - fast), decay * torch.sin(r * angle)) / r
    a11, a12, a21, a22 = c + zeta * s, s, -s, c - zeta * s
    # Particular solution: q = d - 2 zeta g, p = g, with slope g = (d1 - d0) / theta.
    g, two_zeta_g = 1 / theta, 2 * zeta / theta
    q0, q1 = 1 + two_zeta_g, -two_zeta_g  # what d0, d1 contribute to the particular q at the start
    forced_q0, forced_q1 = two_zeta_g - a11 * q0 + a12 * g, (1 - two_zeta_g) - a11 * q1 - a12 * g
    forced_p0, forced_p1 = -g - a21 * q0 + a22 * g, g - a21 * q1 - a22 * g
    return ((a11, a12), (a21, a22)), (forced_q0, forced_q1, forced_p0, forced_p1)


SubStep = Callable[..., tuple[Tensor, Tensor]]


def stepper(cell: OscillatorCell, tap: Tap) -> SubStep:
    """One sub-step `(q, p, d0, d1, f0, f1) -> (q, p)`, the drive running from d0 to d1, what forces feel from f0 to
    f1."""
    zeta, theta = cell.zeta, cell.omega * (cell.dt / cell.substeps)
    kick = kicker(cell, theta / 2, tap)
    if cell.method == "symplectic":

        def leap(q: Tensor, p: Tensor, d0: Tensor, d1: Tensor, f0: Any, f1: Any) -> tuple[Tensor, Tensor]:
            p = kick(q, p * (1 - zeta * theta) - 0.5 * theta * (q - d0))
            q = q + theta * p
            return q, (kick(q, p) - 0.5 * theta * (q - d1)) / (1 + zeta * theta)

        return leap
    flow, forced = damped_flow(zeta, theta)
    force = cell.force

    def split(q: Tensor, p: Tensor, d0: Tensor, d1: Tensor, f0: Any, f1: Any) -> tuple[Tensor, Tensor]:
        p = kick(q, p)
        p = p if force is None else force.before(q, p, theta / 2, f0)
        q, p = (
            flow[0][0] * q + flow[0][1] * p + forced[0] * d0 + forced[1] * d1,
            flow[1][0] * q + flow[1][1] * p + forced[2] * d0 + forced[3] * d1,
        )
        p = p if force is None else force.after(q, p, theta / 2, f1)
        return q, kick(q, p)

    return split


Step = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


def split_scan(cell: OscillatorCell, theta: Tensor, ends: list[Tensor], stood: Tensor, supports: Tensor) -> Step:
    """`(t, q, p) -> (q, p)` by Strang splitting, the drives' shares in the flow computed beforehand.

    Args:
        theta: angle of a sub-step, omega h, [n].
        ends: drives at the ends of the sub-steps, `substeps + 1` of [T, B, n].
        stood, supports: what the state keeps of the last and of this sample, [T, B, .].
    """
    ((a, b), (c, d)), f = damped_flow(cell.zeta, theta)
    pairs = list(zip(ends[:-1], ends[1:], strict=True))
    to_q = [(f[0] * d0 + f[1] * d1).unbind(0) for d0, d1 in pairs]
    to_p = [(f[2] * d0 + f[3] * d1).unbind(0) for d0, d1 in pairs]
    kick, force, half = kicker(cell, theta / 2), cell.force, theta / 2

    def step(t: int, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        felt = cell.felt(stood[t], supports[t]) if force is not None else []
        for k in range(cell.substeps):
            p = kick(q, p)
            p = p if force is None else force.before(q, p, half, felt[k])
            q, p = (
                torch.addcmul(torch.addcmul(to_q[k][t], a, q), b, p),
                torch.addcmul(torch.addcmul(to_p[k][t], c, q), d, p),
            )
            p = p if force is None else force.after(q, p, half, felt[k + 1])
            p = kick(q, p)
        return q, p

    return step


def leap_scan(cell: OscillatorCell, theta: Tensor, ends: list[Tensor]) -> Step:
    """`(t, q, p) -> (q, p)` by the leapfrog; arguments as of `split_scan`."""
    half, brake, push = 0.5 * theta, 1 - cell.zeta * theta, 1 / (1 + cell.zeta * theta)
    pulls = [(half * end).unbind(0) for end in ends]
    kick = kicker(cell, half)

    def step(t: int, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        for k in range(cell.substeps):
            p = kick(q, torch.addcmul(torch.addcmul(pulls[k][t], brake, p), half, q, value=-1))
            q = torch.addcmul(q, theta, p)
            p = torch.addcmul(pulls[k + 1][t] + kick(q, p), half, q, value=-1) * push
        return q, p

    return step
