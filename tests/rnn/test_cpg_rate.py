"""The rate neuron itself: its gain function, adaptation, muscle cell, and the network against an independent solver."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rnn import Lesion, unroll
from rnn.cpg import RateCell, drive_input
from rnn.cpg.neurons import stored_parameters
from rnn.cpg.rate import guarded_root
from rnn.cpg.search import rhythm


def test_the_gain_function_is_a_square_root_with_a_finite_slope_at_zero():
    x = torch.tensor([-3.0, -1e-9, 0.0, 1e-9, 1.0, 100.0], dtype=torch.float64, requires_grad=True)
    y = guarded_root(x, width=0.01)
    y.sum().backward()
    assert y[:3].tolist() == [0.0, 0.0, 0.0]
    assert torch.allclose(y[4:], x[4:].sqrt(), atol=0.11)
    assert x.grad is not None and x.grad.max() <= 5.0 + 1e-9 and x.grad[:2].abs().max() == 0


def alone(**changes):
    """A network whose neurons hear only the drive."""
    cell = RateCell(limbs=()).double()
    with torch.no_grad():
        cell.weight.zero_()
        cell.gain.zero_()
        for name, value in changes.items():
            getattr(cell, name).fill_(value)
    return cell


def test_a_lone_neuron_settles_where_rate_and_adaptation_balance():
    cell = alone(bias=4.0, fatigue=6.0, tau_a=0.1, haste=0.0)
    with torch.no_grad():
        state = unroll(cell, drive_input(cell, 4.0).expand(400, -1, -1)).state
    r = state.activity[0, 0].item()
    assert r == pytest.approx(guarded_root(torch.tensor(4.0 - 6.0 * 0.5 * r, dtype=torch.float64)).item(), rel=1e-4)
    assert state.adaptation[0, 0].item() == pytest.approx(0.5 * r, rel=1e-4)


def test_drive_hastens_adaptation():
    cell = alone(bias=4.0, fatigue=0.0, tau_a=1.0, haste=0.5)
    with torch.no_grad():
        states = unroll(cell, drive_input(cell, torch.tensor([2.0, 4.0])).expand(300, -1, -1), record=("adaptation",))
    course = states.trace["adaptation"][:, :, 0] / (0.5 * guarded_root(torch.tensor(4.0)).item())
    late = torch.log(1 - course[[50, 150]]).diff(dim=0)[0]
    assert late.tolist() == pytest.approx([-2.0, -3.0], rel=0.02)


def test_the_muscle_cell_reaches_the_balance_of_its_equation():
    cell = alone(bias=4.0, fatigue=0.0)
    with torch.no_grad():
        state = unroll(cell, drive_input(cell, 4.0).expand(100, -1, -1)).state
    rise = cell.muscle_gain[0].item() * guarded_root(torch.tensor(4.0)).item() / 0.005
    assert state.muscle[0, 0].item() == pytest.approx(rise / (rise + 1 / 0.02), rel=1e-3)


def test_the_network_follows_its_differential_equations():
    cell = RateCell(substeps=100).double()
    first, n = cell.initial_state(1), cell.num_neurons
    matrix = cell.dense(cell.weight.detach().unsqueeze(0)).numpy()
    names = ("tau", "tau_a", "bias", "gain", "fatigue", "haste")
    tau, tau_a, bias, gain, fatigue, haste = (getattr(cell, k).detach().numpy() for k in names)
    drive = cell.drive(drive_input(cell, 2.0).double())[0].numpy()

    def slope(_, z):
        r, a = z[:n], z[n:]
        current = gain * drive + bias + r @ matrix - fatigue * a
        target = np.sqrt(np.maximum(current, 0) + 0.01) - 0.1
        return np.concatenate([(target - r) / tau, (1 + haste * drive) * (0.5 * r - a) / tau_a])

    start = torch.cat((first.activity, first.adaptation), 1)[0].numpy()
    truth = solve_ivp(slope, (0, 0.2), start, rtol=1e-7, atol=1e-9).y[:, -1]
    with torch.no_grad():
        state = unroll(cell, drive_input(cell, 2.0).expand(20, -1, -1), first).state
    assert torch.allclose(state.activity[0], torch.as_tensor(truth[:n]), atol=0.03)
    assert torch.allclose(state.adaptation[0], torch.as_tensor(truth[n:]), atol=0.01)


def test_without_adaptation_a_half_centre_stops_alternating():
    cell = RateCell(limbs=())
    x = drive_input(cell, 4.0).expand(500, -1, -1)
    with torch.no_grad():
        still = unroll(cell, x, edits=[Lesion("fatigue")]).outputs[250:, 0, :8]
        alternating = unroll(cell, x).outputs[250:, 0, :8]
    assert still.std(0).max() < 0.01 and alternating.std(0).min() > 0.1


def test_the_wave_needs_the_descending_connections():
    cell = RateCell(limbs=())
    with torch.no_grad():
        y = unroll(cell, drive_input(cell, 4.0).expand(600, -1, -1), edits=[Lesion("coupling.body.descending")]).outputs
    y = y[300:, 0].double().numpy()
    amplitude = rhythm(y[:, :8] - y[:, 8:])[1]
    free = np.angle(amplitude[:-1] / amplitude[1:]) / (2 * math.pi)
    assert abs(free.sum() - 0.8) > 0.05 or np.ptp(free) > 0.15


def test_stored_numbers_say_how_they_were_found():
    stored = stored_parameters("rate")
    assert "tune_rate.py" in stored["command"]
    assert stored["rho"] == 0.5 and stored["muscle"]["tau_up"] == 0.005 and stored["muscle"]["tau_down"] == 0.02
