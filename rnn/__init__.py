"""Recurrent systems: cells, unrolling through time, edits of named units, central pattern generators."""

from rnn.board import ClampBoard
from rnn.cell import Cell, Tap, no_tap, quantities, resolve, unit_labels
from rnn.edits import (
    Add,
    Clamp,
    Edit,
    EditPlan,
    Lesion,
    Noise,
    Patch,
    Scale,
    edits_from_json,
    edits_to_json,
    parse_edit,
)
from rnn.unroll import Unrolled, unroll

__all__ = [
    "Add",
    "Cell",
    "Clamp",
    "ClampBoard",
    "Edit",
    "EditPlan",
    "Lesion",
    "Noise",
    "Patch",
    "Scale",
    "Tap",
    "Unrolled",
    "edits_from_json",
    "edits_to_json",
    "no_tap",
    "parse_edit",
    "quantities",
    "resolve",
    "unit_labels",
    "unroll",
]
