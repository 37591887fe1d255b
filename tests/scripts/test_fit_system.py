"""The command that fits any record: what it leaves behind, for systems that it was not made for."""

import json

import numpy as np
import pytest

from rnn.data import Record
from rnn.system import System


def second_order(T, seed, cubic=0.0, inputs=1):
    """A driven, damped spring, integrated finely; its outputs carry 1 % noise."""
    rng = np.random.default_rng(seed)
    u, y = rng.standard_normal((T, inputs)), np.zeros((T, inputs))
    x, v = np.zeros(inputs), np.zeros(inputs)
    gain = np.array([[1.0, 0.3], [-0.4, 0.8]])[:inputs, :inputs]
    for t in range(1, T):
        for k in range(10):
            force = gain @ (u[t - 1] + (u[t] - u[t - 1]) * (k + 0.5) / 10)
            v += 0.01 * (force - np.array([4.0, 9.0])[:inputs] * x - cubic * x**3 - 0.4 * v)
            x += 0.01 * v
        y[t] = x
    return u, y + 0.01 * y.std(0) * rng.standard_normal(y.shape), 0.1


def save(path, record):
    u, y, dt = record
    np.savez(path, u=u, y=y, dt=dt)
    return path


def test_a_nonlinear_spring_is_fitted_from_a_thousand_samples_and_everything_is_written(script, tmp_path):
    module = script("fit_system")
    train, test = (
        save(tmp_path / "a.npz", second_order(1000, 0, 6.0)),
        save(tmp_path / "b.npz", second_order(600, 1, 6.0)),
    )
    out = tmp_path / "out"
    metrics = module.main(module.Args(out=out, train=train, test=test, init_window=20, quiet=True))
    written = json.loads((out / "metrics.json").read_text())
    y = np.load(test)["y"]
    y_hat = np.load(out / "predictions.npz")["y_hat"]
    assert y_hat.shape == y.shape
    assert written["test_rmse"] == pytest.approx(np.sqrt(np.mean((y_hat - y)[20:] ** 2)))
    assert written["test_rmse"] < 0.02 * y.std()
    assert written["test_rmse"] < 0.5 * written["baselines"]["linear_least_squares"]["rmse"]
    assert written["baselines"]["cubic_least_squares"]["rmse"] > 0 and written["seconds_training"] > 0
    assert set(written["k_step_nrmse"]) >= {"1", "10", "100"} and written["prediction_horizon_s"] == pytest.approx(58.0)
    assert {p.name for p in out.iterdir()} == {
        "predictions.npz", "metrics.json", "config.yaml", "system.safetensors", "simulation.png", "k_step.png"
    }  # fmt: skip
    again = System.load(out / "system.safetensors").simulate(Record(np.load(test)["u"], y, 0.1))
    assert np.allclose(again, y_hat) and metrics["test_rmse"] == written["test_rmse"]


def test_two_inputs_and_two_outputs_are_fitted_by_a_linear_model_as_well_as_by_least_squares(script, tmp_path):
    module = script("fit_system")
    train, test = (
        save(tmp_path / "a.npz", second_order(800, 0, inputs=2)),
        save(tmp_path / "b.npz", second_order(400, 1, inputs=2)),
    )
    args = module.Args(out=tmp_path / "out", train=train, test=test, init_window=20, model="linear", quiet=True)
    metrics = module.main(args)
    assert (
        metrics["test_nrmse"] < 0.03
        and metrics["test_nrmse"] < 1.2 * metrics["baselines"]["linear_least_squares"]["nrmse"]
    )


def test_an_unforced_csv_is_foretold_and_the_last_part_is_the_test_by_default(script, tmp_path):
    module = script("fit_system")
    t = np.arange(500) * 0.1
    rng = np.random.default_rng(0)
    x = np.exp(-0.02 * t) * np.cos(2.1 * t) + 0.005 * rng.standard_normal(500)
    np.savetxt(tmp_path / "swing.csv", np.column_stack([t, x]), delimiter=",", header="t,angle", comments="")
    args = module.Args(
        out=tmp_path / "out", train=tmp_path / "swing.csv", outputs=("angle",), time="t", unit="rad", quiet=True
    )
    metrics = module.main(args)
    assert metrics["init_window"] == 10 and metrics["unit"] == "rad"
    assert np.load(tmp_path / "out" / "predictions.npz")["y_hat"].shape == (150, 1)
    assert metrics["test_nrmse"] < 0.1 and metrics["tests"]["test"]["model"]["horizon_is_whole_record"]


def test_sections_in_and_sections_out(script, tmp_path):
    module = script("fit_system")
    u, y, dt = second_order(900, 0)
    np.savez(tmp_path / "a.npz", u_0=u[:400], y_0=y[:400], u_1=u[400:], y_1=y[400:], dt=dt)
    u, y, dt = second_order(400, 3)
    np.savez(tmp_path / "b.npz", u_0=u[:250], y_0=y[:250], u_1=u[250:], y_1=y[250:], dt=dt)
    args = module.Args(
        out=tmp_path / "out", train=tmp_path / "a.npz", test=tmp_path / "b.npz", model="esn", hidden=60,
        init_window=40, quiet=True,
    )  # fmt: skip
    metrics = module.main(args)
    runs = np.load(tmp_path / "out" / "predictions.npz")
    assert {name: runs[name].shape for name in runs} == {"y_hat_0": (250, 1), "y_hat_1": (150, 1)}
    assert metrics["test_nrmse"] < 0.1


def low_pass(T, seed):
    u, y = np.random.default_rng(seed).standard_normal(T), np.zeros(T)
    for t in range(1, T):
        y[t] = 0.8 * y[t - 1] + 0.2 * np.tanh(2 * u[t])
    return u, y, 0.1


@pytest.mark.parametrize(
    ("settings", "optimiser", "samples"),
    [({"hidden": 2, "base": False}, "lm", 300), ({"hidden": 4, "iterations": 80}, "adam", 600)],
)
def test_small_networks_learn_by_least_squares_or_by_so_many_iterations_of_adam(
    script, tmp_path, settings, optimiser, samples
):
    module = script("fit_system")
    train, test = save(tmp_path / "a.npz", low_pass(samples, 0)), save(tmp_path / "b.npz", low_pass(300, 1))
    args = module.Args(
        out=tmp_path / "out", train=train, test=test, init_window=10, model="gru", seconds=300, quiet=True,
        **settings,
    )  # fmt: skip
    metrics = module.main(args)
    assert metrics["found"].get("optimiser", "adam") == optimiser
    assert metrics["found"].get("iterations") == settings.get("iterations")
    assert metrics["test_nrmse"] < (0.2 if optimiser == "lm" else 0.95)
    assert metrics["baselines"]["linear_least_squares"]["nrmse"] > 0.2
    assert np.isfinite(np.load(tmp_path / "out" / "predictions.npz")["y_hat"]).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "grue"}, "unknown cell 'grue'; did you mean gru"),
        ({"init_window": 300}, "no more than the window"),
        ({"train": None}, "give --train FILE"),
        ({"benchmark": "silverbox", "train": None}, "needs --data"),
        ({"benchmark": "goldbox", "data": "."}, "unknown benchmark"),
        ({"model": "gru", "init_window": 290}, "at least 582 are needed"),
        ({"iterations": 50}, "--iterations is for networks"),
        ({"model": "linear", "base": True}, "--base is for networks"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(script, tmp_path, change, told):
    module = script("fit_system")
    path = save(tmp_path / "a.npz", second_order(300, 0))
    settings = {"out": tmp_path / "out", "train": path, "test": path, "quiet": True} | change
    with pytest.raises(ValueError, match=told):
        module.main(module.Args(**settings))
    assert not (tmp_path / "out").exists()


def test_a_missing_benchmark_file_names_the_way_to_get_it(script, tmp_path):
    module = script("fit_system")
    with pytest.raises(FileNotFoundError, match="download_data.py"):
        module.main(module.Args(out=tmp_path / "out", benchmark="silverbox", data=tmp_path, quiet=True))


def test_the_quick_oscillator_reaches_silverbox_to_a_quarter_millivolt(script, data_folder, tmp_path):
    from rnn.identify import identify
    from rnn.metrics import rmse
    from rnn.recordings import load_benchmark

    benchmark = load_benchmark("silverbox", data_folder)
    found = identify("oscillator", benchmark.train, window=50, hidden_size=1, choose=False)
    test = benchmark.tests["multisine"]
    error = rmse(test.y[50:], found.system.simulate(test)[50:])
    assert error < 0.28 and error > 0.2  # far below the noise it would be scored on what it was shown
