"""What a rollout of the salamander leaves behind: time, body, neurons and edits, world by world."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.controller import NetworkController, clamped_mask
from rnn.edits import edits_to_json
from sim.anatomy import JOINT_NAMES

__all__ = ["Recorder"]

_MEASURES = {
    "joint_angles": "joint_angles",
    "link_positions": "link_positions",
    "foot_positions": "foot_positions",
    "foot_contact": "foot_contact",
    "heading": "heading",
    "submerged": "submerged",
    "power": "muscle_power",
    "uprightness": "uprightness",
    "qpos": "qpos",
}


class Recorder:
    """Collects the named measurements of a simulation and the neurons of its controller, step by step.

    Args:
        salamander: the batched simulation (`sim.salamander.Salamander`).
        controller: the network that drives it; None when something else does.
        neurons: keep the neurons (can be switched off for wide sweeps).
    """

    def __init__(self, salamander: Any, controller: NetworkController | None = None, *, neurons: bool = True):
        self.salamander, self.controller = salamander, controller
        self.keep_neurons = neurons and controller is not None
        self.columns: dict[str, list[np.ndarray]] = {name: [] for name in (*_MEASURES, "neurons")}
        self.diverged = np.zeros(salamander.num_worlds, dtype=bool)
        self.interrupted = False

    def __len__(self) -> int:
        return len(self.columns["heading"])

    def record(self) -> None:
        """Take down the present moment; to be called once after every control step."""
        for name, method in _MEASURES.items():
            value = np.asarray(getattr(self.salamander, method)())
            self.columns[name].append(value.astype(np.float32) if value.dtype == np.float64 else value.copy())
        self.diverged |= self.salamander.diverged
        if self.keep_neurons and self.controller is not None and self.controller.neurons is not None:
            self.columns["neurons"].append(self.controller.neurons.numpy().astype(np.float32))

    def traces(self, world: int = 0) -> dict[str, Any]:
        """The traces of one world, as written to `traces.npz`."""
        steps, body = len(self), self.salamander
        data: dict[str, Any] = {
            name: np.stack([row[world] for row in rows]) for name, rows in self.columns.items() if rows
        }
        data["time"] = (np.arange(steps) + 1) * body.dt
        data["joint_names"] = np.array(JOINT_NAMES)
        data["length"], data["mass"] = float(body.length), float(body.mass)
        data["control_period"], data["world"] = float(body.dt), body.world
        if self.controller is not None:
            data["controller"] = self.controller.name
            edits = self.controller.edits()
            data["edits"] = edits_to_json(edits)
            if "neurons" in data:
                data["neuron_names"] = np.array(self.controller.neuron_names)
                data["clamped"] = clamped_mask(self.controller.cell, edits, steps)
                drive = [i for i, name in enumerate(self.controller.neuron_names) if name.startswith("drive.")]
                data["drive"] = data["neurons"][:, drive[:4]]
        return data
