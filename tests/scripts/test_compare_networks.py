"""Distances between networks: none to oneself through other units, larger ones to other rhythms and to noise."""

import csv

import pytest
import torch


def test_a_network_is_near_itself_rotated_and_far_from_its_controls(script, tmp_path):
    module = script("compare_networks")
    args = module.Args(policies=("phase", "rate"), rows=4, steps=200, rank=4, out=tmp_path)
    told = module.main(args)
    near = told["phase to itself rotated"]
    assert near < 0.02
    assert told["phase to itself twice as fast"] > 10 * near and told["phase to itself shuffled"] > 1.0
    assert near < told["between kinds"] < told["phase to itself shuffled"]
    with (tmp_path / "distances.csv").open() as file:
        names, *rows = list(csv.reader(file))
    matrix = torch.tensor([[float(value) for value in row[1:]] for row in rows])
    assert names[1:3] == ["phase", "rate"] and torch.equal(matrix, matrix.T) and (matrix.diagonal() == 0).all()
    assert (tmp_path / "distances.png").stat().st_size > 10_000


def test_networks_trained_for_the_comparison_are_kept(script, tmp_path, monkeypatch):
    module = script("compare_networks")
    args = module.Args(hidden=4, iterations=2)
    first = module.trained(tmp_path / "gru_0", "gru", 0, args)
    monkeypatch.setattr(module, "imitate", lambda *a: pytest.fail("trained again"))
    again = module.trained(tmp_path / "gru_0", "gru", 0, args)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_networks_at_rest_are_left_out_and_too_few_are_refused(script, tmp_path, capsys):
    module = script("compare_networks")
    with pytest.raises(ValueError, match="two networks with a rhythm"):
        module.main(module.Args(policies=("phase", "rate"), drive=0.2, steps=120, rows=2, out=tmp_path))
    assert "rate has no rhythm" in capsys.readouterr().out


def test_distances_are_told_within_and_between_kinds(script):
    module = script("compare_networks")
    names = ["a", "b", "c", "a, rotated", "a, twice as fast", "a, shuffled"]
    matrix = torch.arange(36.0).reshape(6, 6).numpy()
    told = module.summary(names, matrix, ["GRU", "GRU", "LSTM", "", "", ""])
    assert (
        told["GRU: between networks of this kind"] == matrix[1, 0] and "LSTM: between networks of this kind" not in told
    )
    assert told["between kinds"] == (matrix[2, 0] + matrix[2, 1]) / 2 and told["a to itself shuffled"] == matrix[0, 5]
