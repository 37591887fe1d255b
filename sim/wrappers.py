"""Make an environment partially observable: hide velocities, delay, noise, failing sensors; single or vector alike.

`Hide`, `HideVelocity`, `Delay`, `Noise` and `Dropout` take an environment with readings in one vector (Box `[O]`) and
return the wrapper that fits: a `gymnasium.Wrapper` for a single environment, a `VectorWrapper` for a batch. Readings
are chosen by name where the environment has `observation_names` (shell patterns such as "joint_velocity.*" too) or
by index. Each world's sensors start anew with its own episode, in every autoreset mode; `final_obs` passes through the
sensors of the episode it ends.
"""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from sim.sensors import Delayed, Dropping, Hidden, Noisy, Sensor

__all__ = [
    "VELOCITIES",
    "Delay",
    "Dropout",
    "Hide",
    "HideVelocity",
    "Noise",
    "SensorWrapper",
    "VectorSensorWrapper",
    "observation_names",
]

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
Names = Sequence[str | int] | str | int | None

VELOCITIES: dict[str, tuple[int, ...]] = {
    "CartPole": (1, 3),
    "MountainCar": (1,),
    "MountainCarContinuous": (1,),
    "Pendulum": (2,),
    "Acrobot": (4, 5),
    "LunarLander": (2, 3, 5),
    "LunarLanderContinuous": (2, 3, 5),
}
"""Which readings are velocities in Gymnasium's environments, by id without version."""

_VELOCITY_NAME = re.compile(r"(^|[._ ])(velocity|velocities|speed|rate)([._ ]|$)")


def observation_names(env: Any) -> tuple[str, ...] | None:
    """Names of the readings, from the outermost layer that has them; None if no layer has.

    A vector environment made of single ones is asked through its first.
    """
    layer = env
    while layer is not None:
        found = getattr(layer, "observation_names", None)
        if found is not None:
            return tuple(found)
        layer = layer.envs[0] if hasattr(layer, "envs") else getattr(layer, "env", None)
    return None


def Hide(env: Any, names: Names, *, drop: bool = False) -> Any:
    """Hide readings: 0 by default, so that the shape stays; left out with `drop=True`.

    Args:
        env: Single or vector environment.
        names: Names, patterns or indices of the readings.
        drop: Leave them out of the observation.

    >>> from sim.oscillator_env import OscillatorVectorEnv
    >>> envs = Hide(OscillatorVectorEnv(2, task="duffing"), "velocity", drop=True)
    >>> envs.reset(seed=0)[0].shape, envs.observation_names
    ((2, 2), ('position', 'target'))
    """
    return _wrap(env, names, lambda space, worlds, entries: Hidden(space, worlds, entries, drop))


def HideVelocity(env: Any, *, drop: bool = False) -> Any:
    """Hide every velocity, so that acting well takes memory.

    Velocities are readings with "velocity", "speed" or "rate" in their name, or, for an environment without names,
    those listed in `VELOCITIES`.

    Raises:
        ValueError: No velocities are known for this environment; use `Hide` with indices.

    >>> HideVelocity(gym.make("CartPole-v1"), drop=True).observation_space.shape
    (2,)
    """
    names = observation_names(env)
    if names is not None:
        chosen: list[int] = [i for i, name in enumerate(names) if _VELOCITY_NAME.search(name)]
        known = f"observation_names {', '.join(names[:12])}"
    else:
        base = _env_id(env)
        chosen, known = list(VELOCITIES.get(base, ())), f"id {base or 'unknown'}"
    if not chosen:
        raise ValueError(f"no velocities are known for this environment ({known}); name them: Hide(env, [indices])")
    return Hide(env, chosen, drop=drop)


def Delay(env: Any, steps: int, names: Names = None) -> Any:
    """Delay readings by some steps; until then the first reading of the episode stands.

    Args:
        env: Single or vector environment.
        steps: At least 1.
        names: Which readings; all by default.
    """
    return _wrap(env, names, lambda space, worlds, entries: Delayed(space, worlds, entries, steps))


def Noise(env: Any, std: float | ArrayLike, names: Names = None, *, bias: float | ArrayLike = 0.0) -> Any:
    """Add Gaussian noise of standard deviation `std` at each step, and one of `bias` that stays for an episode.

    Args:
        env: Single or vector environment.
        std: In the unit of the readings; one number, or one for each chosen reading.
        names: Which readings; all by default.
        bias: Likewise, drawn once per episode.
    """
    std, bias = np.asarray(std, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    return _wrap(env, names, lambda space, worlds, entries: Noisy(space, worlds, entries, std, bias))


def Dropout(
    env: Any,
    probability: float = 0.0,
    steps: int = 1,
    names: Names = None,
    *,
    at: int | None = None,
    together: bool = False,
    hold: bool = False,
) -> Any:
    """Let sensors go dark for `steps` steps: with some probability per step, or at step `at` of every episode.

    A dark sensor reads 0. Which readings are dark is in `info["dropped"]` (`[O]` or `[B, O]`).

    Args:
        env: Single or vector environment.
        probability: Of a lit sensor going dark, per step.
        steps: How long it stays dark.
        names: Which readings can fail; all by default.
        at: All of them go dark at this step (0: the first reading).
        together: They fail all at once rather than each by itself.
        hold: A dark sensor repeats its last reading instead of 0.
    """
    make = lambda space, worlds, entries: Dropping(space, worlds, entries, probability, steps, at, together, hold)
    return _wrap(env, names, make)


class SensorWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """A sensor on a single environment."""

    def __init__(self, env: gym.Env[Any, Any], make: Callable[[Box], Sensor], names: tuple[str, ...] | None):
        super().__init__(env)
        self.sensor = make(_readings(env.observation_space))
        self.observation_space = self.sensor.output_space()
        if names is not None:
            self.observation_names = tuple(names[i] for i in self.sensor.kept())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and its sensors."""
        obs, info = self.env.reset(seed=seed, options=options)
        self.sensor.seed(seed)
        return self._through(self.sensor.start, obs, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and read the sensors."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        obs, info = self._through(self.sensor.read, obs, info)
        return obs, reward, terminated, truncated, info

    def _through(self, sense: Callable[..., Any], obs: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        out = sense(np.asarray(obs)[None], np.zeros(1, dtype=np.intp))[0]
        return out, info | {name: value[0] for name, value in self.sensor.state().items()}


class VectorSensorWrapper(VectorWrapper[Any, Any, Any, Any, Any]):
    """A sensor on each world of a vector environment, for every autoreset mode."""

    def __init__(self, env: VectorEnv[Any, Any, Any], make: Callable[[Box], Sensor], names: tuple[str, ...] | None):
        super().__init__(env)
        self.sensor = make(_readings(env.single_observation_space))
        space = self.sensor.output_space()
        self.single_observation_space, self.observation_space = space, batch_space(space, env.num_envs)
        if names is not None:
            self.observation_names = tuple(names[i] for i in self.sensor.kept())
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._ended = np.zeros(env.num_envs, dtype=bool)
        self._out: NDArray[np.floating] = np.zeros_like(np.tile(space.low, (env.num_envs, 1)))

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all worlds, or those of `options["reset_mask"]`; the sensors of the others go on untouched."""
        mask = (options or {}).get("reset_mask")
        obs, info = self.env.reset(seed=seed, options=options)
        self.sensor.seed(seed[0] if isinstance(seed, list) else seed)
        started = np.ones(self.num_envs, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        self._ended[started] = False
        self._sense(obs, started, np.zeros_like(started))
        return self._out.copy(), info | self.sensor.state()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all worlds, and read their sensors."""
        obs, reward, terminated, truncated, info = self.env.step(actions)
        ended = np.asarray(terminated) | np.asarray(truncated)
        if self._mode == AutoresetMode.SAME_STEP:
            started, info = ended, self._final(info, ended)
        else:
            started = self._ended if self._mode == AutoresetMode.NEXT_STEP else np.zeros_like(ended)
            self._ended = ended
        self._sense(obs, started, ~started)
        return self._out.copy(), reward, terminated, truncated, info | self.sensor.state()

    def _sense(self, obs: Any, started: NDArray[np.bool_], going: NDArray[np.bool_]) -> None:
        readings = np.asarray(obs)
        for mask, sense in ((started, self.sensor.start), (going, self.sensor.read)):
            worlds = np.flatnonzero(mask)
            if len(worlds):
                self._out[worlds] = sense(readings[worlds], worlds)

    def _final(self, info: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
        worlds = np.flatnonzero(ended)
        if not len(worlds) or "final_obs" not in info:
            return info
        last = self.sensor.read(np.stack([info["final_obs"][w] for w in worlds]), worlds)
        final = np.full(self.num_envs, None, dtype=object)
        for world, row in zip(worlds, last, strict=True):
            final[world] = row
        return info | {"final_obs": final}


def _wrap(env: Any, names: Names, make: Callable[[Box, int, NDArray[np.intp]], Sensor]) -> Any:
    vector = isinstance(env, VectorEnv)
    if not vector and not isinstance(env, gym.Env):
        raise TypeError(f"expected a Gymnasium environment, single or vector; received {type(env).__name__}")
    space = _readings(env.single_observation_space if vector else env.observation_space)
    known = observation_names(env)
    entries = _entries(names, known, space.shape[0])
    if vector:
        return VectorSensorWrapper(env, lambda s: make(s, env.num_envs, entries), known)
    return SensorWrapper(env, lambda s: make(s, 1, entries), known)


def _readings(space: gym.Space[Any]) -> Box:
    if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype is None or space.dtype.kind != "f":
        raise ValueError(f"sensors need readings in one vector, a Box [O] of floats; this environment gives {space}")
    return space


def _entries(names: Names, known: tuple[str, ...] | None, count: int) -> NDArray[np.intp]:
    """Indices of the chosen readings, in order."""
    if names is None:
        return np.arange(count)
    chosen: list[int] = []
    for name in [names] if isinstance(names, str | int | np.integer) else names:
        if isinstance(name, str):
            if known is None:
                raise ValueError(
                    f"this environment has no observation_names; choose {name!r} by its index, 0 .. {count - 1}"
                )
            found = [i for i, candidate in enumerate(known) if candidate == name or fnmatchcase(candidate, name)]
            if not found:
                raise ValueError(f"no reading is called {name!r}; there are {', '.join(known)}")
            chosen += found
        elif not 0 <= name < count:
            raise ValueError(f"readings have indices 0 .. {count - 1}; received {name}")
        else:
            chosen.append(int(name))
    if not chosen:
        raise ValueError("no readings were chosen; give at least one name or index")
    return np.unique(chosen)


def _env_id(env: Any) -> str:
    """Id without namespace and version, "" if there is none."""
    spec = getattr(env, "spec", None) or getattr(env.unwrapped, "spec", None)
    if spec is None and hasattr(env.unwrapped, "envs"):
        spec = env.unwrapped.envs[0].spec
    return "" if spec is None else spec.id.split("/")[-1].rsplit("-v", 1)[0]
