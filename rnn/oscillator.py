"""The oscillator cell: damped, forced oscillators with learned springs as a recurrent network."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap
from rnn.forces import LearnedForce
from rnn.oscillator_flow import damped_flow, leap_scan, split_scan, stepper

__all__ = ["OscillatorCell", "OscillatorState", "damped_flow"]


class OscillatorState(NamedTuple):
    """Displacements `position` q, `velocity` p = q'/omega, the `drive` W x + b of the last sample, each [B, n], and
    the `support`: R x of the last sample [B, n] with moving supports, and that sample x [B, I] with learned forces."""

    position: Tensor
    velocity: Tensor
    drive: Tensor
    support: Tensor


class OscillatorCell(Cell):
    r"""Damped, forced oscillators with learned frequency, damping, spring and friction.

    Each oscillator has a displacement q and a velocity p = q'/omega in the same unit. It follows

        q'' + 2 zeta omega q' + omega^2 (q + s(q) - d) + omega f(q) q' = 0,    d = W x + b (+ R x' / omega),

    with the spring's deviation from a straight line `s(q) = k2 q^2 + k3 q^3` (a Duffing oscillator) or a small
    learned network, and the friction `f(q) = d1 q + d2 q^2` (a van der Pol oscillator has zeta < 0, d2 > 0). The
    drive d is in units of displacement: a constant drive moves a linear spring by q = d.

    One step of length dt is `substeps` steps of Strang splitting of length h: half a kick by the nonlinear forces,
    the exact flow of the damped linear oscillator under a drive that runs straight from the last sample to this one
    (or is held, see `hold`), half a kick. With linear springs the step is exact. `method="symplectic"` drifts by the
    velocity instead and lets the kicks carry all forces (leapfrog), the damping implicitly in every second one: second
    order as well, and without damping the energy errs but does not drift. It needs omega h < 2.

    All parameters are per second or dimensionless, none per step: `at(dt)` is the same physics at another rate.

    Args:
        input_size: number of inputs, I.
        hidden_size: number of oscillators, n. The output is [q, p], 2 n values.
        dt: time from one sample to the next, seconds.
        frequency: natural frequency omega / 2 pi in Hz, one number, or one per oscillator [n]; None spreads n
            frequencies evenly in octaves from 1/200 to 1/5 of the sampling rate.
        damping: damping ratio zeta, one number or [n].
        spring: "linear" (s = 0), "cubic", or "learned" (s a network of `units` hyperbolic tangents per oscillator).
        friction: learn the friction f(q).
        moving: let inputs also act by their rate of change, as a support does that moves and is held by a damper. With
            several inputs and outputs a mode needs it to answer each of them with a phase of its own.
        coupled: let springs join the oscillators: forces `K q` with a learned matrix K [n, n], and nonlinear springs
            that feel mixtures `E q` and act back through E.
        forces: units of a network that pushes all oscillators by `F(q, p, x)`, see `rnn.forces`; 0 for none. It needs
            the method "exact".
        self_exciting: allow zeta to become negative (a limit cycle); otherwise it stays positive.
        method: "exact" or "symplectic".
        substeps: steps of length dt / substeps.
        hold: the drive between samples: "line" straight from one to the next, "now" this sample's all the way,
            "before" the last one's (a digital source that holds its value).
        units: hidden units per learned spring.

    Sources: "Duffing's equation" in any text on vibrations; splitting: "On the construction and comparison of
    difference schemes" (Strang, 1968); oscillators as recurrent networks: "Coupled Oscillatory Recurrent Neural
    Network (coRNN)" (Rusch, Mishra, 2021).

    Raises:
        ValueError: an unknown spring or method, a frequency, damping or step that is not positive.

    >>> cell = OscillatorCell(1, 1, dt=0.25, frequency=1.0, damping=0.0, self_exciting=True, spring="linear")
    >>> state = OscillatorState(torch.ones(1, 1), *torch.zeros(2, 1, 1), torch.zeros(1, 0))
    >>> y, state = cell(torch.zeros(1, 1), state)
    >>> [abs(round(v, 4)) for v in y[0].tolist()]  # a quarter of a period later: q = 0, p = -1
    [0.0, 1.0]
    """

    activity = "position"
    stacks = True  # the step also takes parameters stacked in a first dimension, see `rnn.model.run_copies`
    sequence_path = "scan"
    sequence_seen = ("position", "velocity")
    sequence_holds = ()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.01,
        frequency: float | Sequence[float] | None = None,
        damping: float | Sequence[float] = 0.1,
        spring: str = "cubic",
        friction: bool = True,
        moving: bool = False,
        coupled: bool = False,
        forces: int = 0,
        self_exciting: bool = False,
        method: str = "exact",
        substeps: int = 2,
        hold: str = "line",
        units: int = 8,
    ):
        super().__init__()
        if spring not in ("linear", "cubic", "learned"):
            raise ValueError(f"unknown spring {spring!r}; the springs are 'linear', 'cubic' and 'learned'")
        if method not in ("exact", "symplectic"):
            raise ValueError(f"unknown method {method!r}; the methods are 'exact' and 'symplectic'")
        if hold not in ("line", "now", "before"):
            raise ValueError(f"unknown hold {hold!r}; the drive between samples is 'line', 'now' or 'before'")
        if forces and method != "exact":
            raise ValueError(f"learned forces act between exact steps, received method={method!r}; take 'exact'")
        if not dt > 0 or substeps < 1:
            raise ValueError(f"a step needs dt > 0 and substeps >= 1, received dt={dt}, substeps={substeps}")
        n = hidden_size
        self.input_size, self.hidden_size, self.output_size = input_size, n, 2 * n
        self.dt, self.spring, self.method, self.substeps, self.hold = float(dt), spring, method, substeps, hold
        self.coupled, self.self_exciting, self.has_friction = coupled, self_exciting, friction
        if frequency is None:
            frequency = torch.logspace(math.log10(1 / 200), math.log10(1 / 5), n + 2).div(dt).tolist()[1:-1]
        hertz, zeta = _per_unit(frequency, n, "frequency"), _per_unit(damping, n, "damping")
        if (hertz <= 0).any() or (not self_exciting and (zeta <= 0).any()):
            raise ValueError(
                f"frequencies and damping ratios must be positive, received {hertz.tolist()} Hz and {zeta.tolist()}; "
                "self_exciting=True allows a damping ratio of zero or below"
            )
        self.log_omega = nn.Parameter((2 * math.pi * hertz).log())
        self.raw_zeta = nn.Parameter(zeta.clone() if self_exciting else zeta.log())
        self.weight = nn.Parameter(torch.randn(n, input_size) / math.sqrt(max(input_size, 1)))
        self.bias = nn.Parameter(torch.zeros(n))
        self.rate = nn.Parameter(torch.zeros(n, input_size)) if moving else None
        if spring == "cubic":
            self.k2, self.k3 = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
        if spring == "learned":
            self.spring_in = nn.Parameter(torch.randn(n, units))
            self.spring_bias = nn.Parameter(torch.linspace(-1, 1, units).repeat(n, 1))
            self.spring_out = nn.Parameter(torch.zeros(n, units))
        if friction:
            self.d1, self.d2 = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
        if coupled:
            self.K, self.E = nn.Parameter(torch.zeros(n, n)), nn.Parameter(torch.eye(n))
        self.force = LearnedForce(n, input_size, forces) if forces else None

    @property
    def omega(self) -> Tensor:
        """Natural angular frequencies in rad/s, [n]."""
        return self.log_omega.exp()

    @property
    def zeta(self) -> Tensor:
        """Damping ratios, [n]."""
        return self.raw_zeta if self.self_exciting else self.raw_zeta.exp()

    def at(self, dt: float) -> OscillatorCell:
        """The same oscillators, sharing their parameters, stepped at another sampling time (seconds)."""
        if not dt > 0:
            raise ValueError(f"a sampling time must be positive, received {dt}")
        other = copy.copy(self)
        other.dt = float(dt)
        return other

    def eigenvalues(self) -> Tensor:
        """Eigenvalues of one step of the linear part, `exp((-zeta +- sqrt(zeta^2 - 1)) omega dt)`, complex [n, 2]."""
        zeta = self.zeta.to(torch.complex128)
        root = (zeta**2 - 1).sqrt()
        return torch.exp(torch.stack([-zeta + root, -zeta - root], -1) * (self.omega * self.dt).unsqueeze(-1))

    def initial_state(self, batch: int) -> OscillatorState:
        n = self.hidden_size
        support = (n if self.rate is not None else 0) + (self.input_size if self.force is not None else 0)
        widths = (n, n, n, support)
        return OscillatorState(*(self.zeros(batch, width) for width in widths))

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        return {"position": {f"oscillator{i}": (i,) for i in range(self.hidden_size)}}

    def forward(self, x: Tensor, state: OscillatorState, tap: Tap = no_tap) -> tuple[Tensor, OscillatorState]:
        x = tap("input", x)
        drive = tap("drive", x @ self.weight.mT + self.bias)
        support = tap("support", self._support(x)) if state.support.shape[-1] else state.support
        q, p = state.position, state.velocity
        advance = stepper(self, tap)
        ends = self._between(state.drive, drive, state.support, support)
        felt = self.felt(state.support, support)
        for k in range(self.substeps):
            q, p = advance(q, p, ends[k], ends[k + 1], felt[k], felt[k + 1])
        q, p = tap("position", q), tap("velocity", p)
        return torch.cat([q, p], -1), OscillatorState(q, p, drive, support)

    def scan(
        self,
        xs: Tensor,
        state: OscillatorState,
        resets: Tensor | None = None,
        fresh: OscillatorState | None = None,
    ) -> tuple[Tensor, OscillatorState]:
        """Many steps without taps: inputs [T, ..., B, I] to outputs [T, ..., B, 2n], the numbers of the plain loop.

        What does not depend on the motion (drives, their share in the flow, coefficients) is computed once for all
        steps; a step is then two to three dozen small operations.
        """
        theta = self.omega * (self.dt / self.substeps)
        drives = xs @ self.weight.mT + self.bias
        supports = self._support(xs) if state.support.shape[-1] else state.support.unsqueeze(0)

        def before(first: Tensor, course: Tensor) -> Tensor:
            shape = torch.broadcast_shapes(first.shape, course.shape[1:])
            return torch.cat([first.expand(shape).unsqueeze(0), course[:-1].expand(-1, *shape)])

        lasts, stood = before(state.drive, drives), before(state.support, supports)
        if resets is not None and fresh is not None:
            lasts = torch.where(resets.unsqueeze(-1), fresh.drive, lasts)
            if state.support.shape[-1]:
                stood = torch.where(resets.unsqueeze(-1), fresh.support, stood)
        ends = self._between(lasts, drives, stood, supports)
        exact = self.method == "exact"
        step = split_scan(self, theta, ends, stood, supports) if exact else leap_scan(self, theta, ends)
        q, p = state.position, state.velocity
        flags = [False] * len(xs) if resets is None else resets.any(1).tolist()
        qs, ps = [], []
        for t in range(len(xs)):
            if flags[t] and resets is not None and fresh is not None:
                row = resets[t].unsqueeze(-1)
                q, p = torch.where(row, fresh.position, q), torch.where(row, fresh.velocity, p)
            q, p = step(t, q, p)
            qs.append(q)
            ps.append(p)
        return torch.cat([torch.stack(qs), torch.stack(ps)], -1), OscillatorState(q, p, drives[-1], supports[-1])

    def sequence(
        self,
        xs: Tensor,
        state: OscillatorState,
        resets: Tensor | None,
        fresh: OscillatorState | None,
        holds: tuple[()] = (),
    ) -> tuple[Tensor, OscillatorState, dict[str, Tensor]]:
        """`scan` as `unroll` calls it: outputs, final state and what was seen, by quantity."""
        ys, state = self.scan(xs, state, resets, fresh)
        q, p = ys.chunk(2, -1)
        return ys, state, {"position": q, "velocity": p}

    def _between(self, last: Tensor, drive: Tensor, stood: Tensor, support: Tensor) -> list[Tensor]:
        """The whole drive d at the ends of the sub-steps, `substeps + 1` of them."""
        if self.rate is not None:
            n = self.hidden_size
            rate = (support[..., :n] - stood[..., :n]) / (self.omega * self.dt)
            last, drive = last + rate, drive + rate
        if self.hold == "line":
            return [torch.lerp(last, drive, k / self.substeps) for k in range(self.substeps + 1)]
        return [drive if self.hold == "now" else last] * (self.substeps + 1)

    def _support(self, x: Tensor) -> Tensor:
        """What the state keeps of a sample besides the drive."""
        if self.rate is None:
            return x
        rates = x @ self.rate.mT
        if self.force is None:
            return rates
        return torch.cat([rates, x.expand(*rates.shape[:-1], -1)], -1)  # copies of a model share their inputs

    def felt(self, stood: Tensor, support: Tensor) -> list[Any]:
        """The inputs' share in the learned forces at the ends of the sub-steps, `substeps + 1` of them."""
        if self.force is None:
            return [None] * (self.substeps + 1)
        last, now = (part[..., part.shape[-1] - self.input_size :] for part in (stood, support))
        if self.hold == "line":
            return [self.force.felt(torch.lerp(last, now, k / self.substeps)) for k in range(self.substeps + 1)]
        return [self.force.felt(now if self.hold == "now" else last)] * (self.substeps + 1)

    def extra_repr(self) -> str:
        return f"{self.hidden_size} oscillators, dt={self.dt:g} s, spring={self.spring!r}, method={self.method!r}"


def _per_unit(value: float | Sequence[float], n: int, name: str) -> Tensor:
    tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).flatten()
    if tensor.numel() not in (1, n):
        raise ValueError(f"`{name}` has {tensor.numel()} entries for {n} oscillators; pass one number or {n}")
    return tensor.expand(n).clone()
