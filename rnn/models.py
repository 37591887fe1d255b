"""Cells by name, for scripts and command lines."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import Any

from rnn.cell import Cell

__all__ = ["CELLS", "make_cell"]

# name: (module, class or function, settings that make the name true)
CELLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "linear": ("rnn.linear", "LinearCell", {}),
    "elman": ("rnn.elman", "ElmanCell", {}),
    "elman_pre": ("rnn.elman", "PreActivationCell", {}),
    "leaky": ("rnn.elman", "ElmanCell", {"leak": 0.1}),
    "lstm": ("rnn.lstm", "LSTMCell", {}),
    "gru": ("rnn.gru", "GRUCell", {}),
    "minimal": ("rnn.gru", "MinimalCell", {"squash": "tanh"}),
    "orthogonal": ("rnn.orthogonal", "OrthogonalCell", {}),
    "lru": ("rnn.diagonal", "LRUCell", {}),
    "linoss": ("rnn.diagonal", "LinOSSCell", {}),
    "deep_lru": ("rnn.blocks", "deep_lru", {}),
    "deep_linoss": ("rnn.blocks", "deep_linoss", {}),
    "oscillator": ("rnn.oscillator", "OscillatorCell", {}),
    "esn": ("rnn.reservoir", "EchoStateCell", {}),
    "es2n": ("rnn.reservoir", "EdgeOfStabilityCell", {}),
    "frame": ("rnn.stateless", "FrameCell", {}),
    "window": ("rnn.stateless", "WindowCell", {}),
    "convolution": ("rnn.stateless", "ConvolutionCell", {}),
    "linear_attention": ("rnn.attention", "LinearAttentionCell", {}),
    "transformer": ("rnn.attention", "TransformerCell", {}),
}


def make_cell(
    name: str, input_size: int, hidden_size: int, *, layers: int = 1, base: Sequence[int] = (), **settings: Any
) -> Cell:
    """Build a cell by name.

    Args:
        name: one of `CELLS`.
        input_size: I.
        hidden_size: H.
        layers: more than 1 stacks cells of this kind (see `rnn.stack.Stack`); `skip`, `residual` and `norm` then apply.
        base: (states, outputs) of a linear state space that runs beside the cell: the cell hears the input and the
            linear outputs, and gives out those and its own. Its matrices are a fixed part, to be written by whoever
            fitted them (`rnn.identify_networks`); the network has only the rest to learn.
        settings: further settings of the cell.

    Raises:
        ValueError: an unknown name (near matches are listed) or a setting that the cell does not have.

    >>> make_cell("gru", 3, 8).output_size, make_cell("gru", 3, 8, base=(4, 1)).output_size
    (8, 9)
    """
    if name not in CELLS:
        near = difflib.get_close_matches(name, CELLS, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown cell {name!r}; {hint}the cells are {', '.join(CELLS)}")
    module, kind, defaults = CELLS[name]
    cls = getattr(importlib.import_module(module), kind)
    stacking = {key: settings.pop(key) for key in ("skip", "residual", "norm") if key in settings and layers > 1}
    if base:
        from rnn.linear import LinearCell
        from rnn.stack import Stack

        states, outputs = base
        if states < 1 or outputs < 1:
            raise ValueError(f"a base has at least one state and one output, received {tuple(base)}")
        linear = LinearCell(input_size, states, output_size=outputs).requires_grad_(False)
        above = make_cell(name, input_size + outputs, hidden_size, layers=layers, **settings, **stacking)
        return Stack([linear, above], skip=True)
    try:
        if layers == 1:
            return cls(input_size, hidden_size, **{**defaults, **settings})
        from rnn.stack import stack_of

        return stack_of(
            lambda inputs: cls(inputs, hidden_size, **{**defaults, **settings}), input_size, layers, **stacking
        )
    except TypeError as error:
        raise ValueError(f"{name!r} cannot be built with the settings {sorted(settings)}: {error}") from error
