"""What the salamander is asked to do: swim, walk, cross the shore, steer. Each scores a whole batch at once."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.arena import get_world
from sim.rewards import tolerance
from sim.salamander import Salamander

__all__ = ["TASKS", "Shore", "Steer", "Swim", "Task", "Walk"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
GRAVITY = 9.81


class Task(ABC):
    """Start, extra observations, reward terms and end of an episode; `[B]` arrays throughout.

    Every task rewards staying upright and economy, each up to 0.1:

    - `upright`: 0.1 (1 + cosine of the trunk's tilt) / 2.
    - `economy`: 0.1 / (1 + 9 (P / (m g L 1 s^-1))^2): 0.1 at rest, 0.01 when the positive mechanical power lifts the
      animal's weight by a body length each second.

    Args:
        salamander: The simulation.
    """

    world = "pool"
    """Where the task takes place unless another world is asked for."""
    extra_names: tuple[str, ...] = ()
    """Names of the observations that this task adds."""
    extra_limit: tuple[float, ...] = ()
    """Bounds of those, plus and minus."""
    max_episode_steps = 1000

    def __init__(self, salamander: Salamander) -> None:
        self.salamander = salamander
        self._weight = salamander.mass * GRAVITY * salamander.length

    def start(self, ids: NDArray[np.intp], rngs: Sequence[np.random.Generator]) -> None:  # noqa: B027 (nothing unless overridden)
        """Begin new episodes in the worlds `ids`, which have just been placed; world i draws from `rngs[i]`."""

    def resume(self, rngs: Sequence[np.random.Generator]) -> None:  # noqa: B027 (nothing unless overridden)
        """Go on with these generators, one per world, after `set_state`."""

    def after_step(self) -> None:  # noqa: B027 (nothing unless overridden)
        """Follow what happened in the last control period, before it is scored."""

    def observe(self) -> Array:
        """This task's own observations, `[B, len(extra_names)]`."""
        return np.zeros((self.salamander.num_worlds, 0))

    @abstractmethod
    def score(self) -> dict[str, Array]:
        """The terms whose sum is the reward."""

    def over(self) -> Mask:
        """Which episodes end for good: the animal has turned over."""
        return self.salamander.uprightness() < 0.0

    def get_state(self) -> dict[str, Any]:
        """Arrays that the future depends on."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:  # noqa: B027 (nothing unless overridden)
        """Return to a state given by `get_state`."""

    def _common(self) -> dict[str, Array]:
        upright = 0.05 * (1.0 + self.salamander.uprightness())
        power = self.salamander.muscle_power() / self._weight
        return {"upright": upright, "economy": 0.1 * tolerance(power, (0, 0), margin=1.0, sigmoid="long_tail")}

    def _headway(self, wanted: float) -> Array:
        """0 at rest or backwards, 1 at the wanted speed along +x, BL/s, or beyond."""
        speed = self.salamander.velocity()[:, 0] / self.salamander.length
        return tolerance(speed, (wanted, np.inf), margin=wanted, sigmoid="linear", value_at_margin=0.0)


class Swim(Task):
    """Swim along +x, in the pool or against the current of the channel.

    | term | value |
    |---|---|
    | `headway` | 0.8 x min(v / 0.7, 1), v the velocity of the centre of mass along +x, BL/s, not below 0 |
    | `upright`, `economy` | see `Task` |
    """

    wanted = 0.7  # BL/s: the mean speed of the recorded animals

    def score(self) -> dict[str, Array]:
        """Headway, upright, economy."""
        return {"headway": 0.8 * self._headway(self.wanted), **self._common()}


class Walk(Swim):
    """Walk along +x, on level or rough ground.

    | term | value |
    |---|---|
    | `headway` | 0.8 x min(v / 0.3, 1), v the velocity of the centre of mass along +x, BL/s, not below 0 |
    | `upright`, `economy` | see `Task` |
    """

    world = "land"
    wanted = 0.3  # BL/s: a newt's treadmill speed


class Shore(Task):
    """Walk down the beach, take to the water and swim out to a line, 4 body lengths beyond the water's edge.

    Also observes `goal.distance`: how far the line is ahead, BL.

    | term | value |
    |---|---|
    | `headway` | 0.8 x min(v / 0.4, 1), v the velocity of the centre of mass along +x, BL/s, not below 0 |
    | `arrived` | 10 in the step in which the centre of mass crosses the line |
    | `upright`, `economy` | see `Task` |

    Terminates at the line, or when the animal has turned over.
    """

    world = "shore"
    extra_names, extra_limit = ("goal.distance",), (20.0,)
    max_episode_steps = 3000
    beyond = 4.0

    def __init__(self, salamander: Salamander) -> None:
        super().__init__(salamander)
        self.goal = (get_world(salamander.world).waterline + self.beyond) * salamander.length
        self._was_beyond = np.zeros(salamander.num_worlds, dtype=bool)
        self._arrived = np.zeros(salamander.num_worlds, dtype=bool)

    def _beyond(self) -> Mask:
        return self.salamander.centre_of_mass()[:, 0] > self.goal

    def start(self, ids: NDArray[np.intp], rngs: Sequence[np.random.Generator]) -> None:
        """Remember on which side of the line the animal is."""
        self._was_beyond[ids] = self._beyond()[ids]
        self._arrived[ids] = False

    def after_step(self) -> None:
        """See who has crossed the line."""
        beyond = self._beyond()
        np.logical_and(beyond, ~self._was_beyond, out=self._arrived)
        self._was_beyond |= beyond

    def observe(self) -> Array:
        """Distance to the line, BL."""
        return ((self.goal - self.salamander.centre_of_mass()[:, 0]) / self.salamander.length)[:, None]

    def score(self) -> dict[str, Array]:
        """Headway, arrival, upright, economy."""
        return {"headway": 0.8 * self._headway(0.4), "arrived": 10.0 * self._arrived, **self._common()}

    def over(self) -> Mask:
        """At the line, or turned over."""
        return self._arrived | super().over()

    def get_state(self) -> dict[str, Any]:
        """Who is beyond the line."""
        return {"beyond": self._was_beyond.copy(), "arrived": self._arrived.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state given by `get_state`."""
        self._was_beyond[:], self._arrived[:] = state["beyond"], state["arrived"]


class Steer(Task):
    """Go to a target, at first `distance` away in a random direction; or keep up with one that wanders.

    A fixed target that is reached (0.5 BL from the centre of mass) is replaced by another. A moving one goes at 0.4
    of the wanted speed and turns at random. Also observes, in the trunk's frame, `target.cos`, `target.sin` (the
    direction of the target, counter-clockwise from straight ahead) and `target.distance`, BL.

    | term | value |
    |---|---|
    | `approach` | 0.4 x min(c / c*, 1), c the speed towards the target, not below 0; c* 0.7 BL/s in water, 0.3 on
    land | | `near` | 0.4 x 10^-(d / 3)^2, d the distance beyond 0.5 BL |
    | `reached` | 1 in the step in which a fixed target is reached |
    | `upright`, `economy` | see `Task` |

    The most of that is had by never arriving. With `reward="progress"` there are, instead of `approach` and `near`, 10
    times the way towards the target in this step, BL (`progress`), and 10 for `reached`: the most is had by the
    shortest ways from target to target.

    Args:
        salamander: The simulation.
        target: "fixed" or "moving".
        distance: Of a new target, BL.
        reward: "task" or "progress".
    """

    extra_names, extra_limit = ("target.cos", "target.sin", "target.distance"), (1.0, 1.0, 20.0)
    max_episode_steps = 2000
    radius = 0.5

    def __init__(
        self,
        salamander: Salamander,
        target: Literal["fixed", "moving"] = "fixed",
        distance: float = 3.0,
        reward: Literal["task", "progress"] = "task",
    ) -> None:
        super().__init__(salamander)
        if target not in ("fixed", "moving"):
            raise ValueError(f"target must be 'fixed' or 'moving'; received {target!r}")
        if not self.radius < distance < 20:
            raise ValueError(f"target_distance is in body lengths, {self.radius} to 20; received {distance}")
        if reward not in ("task", "progress"):
            raise ValueError(f"reward must be 'task' or 'progress'; received {reward!r}")
        B = salamander.num_worlds
        self.reward = reward
        self.moving, self.distance = target == "moving", distance
        self.wanted = 0.7 if get_world(salamander.world).water else 0.3
        self.target = np.zeros((B, 2))
        """Where the targets are, m, `[B, 2]`; may be written to."""
        self._course, self._reached = np.zeros(B), np.zeros(B, dtype=bool)
        self._rngs: Sequence[np.random.Generator] = ()

    def start(self, ids: NDArray[np.intp], rngs: Sequence[np.random.Generator]) -> None:
        """Set new targets."""
        self._rngs = rngs
        self._reached[ids] = False
        self._renew(ids)

    def resume(self, rngs: Sequence[np.random.Generator]) -> None:
        """Go on with these generators."""
        self._rngs = rngs

    def _renew(self, ids: NDArray[np.intp]) -> None:
        position = self.salamander.centre_of_mass()[:, :2]
        for world in ids:
            angle, self._course[world] = self._rngs[int(world)].uniform(-np.pi, np.pi, 2)
            step = self.distance * self.salamander.length * np.array([np.cos(angle), np.sin(angle)])
            self.target[world] = position[world] + step

    def after_step(self) -> None:
        """Move the targets, or replace those that were reached."""
        dt, length = self.salamander.dt, self.salamander.length
        if self.moving:
            turn = [self._rngs[world].normal() for world in range(self.salamander.num_worlds)]
            self._course += 0.5 * np.sqrt(dt) * np.array(turn)  # diffusion of the course, rad per root second
            heading = np.stack([np.cos(self._course), np.sin(self._course)], axis=1)
            self.target += 0.4 * self.wanted * length * dt * heading
            return
        self._renew(np.flatnonzero(self._reached))
        self._reached[:] = self._vector()[1] < self.radius

    def _vector(self) -> tuple[Array, Array]:
        """Unit vector to the target `[B, 2]` in the world, and distance `[B]`, BL."""
        offset = self.target - self.salamander.centre_of_mass()[:, :2]
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
        return offset / distance[:, None], distance / self.salamander.length

    def observe(self) -> Array:
        """Direction and distance of the target."""
        (direction, distance), heading = self._vector(), self.salamander.heading()
        angle = np.arctan2(direction[:, 1], direction[:, 0]) - heading
        return np.stack([np.cos(angle), np.sin(angle), distance], axis=1)

    def score(self) -> dict[str, Array]:
        """Approach, nearness, arrival, upright, economy."""
        direction, distance = self._vector()
        closing = (self.salamander.velocity()[:, :2] * direction).sum(axis=1) / self.salamander.length
        if self.reward == "progress":
            way = closing * self.salamander.dt
            return {"progress": 10.0 * way, "reached": 10.0 * self._reached, **self._common()}
        wanted = self.wanted
        return {
            "approach": 0.4
            * tolerance(closing, (wanted, np.inf), margin=wanted, sigmoid="linear", value_at_margin=0.0),
            "near": 0.4 * tolerance(distance, (0.0, self.radius), margin=3.0),
            "reached": 1.0 * self._reached,
            **self._common(),
        }

    def get_state(self) -> dict[str, Any]:
        """Targets and courses; the generators belong to the environment."""
        return {"target": self.target.copy(), "course": self._course.copy(), "reached": self._reached.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state given by `get_state`."""
        self.target[:], self._course[:], self._reached[:] = state["target"], state["course"], state["reached"]


TASKS: dict[str, type[Task]] = {"swim": Swim, "walk": Walk, "shore": Shore, "steer": Steer}
