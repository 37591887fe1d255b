"""A pattern generator underneath the policy: actions are drives, the muscles follow the spinal cord."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space

from agents.motor import SpinalMotor
from rnn.cpg import PhaseCell, drive_input

__all__ = ["DriveLevel"]


class DriveLevel(VectorWrapper):
    """Turns muscle-level worlds into worlds of drives.

    | action | meaning | range |
    |---|---|---|
    | 0 | mean drive: below 1 rest, 1 to 3 walking, 3 to 5 swimming | 0.5 to 5 |
    | 1 | right minus left, halved: turning | +-1 |
    | 2 | offset of the limbs' drive: from 2 on it silences them at swimming drives | 0 to 4 |

    An action holds for several control steps, whose rewards are summed; a world that ends on the way keeps the rest of
    the reward of its new episode out.

    Args:
        env: a vector environment of the salamander at muscle level (activations, not normalised).
        hold: control steps per action.
    """

    def __init__(self, env: Any, *, hold: int = 10):
        super().__init__(env)
        self.hold = hold
        self.cell, self.motor = PhaseCell(dt=env.unwrapped.dt).eval(), SpinalMotor()
        self.single_action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.inner: Any = None

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.inner = self.cell.initial_state(self.num_envs)
        return self.env.reset(seed=seed, options=options)

    @torch.inference_mode()
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        a = torch.as_tensor(np.clip(actions, -1, 1), dtype=torch.float32)
        mean, turn, limb = 2.75 + 2.25 * a[:, 0], a[:, 1], 2.0 * (a[:, 2:3] + 1)
        left, right = (mean - turn)[:, None], (mean + turn)[:, None]
        x = drive_input(self.cell, left.expand(-1, 2), right.expand(-1, 2), limb=limb.expand(-1, 4), batch=len(a))
        total, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        truncated, info, final = terminated.copy(), {}, None
        for _ in range(self.hold):
            y, self.inner = self.cell(x, self.inner)
            obs, reward, over, cut, step_info = self.env.step(self.motor(y).numpy())
            running = ~(terminated | truncated)
            total += np.where(running, reward, 0.0)
            ended = (over | cut) & running
            if ended.any():
                final = np.full(self.num_envs, None, dtype=object) if final is None else final
                final[ended] = step_info["final_obs"][ended]
                fresh, rows = self.cell.initial_state(self.num_envs), torch.as_tensor(ended)[:, None]
                self.inner = type(fresh)(*(torch.where(rows, n, o) for n, o in zip(fresh, self.inner, strict=True)))
            terminated |= over & running
            truncated |= cut & running
            info = step_info
        if final is not None:
            info = {**info, "final_obs": final}
        return obs, total, terminated, truncated, info
