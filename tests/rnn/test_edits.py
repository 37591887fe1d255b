"""Edits are data: they print, travel as JSON, and refuse what they cannot mean."""

import json

import numpy as np
import pytest
import torch

import rnn.cpg
from rnn import (
    Add,
    Clamp,
    EditPlan,
    Lesion,
    Noise,
    Patch,
    Scale,
    edits_from_json,
    edits_to_json,
    parse_edit,
    resolve,
)
from rnn.edits import check_span, shifted


def test_every_edit_survives_json():
    edits = [
        Clamp("h[1]", 0.5, steps=slice(2, 7)),
        Clamp("h", np.array([1.0, np.nan])),
        Add("fast", [[0.1, 0.2]]),
        Scale("h", -1.0, steps=slice(4, None)),
        Lesion("limb.*"),
        Noise("h", std=0.3, seed=7),
        Patch("c", torch.arange(6.0).reshape(3, 2), steps=slice(1, 4)),
    ]
    text = edits_to_json(edits)
    assert "NaN" not in text
    again = edits_from_json(text)
    assert edits_to_json(again) == text
    assert [type(e) for e in again] == [type(e) for e in edits]
    old = torch.zeros(2, 2)
    assert torch.equal(again[1].apply(old, 0), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert torch.equal(again[5].apply(old, 3), edits[5].apply(old, 3))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ('{"kind": "clamp"}', "list of objects"),
        ('[{"kind": "freeze", "address": "h"}]', "unknown kind"),
        ('[{"kind": "clamp", "value": 1}]', "address"),
        ('[{"address": "h", "valu": 1}]', "valu"),
    ],
)
def test_malformed_json_says_what_is_wrong(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        edits_from_json(text)


def test_clamps_are_read_from_the_command_line_in_seconds():
    data = parse_edit("limb.*@4:=0", dt=0.01).describe()
    assert (data["address"], data["start"], data["stop"], data["value"]) == ("limb.*", 400, None, 0.0)
    assert parse_edit("body.left[0:3]=-1e-1", dt=0.01).describe()["value"] == -0.1
    assert parse_edit("drive.left@:2=3", dt=0.02).steps == slice(0, 100)
    for text in ("drive.left", "drive.left@2=3", "@1:2=3", "h@3:2=1", "h=x", "h@-1:2=0"):
        with pytest.raises(ValueError, match="clamp"):
            parse_edit(text, dt=0.01)


def test_an_edit_after_the_end_of_the_run_is_refused():
    with pytest.raises(ValueError, match="run lasts 3 s"):
        check_span([Clamp("h", 0.0, steps=slice(300, 400))], steps=300, dt=0.01)
    check_span([Clamp("h", 0.0, steps=slice(299, 400)), Lesion("h")], steps=300)


def test_shifted_edits_act_later():
    edit = shifted(Clamp("h", 1.0, steps=slice(1, 2)), 10)
    assert [edit.active(t) for t in (1, 11, 12)] == [False, True, False]
    assert json.loads(edits_to_json([edit]))[0]["stop"] == 12


@pytest.mark.parametrize("name", ["LeakyCell", "RateCell", "PhaseCell"])
def test_a_pattern_reaches_each_unit_once_although_groups_share_units(name):
    cell = getattr(rnn.cpg, name)()
    for pattern in ("*", "body*", "body.left*"):
        hit = [(t.quantity, u) for t in resolve(cell, pattern) for u in (t.units or ())]
        assert len(hit) == len(set(hit)) >= 8
    x, state = cell.zeros(1, cell.input_size), cell.initial_state(1)
    plain: dict[str, torch.Tensor] = {}
    added: dict[str, torch.Tensor] = {}
    cell(x, state, EditPlan(cell, record=["input"]).tap(0, plain))
    cell(x, state, EditPlan(cell, [Add("drive*", 1.0)], record=["input"]).tap(0, added))
    difference = added["input"] - plain["input"]
    assert torch.equal(difference.unique(), torch.tensor([0.0, 1.0])[-len(difference.unique()) :])
