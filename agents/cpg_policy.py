"""Pattern generators as policies: oscillators inside a differentiable actor, and gaits of few numbers for evolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from agents.rollout import rollout
from rnn.cell import Cell, Tap, no_tap, scoped
from rnn.cpg import PhaseCell
from rnn.cpg.phase import DriveLaw, Profile
from rnn.cpg.phase_sequence import phase_sequence
from rnn.cpg.wiring import CpgCell, drive_input
from rnn.fused import TooHard

__all__ = ["CpgActor", "CpgActorState", "GaitSpace", "OscillatorGait", "chain_profile", "gait_returns"]


class CpgActorState(NamedTuple):
    cpg: Any


class CpgActor(Cell):
    r"""A pattern generator whose drive and feedback are learned functions of what is sensed.

    .. math::
        d_t = d_0 + W_d x_t, \qquad s_t = W_s x_t, \qquad (y_t, \text{state}) = \text{CPG}(d_t, s_t), \qquad
        o_t = [y_t, x_t]

    Features go past the oscillators to the output as well, so that a linear head behind it makes `a = A y + B x`: with
    B on joint angles and velocities that is a spring and damper about the oscillators' targets. Gradients reach
    frequencies, amplitudes, couplings and phase biases, and W. Taps: `input`, `drive`, then the generator's as `cpg.*`.

    Source of the arrangement: "CPG-Actor" (Campanaro et al., 2021).

    Args:
        input_size: I, number of features.
        cpg: the pattern generator.
        drive: d_0, the drive at the start.
        feedback: scale of random W at the start; 0 for none.

    >>> actor = CpgActor(8, PhaseCell(segments=2, limbs=()))
    >>> y, state = actor(torch.zeros(3, 8), actor.initial_state(3))
    >>> y.shape  # four oscillators and the features
    torch.Size([3, 12])
    """

    sequence_path, sequence_seen = "scan", ()

    def __init__(self, input_size: int, cpg: CpgCell, *, drive: float = 3.0, feedback: float = 0.0):
        super().__init__()
        self.cpg = cpg
        self.input_size, self.output_size = input_size, cpg.output_size + input_size
        self.first_stretch = 4 + len(cpg.limbs)
        self.base = nn.Parameter(drive_input(cpg, drive)[0])
        self.sense = nn.Linear(input_size, cpg.input_size, bias=False)
        nn.init.uniform_(self.sense.weight, -feedback, feedback)

    def initial_state(self, batch: int) -> CpgActorState:
        return CpgActorState(self.cpg.initial_state(batch))

    def drives(self, x: Tensor) -> Tensor:
        """Input of the generator [..., D] for features [..., I]."""
        return self.base + self.sense(x)

    def output(self, y: Tensor, x: Tensor) -> Tensor:
        """What goes on [..., O] of the generator's outputs and the features."""
        return torch.cat([y, x], -1)

    def forward(self, x: Tensor, state: CpgActorState, tap: Tap = no_tap) -> tuple[Tensor, CpgActorState]:
        x = tap("input", x)
        drive = tap("drive", self.drives(x))
        y, inner = self.cpg(drive, state.cpg, scoped(tap, "cpg"))
        return self.output(y, x), CpgActorState(inner)

    def sequence(
        self, xs: Tensor, state: CpgActorState, resets: Tensor | None, fresh: Any, holds: tuple[()] = ()
    ) -> tuple[Tensor, CpgActorState, dict[str, Tensor]]:
        """The whole sequence, where the generator is made of phase oscillators: five to ten times faster on a CPU."""
        if type(self.cpg) is not PhaseCell:
            raise TooHard(f"{type(self.cpg).__name__} has only the loop")
        drive = self.drives(xs)
        ys, inner = phase_sequence(self.cpg, drive, state.cpg, resets, None if fresh is None else fresh.cpg)
        return self.output(ys, xs), CpgActorState(inner), {}


def chain_profile(frequency: float, amplitude: float, coupling: float = 40.0) -> Profile:
    """A chain of oscillators without drive law: constant frequency (Hz) and half-amplitude (rad) at drives up to 10."""
    law = DriveLaw(-10.0, 10.0, 0.0, frequency, 0.0, amplitude)
    return Profile(
        body=law,
        limb=law,
        rate=20.0,
        w_body=coupling,
        w_contralateral=coupling,
        w_limb=coupling,
        w_limb_to_body=0.0,
        lags=0.0,
    )


class Range(NamedTuple):
    """Bounds of a number, and how it is searched: "linear", "log", or "angle" (which wraps)."""

    low: float
    high: float
    scale: str = "linear"


class GaitSpace:
    """Named numbers of a gait and their coding as a vector of the unit cube, wrapped where they are angles.

    >>> space = GaitSpace({"frequency": (Range(0.25, 4.0, "log"), 1)})
    >>> float(space.decode(np.array([[0.5]]))["frequency"][0, 0])
    1.0
    """

    def __init__(self, ranges: Mapping[str, tuple[Range, int]]):
        self.ranges = dict(ranges)
        self.size = sum(count for _, count in self.ranges.values())

    def decode(self, unit: np.ndarray) -> dict[str, np.ndarray]:
        """Numbers [P, count] by name, for vectors [P, D] of the unit cube (others are folded into it)."""
        values, start = {}, 0
        for name, ((low, high, scale), count) in self.ranges.items():
            u = np.asarray(unit)[:, start : start + count]
            u = u % 1.0 if scale == "angle" else np.abs((u + 1.0) % 2.0 - 1.0)
            values[name] = low * (high / low) ** u if scale == "log" else low + (high - low) * u
            start += count
        return values

    def encode(self, values: Mapping[str, Any]) -> np.ndarray:
        """The vector [D] of given numbers."""
        parts = []
        for name, ((low, high, scale), count) in self.ranges.items():
            value = np.broadcast_to(np.asarray(values[name], dtype=float), (count,))
            u = np.log(value / low) / math.log(high / low) if scale == "log" else (value - low) / (high - low)
            parts.append(u)
        return np.concatenate(parts)


class OscillatorGait:
    r"""Joint torques from a chain of coupled phase oscillators and a spring and damper, many gaits side by side.

    .. math::
            \tau_k = k_p (q^*_k - q_k) - k_d \dot q_k, \qquad q^*_k = A_k \cos\theta_k + s \psi

    The oscillators are a `PhaseCell`; each row of the batch runs with its own frequency, amplitudes, lags and feedback
    by what its taps return. Feedback: the joint's own angle, times a gain, is the stretch input of its segment; and the
    body's heading psi, times a gain s, bends all targets, which holds the course.

    Args:
        joints: K.
        dt: control step, s.
        angles: places of the joint angles in an observation.
        velocities: places of the joint velocities.
        heading: place of the heading; None where it is not observed, or not to be used.
        frequency: range of frequencies, Hz.
        feedback: whether joint angles reach the oscillators; without them and without heading it is an oscillator and
            a spring and damper, nothing more.
        phase: whether the first oscillator's phase at the start is a number of the gait too; without it that is 0.

    >>> gait = OscillatorGait(2, 0.04, angles=(1, 2), velocities=(6, 7))
    >>> controller = gait.controller(np.full((5, gait.space.size), 0.5))
    >>> torque, state = controller.act(np.zeros((5, 8)), controller.initial_state(5), step=0, first=np.ones(5, bool))
    >>> torque.shape
    (5, 2)
    """

    def __init__(
        self,
        joints: int,
        dt: float,
        *,
        angles: Sequence[int],
        velocities: Sequence[int],
        heading: int | None = None,
        frequency: tuple[float, float] = (0.2, 3.0),
        feedback: bool = True,
        phase: bool = False,
    ):
        self.joints, self.dt = joints, dt
        self.angles, self.velocities, self.heading = list(angles), list(velocities), heading
        self.space = GaitSpace(
            {
                "frequency": (Range(*frequency, "log"), 1),
                "amplitude": (Range(0.1, 2.2), joints),
                "lag": (Range(-math.pi, math.pi, "angle"), joints - 1),
                "stiffness": (Range(0.2, 20.0, "log"), 1),
                "damping": (Range(0.01, 2.0, "log"), 1),
                **({"feedback": (Range(-5.0, 5.0), 1)} if feedback else {}),
                **({} if heading is None else {"steer": (Range(-1.0, 1.0), 1)}),
                **({"phase": (Range(-math.pi, math.pi, "angle"), 1)} if phase else {}),
            }
        )

    def controller(self, unit: np.ndarray) -> GaitController:
        """An actor for `agents.rollout` with one gait per row of unit vectors [P, D]."""
        return GaitController(self, self.space.decode(np.atleast_2d(unit)))


class GaitController:
    """Runs gaits, one per world."""

    def __init__(self, gait: OscillatorGait, values: Mapping[str, np.ndarray]):
        self.gait = gait
        self.numbers = dict(values)
        self.listens = "feedback" in values
        self.cell = PhaseCell(gait.joints, (), profile=chain_profile(1.0, 0.25), dt=gait.dt, substeps=8)
        self.values = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in values.items()}
        groups = self.cell.groups()
        rows = len(self.values["lag"])
        bias = self.cell.bias.detach().repeat(rows, 1)
        for name, sign in (("bias.body.descending", 1.0), ("bias.body.ascending", -1.0)):
            edges = torch.tensor(groups["bias"][name]).reshape(2, gait.joints - 1)
            for side in edges:
                bias[:, side] = sign * self.values["lag"]
        half = 0.5 * self.values["amplitude"]
        self.replaced = {
            "frequency": self.values["frequency"].expand(-1, 2 * gait.joints),
            "target": torch.cat([half, half], 1),
            "bias": bias,
        }

    def _tap(self, name: str, value: Tensor) -> Tensor:
        return self.replaced.get(name, value)

    def initial_state(self, batch: int) -> Any:
        """Phases that the lags ask for, and full amplitude; phases alone [B, K] of oscillators that hear nothing."""
        behind = np.cumsum(self.numbers["lag"], 1)
        start = np.concatenate([np.zeros((len(behind), 1)), -behind], 1) + self.numbers.get("phase", 0.0)
        if not self.listens:
            return np.broadcast_to(start, (batch, self.gait.joints)).copy()
        front = torch.as_tensor(start, dtype=torch.float32)
        phase = torch.cat([front, front + math.pi], 1)
        phase = torch.remainder(phase + math.pi, 2 * math.pi) - math.pi
        state = self.cell.initial_state(batch)
        return state._replace(
            phase=phase.expand(batch, -1).clone(), amplitude=self.replaced["target"].expand(batch, -1)
        )

    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        gait, obs, values = self.gait, np.asarray(obs), self.numbers
        q, speed = obs[:, gait.angles], obs[:, gait.velocities]
        target, state = self._listen(q, state) if self.listens else self._beat(state)
        if gait.heading is not None:
            target = target + values["steer"] * obs[:, [gait.heading]]
        return np.clip(values["stiffness"] * (target - q) - values["damping"] * speed, -1, 1), state

    def _beat(self, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets [B, K] of oscillators that hear nothing: they start locked and stay so, at one frequency."""
        phase = phase + 2 * math.pi * self.gait.dt * self.numbers["frequency"]
        return self.numbers["amplitude"] * np.cos(phase), phase

    @torch.inference_mode()
    def _listen(self, q: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Targets [B, K] of oscillators that feel their joints."""
        pull = self.values["feedback"] * torch.as_tensor(q, dtype=torch.float32)
        x = torch.cat([torch.ones(len(q), 4), pull, -pull], 1)
        y, state = self.cell(x, state, self._tap)
        return (y[:, : self.gait.joints] - y[:, self.gait.joints :]).numpy(), state


def gait_returns(gait: OscillatorGait, env: Any, unit: np.ndarray, steps: int, *, seed: int) -> np.ndarray:
    """Sums of rewards [B] over the first steps of an episode, one gait per world (or the same in all)."""
    controller = gait.controller(np.broadcast_to(np.atleast_2d(unit), (env.num_envs, gait.space.size)))
    total = np.zeros(env.num_envs)
    for transition in rollout(env, controller, steps, seed=seed):
        total += transition.reward
    return total
