"""Domain randomisation: each world draws its own mass, strength, friction and water when it is reset."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from sim.water import Water

__all__ = ["Randomisation", "Randomiser"]

Array = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True)
class Randomisation:
    """Ranges that factors are drawn from, uniformly and independently; (1, 1) leaves a quantity alone.

    >>> Randomisation(strength=(0.8, 1.2)).strength
    (0.8, 1.2)
    """

    mass: Range = (1.0, 1.0)
    """Masses and inertias. The volume stays, so a heavier animal is denser and floats deeper or sinks."""
    strength: Range = (1.0, 1.0)
    """Active torque of the muscles (alpha), or largest torque of the servos."""
    foot_friction: Range = (1.0, 1.0)
    """Friction of the feet."""
    belly_friction: Range = (1.0, 1.0)
    """Friction of trunk and tail."""
    drag: Range = (1.0, 1.0)
    """Drag and lift of the water."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not 0.0 < low <= high < np.inf:
                raise ValueError(f"{field.name} takes (low, high) with 0 < low <= high; received {(low, high)}")


class Randomiser:
    """Writes drawn factors into the per-world model fields of a batch.

    Args:
        batch: The simulations.
        ranges: What to draw from.
        water: The water of these simulations, if there is any.
    """

    def __init__(self, batch: mujoco.batch.Batch, ranges: Randomisation, water: Water | None) -> None:
        self._batch, self._water, model = batch, water, batch.model
        self._ranges = {
            f.name: getattr(ranges, f.name) for f in fields(ranges) if getattr(ranges, f.name) != (1.0, 1.0)
        }
        self.factors = {name: np.ones(batch.nsim) for name in self._ranges}
        """The factor of each randomised quantity in each world, `[B]`."""
        self._feet = np.flatnonzero([model.geom(g).name.startswith("foot.") for g in range(model.ngeom)])
        self._belly = np.flatnonzero([model.geom(g).name.startswith("link.") for g in range(model.ngeom)])
        gain = model.actuator_gainprm
        self._muscles = bool(gain[:, 1].any())
        # The part of a muscle's gain that is alpha: half the difference within the pair, plus and minus.
        self._alpha = np.repeat(0.5 * (gain[0::2, 0] - gain[1::2, 0]), 2) * np.resize([1.0, -1.0], model.nu)

    def draw(self, ids: NDArray[np.intp], rngs: Sequence[np.random.Generator]) -> None:
        """Draw and write new factors for the worlds `ids`; world i draws from `rngs[i]`."""
        for world in ids:
            for name, (low, high) in self._ranges.items():
                self.factors[name][world] = rngs[int(world)].uniform(low, high)
        self.write(ids)

    def write(self, ids: NDArray[np.intp]) -> None:
        """Write the present factors of the worlds `ids` into the model fields."""
        batch, model = self._batch, self._batch.model
        factor = {name: values[ids] for name, values in self.factors.items()}
        if "foot_friction" in factor:
            batch.expand("geom_friction")[ids[:, None], self._feet, 0] = (
                factor["foot_friction"][:, None] * model.geom_friction[self._feet, 0]
            )
        if "belly_friction" in factor:
            batch.expand("geom_friction")[ids[:, None], self._belly, 0] = (
                factor["belly_friction"][:, None] * model.geom_friction[self._belly, 0]
            )
        if "strength" in factor and self._muscles:
            change = (factor["strength"][:, None] - 1.0) * self._alpha
            batch.expand("actuator_gainprm")[ids, :, 0] = model.actuator_gainprm[:, 0] + change
        elif "strength" in factor:
            scale = factor["strength"][:, None, None]
            batch.expand("actuator_forcerange")[ids] = scale * model.actuator_forcerange
        if "drag" in factor and self._water:
            self._water.full_fluid[ids, :, :5] = factor["drag"][:, None, None] * self._water.base_fluid[:, :5]
        if "mass" in factor:
            mass = factor["mass"][:, None]
            batch.expand("body_mass")[ids] = mass * model.body_mass
            batch.expand("body_inertia")[ids] = mass[..., None] * model.body_inertia
            batch.set_const(ids)
            if self._water:
                self._water.full_buoyancy[ids] = self._water.base_buoyancy / mass
