"""The leaky-integrator neuron itself: closed forms, and the whole network against an independent solver."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from rnn import Clamp, unroll
from rnn.cpg import LeakyCell, drive_input
from rnn.cpg.neurons import stored_parameters


def test_a_neuron_without_inputs_relaxes_with_its_time_constant():
    cell = LeakyCell(limbs=()).double()
    with torch.no_grad():
        cell.weight.zero_()
        cell.gain.zero_()
        cell.relay["silence"] = 0.0
    first = cell.initial_state(1)
    state = unroll(cell, drive_input(cell, 4.0).expand(10, -1, -1), first).state
    expected = first.potential * torch.exp(-0.1 / cell.tau)
    assert torch.allclose(state.potential, expected, atol=1e-12)


def test_the_rate_rises_with_the_potential_and_is_one_half_at_minus_the_bias():
    cell = LeakyCell()
    unit = cell.neuron("A", 0, 2)
    with torch.no_grad():
        cell.tau[unit], cell.gain[unit] = 1e9, 0.0
        cell.weight[:] = 0.0
    first = cell.initial_state(3)
    first.potential[:, unit] = -cell.bias[unit].detach() + torch.tensor([-2.0, 0.0, 2.0])
    rates = cell(drive_input(cell, 4.0, batch=3), first)[1].activity[:, unit]
    assert rates.tolist() == pytest.approx([1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-2))], abs=1e-4)


def test_the_network_follows_its_differential_equations():
    cell = LeakyCell(substeps=400).double()
    first = cell.initial_state(1)
    matrix = cell.dense(cell.weight.detach().unsqueeze(0)).numpy()
    tau, bias, slope, gain = (getattr(cell, k).detach().numpy() for k in ("tau", "bias", "slope", "gain"))
    drive = cell.drive(drive_input(cell, 2.0).double())[0].numpy()

    def slope_of(_, m):
        rate = 1 / (1 + torch.exp(torch.as_tensor(-slope * (m + bias))).numpy())
        return (-m + rate @ matrix + gain * drive) / tau

    truth = solve_ivp(slope_of, (0, 0.3), first.potential[0].numpy(), rtol=1e-7, atol=1e-9).y[:, -1]
    with torch.no_grad():
        ours = unroll(cell, drive_input(cell, 2.0).expand(30, -1, -1), first).state.potential[0]
    assert (ours - torch.as_tensor(truth)).abs().max() < 0.01 * abs(truth).max()


def test_the_gate_opens_only_above_drive_3_and_silences_its_own_ring():
    cell = LeakyCell()
    x = drive_input(cell, torch.tensor([2.8, 3.3, 2.8])).expand(300, -1, -1)
    gate = Clamp("limb.fore.left.gate", torch.tensor([math.nan, math.nan, 1.0]))
    with torch.no_grad():
        trace = unroll(cell, x, edits=[gate], record=("limb.*.gate", "limb.fore.left.*", "limb.hind.left.*")).trace
    assert (trace["limb.*.gate"][-1] > 0.5).tolist() == [[False] * 4, [True] * 4, [True, False, False, False]]
    swing = trace["limb.fore.left.*"][100:, :, :4].amax(0).amax(1)
    assert swing[0] > 0.5 and swing[1:].max() < 0.01
    assert trace["limb.hind.left.*"][100:, 2, :4].max() > 0.5


def test_stored_numbers_say_how_they_were_found_and_connect_as_they_say():
    stored = stored_parameters("leaky")
    assert "evolve_leaky.py" in stored["command"]
    cell = LeakyCell(parameters=stored)
    matrix = cell.dense(cell.weight.detach().unsqueeze(0))
    for sender, receiver, across, weight, rostral, caudal in (link[:6] for link in stored["links"]):
        side = 0 if across == "ipsilateral" else 1
        j = cell.neuron(sender, 0, 4)
        local, up, down = (matrix[j, cell.neuron(receiver, side, i)].item() for i in (4, 3, 5))
        assert [local, up, down] == pytest.approx([weight, weight * rostral / 2, weight * caudal / 2], rel=1e-5)
    with pytest.raises(ValueError, match="substeps"):
        LeakyCell(substeps=0)
