"""What the two neuron networks share: names of neurons, connection tables, outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnn.cpg.wiring import SIDES, Couplings, CpgCell

__all__ = ["LIMB_ROLES", "NeuronCell", "stored_parameters"]

OWN_SIDE = -0.5
"""How much of its own side's drive above the mean of both sides a limb centre feels. Small, since the side drives would
otherwise pull left and right limbs out of step; crossed, since the limbs across from the higher drive must step farther
for the animal to turn towards it on land, as it does in water."""

MOTOR_SIDE = 1.5
"""How much of that difference the neurons feel that drive the muscles: side drives bend the body more than they change
its rhythm."""

LIMB_ROLES = ("protractor", "depressor", "retractor", "elevator", "gate")


def stored_parameters(name: str) -> dict[str, Any]:
    """Parameters found by optimisation and stored beside this file, with the command that found them."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


class NeuronCell(CpgCell):
    """A pattern generator made of neurons: `classes` in each segment and side, five neurons in each limb centre.

    Each limb centre is a ring of four neurons (protractor, depressor, retractor, elevator), in which each inhibits
    its opposite and one neighbour, so that activity runs round (the predecessor; with adaptation, whose bursts end by
    escape, the successor); a fifth, the gate, has a high threshold and
    silences the ring at high drive. Limbs inhibit the homologous neurons of the limb across and of the limb on the
    same side, which puts diagonal limbs in phase.

    Neurons are ordered by class, then side, then segment; then limb by limb. The last class is the one that muscles
    receive and is called `body.left`, `body.right`; others are `body.left.A` and so on; `limb.fore.left.protractor`.
    Connections are one tapped quantity, `weight` [1, E], whose groups are also found under `coupling.`, the name they
    have in the phase network: body, body.descending, body.ascending, midbody, contralateral, limb, limb_to_body.
    """

    activity = "activity"

    def __init__(self, segments: int, limbs: Sequence[str], classes: Sequence[str], *, dt: float, substeps: int):
        super().__init__(segments, limbs, dt=dt, substeps=substeps)
        self.classes = tuple(classes)
        self.num_body = 2 * segments * len(self.classes)
        self.num_neurons = self.num_body + len(LIMB_ROLES) * len(self.limbs)
        self.couplings = Couplings()

    def neuron(self, name: str, side: int, segment: int) -> int:
        """Number of a body neuron."""
        return (2 * self.classes.index(name) + side) * self.segments + segment

    def limb_neuron(self, limb: int, role: str) -> int:
        """Number of a limb neuron."""
        return self.num_body + len(LIMB_ROLES) * limb + LIMB_ROLES.index(role)

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        units: dict[str, Sequence[int]] = {}
        for name in (self.classes[-1], *self.classes[:-1]):
            for side, word in enumerate(SIDES):
                first = self.neuron(name, side, 0)
                suffix = "" if name == self.classes[-1] else f".{name}"
                units[f"body.{word}{suffix}"] = range(first, first + self.segments)
        for k, limb in enumerate(self.limbs):
            for role in LIMB_ROLES:
                units[f"limb.{limb}.{role}"] = (self.limb_neuron(k, role),)
        weights = {**self.couplings.groups("weight"), **self.couplings.groups("coupling")}
        return {"input": self.layout.input_groups(), "activity": units, "weight": weights}

    def connect_chain(self, links: Sequence[Sequence[Any]], extent: Sequence[int]) -> None:
        """Repeat a segment's connections along the chain.

        A link (sender class, receiver class, "ipsilateral" | "contralateral", w, rostral, caudal, local = 1) connects
        each segment to itself with weight w local, to the n-th towards the head with w rostral / (n + 1), n up to
        `extent[0]`, and to the n-th towards the tail with w caudal / (n + 1), n up to `extent[1]`.
        """
        for sender, receiver, across, weight, rostral, caudal, *local in links:
            for j in range(self.segments):
                for i in range(max(0, j - extent[0]), min(self.segments, j + extent[1] + 1)):
                    strength = (local or [1.0])[0] if i == j else (caudal if i > j else rostral) / (abs(i - j) + 1)
                    for side in (0, 1):
                        from_side = side if across == "ipsilateral" else 1 - side
                        pair = self.neuron(sender, from_side, j), self.neuron(receiver, side, i)
                        self.couplings.add(*pair, weight * strength, 0.0, *self._body_groups(j, i, across))

    def _body_groups(self, sender: int, receiver: int, across: str) -> list[str]:
        groups = ["contralateral"] if across == "contralateral" else ["ipsilateral"]
        if sender != receiver:
            groups += ["body", "body.descending" if receiver > sender else "body.ascending"]
        middle = self.segments // 2
        return groups + ["midbody"] * ((sender < middle) != (receiver < middle))

    def connect_limbs(self, ring: Mapping[str, float], to_body: Sequence[Sequence[Any]]) -> None:
        """Wire each limb's ring, its gate, the limbs among each other, and each limb to its part of the body.

        `ring` has the (positive) inhibitory weights `opposite`, `previous` or `next`, `gate`, `contralateral` and
        `ipsilateral`; `to_body` rows (role, receiver class, side word, weight).
        """
        cycle = LIMB_ROLES[:4]
        for k in range(len(self.limbs)):
            for p, role in enumerate(cycle):
                sender = self.limb_neuron(k, role)
                for name, step in (("opposite", 2), ("previous", -1), ("next", 1)):
                    if name in ring:
                        receiver = self.limb_neuron(k, cycle[(p + step) % 4])
                        self.couplings.add(sender, receiver, -ring[name], 0.0, "limb_ring")
                self.couplings.add(self.limb_neuron(k, "gate"), sender, -ring["gate"], 0.0, "limb_gate")
                for j in range(len(self.limbs)):
                    same_side = self.layout.limb_side(j) == self.layout.limb_side(k)
                    same_girdle = self.layout.limb_girdle(j) == self.layout.limb_girdle(k)
                    if same_side != same_girdle:
                        weight = ring["ipsilateral" if same_side else "contralateral"]
                        self.couplings.add(sender, self.limb_neuron(j, role), -weight, 0.0, "limb")
            self._connect_to_body(k, to_body)

    def _connect_to_body(self, limb: int, to_body: Sequence[Sequence[Any]]) -> None:
        for role, receiver, across, weight in to_body:
            side = self.layout.limb_side(limb) ^ (across == "contralateral")
            for i in range(self.segments):
                if self.layout.girdle(i) == self.layout.limb_girdle(limb):
                    pair = self.limb_neuron(limb, role), self.neuron(receiver, side, i)
                    self.couplings.add(*pair, weight, 0.0, "limb_to_body")

    def per_neuron(self, body: Mapping[str, float], ring: float, gate: float) -> nn.Parameter:
        """One value per neuron [n] from a value per body class, one for the rings and one for the gates."""
        values = [float(body[name]) for name in self.classes for _ in range(2 * self.segments)]
        for _ in self.limbs:
            values += [float(ring)] * 4 + [float(gate)]
        return nn.Parameter(torch.tensor(values))

    def finish_wiring(self) -> None:
        """Turn the connections collected so far into the parameter `weight` and the map of the drives to neurons."""
        self.weight = nn.Parameter(torch.tensor(self.couplings.weight))
        sender, receiver = torch.tensor(self.couplings.sender), torch.tensor(self.couplings.receiver)
        self.register_buffer("weight_index", sender * self.num_neurons + receiver)
        places, means = (self.layout.drive_weights(mean=mean) for mean in (False, True))
        body, n = places[:, : 2 * self.segments], 2 * self.segments
        limb = means[:, n:] + OWN_SIDE * (places - means)[:, n:]
        motor = means[:, :n] + MOTOR_SIDE * (body - means[:, :n])
        classes = [body] * (len(self.classes) - 1) + [motor]
        drive_map = torch.cat(classes + [limb.repeat_interleave(len(LIMB_ROLES), 1)], 1)
        self.register_buffer("drive_map", drive_map)
        self.weight_index: Tensor
        self.drive_map: Tensor

    def dense(self, weight: Tensor) -> Tensor:
        """Weights [1 or B, E] as a matrix sender by receiver, [n, n] or [B, n, n]."""
        n = self.num_neurons
        matrix = weight.new_zeros(weight.shape[0], n * n).index_add(1, self.weight_index, weight)
        return matrix.view(n, n) if weight.shape[0] == 1 else matrix.view(-1, n, n)

    def drive(self, x: Tensor) -> Tensor:
        """The drive that each neuron's place receives [B, n]."""
        return x[:, : 4 + len(self.limbs)] @ self.drive_map

    def limb_rhythm(self, activity: Tensor) -> Tensor:
        """Protractor minus retractor, then depressor minus elevator, of each limb [B, 2 L]."""
        ring = activity[:, self.num_body :].reshape(activity.shape[0], len(self.limbs), len(LIMB_ROLES))
        return torch.cat((ring[..., 0] - ring[..., 2], ring[..., 1] - ring[..., 3]), 1)

    def first_bias(self) -> Tensor:
        """A small pattern [n] that breaks the symmetry of the first moment: a wave on the body, trotting limbs."""
        S, start = self.segments, []
        for _ in self.classes:
            for side in (0, 1):
                start += [math.cos(math.pi * side - 2 * math.pi * i / S) for i in range(S)]
        for k in range(len(self.limbs)):
            turn = math.pi * (self.layout.limb_side(k) ^ self.layout.limb_girdle(k))
            start += [math.cos(turn - p * math.pi / 2) for p in range(4)] + [0.0]
        return torch.tensor(start)


def propagate(activity: Tensor, matrix: Tensor) -> Tensor:
    """Synaptic input [B, n]: activities times weights, the same for all rows or one matrix per row."""
    if matrix.dim() == 2:
        return activity @ matrix
    return torch.bmm(activity.unsqueeze(1), matrix).squeeze(1)
