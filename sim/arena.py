"""The worlds: land, rough, pool, shore, channel. Each is ground, perhaps water with its surface at z = 0, and light."""

import math
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.body import WATER_DENSITY, BodyParameters, Control, add_body

__all__ = [
    "WORLDS",
    "Integrator",
    "World",
    "build_spec",
    "get_world",
    "ground_height",
    "has_water",
]

Array = NDArray[np.float64]
Integrator = Literal["discrete", "euler", "implicitfast", "rk4"]
_INTEGRATORS = {
    "discrete": mujoco.mjtIntegrator.mjINT_DISCRETE,
    "euler": mujoco.mjtIntegrator.mjINT_EULER,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
    "rk4": mujoco.mjtIntegrator.mjINT_RK4,
}
GROUND_FRICTION = 0.05
"""The engine takes the larger friction of two touching geoms, so the animal's own decides."""
STONE_RADIUS = 0.7
"""Radius of curvature of the stones on rough ground, BL. They are the caps of mostly buried spheres, which touch
without
the inner edges of a height field."""
STONY = ((-3.0, 15.0), (-5.0, 5.0))
"""Where they lie, BL: x and y; level ground surrounds them."""


@dataclass(frozen=True)
class World:
    """A place. Lengths are in body lengths (BL), so that it fits animals of any size; the animal starts at x = y =
    0."""

    name: str
    water: bool = False
    """Whether there is water below z = 0."""
    floor: float = 0.0
    """Height of the level ground, BL."""
    slope: float = 0.0
    """Fall of the beach per unit of x; the ground is the higher of beach and floor."""
    waterline: float = 0.0
    """Where the beach meets z = 0, BL ahead of the start."""
    stones: float = 0.0
    """Height of the largest stones on rough ground, BL."""
    walls: float = 0.0
    """Half width of a channel with walls, BL; 0: none."""
    current: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Flow of the water unless another is asked for, BL/s."""
    texture: str = "soil"
    """Picture of the ground."""


WORLDS = {
    world.name: world
    for world in (
        World("land"),
        World("rough", stones=0.05, texture="gravel"),
        World("pool", water=True, floor=-1.5, texture="bottom"),
        World("shore", water=True, floor=-1.5, slope=0.1, waterline=1.5, texture="sand"),
        World("channel", water=True, floor=-1.0, walls=1.5, current=(-0.2, 0.0, 0.0), texture="bottom"),
    )
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


def ground_height(world: str, length: float, xy: Array) -> Array:
    """Height of the ground, m, at points `xy [..., 2]` in m, shape `[...]`, for an animal of this length.

    >>> ground_height("shore", 0.1, np.array([[0.0, 0.0], [0.15, 0.0]])).round(6).tolist()
    [0.015, 0.0]
    """
    place = get_world(world)
    height = np.full(xy.shape[:-1], place.floor * length)
    if place.slope:
        height = np.maximum(height, place.slope * (place.waterline * length - xy[..., 0]))
    if place.stones:
        stones = _stones(place.stones)
        away_sq = ((xy[..., None, :] / length - stones[:, :2]) ** 2).sum(axis=-1)
        tops = np.sqrt(np.maximum(STONE_RADIUS**2 - away_sq, 0.0)) + stones[:, 2] - STONE_RADIUS
        height = np.maximum(height, length * tops.max(axis=-1))
    return height


def _stones(largest: float) -> Array:
    """Position (x, y) and height above the ground of every stone, BL, `[N, 3]`; always the same."""
    rng = np.random.default_rng(2)
    (x0, x1), (y0, y1), spacing = *STONY, 0.55
    grid = np.stack(np.meshgrid(np.arange(x0, x1, spacing), np.arange(y0, y1, spacing)), axis=-1).reshape(-1, 2)
    position = grid + rng.uniform(-0.15, 0.15, grid.shape)
    return np.column_stack([position, largest * rng.uniform(0.2, 1.0, len(grid))])


def build_spec(
    world: str = "pool",
    parameters: BodyParameters | None = None,
    *,
    control: Control = "muscle",
    timestep: float = 0.002,
    integrator: Integrator = "discrete",
    current: ArrayLike | None = None,
    look: bool = True,
) -> mujoco.MjSpec:
    """Animal and world as an editable specification; water is everywhere until `sim.water` gives it a surface.

    Args:
        world: Name of the world.
        parameters: The animal; the 0.1 m newt if absent.
        control: "muscle" or "joint" actuators.
        timestep: Physics step, s.
        integrator: "discrete" is the reference; see the module `sim.salamander`.
        current: Velocity of the water, m/s, `[3]`; the world's own if absent.
        look: Add skin, textures, water surface and lights. They change nothing that moves.

    Raises:
        ValueError: Unknown world, control or integrator, a step out of range, or a current without water.
    """
    place, body = get_world(world), parameters or BodyParameters()
    if integrator not in _INTEGRATORS:
        raise ValueError(f"integrator must be one of {', '.join(_INTEGRATORS)}; received {integrator!r}")
    if not 0 < timestep <= 0.02:
        raise ValueError(f"timestep is in seconds, above 0 and at most 0.02; received {timestep}")
    flow = np.multiply(place.current, body.length) if current is None else np.asarray(current, float)
    if flow.shape != (3,) or not np.isfinite(flow).all():
        raise ValueError(f"current is a velocity (x, y, z) in m/s; received {flow}")
    if flow.any() and not place.water:
        raise ValueError(f"a current needs water, and {world!r} has none; take pool, shore or channel")
    spec = mujoco.MjSpec()
    spec.modelname = f"salamander in {world}"
    spec.compiler.degree = False
    option = spec.option
    option.timestep, option.integrator = timestep, _INTEGRATORS[integrator]
    option.cone, option.impratio, option.noslip_iterations = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0, 5
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE  # the sparse Newton Hessian of MuJoCo 4.0.0 is wrong
    # No viscosity: its linear drag cannot be scaled by the submerged fraction.
    option.density, option.viscosity, option.wind = (WATER_DENSITY if place.water else 0.0), 0.0, flow
    _add_ground(spec, place, body.length, look)
    add_body(spec, body, control, water=place.water)
    if look:
        from sim.scenery import add_look  # here, since painting needs more libraries than physics

        add_look(spec, place, body.length)
    return spec


def _add_ground(spec: mujoco.MjSpec, world: World, length: float, look: bool) -> None:
    material = {"material": "ground"} if look else {}

    def add(name: str, **options: object) -> None:
        spec.worldbody.add_geom(
            name=name,
            contype=0,
            conaffinity=1,
            castshadow=False,
            friction=[GROUND_FRICTION, 0.0, 0.0],
            solref=[0.01, 1.0],
            **(material | options),
        )

    plane = mujoco.mjtGeom.mjGEOM_PLANE
    add("ground", type=plane, size=[0, 0, 0.1], pos=[0, 0, world.floor * length])
    if world.slope:
        tilt = 0.5 * math.atan(world.slope)
        add(
            "beach",
            type=plane,
            size=[0, 0, 0.1],
            pos=[world.waterline * length, 0, 0],
            quat=[math.cos(tilt), 0, math.sin(tilt), 0],
        )
    for k, (x, y, height) in enumerate(_stones(world.stones) if world.stones else ()):
        add(
            f"stone.{k}",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[STONE_RADIUS * length, 0, 0],
            pos=[x * length, y * length, (height - STONE_RADIUS) * length],
            material="stone" if look else "",
            rgba=[*(np.array([0.50, 0.47, 0.41]) * (0.7 + 0.1 * (7 * k % 6))), 1.0],
        )
    for side, name in ((1.0, "left"), (-1.0, "right")):
        if world.walls:
            add(
                f"wall.{name}",
                type=plane,
                size=[0, 0, 0.1],
                pos=[0, side * world.walls * length, 0],
                quat=[math.sqrt(0.5), side * math.sqrt(0.5), 0, 0],
                rgba=[0, 0, 0, 0],
            )
