"""The batched salamander: many worlds stepped in C, with named measurements.

Integrator and step. At its true scale the animal is stiff and light. `discrete` at 2 ms is the reference; at 5 ms it
swims 2 to 5 % faster. `euler` at 2 ms is five times as fast in water, 3 % slower a swimmer, and stable in ordinary
gaits; `implicitfast` swims 2 % faster than `discrete`. `rk4` diverges.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim import anatomy
from sim.arena import Integrator, build_spec, get_world, ground_height
from sim.body import BodyParameters, Control
from sim.measurements import Measurements
from sim.randomise import Randomisation, Randomiser
from sim.water import Water

__all__ = ["Salamander"]

Array = NDArray[np.float64]
_OWN_STATE = ("water_level", "diverged", "_warned", "_previous_com", "_velocity", "_heading", "_yaw_rate")


class Salamander(Measurements):
    """`B` independent worlds, each with one salamander, advanced together one control period at a time.

    Arrays are float64, SI units, world frame with z up and x ahead at the start; the row is the world. Positions,
    orientations and forces are those before the last physics sub-step (as in `mj_step`), 2 ms old by default; joint
    angles and velocities are current.

    Args:
        num_worlds: How many worlds, B.
        world: "land", "rough", "pool", "shore" or "channel"; see `sim.arena`.
        length: Total length of the animal, m; ignored if `body` is given.
        control: "muscle": the action is 48 activations >= 0 (`anatomy.MUSCLE_NAMES`); "joint": 24 target angles, rad.
        timestep: Physics step, s.
        control_period: Time that one `step` lasts, s, a multiple of `timestep`.
        integrator: "discrete", "euler", "implicitfast" or "rk4".
        threads: Worker threads; all processors if None.
        current: Velocity of the water, m/s, `[3]`; the world's own if None.
        barrier: A stretch of contrary flow, `(start x, stop x, speed)`, m and m/s.
        body: Parameters of the animal beyond its length.
        randomise: Ranges that every reset with an `rng` draws the worlds' physics from.

    Raises:
        ValueError: Impossible parameters, unknown names, or a control period that is no multiple of the step.

    >>> newt = Salamander(2, world="pool", control="joint")
    >>> newt.reset(pose="swim"); newt.step(np.tile(anatomy.SWIM_REST, (2, 1)))
    >>> newt.joint_angles().shape, newt.diverged.tolist(), round(float(newt.time[0]), 3)
    ((2, 24), [False, False], 0.01)
    """

    def __init__(
        self,
        num_worlds: int = 1,
        *,
        world: str = "pool",
        length: float = anatomy.NOMINAL_LENGTH,
        control: Control = "muscle",
        timestep: float = 0.002,
        control_period: float = 0.01,
        integrator: Integrator = "discrete",
        threads: int | None = None,
        current: ArrayLike | None = None,
        barrier: tuple[float, float, float] | None = None,
        body: BodyParameters | None = None,
        randomise: Randomisation | None = None,
    ) -> None:
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1; received {num_worlds}")
        self.substeps = round(control_period / timestep)
        if self.substeps < 1 or abs(self.substeps * timestep - control_period) > 1e-9:
            raise ValueError(
                f"control_period must be a whole multiple of timestep; received {control_period} and {timestep}"
            )
        place = get_world(world)
        if barrier is not None and not (place.water and len(barrier) == 3 and barrier[0] < barrier[1]):
            raise ValueError(
                f"barrier is (start x, stop x, speed), start < stop, in a world with water; received {barrier}"
            )
        self.body = body or BodyParameters(length=length)
        self.world, self.control, self.length = world, control, self.body.length
        self._settings: dict[str, Any] = dict(
            control=control, timestep=timestep, integrator=integrator, current=current
        )
        physics = build_spec(world, self.body, **self._settings, look=False).compile()
        super().__init__(mujoco.batch.Batch(physics, num_worlds, threads or 0), control_period)
        self.mass = float(physics.body_mass.sum())
        self.water_level = np.zeros(num_worlds)
        """Height of the water surface in each world, m, `[B]`; minus infinity: dry. Takes effect at the next step."""
        if place.water:
            self.water = Water(self.batch, self._derived, self.water_level, barrier)
        self._lead = 0.5 * control_period + timestep
        self._ctrl, self._external = self.batch.bind("ctrl"), self.batch.bind("xfrc_applied")
        self._touching = np.flatnonzero((physics.geom_contype > 0) & (physics.geom_bodyid > 0))
        self._randomiser = Randomiser(self.batch, randomise, self.water) if randomise else None
        self.reset()

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The animal in its world with skin, water and light, for rendering; the physics runs on a bare copy."""
        return build_spec(self.world, self.body, **self._settings).compile()

    @property
    def action_shape(self) -> tuple[int, int]:
        """Worlds and actuators: `(B, 48)` or `(B, 24)`."""
        return self.num_worlds, self.batch.model.nu

    def reset(
        self,
        mask: ArrayLike | None = None,
        *,
        pose: str | ArrayLike | None = None,
        position: ArrayLike | None = None,
        heading: ArrayLike = 0.0,
        noise: float = 0.0,
        rng: np.random.Generator | Sequence[np.random.Generator] | int | None = None,
    ) -> None:
        """Put animals at rest into their worlds: standing on the ground, or afloat where the water is deep enough.

        Args:
            mask: Worlds to reset, bool `[B]`; all if None.
            pose: "walk", "swim", or joint angles, rad, `[24]` or `[B, 24]`; by default what suits the place.
            position: Where the snout is, m, `[2]` or `[B, 2]` (x, y), or with a third entry its height, which is
                otherwise chosen; the world's start if None.
            heading: rad, scalar or `[B]`.
            noise: Standard deviation of normal noise on the joint angles, rad; needs `rng`.
            rng: Source of the noise and of `randomise`, a seed for one, or one generator per world.

        Raises:
            ValueError: Wrong shapes, an unknown pose, values that are not finite, or noise without `rng`.
        """
        B = self.num_worlds
        chosen = np.ones(B, dtype=bool) if mask is None else np.asarray(mask)
        if chosen.shape != (B,) or chosen.dtype != bool:
            raise ValueError(f"mask has one bool per world, shape ({B},); received {chosen.dtype} {chosen.shape}")
        ids = np.flatnonzero(chosen)
        if not ids.size:
            return
        start = np.zeros((B, 2)) if position is None else np.asarray(position, float)
        if start.shape[-1:] not in ((2,), (3,)) or start.ndim > 2:
            raise ValueError(f"position is (x, y) or (x, y, z) in m; received shape {start.shape}")
        start = np.broadcast_to(start, (B, start.shape[-1]))[ids]
        sources = _generators(rng, B)
        angles = self._posture(pose, start, ids)
        if noise:
            if not sources:
                raise ValueError("noise on the pose needs rng, a generator or a seed")
            angles = angles + np.array([sources[int(i)].normal(0.0, noise, 24) for i in ids])
        turn = np.broadcast_to(np.asarray(heading, float), (B,))[ids]
        if not (np.isfinite(start).all() and np.isfinite(angles).all() and np.isfinite(turn).all()):
            raise ValueError("position, heading and pose must be finite")
        if self._randomiser and sources:
            self._randomiser.draw(ids, sources)
        self._place(ids, start, turn, angles)

    def _place(self, ids: NDArray[np.intp], start: Array, heading: Array, angles: Array) -> None:
        """Write positions of the worlds `ids`, find the height of rest, and derive everything anew."""
        batch, qpos = self.batch, self._qpos
        batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        slope = get_world(self.world).slope
        on_beach = self._ground(start) > -0.1 * self.length
        tilt = np.where(on_beach, 0.5 * math.atan(slope), 0.0) if start.shape[1] == 2 else np.zeros(len(ids))
        yaw = 0.5 * heading
        qpos[ids, 3], qpos[ids, 4] = np.cos(tilt) * np.cos(yaw), np.sin(tilt) * np.sin(yaw)
        qpos[ids, 5], qpos[ids, 6] = np.sin(tilt) * np.cos(yaw), np.cos(tilt) * np.sin(yaw)
        qpos[ids, :2], qpos[ids, 2] = start[:, :2], start[:, 2] if start.shape[1] == 3 else 0.0
        qpos[np.ix_(ids, self._q)] = angles
        batch.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS)
        if start.shape[1] == 2:
            qpos[ids, 2] = self._resting_height(ids)
        batch.forward(ids)
        self._measure_afresh(ids)
        if self.water:
            self.water.measure(ids)

    def _ground(self, points: Array) -> Array:
        return ground_height(self.world, self.length, points[..., :2])

    def _posture(self, pose: str | ArrayLike | None, start: Array, ids: NDArray[np.intp]) -> Array:
        """Joint angles of the worlds `ids`, `[ids, 24]`."""
        if pose is None:
            afloat = self.water_level[ids] - self._ground(start) > 0.1 * self.length
            swims = afloat & get_world(self.world).water
            return np.where(swims[:, None], anatomy.SWIM_REST, anatomy.WALK_REST)
        if isinstance(pose, str):
            if pose not in ("walk", "swim"):
                raise ValueError(f"pose must be 'walk', 'swim' or 24 joint angles in rad; received {pose!r}")
            pose = anatomy.WALK_REST if pose == "walk" else anatomy.SWIM_REST
        angles = np.asarray(pose, float)
        if angles.shape not in ((24,), (self.num_worlds, 24)):
            raise ValueError(f"a pose has shape (24,) or ({self.num_worlds}, 24); received {angles.shape}")
        return np.broadcast_to(angles, (self.num_worlds, 24))[ids]

    def _resting_height(self, ids: NDArray[np.intp]) -> Array:
        """Height of the root at which nothing touches the ground, and the trunk floats with its back just out."""
        model, geoms = self.batch.model, self._touching
        centre = self.batch.bind("geom_xpos")[ids][:, geoms]
        up = self.batch.bind("geom_xmat")[ids][:, geoms, 6:9]
        round_ = (model.geom_type[geoms] == mujoco.mjtGeom.mjGEOM_SPHERE)[:, None]
        size = np.where(round_, model.geom_size[geoms, :1], model.geom_size[geoms])
        half = np.sqrt(((up * size) ** 2).sum(axis=-1))
        stand = (self._ground(centre) - (centre[..., 2] - half)).max(axis=1)
        if self.water is None:
            return stand
        return np.maximum(stand, self.water_level[ids] - 0.02 * self.length)

    def step(self, action: ArrayLike) -> None:
        """Advance every world by one control period under a constant action.

        Args:
            action: Activations `[B, 48]` (clipped to [0, `anatomy.MAX_ACTIVATION`]) or target angles, rad, `[B, 24]`
                (clipped to the joint limits). With one world the leading axis may be left out.

        Raises:
            ValueError: Wrong shape, NaN or infinity; no world has moved then.
        """
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self.action_shape:
            if self.num_worlds > 1 or values.shape != self.action_shape[1:]:
                raise ValueError(
                    f"a {self.control} action has shape {self.action_shape} (worlds, actuators); "
                    f"received {values.shape}"
                )
        if not np.isfinite(values).all():
            raise ValueError(
                f"an action must be finite; received NaN or infinity in {np.count_nonzero(~np.isfinite(values))} places"
            )
        self._ctrl[:] = values
        if self.water:
            self.water.update(self._lead)
        self.batch.step(nstep=self.substeps)
        self._measure()

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on, as arrays: `set_state` continues from it bit for bit."""
        own = {name: getattr(self, name).copy() for name in _OWN_STATE}
        state = {"engine": self.batch.state.copy(), "warnings": self.batch.warning.copy(), "own": own}
        state["derived"] = {name: values.copy() for name, values in self._derived.items()}
        if self.water:
            state["water"] = {"fraction": self.water.fraction.copy(), "current": self.water.current.copy()}
        if self._randomiser:
            state["factors"] = {name: values.copy() for name, values in self._randomiser.factors.items()}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state that a simulation of the same construction gave.

        Raises:
            ValueError: It is of another number of worlds or another animal.
        """
        if np.shape(state["engine"]) != self.batch.state.shape:
            raise ValueError(
                f"the state is of shape {np.shape(state['engine'])}, this simulation's is {self.batch.state.shape}"
            )
        self.batch.state[:], self.batch.warning[:] = state["engine"], state["warnings"]
        for name, values in state["own"].items():
            getattr(self, name)[:] = values
        for name, values in state["derived"].items():
            self._derived[name][:] = values
        if self.water:
            self.water.fraction[:], self.water.current[:] = state["water"]["fraction"], state["water"]["current"]
        if self._randomiser:
            for name, values in state["factors"].items():
                self._randomiser.factors[name][:] = values
            self._randomiser.write(np.arange(self.num_worlds))

    def set_current(self, current: ArrayLike) -> None:
        """Change the flow of the water from the next step on.

        Args:
            current: m/s, `[3]` or `[B, 3]`.

        Raises:
            ValueError: There is no water, or the values are not finite.
        """
        flow = np.asarray(current, float)
        if self.water is None or not np.isfinite(flow).all():
            raise ValueError(f"a current needs a world with water and finite values; received {flow} in {self.world!r}")
        self.water.current[:] = flow

    def push(self, force: ArrayLike, link: str = "link.2") -> None:
        """Pull at a link's centre of mass with a constant force until it is changed; zero lets go.

        Args:
            force: N, world frame, `[3]` or `[B, 3]`.
            link: Name of the link.
        """
        if link not in anatomy.LINK_NAMES:
            raise ValueError(f"link must be one of {anatomy.LINK_NAMES}; received {link!r}")
        self._external[:, self.batch.model.body(link).id, :3] = np.asarray(force, float)


def _generators(
    rng: np.random.Generator | Sequence[np.random.Generator] | int | None, count: int
) -> Sequence[np.random.Generator]:
    """One generator per world, perhaps the same for all; empty if there is none."""
    if rng is None or isinstance(rng, int | np.integer | np.random.Generator):
        return () if rng is None else [np.random.default_rng(rng)] * count
    if len(rng) != count:
        raise ValueError(
            f"rng is a generator, a seed, or one generator for each of the {count} worlds; received {len(rng)}"
        )
    return rng
