"""The fixed pattern generator with its muscles, inside a differentiable actor: feedback is what it has to learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.cpg_policy import CpgActor
from agents.motor import SpinalMotor
from rnn.cpg import PhaseCell, drive_input
from sim.anatomy import MAX_ACTIVATION

__all__ = ["SpinalActor"]

MUSCLES = len(MAX_ACTIVATION)


class SpinalActor(CpgActor):
    r"""A `CpgActor` whose oscillators reach the output through the spinal cord's motor layer; it hears some senses.

    .. math::
        d_t = d_0 + k W_d h_t, \qquad s_t = k W_s h_t, \qquad y_t = \text{CPG}(d_t, s_t), \qquad
        o_t = [2 m(y_t) / m_{max}, h_t, 1]

    with m the 48 activations of `agents.motor.SpinalMotor`, which nothing here changes, and h those of the features x
    that are heard: a linear head `[I, 0, 0]` behind it with a bias of -1 acts, in normalised actions, exactly as the
    fixed pattern generator at the drive d_0. The 1 is for noise that goes with the latent
    (`agents.heads.StateNoiseHead`) and must not end where a muscle is silent.

    Args:
        input_size: I, number of features.
        hears: places of h among them; None for all.
        drive: of both sides, d_0: 1 to 3 walks, 3 to 5 swims.
        limb: offset of the limbs' drive; 4 silences them at swimming drives.
        dt: control step, s.
        swift: k, how much faster drives are learned than reflexes: muscles follow a drive by a tenth or so of its unit.

    >>> actor = SpinalActor(8, (0, 7), drive=4.0, limb=4.0)
    >>> y, state = actor(torch.zeros(3, 8), actor.initial_state(3))
    >>> y.shape  # 48 activations, two features and 1
    torch.Size([3, 51])
    """

    def __init__(
        self,
        input_size: int,
        hears: Sequence[int] | None = None,
        *,
        drive: float,
        limb: float = 0.0,
        dt: float = 0.01,
        swift: float = 5.0,
    ):
        heard = range(input_size) if hears is None else hears
        super().__init__(len(heard), PhaseCell(dt=dt, feedback_gain=1.0))
        self.input_size, self.swift = input_size, swift
        self.output_size = MUSCLES + len(heard) + 1
        self.motor = SpinalMotor()
        self.base.data = drive_input(self.cpg, drive, limb=limb)[0]
        self.register_buffer("heard", torch.tensor(list(heard), dtype=torch.long))
        self.register_buffer("reach", torch.tensor(MAX_ACTIVATION / 2, dtype=torch.float32))
        self.heard: Tensor
        self.reach: Tensor

    def drives(self, x: Tensor) -> Tensor:
        return self.base + self.swift * self.sense(x[..., self.heard])

    def output(self, y: Tensor, x: Tensor) -> Tensor:
        muscles = self.motor(y.flatten(0, -2)).unflatten(0, y.shape[:-1]) / self.reach
        return torch.cat([muscles, x[..., self.heard], torch.ones_like(x[..., :1])], -1)
