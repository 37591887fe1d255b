"""A fitted system: model, scaling and sampling time together; free runs in the data's unit; saving and loading."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from rnn.data import Record, Scaling
from rnn.fit import fit_least_squares
from rnn.metrics import k_step_errors, k_step_indices
from rnn.model import Model, state_width, unpack
from rnn.models import make_cell

__all__ = ["Blueprint", "System"]

WIDEST_STATE = 256  # numbers; wider initial states are not fitted to the window but warmed up on it


@dataclass(frozen=True)
class Blueprint:
    """How a model is built: the name of a cell and all sizes and settings, as plain data."""

    name: str
    input_size: int
    hidden_size: int
    output_size: int
    cell: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Model:
        """The model, with fresh weights. An unforced system has one input that is always zero."""
        inputs = max(self.input_size, 1) + (self.output_size if self.model.get("feedback") else 0)
        return Model(make_cell(self.name, inputs, self.hidden_size, **self.cell), self.output_size, **self.model)


class System:
    """A model of a system in the data's own units.

    Args:
        model: built from the blueprint.
        blueprint: how.
        scaling: of the training records.
        dt: sampling time of the training records in seconds.
        window: samples of a new record that may be used to find its initial state, if nothing else is said.
    """

    def __init__(self, model: Model, blueprint: Blueprint, scaling: Scaling, dt: float, window: int = 0):
        self.model, self.blueprint, self.scaling, self.dt, self.window = model, blueprint, scaling, dt, window

    def at(self, dt: float) -> System:
        """The same system sampled at another time, for cells that live in continuous time (`cell.at`).

        Raises:
            ValueError: a cell that counts in steps.
        """
        if not hasattr(self.model.cell, "at"):
            raise ValueError(f"a {self.blueprint.name!r} counts in steps of {self.dt:g} s; resample the record to that")
        model = self.blueprint.build().to(next(self.model.parameters()))
        model.load_state_dict(self.model.state_dict())
        model.cell = self.model.cell.at(dt)
        blueprint = Blueprint(**{**asdict(self.blueprint), "cell": {**self.blueprint.cell, "dt": dt}})
        return System(model, blueprint, self.scaling, dt, self.window)

    def simulate(self, record: Record, window: int | None = None) -> np.ndarray:
        """Free run over a record, [T, O] in the data's unit; only the first `window` outputs are looked at.

        Raises:
            ValueError: other channels than the training records, another sampling time, or a record that is shorter
                than the window.
        """
        known = self.window if window is None else window
        self._check(record, known)
        us, ys = self._tensors([self.scaling.scale(record)])
        return self.scaling.unscale(self._run(us, ys[:known])[:, 0].double().cpu().numpy())

    def open_loop(self, record: Record, longest: int = 1000, rollouts: int = 50) -> dict[int, float]:
        """Error k steps ahead over standard deviation, of free runs started all over a record; {} if too short."""
        known = max(self.window, 1)
        longest = min(longest, max(len(record) - known, 0) // 2)
        starts = k_step_indices(len(record), known, rollouts, longest) if longest else np.array([], dtype=int)
        if not len(starts):
            return {}
        scaled = self.scaling.scale(record)
        us, ys = self._tensors([scaled[s - known : s + longest] for s in starts])
        runs = self._run(us, ys[:known])[known:].transpose(0, 1).double().cpu().numpy()
        return k_step_errors(scaled.y, runs, starts, np.ones(scaled.sizes[1]))

    @torch.no_grad()
    def _run(self, us: Tensor, known: Tensor) -> Tensor:
        model = self.model.eval()
        if model.start == "encoder" and len(known) < model.window:
            raise ValueError(f"the model's encoder reads {model.window} samples; allow a window of that many")
        if model.feedback or model.start == "encoder" or not len(known):
            return model(us, ys=known if len(known) else None).outputs
        width = state_width(model.cell)
        if width > WIDEST_STATE:
            return model(us).outputs
        from rnn.data import Sections

        mask = torch.ones(known.shape[:2], dtype=torch.bool, device=us.device)
        found = fit_least_squares(
            model, Sections(us[: len(known)], known, mask), names=[], iterations=30, tolerance=1e-4
        )
        return model(us, unpack(model.cell, found.states)).outputs

    def _tensors(self, records: list[Record]) -> tuple[Tensor, Tensor]:
        home = next(self.model.parameters(), torch.empty(0))
        put = lambda arrays: torch.as_tensor(np.stack(arrays, 1), dtype=home.dtype, device=home.device)
        us, ys = put([r.u for r in records]), put([r.y for r in records])
        return (us if us.shape[-1] else us.new_zeros(*us.shape[:2], 1)), ys

    def _check(self, record: Record, known: int) -> None:
        if abs(record.dt - self.dt) > 1e-3 * self.dt:
            raise ValueError(
                f"{record.name} is sampled every {record.dt:g} s, the system every {self.dt:g} s; resample it, or take "
                "system.at(dt) where the cell has one"
            )
        if len(record) <= known:
            raise ValueError(f"{record.name} has {len(record)} samples, no more than the window of {known}")

    def save(self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> None:
        """Write the system as one safetensors file, atomically."""
        config = {
            "kind": "system", "blueprint": asdict(self.blueprint), "scaling": asdict(self.scaling), "dt": self.dt,
            "window": self.window, "dtype": str(next(self.model.parameters()).dtype), "notes": dict(notes or {}),
        }  # fmt: skip
        save_checkpoint(path, self.model.state_dict(), config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> System:
        """Read a system.

        Raises:
            FileNotFoundError: no such file. CheckpointError: damaged, or not a system.
        """
        tensors, config = load_checkpoint(path, "system")
        try:
            blueprint = Blueprint(**config["blueprint"])
            model = blueprint.build().to(getattr(torch, config["dtype"].removeprefix("torch.")))
            scaling = Scaling(**config["scaling"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{os.path.basename(path)} describes no model of this version: {error}") from error
        load_weights(model, tensors, os.path.basename(path))
        return cls(model, blueprint, scaling, config["dt"], config["window"])
