"""A fitted linear state space beside a network, which then has only the rest to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from rnn.data import Record
from rnn.identify_linear import identify_linear
from rnn.model import Model

__all__ = ["base_sizes", "linear_base", "put_base"]

STATES = 6  # of the base at most, or one for each output: a network's state is found from a window together with it
STABLE = 0.9999  # largest modulus per step; a base that grows by itself would have to be held back for ever


def linear_base(records: Sequence[Record], window: int, log: Callable[[str], None] = lambda line: None) -> Model | None:
    """The linear model that simulates the records best (see `identify_linear`); None if it is not stable.

    >>> import numpy as np
    >>> u = np.random.default_rng(0).standard_normal(400)
    >>> y = np.convolve(u, 0.8 ** np.arange(30))[:400]
    >>> linear_base([Record(u, y)], 10).cell.eigenvalues().abs().max().round(decimals=2).item()
    0.8
    """
    model = identify_linear(records, window=window, log=log, most=STATES, samples=20_000)[0].model
    stable = bool(model.cell.eigenvalues().abs().max() < STABLE)
    return model if stable else None


def base_sizes(base: Model | None) -> dict[str, list[int]]:
    """Settings of `rnn.models.make_cell` for a cell upon this base."""
    return {} if base is None else {"base": [base.cell.hidden_size, base.cell.output_size]}


@torch.no_grad()
def put_base(model: Model, base: Model | None) -> Model:
    """Write the base into a model built with `base_sizes`: it then simulates what the base does, its network silent."""
    if base is None:
        return model
    linear, O = model.cell.layers[0], base.cell.output_size
    linear.load_state_dict(base.cell.state_dict())
    model.readout.C.zero_()
    model.readout.C[:, :O] = base.readout.C
    model.readout.b.copy_(base.readout.b)
    return model
