"""Is this machine ready? Looks at everything the project needs, and names the remedy for what is missing.

    python -m sim.doctor
    python -m sim.doctor --json

The exit status is 0 when all is well, 1 otherwise.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Finding", "examine", "main", "report"]

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "in the project's folder: make .venv/.done, then use .venv/bin/python"
SLOW_FRAME = 250.0
"""Milliseconds per frame above which a film takes longer than eight times its own duration."""

_PROBE = """
import json, time
import numpy as np
from sim.footage import Footage
from sim.render import RenderedView
from sim.anatomy import LINK_CENTRES, SWIM_REST
qpos = np.tile(np.concatenate([[0, 0, 0, 1, 0, 0, 0], SWIM_REST]), (2, 1))
links = np.tile(np.stack([-0.1 * LINK_CENTRES, 0 * LINK_CENTRES, 0 * LINK_CENTRES], 1), (2, 1, 1))
footage = Footage.load({"time": [0.0, 1.0], "link_positions": links, "qpos": qpos, "world": "pool"})
view = RenderedView(footage, 960, 296)
frame = np.zeros((296, 960, 3), np.uint8)
view.draw(frame, 0.0)
start = time.perf_counter()
for k in range(12):
    view.draw(frame, k / 12)
elapsed = (time.perf_counter() - start) / 12
view.close()
print(json.dumps({"backend": view.backend, "driver": view.driver, "seconds": elapsed,
                  "blank": bool(frame.max() == frame.min())}))
"""

_WHERE = """
import importlib.util, json
found = {}
for name in ("sim", "rnn", "agents"):
    spec = importlib.util.find_spec(name)
    found[name] = None if spec is None else (spec.origin or next(iter(spec.submodule_search_locations), None))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, whether it is well, and what to do if not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def _run(code: str, *options: str, cwd: Path, timeout: float = 180.0) -> tuple[str, str]:
    """Run code in a fresh interpreter, which may crash without harm. Returns its last line, or why it has none."""
    command = [sys.executable, *options, "-c", code]
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "", f"no answer within {timeout:g} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        killed = f"ended by signal {-done.returncode}: " if done.returncode < 0 else ""
        return "", killed + lines[-1].removeprefix("sim.render.NoGL: ")
    return done.stdout.strip().splitlines()[-1], ""


def check_python() -> list[Finding]:
    """Python itself."""
    well = sys.version_info >= (3, 11)
    remedy = "" if well else "install Python 3.11 or newer, then make PYTHON=python3.11 .venv/.done"
    return [Finding("Python", well, f"{platform.python_version()} ({sys.executable})", remedy)]


def check_libraries() -> list[Finding]:
    """The libraries, and the device on which torch computes."""
    findings = []
    for name in ("torch", "mujoco", "gymnasium", "stable-baselines3", "numpy", "scipy", "matplotlib", "pillow"):
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, "not installed", INSTALL))
    if findings[0].ok:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        found = f"{torch.__version__} on {device}, {torch.get_num_threads()} thread(s)"
        findings[0] = Finding("torch", True, found)
    return findings


def check_packages() -> list[Finding]:
    """Whether scripts import this project's `sim`, `rnn` and `agents`, and not another package of such a name."""
    with tempfile.TemporaryDirectory() as elsewhere:
        answer, problem = _run(_WHERE, "-P", cwd=Path(elsewhere))
    if problem:
        return [Finding("packages", False, problem, INSTALL)]
    findings = []
    for name, origin in json.loads(answer).items():
        if origin is None:
            findings.append(Finding(name, False, "not installed", f"pip install -e . {INSTALL}"))
        elif not Path(origin).resolve().is_relative_to(ROOT / name):
            remedy = f"pip uninstall openai-agents (or what else brought {origin}), then {INSTALL}"
            findings.append(Finding(name, False, f"another package hides ours: {origin}", remedy))
        else:
            findings.append(Finding(name, True, "the project's own"))
    return findings


def check_rendering() -> list[Finding]:
    """OpenGL, by rendering the animal in a separate process, since a bad driver can end the process."""
    from sim.render import GL_REMEDY

    answer, problem = _run(_PROBE, cwd=ROOT)
    if problem:
        return [Finding("OpenGL", False, f"{problem}; films are drawn from above instead", GL_REMEDY)]
    probe = json.loads(answer)
    found = f"{probe['backend']}, {probe['driver'] or 'unknown driver'}"
    if probe["blank"]:
        return [Finding("OpenGL", False, f"{found}, but the picture is blank", f"MUJOCO_GL=osmesa, or {GL_REMEDY}")]
    milliseconds = 1000 * probe["seconds"]
    fast = milliseconds < SLOW_FRAME
    remedy = "" if fast else "close other programs, or film with --width 640 --height 360, or --camera drawn"
    return [Finding("OpenGL", True, found), Finding("frame time", fast, f"{milliseconds:.0f} ms at 960 x 296", remedy)]


def check_encoders() -> list[Finding]:
    """What writes the files: ffmpeg for MP4, Pillow for WebP."""
    from PIL import features

    from sim.encode import find_ffmpeg

    findings = []
    try:
        program = find_ffmpeg()
        line = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
        origin = "bundled with imageio-ffmpeg" if "imageio_ffmpeg" in program else program
        findings.append(Finding("ffmpeg", True, f"{' '.join(line.split()[1:3])} ({origin})"))
    except (ImportError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        remedy = "apt-get install ffmpeg, or pip install --force-reinstall imageio-ffmpeg"
        findings.append(Finding("ffmpeg", False, f"{error}", remedy))
    webp = bool(features.check("webp"))
    remedy = "" if webp else "pip install --force-reinstall pillow"
    findings.append(Finding("WebP", webp, "Pillow writes it" if webp else "Pillow was built without it", remedy))
    return findings


def check_threads() -> list[Finding]:
    """Processors and thread pools."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pools = os.environ.get("OMP_NUM_THREADS")
    hint = (
        f"OMP_NUM_THREADS={pools}" if pools else "OMP_NUM_THREADS unset; 1 is faster when worlds are stepped in threads"
    )
    return [Finding("processors", True, f"{cores} usable, {hint}")]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    check_python, check_libraries, check_packages, check_rendering, check_encoders, check_threads,
)  # fmt: skip


def examine(checks: Sequence[Callable[[], list[Finding]]] = CHECKS) -> list[Finding]:
    """Make all checks; one that fails unexpectedly becomes a finding itself."""
    findings = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # a doctor must survive its patient
            name = check.__name__.removeprefix("check_")
            findings.append(Finding(name, False, f"{type(error).__name__}: {error}", INSTALL))
    return findings


def report(findings: Sequence[Finding]) -> str:
    """The findings as text, a remedy under each that is not well.

    >>> print(report([Finding("ffmpeg", False, "not found", "apt-get install ffmpeg")]))
    MISSING  ffmpeg             not found
             remedy: apt-get install ffmpeg
    1 thing to mend.
    """
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.ok else 'MISSING':8s} {finding.name:18s} {finding.found}")
        if not finding.ok:
            lines.append(f"{'':8s} remedy: {finding.remedy}")
    bad = sum(not finding.ok for finding in findings)
    lines.append("All is well." if not bad else f"{bad} thing{'s' if bad > 1 else ''} to mend.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine this machine and print what was found; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.doctor", description="Is this machine ready?")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    as_json = parser.parse_args(arguments).json
    findings = examine()
    well = all(finding.ok for finding in findings)
    if as_json:
        print(json.dumps({"ok": well, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print(report(findings))
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
