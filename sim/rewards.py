"""One function that shapes nearly every reward: how well a quantity lies inside its bounds."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Falloff", "tolerance"]

Falloff = Literal["gaussian", "linear", "quadratic", "cosine", "long_tail", "hyperbolic"]

# Each takes the distance d >= 0 in units of the margin and the value v at d = 1, and is 1 at d = 0.
_FALLOFFS: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    "gaussian": lambda d, v: np.exp(np.log(v) * d**2),
    "linear": lambda d, v: np.clip(1.0 - (1.0 - v) * d, 0.0, None),
    "quadratic": lambda d, v: np.clip(1.0 - (1.0 - v) * d**2, 0.0, None),
    "cosine": lambda d, v: 0.5 * (1.0 + np.cos(np.clip(np.arccos(2.0 * v - 1.0) * d, 0.0, np.pi))),
    "long_tail": lambda d, v: 1.0 / (1.0 + (1.0 / v - 1.0) * d**2),
    "hyperbolic": lambda d, v: 1.0 / np.cosh(np.arccosh(1.0 / v) * d),
}
_NEVER_ZERO = ("gaussian", "long_tail", "hyperbolic")


def tolerance(
    x: ArrayLike,
    bounds: tuple[ArrayLike, ArrayLike] = (0.0, 0.0),
    margin: ArrayLike = 0.0,
    sigmoid: Falloff = "gaussian",
    value_at_margin: float = 0.1,
) -> NDArray[np.float64]:
    r"""Score in [0, 1]: 1 inside the bounds, falling with the distance outside them.

    With \(d = \max(lower - x,\ x - upper,\ 0) / margin\), the score is \(f(d)\) where \(f(0) = 1\) and
    \(f(1)\) is `value_at_margin`; a margin of 0 scores everything outside the bounds 0. Scores of several
    quantities can therefore be multiplied (all must hold) or averaged. Works elementwise, so that one call
    scores a whole batch of worlds; bounds and margin broadcast with `x`. NaN stays NaN.

    The idea and the set of shapes are those of "dm_control: Software and tasks for continuous control"
    (Tunyasuvunakool et al., 2020), https://arxiv.org/abs/2006.12983.

    Args:
        x: The quantity, any shape and unit.
        bounds: `(lower, upper)` in the unit of `x`; either may be infinite, or an array `[B]`.
        margin: Distance outside the bounds at which the score is `value_at_margin`, >= 0.
        sigmoid: Shape of the fall: "gaussian", "linear", "quadratic", "cosine", "long_tail" (1/(1 + d^2)) or
            "hyperbolic" (1/cosh d). "linear", "quadratic" and "cosine" reach 0; the others never do.
        value_at_margin: Score at one margin outside, in (0, 1); "linear", "quadratic", "cosine" also take 0.

    Returns:
        Scores, the broadcast shape of the arguments.

    Raises:
        ValueError: Lower above upper, negative margin, unknown shape, or `value_at_margin` out of range.

    >>> tolerance([0.0, 1.0, 2.0], (0.5, 1.5), margin=0.5, sigmoid="linear", value_at_margin=0.0).tolist()
    [0.0, 1.0, 0.0]
    >>> float(tolerance(2.0, bounds=(0, 1), margin=1.0).round(6))
    0.1
    """
    value = np.asarray(x, dtype=np.float64)
    lower, upper = np.asarray(bounds[0], dtype=np.float64), np.asarray(bounds[1], dtype=np.float64)
    width = np.asarray(margin, dtype=np.float64)
    if not np.all(lower <= upper):
        raise ValueError(f"bounds are (lower, upper) with lower <= upper; received {bounds}; swap them")
    if not np.all(width >= 0):
        raise ValueError(f"margin is a distance and must be >= 0; received {margin!r}")
    if sigmoid not in _FALLOFFS:
        raise ValueError(f"sigmoid must be one of {sorted(_FALLOFFS)}; received {sigmoid!r}")
    if not (0 < value_at_margin < 1 or (value_at_margin == 0 and sigmoid not in _NEVER_ZERO)):
        raise ValueError(
            f"value_at_margin must lie in (0, 1) (0 too for linear, quadratic, cosine); received "
            f"{value_at_margin} with sigmoid={sigmoid!r}"
        )
    inside = (lower <= value) & (value <= upper)
    with np.errstate(over="ignore", invalid="ignore"):  # far values and infinite bounds
        outside = np.where(inside, 0.0, np.maximum(lower - value, value - upper))
        distance = outside / np.where(width > 0, width, 1.0)
        score = np.where(width > 0, _FALLOFFS[sigmoid](distance, value_at_margin), 0.0)
    return np.where(np.isnan(value), np.nan, np.where(inside, 1.0, score))
