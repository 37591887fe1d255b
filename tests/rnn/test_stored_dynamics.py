"""World models on disk: the same predictions after loading, and none for another body."""

import pytest
import torch

from rnn.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from rnn.dynamics import RecurrentDynamics
from rnn.model_body import BodyMismatch
from rnn.stored_dynamics import load_dynamics, save_dynamics

SHAPE = {"cell": "gru", "hidden": 5}


def newt(body="newt", readings=3, actions=1, **shape):
    torch.manual_seed(0)
    return RecurrentDynamics(readings, actions, body=body, **{**SHAPE, **shape})


@pytest.fixture
def stored(tmp_path):
    model = newt()
    model.fit_scales(torch.randn(20, 4, 3) * 7, torch.randn(19, 4, 1))
    torch.nn.init.normal_(model.readout.weight)
    save_dynamics(tmp_path / "model.safetensors", model, readings=("x", "y", "touch"), **SHAPE)
    return tmp_path / "model.safetensors", model


def test_a_loaded_model_predicts_what_the_stored_one_did(stored):
    path, model = stored
    torch.manual_seed(1)
    other = RecurrentDynamics(3, 1, body="newt", **SHAPE)
    load_dynamics(path, other, readings=["x", "y", "touch"], **SHAPE)
    given = torch.randn(2, 2, 3), torch.randn(9, 2, 1)
    torch.testing.assert_close(other.simulate(*given), model.simulate(*given))


@pytest.mark.parametrize(
    ("asked", "settings", "error", "told"),
    [
        ({"body": "eel"}, {}, BodyMismatch, "trained on 'newt' .*asked about 'eel' .*fit a model of that one"),
        ({"readings": 4}, {}, BodyMismatch, r"3 readings, 1 action\), asked about 'newt' \(4 readings"),
        ({"actions": 2}, {}, BodyMismatch, "1 action.*, asked about 'newt' .*2 actions"),
        ({}, {"readings": ["x", "z", "touch"]}, BodyMismatch, "with other names: y, z; fit a model of 'newt' again"),
        ({}, {"readings": ["y", "x", "touch"]}, BodyMismatch, "in another order"),
        ({"hidden": 6}, {"hidden": 6}, CheckpointError, "hidden=5, received hidden=6; pass its settings"),
        ({"hidden": 6}, {}, CheckpointError, "another model"),
    ],
)
def test_a_model_is_not_given_to_another_body_and_nothing_is_changed(stored, asked, settings, error, told):
    model = newt(**asked)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=told):
        load_dynamics(stored[0], model, **settings)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_written_before_names_were_kept_is_still_told_by_its_sizes(stored, tmp_path):
    tensors, _ = load_checkpoint(stored[0])
    save_checkpoint(tmp_path / "old.safetensors", tensors, {"kind": "dynamics"})
    load_dynamics(tmp_path / "old.safetensors", newt())
    with pytest.raises(BodyMismatch, match="3 readings"):
        load_dynamics(tmp_path / "old.safetensors", newt(readings=5))
    del tensors["obs_scale.mean"]
    save_checkpoint(tmp_path / "old.safetensors", tensors, {"kind": "dynamics"})
    with pytest.raises(CheckpointError, match="no 'obs_scale.mean'"):
        load_dynamics(tmp_path / "old.safetensors", newt())
