"""Steering as action: discrete choices clamp the drive neurons of a pattern generator that runs underneath."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv

import rnn.cpg
from agents.controller import CONTROLLERS
from agents.motor import SpinalMotor
from rnn.cell import map_state
from rnn.cpg import drive_input
from rnn.edits import Clamp
from rnn.unroll import unroll

__all__ = ["ACTIONS", "MIRROR", "DriveTask"]

ACTIONS = ("forward", "left", "right", "faster", "slower", "stop")
MIRROR: dict[str, Any] = {
    "mirror_signs": (*[-1.0] * 8, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0),
    "mirror_actions": (0, 2, 1, 3, 4, 5),
}
"""The newt seen in a mirror, as settings of `agents.recurrent_dqn`: bends, sideways speed, yaw rate, the side that is
clamped and the bearing's sine change sign, left and right change places."""
TIME = 0.05
"""Cost of a decision: half of the way that a quarter second at 0.4 BL/s makes."""


class DriveTask(VectorEnv):
    """`salamander/Steer-v0` with six actions, each held for a quarter of a second, and a bearing that blinks out.

    ### Action
    | number | name | clamps of `drive.left`, `drive.right` |
    |---|---|---|
    | 0 | forward | level, level |
    | 1 | left | level + turn, level - turn: the animal turns towards the more driven side |
    | 2 | right | level - turn, level + turn |
    | 3, 4 | faster, slower | the level goes up or down by 0.5 within `levels`, then forward |
    | 5 | stop | 0, 0: below the threshold of all centres; the level is kept |

    ### Observation
    `spine.1` to `spine.8` rad, `velocity.forward`, `velocity.left` BL/s, `yaw_rate` 10 rad/s, `up.z`, `level` (0 to 1),
    `side` (-1 to 1: what is clamped now), `bearing.cos`, `bearing.sin` (0 while blinked out), `visible`.
    There is no compass and no distance: what an animal has that sees its prey now and then.

    ### Reward
    Body lengths by which the target came nearer, less `TIME` per decision, and 1 when it is reached: unlike the reward
    of the environment underneath, whose terms can be had for ever by circling a target, its sum is largest for the
    shortest way there.

    ### End
    Terminated when the target is reached (`info["reached"]`) or the physics diverges. Truncated after
    `limit` decisions.

    Args:
        num_envs: worlds.
        blink: decisions (visible, dark) that alternate from the start of an episode; None never blinks.
        limit: decisions per episode.
        hold: control steps of 10 ms per decision.
        turn: difference of each side from the level while turning.
        levels: lowest, first and highest level of the drive (3 to 5 swims).
        controller: name of the pattern generator.
        distance: of a target, body lengths.
        simulation: passed to the environment.

    >>> env = DriveTask(2, limit=3, hold=2, threads=1)
    >>> obs, _ = env.reset(seed=0)
    >>> obs.shape, env.observation_names[-1], float(obs[0, -1])
    ((2, 17), 'visible', 1.0)
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        blink: tuple[int, int] | None = (2, 6),
        limit: int = 64,
        hold: int = 25,
        turn: float = 0.7,
        levels: tuple[float, float, float] = (3.2, 4.2, 4.8),
        controller: str = "phase",
        distance: float = 3.0,
        **simulation: Any,
    ):
        import sim  # noqa: F401  (registers the environment)

        options = {"task_options": {"distance": distance}, "terminate": False, **simulation}
        inner: Any = gymnasium.make_vec("salamander/Steer-v0", num_envs, max_episode_steps=10**9, **options)
        self.inner = inner
        self.num_envs, self.blink, self.limit, self.hold = num_envs, blink, limit, hold
        self.turn, self.levels = turn, levels
        self.cell = getattr(rnn.cpg, CONTROLLERS[controller])(dt=inner.unwrapped.dt).eval()
        self.motor = SpinalMotor(controller)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        names = list(inner.unwrapped.observation_names)
        spine = [i for i, name in enumerate(names) if name.startswith("joint_angle.")][:8]
        others = ["velocity.forward", "velocity.left", "yaw_rate", "up.z"]
        self._senses = [*spine, *[names.index(name) for name in others]]
        self._bearing = [names.index("target.cos"), names.index("target.sin")]
        self._range = names.index("target.distance")
        own = ("level", "side", "bearing.cos", "bearing.sin", "visible")
        self.observation_names = (*[f"spine.{k}" for k in range(1, 9)], *others, *own)
        self.single_observation_space = Box(-10.0, 10.0, (len(self.observation_names),))
        self.single_action_space = Discrete(len(ACTIONS))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = MultiDiscrete([len(ACTIONS)] * num_envs)
        self.state = self.cell.initial_state(num_envs)
        self.level = np.full(num_envs, levels[1])
        self.side = np.zeros(num_envs)
        self.age = np.zeros(num_envs, dtype=np.int64)
        self._distance = np.zeros(num_envs)  # of the target, body lengths
        self.trace: list[dict[str, np.ndarray]] | None = None
        """Set to a list to keep every control step (for films): `links` m, `target` m, `drive`, `visible`, `over`."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        senses, _ = self.inner.reset(seed=seed)
        self._begin(np.ones(self.num_envs, dtype=bool), senses)
        return self._observe(senses), {}

    def _begin(self, rows: np.ndarray, senses: np.ndarray) -> None:
        flags = torch.as_tensor(rows)
        fresh = self.cell.initial_state(self.num_envs)
        self.state = map_state(lambda a, b: torch.where(flags.view(-1, *[1] * (a.dim() - 1)), b, a), self.state, fresh)
        self.level[rows], self.side[rows], self.age[rows] = self.levels[1], 0.0, 0
        self._distance[rows] = senses[rows, self._range]

    def drives(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clamp values of the left and right drive [B] for actions [B]; changes level and side."""
        step = np.where(action == 3, 0.5, np.where(action == 4, -0.5, 0.0))
        self.level = np.clip(self.level + step, self.levels[0], self.levels[2])
        self.side = np.where(action == 1, 1.0, np.where(action == 2, -1.0, 0.0))
        going = action != 5
        return going * (self.level + self.turn * self.side), going * (self.level - self.turn * self.side)

    @torch.inference_mode()
    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        action = np.asarray(actions)
        if action.shape != (self.num_envs,) or action.min() < 0 or action.max() >= len(ACTIONS):
            raise ValueError(f"actions are numbers 0 to {len(ACTIONS) - 1}, one per world; received {actions}")
        left, right = self.drives(action)
        clamps = [Clamp("drive.left", left), Clamp("drive.right", right)]
        xs = drive_input(self.cell, 0.0, batch=self.num_envs).expand(self.hold, -1, -1)
        run = unroll(self.cell, xs, self.state, edits=clamps)
        self.state = run.state
        before = self._distance.copy()
        over = np.zeros(self.num_envs, dtype=bool)
        reached = np.zeros(self.num_envs, dtype=bool)
        final: Any = None
        for pull in self.motor(run.outputs.flatten(0, 1)).unflatten(0, (self.hold, self.num_envs)).numpy():
            senses, _, diverged, _, info = self.inner.step(pull)
            there = info["reward_terms"]["reached"] > 0
            seen = senses
            if "final_obs" in info:
                seen = np.stack(
                    [s if last is None else last for s, last in zip(senses, info["final_obs"], strict=True)]
                )
            final = seen if final is None else np.where(over[:, None], final, seen)
            nearer = np.where(there, 0.0, seen[:, self._range])
            self._distance = np.where(over, self._distance, nearer)
            reached |= there & ~over
            over |= there | diverged
            if self.trace is not None:
                self.trace.append(self._moment(left, right, over))
        reward = before - self._distance - TIME + reached
        self.age += 1
        truncated = (self.age >= self.limit) & ~over
        ended = over | truncated
        obs = self._observe(final)
        out: dict[str, Any] = {"reached": reached}
        if ended.any():
            last_obs = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(ended):
                last_obs[row] = obs[row]
            out |= {"final_obs": last_obs, "_final_obs": ended}
            senses, _ = self.inner.reset(options={"reset_mask": ended})
            self._begin(ended, senses)
            obs = np.where(ended[:, None], self._observe(senses), obs)
        return obs, reward, over, truncated, out

    def _moment(self, left: np.ndarray, right: np.ndarray, over: np.ndarray) -> dict[str, np.ndarray]:
        inner = self.inner.unwrapped
        return {
            "links": inner.salamander.link_positions()[:, :, :2].copy(),
            "target": inner.task.target.copy(),
            "drive": np.stack([left, right], 1),
            "visible": self._visible() > 0,
            "over": over.copy(),
        }

    def _visible(self) -> np.ndarray:
        """Whether the target is in sight, 0 or 1, [B]."""
        if self.blink is None:
            return np.ones(self.num_envs)
        return (self.age % sum(self.blink) < self.blink[0]).astype(float)

    def _observe(self, senses: np.ndarray) -> np.ndarray:
        visible = self._visible()
        low, _, high = self.levels
        own = np.stack([(self.level - low) / (high - low), self.side], 1)
        bearing = senses[:, self._bearing] * visible[:, None]
        return np.concatenate([senses[:, self._senses], own, bearing, visible[:, None]], 1).astype(np.float32)

    def get_state(self) -> dict[str, Any]:
        """Everything the future depends on."""
        inner = self.inner.unwrapped.get_state()
        cell = list(self.state)
        own = [self.level.copy(), self.side.copy(), self.age.copy(), self._distance.copy()]
        return {"inner": inner, "cell": cell, "own": own}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.inner.unwrapped.set_state(state["inner"])
        self.state = type(self.state)(*[part.clone() for part in state["cell"]])
        self.level, self.side, self.age, self._distance = (part.copy() for part in state["own"])
