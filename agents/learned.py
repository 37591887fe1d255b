"""A learned network as a controller: any recurrent cell between the drives of a pattern generator and joint targets.

It has the inputs of the pattern generators of `rnn.cpg` (drives of both sides, limb drive, stretch of both sides), so
`NetworkController`, films, steering and edits treat it as one more network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import rnn.cpg
from agents.controller import NetworkController
from agents.motor import motor_settings
from agents.schedule import Schedule
from rnn.board import ClampBoard
from rnn.cell import Cell, Tap, no_tap
from rnn.edits import Edit
from rnn.model import pack, state_width, unpack
from rnn.models import make_cell
from sim.anatomy import JOINT_NAMES, LIMB_MUSCLE, MUSCLE_GAMMA, WALK_REST

__all__ = ["GENERATORS", "AngleMotor", "LearnedCell", "make_core", "make_learned"]

GENERATORS = {"phase": "PhaseCell", "rate": "RateCell"}
"""Pattern generators of `rnn.cpg` that can be a core: their rhythm is given, only the readout is learned."""

SEGMENTS = 8
INPUTS = 8 + 2 * SEGMENTS
"""Drives: left fore and hind, right fore and hind, offsets of the four limbs; then stretch left and right."""
STIFFENING = 2.5
"""Tone of the spine relative to that of the pattern generators (stride at drive 5: 0.166, 0.178 and 0.150 BL at 1, 2.5
and 4 times, measured in the pool)."""
ENCODED = 3 + 2 * SEGMENTS


def make_core(name: str, hidden: int, **settings: Any) -> Cell:
    """The core of a learned network: a pattern generator of `GENERATORS`, or a cell of `rnn.models`.

    Args:
        name: which. hidden: units; a pattern generator has its own. settings: further settings of the cell.

    Raises:
        ValueError: an unknown name, or a setting that the cell does not have.
    """
    if name in GENERATORS:
        return getattr(rnn.cpg, GENERATORS[name])(**settings)
    return make_cell(name, ENCODED, hidden, **settings)


class LearnedCell(Cell):
    r"""A recurrent core that reads drives and writes joint targets.

    .. math::
        e_t = (\bar d^{left}_t - 3,\; \bar d^{right}_t - 3,\; \bar o_t / 2,\; s_t), \qquad
        s_t = f(e_t, s_{t-1}), \qquad q_t = q_0 + \sigma \odot (W h_t + b)

    The two girdles' drives of a side, and the four limb offsets, are averaged. `stretch.left` and `stretch.right` take
    the spine's measured angles, -phi and +phi in rad, and are zero in open loop. Quantities: `input`, `encoded`, those
    of the core, `output` (joint targets, rad, named after the joints).

    Args:
        core: the recurrent cell, of 19 inputs; or a pattern generator, which reads all 24 as they are.
        centre: q_0 [24], rad.
        scale: sigma [24], rad.

    Raises:
        ValueError: the core has another number of inputs.

    >>> from rnn.models import make_cell
    >>> cell = LearnedCell(make_cell("gru", ENCODED, 8))
    >>> y, state = cell(torch.full((1, INPUTS), 4.0), cell.initial_state(1))
    >>> y.shape
    torch.Size([1, 24])
    """

    def __init__(self, core: Cell, *, centre: Tensor | None = None, scale: Tensor | None = None):
        super().__init__()
        if core.input_size not in (ENCODED, INPUTS):
            raise ValueError(
                f"the core reads {ENCODED} encoded inputs, or all {INPUTS}; received a core of {core.input_size}"
            )
        self.core, self.input_size, self.output_size = core, INPUTS, len(JOINT_NAMES)
        self.activity, self.silenced = core.activity, core.silenced
        self.readout = nn.Linear(core.output_size, self.output_size)
        self.start = nn.Parameter(torch.zeros(state_width(core)))
        joints = torch.zeros(self.output_size)
        self.register_buffer("centre", joints.clone() if centre is None else centre.clone())
        self.register_buffer("scale", joints + 0.3 if scale is None else scale.clone())
        self.centre: Tensor
        self.scale: Tensor

    @property
    def quick(self) -> str:
        """Path of `rnn.unroll` for long runs of the core: its kernels where it has some (for a GRU a tenth to a fifth
        less time than the loop in training, several times less in free run)."""
        return "fused" if getattr(self.core, "sequence_path", None) == "fused" else "auto"

    def initial_state(self, batch: int) -> Any:
        """The learned state at rest."""
        return unpack(self.core, pack(self.core.initial_state(batch)) + self.start)

    def forward(self, x: Tensor, state: Any, tap: Tap = no_tap) -> tuple[Tensor, Any]:
        x = tap("input", x)
        inner = tap if tap is no_tap else lambda name, value: tap("encoded" if name == "input" else name, value)
        z, state = self.core(self.encode(x), state, inner)
        return tap("output", self.decode(z)), state

    def encode(self, x: Tensor) -> Tensor:
        """What the core reads [..., 19]; a pattern generator reads x itself."""
        if self.core.input_size == INPUTS:
            return x
        left, right, limb = x[..., 0:2].mean(-1), x[..., 2:4].mean(-1), x[..., 4:8].mean(-1)
        return torch.cat([torch.stack([left - 3, right - 3, limb / 2], -1), x[..., 8:]], -1)

    def decode(self, z: Tensor) -> Tensor:
        """Joint targets [..., 24] from the core's output, rad."""
        return self.centre + self.scale * self.readout(z)

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        s = SEGMENTS
        inputs = {
            "drive.left": (0, 1),
            "drive.right": (2, 3),
            "drive.limb": (4, 5, 6, 7),
            "stretch.left": tuple(range(8, 8 + s)),
            "stretch.right": tuple(range(8 + s, 8 + 2 * s)),
        }
        core = {quantity: names for quantity, names in self.core.groups().items() if quantity != "input"}
        return {"input": inputs, **core, "output": {name: (i,) for i, name in enumerate(JOINT_NAMES)}}


class AngleMotor(nn.Module):
    """Joint targets [B, 24] to actions: the targets themselves, or the activations that hold them.

    An Ekeberg joint under the activations L and R rests at `phi = (pi/2) (L - R) / (1 + L + R)`. The spine is given the
    tone `T = L + R` that the pattern generators give it at the animal's amplitude in the gait in which the joint
    swings further, times `STIFFENING`, and more where a target needs more; limbs co-contract about their rest angle as
    in `agents.motor.SpinalMotor`.

    Args:
        control: "muscle" (48 activations) or "joint" (24 angles, rad).

    >>> q = torch.tensor(WALK_REST, dtype=torch.float32)[None]
    >>> AngleMotor()(q)[0, 16:20].tolist()
    [2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, control: str = "muscle"):
        super().__init__()
        if control not in ("muscle", "joint"):
            raise ValueError(f"control is 'muscle' or 'joint', received {control!r}")
        self.control = control
        settings = motor_settings()
        amplitude = np.maximum(settings["spine_swim"], settings["spine_walk"])
        swing = torch.tensor(np.radians(amplitude), dtype=torch.float32)
        self.cocontraction = float(settings["cocontraction"])
        self.register_buffer("tone", STIFFENING * swing / (math.pi / 2 - swing))
        self.register_buffer("rest", torch.tensor(WALK_REST[8:], dtype=torch.float32))
        self.tone: Tensor
        self.rest: Tensor

    def forward(self, q: Tensor) -> Tensor:
        """Actions for joint targets [B, 24], rad."""
        if self.control == "joint":
            return q
        part = (q[:, :8] / (math.pi / 2)).clamp(-0.8, 0.8)
        tone = torch.maximum(self.tone, part.abs() / (1 - part.abs()))
        spine = torch.stack([tone + part * (1 + tone), tone - part * (1 + tone)], 2).clamp(min=0) / 2
        c = self.cocontraction
        pull = (c + MUSCLE_GAMMA) * LIMB_MUSCLE[1] / LIMB_MUSCLE[0] * (q[:, 8:] - self.rest)
        pull = pull.clamp(-c, c)
        limbs = torch.stack([c + pull, c - pull], 2) / 2
        return torch.cat([spine.flatten(1), limbs.flatten(1)], 1)


def make_learned(
    policy: str,
    drive: Schedule | Sequence[Schedule],
    *,
    control: str = "muscle",
    limb_drive: float = 0.0,
    edits: Sequence[Edit] | ClampBoard = (),
    feedback: Callable[[], np.ndarray] | None = None,
) -> NetworkController:
    """A controller from a trained network.

    Args:
        policy: `zoo/NAME`, or a folder written by `scripts/learn_motion.py`.
        drive: descending drive over time; one schedule, or one per world.
        control: "muscle" or "joint".
        limb_drive: offset of the limb centres' drive; +4 asks for swimming at any drive.
        edits: clamps and other edits, or a live board.
        feedback: joint angles [B, 24] (rad) of the body for closed loop; None for open loop.

    Raises:
        ValueError: no such policy, or one for another body.
    """
    from agents.policy_zoo import load_policy

    cell, card = load_policy(policy)
    return NetworkController(
        cell,
        AngleMotor(control),  # type: ignore[arg-type]
        drive,
        limb_drive=limb_drive,
        edits=edits,
        dt=card["dt"],
        feedback=feedback,
        name=f"{card['name']} (learned {card['cell']})",
    )
