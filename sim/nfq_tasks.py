"""The three control tasks of Neural Fitted Q Iteration (2005): pole, mountain car, cart-pole regulator, as batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

__all__ = ["CartPoleRegulator", "MountainCar", "NFQEnv", "NFQVectorEnv", "Pole", "Task"]

COST = 0.01  # per step outside the goal; Riedmiller (2005)
FAILURE = 1.0  # cost of a forbidden state, the top of the sigmoid; Riedmiller (2005)


@dataclass(frozen=True)
class Task:
    """A task: its dynamics for a batch of states [N, S], and where it is won or lost."""

    names: ClassVar[tuple[str, ...]]
    forces: ClassVar[tuple[float, ...]]
    """Actions, N."""
    scale: ClassVar[tuple[float, ...]]
    """Typical size of each state variable, by which a learner may divide it."""
    goal_ends: ClassVar[bool] = True
    """Whether reaching the goal ends the episode."""

    dt: float
    """Control period, s."""

    def start(self, rng: np.random.Generator, count: int, *, test: bool = False) -> np.ndarray:
        """Starting states of training or of test episodes, [N, S]."""
        raise NotImplementedError

    def step(self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Next states [N, S] under action numbers [N]."""
        raise NotImplementedError

    def failed(self, state: np.ndarray) -> np.ndarray:
        """Which states are forbidden, [N]."""
        raise NotImplementedError

    def reached(self, state: np.ndarray) -> np.ndarray:
        """Which states lie in the goal, [N]."""
        return np.zeros(len(state), dtype=bool)

    def cost(self, state: np.ndarray) -> np.ndarray:
        """Cost of arriving in a state: 1 in forbidden ones, 0 in the goal, else 0.01."""
        return np.where(self.failed(state), FAILURE, np.where(self.reached(state), 0.0, COST))

    def goal_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """States in the middle of the goal, for the hint-to-goal heuristic."""
        raise NotImplementedError(f"{type(self).__name__} has no goal region")


@dataclass(frozen=True)
class Pole(Task):
    """A pole on a cart that need not stay anywhere (angle, angular velocity), with a noisy force.

    .. math::
        \\ddot\\theta = \\frac{g \\sin\\theta - \\alpha m l \\dot\\theta^2 \\sin(2\\theta)/2
        - \\alpha\\cos\\theta\\,u} {4l/3 - \\alpha m l \\cos^2\\theta}, \\qquad \\alpha = 1/(m + M)

    Forces -50, 0, +50 N with uniform noise of 10 N. There is no goal: balancing costs nothing, falling costs 1. The
    2005 paper does not print masses and length; they are those of Least-Squares Policy Iteration (Lagoudakis & Parr,
    2003), which it compares with.

    >>> task = Pole()
    >>> still = task.step(np.zeros((1, 2)), np.array([1]), np.random.default_rng(0))
    >>> bool(abs(still[0, 0]) < 0.02)
    True
    """

    names: ClassVar = ("angle", "angular_velocity")
    forces: ClassVar = (-50.0, 0.0, 50.0)
    scale: ClassVar = (0.5, 1.5)

    dt: float = 0.1
    gravity: float = 9.8
    """m/s^2."""
    mass: float = 2.0
    """Of the pole, kg."""
    cart: float = 8.0
    """Mass of the cart, kg."""
    length: float = 0.5
    """From pivot to centre of mass, m."""
    noise: float = 10.0
    """Half-width of the uniform noise of the force, N."""
    substeps: int = 4
    """Steps of the symplectic integrator within a control period."""

    def start(self, rng: np.random.Generator, count: int, *, test: bool = False) -> np.ndarray:
        return rng.uniform(-0.01, 0.01, (count, 2))

    def step(self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        force = np.asarray(self.forces)[action] + rng.uniform(-self.noise, self.noise, len(state))
        theta, omega = state.T.copy()
        alpha = 1 / (self.mass + self.cart)
        ml = alpha * self.mass * self.length
        h = self.dt / self.substeps
        for _ in range(self.substeps):
            sin, cos = np.sin(theta), np.cos(theta)
            torque = self.gravity * sin - ml * omega**2 * sin * cos - alpha * cos * force
            omega = omega + h * torque / (4 * self.length / 3 - ml * cos**2)
            theta = theta + h * omega
        return np.stack([theta, omega], 1)

    def failed(self, state: np.ndarray) -> np.ndarray:
        return np.abs(state[:, 0]) > np.pi / 2

    def cost(self, state: np.ndarray) -> np.ndarray:
        return np.where(self.failed(state), FAILURE, 0.0)


@dataclass(frozen=True)
class MountainCar(Task):
    """A car in a valley that is too weak to drive straight up the hill (position, velocity).

    The height is p^2 + p left of 0 and p / sqrt(1 + 5 p^2) right of it; with slope H' and curvature H''

    .. math:: \\ddot p = \\frac{u / m - g H' - \\dot p^2 H' H''}{1 + H'^2}

    Forces -4 and +4 N, goal p >= 0.7, the wall at p = -1 is forbidden. The hill is that of "The Parti-game Algorithm"
    (Moore & Atkeson, 1995); step, forces, limits and starts are those of Riedmiller (2005).

    >>> task = MountainCar()
    >>> task.reached(np.array([[0.7, 0.0]])).tolist(), task.failed(np.array([[-1.01, 0.0]])).tolist()
    ([True], [True])
    """

    names: ClassVar = ("position", "velocity")
    forces: ClassVar = (-4.0, 4.0)
    scale: ClassVar = (0.5, 1.5)

    dt: float = 0.05
    mass: float = 1.0
    """kg."""
    gravity: float = 9.81
    """m/s^2."""
    substeps: int = 5
    """Steps of the symplectic integrator within a control period."""

    def start(self, rng: np.random.Generator, count: int, *, test: bool = False) -> np.ndarray:
        return np.stack([rng.uniform(-1, 0.7, count), np.zeros(count)], 1)

    def step(self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        p, v = state.T.copy()
        force = np.asarray(self.forces)[action]
        h = self.dt / self.substeps
        for _ in range(self.substeps):
            root = 1 + 5 * p * p
            slope = np.where(p < 0, 2 * p + 1, root**-1.5)
            curve = np.where(p < 0, 2.0, -15 * p * root**-2.5)
            v = v + h * (force / self.mass - self.gravity * slope - v * v * slope * curve) / (1 + slope * slope)
            p = p + h * v
        return np.stack([p, v], 1)

    def failed(self, state: np.ndarray) -> np.ndarray:
        return state[:, 0] < -1

    def reached(self, state: np.ndarray) -> np.ndarray:
        return state[:, 0] >= 0.7

    def goal_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return np.stack([rng.uniform(0.7, 0.8, count), rng.uniform(0, 2, count)], 1)


@dataclass(frozen=True)
class CartPoleRegulator(Task):
    """Balance the pole and bring the cart to x = 0 and hold it there (x, velocity, angle, angular velocity).

    Forces -10 and +10 N every 20 ms; dynamics of "Neuronlike Adaptive Elements" (Barto, Sutton & Anderson, 1983).
    |x| <= 2.4 m is allowed, |x| <= 0.05 m is the goal, which does not end the episode. The 2005 paper does not print
    when a pole has fallen: here beyond `fallen`.

    >>> task = CartPoleRegulator()
    >>> task.cost(np.array([[0.04, 0, 0, 0], [0.06, 0, 0, 0], [2.5, 0, 0, 0]])).tolist()
    [0.0, 0.01, 1.0]
    """

    names: ClassVar = ("position", "velocity", "angle", "angular_velocity")
    forces: ClassVar = (-10.0, 10.0)
    scale: ClassVar = (1.0, 1.0, 0.2, 1.0)
    goal_ends: ClassVar = False

    dt: float = 0.02
    gravity: float = 9.8
    """m/s^2."""
    mass: float = 0.1
    """Of the pole, kg."""
    cart: float = 1.0
    """Mass of the cart, kg."""
    length: float = 0.5
    """From pivot to centre of mass, m."""
    fallen: float = 0.7
    """Angle beyond which the pole has fallen, rad."""
    goal: float = 0.05
    """Half-width of the goal, m."""
    bounds: tuple[float, float] = field(default=(2.4, 2.3))
    """Track, and where training starts, m."""

    def start(self, rng: np.random.Generator, count: int, *, test: bool = False) -> np.ndarray:
        state = np.zeros((count, 4))
        reach = 1.0 if test else self.bounds[1]
        state[:, 0] = rng.uniform(-reach, reach, count)
        state[:, 2] = rng.uniform(-0.3, 0.3, count)
        return state

    def step(self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x, v, theta, omega = state.T
        total = self.mass + self.cart
        sin, cos = np.sin(theta), np.cos(theta)
        push = (np.asarray(self.forces)[action] + self.mass * self.length * omega**2 * sin) / total
        alpha = (self.gravity * sin - cos * push) / (self.length * (4 / 3 - self.mass * cos**2 / total))
        a = push - self.mass * self.length * alpha * cos / total
        return np.stack([x + self.dt * v, v + self.dt * a, theta + self.dt * omega, omega + self.dt * alpha], 1)

    def failed(self, state: np.ndarray) -> np.ndarray:
        return (np.abs(state[:, 0]) > self.bounds[0]) | (np.abs(state[:, 2]) > self.fallen)

    def reached(self, state: np.ndarray) -> np.ndarray:
        return np.abs(state[:, 0]) <= self.goal

    def goal_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        state = np.zeros((count, 4))
        state[:, 0] = rng.uniform(-self.goal, self.goal, count)
        state[:, 2] = rng.uniform(-0.05, 0.05, count)
        return state


def make_task(task: Task | str) -> Task:
    """A task, or the task of a name ("pole", "mountaincar", "cartpoleregulator") with its published settings."""
    if isinstance(task, Task):
        return task
    kinds: dict[str, type[Task]] = {"pole": Pole, "mountaincar": MountainCar, "cartpoleregulator": CartPoleRegulator}
    if task not in kinds:
        raise ValueError(f"unknown task {task!r}; the tasks are {', '.join(kinds)}")
    return kinds[task]()  # type: ignore[call-arg]


class NFQVectorEnv(VectorEnv):
    """Many worlds of one task, SAME_STEP autoreset; the reward is minus the cost.

    | | |
    |---|---|
    | action | number of a force (`Task.forces`) |
    | observation | the state, float32 (`Task.names`; m, m/s, rad, rad/s) |
    | reward | -1 in a forbidden state, 0 in the goal, else -0.01 (pole: 0) |
    | start | `Task.start` |
    | termination | forbidden state; the goal too, for the mountain car |
    | truncation | after `max_episode_steps` |
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self, num_envs: int = 1, *, task: Task | str = "pole", max_episode_steps: int = 300, test: bool = False
    ):
        self.task = task = make_task(task)
        self.num_envs, self.max_episode_steps, self.test = num_envs, max_episode_steps, test
        limit = np.full(len(task.names), np.finfo(np.float32).max, dtype=np.float32)
        self.single_observation_space = spaces.Box(-limit, limit)
        self.single_action_space = spaces.Discrete(len(task.forces))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.state = np.zeros((num_envs, len(task.names)))
        self.age = np.zeros(num_envs, dtype=np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None or self._np_random is None:
            self._np_random = np.random.default_rng(seed if not isinstance(seed, list | tuple) else list(seed))
        self.state = self.task.start(self.np_random, self.num_envs, test=self.test)
        self.age[:] = 0
        return self.state.astype(np.float32), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        action = np.asarray(actions)
        if not self.action_space.contains(action.astype(np.int64)):
            raise ValueError(f"actions are numbers 0 to {len(self.task.forces) - 1}, one per world; received {actions}")
        self.state = self.task.step(self.state, action, self.np_random)
        self.age += 1
        terminated = self.task.failed(self.state)
        if self.task.goal_ends:
            terminated = terminated | self.task.reached(self.state)
        reward = -self.task.cost(self.state)
        truncated = (self.age >= self.max_episode_steps) & ~terminated
        info: dict[str, Any] = {}
        if (ended := terminated | truncated).any():
            final = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(ended):
                final[row] = self.state[row].astype(np.float32)
            info = {"final_obs": final, "_final_obs": ended}
            self.state[ended] = self.task.start(self.np_random, int(ended.sum()), test=self.test)
            self.age[ended] = 0
        return self.state.astype(np.float32), reward, terminated, truncated, info


class NFQEnv(gymnasium.Env):
    """One world of a task; see `NFQVectorEnv` for the data sheet. The time limit is the wrapper's."""

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, task: Task | str = "pole", *, test: bool = False):
        self.task = task = make_task(task)
        self.test = test
        limit = np.full(len(task.names), np.finfo(np.float32).max, dtype=np.float32)
        self.observation_space = spaces.Box(-limit, limit)
        self.action_space = spaces.Discrete(len(task.forces))
        self.state = np.zeros((1, len(task.names)))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.task.start(self.np_random, 1, test=self.test)
        return self.state[0].astype(np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.state = self.task.step(self.state, np.array([int(action)]), self.np_random)
        ended = self.task.failed(self.state)[0] or (self.task.goal_ends and self.task.reached(self.state)[0])
        return self.state[0].astype(np.float32), -float(self.task.cost(self.state)[0]), bool(ended), False, {}
