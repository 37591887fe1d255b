"""The report about one network."""

import json

import pytest


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
