"""Learned forces on oscillators, and the pull that keeps their weights of order one."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rnn import unroll
from rnn.model import Model, pack, run_copies
from rnn.optimise import levenberg_marquardt
from rnn.oscillator import OscillatorCell, OscillatorState


def pushed(substeps=2, hold="line", seed=0, oscillators=1, inputs=1, moving=False):
    torch.manual_seed(seed)
    cell = OscillatorCell(inputs, oscillators, dt=0.05, frequency=0.5, damping=0.05, spring="linear", friction=False,
                          forces=5, substeps=substeps, hold=hold, moving=moving).double()  # fmt: skip
    with torch.no_grad():
        cell.weight.fill_(1.0)
        cell.force.V.normal_(std=0.8)
        cell.force.e.normal_()
    return cell


def test_a_new_force_leaves_the_motion_as_it_was():
    torch.manual_seed(0)
    plain = OscillatorCell(1, 2, dt=0.05)
    forced = OscillatorCell(1, 2, dt=0.05, forces=4)
    forced.load_state_dict(plain.state_dict(), strict=False)
    xs = torch.randn(30, 2, 1)
    assert torch.equal(unroll(plain, xs).outputs, unroll(forced, xs).outputs)


def test_halving_the_substep_quarters_the_error_of_a_force_that_feels_place_velocity_and_input():
    xs = torch.sin(torch.arange(1, 61, dtype=torch.float64) * 0.05 * 2.5).reshape(-1, 1, 1)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    runs = {}
    for substeps in (4, 8, 16):
        cell = pushed(substeps)
        runs[substeps] = unroll(cell, xs, OscillatorState(zero + 1.0, zero, zero, zero)).outputs[:, 0].detach()
    drive = np.concatenate([[0.0], xs.flatten().numpy()])
    A, G, e, V = (p.detach().numpy() for p in (cell.force.A, cell.force.G, cell.force.e, cell.force.V))

    def rhs(t, s):
        x = np.interp(t, np.arange(61) * 0.05, drive)
        q, p = s
        force = V @ np.tanh(A @ [q, p] + G @ [x] + e)
        return [math.pi * p, math.pi * (-0.1 * p - (q - x) - force[0])]

    truth = solve_ivp(rhs, [0, 3.0], [1.0, 0.0], rtol=1e-10, atol=1e-12, max_step=0.05, t_eval=[3.0]).y[:, -1]
    errors = [np.abs(runs[m][-1].numpy() - truth).max() for m in (4, 8, 16)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15) and errors[1] / errors[2] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("hold, moving", [("line", False), ("now", False), ("before", False), ("line", True)])
def test_scan_loop_resets_and_stacked_copies_give_the_same_numbers(hold, moving):
    cell = pushed(hold=hold, oscillators=2, inputs=3, moving=moving)
    xs = torch.randn(20, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    resets = torch.zeros(20, 4, dtype=torch.bool)
    resets[7, 1] = resets[12, 3] = True
    runs = [unroll(cell, xs, resets=resets, path=path) for path in ("loop", "scan")]
    assert torch.allclose(runs[0].outputs, runs[1].outputs, atol=1e-12)
    assert torch.allclose(pack(runs[0].state), pack(runs[1].state), atol=1e-12)
    model = Model(cell, 1).double()
    names = [name for name, _ in model.named_parameters()]
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    states = torch.randn(2, 4, pack(cell.initial_state(1)).shape[1], dtype=torch.float64)
    with torch.no_grad():
        copies = run_copies(model, names, theta.repeat(2, 1), xs, states)
        alone = [
            unroll(cell, xs, OscillatorState(*s.split([2, 2, 2, 3 + 2 * moving], 1)), path="loop").outputs
            for s in states
        ]
    assert torch.allclose(copies, torch.stack([model.readout(z, xs) for z in alone], 1), atol=1e-12)


def test_forces_and_the_leapfrog_do_not_go_together():
    with pytest.raises(ValueError, match="between exact steps"):
        OscillatorCell(1, 1, forces=3, method="symplectic")


def test_the_pull_of_least_squares_is_the_ridge_of_the_residuals_own_variance():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(30, 4, dtype=torch.float64, generator=generator)
    y = X @ torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64) + torch.randn(
        30, dtype=torch.float64, generator=generator
    )
    prior = torch.tensor([3.0, 0.0, 10.0, 1.0], dtype=torch.float64)
    residuals = lambda thetas, states, rows: (thetas @ X.T - y)[:, None, :]
    found = levenberg_marquardt(
        residuals, torch.zeros(4, dtype=torch.float64), torch.zeros(1, 0, dtype=torch.float64), free_states=False,
        prior=prior, iterations=200, tolerance=1e-12,
    )  # fmt: skip
    variance = (X @ found.theta - y).square().mean()
    truth = torch.linalg.solve(X.T @ X + variance * torch.diag(prior), X.T @ y)
    assert found.cost == pytest.approx(variance.item()) and torch.allclose(found.theta, truth, atol=1e-4)
