"""Checkpoints: whole or not at all, no pickles, and of the right model."""

import errno
import os

import pytest
import torch

from rnn.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint, write_atomically
from rnn.data import Scaling
from rnn.system import Blueprint, System


def system(name="gru", H=4, seed=0):
    torch.manual_seed(seed)
    blueprint = Blueprint(name, 1, H, 1)
    return System(blueprint.build().double(), blueprint, Scaling([0.5], [2.0], [1.0], [3.0]), 0.1, 5)


def test_a_loaded_system_simulates_the_same_numbers(tmp_path):
    import numpy as np

    from rnn.data import Record

    for name in ("gru", "oscillator", "lru"):
        one = system(name)
        one.save(tmp_path / "s.safetensors", {"note": "kept"})
        other = System.load(tmp_path / "s.safetensors")
        rng = np.random.default_rng(0)
        record = Record(rng.standard_normal(40), rng.standard_normal(40), 0.1)
        assert np.array_equal(one.simulate(record), other.simulate(record)) and other.window == 5


def test_a_damaged_or_truncated_file_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    system().save(path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:20], b"", b"\x00" * 100):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match="damaged or truncated"):
            System.load(path)


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "s.safetensors"
    save_checkpoint(path, system("lstm").model.state_dict(), {"kind": "system"})
    tensors, _ = load_checkpoint(path)
    model = system("gru").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="another model.*weight_hh is"):
        load_weights(model, tensors)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(CheckpointError, match="checkpoint of 'system', expected 'training'"):
        load_checkpoint(path, "training")
    with pytest.raises(CheckpointError, match="describes no model"):
        System.load(path)


def test_a_pickle_is_not_loaded(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "s.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "s.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_earlier_file_and_no_debris(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    system(seed=0).save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full; the earlier file is untouched"):
        system(seed=1).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]
    with pytest.raises(OSError, match="nothing was written"):
        write_atomically(tmp_path / "new", b"data")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_the_system_call_of_a_full_disk_is_understood(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "gone")))
    with pytest.raises(OSError, match="the disk is full; nothing was written"):
        write_atomically(tmp_path / "file", b"data" * 10_000)
