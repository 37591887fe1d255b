"""From records to a fitted system, all settings found by themselves: oscillators by least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rnn.data import Record, Scaling, cut, split
from rnn.identify_linear import unforced_as_zero
from rnn.least_squares import fit_least_squares
from rnn.model import Model, unpack
from rnn.modes import Mode, find_modes
from rnn.oscillator import OscillatorCell
from rnn.oscillator_models import LINEAR, Workshop, hertz
from rnn.system import System

__all__ = ["identify_oscillators"]

HELD_OUT = 8_000  # samples of each held-out record that are simulated
GAIN = 0.9  # a further oscillator must lower the held-out error to this share
SIMPLER = 1.04  # times the lowest held-out error: the simplest model within it is taken
FINER = 0.95  # twice as many sub-steps must lower the squared error on the shortest sections to this share
FINEST = 16  # sub-steps at most
FORCED = 2  # starts of a further oscillator where a learned force is fitted too; no more than one is added there
UNITS = 4  # of a learned force, and two more for each oscillator
GOOD = 0.01  # of the standard deviation: held-out errors below this are not worth a further oscillator
LAGS = 20  # samples over which errors are correlated with themselves
WHITE = 2.0  # times what independent errors are correlated: with less than that only noise is left
LOUDER = 1.5  # a model must stay finite under held-out inputs of so many times their size


def identify_oscillators(
    records: Sequence[Record],
    *,
    window: int = 0,
    oscillators: int | None = None,
    most: int = 3,
    method: str | None = None,
    degree: int | None = None,
    hold: str | None = None,
    spring: str = "cubic",
    substeps: int = 2,
    samples: int = 70_000,
    choose: bool = True,
    device: str = "cpu",
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[System, dict[str, Any]]:
    """Fit nonlinear oscillators to records: frequencies from linear poles, then free-run errors, short sections first.

    One oscillator (or as many modes as there are outputs) is fitted: linear ones first, then with nonlinear springs of
    their own, and several with springs that join them and feel what is measured. Then the drive between samples, the
    discretisation and a cubic readout are tried; what simulates held-out data best stays. Further oscillators are
    grown from the fitted ones with a readout of zero while they help. Where that does not suffice, a small network of
    displacements, velocities and inputs may push the oscillators (`rnn.forces`).

    Args:
        records: training records, of any size; a fifth is held out for the choices and used again in the end.
        window: samples of a new record from which its initial state may be found.
        oscillators: how many; None to find out, up to `most`.
        method, degree, hold: discretisation, degree of the readout and drive between samples (see `OscillatorCell`);
            None to find out.
        spring: see `rnn.oscillator`. substeps: at least; more where the shortest sections are fitted better so.
        samples: training samples used in the last stage.
        choose: hold data out to choose among models; otherwise one is fitted to everything, as said by the settings.
        device: "cpu" or "cuda".
        seed: of random starts.
        log: called with a line about each stage.

    Raises:
        ValueError: records that nothing can be learned from.
    """
    torch.manual_seed(seed)
    scaling = Scaling.of(records)
    scaled = [unforced_as_zero(scaling.scale(r)) for r in records]
    train, valid = split(scaled)
    if not choose:
        search = _Search(scaled, [], window, samples, substeps, spring, device, log)
        best = search.plain(oscillators or records[0].sizes[1], method or "symplectic", degree or 1, hold or "line")
        notes = {"frequencies_hz": hertz(best.cell), "damping_ratios": best.cell.zeta.tolist()}
        blueprint = search.blueprint(best, records[0].sizes)
        return System(best, blueprint, scaling, records[0].dt, window), notes
    search = _Search(train, valid, window, samples, substeps, spring, device, log)
    first = oscillators or max(1, records[0].sizes[1] if records[0].sizes[1] > 1 else 1)
    best = search.first(min(first, most) if oscillators is None else first, method, degree, hold)
    while not search.done(best):
        n = best.cell.hidden_size
        pushed = search.forced(best) if best.cell.force is None and method != "symplectic" else []
        better = min([best, *pushed], key=search.error)
        if better is best and oscillators is None:  # a force may need a further oscillator before it helps
            for start in (best, *sorted(pushed, key=search.error)[:1]):
                room = n < (most if start.cell.force is None else min(most, first + 1))
                grown = search.grow(start) if room and better is best else None
                if grown is not None and search.error(grown) < GAIN * search.error(best):
                    better = grown
        if better is best:
            break
        best = better
    search.refine(best, scaled, last_only=True, iterations=25, tolerance=5e-4)
    blueprint = search.blueprint(best, records[0].sizes)
    system = System(best, blueprint, scaling, records[0].dt, window)
    cell = best.cell
    notes = {
        "oscillators": cell.hidden_size, "method": cell.method, "hold": cell.hold, "degree": blueprint.model["degree"],
        "coupled": cell.coupled, "forces": blueprint.cell["forces"],
        "frequencies_hz": hertz(cell), "damping_ratios": cell.zeta.tolist(),
        "held_out_nrmse": search.error(best),
    }  # fmt: skip
    return system, notes


class _Search(Workshop):
    """The choices made while fitting oscillators, and the data they are made on."""

    def __init__(self, train, valid, window, samples, substeps, spring, device, log):
        super().__init__(train, samples, substeps, spring, device, log)
        self.valid, self.window = valid, window
        self.linear: Model | None = None  # the fitted linear oscillators
        self.colours: dict[int, float] = {}  # by id: correlation of the held-out errors over that of noise
        self.errors: dict[int, float] = {}

    def modes(self, number: int) -> list[Mode]:
        """So many modes of the training records, faster ones where they show too few."""
        modes = find_modes(self.train, number) or [Mode(0.05 / self.dt, 0.1)]
        while len(modes) < number:
            modes.append(Mode(modes[-1].frequency * 1.7, 0.2))
        return modes

    def plain(self, number: int, method: str, degree: int, hold: str) -> Model:
        """One model, short sections first, nothing chosen; several oscillators are joined, and linear first."""
        model = self.build(self.modes(number), method, degree, hold)
        if number > 1:
            self.free[id(model)] = LINEAR
            self.refine(model, quick=True, first_only=True)
            model = self.like(model, number, method, degree, coupled=True)
        self.refine(model)
        return model

    def first(self, number: int, method: str | None, degree: int | None, hold: str | None) -> Model:
        """The simplest of several models of so many oscillators that is nearly as good as the best of them."""
        modes = self.modes(number)
        kind, power = method or "symplectic", degree or 1
        linear = self.build(modes, kind, power, hold or "line")
        self.free[id(linear)] = LINEAR
        self.refine(linear, quick=True, first_only=True)
        starts = [self.finer(linear, modes, method, power, hold)]
        if number > 1:
            starts.append(self.like(linear, number, kind, power, coupled=True))
        costs = [self.refine(start, quick=True) for start in starts]
        self.refine(linear, quick=True)
        if not min(costs) < GOOD**2:
            starts.append(self.like(linear, number, kind, power))
            costs.append(self.refine(starts[-1], quick=True))
        base = starts[costs.index(min(costs))]
        fits = [(min(costs), 0, base)]  # of as many parameters: the better fit is the better model
        for other in ("now", "before") if not self.unforced and hold is None else ():
            held = self.like(base, number, kind, power, hold=other)
            fits.append((self.refine(held, last_only=True, quick=True), len(fits), held))
        base = min(fits)[2]
        if base.cell.hold != linear.cell.hold:
            linear = self.like(linear, number, kind, power, hold=base.cell.hold, coupled=False)
            self.free[id(linear)] = LINEAR
            self.refine(linear, last_only=True, quick=True)
        self.linear = linear
        candidates = [linear, base]
        methods = [method] if method else ["symplectic", "exact"]
        degrees = [degree] if degree else [1, 3] if number == 1 else [1]  # of several, products are too many
        for d, m in ((d, m) for d in degrees for m in methods if (m, d) != (kind, power)):
            candidates.append(self.like(base, number, m, d))
            self.refine(candidates[-1], last_only=True, quick=True)
        best = min(self.error(model) for model in candidates)
        return next(model for model in candidates if self.error(model) <= SIMPLER * best)

    def finer(self, linear: Model, modes: list[Mode], method: str | None, degree: int, hold: str | None) -> Model:
        """Oscillators with springs of their own, fitted to the shortest sections, with as many sub-steps as help there.

        A spring that hardens twentyfold swings several times as fast far out as near its rest.
        """
        n, kind = len(modes), method or "symplectic"
        starts = [self.like(linear, n, kind, degree), self.build(modes, kind, degree, hold or "line")]
        costs = [self.refine(start, quick=True, first_only=True) for start in starts]
        cost = min(costs)
        best = starts[costs.index(cost)]
        while self.substeps < FINEST:
            self.substeps *= 2
            finer = self.like(best, n, kind, degree)
            lower = self.refine(finer, quick=True, first_only=True)
            if not lower < FINER * cost:
                self.substeps //= 2
                break
            best, cost = finer, lower
        return best

    def forced(self, model: Model) -> list[Model]:
        """Models of as many oscillators that a learned force pushes besides: from linear ones, and from `model`."""
        n = model.cell.hidden_size
        degree = 3 if model.readout.N is not None else 1
        same = self.linear is not None and self.linear.cell.hidden_size == n
        base = self.linear if same and self.linear is not None else model
        starts = [self.like(base, n, "exact", 1, forces=UNITS + 2 * n, spring="linear")]
        if same and self.linear is not model and math.isfinite(self.error(model)):
            starts.append(self.like(model, n, "exact", degree, forces=UNITS + 2 * n))
        for start in starts:
            self.log(f"a force of {UNITS + 2 * n} units on {n} oscillator(s)")
            self.refine(start, quick=True, iterations=25, tolerance=5e-3)
        return starts

    def grow(self, model: Model) -> Model | None:
        """The best of a few models with one more oscillator, started at modes that the records show beyond its own."""
        cell = model.cell
        n = cell.hidden_size
        candidates = []
        modes = self._further_modes(cell)
        for mode in modes if cell.force is None else modes[:FORCED]:
            grown = self.like(model, n + 1, cell.method, 3 if model.readout.N is not None else 1, mode)
            cost = self.refine(grown, last_only=True, quick=True, iterations=20)
            if math.isfinite(cost):
                candidates.append(grown)
        return min(candidates, key=self.error, default=None)

    def _further_modes(self, cell: OscillatorCell) -> list[Mode]:
        own = hertz(cell)
        found: list[Mode] = []
        for number in (cell.hidden_size + 1, cell.hidden_size + 2):
            for mode in find_modes(self.train, number):
                apart = min(abs(math.log(mode.frequency / f)) for f in own + [m.frequency for m in found])
                if apart > 0.15:
                    found.append(mode)
        found = found[:2]
        slow = Mode(min(own) / 4, 0.3)
        return [*found, slow][:3]

    def done(self, model: Model) -> bool:
        """Whether the held-out errors are too small to matter, or nothing but noise."""
        return self.error(model) < GOOD or self.colours[id(model)] < WHITE

    def error(self, model: Model) -> float:
        """Free-run error on the held-out part, over the standard deviation; infinite if louder inputs blow it up."""
        if id(model) not in self.errors:
            known = max(self.window, 4 * model.cell.hidden_size)
            total, count, colour = 0.0, 0, 0.0
            for record in (r[:HELD_OUT] for r in self.valid or self.train):
                if len(record) > 2 * known:
                    us, ys, _ = cut([record], dtype=torch.float64).to(self.device)
                    found = fit_least_squares(
                        model, cut([record[:known]], dtype=torch.float64).to(self.device), names=[], iterations=30
                    )
                    with torch.no_grad():
                        both = torch.cat([us, LOUDER * us], 1)
                        out = model(both, unpack(model.cell, found.states.expand(2, -1))).outputs
                    safe = bool(out.abs().max() < 10 * LOUDER * max(1.0, float(ys.abs().max())))
                    colour = max(colour, _colour((out[:, :1] - ys)[known:, 0]))
                    error = (out[known:, :1] - ys[known:]).square().sum()
                    total, count = total + (float(error) if safe else math.inf), count + ys[known:].numel()
            value = math.sqrt(total / count) if count else math.inf
            self.errors[id(model)] = value if math.isfinite(value) else math.inf
            self.colours[id(model)] = colour if count and math.isfinite(colour) else math.inf
            self.log(f"  held out: {value:.4g} of std")
        return self.errors[id(model)]


def _colour(errors: torch.Tensor) -> float:
    """Mean squared autocorrelation of errors [T, O] over that of independent ones, 1 for noise (Ljung, Box, 1978).

    >>> noise = torch.randn(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> round(_colour(noise), 1), _colour(noise.cumsum(0)) > 100
    (0.6, True)
    """
    T = len(errors)
    x = errors - errors.mean(0)
    lags = range(1, min(LAGS, T // 4) + 1)
    if not lags or not float(x.abs().max()) > 0:
        return math.inf
    own = torch.stack([(x[k:] * x[:-k]).sum(0) / x.square().sum(0) / math.sqrt(T - k) * T for k in lags])
    return float(own.square().mean(0).max())
