"""The loss of a model on sections of records."""

from __future__ import annotations

from typing import Any

import torch

from rnn.data import Sections
from rnn.least_squares import counted_steps
from rnn.model import Model
from rnn.objectives import Objective, reduce_steps, squared_error

__all__ = ["evaluate"]


def evaluate(
    model: Model,
    sections: Sections,
    *,
    objective: Objective = squared_error,
    washout: int = 0,
    loss: str = "simulation",
    window: int = 0,
    reduction: str = "mean",
    state: Any = None,
) -> float:
    """Loss of a model on sections from its own initial state or the given one: free run after `window` known outputs,
    or teacher-forced."""
    training = model.training
    model.eval()
    with torch.no_grad():
        ys = sections.ys if loss == "teacher" else sections.ys[:window] if window else None
        out = model(sections.us, state, ys=ys).outputs
        losses = objective(out, sections.ys)
    model.train(training)
    return float(reduce_steps(losses, counted_steps(sections.mask, washout), reduction))
