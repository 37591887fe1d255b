"""From records to a fitted system by the name of a model, all settings found by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnn.data import Record, check_training
from rnn.identify_linear import identify_linear, identify_reservoir
from rnn.identify_networks import SMALL, identify_network, identify_small_network
from rnn.identify_oscillators import identify_oscillators
from rnn.models import make_cell
from rnn.system import Blueprint, System

__all__ = ["Identified", "identify"]

SMALL_UNITS = {"lstm": 6}  # for about as many parameters as the eight units of others have
SHORTEST = 20  # samples; fewer cannot be split into training and held-out parts


@dataclass
class Identified:
    """A fitted system, CPU and wall seconds of its training, and what was found on the way."""

    system: System
    cpu_seconds: float
    seconds: float
    notes: dict[str, Any] = field(default_factory=dict)


def identify(
    name: str,
    records: Sequence[Record],
    *,
    window: int = 0,
    hidden_size: int | None = None,
    seconds: float = 300.0,
    device: str = "cpu",
    seed: int = 0,
    progress: bool = False,
    log: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Identified:
    """Fit a system of any kind to records.

    Args:
        name: "oscillator" (see `identify_oscillators`), "linear", "esn", "es2n", or any cell of `rnn.models`.
        records: training records, of equal channels and sampling time.
        window: samples of a new record from which its initial state may be found.
        hidden_size: units; None to let the method choose. Networks of few parameters are fitted by least squares,
            larger ones by Adam, as are all for which `iterations` are given; either way upon a fitted linear state
            space where that is better (`base` of `identify_network`).
        seconds: time for training a network.
        device: "cpu" or "cuda". seed: of everything random. progress: show a bar. log: called with lines.
        settings: further ones of the method that the name chooses.

    Raises:
        ValueError: an unknown name, records that nothing can be learned from, or shorter than the window.

    >>> import numpy as np
    >>> t = np.arange(300) * 0.1
    >>> record = Record(None, np.exp(-0.05 * t) * np.cos(2 * t), 0.1)
    >>> found = identify("linear", [record], window=4)
    >>> bool(np.abs(found.system.simulate(record) - record.y).max() < 1e-4)
    True
    """
    warned = check_training(records, max(SHORTEST, 2 * window + 2))
    for line in warned:
        log(f"note: {line}")
    cpu, wall = time.process_time(), time.perf_counter()
    options: dict[str, Any] = {"window": window, "device": device, "log": log, **settings}
    if name == "oscillator":
        system, notes = identify_oscillators(records, oscillators=hidden_size, seed=seed, **options)
    elif name == "linear":
        system, notes = identify_linear(records, hidden_size=hidden_size, **options)
    elif name in ("esn", "es2n"):
        system, notes = identify_reservoir(name, records, hidden_size=hidden_size, seed=seed, **options)
    else:
        make_cell(name, 1, 2)
        by_adam = settings.get("layers", 1) > 1 or "iterations" in settings
        units = hidden_size or SMALL_UNITS.get(name, 8)
        if not by_adam and _is_small(name, records[0].sizes, units):
            options.pop("layers", None)
            system, notes = identify_small_network(
                name, records, hidden_size=units, seconds=seconds, seed=seed, **options
            )
        else:
            system, notes = identify_network(
                name, records, hidden_size=hidden_size, seconds=seconds, seed=seed, progress=progress, **options
            )
    notes["warnings"] = warned
    return Identified(system, time.process_time() - cpu, time.perf_counter() - wall, notes)


def _is_small(name: str, sizes: tuple[int, int], hidden_size: int) -> bool:
    """Whether least squares are feasible: few parameters, and a state that a window can show."""
    try:
        model = Blueprint(name, sizes[0], hidden_size, sizes[1]).build()
    except ValueError:
        return False
    from rnn.model import state_width

    return sum(p.numel() for p in model.parameters()) <= SMALL and 0 < state_width(model.cell) <= 4 * hidden_size
