"""PPO over oscillators: a chain of them inside the actor, a spring and a damper behind, all of it learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agents.body_mirror import Reflection, generator_mirror
from agents.cpg_policy import CpgActor
from agents.heads import make_head
from agents.policies import RecurrentPolicy
from agents.recurrent_ppo import RecurrentPPO, RecurrentPPOConfig
from rnn.cpg import PhaseCell
from rnn.cpg.phase import DriveLaw, Profile

__all__ = ["OscillatorPPO", "OscillatorPPOConfig"]

DRIVE = 3.0  # in the middle of the drives' range, so that what is sensed can make it quicker and slower


@dataclass(frozen=True)
class OscillatorPPOConfig(RecurrentPPOConfig):
    """The start of the oscillators, all of which is then learned, and settings that suit them."""

    angles: tuple[int, ...] = ()
    """Places of the joint angles in an observation, from the front of the chain."""
    velocities: tuple[int, ...] = ()
    """Places of the joint velocities."""
    dt: float = 0.04
    """Control step, s."""
    frequency: float = 1.0
    """Hz, at the drive at the start."""
    amplitude: float = 0.8
    """rad, likewise."""
    lag: float = 0.25
    """From a joint to the next, in cycles: a quarter, so that the phases of two neighbours make up any other."""
    coupling: float = 20.0
    """Between neighbours, 1/s."""
    stiffness: float = 2.0
    """Action (the box is [-1, 1]) per rad between an oscillator's target and its joint."""
    damping: float = 0.1
    """Action per rad/s."""
    mirror: tuple[float, ...] = ()
    """Signs that observations take in a mirror, where all actions change theirs: then what is learned cannot prefer a
    side, in which a swimmer would go in circles. () for a body without left and right."""
    oscillator_rate: float = 2.0
    """Learning rate of frequencies, amplitudes, couplings and lags as a multiple of that of all other weights."""
    senses_log_std: float | None = -3.5
    """Of the noise of "state" that goes with what is sensed, where oscillators take most of it; None for `log_std`."""
    horizon: int = 200
    minibatch: int = 64
    epochs: int = 5
    noise: str = "state"
    noise_steps: int = 36
    shared: bool = False
    critic_cell: str | None = "frame"
    layers: tuple[int, ...] = ()
    normalise: bool = False
    log_std: float = -1.0


class OscillatorPPO(RecurrentPPO):
    r"""Recurrent PPO whose actor is a pattern generator that listens.

    .. math::
        a = k_p (q^* - q) - k_d \dot q + \text{noise}, \qquad q^*_k = y_{k,left} - y_{k,right}

    stands at the start: one pair of oscillators per joint (`rnn.cpg.PhaseCell`) in a `CpgActor`. Learned are the linear
    map from oscillators and observations to actions, which begins as that spring and damper, the frequencies,
    amplitudes, couplings and lags, and the feedback of all observations to drives and stretch inputs, which begins at
    nothing. Arrangement: "CPG-Actor" (Campanaro et al., 2021).

    Raises:
        ValueError: the places of angles and velocities are not one per action.

    >>> agent = OscillatorPPO("Swimmer-v5", num_envs=2, angles=(1, 2), velocities=(6, 7), horizon=16).learn(32)
    >>> agent.network.actor_cell.cpg.num_oscillators
    4
    """

    Config: ClassVar[type] = OscillatorPPOConfig
    config: OscillatorPPOConfig

    def build(self) -> None:
        super().build()
        actor: Any = self.network.actor_cell
        oscillators = {id(p) for p in (actor.base, *actor.cpg.parameters())}
        quick = [p for p in self.network.parameters() if id(p) in oscillators]
        rest = [p for p in self.network.parameters() if id(p) not in oscillators]
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": quick, "factor": self.config.oscillator_rate}]
        self.optimiser = torch.optim.Adam(groups, lr=self.config.learning_rate, eps=1e-5, fused=True)

    def make_policy(self) -> RecurrentPolicy:
        c = self.config
        joints = int(self.action_space.shape[0])  # type: ignore[index]
        if len(c.angles) != joints or len(c.velocities) != joints:
            raise ValueError(
                f"{joints} actions need the places of {joints} joint angles and velocities in an observation, received "
                f"{c.angles} and {c.velocities}"
            )
        # Half of the frequency and of the amplitude follows the drive, so that feedback has something to act on.
        half = 0.5 * c.amplitude
        law = DriveLaw(0.0, 10.0, c.frequency / (2 * DRIVE), c.frequency / 2, half / (2 * DRIVE), half / 2)
        profile = Profile(law, law, 20.0, c.coupling, 2 * c.coupling, 0.0, 0.0, lags=c.lag)
        generator = PhaseCell(joints, (), profile=profile, dt=c.dt, feedback_gain=1.0)
        actor = CpgActor(self.obs_size, generator, drive=DRIVE)
        policy = self.policy_around(actor)
        read, places = 2 * joints, list(range(self.obs_size))
        if c.mirror:
            odd = Odd(joints, c.mirror)
            read, places = joints, odd.places
            policy.actor = nn.Sequential(odd)
            policy.head = make_head(odd.size, self.action_space, noise=c.noise, log_std=c.log_std)
            policy.head.linear.bias.requires_grad_(False).zero_()
            _tie(actor, c.mirror)
        with torch.no_grad():
            weight = policy.head.linear.weight.zero_()
            for k in range(joints):
                weight[k, k] = c.stiffness
                if not c.mirror:
                    weight[k, joints + k] = -c.stiffness  # the right oscillator
                weight[k, read + places.index(c.angles[k])] = -c.stiffness
                weight[k, read + places.index(c.velocities[k])] = -c.damping
            if c.noise == "state" and c.senses_log_std is not None:
                policy.head.log_std[read:] = c.senses_log_std
        return policy


class Odd(nn.Module):
    """Of oscillators and observations [..., 2K + I] what changes sign in a mirror: left minus right, odd observations.

    A linear head without offset behind it is a controller whose mirror image is itself.

    >>> Odd(1, (1.0, -1.0))(torch.tensor([3.0, 1.0, 7.0, 5.0])).tolist()
    [2.0, 5.0]
    """

    def __init__(self, joints: int, mirror: tuple[float, ...]):
        super().__init__()
        self.joints, self.places = joints, [k for k, sign in enumerate(mirror) if sign < 0]
        self.size = joints + len(self.places)

    def forward(self, z: Tensor) -> Tensor:
        K = self.joints
        return torch.cat([z[..., :K] - z[..., K : 2 * K], z[..., 2 * K :][..., self.places]], -1)


def _tie(actor: CpgActor, mirror: tuple[float, ...]) -> None:
    """Replace each gradient of oscillators and feedback by the mean of itself and its mirror image."""
    assert isinstance(actor.cpg, PhaseCell)
    parts = generator_mirror(actor.cpg)
    senses = Reflection(torch.arange(len(mirror)), torch.tensor(mirror))
    names = {"unit": ("nu0", "nu1", "r0", "r1"), "edge": ("coupling", "bias")}
    pairs = [(getattr(actor.cpg, name), parts[kind]) for kind, several in names.items() for name in several]
    for parameter, rows in [*pairs, (actor.base, parts["input"])]:
        parameter.register_hook(lambda g, rows=rows: 0.5 * (g + rows.of(g, 0)))
    actor.sense.weight.register_hook(lambda g: 0.5 * (g + senses.of(parts["input"].of(g, 0), 1)))
