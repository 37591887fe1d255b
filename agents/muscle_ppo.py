"""PPO through 48 muscles: oscillators inside the actor, or any other cell, from the same resting posture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorWrapper

from agents.body_mirror import sense_mirror, tie_sides
from agents.cpg_policy import CpgActor
from agents.gait_evolution import COARSE, Prices, sway
from agents.policies import RecurrentPolicy
from agents.recurrent_ppo import RecurrentPPO, RecurrentPPOConfig
from agents.salamander_gait import HIND_SHARE
from rnn.cpg import PhaseCell
from rnn.cpg.phase import DriveLaw, Profile
from sim.salamander_tasks import GRAVITY

__all__ = [
    "FREQUENCY",
    "OSCILLATORS",
    "PLAIN",
    "MusclePPO",
    "MusclePPOConfig",
    "Priced",
    "Staggered",
    "muscle_settings",
    "muscle_worlds",
]

OSCILLATORS = "oscillators"
FREQUENCY = {"swim": 3.3, "walk": 1.0, "shore": 2.0, "steer": 3.0}
"""Hz, at which the oscillators start: near the animal's 3.17 of swimming and 0.9 of walking (Karakasiliotis et al.,
2016), which a policy gradient, whose sequences last a cycle, moves little."""
PLAIN: dict[str, Any] = {
    "shared": True,
    "critic_cell": None,
    "layers": (64,),
    "normalise": True,
    "log_std": -2.0,
    "learning_rate": 5e-4,
    "target_kl": math.inf,
}
"""What suits a cell of `rnn.models` instead of oscillators: actor and critic on one cell, features scaled."""
SEGMENTS, MUSCLES = 8, 48
DRIVE = 3.0  # in the middle of the drives' range, so that what is sensed can make it quicker and slower


@dataclass(frozen=True)
class MusclePPOConfig(RecurrentPPOConfig):
    """The start, all of which is then learned, and settings that suit many muscles."""

    cell: str = OSCILLATORS
    """ "oscillators", or a cell of `rnn.models`."""
    dt: float = 0.01
    """Control step, s."""
    frequency: float = 2.0
    """Hz, of body and limbs, at the drive at the start (see `FREQUENCY`)."""
    lag: float = 0.125
    """From a segment to the next, in cycles: one wave along the eight, so that the phases of two segments two apart
    make up any other."""
    coupling: float = 20.0
    """Between neighbours, and between limbs, 1/s."""
    gain: float = 0.2
    """Activation of a spine muscle when its oscillator is at its height; the other half of the cycle it is silent."""
    tone: float = 0.25
    """Co-contraction of the limbs' muscles, as a part of the greatest; at 0.25 the feet do not carry the animal, at 0.5
    they do."""
    step: float = 0.0
    """How far the limbs step at the start, as a part of the greatest activation: back and forth with their oscillator,
    up and down a quarter of a cycle later, so that a foot is in the air on its way forwards. The spine's muscles then
    follow the limb of their girdle and side, at their height when it is furthest back."""
    horizon: int = 64
    sequence_length: int = 32
    minibatch: int = 16
    epochs: int = 5
    discount: float = 0.99
    gae_lambda: float = 0.97
    reward_scale: float = 0.1
    learning_rate: float = 1e-3
    target_kl: float = 0.15
    """Without such a bound an update of 48 muscles goes on long after its probabilities have left the clip's range."""
    shared: bool = False
    critic_cell: str | None = "frame"
    layers: tuple[int, ...] = ()
    normalise: bool = False
    noise: str = "state"
    noise_steps: int = 50
    log_std: float = -2.5
    senses: tuple[str, ...] = ()
    """Names of the observations, so that what is learned of one side is learned of the other; () for neither."""
    senses_log_std: float = -5.0
    """Of the noise that goes with what is sensed, where oscillators take most of it."""


class MusclePPO(RecurrentPPO):
    r"""Recurrent PPO that acts on the muscles of the salamander, as the normalised actions of its environments.

    .. math::
        a = W [y, x] + b

    with y the outputs of 16 body and 4 limb oscillators (`rnn.cpg.PhaseCell`) in a `CpgActor` and x all that is sensed.
    At the start W holds the gains of the spine's muscles on their own oscillators, nothing else: limbs are stiff and
    still, nothing is heard; or, to walk, a step (see `MusclePPOConfig.step`). Learned are W and b (so that limb
    oscillators reach limb muscles, and reflexes arise), frequencies, amplitudes, couplings, lags, and the feedback of
    what is sensed to drives and stretch inputs.

    Another cell stands in the same place behind the same resting posture: spine slack, limbs at the same tone.

    Raises:
        ValueError: actions other than the 48 normalised activations.
    """

    Config: ClassVar[type] = MusclePPOConfig
    config: MusclePPOConfig

    def make_policy(self) -> RecurrentPolicy:
        c = self.config
        self.check_muscles()
        actor = CpgActor(self.obs_size, self._generator(), drive=DRIVE) if c.cell == OSCILLATORS else None
        policy = super().make_policy() if actor is None else self.policy_around(actor)
        with torch.no_grad():
            bias, weight = policy.head.linear.bias, policy.head.linear.weight
            bias[: 2 * SEGMENTS], bias[2 * SEGMENTS :] = -1.0, 2 * c.tone - 1
            if actor is not None:
                weight.zero_()
                if c.noise == "state":
                    policy.head.log_std[actor.cpg.output_size :] = c.senses_log_std
                self._walk(weight, bias) if c.step else self._swim(weight)
        if actor is not None and c.senses:
            tie_sides(actor, policy.head, sense_mirror(c.senses))
        return policy

    def _swim(self, weight: torch.Tensor) -> None:
        for k in range(SEGMENTS):  # muscles 2 k and 2 k + 1 of oscillators k and 8 + k, which reach 0.5
            weight[2 * k, k] = weight[2 * k + 1, SEGMENTS + k] = 4 * self.config.gain

    def _walk(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        c, cosine, sine = self.config, 2 * SEGMENTS, 2 * SEGMENTS + 4  # places of the limbs' outputs, within +-0.25
        bias[: 2 * SEGMENTS] = c.gain - 1.0
        for k, hind in enumerate(HIND_SHARE):
            for side in range(2):
                weight[2 * k + side, cosine + side] = 4 * c.gain * float(1 - hind)
                weight[2 * k + side, cosine + 2 + side] = 4 * c.gain * float(hind)
        for limb in range(4):
            yaw, pitch = 2 * SEGMENTS + 8 * limb, 2 * SEGMENTS + 8 * limb + 2  # muscles that pull back, and up
            weight[yaw, cosine + limb], weight[yaw + 1, cosine + limb] = 4 * c.step, -4 * c.step
            weight[pitch, sine + limb], weight[pitch + 1, sine + limb] = 4 * c.step, -4 * c.step

    def check_muscles(self) -> None:
        """Refuse other actions than normalised activations."""
        space: Any = self.action_space
        if space.shape != (MUSCLES,) or (space.low != -1).any():
            raise ValueError(f"this learner acts on {MUSCLES} muscles with normalise_actions=True, received {space}")

    def _generator(self) -> PhaseCell:
        # Half of the frequency and of the amplitude follows the drive, so that feedback has something to act on.
        c = self.config
        law = DriveLaw(0.0, 10.0, c.frequency / (2 * DRIVE), c.frequency / 2, 0.25 / DRIVE / 2, 0.125)
        w = c.coupling
        profile = Profile(law, law, 20.0, w, 2 * w, w, 0.0, lags=c.lag)
        return PhaseCell(SEGMENTS, profile=profile, dt=c.dt, substeps=2, feedback_gain=1.0)


class Staggered(VectorWrapper):
    """Worlds whose first episodes are cut at different times, from the whole length down to a part of it.

    Else all would start, speed up and end together, and each rollout would see one stage of an episode only.

    Args:
        env: a vector environment of the salamander with a time limit.
    """

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        inner: Any = self.env.unwrapped
        state = inner.get_state()
        state["steps"] = np.arange(self.num_envs) * int(inner.max_episode_steps) // self.num_envs
        inner.set_state(state)
        return obs, info


class Priced(VectorWrapper):
    """Worlds of swimming or walking whose reward is less what the prices of evolution take off in a step.

    Swaying and haste, effort and bending: those that a moment has. Slip and duty belong to whole strides and are free.

    Args:
        env: a vector environment of the salamander.
        prices: see `agents.gait_evolution.Prices`.
    """

    def __init__(self, env: Any, prices: Prices):
        super().__init__(env)
        self.prices = prices

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        body, prices = self.env.unwrapped.salamander, self.prices  # type: ignore[attr-defined]
        power = body.muscle_power() / (body.mass * GRAVITY * body.length)
        bend = np.square(body.joint_angles()[:, :SEGMENTS]).mean(1)
        paid = prices.steadiness * sway(self.env, obs) + prices.effort * power + prices.bending * bend
        lost = terminated | truncated  # what is there to see is the next episode's start
        return obs, reward - np.where(lost, 0.0, paid), terminated, truncated, info


def muscle_settings(task: str, cell: str, senses: tuple[str, ...] = ()) -> dict[str, Any]:
    """Settings of `MusclePPO` for a task of the salamander, a cell, and the names of what is observed."""
    stands = {"tone": 0.5} if task in ("walk", "shore") else {}
    if cell != OSCILLATORS:
        return {"cell": cell, **PLAIN, **stands}
    steps = {"step": 0.4} if task == "walk" else {}
    return {"cell": cell, "frequency": FREQUENCY[task], "senses": senses, **stands, **steps}


def muscle_worlds(
    task: str,
    num_envs: int,
    *,
    coarse: bool = True,
    prices: Prices | None = None,
    steps: int | None = None,
    threads: int = 1,
    **options: Any,
) -> Staggered:
    """Worlds of a salamander's task acted in through 48 normalised activations, to learn in.

    Coarse physics takes steps of 5 ms: Euler's, nine times as many control steps a second in water; on land, where
    they mislead (see `agents.gait_evolution.COARSE`), discrete ones, twice as many. What is learned in it alone may
    rest on its errors: a reflex that swam at 1.03 BL/s in it made 0.55 in the published physics. So the last part
    belongs in that. Steering is rewarded by progress (see `sim.salamander_tasks.Steer`).

    Args:
        task: "swim", "walk", "shore" or "steer".
        num_envs: B.
        coarse: physics of 5 ms, or the published one.
        prices: what is taken off the reward of swimming or walking; None for nothing.
        steps: control steps (10 ms) of an episode; None for 500, or 1000 with a goal.
        threads: of the physics.
        **options: others of the environment (world, terminate, ...).
    """
    physics: dict[str, Any] = COARSE["walk" if task in ("walk", "shore") else "swim"] if coarse else {}
    if options.get("world") == "rough" or task == "shore":
        options = {"reset_spread": 2.0, **options}  # BL: other stones under the feet; on the beach and in the water
    if task == "steer":
        options = {"task_options": {"reward": "progress"}, **options}
    env = gymnasium.make_vec(
        f"sim:salamander/{task.capitalize()}-v0",
        num_envs=num_envs,
        normalise_actions=True,
        max_episode_steps=steps or (1000 if task in ("shore", "steer") else 500),
        reset_noise=0.05,  # rad
        threads=threads,
        **physics,
        **options,
    )
    return Staggered(env if prices is None else Priced(env, prices))
