"""The animal in its world, rendered by MuJoCo from stored positions: no physics is stepped here.

The off-screen OpenGL context is opened directly, so that neither the order of imports nor the environment matters:
EGL, else OSMesa, on Linux; what MuJoCo itself would use elsewhere. GLFW without a display can abort a process, so it
is only tried when `MUJOCO_GL=glfw` asks for it and there is a display.
"""

import ctypes
import os
import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.anatomy import JOINT_X, LINK_CENTRES, LINK_EXTENTS
from sim.footage import Footage
from sim.ink import Frame

__all__ = ["CAMERAS", "GL_REMEDY", "Camera", "NoGL", "RenderedView", "choose_backend", "open_context"]

Array = NDArray[Any]
Camera = Literal["follow", "top", "side"]
CAMERAS: tuple[Camera, ...] = ("follow", "top", "side")
GL_REMEDY = "on Debian and Ubuntu: apt-get install libegl1 libgl1"


BEADS = ((0.08, 0.6, 1.0), (1.0, 0.42, 0.0))
"""Left and right, red, green, blue: the blue and orange of the panels, deepened to outlast the colour of the water."""


class NoGL(RuntimeError):
    """No off-screen OpenGL context can be had; the message says why and what to install."""


def _loads(*names: str) -> bool:
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def choose_backend() -> str:
    """The OpenGL backend that this machine has libraries for; `MUJOCO_GL` decides if it is set.

    Raises:
        NoGL: there is none.
    """
    wish = os.environ.get("MUJOCO_GL", "").lower().strip()
    if wish in ("disable", "disabled", "off", "false", "0"):
        raise NoGL(f"MUJOCO_GL={wish} switches rendering off; unset it to render")
    if not sys.platform.startswith("linux"):
        return "cgl" if sys.platform == "darwin" and wish != "glfw" else "glfw"
    if wish in ("glfw", "glx"):
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise NoGL("MUJOCO_GL=glfw needs a display, and there is none; unset it to render off screen")
        return "glfw"
    if wish in ("", "egl") and _loads("libEGL.so.1") and _loads("libGL.so.1"):
        return "egl"
    if wish in ("", "osmesa") and _loads("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        return "osmesa"
    raise NoGL(f"no OpenGL library was found{f' for MUJOCO_GL={wish}' if wish else ''}; {GL_REMEDY}")


def open_context(width: int, height: int) -> tuple[Any, str]:
    """An off-screen OpenGL context, made current, and the name of its backend. Free it with its `free()`.

    Raises:
        NoGL: the libraries are missing, or the driver refuses.
    """
    backend = choose_backend()
    try:
        if backend == "egl":
            from mujoco.egl import GLContext
        elif backend == "osmesa":
            from mujoco.osmesa import GLContext
        elif backend == "cgl":
            from mujoco.cgl import GLContext
        else:
            from mujoco.glfw import GLContext
        context = GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL raises AttributeError, ImportError, GLError and others
        reason = f"{type(error).__name__}: {error}"
        raise NoGL(f"{backend} could not open an off-screen context ({reason}); {GL_REMEDY}") from error
    return context, backend


def driver_name(backend: str) -> str:
    """What the current context draws with, as the driver calls itself; "" if it does not say."""
    if backend not in ("egl", "osmesa"):
        return ""
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode(errors="replace") if isinstance(name, bytes) else ""


def is_software(driver: str) -> bool:
    """Whether a driver draws on the processor.

    >>> is_software("llvmpipe (LLVM 15.0.6, 256 bits)"), is_software("NVIDIA H200/PCIe/SSE2")
    (True, False)
    """
    return any(name in driver.lower() for name in ("llvmpipe", "softpipe", "swrast", "software", "swiftshader"))


class RenderedView:
    """A camera on the animal, in the world it moved in.

    Args:
        footage: the run; it must hold `qpos`.
        width, height: of the picture, pixels.
        camera: "follow" goes along behind and above, "top" looks straight down, "side" from the right, level.
        model: the `mujoco.MjModel` that the positions belong to; built from the run's world and length if absent.
            Its visual settings are adapted to the picture.
        shadows: cast shadows and reflections; slower without a graphics card.
        smooth: four samples per pixel; None: if there is a graphics card, since without one it takes twice the time.
        activity: put a light at each spine joint and side, as bright as the units that move it.

    Raises:
        NoGL: no OpenGL.
        ValueError: the run holds no `qpos`, or one that does not fit the model.
    """

    def __init__(
        self,
        footage: Footage,
        width: int,
        height: int,
        camera: Camera = "follow",
        *,
        model: Any = None,
        shadows: bool = False,
        smooth: bool | None = None,
        activity: bool = True,
    ):
        choose_backend()  # first, since `import mujoco` fails where MUJOCO_GL names a library that is missing
        import mujoco

        self._mujoco = mujoco
        self.footage, self.width, self.height, self.activity = footage, width, height, activity
        if camera not in CAMERAS:
            raise ValueError(f"unknown camera {camera!r}; the cameras are {', '.join(CAMERAS)}")
        if footage.qpos is None:
            raise ValueError("the traces hold no `qpos`, so the body cannot be rendered; record it, or draw from above")
        self.model = _model_of(footage) if model is None else model
        if footage.qpos.shape[1] != self.model.nq:
            raise ValueError(
                f"`qpos` has {footage.qpos.shape[1]} columns, the body has {self.model.nq}; "
                "the traces come from another version of the body"
            )
        self.context, self.backend = open_context(width, height)
        self.driver = driver_name(self.backend)
        self._prepare_model(shadows, smooth if smooth is not None else not is_software(self.driver))
        self.renderer = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self.renderer)
        self.data = mujoco.MjData(self.model)
        self.scene = mujoco.MjvScene(self.model, maxgeom=self.model.ngeom + 200)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = shadows
        self.option = mujoco.MjvOption()
        animal = self.model.geom_bodyid > 0
        if not (animal & (self.model.geom_group < 3)).any() and not self.model.nskin:
            self.option.geomgroup[3] = 1
        self.rect = mujoco.MjrRect(0, 0, width, height)
        self.pixels: Frame = np.empty((height, width, 3), np.uint8)
        self._place_cameras(camera)
        self._links = [self.model.body(f"link.{i}").id for i in range(9)]

    def _prepare_model(self, shadows: bool, smooth: bool) -> None:
        """Fit buffers and lens of the model's visual settings to the picture."""
        vis = self.model.vis
        vis.global_.offwidth, vis.global_.offheight = self.width, self.height
        vis.global_.fovy = 32.0
        vis.quality.offsamples = 4 if smooth else 0
        if not shadows:
            vis.quality.shadowsize = 0

    def _place_cameras(self, camera: Camera) -> None:
        """Smooth paths of the camera, known in advance because the run is over: no delay, no shaking."""
        footage, length = self.footage, self.footage.length
        self.camera = self._mujoco.MjvCamera()
        self.lookat = footage.smooth(footage.centre, 0.3)
        heading = np.degrees(footage.smooth(footage.heading, 0.8))
        # MuJoCo's azimuth is the direction in which the camera looks: 90 is along +y, from the animal's right.
        place = {
            "follow": (heading + 52, -32.0, 1.3),
            "top": (np.full_like(heading, 90.0), -89.9, 2.3),
            "side": (heading + 90, -9.0, 1.25),
        }
        self.azimuth, self.camera.elevation, distance = place[camera]
        self.camera.distance = distance * length
        horizon = self.camera.elevation + self.model.vis.global_.fovy / 2 > -5
        for flag in (self._mujoco.mjtRndFlag.mjRND_SKYBOX, self._mujoco.mjtRndFlag.mjRND_HAZE):
            self.scene.flags[flag] = horizon  # what is out of sight costs time all the same

    def draw(self, frame: Frame, time: float) -> None:
        """Render one moment into the upper left `height` x `width` pixels of the frame."""
        mujoco, footage = self._mujoco, self.footage
        assert footage.qpos is not None
        qpos = footage.at(footage.qpos, time)
        if self.model.nq > 6 and self.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
            qpos[3:7] /= max(float(np.linalg.norm(qpos[3:7])), 1e-9)
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self.camera.lookat[:] = footage.at(self.lookat, time)
        self.camera.azimuth = float(footage.at(self.azimuth, time))
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, self.data, self.option, None, self.camera, everything, self.scene)
        if self.activity and footage.motor is not None:
            self._add_lights(footage.at(footage.motor, time))
        self.context.make_current()
        mujoco.mjr_render(self.rect, self.scene, self.renderer)
        mujoco.mjr_readPixels(self.pixels, None, self.rect, self.renderer)
        frame[: self.height, : self.width] = self.pixels[::-1]

    def _add_lights(self, motor: Array) -> None:
        """Beads on the animal's back, blue to the left and orange to the right, lit by their units `[2, segments]`."""
        length = self.footage.length
        x = np.interp(np.linspace(0, 1, motor.shape[1]), np.linspace(0, 1, len(JOINT_X)), JOINT_X)
        half = np.stack([np.interp(x, LINK_CENTRES, LINK_EXTENTS[:, axis]) for axis in (1, 2)]) * length / 2
        edges = np.concatenate([[0.0], JOINT_X])
        for k in range(len(x)):
            link = int(np.clip(np.searchsorted(JOINT_X, x[k] - 1e-9), 0, 8))
            origin = self.data.xpos[self._links[link]]
            turn = self.data.xmat[self._links[link]].reshape(3, 3)
            for s, (sign, colour) in enumerate(zip((1, -1), BEADS, strict=True)):
                level = float(motor[s, k])
                offset = np.array([-(x[k] - edges[link]) * length, sign * 0.62 * half[0, k], 0.86 * half[1, k]])
                self._add_bead(origin + turn @ offset, (0.004 + 0.010 * level) * length, colour, level)

    def _add_bead(self, position: Array, radius: float, colour: tuple[float, float, float], level: float) -> None:
        red, green, blue = (float((0.25 + 0.75 * level) * c) for c in colour)
        sphere = self._mujoco.mjtGeom.mjGEOM_SPHERE
        bead = self._add_geom(sphere, np.full(3, radius), position, np.eye(3), (red, green, blue, 1.0))
        if bead is not None:
            bead.emission = 0.45 * level

    def _add_geom(self, kind: Any, size: Array, position: Array, turn: Array, rgba: tuple[float, ...]) -> Any:
        """Append a shape to the scene of this frame only; None if the scene is full."""
        if self.scene.ngeom >= self.scene.maxgeom:
            return None
        geom = self.scene.geoms[self.scene.ngeom]
        self._mujoco.mjv_initGeom(geom, kind, size, position, turn.ravel(), np.array(rgba, np.float32))
        self.scene.ngeom += 1
        return geom

    def close(self) -> None:
        """Free the OpenGL resources; call it, rather than leave it to the end of the process."""
        if self.renderer is not None:
            self.context.make_current()
            self.renderer.free()
            self.context.free()
        self.renderer = self.context = None


def _model_of(footage: Footage) -> Any:
    from sim.arena import build_spec
    from sim.body import BodyParameters

    return build_spec(footage.world, BodyParameters(length=footage.length)).compile()
