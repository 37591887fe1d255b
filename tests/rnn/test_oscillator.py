"""The oscillator cell against closed forms, a fine integrator and its own plain loop."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from rnn import Clamp, unroll
from rnn.cell import quantities
from rnn.oscillator import OscillatorCell, OscillatorState, damped_flow


def state_of(cell, q, p=0.0, drive=0.0, batch=1):
    full = lambda value: torch.full((batch, cell.hidden_size), value, dtype=torch.float64)
    return OscillatorState(full(q), full(p), full(drive), full(0.0)[:, :0])


@pytest.mark.parametrize("zeta", [0.0, 0.05, 0.999, 1.0, 1.5, 8.0, -0.1])
def test_the_flow_is_the_matrix_exponential_of_the_driven_oscillator(zeta):
    theta, d0, d1, q, p = 0.7, 0.4, -1.1, 0.3, 0.9
    slope = (d1 - d0) / theta
    # augmented linear system in (q, p, d, slope)
    A = np.array([[0, 1, 0, 0], [-1, -2 * zeta, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    truth = expm(A * theta) @ [q, p, d0, slope]
    t = lambda x: torch.tensor(x, dtype=torch.float64)
    ((a, b), (c, d)), f = damped_flow(t(zeta), t(theta))
    found = [a * q + b * p + f[0] * d0 + f[1] * d1, c * q + d * p + f[2] * d0 + f[3] * d1]
    assert [x.item() for x in found] == pytest.approx(truth[:2], abs=1e-4 if zeta == 1.0 else 1e-9)


def test_a_constant_drive_settles_at_the_drive():
    cell = OscillatorCell(1, 1, dt=0.1, frequency=1.0, damping=0.3).double()
    with torch.no_grad():
        cell.weight.fill_(2.0)
        ys, *_ = unroll(cell, torch.full((400, 1, 1), 0.7, dtype=torch.float64))
    assert ys[-1, 0].tolist() == pytest.approx([1.4, 0.0], abs=1e-6)


def duffing(method, substeps, dt=0.05, steps=60):
    cell = OscillatorCell(1, 1, dt=dt, frequency=0.5, damping=0.04, method=method, substeps=substeps).double()
    with torch.no_grad():
        cell.weight.fill_(1.0)
        for name, value in {"k2": 0.2, "k3": 0.5, "d1": 0.05, "d2": 0.1}.items():
            getattr(cell, name).fill_(value)
        xs = torch.sin(torch.arange(1, steps + 1, dtype=torch.float64) * dt * 2.5).reshape(-1, 1, 1)
        return unroll(cell, xs, state_of(cell, 1.0)).outputs[:, 0], xs


@pytest.mark.parametrize("method", ["exact", "symplectic"])
def test_halving_the_substep_quarters_the_error_of_a_driven_duffing_oscillator(method):
    fine, xs = duffing(method, 512)
    omega, dt = math.pi, 0.05
    drive = np.concatenate([[0.0], xs.flatten().numpy()])

    def rhs(t, s):
        d = np.interp(t, np.arange(len(drive)) * dt, drive)
        q, v = s
        f = 0.05 * q + 0.1 * q * q
        return [v, -2 * 0.04 * omega * v - omega**2 * (q + 0.2 * q * q + 0.5 * q**3 - d) - omega * f * v]

    truth = solve_ivp(rhs, [0, 60 * dt], [1.0, 0.0], rtol=1e-10, atol=1e-12, max_step=dt, t_eval=[60 * dt]).y[:, -1]
    assert fine[-1].tolist() == pytest.approx([truth[0], truth[1] / omega], abs=3e-5)
    errors = [(duffing(method, m)[0] - fine).abs().max() for m in (4, 8, 16)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1) and errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_leapfrog_without_damping_keeps_its_energy_for_ten_thousand_steps():
    cell = OscillatorCell(0, 1, dt=0.05, frequency=1.0, damping=0.0, self_exciting=True, friction=False,
                          method="symplectic", substeps=1).double()  # fmt: skip
    with torch.no_grad():
        cell.k3.fill_(0.3)
        ys, *_ = unroll(cell, torch.zeros(10_000, 1, 0, dtype=torch.float64), state_of(cell, 1.0))
    q, p = ys[:, 0, 0], ys[:, 0, 1]
    energy = 0.5 * p**2 + 0.5 * q**2 + 0.25 * 0.3 * q**4
    assert (energy[-500:].mean() - energy[:500].mean()).abs() < 1e-4
    assert energy.max() - energy.min() < 0.02


def test_a_van_der_pol_oscillator_settles_on_a_limit_cycle_of_amplitude_two():
    cell = OscillatorCell(0, 1, dt=0.05, frequency=1 / (2 * math.pi), damping=-0.05, self_exciting=True,
                          spring="linear").double()  # fmt: skip
    with torch.no_grad():
        cell.d2.fill_(0.1)  # q'' - 0.1 (1 - q^2) q' + q = 0
        ys, *_ = unroll(cell, torch.zeros(6000, 1, 0, dtype=torch.float64), state_of(cell, 0.1))
    assert ys[-2000:, 0, 0].max().item() == pytest.approx(2.0, abs=0.01)


def test_a_moving_support_gives_every_input_a_phase_of_its_own():
    """A mass on a spring and a damper whose far ends move: q'' + 2 zeta w (q' - x') + w^2 (q - x) = 0."""
    cell = OscillatorCell(1, 1, dt=0.02, frequency=0.8, damping=0.2, moving=True, substeps=8).double()
    omega, zeta = 0.8 * 2 * math.pi, 0.2
    with torch.no_grad():
        cell.weight.fill_(1.0)
        cell.rate.fill_(2 * zeta)
    forcing = 4.0
    t = torch.arange(1, 2001, dtype=torch.float64) * 0.02
    with torch.no_grad():
        q = unroll(cell, torch.sin(forcing * t).reshape(-1, 1, 1)).outputs[-500:, 0, 0]
    s = 1j * forcing
    gain = (2 * zeta * omega * s + omega**2) / (s * s + 2 * zeta * omega * s + omega**2)
    truth = (gain * torch.exp(s * t[-500:])).imag
    assert (q - truth).abs().max() < 2e-3


def test_the_same_oscillators_at_half_the_sampling_time_give_the_same_motion():
    cell = OscillatorCell(1, 2, dt=0.1, frequency=[0.5, 1.3], damping=0.05, substeps=4).double()
    fast = cell.at(0.05)
    coarse = torch.randn(40, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = torch.cat([torch.zeros_like(coarse[:1]), coarse[:-1]])
    fine = torch.stack([(before + coarse) / 2, coarse], 1).flatten(0, 1)  # the same straight lines between samples
    with torch.no_grad():
        assert torch.allclose(unroll(fast, fine).outputs[1::2], unroll(cell, coarse).outputs, atol=1e-10)
    assert fast.log_omega is cell.log_omega and cell.dt == 0.1


VARIANTS = [
    {}, {"spring": "linear", "friction": False}, {"spring": "learned"}, {"coupled": True}, {"method": "symplectic"},
    {"method": "symplectic", "coupled": True, "spring": "learned"}, {"self_exciting": True, "substeps": 3},
    {"hold": "now", "moving": True}, {"hold": "before", "method": "symplectic"},
]  # fmt: skip


def variant(settings):
    torch.manual_seed(1)
    cell = OscillatorCell(2, 3, dt=0.05, **settings).double()
    with torch.no_grad():
        for name, p in cell.named_parameters():
            if name not in ("log_omega", "raw_zeta"):
                p.add_(0.1 * torch.randn_like(p))
    return cell, torch.randn(30, 4, 2, dtype=torch.float64)


@pytest.mark.parametrize("settings", VARIANTS)
def test_all_steps_at_once_equal_the_plain_loop_in_value_gradient_and_through_resets(settings):
    cell, xs = variant(settings)
    resets = torch.zeros(30, 4, dtype=torch.bool)
    resets[11, 2] = resets[0, 1] = True
    grads = []
    for path in ("loop", "scan"):
        cell.zero_grad()
        run = unroll(cell, xs, resets=resets, path=path, record=("position",))
        (run.outputs.square().sum() + run.state.drive.sum() + run.trace["position"].sum()).backward()
        grads.append((run.outputs.detach(), [p.grad.clone() for p in cell.parameters()]))
    assert torch.allclose(grads[0][0], grads[1][0], atol=1e-12)
    assert all(
        torch.allclose(a, b, atol=1e-9) and b.abs().sum() > 0 for a, b in zip(*(g[1] for g in grads), strict=True)
    )


def test_units_can_be_seen_and_clamped():
    cell, xs = variant({"coupled": True})
    assert quantities(cell) == {"input": 2, "drive": 3, "force": 3, "position": 3, "velocity": 3}
    edit = Clamp("oscillator1", 0.5, steps=slice(5, 20))
    run = unroll(cell, xs, edits=[edit], record=("position", "force"))
    free = unroll(cell, xs)
    assert (run.trace["position"][5:20, :, 1] == 0.5).all()
    assert torch.allclose(run.outputs[:5], free.outputs[:5], atol=1e-12)
    assert (run.outputs[8, :, 0] - free.outputs[8, :, 0]).abs().min() > 0  # the others feel it through the springs


def test_learned_eigenvalues_are_those_of_the_step():
    cell = OscillatorCell(0, 1, dt=0.1, frequency=0.7, damping=0.2, spring="linear", friction=False).double()
    with torch.no_grad():
        columns = [
            cell(torch.zeros(1, 0, dtype=torch.float64), state_of(cell, q, p))[0][0]
            for q, p in ((1.0, 0.0), (0.0, 1.0))
        ]
        truth = torch.linalg.eigvals(torch.stack(columns, 1))
        found = cell.eigenvalues()[0]
    assert found.imag.sort().values.tolist() == pytest.approx(truth.imag.sort().values.tolist(), abs=1e-12)
    assert found.real.tolist() == pytest.approx(truth.real.tolist(), abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"spring": "quintic"}, "springs are"),
        ({"method": "euler"}, "methods are"),
        ({"hold": "after"}, "between samples"),
        ({"dt": 0.0}, "dt > 0"),
        ({"frequency": [1.0, 2.0, 3.0]}, "3 entries for 2"),
        ({"damping": -0.1}, "self_exciting=True"),
    ],
)
def test_impossible_oscillators_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        OscillatorCell(1, 2, **settings)
