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
        level: Height of the water surface in each world, m, `[B]`, kept by reference; minus infinity is a world
            without water.
    """

    def __init__(self, batch: mujoco.batch.Batch, level: Array) -> None:
        model = batch.model
        wet = np.flatnonzero(model.geom_fluid[:, 0] > 0)
        bodies = model.geom_bodyid[wet]
        if model.opt.viscosity != 0 or not model.body_gravcomp[bodies].all() or len(set(bodies)) != len(bodies):
            raise ValueError("water needs viscosity 0, a non-zero gravcomp and one fluid geom on each of its bodies")
        self.level = level
        self._model, self._wet, self._bodies = model, wet, bodies
        self._first, self._stop = int(bodies.min()), int(bodies.max()) + 1
        if self._stop - self._first != len(bodies):
            raise ValueError("the bodies of an animal must follow one another")
        order = np.argsort(bodies)
        self._wet = wet[order]
        self._semi_axes_sq = np.array([_semi_axes(model, int(g)) ** 2 for g in self._wet])
        self._centre = model.geom_pos[self._wet]
        self._position, self._matrix = batch.bind("xpos"), batch.bind("xmat")
        self._cvel, self._subtree_com = batch.bind("cvel"), batch.bind("subtree_com")
        self._fluid, self._gravcomp = batch.expand("geom_fluid"), batch.expand("body_gravcomp")
        self.full_fluid = np.repeat(model.geom_fluid[None, self._wet, 1:], batch.nsim, axis=0)
        """Coefficients of the wholly submerged parts, `[B, parts, 11]`; change them per world at will."""
        self.full_buoyancy = np.repeat(model.body_gravcomp[None, self._first : self._stop], batch.nsim, axis=0)
        """Weight of the displaced water over own weight, `[B, parts]`; change it per world at will."""
        names = [model.body(b).name for b in range(self._first, self._stop)]
        self.fraction = np.ones((batch.nsim, len(names)))
        """Submerged fractions used in the last step, `[B, parts]`."""
        self.links = [names.index(name) for name in LINK_NAMES]
        """Which parts are the axial links, head first."""
        if "lungs" in names:  # a point; it is as deep under water as the link around it
            lungs, host = names.index("lungs"), names.index(model.body(model.body("lungs").parentid[0]).name)
            self._semi_axes_sq[lungs] = self._semi_axes_sq[host]

    def depths(self, lead: float) -> tuple[Array, Array]:
        """Height of the surface above each part's centre in `lead` seconds, and vertical half height, `[B, parts]`,
        m."""
        parts = slice(self._first, self._stop)
        up = self._matrix[:, parts, 6:9]
        height = self._position[:, parts, 2] + np.einsum("bpi,pi->bp", up, self._centre)
        if lead:
            twist, root = self._cvel[:, parts], self._subtree_com[:, self._first, None]
            arm = self._position[:, parts] - root
            climb = twist[..., 5] + twist[..., 0] * arm[..., 1] - twist[..., 1] * arm[..., 0]
            height = height + lead * climb
        half = np.sqrt(np.einsum("bpi,pi->bp", up * up, self._semi_axes_sq))
        return self.level[:, None] - height, half

    def update(self, lead: float = 0.0, *, force: bool = False) -> None:
        """Write coefficients and buoyancy for where the parts will be in `lead` seconds.

        Looking half a control period ahead keeps the sampled buoyancy from feeding energy into bobbing.
        """
        fraction = submerged_fraction(*self.depths(lead))
        if not force and np.array_equal(fraction, self.fraction):
            return
        self.fraction[:] = fraction
        self._fluid[:, self._wet, 1:] = fraction[..., None] * self.full_fluid
        np.multiply(fraction, self.full_buoyancy, out=self._gravcomp[:, self._first : self._stop])


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
