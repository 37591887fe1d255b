"""Systems found by name from records: what the automatic choices reach on systems that are known."""

import numpy as np
import pytest
import torch

from rnn.baselines import fit_cubic, fit_linear
from rnn.data import Record
from rnn.identify import identify
from rnn.metrics import nrmse
from rnn.oscillator import OscillatorCell, OscillatorState
from rnn.recordings import load_oscillator
from rnn.system import System

NOISE = 0.01  # of the standard deviation, 40 dB


def two_masses(T, seed):
    """Two masses joined by springs, the first also by a hardening one to the wall; a held force acts on it."""
    rng = np.random.default_rng(seed)
    u, y, dt = 20 * rng.standard_normal((T, 1)), np.zeros((T, 2)), 0.05
    q, v = np.zeros(2), np.zeros(2)
    stiffness = np.array([[40.0, -20.0], [-20.0, 30.0]])
    for t in range(1, T):
        for _ in range(20):
            v = v + dt / 20 * (np.array([u[t - 1, 0] - 30 * q[0] ** 3, 0.0]) - stiffness @ q - 0.4 * v)
            q = q + dt / 20 * v
        y[t] = q
    return Record(u, y + NOISE * y.std(0) * rng.standard_normal(y.shape), dt)


def test_joined_oscillators_reach_the_noise_where_a_nonlinear_spring_moves_both_modes(tmp_path):
    train, test = two_masses(700, 0), two_masses(400, 1)
    found = identify("oscillator", [train], window=40, choose=False, hold="before")
    error = nrmse(test.y[40:], found.system.simulate(test)[40:])
    assert 0.9 * NOISE < error < 1.2 * NOISE
    baselines = [make([train], window=40).simulate(test, 40)[40:] for make in (fit_linear, fit_cubic)]
    assert nrmse(test.y[40:], baselines[0]) > 0.5 and nrmse(test.y[40:], baselines[1]) > 2 * error
    found.system.save(tmp_path / "system.safetensors")
    again = System.load(tmp_path / "system.safetensors")
    assert again.model.cell.coupled and np.allclose(again.simulate(test), found.system.simulate(test))


@pytest.mark.slow
def test_the_joined_springs_and_the_held_drive_are_chosen_without_being_told():
    train, test = two_masses(1000, 2), two_masses(400, 3)
    found = identify("oscillator", [train], window=40)
    assert found.system.model.cell.coupled and found.notes["hold"] == "before"
    assert nrmse(test.y[40:], found.system.simulate(test)[40:]) < 1.3 * NOISE


def slider(T, seed):
    """A mass drawn by a spring over a dry floor: Coulomb friction, which no spring or viscous damper is like."""
    rng, dt = np.random.default_rng(seed), 0.1
    u, y, q, v = 1.5 * rng.standard_normal(T), np.zeros(T), 0.0, 0.0
    for t in range(1, T):
        for _ in range(50):
            v += dt / 50 * (25.0 * (u[t - 1] - q) - 0.8 * v - 8.0 * np.tanh(v / 0.05))
            q += dt / 50 * v
        y[t] = q
    return Record(u, y + NOISE * y.std() * rng.standard_normal(T), dt)


@pytest.mark.slow
def test_a_learned_force_is_chosen_where_friction_is_dry():
    train, test = slider(1000, 0), slider(400, 1)
    found = identify("oscillator", [train], window=40)
    error = nrmse(test.y[40:], found.system.simulate(test)[40:])
    baselines = [make([train], window=40).simulate(test, 40)[40:] for make in (fit_linear, fit_cubic)]
    assert found.notes["forces"] and error < 0.5 * min(nrmse(test.y[40:], hat) for hat in baselines)


@pytest.mark.slow
def test_the_swing_of_a_filmed_pendulum_is_foretold_to_its_end(data_folder):
    train, (test, *_) = load_oscillator("pendulum", data_folder)
    found = identify("oscillator", train, window=10)
    errors = [nrmse(test.y[10:], hat[10:]) for hat in (
        found.system.simulate(test), fit_linear(train, window=10).simulate(test, 10)
    )]  # fmt: skip
    assert errors[0] < 0.06 and errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("name", ["esn", "es2n"])
def test_a_reservoir_that_hears_its_own_outputs_simulates_a_lightly_damped_system(name):
    cell = OscillatorCell(1, 1, dt=0.1, frequency=0.35, damping=0.06, spring="linear", friction=False).double()
    with torch.no_grad():
        cell.weight.fill_(1.0)
    us = torch.randn(900, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        ys, _ = cell.scan(us, OscillatorState(*torch.zeros(3, 1, 1, dtype=torch.float64), torch.zeros(1, 0)))
    record = Record(us[:, 0, 0].numpy(), ys[:, 0, 0].numpy(), 0.1)
    found = identify(name, [record[:600]], window=40, hidden_size=60)
    assert found.notes["feedback"]
    assert nrmse(record.y[640:], found.system.simulate(record[600:])[40:]) < 0.1
