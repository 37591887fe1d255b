"""Pictures of running simulations, one world at a time: what `render()` of the environments shows.

Films are made from stored traces instead, see `sim.video`.
"""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.render import open_context
from sim.salamander import Salamander

__all__ = ["Camera"]


class Camera:
    """Looks at the trunk from behind, above and to the side; keeps its direction while the animal turns.

    Args:
        salamander: The simulation.
        width, height: pixels.

    Raises:
        sim.render.NoGL: There is no OpenGL.
    """

    def __init__(self, salamander: Salamander, width: int = 640, height: int = 480) -> None:
        self.salamander, self.width, self.height = salamander, width, height
        self.model, self.data = salamander.model, mujoco.MjData(salamander.model)
        self.model.vis.global_.offwidth, self.model.vis.global_.offheight = width, height
        self.model.vis.quality.shadowsize = 0
        self._context, self.backend = open_context(width, height)
        self._renderer: Any = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._renderer)
        self._scene, self._option = mujoco.MjvScene(self.model, maxgeom=self.model.ngeom + 50), mujoco.MjvOption()
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = 50.0, -28.0
        self._camera.distance = 2.2 * salamander.length

    def picture(self, world: int = 0) -> NDArray[np.uint8]:
        """The world as it is now, `[height, width, 3]`."""
        self.data.qpos[:] = self.salamander.qpos()[world]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self._camera.lookat[:] = self.salamander.centre_of_mass()[world]
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, self.data, self._option, None, self._camera, everything, self._scene)
        self._context.make_current()
        rect = mujoco.MjrRect(0, 0, self.width, self.height)
        mujoco.mjr_render(rect, self._scene, self._renderer)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, rect, self._renderer)
        return pixels[::-1].copy()

    def close(self) -> None:
        """Free the OpenGL resources."""
        if self._renderer is not None:
            self._context.make_current()
            self._renderer.free()
            self._context.free()
            self._renderer = self._context = None
