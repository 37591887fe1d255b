"""The newt's recorded swimming and walking cycle, as the Fourier series stored in `reference_cycles.json`."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["recorded_cycle"]

Array = NDArray[np.float64]


@cache
def _cycle_table(gait: str) -> tuple[Array, Array, Array]:
    content = json.loads(files("sim").joinpath("reference_cycles.json").read_text(encoding="utf-8"))
    if gait not in ("swim", "walk"):
        raise ValueError(f"recorded gaits are swim and walk; received {gait!r}")
    table = content[gait]
    return tuple(np.radians(np.array(table[key])) for key in ("mean", "cos", "sin"))


def recorded_cycle(gait: str) -> Callable[[ArrayLike], Array]:
    r"""The newt's mean joint cycle as a Fourier series, usable without the recordings.

    \(q(\varphi) = q_0 + \sum_k a_k \cos 2 \pi k \varphi + b_k \sin 2 \pi k \varphi\), 5 harmonics swimming and 8
    walking, within 1 degree rms of the recorded mean cycle of Pleurodeles waltl (Karakasiliotis et al. 2016);
    `scripts/fit_reference_cycles.py` computes the coefficients.

    Returns:
        Function of the phase in cycles, any shape, to angles `[..., 8]` (swim: spine) or `[..., 24]` (walk) in rad,
        in the order of `sim.anatomy.JOINT_NAMES`, playable on the model without change of sign.

    Raises:
        ValueError: Neither "swim" nor "walk".

    >>> np.degrees(recorded_cycle("swim")(0.25)).round(1).tolist()
    [7.2, 11.9, 7.0, 2.0, -12.3, -31.4, -19.9, -2.2]
    >>> recorded_cycle("walk")([0.0, 0.5]).shape
    (2, 24)
    """
    mean, cosines, sines = _cycle_table(gait)
    harmonic = np.arange(1, len(cosines) + 1)

    def angles(phase: ArrayLike) -> Array:
        turn = 2 * np.pi * np.asarray(phase, dtype=np.float64)[..., None] * harmonic
        return np.asarray(mean + np.cos(turn) @ cosines + np.sin(turn) @ sines)

    return angles
