"""Does an exported step give torch's numbers? One that does not in single precision is written in double."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.export import CellStep, DoubleStep, PolicyStep, Step, export_numpy, export_onnx, step_inputs
from agents.numpy_runner import NumpyRunner

__all__ = ["BOUND", "Parity", "course", "export_checked", "probes", "run_onnx"]

BOUND = 1e-5
"""Largest difference of an output that passes."""


class Parity(NamedTuple):
    """What was written, and how far it is from torch.

    Attributes:
        precision: "single" or "double", of the arithmetic in the file.
        difference: largest difference of outputs from torch's in the same precision; nan if either gave nan.
        holds: whether that is within the bound.
    """

    precision: str
    difference: float
    holds: bool


def export_checked(
    step: CellStep | PolicyStep,
    path: str | os.PathLike[str],
    form: str,
    *,
    xs: Tensor | None = None,
    precision: str = "auto",
    bound: float = BOUND,
) -> Parity:
    """Write a step and run what was written beside torch, from the same fresh state over the same inputs.

    Torch runs the step in the precision of the file: `step` itself, or `DoubleStep(step)`. How far these two are from
    each other is torch's own rounding, which no file can undo.

    Args:
        step: what is exported.
        path: an ONNX file, or a folder for the numpy runner.
        form: "onnx" or "numpy".
        xs: inputs [T, I]; None for 200 steps of `probes`.
        precision: "single", "double", or "auto": double if single misses the bound.
        bound: largest difference that passes.

    Raises:
        ValueError: an unknown form or precision.
        ImportError: ONNX is asked for and its packages are missing.

    >>> import tempfile
    >>> from rnn.models import make_cell
    >>> export_checked(CellStep(make_cell("gru", 2, 4)), tempfile.mkdtemp(), "numpy").precision
    'single'
    """
    if form not in ("onnx", "numpy"):
        raise ValueError(f"form is 'onnx' or 'numpy', received {form!r}")
    if precision not in ("auto", "single", "double"):
        raise ValueError(f"precision is 'auto', 'single' or 'double', received {precision!r}")
    xs = probes(step) if xs is None else xs
    for now in ("single", "double") if precision == "auto" else (precision,):
        written = step if now == "single" else DoubleStep(step)
        if form == "onnx":
            ours = run_onnx(export_onnx(written, path), written, xs)
        else:
            runner = NumpyRunner(export_numpy(written, path))
            ours = np.array([runner(x.numpy()) for x in xs])
        difference = float(np.abs(ours.astype(float) - course(written, xs)).max())
        if difference <= bound:
            return Parity(now, difference, True)
    return Parity(now, difference, False)


def probes(step: CellStep | PolicyStep, steps: int = 200) -> Tensor:
    """Normal numbers [T, I], for a policy about the mean and of the deviation of the observations it has seen."""
    xs = torch.randn(steps, step.inputs, generator=torch.Generator().manual_seed(0))
    scale = step.policy.scale if isinstance(step, PolicyStep) else None
    return xs if scale is None else scale.mean + xs * scale.var.sqrt()


@torch.no_grad()
def course(step: Step, xs: Tensor) -> np.ndarray:
    """Outputs [T, O] in torch over inputs [T, I], the state carried by hand."""
    _, *state = step_inputs(step)
    outputs = []
    for x in xs:
        y, *state = step(x[None], *state)
        outputs.append(y[0].numpy())
    return np.array(outputs)


def run_onnx(file: Path, step: Step, xs: Tensor) -> np.ndarray:
    """Outputs [T, O] of an ONNX file of the step in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    names, outputs = [i.name for i in session.get_inputs()], []
    state = [part.numpy() for part in step_inputs(step)[1:]]
    for x in xs:
        y, *state = session.run(None, dict(zip(names, [x[None].numpy(), *state], strict=True)))
        outputs.append(y[0])
    return np.array(outputs)
