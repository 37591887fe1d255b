"""PPO that begins as the fixed pattern generator at a constant drive, deaf, and learns feedback through its muscles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from agents.body_mirror import sense_mirror, tie_sides
from agents.muscle_ppo import MUSCLES, MusclePPO, MusclePPOConfig, muscle_settings
from agents.policies import RecurrentPolicy
from agents.spinal_actor import SpinalActor
from agents.synergies import SynergyHead, moving

__all__ = ["GENERATOR", "SpinalPPO", "SpinalPPOConfig", "muscle_learner"]

GENERATOR = "generator"
_SILENT = -12.0  # logarithm of no noise
_COURSE = ("heading.sin", "yaw_rate", "velocity.left")
_SWIM: dict[str, Any] = {
    "drive": 4.0,
    "limb": 4.0,
    "limb_reflexes": False,
    "learning_rate": 2e-3,
    "reflex_log_std": -1.4,
    "wave_log_std": -3.0,
    "noise_steps": 100,
}
_TASKS: dict[str, dict[str, Any]] = {
    "swim": {**_SWIM, "hears": _COURSE},
    "walk": {"hears": (*_COURSE, "touch")},
    "steer": {**_SWIM, "hears": ("target.cos", "target.sin", "yaw_rate"), "loud": ("target.sin",), "discount": 0.995},
    "shore": {"hears": (*_COURSE, "submerged"), "afloat": 2.0, "learning_rate": 5e-4},
}


@dataclass(frozen=True)
class SpinalPPOConfig(MusclePPOConfig):
    """The start, and what may be learned."""

    cell: str = GENERATOR
    drive: float = 2.0
    """Of both sides at the start: 1 to 3 walks, 3 to 5 swims."""
    limb: float = 0.0
    """Offset of the limbs' drive at the start; 4 silences them at swimming drives."""
    afloat: float = 0.0
    """By how much it is higher, at the start, when the animal is under water; from the senses `submerged.*`."""
    hears: tuple[str, ...] = ("heading.sin",)
    """What is heard: senses whose names begin with one of these."""
    loud: tuple[str, ...] = ()
    """Those that exploration goes with as much as it goes on by itself."""
    limb_reflexes: bool = True
    """Whether reflexes move limbs too, or bend the spine alone."""
    learning_rate: float = 1e-3
    target_kl: float = 0.1
    log_std: float = -2.0
    """Of the noise of synergies without reflexes."""
    reflex_log_std: float = -2.0
    """Of that of the others."""
    wave_log_std: float = -3.5
    """Of the part of it that goes with each of the spine's muscles."""
    senses_log_std: float = -4.0


class SpinalPPO(MusclePPO):
    r"""Recurrent PPO on 48 muscles whose start is `rnn.cpg.PhaseCell` with `agents.motor.SpinalMotor`, as they are.

    .. math::
        a = 2 m(y) / m_{max} - 1 + S (C h + b), \qquad y = \text{CPG}(d_0 + k W h)

    with m(y) the muscles of the pattern generator, h the few senses that are heard, and S the synergies that a reflex
    may use (`agents.synergies.moving`). C, b and W are nothing at the start. Learned are they, the drive d_0, and the
    generator's frequencies, amplitudes, couplings and lags; the motor layer is not.

    Why few senses and few synergies: a step of Adam is as long along a weight that matters as along one that does not,
    and each of them uses up what the probabilities of actions may change in an update. With all of 73 senses on all of
    48 muscles nothing of steering was learned in 150,000 steps; with three on three synergies 3.5 targets were found
    after 160,000, where the rule of `agents.drive_level.BearingDrive` finds 2.5 (one seed each).

    Raises:
        ValueError: nothing is heard, or actions are not the 48 normalised activations.
    """

    Config: ClassVar[type] = SpinalPPOConfig
    config: SpinalPPOConfig

    def make_policy(self) -> RecurrentPolicy:
        c = self.config
        self.check_muscles()
        heard = [k for k, name in enumerate(c.senses) if name.startswith(c.hears)]
        if not heard:
            raise ValueError(f"no sense begins with one of {c.hears}; name them after `observation_names`: {c.senses}")
        actor = SpinalActor(self.obs_size, heard, drive=c.drive, limb=c.limb, dt=c.dt)
        wet = [k for k, place in enumerate(heard) if c.senses[place].startswith("submerged")]
        if c.afloat:
            with torch.no_grad():
                actor.sense.weight[:4, wet] = c.afloat / (actor.swift * len(wet))
        policy = self.policy_around(actor)
        policy.head = self._head(actor, [c.senses[k] for k in heard])
        tie_sides(actor, policy.head, sense_mirror([c.senses[k] for k in heard]))
        return policy

    def _head(self, actor: SpinalActor, heard: list[str]) -> SynergyHead:
        """Passes the generator's muscles on."""
        c = self.config
        head = SynergyHead(actor.output_size, self.action_space, log_std=_SILENT)  # type: ignore[arg-type]
        reflexes = moving(limbs=c.limb_reflexes)
        learned = torch.zeros_like(head.linear.weight)
        learned[reflexes, MUSCLES:-1] = 1.0
        with torch.no_grad():
            head.linear.bias.copy_(-head.axes.sum(0))
            head.linear.weight.zero_()[:, :MUSCLES] = head.axes.T
            head.log_std[-1] = c.log_std
            head.log_std[-1, reflexes] = c.reflex_log_std
            head.log_std[:16, reflexes] = c.wave_log_std
            for k, name in enumerate(heard):
                loud = name.startswith(c.loud) if c.loud else False
                head.log_std[MUSCLES + k, reflexes] = c.reflex_log_std if loud else c.senses_log_std
        head.linear.weight.register_hook(lambda g: g * learned)
        head.linear.bias.register_hook(lambda g: g * reflexes)
        return head


def muscle_learner(task: str, cell: str, env: Any, **settings: Any) -> MusclePPO:
    """The learner of a salamander's task with its settings: "generator", "oscillators", or a cell of `rnn.models`.

    Args:
        task: "swim", "walk", "shore" or "steer".
        cell: what acts.
        env: worlds of `agents.muscle_ppo.muscle_worlds`.
        **settings: that differ from the task's own.
    """
    senses = env.unwrapped.observation_names
    if cell == GENERATOR:
        return SpinalPPO(env, **{"senses": senses, **_TASKS[task], **settings})
    return MusclePPO(env, **{"hidden": 64, **muscle_settings(task, cell, senses), **settings})
