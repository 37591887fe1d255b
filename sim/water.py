r"""Water with a surface, inside the engine: drag, lift, virtual mass and buoyancy of each body part, world by world.

MuJoCo knows one medium for the whole of space. Its coefficients, though, can be written per simulation and per geom:
before
each control step every body part's submerged fraction s (of volume) is taken, its fluid coefficients are set to s times
their full values, and its gravity compensation to \(s \rho_w / \rho\). Forces are those of MuJoCo's ellipsoid model;
that model computes no force from the acceleration of the added mass.

Two entries must be left alone, or drag survives in air: the interaction coefficient (the implicit integrator's
derivative does not follow it) and viscosity (no coefficient scales its linear term; it is zero).
"""

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from sim.anatomy import LINK_NAMES

__all__ = ["Water", "submerged_fraction"]

Array = NDArray[np.float64]


def submerged_fraction(depth: Array, half_height: Array) -> Array:
    r"""Volume fraction of an ellipsoid below a level surface.

    A plane at depth d above the centre, in units of the half height h along the vertical, cuts off the same fraction
    as of a
    sphere: \(s = (2 + 3t - t^3)/4\) with \(t = d/h\) clipped to [-1, 1]. The vertical half height of an ellipsoid with
    semi-axes \(a_i\) along unit vectors \(e_i\) is \(h = \sqrt{\sum_i (a_i e_{iz})^2}\).

    Args:
        depth: Height of the surface above the centre, m.
        half_height: Half height h of the ellipsoid, m.

    >>> submerged_fraction(np.array([-2.0, -1.0, 0.0, 0.5, 3.0]), np.array(1.0)).tolist()
    [0.0, 0.0, 0.5, 0.84375, 1.0]
    """
    t = np.clip(depth / half_height, -1.0, 1.0)
    return 0.25 * (2.0 + t * (3.0 - t * t))


class Water:
    """Keeps the fluid coefficients and buoyancy of a batch in step with where its bodies are.

    Args:
        batch: The simulations; the model has density 1000, viscosity 0 and a non-zero gravcomp on every body.
        derived: Body poses and velocities by MuJoCo's names: "xpos", "xmat", "cvel", "subtree_com", `[B, bodies, ...]`.
        level: Height of the water surface in each world, m, `[B]`; minus infinity is a world without water.
        barrier: `(start, stop, speed)`: between these x, m, the water flows towards -x by this much more, m/s.

    `level` and `current` are read at every update, so they may be written to between steps.
    """

    def __init__(
        self,
        batch: mujoco.batch.Batch,
        derived: dict[str, Array],
        level: Array,
        barrier: tuple[float, float, float] | None = None,
    ) -> None:
        model = batch.model
        wet = np.flatnonzero(model.geom_fluid[:, 0] > 0)
        bodies = model.geom_bodyid[wet]
        if model.opt.viscosity != 0 or not model.body_gravcomp[bodies].all() or len(set(bodies)) != len(bodies):
            raise ValueError("water needs viscosity 0, a non-zero gravcomp and one fluid geom on each of its bodies")
        self._first, self._stop = int(bodies.min()), int(bodies.max()) + 1
        if self._stop - self._first != len(bodies):
            raise ValueError("the bodies of an animal must follow one another")
        self.level, self.barrier = level, barrier
        self._wet = wet[np.argsort(bodies)]
        self._semi_axes_sq = np.array([_semi_axes(model, int(g)) ** 2 for g in self._wet])
        self._centre = model.geom_pos[self._wet]
        self._position, self._matrix = derived["xpos"], derived["xmat"]
        self._cvel, self._subtree_com = derived["cvel"], derived["subtree_com"]
        self._fluid, self._gravcomp = batch.expand("geom_fluid"), batch.expand("body_gravcomp")
        self._wind = batch.expand("opt.wind")
        self.current = self._wind.copy()
        """Velocity of the water, m/s, `[B, 3]`."""
        self.base_fluid, self.base_buoyancy = model.geom_fluid[self._wet, 1:], model.body_gravcomp[self._parts].copy()
        self.full_fluid = np.repeat(self.base_fluid[None], batch.nsim, axis=0)
        """Coefficients of the wholly submerged parts, `[B, parts, 11]`."""
        self.full_buoyancy = np.repeat(self.base_buoyancy[None], batch.nsim, axis=0)
        """Weight of the displaced water over own weight, `[B, parts]`."""
        names = [model.body(b).name for b in range(self._first, self._stop)]
        self.fraction = np.ones((batch.nsim, len(names)))
        """Submerged fractions used in the last step, `[B, parts]`."""
        self.links = np.array([names.index(name) for name in LINK_NAMES])
        """Which parts are the axial links, head first."""
        for part, name in enumerate(names):  # lungs are as deep under water as the link around them
            if name.startswith("lungs"):
                host = names.index(model.body(int(model.body(name).parentid[0])).name)
                self._semi_axes_sq[part] = self._semi_axes_sq[host]
                self._centre[part] = self._centre[host] - model.body_pos[self._first + part]

    @property
    def _parts(self) -> slice:
        return slice(self._first, self._stop)

    def depths(self, lead: float) -> tuple[Array, Array]:
        """Height of the surface above each part's centre in `lead` seconds, and half height, m, `[B, parts]` each."""
        up, position = self._matrix[:, self._parts, 6:9], self._position[:, self._parts]
        height = position[..., 2] + np.einsum("bpi,pi->bp", up, self._centre)
        if lead:
            twist, arm = self._cvel[:, self._parts], position - self._subtree_com[:, self._first, None]
            height = height + lead * (twist[..., 5] + twist[..., 0] * arm[..., 1] - twist[..., 1] * arm[..., 0])
        half = np.sqrt(np.einsum("bpi,pi->bp", up * up, self._semi_axes_sq))
        return self.level[:, None] - height, half

    def update(self, lead: float = 0.0) -> None:
        """Write coefficients, buoyancy and flow for where the parts will be in `lead` seconds.

        Looking half a control period ahead keeps the sampled buoyancy from feeding energy into bobbing.
        """
        np.copyto(self.fraction, submerged_fraction(*self.depths(lead)))
        if self.barrier:
            start, stop, speed = self.barrier
            x = self._position[:, self._first + self.links, 0]
            self._wind[:] = self.current
            self._wind[:, 0] -= speed * ((x >= start) & (x < stop)).mean(axis=1)
        else:
            self._wind[:] = self.current
        self._fluid[:, self._wet, 1:] = self.fraction[..., None] * self.full_fluid
        np.multiply(self.fraction, self.full_buoyancy, out=self._gravcomp[:, self._parts])

    def measure(self, ids: NDArray[np.intp]) -> None:
        """Set the submerged fractions of the worlds `ids` to where their bodies are, without writing anything else."""
        self.fraction[ids] = submerged_fraction(*self.depths(0.0))[ids]


def _semi_axes(model: mujoco.MjModel, geom: int) -> Array:
    """Semi-axes of the ellipsoid that stands for a geom, along the axes of its body, m."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        axes = np.array([size[0], size[0], size[0] + size[1]])
    elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        axes = np.full(3, size[0])
    else:
        axes = size.copy()
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    return np.abs(rotation.reshape(3, 3)) @ axes  # geoms are turned by right angles only
