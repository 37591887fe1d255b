"""Bodies and worlds: registers the environments, lazily. Importing this loads neither MuJoCo nor PyTorch."""

import os
import sys

import gymnasium

__all__ = ["ENVIRONMENTS"]

# Without a display MuJoCo's default, GLFW, aborts the process; EGL draws off screen.
if sys.platform.startswith("linux") and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")

_SALAMANDER = {"Swim": 1000, "Walk": 1000, "Shore": 3000, "Steer": 2000}  # control steps of 10 ms
_OSCILLATOR = {"Damped": 200, "Forced": 400, "Duffing": 400, "VanDerPol": 400}
_NFQ = {"Pole": 3000, "MountainCar": 50, "CartPoleRegulator": 100}

ENVIRONMENTS = (
    *(f"salamander/{name}-v0" for name in _SALAMANDER),
    *(f"oscillator/{name}-v0" for name in _OSCILLATOR),
    *(f"nfq/{name}-v0" for name in _NFQ),
)
"""The registered ids; `gymnasium.make("sim:ID")` finds them without an import, `make("ID")` after one."""

for _id in ENVIRONMENTS:
    _family, _name = _id.removesuffix("-v0").split("/")
    _steps = {"salamander": _SALAMANDER, "oscillator": _OSCILLATOR, "nfq": _NFQ}[_family]
    _entry = "sim.nfq_tasks:NFQ" if _family == "nfq" else f"sim.{_family}_env:{_family.title()}"
    if _id not in gymnasium.registry:
        gymnasium.register(
            id=_id,
            entry_point=f"{_entry}Env",
            vector_entry_point=f"{_entry}VectorEnv",
            max_episode_steps=_steps[_name],
            kwargs={"task": _name.lower()},
        )
