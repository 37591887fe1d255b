"""The benchmark of known systems: they are the systems that they are said to be, and its table says what was run."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def systems():
    return load("known_systems")


@pytest.mark.parametrize("name", ["duffing", "pendulum", "van_der_pol", "tanks", "chain"])
def test_the_integrated_course_is_that_of_an_independent_solver(systems, name):
    system, rng = systems.SYSTEMS[name], np.random.default_rng(0)
    T = 25
    u = system.offset + system.drive * rng.standard_normal((T, system.inputs))
    x = 1e-3 * np.ones(system.states) if name == "duffing" else np.ones(system.states)

    def drive(t):
        k = min(int(t / system.dt), T - 1)
        after = u[k] if system.held else u[min(k + 1, T - 1)]
        return u[k] + (after - u[k]) * (t / system.dt - k)

    found, truth = systems.integrate(system, x, u), [system.output(x, u[0])]
    for k in range(T - 1):  # an input that is held jumps between samples: one solution for each of them
        span = (k * system.dt, (k + 1) * system.dt * (1 - 1e-12))
        x = solve_ivp(lambda t, s: system.rate(s, drive(t)), span, x, rtol=1e-9, atol=1e-12).y[:, -1]
        truth.append(system.output(x, u[k + 1]))
    assert np.abs(found - truth).max() < 1e-4 * np.abs(truth).max()


def test_every_record_has_the_noise_and_the_inputs_that_are_stated_and_never_the_same_twice(systems):
    for name, system in systems.SYSTEMS.items():
        record, noise = systems.measured(name, 120, 0)
        other, _ = systems.measured(name, 120, 1)
        assert record.sizes[0] == system.inputs and not np.allclose(record.y, other.y)
        assert noise.std(0) / (record.y - noise).std(0) == pytest.approx(0.01, rel=0.3)  # 40 dB
        power = np.abs(np.fft.rfft((record.u - record.u.mean(0)) / system.drive, axis=0)) ** 2
        assert power[np.fft.rfftfreq(120) > system.smooth + 1e-9].sum() < 1e-12 * max(power.sum(), 1e-300) + 1e-12


def test_the_table_keeps_older_rows_and_tells_medians_over_seeds(systems, tmp_path, capsys):
    bench = load("records")
    out = tmp_path / "records"
    first = bench.Args(records=("chain",), models=("linear",), seeds=(3,), samples=150, out=out)
    bench.main(first)
    rows = bench.main(bench.Args(records=("chain", "duffing"), models=(), seeds=(4,), samples=150, out=out))
    assert [(row["record"], row["model"], row["seed"]) for row in rows[:3]] == [
        ("chain", "linear least squares", "3"), ("chain", "cubic least squares", "3"), ("chain", "linear", "3")
    ]  # fmt: skip
    assert len(rows) == 7 and list(csv.DictReader(out.with_suffix(".csv").read_text().splitlines())) == rows
    for row in rows:
        assert float(row["floor"]) < float(row["rmse"]) and 0.008 < float(row["nrmse_floor"]) < 0.012
    values = sorted(float(r["nrmse"]) for r in rows if (r["record"], r["model"]) == ("chain", "cubic least squares"))
    line = next(line for line in out.with_suffix(".md").read_text().splitlines() if line.startswith("| chain"))
    assert f"{sum(values) / 2:.4f} ({values[0]:.4f} to {values[1]:.4f})" in line
    with pytest.raises(ValueError, match="unknown record 'duff'"):
        bench.main(bench.Args(records=("duff",), out=out))
