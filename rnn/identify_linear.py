"""From records to a fitted system, all settings found by themselves: linear state space and reservoirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rnn.baselines import LeastSquaresModel, fit_linear
from rnn.data import Record, Scaling, cut, split
from rnn.fit import evaluate, fit_least_squares
from rnn.model import Model
from rnn.modes import find_modes
from rnn.ridge import ridge
from rnn.system import Blueprint, System
from rnn.unroll import unroll

__all__ = ["identify_linear", "identify_reservoir", "settling", "unforced_as_zero"]

UNITS = {"esn": 500, "es2n": 300}
PENALTIES = (1e-7, 1e-5, 1e-3)  # of the readout's weights, per sample of data scaled to unit variance
Log = Callable[[str], None]


def settling(records: Sequence[Record]) -> int:
    """Samples after which a start is forgotten to 2 %, by the slowest pole of a linear recursion, within 30 to 300."""
    modes = find_modes(records, 1 if records[0].sizes[1] == 1 else records[0].sizes[1])
    rates = []
    for mode in modes:
        zeta = max(mode.zeta, 1e-3)
        real = zeta if zeta < 1 else zeta - math.sqrt(zeta * zeta - 1)
        rates.append(real * 2 * math.pi * mode.frequency * records[0].dt)
    return int(min(max(4 / min(rates), 30), 300)) if rates else 100


def identify_linear(
    records: Sequence[Record], *, window: int = 0, hidden_size: int | None = None, device: str = "cpu",
    log: Log = lambda line: None, samples: int = 40_000, most: int = 16,
) -> tuple[System, dict[str, Any]]:  # fmt: skip
    """Linear state space: the least-squares recursion as a state space, its free-run error then made least.

    Args:
        records: training records. window: samples known of new records.
        hidden_size: states H; None for the order that simulates best. device: "cpu" or "cuda". log: for lines.
        samples: training samples used for the free-run error. most: states tried, where their number is not given.
    """
    (I, O), scaling = records[0].sizes, Scaling.of(records)
    scaled = [unforced_as_zero(scaling.scale(r)) for r in records]
    order = None if hidden_size is None else max(1, round(hidden_size / O))
    recursion = fit_linear(
        scaled, order=order, window=window, orders=[n for n in (1, 2, 3, 4, 6, 8) if n * O <= max(most, O)]
    )
    n = recursion.order * O
    blueprint = Blueprint("linear", I, n, O, {"output_size": O}, {"feedthrough": False})
    model = blueprint.build().double().to(device)
    _realise(model, recursion, max(I, 1), O)
    system = System(model, blueprint, scaling, records[0].dt, window)
    train, valid = split(scaled)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    names = [f"cell.{name}" for name in ("A", "B", "C", "matrix")] + ["readout.b"]
    length = min(max(len(r) for r in train), max(1000, 3 * settling(scaled)))
    sections = cut(train, length, dtype=torch.float64)
    sections = sections.pick(slice(0, max(1, samples // length))).to(device)
    held = cut(valid or train, dtype=torch.float64).to(device)
    washout = min(settling(scaled), held.us.shape[0] // 2)
    error = lambda: evaluate(model, held, washout=washout)
    old = error()
    found = fit_least_squares(model, sections, names=names, iterations=15)
    new = error()
    log(f"linear, order {recursion.order}: held-out error {math.sqrt(old):.4g} -> {math.sqrt(new):.4g} of std")
    if not new <= old:
        model.load_state_dict(before)
    return system, {"order": recursion.order, "states": n, "stopped": found.stopped}


def unforced_as_zero(record: Record) -> Record:
    """An unforced record with one input that is always zero; any other as it is."""
    return record if record.sizes[0] else replace(record, u=np.zeros((len(record), 1)))


def _realise(model: Model, recursion: LeastSquaresModel, I: int, O: int) -> None:
    """Write `y_t = sum A_k y_{t-k} + sum B_k u_{t-k} + c` into a linear cell, in observer form: no approximation."""
    p, n = recursion.order, recursion.order * O
    w = torch.as_tensor(recursion.coefficients.T.copy())
    past, driven, c = w[:, :n], w[:, n : n + (p + 1) * I], w[:, -1]
    cell = model.cell
    direct = driven[:, :I]
    D, C = torch.zeros(n, n, dtype=w.dtype), torch.zeros(n, I, dtype=w.dtype)
    for k in range(p):
        rows = slice(k * O, (k + 1) * O)
        D[rows, :O] = past[:, k * O : (k + 1) * O]
        if k + 1 < p:
            D[rows, (k + 1) * O : (k + 2) * O] = torch.eye(O, dtype=w.dtype)
        C[rows] = driven[:, (k + 1) * I : (k + 2) * I] + past[:, k * O : (k + 1) * O] @ direct
    offset = torch.linalg.solve(torch.eye(O, dtype=w.dtype) - sum(past[:, k * O : (k + 1) * O] for k in range(p)), c)
    with torch.no_grad():
        for name, value in (("A", direct), ("B", torch.eye(O, n, dtype=w.dtype)), ("C", C), ("matrix", D)):
            cell.get_parameter(name).copy_(value)
        model.readout.C.copy_(torch.eye(O))
        model.readout.b.copy_(offset)


def identify_reservoir(
    name: str, records: Sequence[Record], *, window: int = 0, hidden_size: int | None = None, device: str = "cpu",
    seed: int = 0, log: Log = lambda line: None,
) -> tuple[System, dict[str, Any]]:  # fmt: skip
    """A fixed random network with a ridge readout; leak, input scale, penalty and feedback by held-out free run.

    With feedback the measured outputs are fed back while known, the network's own after that: an unforced system can
    only be generated so, and a lightly damped one that is driven is remembered better so.
    """
    (I, O), scaling = records[0].sizes, Scaling.of(records)
    scaled = [unforced_as_zero(scaling.scale(r)) for r in records]
    train, valid = split(scaled)
    washout = min(settling(scaled), min(len(r) for r in train) // 4)
    unforced = I == 0 or all(np.ptp(r.u) == 0 for r in records)
    H = hidden_size or UNITS[name]
    known = max(window, washout)
    inside = [(1.0, 0.1), (1.0, 0.5), (0.3, 0.1), (0.3, 0.5)] if name == "esn" else [(None, 0.1), (None, 0.5)]
    ways = [(True, *c) for c in inside] if unforced else [(f, *c) for f in (False, True) for c in inside]
    best: tuple[float, Any] = (math.inf, None)
    held = cut([r[:5000] for r in valid] or train, dtype=torch.float64).to(device)
    for feedback, leak, scale in ways:
        settings = {"seed": seed, "input_scale": scale} | ({"leak": leak, "bias_scale": 0.2} if name == "esn" else {})
        blueprint = Blueprint(name, I, H, O, settings, {"feedback": feedback})
        features = None
        for penalty in PENALTIES:
            model = blueprint.build().double().to(device)
            features = _solve_readout(model, train, penalty, washout, features)
            first = min(known, len(held.us) // 2)
            loss = evaluate(model, held, washout=first, window=first if feedback else 0)
            loss = loss if math.isfinite(loss) else math.inf
            log(
                f"{name} of {H}, {'feedback' if feedback else 'driven'}, input scale {scale:g}, leak {leak}, "
                f"penalty {penalty:g}: held out {math.sqrt(loss):.4g}"
            )
            if loss < best[0] or best[1] is None:
                best = (loss, (blueprint, model, penalty))
    blueprint, model, penalty = best[1]
    _solve_readout(model, scaled, penalty, washout)
    notes = {"units": H, "penalty": penalty, "feedback": model.feedback, **blueprint.cell}
    return System(model, blueprint, scaling, records[0].dt, window), notes


Features = tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def _solve_readout(
    model: Model, records: Sequence[Record], penalty: float, washout: int, features: Features | None = None
) -> Features:
    """Fit the readout one step ahead, measured outputs fed back where there is feedback; what it was fitted to."""
    if features is None:
        rows, targets = [], []
        for record in records:
            us, ys, _ = cut([record], dtype=torch.float64).to(model.readout.C.device)
            xs = torch.cat([us, torch.cat([torch.zeros_like(ys[:1]), ys[:-1]])], -1) if model.feedback else us
            zs = unroll(model.cell, xs).outputs
            rows.append(torch.cat([zs, xs, torch.ones_like(xs[..., :1])], -1)[washout:, 0])
            targets.append(ys[washout:, 0])
        features = torch.cat(rows), torch.cat(targets)
    X, Y = features
    W = ridge(X, Y, penalty * len(X))
    H, I = model.cell.output_size, model.cell.input_size
    model.readout.C.copy_(W[:, :H])
    assert model.readout.D is not None
    model.readout.D.copy_(W[:, H : H + I])
    model.readout.b.copy_(W[:, -1])
    return features
