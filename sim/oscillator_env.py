"""Oscillators as Gymnasium environments: oscillator/Damped-v0, Forced-v0, Duffing-v0 and VanDerPol-v0."""

import math
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from sim.oscillator_tasks import TASKS, OscillatorTask

__all__ = ["OscillatorEnv", "OscillatorVectorEnv"]

Array = NDArray[np.float64]
TaskName = Literal["damped", "forced", "duffing", "vanderpol"]


class OscillatorVectorEnv(VectorEnv[NDArray[np.float32], Any, NDArray[Any]]):
    r"""A batch of worlds with one oscillator each.

    ### Tasks
    | task | oscillator | wanted | reward term | effort cost | dt |
    |---|---|---|---|---|---|
    | damped | 1 Hz, damping ratio 0.01 | rest | `rest` | 0.05 | 0.05 s |
    | forced | 1 Hz, damping ratio 0.05, shaken by two hidden rhythms | cos(reference) | `rhythm` | 0.02 | 0.05 s |
    | duffing | two wells: x'' = x - x^3 - 0.1 x' | sit in the commanded well | `well` | 0.02 | 0.2 s |
    | vanderpol | 1 Hz limit cycle of amplitude 2, mu 0.5 | phase = reference | `step` | 0.05 | 0.05 s |

    ### Action
    Box `[1]` in [-1, 1]: force on the mass, times 4 (damped), 12 (forced), 0.2 (duffing) or 16 (vanderpol) position
    units per s^2; values outside are clipped. With `discrete_actions=N`: one of N evenly spaced forces from -1 to 1,
    so that odd N include 0.

    ### Observation
    Box, float32; names in `observation_names`. Position and velocity saturate at their bounds.

    | name | tasks | meaning | range |
    |---|---|---|---|
    | position | all | displacement of the mass | +-3 (vanderpol: +-5) |
    | velocity | all | per s | +-25 (duffing: +-5, vanderpol: +-40) |
    | reference.cos, reference.sin | forced, vanderpol | the wanted rhythm | +-1 |
    | target | duffing | the commanded well | -1 or 1 |

    ### Reward
    The task's term in [0, 1], less the effort cost times action^2; the two are in `info["reward_terms"]`.
    `rest`: amplitude below 0.02, falling to 0.1 at 1.02. `rhythm`: position error below 0.05, falling to 0.1 at 0.55.
    `well`: within 0.2 of the target, falling to 0.1 at 1.2. `step`: (1 + cos of the phase difference) / 2.

    ### Start
    Drawn per world and episode: amplitude, phase, physical parameters within `randomise` of their nominal values
    (natural frequency; duffing: damping; vanderpol: mu too), rhythms, moments of change. The unclipped state is in
    `info["state"]`.

    ### End
    Terminated when the position leaves its range. Truncated after `max_episode_steps`, counted per world.

    ### Version history
    - v0: first version.

    Args:
        num_envs: B.
        task: Name of the task.
        max_episode_steps: Steps after which a world is truncated; None for no limit.
        discrete_actions: Number of forces to choose from; None for a continuous force.
        randomise: Relative spread of the physical parameters, in [0, 1).
        autoreset_mode: `AutoresetMode.SAME_STEP` (a world that ends starts anew within the step, its last observation
            is `info["final_obs"]`) or `AutoresetMode.DISABLED` (reset with `options={"reset_mask": [B] bool}`).

    Seed s gives world i the generator of seed s + i, which it keeps through its episodes: row i of any batch is the
    single environment seeded with s + i.

    >>> envs = OscillatorVectorEnv(4, task="damped", max_episode_steps=200)
    >>> obs, info = envs.reset(seed=0)
    >>> obs.shape, envs.observation_names
    ((4, 2), ('position', 'velocity'))
    >>> obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
    >>> bool(np.allclose(reward, sum(info["reward_terms"].values())))
    True
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: TaskName = "damped",
        max_episode_steps: int | None = None,
        discrete_actions: int | None = None,
        randomise: float = 0.1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ):
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; received {task!r}")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1; received {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(
                f"max_episode_steps must be at least 1, or None for no limit; received {max_episode_steps}"
            )
        if discrete_actions is not None and discrete_actions < 2:
            raise ValueError(
                f"discrete_actions must be at least 2, or None for a continuous force; received {discrete_actions}"
            )
        mode = AutoresetMode(autoreset_mode)
        if mode == AutoresetMode.NEXT_STEP:
            raise ValueError(
                "autoreset_mode must be SAME_STEP or DISABLED; NEXT_STEP (with its idle steps) is not offered"
            )
        self.metadata = {"autoreset_mode": mode, "render_modes": []}
        self.num_envs = num_envs
        self.task: OscillatorTask = TASKS[task](num_envs, randomise)
        self.max_episode_steps = math.inf if max_episode_steps is None else max_episode_steps
        self.observation_names = ("position", "velocity", *self.task.extra_names)
        high = np.array([self.task.limit, self.task.fastest, *[1.0] * len(self.task.extra_names)], dtype=np.float32)
        self.single_observation_space = Box(-high, high)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.forces = None if discrete_actions is None else np.linspace(-1.0, 1.0, discrete_actions)
        self.single_action_space: gym.Space[Any] = (
            Box(-1.0, 1.0, (1,)) if self.forces is None else Discrete(len(self.forces))
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._over = np.ones(num_envs, dtype=bool)  # nothing may be stepped before the first reset

    @property
    def dt(self) -> float:
        """Control period, s."""
        return self.task.dt

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start new episodes in all worlds, or in those of `options["reset_mask"]` (`[B]` bool); the others stay.

        Args:
            seed: s seeds world i with s + i; a list gives each its own; None goes on with the generators there are.
            options: `{"reset_mask": mask}` or None.

        Raises:
            ValueError: A seed list or mask of the wrong length.
        """
        seeds = (
            [None if seed is None else seed + i for i in range(self.num_envs)] if not isinstance(seed, list) else seed
        )
        if len(seeds) != self.num_envs:
            raise ValueError(f"a list of seeds needs one for each of the {self.num_envs} worlds; received {len(seeds)}")
        mask = np.ones(self.num_envs, dtype=bool)
        if options and options.get("reset_mask") is not None:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (self.num_envs,) or mask.dtype != bool:
                raise ValueError(f"reset_mask must be boolean [{self.num_envs}]; received {mask.dtype} {mask.shape}")
        for world in np.flatnonzero(mask):
            if seeds[world] is not None or self._rngs[world] is None:
                self._rngs[world] = seeding.np_random(seeds[world])[0]
        self._start(mask)
        return self._observation(), self._info()

    def _start(self, mask: NDArray[np.bool_]) -> None:
        for world in np.flatnonzero(mask):
            rng = self._rngs[world]
            assert rng is not None
            self.task.start(int(world), rng)
        self.task.prepare()
        self._steps[mask] = 0
        self._over[mask] = False

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.float32], Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Push every mass for one control period.

        Args:
            actions: `[B, 1]` forces, or `[B]` indices with `discrete_actions`.

        Raises:
            ValueError: Wrong shape, not finite, an index out of range, or a world that has ended and was not reset.
        """
        if self._over.any():
            raise ValueError(
                f"worlds {np.flatnonzero(self._over)[:8].tolist()} have ended or were never reset; reset them first"
            )
        push = self._push(actions)
        self.task.step(push)
        self._steps += 1
        terminated = self.task.over()
        truncated = (self._steps >= self.max_episode_steps) & ~terminated
        name, score = self.task.score()
        terms = {name: score, "effort": -self.task.effort * push**2}
        reward = score + terms["effort"]
        ended = terminated | truncated
        info = self._info(terms)
        if not ended.any():
            return self._observation(), reward, terminated, truncated, info
        if self.metadata["autoreset_mode"] == AutoresetMode.DISABLED:
            self._over |= ended
            return self._observation(), reward, terminated, truncated, info
        final = np.full(self.num_envs, None, dtype=object)
        last = self._observation()
        for world in np.flatnonzero(ended):
            final[world] = last[world]
        self._start(ended)
        info = self._info(terms) | {
            "final_obs": final,
            "_final_obs": ended,
            "final_info": info,
            "_final_info": ended.copy(),
        }
        return self._observation(), reward, terminated, truncated, info

    def _push(self, actions: ArrayLike) -> Array:
        given = np.asarray(actions)
        if self.forces is not None:
            if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
                raise ValueError(
                    f"actions must be integers of shape ({self.num_envs},); received {given.dtype} {given.shape}"
                )
            if given.min() < 0 or given.max() >= len(self.forces):
                raise ValueError(
                    f"actions are indices 0 .. {len(self.forces) - 1}; received {given.min()} .. {given.max()}"
                )
            return np.asarray(self.forces[given])
        if given.shape != (self.num_envs, 1):
            raise ValueError(f"actions must have shape ({self.num_envs}, 1); received {given.shape}")
        push = given[:, 0].astype(np.float64)
        if not np.isfinite(push).all():
            world = int(np.flatnonzero(~np.isfinite(push))[0])
            raise ValueError(f"actions must be finite; world {world} received {push[world]}")
        return np.clip(push, -1.0, 1.0)

    def _observation(self) -> NDArray[np.float32]:
        return self.task.observe().astype(np.float32)

    def _info(self, terms: dict[str, Array] | None = None) -> dict[str, Any]:
        info: dict[str, Any] = {"state": self.task.state.copy(), "time": self.task.time.copy()}
        return info if terms is None else info | {"reward_terms": terms}


class OscillatorEnv(gym.Env[NDArray[np.float32], Any]):
    """One oscillator: a batch of one of `OscillatorVectorEnv`, where tasks, spaces and rewards are described.

    Args:
        task: "damped", "forced", "duffing" or "vanderpol".
        discrete_actions: Number of forces to choose from; None for a continuous force.
        randomise: Relative spread of the physical parameters, in [0, 1).
        max_episode_steps: Steps until truncation; None leaves the time limit to Gymnasium's wrapper.

    >>> env = OscillatorEnv(task="duffing", discrete_actions=3)
    >>> obs, info = env.reset(seed=1)
    >>> env.observation_names, env.action_space
    (('position', 'velocity', 'target'), Discrete(3))
    """

    def __init__(
        self,
        task: TaskName = "damped",
        *,
        discrete_actions: int | None = None,
        randomise: float = 0.1,
        max_episode_steps: int | None = None,
    ):
        self.batch = OscillatorVectorEnv(
            1,
            task=task,
            max_episode_steps=max_episode_steps,
            discrete_actions=discrete_actions,
            randomise=randomise,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        self.metadata = {"render_modes": []}
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self.observation_names = self.batch.observation_names

    @property
    def dt(self) -> float:
        """Control period, s."""
        return self.batch.dt

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode."""
        super().reset(seed=seed)
        self.batch._rngs[0] = self.np_random
        obs, info = self.batch.reset()
        return obs[0], _first(info)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Push the mass for one control period; see `OscillatorVectorEnv.step`."""
        obs, reward, terminated, truncated, info = self.batch.step(np.asarray(action)[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(info)


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """Row 0 of an info dictionary."""
    return {key: _first(value) if isinstance(value, dict) else value[0] for key, value in info.items()}
