"""A salamander's pattern generator of rate neurons with adaptation and reciprocal inhibition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Tap, no_tap
from rnn.cpg.neurons import NeuronCell, propagate, stored_parameters
from rnn.cpg.wiring import LIMBS

__all__ = ["RateCell", "RateState", "guarded_root"]


class RateState(NamedTuple):
    """Firing rates and adaptations of all neurons [B, n], muscle cells of body [B, 2 S] and limbs [B, 2 L]."""

    activity: Tensor
    adaptation: Tensor
    muscle: Tensor
    limb: Tensor


def guarded_root(x: Tensor, width: float = 0.01) -> Tensor:
    """The gain function S(x) = sqrt(max(x, 0)), with its infinite slope at 0 made finite.

    S(x) = sqrt(x + w) - sqrt(w) for x > 0, whose slope at 0 is 1 / (2 sqrt(w)).

    >>> guarded_root(torch.tensor([-1.0, 0.0, 4.0])).round(decimals=1)
    tensor([0.0000, 0.0000, 1.9000])
    """
    return torch.sqrt(torch.relu(x) + width) - width**0.5


class RateCell(NeuronCell):
    """Rate neurons with adaptation: half-centres of reciprocal inhibition in each segment, a ring of four per limb.

    Continuous equations, for neuron i with senders j, drive d and stretch s of its segment and side:

        tau_i r_i'   = -r_i + S(g_i d + c_i + sum_j w_ij r_j - b a_i + k s_i),    S(x) = sqrt(max(x, 0))
        tau_a,i a_i' = (1 + v_i d) (-a_i + rho r_i)
        m'           = g_m r (1 - m) / tau_ma - m / tau_md          (body)
        tau_l q'     = -q + (difference of opposite ring neurons)   (limbs)

    Discrete update, `substeps` times per step with h = dt / substeps: each equation is solved exactly with what
    enters it held constant (exponential Euler), so adaptation and muscle may be as fast as they like:

        r <- e_i r + (1 - e_i) S(...), e_i = exp(-h/tau_i);   a <- e_a a + (1 - e_a) rho r;   m <- u m + (1 - u) m_inf,
        u = exp(-h (g_m r / tau_ma + 1 / tau_md)),    m_inf = (g_m r / tau_ma) / (g_m r / tau_ma + 1 / tau_md)

    Neuron, adaptation, muscle cell, kernel 1 / (distance + 1) and the steering input as a left/right difference follow
    the zebrafish exercise of the EPFL course "Computational Motor Control" (2024). Departures: each segment and side
    has one rhythm neuron R, one slower interneuron D that passes the burst on to the next segments, and one motoneuron
    M; tau is 10 ms, not 2 ms, whose common mode is too fast for steps of 2.5 ms; drive hastens adaptation (v), without
    which the frequency of such half-centres hardly depends on drive, and reaches the cord through the relay of
    `LeakyCell`. Limb rings after "Mechanisms of frequency and pattern
    control in the neural rhythm generators" (Matsuoka, 1987). Time constants, drive gains and weights were found by
    `scripts/tune_rate.py`.

    Taps: input, gain, bias, tau_a, fatigue (b), weight, muscle_gain (g_m), tau, haste (v) [1, .], tonic, activity (in
    every substep), adaptation, muscle, limb_muscle.

    Args:
        segments: S, segments of the body.
        limbs: names of the limbs; () for none.
        dt: step, s.
        substeps: exponential-Euler steps in one step.
        feedback_gain: k, input per unit of stretch.
        parameters: numbers as stored by the script; None for the stored ones.

    >>> from rnn.cpg import drive_input
    >>> cell = RateCell()
    >>> y, state = cell(drive_input(cell, 4.0), cell.initial_state(1))
    >>> y.shape, state.activity.shape
    (torch.Size([1, 24]), torch.Size([1, 68]))
    """

    def __init__(
        self,
        segments: int = 8,
        limbs: Sequence[str] = LIMBS,
        *,
        dt: float = 0.01,
        substeps: int = 4,
        feedback_gain: float = 0.0,
        parameters: Mapping[str, Any] | None = None,
    ):
        p = parameters or stored_parameters("rate")
        super().__init__(segments, limbs, p["classes"], dt=dt, substeps=substeps)
        self.connect_chain(p["links"], p["extent"])
        self.connect_limbs(p["ring"], p["to_body"])
        self.finish_wiring()
        ring, gate = p["ring"], p["gate"]
        self.gain = self.per_neuron(p["gain"], ring["gain"], gate["gain"])
        self.bias = self.per_neuron(p["bias"], ring["bias"], gate["bias"])
        self.tau_a = self.per_neuron(p["tau_a"], ring["tau_a"], gate["tau_a"])
        self.tau = self.per_neuron(p["tau"], ring["tau"], gate["tau"])
        self.haste = self.per_neuron(p["haste"], ring["haste"], 0.0)
        self.fatigue = self.per_neuron(p["fatigue"], ring["fatigue"], 0.0)
        self.relay = dict(p["relay"])
        self.rho, self.muscle = p["rho"], dict(p["muscle"])
        self.muscle_gain = nn.Parameter(torch.full((2 * segments,), float(self.muscle["gain"])))
        self.feedback_gain = nn.Parameter(torch.tensor(float(feedback_gain)))
        self.limb_tau = p["output"]["limb_tau"]
        self.body_gain, self.limb_gain = p["output"]["body"], p["output"]["limb"]
        self.register_buffer("start", 0.5 * self.first_bias())
        self.start: Tensor

    def initial_state(self, batch: int) -> RateState:
        pattern = self.start.expand(batch, -1)
        still = pattern.new_zeros(batch, self.output_size)
        return RateState(
            pattern.clamp(min=0), (-pattern).clamp(min=0), still[:, self.body_slice], still[:, self.limb_slice]
        )

    def forward(self, x: Tensor, state: RateState, tap: Tap = no_tap) -> tuple[Tensor, RateState]:
        x = tap("input", x)
        gain, bias = tap("gain", self.gain.unsqueeze(0)), tap("bias", self.bias.unsqueeze(0))
        tau_a, fatigue = tap("tau_a", self.tau_a.unsqueeze(0)), tap("fatigue", self.fatigue.unsqueeze(0))
        matrix = self.dense(tap("weight", self.weight.unsqueeze(0)))
        pull = tap("muscle_gain", self.muscle_gain.unsqueeze(0)) / self.muscle["tau_up"]
        stretch = self.stretch(x)
        felt = nn.functional.pad(self.feedback_gain * stretch, (0, self.num_neurons - stretch.shape[1]))
        drive = self.drive(x).clamp(max=self.relay["saturation"])
        quiet = self.relay["silence"] * torch.sigmoid(self.relay["slope"] * (self.relay["threshold"] - drive))
        tonic = tap("tonic", gain * drive + bias - quiet + felt)
        h = self.dt / self.substeps
        keep = torch.exp(-h / tap("tau", self.tau.unsqueeze(0)))
        keep_a = torch.exp(-h / tau_a * (1 + tap("haste", self.haste.unsqueeze(0)) * torch.relu(drive)))
        take_a = self.rho * (1 - keep_a)
        r, a, m, limb = state
        motor = slice(self.neuron(self.classes[-1], 0, 0), self.neuron(self.classes[-1], 0, 0) + 2 * self.segments)
        for _ in range(self.substeps):
            current = propagate(r, matrix) + tonic - fatigue * a
            r = tap("activity", keep * r + (1 - keep) * guarded_root(current))
            a = keep_a * a + take_a * r
            rise = pull * r[:, motor]
            speed = rise + 1 / self.muscle["tau_down"]
            level = rise / speed
            m = level + (m - level) * torch.exp(-h * speed)
        limb = limb + (1 - math.exp(-self.dt / self.limb_tau)) * (self.limb_rhythm(r) - limb)
        a, m, limb = tap("adaptation", a), tap("muscle", m), tap("limb_muscle", limb)
        return torch.cat((self.body_gain * m, self.limb_gain * limb), 1), RateState(r, a, m, limb)
