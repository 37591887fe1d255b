"""Evolution of few numbers: screening of random starts, then covariance-matrix adaptation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Evolved", "evolve"]


class Evolved(NamedTuple):
    """The distribution's mean [D] (the result), the best candidate seen, and the course of the best score."""

    mean: np.ndarray
    best: np.ndarray
    best_score: float
    scores: list[float]
    evaluations: int


def evolve(
    score: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    sigma: float = 0.2,
    population: int = 16,
    generations: int = 30,
    seed: int = 0,
    after: Callable[[int, np.ndarray, float], bool] | None = None,
) -> Evolved:
    """Maximise a score by CMA-ES; Ctrl-C ends it early and keeps what was found.

    Source: "Completely Derandomized Self-Adaptation in Evolution Strategies" (Hansen & Ostermeier, 2001).

    Args:
        score: scores [P] of candidates [P, D], higher is better; NaN ranks last.
        start: mean of the first generation [D].
        sigma: its standard deviation.
        population: P, candidates per generation.
        generations: how many.
        seed: of the sampling.
        after: called with the generation, the mean and the best score; true ends the evolution.

    >>> found = evolve(lambda x: -((x - 0.3) ** 2).sum(1), np.zeros(3), generations=60)
    >>> bool(np.allclose(found.mean, 0.3, atol=1e-2))
    True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma

        options = {"popsize": population, "seed": seed + 1, "verbose": -9, "tolfun": 0, "tolflatfitness": 1_000_000}
        strategy = cma.CMAEvolutionStrategy(np.asarray(start, dtype=float), sigma, options)
    best, best_score, scores = np.asarray(start, dtype=float), -np.inf, []
    try:
        for generation in range(generations):
            candidates = np.array(strategy.ask())
            values = np.nan_to_num(np.asarray(score(candidates), dtype=float), nan=-np.inf)
            lowest = values[np.isfinite(values)].min(initial=0.0)
            strategy.tell(list(candidates), list(-np.where(np.isfinite(values), values, lowest - 1e6)))
            if values.max() > best_score:
                best, best_score = candidates[values.argmax()], float(values.max())
            scores.append(float(values.max()))
            if after is not None and after(generation, np.array(strategy.mean), best_score):
                break
    except KeyboardInterrupt:
        if not scores:
            raise
    return Evolved(np.array(strategy.mean), best, best_score, scores, strategy.countevals)
