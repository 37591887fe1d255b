"""A salamander's pattern generator of leaky-integrator neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Tap, no_tap
from rnn.cpg.neurons import NeuronCell, propagate, stored_parameters
from rnn.cpg.wiring import LIMBS

__all__ = ["LeakyCell", "LeakyState"]


class LeakyState(NamedTuple):
    """Mean membrane potentials and firing rates (0 to 1) of all neurons, each [B, n]."""

    potential: Tensor
    activity: Tensor


class LeakyCell(NeuronCell):
    """Leaky-integrator neurons: a lamprey-like chain for the body, a ring of four per limb.

    Continuous equations, for neuron i with senders j and drive d:

        tau_i m_i' = -m_i + sum_j w_ij x_j + g_i d + k s_i
        x_i        = 1 / (1 + exp(-D (m_i + b_i)))

    s is the stretch of the neuron's segment and side, felt by the first class only. Discrete update (exponential
    Euler), `substeps` times per step with h = dt / substeps:

        m_i <- e_i m_i + (1 - e_i) (sum_j w_ij x_j + g_i d + k s_i),    e_i = exp(-h / tau_i)

    The drive reaches the cord through a relay: it saturates at 4.7, beyond which the rostral segments would fall
    silent, and below 1 a tonic inhibition of all neurons is not lifted, so that the animal rests, as the thresholds of
    the midbrain's locomotor region do. Each segment and side has interneurons A, B, C and a motoneuron M.
    Structure and neurons after "A connectionist
    central pattern generator for the aquatic and terrestrial gaits of a simulated salamander" (Ijspeert, 2001), whose
    weights were never published: these were found by `scripts/evolve_leaky.py`, in the same stages. The gate neuron,
    which silences a limb's ring above drive 3, is an addition: it gives limbs the lower saturation that the paper of
    2007 postulates.

    Taps: input, gain, tau, bias, weight [1, .], tonic, activity (in every substep), potential.

    Args:
        segments: S, segments of the body.
        limbs: names of the limbs; () for none.
        dt: step, s.
        substeps: exponential-Euler steps in one step.
        feedback_gain: k, potential per unit of stretch.
        parameters: numbers as stored by the script; None for the stored ones.

    >>> from rnn.cpg import drive_input
    >>> cell = LeakyCell()
    >>> y, state = cell(drive_input(cell, 4.0), cell.initial_state(1))
    >>> y.shape, state.potential.shape
    (torch.Size([1, 24]), torch.Size([1, 84]))
    """

    def __init__(
        self,
        segments: int = 8,
        limbs: Sequence[str] = LIMBS,
        *,
        dt: float = 0.01,
        substeps: int = 2,
        feedback_gain: float = 0.0,
        parameters: Mapping[str, Any] | None = None,
    ):
        p = parameters or stored_parameters("leaky")
        super().__init__(segments, limbs, p["classes"], dt=dt, substeps=substeps)
        self.connect_chain(p["links"], p["extent"])
        self.connect_limbs(p["ring"], p["to_body"])
        self.finish_wiring()
        ring, gate = p["ring"], p["gate"]
        self.tau = self.per_neuron(p["tau"], ring["tau"], gate["tau"])
        self.bias = self.per_neuron(p["bias"], ring["bias"], gate["bias"])
        self.gain = self.per_neuron(p["gain"], ring["gain"], gate["gain"])
        self.slope = self.per_neuron(dict.fromkeys(self.classes, p["slope"]), p["slope"], gate["slope"])
        self.relay = dict(p["relay"])
        self.feedback_gain = nn.Parameter(torch.tensor(float(feedback_gain)))
        self.body_gain, self.limb_gain = p["output"]["body"], p["output"]["limb"]
        self.register_buffer("start", 0.1 * self.first_bias())
        self.start: Tensor

    def initial_state(self, batch: int) -> LeakyState:
        potential = self.start.expand(batch, -1).clone()
        return LeakyState(potential, torch.sigmoid(self.slope * (potential + self.bias)))

    def forward(self, x: Tensor, state: LeakyState, tap: Tap = no_tap) -> tuple[Tensor, LeakyState]:
        x = tap("input", x)
        gain, tau = tap("gain", self.gain.unsqueeze(0)), tap("tau", self.tau.unsqueeze(0))
        bias, matrix = tap("bias", self.bias.unsqueeze(0)), self.dense(tap("weight", self.weight.unsqueeze(0)))
        stretch = self.stretch(x)
        felt = nn.functional.pad(self.feedback_gain * stretch, (0, self.num_neurons - stretch.shape[1]))
        drive = self.drive(x)
        quiet = self.relay["silence"] * torch.sigmoid(self.relay["slope"] * (self.relay["threshold"] - drive))
        tonic = tap("tonic", gain * drive.clamp(max=self.relay["saturation"]) - quiet + felt)
        keep = torch.exp(-self.dt / self.substeps / tau)
        take, offset = 1 - keep, self.slope * bias
        m, rate = state
        for _ in range(self.substeps):
            m = keep * m + take * (propagate(rate, matrix) + tonic)
            rate = tap("activity", torch.sigmoid(self.slope * m + offset))
        m = tap("potential", m)
        motor = rate[:, self.neuron(self.classes[-1], 0, 0) :][:, : 2 * self.segments]
        y = torch.cat((self.body_gain * motor, self.limb_gain * self.limb_rhythm(rate)), 1)
        return y, LeakyState(m, rate)
