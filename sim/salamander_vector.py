"""Batches of salamander worlds as one vector environment."""

import math
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from sim.anatomy import JOINT_LIMITS, JOINT_NAMES, MAX_ACTIVATION, MUSCLE_NAMES
from sim.salamander import Salamander
from sim.salamander_senses import LIMITS, SENSES, feel
from sim.salamander_tasks import TASKS, Task

__all__ = ["Observation", "SalamanderVectorEnv", "TaskName"]

Array = NDArray[np.float64]
Observation = NDArray[np.float32]
TaskName = Literal["swim", "walk", "shore", "steer"]


class SalamanderVectorEnv(VectorEnv[Observation, Any, NDArray[Any]]):
    """A batch of worlds with one salamander each; one control step is 10 ms.

    ### Tasks
    | task | world | goal | limit, steps |
    |---|---|---|---|
    | swim | pool (or channel) | get ahead along +x | 1000 |
    | walk | land (or rough) | get ahead along +x | 1000 |
    | shore | shore | walk into the water and swim out | 3000 |
    | steer | pool (or any) | reach or follow a target | 2000 |

    The reward of each is described in `sim.salamander_tasks`: `Swim`, `Walk`, `Shore`, `Steer`.

    ### Action
    | control | space | meaning |
    |---|---|---|
    | muscle | Box `[48]` in [0, max_activation] | activations, in the order of `action_names`; torque: `sim.body` |
    | joint | Box `[24]`, +-90 (spine) or +-120 degrees | target angles, rad, of critically damped servos |

    Values outside the range are clipped. With `normalise_actions` the space is [-1, 1] and mapped linearly to that
    range.

    ### Observation
    Box, float32, clipped to its bounds; names in `observation_names`.

    | name | entries | meaning | unit | range |
    |---|---|---|---|---|
    | joint_angle.* | 24 | joint angles | rad | +-pi |
    | joint_velocity.* | 24 | joint velocities | 10 rad/s | +-10 |
    | velocity.forward, .left, .up | 3 | centre of mass, along the trunk's heading | BL/s | +-10 |
    | yaw_rate | 1 | rate of the trunk's heading | 10 rad/s | +-10 |
    | up.x, .y, .z | 3 | the vertical in the trunk's frame | 1 | +-1 |
    | heading.cos, .sin | 2 | the trunk's heading against +x | 1 | +-1 |
    | touch.* | 4 | normal force on each foot | body weights | 0..10 |
    | submerged.* | 9 | volume of each axial link under water | 1 | 0..1 |
    | goal.distance | 1 | shore: the line ahead | BL | +-20 |
    | target.cos, .sin, .distance | 3 | steer: where the target is, from the trunk | 1, BL | +-1, 20 |

    ### Reward
    The sum of the task's terms, which are in `info["reward_terms"]`. 0 for a world that diverged.

    ### Start
    At rest, facing +x, standing or afloat, with normal noise of `reset_noise` rad on joint angles and heading, the
    snout anywhere in a square of half width `reset_spread` about the origin.

    ### End
    Terminated when the task is over (turned over, arrived), unless `terminate=False`. Terminated too, always, when the
    physics of a world diverges: `info["diverged"]`; it alone starts anew. Truncated after `max_episode_steps`.

    ### Info
    `reward_terms` (each `[B]`), `diverged`, `time` s, `forward_speed` m/s, `position` of the centre of mass m; with
    SAME_STEP they describe the step just scored. Where an episode ended, `final_obs` and `final_info`.

    ### Version history
    - v0: first version.

    Args:
        num_envs: B.
        task: "swim", "walk", "shore" or "steer".
        world: The task's own if None.
        control: "muscle" or "joint".
        max_episode_steps: Steps after which a world is truncated; None for no limit.
        terminate: Whether episodes may end before that; False for scripts that run on.
        autoreset_mode: `AutoresetMode.SAME_STEP` (a world that ends starts anew within the step) or
            `AutoresetMode.DISABLED` (reset with `options={"reset_mask": [B] bool}`).
        reset_noise: rad; 0 starts every episode the same.
        reset_spread: BL; on rough ground, with other stones under the feet in every episode.
        normalise_actions: Let actions range over [-1, 1].
        task_options: For "steer": `target="fixed"|"moving"`, `distance` in BL.
        render_mode: "rgb_array" or None.
        width, height: Of rendered pictures, pixels.
        **simulation: Passed to `sim.salamander.Salamander`: length, timestep, control_period, integrator, threads,
            current, barrier, body, randomise.

    Seed s gives world i the generator of seed s + i, which it keeps through its episodes: row i of any batch is the
    single environment seeded with s + i.

    >>> envs = SalamanderVectorEnv(3, task="steer", control="joint", max_episode_steps=500)
    >>> obs, info = envs.reset(seed=0)
    >>> obs.shape, envs.observation_names[-1]
    ((3, 73), 'target.distance')
    >>> obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
    >>> bool(np.allclose(reward, sum(info["reward_terms"].values())))
    True
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: TaskName = "swim",
        world: str | None = None,
        control: Literal["muscle", "joint"] = "muscle",
        max_episode_steps: int | None = None,
        terminate: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        reset_noise: float = 0.0,
        reset_spread: float = 0.0,
        normalise_actions: bool = False,
        task_options: dict[str, Any] | None = None,
        render_mode: str | None = None,
        width: int = 640,
        height: int = 480,
        **simulation: Any,
    ) -> None:
        _check(task, max_episode_steps, render_mode, reset_noise, reset_spread)
        mode = AutoresetMode(autoreset_mode)
        if mode == AutoresetMode.NEXT_STEP:
            raise ValueError(
                "autoreset_mode must be SAME_STEP or DISABLED; NEXT_STEP, with its idle steps, is not offered"
            )
        self.num_envs, self.render_mode, self.terminate = num_envs, render_mode, terminate
        self.reset_noise, self.reset_spread = reset_noise, reset_spread
        self.max_episode_steps = math.inf if max_episode_steps is None else max_episode_steps
        self.salamander = Salamander(num_envs, world=world or TASKS[task].world, control=control, **simulation)
        self.task: Task = TASKS[task](self.salamander, **(task_options or {}))
        self.metadata = {
            "autoreset_mode": mode,
            "render_modes": ["rgb_array"],
            "render_fps": round(1.0 / self.salamander.dt),
        }
        self.observation_names = (*SENSES, *self.task.extra_names)
        self.action_names = MUSCLE_NAMES if control == "muscle" else JOINT_NAMES
        limit = np.concatenate([LIMITS, self.task.extra_limit])
        nonnegative = [name.startswith(("touch", "submerged", "target.distance")) for name in self.observation_names]
        self._low, self._high = np.where(nonnegative, 0.0, -limit), limit
        self.single_observation_space = Box(self._low.astype(np.float32), limit.astype(np.float32))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._action_high = MAX_ACTIVATION if control == "muscle" else JOINT_LIMITS
        self._action_low = np.zeros(48) if control == "muscle" else -JOINT_LIMITS
        self._normalised = normalise_actions
        ones = np.ones_like(self._action_high)
        low, high = (-ones, ones) if normalise_actions else (self._action_low, self._action_high)
        self.single_action_space = Box(low.astype(np.float32), high.astype(np.float32))
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._values = np.empty((num_envs, len(limit)))
        self._last = np.zeros((num_envs, len(limit)), dtype=np.float32)
        self._rngs: list[Any] = [None] * num_envs
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._over = np.ones(num_envs, dtype=bool)  # nothing may be stepped before the first reset
        self._size = (width, height)
        self._renderer: Any = None

    @property
    def dt(self) -> float:
        """Control period, s."""
        return self.salamander.dt

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes in all worlds, or in those of `options["reset_mask"]` (`[B]` bool); the others stay.

        Args:
            seed: s seeds world i with s + i; a list gives each its own; None goes on with the generators there are.
            options: `{"reset_mask": mask}` or None.

        Raises:
            ValueError: A seed list or mask of the wrong length.
        """
        B = self.num_envs
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in range(B)]
        if len(seeds) != B:
            raise ValueError(f"a list of seeds needs one for each of the {B} worlds; received {len(seeds)}")
        mask = np.ones(B, dtype=bool)
        if options and options.get("reset_mask") is not None:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (B,) or mask.dtype != bool:
                raise ValueError(f"reset_mask must be boolean [{B}]; received {mask.dtype} {mask.shape}")
        for world in np.flatnonzero(mask):
            if seeds[world] is not None or self._rngs[world] is None:
                self._rngs[world] = seeding.np_random(seeds[world])[0]
        self._start(mask)
        return self._observe(), self._info(np.zeros(B, dtype=bool))

    def _start(self, mask: NDArray[np.bool_]) -> None:
        ids = np.flatnonzero(mask)
        heading = np.zeros(self.num_envs)
        if self.reset_noise:
            heading[ids] = [self._rngs[i].normal(0.0, self.reset_noise) for i in ids]
        place = np.zeros((self.num_envs, 2))
        if self.reset_spread:
            reach = self.reset_spread * self.salamander.length
            place[ids] = [self._rngs[i].uniform(-reach, reach, 2) for i in ids]
        self.salamander.reset(mask, position=place, heading=heading, noise=self.reset_noise, rng=self._rngs)
        self.task.start(ids, self._rngs)
        self._steps[ids], self._over[ids] = 0, False

    def step(
        self, actions: ArrayLike
    ) -> tuple[Observation, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Act for one control period.

        Args:
            actions: `[B, 48]` activations or `[B, 24]` target angles.

        Raises:
            ValueError: Wrong shape, not finite, or a world that has ended and was not reset.
        """
        if self._over.any():
            raise ValueError(
                f"worlds {np.flatnonzero(self._over)[:8].tolist()} have ended or were never reset; reset them first"
            )
        self.salamander.step(self._physical(actions))
        self.task.after_step()
        self._steps += 1
        diverged = self.salamander.diverged.copy()
        with np.errstate(over="ignore", invalid="ignore"):  # of worlds that diverged
            terms = self.task.score()
        if diverged.any():
            terms = {name: np.where(diverged, 0.0, value) for name, value in terms.items()}
        terminated = diverged | self.task.over() if self.terminate else diverged
        truncated = (self._steps >= self.max_episode_steps) & ~terminated
        info = self._info(diverged) | {"reward_terms": terms}
        reward = np.sum(list(terms.values()), axis=0)
        previous = self._last
        with np.errstate(over="ignore", invalid="ignore"):
            obs = self._observe()
        if diverged.any():
            obs[diverged] = previous[diverged]  # the last that meant something
        ended = terminated | truncated
        if not ended.any():
            return obs, reward, terminated, truncated, info
        if self.metadata["autoreset_mode"] == AutoresetMode.DISABLED:
            self._over |= ended
            return obs, reward, terminated, truncated, info
        final = np.full(self.num_envs, None, dtype=object)
        for world in np.flatnonzero(ended):
            final[world] = obs[world].copy()
        self._start(ended)
        info |= {"final_obs": final, "_final_obs": ended, "final_info": dict(info), "_final_info": ended.copy()}
        return self._observe(), reward, terminated, truncated, info

    def _physical(self, actions: ArrayLike) -> Array:
        """Activations or angles from actions."""
        values = np.asarray(actions, dtype=np.float64)
        if values.shape != self.salamander.action_shape:
            raise ValueError(
                f"actions must have shape {self.salamander.action_shape} (worlds, actuators); received {values.shape}"
            )
        if self._normalised:
            half = 0.5 * (self._action_high - self._action_low)
            values = self._action_low + half * (np.clip(values, -1.0, 1.0) + 1.0)  # NaN stays NaN, and is refused
        return np.clip(values, self._action_low, self._action_high) if np.isfinite(values).all() else values

    def _observe(self) -> Observation:
        """Fill the observation; see the class for its entries."""
        values = self._values
        feel(self.salamander, values[:, : len(SENSES)])
        values[:, len(SENSES) :] = self.task.observe()
        self._last = np.clip(values, self._low, self._high).astype(np.float32)
        return self._last.copy()

    def _info(self, diverged: NDArray[np.bool_]) -> dict[str, Any]:
        body = self.salamander
        return {
            "diverged": diverged,
            "time": body.time,
            "forward_speed": body.forward_speed(),
            "position": body.centre_of_mass(),
        }

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on: `set_state` continues from it bit for bit."""
        return {
            "body": self.salamander.get_state(),
            "task": self.task.get_state(),
            "steps": self._steps.copy(),
            "over": self._over.copy(),
            "last": self._last.copy(),
            "rngs": [None if rng is None else rng.bit_generator.state for rng in self._rngs],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state that an environment of the same construction gave."""
        self.salamander.set_state(state["body"])
        self._rngs = [seeding.np_random(0)[0] if s is not None else None for s in state["rngs"]]
        for rng, stored in zip(self._rngs, state["rngs"], strict=True):
            if rng is not None:
                rng.bit_generator.state = stored
        self.task.resume(self._rngs)
        self.task.set_state(state["task"])
        self._steps[:], self._over[:], self._last = state["steps"], state["over"], np.array(state["last"])

    def render(self) -> Any:
        """One RGB picture `[height, width, 3]` per world, as a tuple; None without a render mode."""
        if self.render_mode is None:
            return None
        from sim.camera import Camera

        if self._renderer is None:
            self._renderer = Camera(self.salamander, *self._size)
        return tuple(self._renderer.picture(world) for world in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _check(task: str, steps: int | None, render_mode: str | None, noise: float, spread: float) -> None:
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; received {task!r}")
    if steps is not None and steps < 1:
        raise ValueError(f"max_episode_steps must be at least 1, or None for no limit; received {steps}")
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be 'rgb_array' or None; received {render_mode!r}")
    if not 0 <= noise < 1:
        raise ValueError(f"reset_noise is in radians, in [0, 1); received {noise}")
    if not 0 <= spread < math.inf:
        raise ValueError(f"reset_spread is in body lengths, 0 or more; received {spread}")
