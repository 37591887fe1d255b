"""From records to a fitted system, all settings found by themselves: trained networks, small or large."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rnn.data import Record, Scaling, Sections, cut, split
from rnn.fit import Training, fit, fit_least_squares, load_theta
from rnn.identify_linear import settling, unforced_as_zero
from rnn.linear_base import base_sizes, linear_base, put_base
from rnn.model import Model, unpack
from rnn.optimise import LeastSquares
from rnn.system import Blueprint, System

__all__ = ["identify_network", "identify_small_network"]

SMALL = 400  # parameters; up to this size least squares are feasible, and far better than gradient descent
SAMPLES = 66_000  # training samples of the last stage of least squares
UNITS = {"lru": 32, "linoss": 32, "orthogonal": 48}
Log = Callable[[str], None]
Clock = Callable[[], float]


def identify_small_network(
    name: str, records: Sequence[Record], *, window: int = 0, hidden_size: int = 8, seconds: float = 300.0,
    base: bool | None = None, device: str = "cpu", seed: int = 0, log: Log = lambda line: None,
    clock: Clock = time.perf_counter,
) -> tuple[System, dict[str, Any]]:  # fmt: skip
    """Fit a small network by Levenberg-Marquardt, one free initial state per section, short sections first.

    Two networks are tried on the shortest sections, one upon a fitted linear state space (`rnn.linear_base`) and one
    without, and what then simulates held-out data better goes on; the former never does so worse than its base. What
    gradient descent lacks here is curvature: eight gated units fitted so reach errors that large networks do not reach
    in hours of Adam.

    Args:
        name: of the cell. records: training records. window: samples known of new records.
        hidden_size: H; the parameters should not be more than some hundreds.
        seconds: no stage is begun, and no iteration, after so much time.
        base: upon the linear base (True), without (False), or what is better (None).
        device: "cpu" or "cuda". seed: of the weights. log: for lines.
        clock: what `seconds` are counted by; `time.process_time` where others share the machine.
    """
    (I, O), scaling = records[0].sizes, Scaling.of(records)
    scaled = [unforced_as_zero(scaling.scale(r)) for r in records]
    train, valid = split(scaled)
    forget, longest = settling(scaled), max(len(r) for r in train)
    unforced = all(np.ptp(r.u) == 0 for r in scaled)
    held = cut(valid or train, dtype=torch.float64).to(device)
    held = Sections(*(part[:HELD_OUT] for part in held))
    begun = clock()
    stages = _stages(forget, longest, unforced)
    known = max(window, 2 * hidden_size)
    check = (held, min(known, held.us.shape[0] // 3))
    linear = None if base is False else linear_base(records, window, log)
    bases = [linear] if base and linear is not None else [linear, None] if linear is not None else [None, None]
    candidates = []
    for attempt, under in enumerate(bases):
        torch.manual_seed(seed + attempt)
        blueprint = Blueprint(name, I, hidden_size, O, dict(base_sizes(under)))
        model = put_base(blueprint.build().double(), under).to(device)
        guard = None if under is None else check
        cost = _stage(model, train, guard, *stages[0], 40, begun + seconds * (attempt + 1) / 4, clock, device)
        error = _held_out(model, *check)
        log(
            f"{name} of {hidden_size}, {'alone' if under is None else 'upon a linear base'}: error "
            f"{math.sqrt(cost):.4g} of std on short sections, held out {math.sqrt(error):.4g}"
        )
        candidates.append((error if math.isfinite(error) else 1e6 + cost, attempt, model, blueprint))
    _, attempt, model, blueprint = min(candidates, key=lambda c: c[:2])
    for length, number in stages[1:]:
        cost = _stage(model, train, check, length, number, 40, begun + seconds, clock, device)
        log(f"{name} of {hidden_size}, sections of {length} x {number}: error {math.sqrt(cost):.4g} of std")
        if clock() - begun > seconds:
            break
    system = System(model, blueprint, scaling, records[0].dt, window)
    notes = {
        "units": hidden_size, "parameters": sum(p.numel() for p in model.parameters()), "optimiser": "lm",
        "base": bases[attempt] is not None, "held_out_nrmse": math.sqrt(_held_out(model, *check)),
    }  # fmt: skip
    return system, notes


HELD_OUT = 8_000  # held-out samples that are simulated to choose among weights


def _stages(forget: int, longest: int, unforced: bool) -> list[tuple[int, int]]:
    """Lengths and numbers of sections: about half the time of forgetting, the same with more data, 2 and 8 times it."""
    short = min(max(forget // 2, 32), longest)
    stages = [(short, 100), (short, 250), (min(4 * short, longest), 64)]
    last = longest if unforced else min(max(16 * short, 500), longest)
    return [*stages, (last, max(1, SAMPLES // last))]


def _held_out(model: Model, held: Sections, known: int) -> float:
    """Mean squared free-run error on held-out data, the state found from the first `known` samples."""
    first = Sections(*(part[:known] for part in held))
    found = fit_least_squares(model, first, names=[], iterations=15)
    with torch.no_grad():
        out = model(held.us, unpack(model.cell, found.states)).outputs
    error = (out - held.ys).square()[known:][held.mask[known:]]
    value = float(error.mean()) if error.numel() else 0.0
    return value if math.isfinite(value) else math.inf


def _stage(
    model: Model, train: Sequence[Record], check: tuple[Sections, int] | None, length: int, number: int,
    iterations: int, deadline: float, clock: Clock, device: str,
) -> float:  # fmt: skip
    """Least squares on so many sections; with held-out data the weights that simulate it best stay."""
    sections = cut(train, length, dtype=torch.float64)
    if sections.us.shape[1] < number:
        sections = cut(train, length, max(1, length // 4), dtype=torch.float64)
    rows = torch.linspace(0, sections.us.shape[1] - 1, min(number, sections.us.shape[1])).round().long()
    sections = sections.pick(rows).to(device)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    best, kept = (math.inf, None) if check is None else (_held_out(model, *check), None)

    def look(iteration: int, found: LeastSquares) -> bool:
        nonlocal best, kept
        if check is not None and iteration % 5 == 4:
            load_theta(model, names, found.theta)
            error = _held_out(model, *check)
            if error < best:
                best, kept = error, found.theta
        return clock() > deadline

    begin = torch.cat([model.get_parameter(name).detach().flatten() for name in names])
    found = fit_least_squares(model, sections, iterations=iterations, tolerance=5e-3, callback=look)
    if check is not None and not _held_out(model, *check) < best:
        load_theta(model, names, begin if kept is None else kept)
    return found.cost


def identify_network(
    name: str, records: Sequence[Record], *, window: int = 0, hidden_size: int | None = None, layers: int = 1,
    seconds: float = 120.0, iterations: int | None = None, lr: float = 5e-3, batch: int = 64, device: str = "cpu",
    base: bool | None = None, seed: int = 0, progress: bool = False, log: Log = lambda line: None,
    clock: Clock = time.perf_counter,
) -> tuple[System, dict[str, Any]]:  # fmt: skip
    """Train a network on free-run errors: overlapping sections, Adam with decay, the best weights on held-out sections.

    With a window the state before a section comes from an encoder that reads so many samples; without one it is the
    cell's own and the first samples do not count, as many as the system takes to forget. An eighth of the training is
    spent on finding out whether the network does better upon a fitted linear state space (`rnn.linear_base`) or alone.

    Args:
        name: of the cell, see `rnn.models`.
        records: training records. window: samples known of new records.
        hidden_size: H; None for a usual one. layers: of cells.
        seconds: time for training, from which the number of iterations is found, unless that is given.
        iterations: of Adam. lr: learning rate. batch: sections per iteration.
        base: upon the linear base (True), without (False), or what is better on held-out sections (None).
        device: "cpu" or "cuda". seed: of weights and batches. progress: show a bar. log: for lines.
        clock: what `seconds` are counted by.
    """
    (I, O), scaling = records[0].sizes, Scaling.of(records)
    scaled = [unforced_as_zero(scaling.scale(r)) for r in records]
    longest = max(len(r) for r in scaled)
    forget = min(settling(scaled), longest // 4)
    window = min(window, longest // 4)
    settings: dict[str, Any] = {"start": "encoder", "window": window} if window >= 2 else {}
    if not settings and I == 0:
        settings = {"start": "learned"}
    washout = 0 if settings else forget
    length = min(max(2 * forget, 100) + max(washout, window), max(longest // 2, 20))
    H = hidden_size or UNITS.get(name, 32)

    def build(under: Model | None) -> tuple[Blueprint, Model]:
        torch.manual_seed(seed)
        cell = ({"layers": layers} if layers > 1 else {}) | base_sizes(under)
        blueprint = Blueprint(name, I, H, O, cell, settings)
        return blueprint, put_base(blueprint.build(), under).to(device)

    train, valid = split(scaled)
    total = sum(len(r) for r in train)
    sections = cut(train, length, max(1, length // (8 if total < 10_000 else 2)))
    held = cut(valid, min(length, max(len(r) for r in valid)))
    long_enough = held.mask.sum(0) > max(washout, window)
    checked = held.pick(long_enough) if long_enough.any() else None
    training = Training(
        lr=lr, washout=washout, batch=min(batch, sections.us.shape[1]), seed=seed, check_every=25, warm_up=20
    )
    linear = None if base is False else linear_base(records, window, log)
    blueprint, model = build(linear)
    timed = iterations is None
    if iterations is None:
        begun = clock()
        fit(model, sections, None, replace(training, iterations=5), device=device)
        per = (clock() - begun) / 5
        iterations = int(min(max(seconds / per, 50), 20_000))
    if base is None and linear is not None:
        trial = replace(training, iterations=max(iterations // 16, 5))
        losses = [fit(build(under)[1], sections, checked, trial, device=device).best_loss for under in (linear, None)]
        log(f"{name} of {H}: after {trial.iterations} iterations upon a linear base and alone " + str(losses))
        iterations -= 2 * trial.iterations if timed else 0
        linear = linear if losses[0] <= losses[1] else None
    blueprint, model = build(linear)
    log(f"{name} of {H}: sections of {length} x {sections.us.shape[1]}, washout {washout}, {iterations} iterations")
    done = fit(
        model, sections, checked, replace(training, iterations=iterations, check_every=max(25, iterations // 100)),
        device=device, progress=progress,
    )  # fmt: skip
    log(f"{name} of {H}: error {math.sqrt(max(done.best_loss, 0)):.4g} of std ({done.stopped})")
    notes = {
        "units": H, "layers": layers, "base": linear is not None, "iterations": done.iterations, "section": length,
        "washout": washout,
        "held_out_nrmse": math.sqrt(max(done.best_loss, 0)), "stopped": done.stopped,
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip
    return System(model, blueprint, scaling, records[0].dt, window), notes
