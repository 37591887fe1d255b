"""How good a pattern generator's numbers are: many candidates in one batched run, and the losses of each stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from rnn.cpg.neurons import NeuronCell
from rnn.cpg.wiring import drive_input
from rnn.edits import Clamp
from rnn.unroll import unroll

__all__ = [
    "Knob", "Parameters", "Stage", "Trial", "chain_loss", "evolve", "evolve_stages", "lag", "limbs_loss",
    "polish_loss", "projection_loss", "rhythm", "segment_loss",
]  # fmt: skip

Parameters = dict[str, Any]

# Frequencies asked for, Hz by drive. Body alone: 2.9 times the law of the 2007 network, 2.6 to 3.8 Hz at drive 3 to 5
# as in the recorded trials (Karakasiliotis et al., 2016). Limbs: the newt's walking range, about 0.5 to 1.2 Hz.
SWIM_HZ = {1.0: 1.45, 2.0: 2.03, 3.0: 2.61, 4.0: 3.19, 5.0: 3.77}
SWIM_CARE = np.array([0.2, 0.3, 1.0, 1.0, 1.0])
WALK_HZ = {1.2: 0.55, 2.0: 0.85, 2.95: 1.2}


@dataclass(frozen=True)
class Knob:
    """One number of a search: its path in the parameters, its bounds, whether it is searched as a logarithm, its sign.

    >>> table = {"tau": {"A": 0.1}}; knob = Knob(("tau", "A"), 0.01, 1.0, log=True)
    >>> round(knob.read(table), 3); knob.write(table, 0.0); table
    0.5
    {'tau': {'A': 0.01}}
    """

    path: tuple[Any, ...]
    low: float
    high: float
    log: bool = False
    sign: float = 1.0

    def write(self, parameters: Parameters, place: float) -> None:
        """Set the number from its place in [0, 1] between the bounds."""
        u = float(np.clip(place, 0, 1))
        value = self.low * (self.high / self.low) ** u if self.log else self.low + u * (self.high - self.low)
        self._owner(parameters)[self.path[-1]] = self.sign * value

    def read(self, parameters: Parameters) -> float:
        """The number's place in [0.02, 0.98] between the bounds."""
        value = max(self.sign * self._owner(parameters)[self.path[-1]], 1e-9 if self.log else -np.inf)
        along = np.log(value / self.low) / np.log(self.high / self.low) if self.log else (value - self.low)
        return float(np.clip(along if self.log else along / (self.high - self.low), 0.02, 0.98))

    def _owner(self, parameters: Parameters) -> Any:
        for key in self.path[:-1]:
            parameters = parameters[key]
        return parameters


@dataclass(frozen=True)
class Trial:
    """Runs candidates: each becomes rows of one batch, its numbers written into the cell as edits of `written`."""

    cell: Callable[..., NeuronCell]
    written: tuple[str, ...]

    def run(
        self,
        candidates: Sequence[Parameters],
        drives: Sequence[float],
        seconds: float,
        right: Sequence[float] | None = None,
        **size: Any,
    ) -> np.ndarray:
        """Outputs [P, D, T, O] of P candidates at D drives (`right`: drives of the right side, if they differ)."""
        cells = [self.cell(parameters=p, **size) for p in candidates]
        rows = len(drives)
        edits = [
            Clamp(name, torch.stack([getattr(c, name).detach() for c in cells]).repeat_interleave(rows, 0))
            for name in self.written
        ]
        left = torch.tensor(list(drives) * len(cells))
        x = drive_input(cells[0], left, torch.tensor(list(right or drives) * len(cells)), batch=rows * len(cells))
        steps = round(seconds / cells[0].dt)
        with torch.no_grad():
            ys = unroll(cells[0], x.expand(steps, -1, -1), edits=edits).outputs
        return ys.permute(1, 0, 2).reshape(len(cells), rows, steps, -1).double().numpy()


def evolve(
    parameters: Parameters,
    knobs: Sequence[Knob],
    loss: Callable[[Sequence[Parameters]], np.ndarray],
    *,
    generations: int,
    population: int,
    seed: int,
    spread: float = 0.2,
    report: Callable[[int, float], None] = lambda generation, best: None,
) -> tuple[Parameters, float]:
    """Search some numbers by CMA-ES, all others held; returns the best parameters found and their loss.

    Candidates whose loss is not a number count as very bad ones.
    """
    import cma

    def decode(places: np.ndarray) -> Parameters:
        candidate = copy.deepcopy(parameters)
        for knob, place in zip(knobs, places, strict=True):
            knob.write(candidate, place)
        return candidate

    options = {"bounds": [0, 1], "popsize": population, "seed": seed, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy([knob.read(parameters) for knob in knobs], spread, options)
    for generation in range(generations):
        places = strategy.ask()
        losses = np.nan_to_num(loss([decode(u) for u in places]), nan=1e6)
        strategy.tell(places, losses.tolist())
        report(generation, strategy.result.fbest)
        if strategy.stop():
            break
    return decode(strategy.result.xbest), float(strategy.result.fbest)


Stage = tuple[Callable[[Parameters], list[Knob]], Callable[[Trial, Sequence[Parameters]], np.ndarray]]
"""What a stage searches, and its loss."""


def evolve_stages(
    parameters: Parameters,
    stages: Mapping[str, Stage],
    trial: Trial,
    *,
    generations: int,
    population: int,
    seed: int,
    store: Callable[[Parameters], None] = lambda parameters: None,
) -> Parameters:
    """Search stage after stage, each with the earlier ones' numbers held; prints and, after each stage, stores."""
    losses = parameters.get("loss", {})
    for name, (knobs, loss) in stages.items():

        def report(generation: int, best: float, name: str = name) -> None:
            if generation % 10 == 0:
                print(f"{name:10s} generation {generation:4d}  best loss {best:.4f}", flush=True)

        parameters, losses[name] = evolve(
            parameters, knobs(parameters), partial(loss, trial), report=report,
            generations=generations, population=population, seed=seed,
        )  # fmt: skip
        parameters["loss"] = {stage: round(value, 4) for stage, value in losses.items()}
        store(parameters)
    return parameters


def rhythm(signal: np.ndarray, dt: float = 0.01, lowest: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Frequency (Hz) at which signals [..., T, n] together are strongest, and their complex amplitudes [..., n] there.

    >>> wave = np.cos(2 * np.pi * 2.0 * np.arange(500)[:, None] * 0.01 - np.array([0.0, 1.0]))
    >>> hz, amplitude = rhythm(wave)
    >>> round(float(hz), 2), np.angle(amplitude[0] / amplitude[1]).round(2)
    (2.0, np.float64(1.0))
    """
    steps = signal.shape[-2]
    window = np.hanning(steps)[:, None]
    spectrum = np.fft.rfft((signal - signal.mean(-2, keepdims=True)) * window, 8 * steps, axis=-2) * (2 / window.sum())
    power = (np.abs(spectrum) ** 2).sum(-1)
    first = int(np.ceil(lowest * 8 * steps * dt))
    peak = power[..., first:].argmax(-1) + first
    return peak / (8 * steps * dt), np.take_along_axis(spectrum, peak[..., None, None], -2)[..., 0, :]


def lag(amplitude: np.ndarray) -> np.ndarray:
    """Lag from each signal to the next, as fraction of a cycle in (-0.5, 0.5], from complex amplitudes [..., n]."""
    return np.angle(amplitude[..., :-1] / (amplitude[..., 1:] + 1e-12)) / (2 * np.pi)


def beyond(x: np.ndarray, low: float, high: float = np.inf) -> np.ndarray:
    """Distance by which x lies outside [low, high]."""
    return np.maximum(low - x, 0) + np.maximum(x - high, 0)


def _purity(signal: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Share of a signal's variance [..., T, n] that its rhythm explains, 0 to 1."""
    return np.minimum(0.5 * np.abs(amplitude) ** 2 / (signal.var(-2) + 1e-6), 1.0)


def segment_loss(trial: Trial, candidates: Sequence[Parameters]) -> np.ndarray:
    """One segment without limbs: frequency rises with drive, sides alternate smoothly, rest below 1, drives turn."""
    left = [0.5, *SWIM_HZ, 4.2, 4.5, 2.2]
    right = [0.5, *SWIM_HZ, 3.8, 3.5, 1.8]
    y = trial.run(candidates, left, 5.0, right, segments=1, limbs=())[:, :, 200:]
    difference, n = y[..., :1] - y[..., 1:], len(SWIM_HZ)
    hz, amplitude = rhythm(difference)
    error = SWIM_CARE * np.log(hz[:, 1 : n + 1] / np.array(list(SWIM_HZ.values()))) ** 2
    size, pure = np.abs(amplitude[..., 0]) / 2, _purity(difference, amplitude)[..., 0]
    high, low = np.quantile(y[:, 1:], 0.95, axis=2), np.quantile(y[:, 1:], 0.05, axis=2)
    turn = difference.mean((2, 3))
    return (
        30 * error.sum(1)
        + 20 * beyond(size[:, 1:], 0.22, 0.36).sum(1)
        + 10 * beyond(pure[:, 1:], 0.97).sum(1)
        + 20 * beyond(y[:, 0].max((1, 2)), 0.0, 0.08)
        + 50 * beyond(np.abs(turn[:, 0]), 0, 0.005)
        + 5 * (beyond(low, 0, 0.08) + beyond(high, 0, 0.85)).sum((1, 2))
        + 20 * (beyond(turn[:, -3], 0.04, 0.1) + beyond(turn[:, -2], 0.1, 0.2) + beyond(turn[:, -1], 0.04, 0.2))
        + 20 * beyond(np.abs(np.log(hz[:, -3:-1] / hz[:, 4:5])), 0, 0.05).sum(1)
    )


def chain_loss(trial: Trial, candidates: Sequence[Parameters]) -> np.ndarray:
    """The chain without limbs: one travelling wave at all drives, at the segment's frequency, steady; drives turn."""
    left, right = [0.5, *SWIM_HZ, 4.4], [0.5, *SWIM_HZ, 3.6]
    y = trial.run(candidates, left, 6.5, right, limbs=())[:, :, 250:]
    difference, n = y[..., :8] - y[..., 8:], len(SWIM_HZ)
    hz, amplitude = rhythm(difference)
    error = SWIM_CARE * np.log(hz[:, 1 : n + 1] / np.array(list(SWIM_HZ.values()))) ** 2
    size, lags = np.abs(amplitude) / 2, lag(amplitude)[:, 1 : n + 1]
    pure = _purity(difference, amplitude)
    turn = difference[:, -1].mean(1)
    return (
        30 * error.sum(1)
        + 20 * (SWIM_CARE * beyond(lags.sum(-1), 0.76, 0.82)).sum(1)
        + 10 * (SWIM_CARE * beyond(lags, 0.08, 0.15).sum(-1)).sum(1)
        + 20 * beyond(size[:, 1:], 0.2, 0.4).mean(-1).sum(1)
        + 10 * beyond(pure[:, 1:], 0.95).mean(-1).sum(1)
        + 20 * beyond(y[:, 0].max((1, 2)), 0.0, 0.1)
        + 10 * beyond(turn, 0.05, 0.3).mean(1)
    )


def _limb_error(limbs: np.ndarray) -> np.ndarray:
    """Limbs [P, W, T, 8] at the drives of WALK_HZ: right frequency, round the ring in quadrature, in trot."""
    hz, amplitude = rhythm(limbs)
    cosine, sine = amplitude[..., :4], amplitude[..., 4:]
    turn = np.angle(cosine / (sine + 1e-12)) / (2 * np.pi)
    relative = np.angle(cosine / (cosine[..., :1] + 1e-12)) - np.array([0, np.pi, np.pi, 0])
    trot = np.abs(np.angle(np.exp(1j * relative))) / (2 * np.pi)
    size = np.minimum(np.abs(cosine), np.abs(sine))
    error = 20 * np.log(hz / np.array(list(WALK_HZ.values()))) ** 2 + 10 * beyond(size, 0.35).mean(-1)
    pure = _purity(limbs, amplitude).mean(-1)
    return (error + 10 * np.abs(turn - 0.25).mean(-1) + 10 * trot.mean(-1) + 5 * beyond(pure, 0.95)).sum(1)


def limbs_loss(trial: Trial, candidates: Sequence[Parameters]) -> np.ndarray:
    """Limb centres alone: stepping at drive 1 to 3, silence below and above, slower or smaller on a weaker side."""
    y = trial.run(candidates, [*WALK_HZ, 0.6, 3.4, 5.0], 10.0, segments=1)[:, :, 400:, 2:]
    return _limb_error(y[:, :3]) + 20 * np.abs(y[:, 3:]).max((1, 2, 3))


def _standing_error(body: np.ndarray, limbs: np.ndarray) -> np.ndarray:
    """Body [P, W, T, 8] beats with its limbs: trunk in phase with the left fore limb, tail in antiphase."""
    hz = rhythm(limbs)[0]
    time, window = np.arange(body.shape[2]) * 0.01, np.hanning(body.shape[2])
    wave = np.exp(-2j * np.pi * hz[..., None] * time) * window * (2 / window.sum())
    walking, stepping = (z - z.mean(2, keepdims=True) for z in (body, limbs[..., :1]))
    joint, fore = (np.einsum("pdt,pdtn->pdn", wave, z) for z in (walking, stepping))
    angle = np.angle(joint * np.array([1, 1, 1, 1, -1, -1, -1, -1]) * np.conj(fore)) / (2 * np.pi)
    error = (20 * beyond(np.abs(angle), 0, 0.02) + 20 * beyond(np.abs(joint) / 2, 0.15)).mean(-1)
    return (error + 10 * beyond(_purity(walking, joint), 0.85).mean(-1)).sum(1)


def _travelling_error(body: np.ndarray, wanted: Sequence[float]) -> np.ndarray:
    """Body [P, W, T, 8] carries one steady wave of the wanted frequencies (Hz)."""
    hz, amplitude = rhythm(body)
    error = 20 * np.log(hz / np.array(wanted)) ** 2 + 20 * beyond(lag(amplitude).sum(-1), 0.74, 0.86)
    error = error + 20 * beyond(np.abs(amplitude) / 2, 0.2, 0.4).mean(-1)
    return (error + 10 * beyond(_purity(body, amplitude), 0.95).mean(-1)).sum(1)


def projection_loss(trial: Trial, candidates: Sequence[Parameters]) -> np.ndarray:
    """All together: walking is a standing wave that beats with the limbs, swimming a travelling one without them."""
    y = trial.run(candidates, [*WALK_HZ, 3.4, 4.8], 8.0)[:, :, 300:]
    body, limbs = y[..., :8] - y[..., 8:16], y[..., 16:]
    walk = _limb_error(limbs[:, :3]) + _standing_error(body[:, :3], limbs[:, :3])
    return walk + _travelling_error(body[:, 3:], [2.84, 3.65]) + 10 * np.abs(limbs[:, 3:]).max((1, 2, 3))


def polish_loss(trial: Trial, candidates: Sequence[Parameters]) -> np.ndarray:
    """The whole animal once more: rest below drive 1, walk, swim with a quick start up to drive 5, turn in both."""
    left, right = [0.5, 0.85, *WALK_HZ, 3.2, 4.0, 4.9, 4.4, 2.2], [0.5, 0.85, *WALK_HZ, 3.2, 4.0, 4.9, 3.6, 1.8]
    y = trial.run(candidates, left, 6.5, right)[:, :, 250:]
    body, limbs = y[..., :8] - y[..., 8:16], y[..., 16:]
    walk = _limb_error(limbs[:, 2:5]) + _standing_error(body[:, 2:5], limbs[:, 2:5])
    swim = _travelling_error(body[:, 5:8], [2.73, 3.19, 3.71]) + 10 * np.abs(limbs[:, 5:8]).max((1, 2, 3))
    rest = 30 * beyond(np.abs(body[:, :2]).max((2, 3)), 0, 0.03).sum(1) + 20 * beyond(y[:, :2].max((1, 2, 3)), 0, 0.08)
    turn = body[:, 8:].mean(2)
    bend = 10 * beyond(turn[:, 0], 0.05, 0.3).mean(1) + 10 * beyond(turn[:, 1].mean(-1), 0.02, 0.3)
    return walk + swim + rest + bend
