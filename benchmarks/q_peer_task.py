"""What the peers of `q_peers.py` share: the task, and how a policy is judged. Needs gymnasium and NumPy alone.

The peers may stand in a Python of their own, without the rest of this project, so this file and the two beside it
(`q_peer_torchrl.py`, `q_peer_d3rlpy.py`) import nothing from it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

TASK = "CartPole-v1"
VELOCITIES = [1, 3]
"""Readings of the task that are hidden: those of cart and pole."""
ANGLE, ANGLE_SCALE = 2, 10.0
"""The pole's angle in radians stays below 0.21; the factor brings it to the size of the other readings."""


class Blind(gymnasium.Wrapper):
    """The task with its velocities set to 0, the angle scaled, and the last action beside it (one-hot, 0 at first)."""

    def __init__(self, env: Any):
        super().__init__(env)
        low, high = (np.full(6, bound, dtype=np.float32) for bound in (-np.inf, np.inf))
        self.observation_space = gymnasium.spaces.Box(low, high)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        return self.seen(obs, None), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        obs, *rest = self.env.step(action)
        return self.seen(obs, int(action)), *rest

    @staticmethod
    def seen(obs: np.ndarray, action: int | None) -> np.ndarray:
        shown = np.zeros(6, dtype=np.float32)
        shown[:4] = obs
        shown[VELOCITIES] = 0.0
        shown[ANGLE] *= ANGLE_SCALE
        if action is not None:
            shown[4 + action] = 1.0
        return shown


def world(blind: bool) -> Any:
    """One world."""
    env = gymnasium.make(TASK)
    return Blind(env) if blind else env


def returns(act: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]], blind: bool, count: int, seed: int) -> np.ndarray:
    """Returns [count] of one fresh episode in each of `count` worlds; `act` maps (obs, state) to (actions, state)."""
    env = SyncVectorEnv([lambda: world(blind)] * count, autoreset_mode=AutoresetMode.SAME_STEP)
    obs, _ = env.reset(seed=seed)
    total, running, state = np.zeros(count), np.ones(count, dtype=bool), None
    while running.any():
        action, state = act(obs, state)
        obs, reward, terminated, truncated, _ = env.step(action)
        total += reward * running
        running &= ~(terminated | truncated)
    env.close()
    return total


class Record:
    """The curve of one seed, with the processor time of learning alone."""

    def __init__(self, every: int):
        self.every, self.next, self.outside = every, every, 0.0
        self.started = time.process_time()
        self.curve: list[list[float]] = []

    def watch(self, steps: int, score: Callable[[int, int], np.ndarray]) -> None:
        """Judge by `score(episodes, seed)` whenever `every` more steps are over."""
        if steps < self.next:
            return
        self.next += self.every
        begun = time.process_time()
        spent = begun - self.started - self.outside
        self.curve.append([steps, round(spent, 1), round(float(score(20, 50_000).mean()), 1)])
        self.outside += time.process_time() - begun

    def result(self, seed: int, score: Callable[[int, int], np.ndarray], threshold: float) -> dict[str, Any]:
        spent = time.process_time() - self.started - self.outside
        final = score(50, 90_000 + seed)
        first = next((row for row in self.curve if row[2] >= threshold), None)
        row = {"seed": seed, "final": float(final.mean()), "cpu_seconds": round(spent, 1), "first": first}
        return {**row, "curve": self.curve}


def main(train: Callable[[int, int, int, float], dict[str, Any]], about: str | None) -> None:
    """Run a peer's `train(seed, steps, every, threshold)` as the command line says; the last line printed is JSON."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=2_000)
    parser.add_argument("--threshold", type=float, default=475.0)
    args = parser.parse_args()
    print(json.dumps(train(args.seed, args.steps, args.every, args.threshold)))
