"""Parameters and initial states of a model by least squares of its free-run errors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rnn.data import Sections
from rnn.model import Model, pack, run_copies
from rnn.optimise import LeastSquares, levenberg_marquardt

__all__ = ["counted_steps", "fit_least_squares", "load_theta"]


def counted_steps(mask: Tensor, washout: int) -> Tensor:
    """Steps that count [T, B]: real ones after the washout of their section."""
    if washout == 0:
        return mask
    counted = mask.clone()
    counted[:washout] = False
    return counted


def fit_least_squares(
    model: Model,
    sections: Sections,
    *,
    names: list[str] | None = None,
    states: Tensor | None = None,
    free_states: bool = True,
    washout: int = 0,
    copies: int = 24_000_000,
    prior: dict[str, float] | None = None,
    **options: Any,
) -> LeastSquares:
    """Fit a model's parameters, and one initial state per section, to squared free-run errors by Levenberg-Marquardt.

    The parameters are written into the model.

    Args:
        model: without feedback; best in float64.
        sections: scaled sections.
        names: parameters to fit; None for all that require a gradient, [] for the states alone.
        states: packed initial states to start from [B, S]; None for the model's own.
        free_states: fit the states too.
        washout: steps of each section that do not count.
        copies: numbers of all copies' outputs held at a time; more sections than that are done in turns.
        prior: weights of parameters' squares by the beginning of their names, see `levenberg_marquardt`.
        options: for `levenberg_marquardt`.

    Raises:
        ValueError: residuals that are not finite at the start, or a model with feedback.
    """
    if model.feedback:
        raise ValueError("least squares run the model on its inputs alone; build it with feedback=False")
    us, ys, mask = sections
    if names is None:
        names = [name for name, p in model.named_parameters() if p.requires_grad]
    parameters = [model.get_parameter(name) for name in names]
    theta = torch.cat([p.detach().flatten() for p in parameters]) if parameters else us.new_zeros(0)
    if states is None:
        with torch.no_grad():
            states = pack(model.initial(us, ys))
    counted = counted_steps(mask, washout)
    weight = (counted / counted.double().mean().clamp_min(1e-12)).sqrt().to(us.dtype)

    def residuals(thetas: Tensor, packed: Tensor, rows: slice) -> Tensor:
        out = run_copies(model, names, thetas, us[:, rows], packed)
        error = (out - ys[:, None, rows]) * weight[:, None, rows, None]
        return error.permute(1, 2, 0, 3).flatten(2)

    options.setdefault("numbers", copies)
    if prior and parameters:
        weights = [max((w for k, w in prior.items() if n.startswith(k)), default=0.0) for n in names]
        options["prior"] = torch.cat([
            torch.full((p.numel(),), w, dtype=theta.dtype, device=theta.device)
            for p, w in zip(parameters, weights, strict=True)
        ])  # fmt: skip
    found = levenberg_marquardt(residuals, theta, states, free_states=free_states, **options)
    load_theta(model, names, found.theta)
    return found


def load_theta(model: Model, names: list[str], theta: Tensor) -> None:
    """Write a flat vector of parameters into a model."""
    position = 0
    with torch.no_grad():
        for name in names:
            p = model.get_parameter(name)
            p.copy_(theta[position : position + p.numel()].reshape(p.shape))
            position += p.numel()
