"""The report about one network."""

import copy
import json

import pytest
import torch

from agents.imitation import build_cell
from agents.motion import Motion


def test_a_report_shows_the_network_and_its_numbers(script, tmp_path, monkeypatch):
    analyse = script("analyse")
    monkeypatch.setattr(analyse, "ANALYSES", (analyse.overview, analyse.rhythm))
    analyse.main(analyse.Args(policy="phase", out=tmp_path, drives=(4.0,), steps=100))
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == page.count("data:image/png;base64,") == 3
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["Rhythm at drive 4"]["frequency, Hz"] == pytest.approx(0.65 + 0.64 * 4, rel=1e-3)
    assert numbers["Rhythm at drive 4"]["contraction per turn"] < 1


def test_a_network_at_rest_is_analysed_and_said_to_rest(script, tmp_path, monkeypatch):
    analyse = script("analyse")
    monkeypatch.setattr(analyse, "ANALYSES", (analyse.overview, analyse.rhythm))
    analyse.main(analyse.Args(policy="phase", out=tmp_path, drives=(0.5,), steps=100))
    assert "No rhythm" in (tmp_path / "report.html").read_text()


def test_one_failing_analysis_does_not_take_the_others_with_it(script, tmp_path, monkeypatch):
    analyse = script("analyse")

    def broken(network):
        raise FloatingPointError("the state is not finite after 3 steps")
        yield

    monkeypatch.setattr(analyse, "ANALYSES", (broken, analyse.stiffness))
    analyse.main(analyse.Args(policy="phase", out=tmp_path, drives=(4.0,), steps=100))
    page = (tmp_path / "report.html").read_text()
    assert "not finite after 3 steps" in page and "Stiff" in page


def test_every_analysis_of_a_network_without_rhythm_leaves_it_as_it_was(script, tmp_path, monkeypatch):
    analyse = script("analyse")
    torch.manual_seed(0)
    cell = build_cell("lstm", 3, Motion.load("both"))
    cell.readout.requires_grad_(False)
    network = analyse.Subject("small", cell, (4.0,), (), 100)
    monkeypatch.setattr(analyse, "load", lambda args: network)
    monkeypatch.setattr(analyse, "ANALYSES", [a for a in analyse.ANALYSES if a is not analyse.likeness])
    before = copy.deepcopy(cell.state_dict())
    flags = [(p.requires_grad, p.grad) for p in cell.parameters()], cell.training
    analyse.main(analyse.Args(policy="small", out=tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "No rhythm" in page and "Failed" not in page and "What the output rests on" in page
    assert all(torch.equal(value, before[name]) for name, value in cell.state_dict().items())
    assert flags == ([(p.requires_grad, p.grad) for p in cell.parameters()], cell.training)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    told = numbers["What the output rests on"]
    assert told["conservation error of layer-wise relevance"] < 1e-6


def test_a_state_that_is_not_finite_is_named_and_the_report_goes_on(script, tmp_path, monkeypatch):
    analyse = script("analyse")
    cell = build_cell("elman", 3, Motion.load("both"), squash="identity")
    with torch.no_grad():
        cell.core.weight_hh.copy_(30 * torch.eye(3))
        cell.start.fill_(1.0)
    monkeypatch.setattr(analyse, "load", lambda args: analyse.Subject("burst", cell, (4.0,), (), 100))
    monkeypatch.setattr(analyse, "ANALYSES", (analyse.rhythm, analyse.exponents, analyse.memory))
    analyse.main(analyse.Args(policy="burst", out=tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "not finite" in page and "Failed" not in page


def test_an_unknown_policy_is_refused(script, tmp_path):
    analyse = script("analyse")
    with pytest.raises((ValueError, FileNotFoundError)):
        analyse.main(analyse.Args(policy="zoo/nothing-of-this-name", out=tmp_path))


@pytest.mark.slow
def test_the_whole_report_of_the_phase_network(script, tmp_path):
    analyse = script("analyse")
    numbers = analyse.main(analyse.Args(policy="phase", out=tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "Failed" not in page and page.count("<img") >= 18
    assert abs(numbers["Exponents at drive 2"]["largest, 1/s"][0]) < 0.05
    assert numbers["Onset of the rhythm"]["onset"] == pytest.approx(1.0)
