"""The worlds: land, rough, pool, shore, channel. Each is ground, perhaps water with its surface at z = 0, and light."""

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.body import BodyParameters, Control, add_body

__all__ = ["WORLDS", "Integrator", "World", "build_spec", "get_world", "ground_height", "has_water"]

Integrator = Literal["discrete", "euler", "implicitfast", "rk4"]
_INTEGRATORS = {
    "discrete": mujoco.mjtIntegrator.mjINT_DISCRETE,
    "euler": mujoco.mjtIntegrator.mjINT_EULER,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
    "rk4": mujoco.mjtIntegrator.mjINT_RK4,
}
GROUND_FRICTION = 0.05
"""The engine takes the larger friction of two touching geoms, so the animal's own decides."""


@dataclass(frozen=True)
class World:
    """A place; lengths in body lengths (BL), so that it fits animals of any size."""

    name: str
    water: bool
    """Whether there is water below z = 0."""
    floor: float
    """Height of the level ground, BL."""


WORLDS = {
    "land": World("land", water=False, floor=0.0),
    "pool": World("pool", water=True, floor=-2.0),
}


def get_world(name: str) -> World:
    """The world of this name.

    Raises:
        ValueError: There is none.
    """
    if name not in WORLDS:
        raise ValueError(f"world must be one of {', '.join(WORLDS)}; received {name!r}")
    return WORLDS[name]


def has_water(world: str) -> bool:
    """Whether one can swim there.

    >>> has_water("pool"), has_water("land")
    (True, False)
    """
    return get_world(world).water


def build_spec(
    world: str = "pool",
    parameters: BodyParameters | None = None,
    *,
    control: Control = "muscle",
    timestep: float = 0.002,
    integrator: Integrator = "discrete",
    current: ArrayLike = (0.0, 0.0, 0.0),
) -> mujoco.MjSpec:
    """Animal and world as an editable specification; water is present everywhere until `sim.water` gives it a surface.

    Args:
        world: Name of the world.
        parameters: The animal; the 0.1 m newt if absent.
        control: "muscle" or "joint" actuators.
        timestep: Physics step, s.
        integrator: "discrete" is the reference; see the module `sim.salamander`.
        current: Velocity of the water, m/s, `[3]`.

    Raises:
        ValueError: Unknown world, control or integrator, or a step that is not positive.
    """
    place, body = get_world(world), parameters or BodyParameters()
    if integrator not in _INTEGRATORS:
        raise ValueError(f"integrator must be one of {', '.join(_INTEGRATORS)}; received {integrator!r}")
    if not 0 < timestep <= 0.02:
        raise ValueError(f"timestep is in seconds, above 0 and at most 0.02; received {timestep}")
    spec = mujoco.MjSpec()
    spec.modelname = f"salamander in {world}"
    spec.compiler.degree = False
    option = spec.option
    option.timestep, option.integrator = timestep, _INTEGRATORS[integrator]
    option.cone, option.impratio, option.noslip_iterations = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0, 5
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE  # the sparse Newton Hessian of MuJoCo 4.0.0 is wrong
    # No viscosity: its linear drag cannot be scaled by the submerged fraction.
    option.density, option.viscosity = (1000.0 if place.water else 0.0), 0.0
    option.wind = np.asarray(current, float)
    _add_ground(spec, place, body.length)
    add_body(spec, body, control, water=place.water)
    return spec


def _add_ground(spec: mujoco.MjSpec, world: World, length: float) -> None:
    spec.worldbody.add_geom(
        name="ground",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 0.1],
        pos=[0, 0, world.floor * length],
        contype=0,
        conaffinity=1,
        friction=[GROUND_FRICTION, 0.0, 0.0],
        solref=[0.01, 1.0],
    )


def ground_height(world: str, length: float, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the ground, m, at points `xy [..., 2]`, shape `[...]`."""
    return np.full(xy.shape[:-1], get_world(world).floor * length)
