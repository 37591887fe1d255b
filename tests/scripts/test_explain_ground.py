"""Relevance lies where the evidence was put, and nothing of the score goes missing."""

import numpy as np
import pytest
import torch

from rnn.analysis.relevance import Relevance


def test_relevance_lies_in_the_window_and_the_joint_where_evidence_was_planted(script, tmp_path, monkeypatch):
    module = script("explain_ground")

    def invented(args):
        rng = np.random.default_rng(0)
        walks = {world: rng.normal(0, 0.1, (60, 6, 24)).astype(np.float32) for world in args.grounds}
        walks["pool"][..., 5] += 1.0
        return walks

    monkeypatch.setattr(module, "walks", invented)
    args = module.Args(animals=6, cells=("gru",), hidden=12, updates=140, noise=0.1, out=tmp_path)
    told = module.main(args)
    for cell in args.cells:
        assert told[f"{cell}: unseen windows told apart"] > 0.95
        assert told[f"{cell}: conservation error of layer-wise relevance"] < 1e-6
        assert told[f"{cell}, layer-wise: strongest in the window"] > 0.7
        assert told[f"{cell}, layer-wise: relevance in the window"] > 1.5 * module.WINDOW / module.STEPS
    values = np.load(tmp_path / "relevance.npz")["gru, layer-wise"][1]
    assert np.abs(values).sum(1).argmax() == 5, "of 24 joints, the one that tells"
    assert (tmp_path / "relevance.png").stat().st_size > 20_000


def test_shares_are_counted_where_the_window_is(script):
    module = script("explain_ground")
    inputs = torch.zeros(module.STEPS, 2, 1)
    inputs[10:14, 0], inputs[30:34, 0], inputs[20, 1] = 1.0, 0.5, -1.0
    found = Relevance(inputs, torch.zeros(2), torch.zeros(2), "")
    share, peak = module.inside(found, torch.tensor([5, 5]), torch.tensor([True, False]))
    assert share == pytest.approx(2 / 3) and peak == 1.0


def test_a_window_comes_from_its_ground_and_the_rest_from_the_first(script):
    module = script("explain_ground")
    angles = torch.arange(3.0)[:, None, None, None].expand(3, 80, 4, 2)
    xs, label, start = module.spliced(angles, 12, 0)
    assert xs.shape == (module.STEPS, 12, 2) and label.tolist() == [0, 1, 2] * 4
    for b in range(12):
        window = slice(int(start[b]), int(start[b]) + module.WINDOW)
        assert (xs[window, b] == label[b]).all() and xs[:, b].sum() == 2 * module.WINDOW * label[b]
