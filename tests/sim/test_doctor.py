"""The doctor finds what is wrong, names the remedy, and says so by its exit status."""

import json

import pytest

from sim import doctor
from sim.doctor import Finding
from sim.render import NoGL, open_context


def test_every_remedy_is_named_and_the_count_is_right():
    text = doctor.report(
        [Finding("a", True, "fine"), Finding("b", False, "gone", "install b"), Finding("c", False, "", "x")]
    )
    assert "remedy: install b" in text and text.endswith("2 things to mend.")


@pytest.mark.parametrize("well", [True, False])
def test_exit_status_and_json_agree_with_the_findings(monkeypatch, capsys, well):
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("a", True, "x"), Finding("b", well, "y", "z")])
    status = doctor.main(["--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (status == 0) == well == answer["ok"]
    assert answer["findings"][1] == {"name": "b", "ok": well, "found": "y", "remedy": "z"}


def test_a_package_that_hides_ours_is_found(tmp_path, monkeypatch):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    findings = {finding.name: finding for finding in doctor.check_packages()}
    assert not findings["agents"].ok and "openai-agents" in findings["agents"].remedy
    assert findings["sim"].ok and findings["rnn"].ok


def test_without_opengl_the_debian_packages_are_the_remedy(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    (finding,) = doctor.check_rendering()
    assert not finding.ok and "libegl1 libgl1" in finding.remedy and "MUJOCO_GL" in finding.found


def test_a_crash_of_the_probe_is_a_finding_and_not_a_crash_of_the_doctor(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE", "import os; os.abort()")
    (finding,) = doctor.check_rendering()
    assert not finding.ok and "signal" in finding.found


def test_a_check_that_fails_becomes_a_finding():
    def check_moon() -> list[Finding]:
        raise OSError("no moon")

    (finding,) = doctor.examine([check_moon])
    assert (finding.name, finding.ok) == ("moon", False) and "no moon" in finding.found


def test_missing_ffmpeg_is_found(monkeypatch):
    def none() -> str:
        raise RuntimeError("no ffmpeg was found")

    monkeypatch.setattr("sim.encode.find_ffmpeg", none)
    findings = {finding.name: finding for finding in doctor.check_encoders()}
    assert not findings["ffmpeg"].ok and "apt-get install ffmpeg" in findings["ffmpeg"].remedy and findings["WebP"].ok


def test_what_can_be_imported_here_is_found_well():
    assert all(finding.ok for check in (doctor.check_python, doctor.check_libraries) for finding in check())


@pytest.mark.render
@pytest.mark.xdist_group("gl")
def test_the_backend_that_was_opened_is_named():
    try:
        context, backend = open_context(64, 64)
    except NoGL as error:
        pytest.skip(str(error))
    context.free()
    finding, *_ = doctor.check_rendering()
    assert finding.ok and finding.found.startswith(backend)
