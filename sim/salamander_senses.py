"""What a salamander feels of itself and of the water: the entries of its observation, their limits, their reading."""

import math

import numpy as np
from numpy.typing import NDArray

from sim.anatomy import JOINT_NAMES, LIMB_NAMES, LINK_NAMES
from sim.salamander import Salamander
from sim.salamander_tasks import GRAVITY

__all__ = ["LIMITS", "SENSES", "feel"]

SENSES = (
    *(f"joint_angle.{name}" for name in JOINT_NAMES),
    *(f"joint_velocity.{name}" for name in JOINT_NAMES),
    *(f"velocity.{name}" for name in ("forward", "left", "up")),
    "yaw_rate",
    *(f"up.{axis}" for axis in "xyz"),
    "heading.cos",
    "heading.sin",
    *(f"touch.{limb}" for limb in LIMB_NAMES),
    *(f"submerged.{link}" for link in LINK_NAMES),
)
"""Names of the entries; units and ranges stand in `sim.salamander_vector.SalamanderVectorEnv`."""

LIMITS = np.array([math.pi] * 24 + [10.0] * 24 + [10.0] * 4 + [1.0] * 5 + [10.0] * 4 + [1.0] * 9)
"""Bounds of their sizes, in their units."""


def feel(body: Salamander, values: NDArray[np.float64]) -> None:
    """Read all senses of all worlds into `values` [B, 70], in the order of `SENSES`."""
    values[:, :24] = body.joint_angles()
    np.multiply(body.joint_velocities(), 0.1, out=values[:, 24:48])
    heading, velocity = body.heading(), body.velocity() / body.length
    cos, sin = np.cos(heading), np.sin(heading)
    values[:, 48] = cos * velocity[:, 0] + sin * velocity[:, 1]
    values[:, 49] = cos * velocity[:, 1] - sin * velocity[:, 0]
    values[:, 50], values[:, 51] = velocity[:, 2], 0.1 * body.yaw_rate()
    values[:, 52:55], values[:, 55], values[:, 56] = body.vertical(), cos, sin
    values[:, 57:61], values[:, 61:70] = body.touch() / (body.mass * GRAVITY), body.submerged()
