"""Oscillator models built, grown from each other and fitted: short sections first, longer ones then."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from rnn.data import Record, Sections, cut
from rnn.least_squares import fit_least_squares
from rnn.model import Model
from rnn.modes import Mode
from rnn.oscillator import OscillatorCell
from rnn.system import Blueprint

__all__ = ["LINEAR", "Workshop", "hertz"]

PERIODS = 2.5  # of the slowest mode, in the first, short sections: longer ones lose a nonlinear system's phase
SHORTEST = 30  # samples of the first sections
LONGER = 4.0  # times so long are the next sections,
JUMP = 1.5  # unless the error then rises by more than this: sections of half that growth come first
LONGEST = 1000  # samples of the last sections of a forced record,
SIDE_BY_SIDE = 8  # of which there are at least about so many, unless they were shorter than
STILL_LONG = 400  # samples: sections side by side cost little more than one
QUICK = 16_000  # samples used until the last stage
LINEAR = ("log_omega", "raw_zeta", "weight", "bias", "rate", "readout.")  # parameters of a linear model
PRIOR = {"cell.force.": 1.0}  # the network of learned forces is of order one, unless the record says otherwise


def hertz(cell: OscillatorCell) -> list[float]:
    """Natural frequencies in Hz."""
    return (cell.omega.detach() / (2 * math.pi)).tolist()


class Workshop:
    """Builds and fits oscillator models of one set of records.

    Args:
        train: scaled records to fit.
        samples: of them, in the last stage.
        substeps, spring: see `OscillatorCell`.
        device: "cpu" or "cuda". log: called with lines.
    """

    def __init__(
        self, train: Sequence[Record], samples: int, substeps: int, spring: str, device: str,
        log: Callable[[str], None],
    ):  # fmt: skip
        self.train, self.samples, self.substeps, self.spring = train, samples, substeps, spring
        self.device, self.log = device, log
        self.dt, (self.I, self.O) = train[0].dt, train[0].sizes
        self.moving = self.I > 1 and self.O > 1
        self.unforced = all(bool((r.u == r.u[:1]).all()) for r in train)
        self.kept: list[Model] = []  # an id stays unique while its model lives
        self.free: dict[int, tuple[str, ...]] = {}  # by id: what may be fitted, where that is not everything

    def build(
        self, modes: Sequence[Mode], method: str, degree: int, hold: str = "line", coupled: bool = False,
        forces: int = 0, spring: str = "",
    ) -> Model:  # fmt: skip
        spring = spring or self.spring
        cell = OscillatorCell(
            self.I, len(modes), dt=self.dt, frequency=[m.frequency for m in modes],
            damping=[min(max(m.zeta, 1e-3), 20.0) for m in modes], self_exciting=True,
            spring=spring, friction=not forces or spring != "linear", method=method, substeps=self.substeps, hold=hold,
            moving=self.moving, coupled=coupled, forces=forces,
        )  # fmt: skip
        model = Model(cell, self.O, degree=degree).double().to(self.device)
        self.kept.append(model)
        n = len(modes)
        with torch.no_grad():
            cell.log_omega.copy_(torch.tensor([2 * math.pi * m.frequency for m in modes], dtype=torch.float64).log())
            cell.weight.fill_(1.0 if n == 1 else 0.0)
            if n > 1:
                cell.weight.copy_(torch.randn(n, self.I) / n)
            model.readout.C.zero_()
            model.readout.C[:, :n] = 1.0 if self.O == 1 else torch.randn(self.O, n)
            if coupled:
                self._feel_outputs(model)
        return model

    def _feel_outputs(self, model: Model) -> None:
        """Let the springs feel what is measured: their mixtures E start as the readout of the displacements."""
        n = min(self.O, model.cell.hidden_size)
        model.cell.E[:n] = model.readout.C[:n, : model.cell.hidden_size]

    def like(
        self, model: Model, number: int, method: str, degree: int, mode: Mode | None = None, hold: str | None = None,
        coupled: bool | None = None, forces: int | None = None, spring: str = "",
    ) -> Model:  # fmt: skip
        """A model of `number` oscillators that does what `model` does: its own ones first, readouts of others zero."""
        old: OscillatorCell = model.cell
        modes = [Mode(f, z) for f, z in zip(hertz(old), old.zeta.tolist(), strict=True)]
        extra = [mode or Mode(0.05 / self.dt, 0.1)] * (number - len(modes))
        joined = old.coupled if coupled is None else coupled
        units = forces if forces is not None else old.force.V.shape[1] if old.force is not None else 0
        new = self.build([*modes, *extra], method, degree, hold or old.hold, joined, units, spring or old.spring)
        n = old.hidden_size
        with torch.no_grad():
            for name, p in new.cell.named_parameters():
                if name.startswith("force."):
                    continue
                if name in ("K", "E"):
                    if old.coupled:
                        p.copy_(torch.eye(number) if name == "E" else torch.zeros(number, number))
                        p[:n, :n] = old.get_parameter(name)
                    continue
                if name not in ("log_omega", "raw_zeta"):
                    p.zero_() if name != "weight" else p.fill_(1.0)
                p[:n] = old.get_parameter(name)
            if old.force is not None and units == old.force.V.shape[1]:
                new.cell.force.A.zero_()
                new.cell.force.A[:, :n], new.cell.force.A[:, number : number + n] = old.force.A.split(n, 1)
                new.cell.force.G.copy_(old.force.G)
                new.cell.force.e.copy_(old.force.e)
                new.cell.force.V[:n] = old.force.V
            new.readout.C.zero_()
            new.readout.C[:, :n], new.readout.C[:, number : number + n] = model.readout.C.split(n, 1)
            new.readout.b.copy_(model.readout.b)
            if new.readout.D is not None and model.readout.D is not None:
                new.readout.D.copy_(model.readout.D)
            if new.readout.N is not None and model.readout.N is not None:
                place = {i: i if i < n else number + i - n for i in range(2 * n)}
                for column, monomial in enumerate(model.readout.monomials):
                    moved = new.readout.monomials.index(tuple(sorted(place[i] for i in monomial)))
                    new.readout.N[:, moved] = model.readout.N[:, column]
            if joined and not old.coupled:
                self._feel_outputs(new)
        return new

    def span(self, modes: Sequence[Mode], records: Sequence[Record]) -> tuple[int, int]:
        """Lengths of the first sections, some periods of the slowest mode, and of the last: whole records (unforced)
        or long sections."""
        longest = max(len(r) for r in records)
        enough = max(sum(len(r) for r in records) // SIDE_BY_SIDE, STILL_LONG)
        last = longest if self.unforced else min(longest, LONGEST, enough)
        period = 1 / (min(m.frequency for m in modes) * self.dt)
        return int(min(max(PERIODS * period, SHORTEST), last)), last

    def sections(self, records: Sequence[Record], length: int, samples: int) -> Sections:
        """Sections spread evenly over the records, of so many samples in all."""
        sections = cut(records, length, dtype=torch.float64)
        real = sections.mask.sum(0) >= min(length, 20)
        rows = real.nonzero().flatten()
        wanted = max(1, samples // length)
        if len(rows) > wanted:
            rows = rows[torch.linspace(0, len(rows) - 1, wanted).round().long()]
        return sections.pick(rows).to(self.device)

    def refine(
        self,
        model: Model,
        records=None,
        *,
        first_only=False,
        last_only=False,
        quick=False,
        iterations=12,
        tolerance=2e-3,
    ) -> float:
        """Least squares on longer and longer sections, or on the first or last of them only; the last cost."""
        records = records or self.train
        cell = model.cell
        first, last = self.span([Mode(f, 0.0) for f in hertz(cell)], records)
        free = self.free.get(id(model), ("",))
        names = [name for name, _ in model.named_parameters() if any(part in name for part in free)]
        before, cost, length, growth = 0, math.inf, last if last_only else first, LONGER
        while True:
            sections = self.sections(records, length, self.samples if length == last and not quick else QUICK)
            kept = {name: model.get_parameter(name).detach().clone() for name in names}
            try:
                states, known = None, first
                while states is None or known < before:  # a start found on a few periods leads to one on more
                    known = known if states is None else min(2 * known, before)
                    begin = Sections(*(part[:known] for part in sections))
                    states = fit_least_squares(model, begin, names=[], states=states, iterations=15).states
                found = fit_least_squares(
                    model, sections, names=names, states=states, iterations=iterations, tolerance=tolerance,
                    prior=PRIOR,
                )  # fmt: skip
                new = found.cost
                self.log(
                    f"{cell.hidden_size} oscillator(s), {cell.method}, sections of {length} x {sections.us.shape[1]}: "
                    f"error {math.sqrt(found.history[0]):.4g} -> {math.sqrt(new):.4g} of std ({found.stopped})"
                )
            except ValueError:  # not finite from this start
                new = math.inf
            if before and growth > 1.3 and free != LINEAR and not new <= JUMP**2 * cost:
                growth = math.sqrt(growth)
                with torch.no_grad():
                    for name, value in kept.items():
                        model.get_parameter(name).copy_(value)
            else:
                cost, before, growth = new, length, LONGER
            if before == last or first_only or not math.isfinite(cost):
                return cost
            length = min(max(int(growth * before), before + 1), last)
            length = last if 1.3 * length > last and growth == LONGER else length

    def blueprint(self, model: Model, sizes: tuple[int, int]) -> Blueprint:
        cell = model.cell
        settings = {
            "dt": self.dt, "self_exciting": True, "spring": cell.spring, "friction": cell.has_friction,
            "method": cell.method, "substeps": cell.substeps, "hold": cell.hold, "moving": self.moving,
            "coupled": cell.coupled, "forces": 0 if cell.force is None else cell.force.V.shape[1],
        }  # fmt: skip
        degree = 3 if model.readout.N is not None else 1
        return Blueprint("oscillator", sizes[0], cell.hidden_size, sizes[1], settings, {"degree": degree})
