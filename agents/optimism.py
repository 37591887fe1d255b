"""What was never tried is promising: artificial patterns that draw fitted Q towards it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["unknown_pairs"]


def unknown_pairs(
    low: np.ndarray,
    high: np.ndarray,
    states: np.ndarray,
    actions: np.ndarray,
    *,
    num_actions: int,
    count: int,
    radius: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a state and an action near which nothing was tried yet.

    As patterns with cost to go 0 they make fitted Q plan its way to what it does not know, as R-max does in tables
    (Brafman & Tennenholtz, "R-max", 2002; in continuous states: Jong & Stone, "Model-Based Exploration in Continuous
    State Spaces", 2007), and they vanish by themselves once every reachable state has a neighbour of every action.

    Args:
        low, high: corners [S] of the box in which states lie.
        states, actions: what was tried, [N, S] and [N].
        num_actions: A.
        count: candidates per action, drawn evenly over the box.
        radius: distance, in sides of the box, within which a pair is known.
        rng: of the candidates.

    Returns:
        States [n, S] in float32 and actions [n] of the candidates that are unknown.

    >>> grid = np.linspace(0, 0.5, 21)[:, None]
    >>> s, a = unknown_pairs(np.zeros(1), np.ones(1), grid, np.zeros(21, int), num_actions=2, count=50, radius=0.1,
    ...     rng=np.random.default_rng(0))
    >>> bool(s[a == 0].min() > 0.6), int((a == 1).sum())
    (True, 50)
    """
    side = np.asarray(high, dtype=np.float64) - low
    if not (np.isfinite(side).all() and (side > 0).all()):
        raise ValueError(f"unknown states can be drawn only in a box with finite sides, received {low} to {high}")
    parts, chosen = [], []
    for action in range(num_actions):
        place = rng.random((count, len(side)))
        tried = (states[actions == action] - low) / side
        far = (
            cKDTree(tried).query(place, distance_upper_bound=radius)[0] > radius if len(tried) else np.full(count, True)
        )
        parts.append(low + place[far] * side)
        chosen.append(np.full(int(far.sum()), action))
    return np.concatenate(parts).astype(np.float32), np.concatenate(chosen)
