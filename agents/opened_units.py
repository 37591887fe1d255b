"""What a network's parts carry: roles of units, reach of gradients, relevance, stiff directions, likeness.

Each analysis takes a `Subject` and yields sections of a report.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from agents.controller import make_controller
from agents.opened_dynamics import Subject
from agents.schedule import Schedule
from rnn import unit_labels, unroll
from rnn.analysis.curvature import hessian_spectrum
from rnn.analysis.gradients import jacobian_products, lstm_direct_path
from rnn.analysis.relevance import integrated_gradients, layerwise_relevance, occlusion
from rnn.analysis.report import Section
from rnn.analysis.result import Result
from rnn.analysis.similarity import compare_dynamics
from rnn.analysis.units import UnitRoles, circular_features, dimensionality, unit_roles
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell

__all__ = ["likeness", "memory", "relevance", "rhythm_phase", "stiffness", "units"]


def units(network: Subject) -> Iterator[Section]:
    """Which units carry phase, side and drive."""
    name, labels, last = network.cell.activity, unit_labels(network.cell), network.drives[-1]

    def settled(left: Tensor, right: Tensor) -> Tensor:
        xs = network.input(left, right, batch=len(left)).double()
        run = unroll(network.twin, xs.expand(600, -1, -1), record=(name,), edits=network.edits, path="loop")
        return run.trace[name][300:]

    sides = torch.linspace(-1.6, 1.6, 9)
    turning = settled(last - sides / 2, last + sides / 2)
    drives = torch.tensor([1.6, 1.8, 2.0, 2.2, 2.4, 3.4, 3.7, 4.0, 4.3, 4.6])
    driven = settled(drives, drives)
    swing = driven.amax(0) - driven.amin(0)
    parts = {
        "phase": unit_roles(turning, {"phase": rhythm_phase(turning)}, labels),
        "side": unit_roles(turning, {"side": sides}, labels),
        "drive": unit_roles(driven, {"drive": drives}, labels),
        "drive, by swing": unit_roles(swing[None], {"drive": drives}, labels),
    }
    join = lambda field: torch.cat([getattr(part, field) for part in parts.values()], 1)
    roles = UnitRoles(
        tuple(parts), tuple(labels), join("explained"), join("information"), parts["phase"].preferred_phase
    )
    numbers = {f"carry {what}": [f"{unit}: {share:.2f}" for unit, share in roles.best(what)] for what in roles.names}
    text = (
        f"Share of variance explained: of the activity by phase and by side, in 9 runs that turn at drive {last:g}; "
        "and by the drive, in 10 runs; of the size of a unit's swing, by the drive."
    )
    yield Section("What the units carry", text, numbers, {"roles": roles})


def rhythm_phase(activity: Tensor) -> Tensor:
    """Phase of each run [T, B], cycles: the angle of the analytic signal of its leading component."""
    columns = []
    for b in range(activity.shape[1]):
        first = dimensionality(activity[:, b]).project(activity[:, b], 1)[:, 0]
        spectrum = torch.fft.fft(first)
        spectrum[len(first) // 2 + 1 :] = 0
        columns.append((torch.fft.ifft(spectrum).angle() / (2 * torch.pi)) % 1)
    aligned = torch.stack(columns, 1)
    reference = activity[..., activity.std((0, 1)).argmax()]
    for b in range(aligned.shape[1]):  # phase 0: the busiest unit is at its peak
        c, s = (circular_features(aligned[:, b])[:, :2].T @ (reference[:, b] - reference[:, b].mean())).tolist()
        aligned[:, b] = (aligned[:, b] - torch.atan2(torch.tensor(s), torch.tensor(c)) / (2 * torch.pi)) % 1
    return aligned


def memory(network: Subject) -> Iterator[Section]:
    """How far back gradients reach."""
    drive = network.drives[-1]
    _, s = network.settled(drive)
    xs = network.input(drive, batch=(40, 1))
    products = jacobian_products(network.cell, xs, s)
    figures: dict[str, Result] = {"products": products}
    core = getattr(network.cell, "core", network.cell)
    if isinstance(core, LSTMCell):
        encode = getattr(network.cell, "encode", lambda x: x)
        figures["direct"] = lstm_direct_path(core, encode(xs).detach())
    lags = [1, 10, 20, 40]
    numbers = {f"norm over {lag} steps": float(products.by_lag[lag]) for lag in lags}
    text = f"At drive {drive:g}. On the logarithmic scale 0 means that a gradient is kept."
    yield Section("Gradients through time", text, numbers, figures)


def relevance(network: Subject) -> Iterator[Section]:
    """What the most active output rests on when the animal is told to turn at the middle of a run."""
    drive, steps = network.drives[-1], 60
    xs = network.input(drive, batch=(steps, 1)).clone()
    turned = network.input(drive + 0.5, drive - 0.5, batch=(steps, 1))
    xs[steps // 2 :] = turned[steps // 2 :]
    outputs = unroll(network.cell, xs).outputs.detach()[:, 0]
    index = int(outputs.std(0).argmax())
    score = lambda ys: ys[-1, :, index]
    figures: dict[str, Result] = {
        "integrated": integrated_gradients(network.cell, xs, score, points=16),
        "occlusion": occlusion(network.cell, xs, score),
    }
    numbers = {"output": index, "missing in integrated gradients": float(figures["integrated"].missing.abs().max())}  # type: ignore[attr-defined]
    core = getattr(network.cell, "core", network.cell)
    if isinstance(core, LSTMCell | GRUCell):
        readout = getattr(network.cell, "readout", None)
        encode = getattr(network.cell, "encode", lambda x: x)
        weights = readout.weight[index] if readout is not None else torch.eye(core.output_size)[index]
        found = layerwise_relevance(core, encode(xs).detach(), weights.detach())
        figures["layerwise"] = found
        numbers["conservation error of layer-wise relevance"] = float(found.missing.abs().max())
    text = f"The drive turns from {drive:g}/{drive:g} to {drive + 0.5:g}/{drive - 0.5:g} at step {steps // 2}."
    yield Section("What the output rests on", text, numbers, figures)


def stiffness(network: Subject) -> Iterator[Section]:
    """Curvature of the error of reproducing its own motion: stiff and sloppy directions of the parameters."""
    xs = network.input(network.drives[-1], batch=(60, 1))
    wanted = unroll(network.twin, xs.double()).outputs.detach()
    sizes = {name: p.numel() for name, p in network.cell.named_parameters() if p.numel() >= 4 and name != "start"}
    if not sizes:
        return
    name = min(sizes, key=lambda key: abs(sizes[key] - 40))
    found = hessian_spectrum(network.cell, xs, lambda ys: (ys - wanted).square().mean(), names=[name], count=8)
    text = f"Of the parameter {name}: how much the motion minds its directions."
    numbers = {"largest": float(found.eigenvalues[0]), "condition": found.condition}
    yield Section("Stiff and sloppy directions", text, numbers, {"hessian": found})


def likeness(network: Subject) -> Iterator[Section]:
    """Distance of its dynamics to those of the phase network, gait by gait."""
    other = Subject("phase", make_controller("phase", Schedule.constant(4.0)).cell, network.drives, (), network.steps)
    kinds = [(who, drive) for who in (network, other) for drive in network.drives]
    activities = [who.activity(drive) for who, drive in kinds]
    moving = [i for i, a in enumerate(activities) if float((a.amax(0) - a.amin(0)).max()) > 1e-3]
    if len(moving) < 2:
        yield Section("Likeness to the phase network", "Not done: fewer than two of the runs move.")
        return
    names = [f"{'this' if kinds[i][0] is network else 'phase'} {kinds[i][1]:g}" for i in moving]
    found = compare_dynamics([activities[i] for i in moving], names, steps=100, rank=6)
    numbers = {f"{names[i]} - {names[j]}": float(found.matrix[i, j]) for i in range(len(names)) for j in range(i)}
    yield Section("Likeness to the phase network", "Angle between the dynamics, rad.", numbers, {"distance": found})
