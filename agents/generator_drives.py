"""Oscillators underneath the policy, in MuJoCo: actions are their drives, a spring and a damper the muscles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from torch import Tensor

from agents.cpg_policy import chain_profile
from rnn.cpg import PhaseCell

__all__ = ["GeneratorDrives"]


class GeneratorDrives(VectorWrapper):
    r"""Turns worlds of joint torques into worlds of drives to a fixed pattern generator.

    .. math::
        \tau_k = k_p (q^*_k - q_k) - k_d \dot q_k, \qquad
        q^*_k = r_{k,L} (1 + \cos\theta_k) - r_{k,R} (1 - \cos\theta_k)

    An action holds for several control steps, whose rewards are summed. The generator (`rnn.cpg.PhaseCell`, one pair of
    oscillators per joint) goes on through them; phases keep their lags, amplitudes follow within a tenth of a second.

    | action | meaning | range |
    |---|---|---|
    | 0 | frequency, as a factor | 1/2 to 2 |
    | 1 to K | amplitude of each joint, as a factor | 0 to 2 |
    | K + 1 to 2K | the angle each joint swings about: left side stronger than right | +- `bend` rad |

    Zero is the generator as it was made. A side's amplitude cannot be negative: a joint swings about no more than what
    it swings by. Observations are those of the last control step.

    Args:
        env: worlds whose episodes end by the clock alone (`agents.mujoco_batch.ForwardBatch`).
        angles: places of the K joint angles in an observation, from the front of the chain.
        velocities: places of the joint velocities.
        dt: control step, s.
        frequency: Hz.
        amplitude: rad.
        lag: from a joint to the next, in cycles.
        stiffness: k_p, action (the box is [-1, 1]) per rad.
        damping: k_d, action per rad/s.
        bend: rad.
        hold: control steps per action.

    Raises:
        ValueError: the places are not one per joint.

    >>> from agents.mujoco_batch import ForwardBatch
    >>> worlds = GeneratorDrives(ForwardBatch("Swimmer-v5", 2), angles=(1, 2), velocities=(6, 7))
    >>> obs, _ = worlds.reset(seed=0)
    >>> worlds.step(np.zeros((2, 5)))[1].shape
    (2,)
    """

    def __init__(
        self,
        env: Any,
        *,
        angles: Sequence[int],
        velocities: Sequence[int],
        dt: float = 0.04,
        frequency: float = 1.0,
        amplitude: float = 0.8,
        lag: float = 0.25,
        stiffness: float = 2.0,
        damping: float = 0.1,
        bend: float = 0.5,
        hold: int = 10,
    ):
        super().__init__(env)
        joints = int(env.single_action_space.shape[0])
        if len(angles) != joints or len(velocities) != joints:
            raise ValueError(
                f"{joints} joints need the places of {joints} angles and velocities in an observation, received "
                f"{tuple(angles)} and {tuple(velocities)}"
            )
        self.angles, self.velocities, self.hold = list(angles), list(velocities), hold
        self.frequency, self.amplitude, self.bend = frequency, amplitude, bend
        self.stiffness, self.damping = stiffness, damping
        profile = replace(chain_profile(frequency, amplitude / 2), lags=lag)
        self.cell = PhaseCell(joints, (), profile=profile, dt=dt).eval()
        self.single_action_space = spaces.Box(-1.0, 1.0, (1 + 2 * joints,), np.float32)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.still = torch.zeros(self.num_envs, self.cell.input_size)
        self.inner: Any = None
        self.obs: Any = None

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.inner = self._fresh()
        self.obs, info = self.env.reset(seed=seed, options=options)
        return self.obs, info

    @torch.inference_mode()
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        wanted = self._wanted(actions)
        total, truncated = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        info: dict[str, Any] = {}
        final = None
        for _ in range(self.hold):
            self.obs, reward, over, cut, info = self.env.step(self._torque(wanted))
            total += np.where(truncated, 0.0, reward)
            ended = cut & ~truncated
            if ended.any():
                final = np.array(info["final_obs"]) if final is None else final
                final[ended] = info["final_obs"][ended]
                rows = torch.as_tensor(ended)[:, None]
                pairs = zip(self._fresh(), self.inner, strict=True)
                self.inner = type(self.inner)(*(torch.where(rows, new, old) for new, old in pairs))
            truncated |= cut
        return self.obs, total, over, truncated, info if final is None else {**info, "final_obs": final}

    def _fresh(self) -> Any:
        """The generator at full amplitude."""
        state = self.cell.initial_state(self.num_envs)
        return state._replace(amplitude=torch.full_like(state.amplitude, self.amplitude / 2))

    def _wanted(self, actions: Any) -> dict[str, Tensor]:
        """Frequencies and target amplitudes [B, 2K] by the names of the generator's taps."""
        a = torch.as_tensor(np.clip(actions, -1, 1), dtype=torch.float32)
        K = self.cell.segments
        swing, bend = self.amplitude * (1 + a[:, 1 : 1 + K]), self.bend * a[:, 1 + K :]
        sides = torch.cat([swing + bend, swing - bend], 1) / 2
        frequency = (self.frequency * 2 ** a[:, :1]).expand(-1, 2 * K)
        return {"frequency": frequency, "target": sides.clamp(min=0.0)}

    def _torque(self, wanted: dict[str, Tensor]) -> np.ndarray:
        y, self.inner = self.cell(self.still, self.inner, lambda name, value: wanted.get(name, value))
        K = self.cell.segments
        target = (y[:, :K] - y[:, K:]).numpy()
        q, speed = self.obs[:, self.angles], self.obs[:, self.velocities]
        return np.clip(self.stiffness * (target - q) - self.damping * speed, -1, 1)
