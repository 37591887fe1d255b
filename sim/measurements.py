"""Named measurements of a batch of salamanders: nobody else needs the engine's indices."""

import math

import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from sim import anatomy
from sim.water import Water

__all__ = ["Measurements"]

Array = NDArray[np.float64]
_DERIVED = ("xpos", "xquat", "xmat", "xipos", "cvel", "subtree_com", "site_xpos", "sensordata", "qfrc_actuator")
_MAX_SPEED = 2e3
"""A generalised velocity beyond this, m/s or rad/s, counts as divergence; random muscles reach 400 rad/s."""


class Measurements:
    """What can be measured of the animals: float64, SI units, world frame with z up, the row is the world.

    Positions, orientations and forces are those before the last physics sub-step (as in `mj_step`), 2 ms old by
    default; joint angles and velocities are current.

    Args:
        batch: The simulations.
        dt: Control period, s.
    """

    def __init__(self, batch: mujoco.batch.Batch, dt: float) -> None:
        model, B = batch.model, batch.nsim
        self.batch, self.num_worlds, self.dt = batch, B, dt
        self.water: Water | None = None
        self.diverged = np.zeros(B, dtype=bool)
        """Worlds whose physics blew up in the last step, `[B]`; reset them before going on."""
        self._qpos, self._qvel, self._warnings = batch.bind("qpos"), batch.bind("qvel"), batch.warning[..., 1]
        # Copies of what the engine last derived, so that a stored state can bring them back too.
        self._bound = {name: batch.bind(name) for name in _DERIVED}
        self._derived = {name: values.copy() for name, values in self._bound.items()}
        self._xpos, self._xquat, self._xmat, self._xipos = (
            self._derived[k] for k in ("xpos", "xquat", "xmat", "xipos")
        )
        self._site, self._sensor = self._derived["site_xpos"], self._derived["sensordata"]
        self._com, self._torque = self._derived["subtree_com"], self._derived["qfrc_actuator"]
        bodies = [model.body(name).id for name in anatomy.LINK_NAMES]
        self._links, self._root = np.array(bodies), bodies[0]
        self._shoulder, self._hip = bodies[1], bodies[4]
        # Limbs hang between the links in the engine's tree, so its order of joints differs from anatomy's.
        joints = [model.joint(name) for name in anatomy.JOINT_NAMES]
        self._q = np.array([j.qposadr[0] for j in joints])
        self._v = np.array([j.dofadr[0] for j in joints])
        self._feet = np.array([model.site(f"foot.{limb}").id for limb in anatomy.LIMB_NAMES])
        self._warned = np.zeros(B, dtype=np.int64)
        self._previous_com, self._velocity = np.zeros((B, 3)), np.zeros((B, 3))
        self._heading, self._yaw_rate = np.zeros(B), np.zeros(B)

    def _measure(self) -> None:
        """Follow what a control step has done."""
        for name, values in self._bound.items():
            np.copyto(self._derived[name], values)
        warned = self._warnings.sum(axis=1)
        slow_enough = np.abs(self._qvel).max(axis=1) < _MAX_SPEED  # false for NaN
        np.logical_or(warned != self._warned, ~slow_enough, out=self.diverged)
        self._warned[:] = warned
        com = self._com[:, self._root]
        np.subtract(com, self._previous_com, out=self._velocity)
        self._velocity /= self.dt
        self._previous_com[:] = com
        heading = self._trunk_heading()
        turned = heading - self._heading
        self._yaw_rate[:] = (turned - 2 * math.pi * np.round(turned / (2 * math.pi))) / self.dt
        self._heading[:] = heading

    def _measure_afresh(self, ids: NDArray[np.intp]) -> None:
        """Forget the past of the worlds `ids`, which have just been placed."""
        for name, values in self._bound.items():
            self._derived[name][ids] = values[ids]
        self.diverged[ids] = False
        self._warned[ids] = self._warnings[ids].sum(axis=1)
        self._previous_com[ids] = self._com[ids, self._root]
        self._heading[ids] = self._trunk_heading()[ids]
        self._velocity[ids] = self._yaw_rate[ids] = 0.0

    @property
    def time(self) -> Array:
        """Simulated time since each world's reset, s, `[B]`."""
        return self.batch.bind("time").copy()

    def qpos(self) -> Array:
        """Generalised positions of the engine, `[B, nq]`: what a film needs."""
        return self._qpos.copy()

    def joint_angles(self) -> Array:
        """rad, `[B, 24]`, ordered as `anatomy.JOINT_NAMES`."""
        return self._qpos[:, self._q]

    def joint_velocities(self) -> Array:
        """rad/s, `[B, 24]`, ordered as `anatomy.JOINT_NAMES`."""
        return self._qvel[:, self._v]

    def link_positions(self) -> Array:
        """Centres of the axial links (at `anatomy.LINK_CENTRES` of the length), head first, m, `[B, 9, 3]`."""
        return self._xipos[:, self._links]

    def link_orientations(self) -> Array:
        """Unit quaternions (w, x, y, z) of the axial links, `[B, 9, 4]`."""
        return self._xquat[:, self._links]

    def foot_positions(self) -> Array:
        """Centres of the feet, m, `[B, 4, 3]`, ordered as `anatomy.LIMB_NAMES`."""
        return self._site[:, self._feet]

    def touch(self) -> Array:
        """Normal force on each foot, N, `[B, 4]`, ordered as `anatomy.LIMB_NAMES`."""
        return self._sensor[:, :4].copy()

    def foot_contact(self) -> NDArray[np.bool_]:
        """Whether each foot touches the ground, `[B, 4]`."""
        return self._sensor[:, :4] > 0.0

    def _trunk_heading(self) -> Array:
        axis = self._xpos[:, self._shoulder] - self._xpos[:, self._hip]
        return np.arctan2(axis[:, 1], axis[:, 0])

    def heading(self) -> Array:
        """Yaw of the line from pelvis to shoulders, rad in (-pi, pi], counter-clockwise from +x, `[B]`."""
        return self._heading.copy()

    def yaw_rate(self) -> Array:
        """Mean rate of change of the heading over the last control period, rad/s, `[B]`."""
        return self._yaw_rate.copy()

    def centre_of_mass(self) -> Array:
        """m, `[B, 3]`."""
        return self._com[:, self._root].copy()

    def velocity(self) -> Array:
        """Mean velocity of the centre of mass over the last control period, m/s, world frame, `[B, 3]`."""
        return self._velocity.copy()

    def forward_speed(self) -> Array:
        """Horizontal velocity of the centre of mass along the heading, m/s, `[B]`."""
        return self._velocity[:, 0] * np.cos(self._heading) + self._velocity[:, 1] * np.sin(self._heading)

    def vertical(self) -> Array:
        """The world's vertical in the trunk's frame (x ahead, y left, z back), `[B, 3]`: (0, 0, 1) upright."""
        return self._xmat[:, self._links[2], 6:9]

    def uprightness(self) -> Array:
        """Cosine of the trunk's tilt from the vertical: 1 upright, 0 on its side, -1 on its back, `[B]`."""
        return self._xmat[:, self._links[2], 8].copy()

    def submerged(self) -> Array:
        """Volume fraction of each axial link under water, `[B, 9]`; zero in a dry world."""
        if self.water is None:
            return np.zeros((self.num_worlds, 9))
        return self.water.fraction[:, self.water.links]

    def muscle_power(self) -> Array:
        """Positive mechanical power of the actuators, sum over joints of max(0, torque x velocity), W, `[B]`."""
        return np.maximum(self._torque[:, self._v] * self._qvel[:, self._v], 0.0).sum(axis=1)
