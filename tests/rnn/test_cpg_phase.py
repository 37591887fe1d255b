"""The phase-oscillator network against its published table, its symmetries, and what edits must do to it."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rnn import Clamp, Lesion, Scale, unroll
from rnn.cpg import PhaseCell, drive_input
from rnn.cpg.phase import ROBOT
from rnn.cpg.wiring import Layout

TABLE = {  # drive: body nu Hz, body R rad, limb nu Hz, limb R rad (table S1 of the 2007 paper, evaluated)
    0.9: (0, 0, 0, 0),
    1.0: (0.5, 0.261, 0.2, 0.262),
    2.0: (0.7, 0.326, 0.4, 0.393),
    3.0: (0.9, 0.391, 0.6, 0.524),
    4.0: (1.1, 0.456, 0, 0),
    5.0: (1.3, 0.521, 0, 0),
    5.1: (0, 0, 0, 0),
}


def run(cell, seconds, left, right=None, limb=0.0, **options):
    batch = torch.as_tensor(left).numel()
    x = drive_input(cell, left, right, limb, batch=batch).expand(round(seconds / cell.dt), -1, -1)
    with torch.no_grad():
        return unroll(cell, x, **options)


def turn(phase):
    """Angle wrapped to (-0.5, 0.5] cycles."""
    return torch.remainder(phase / (2 * math.pi) + 0.5, 1) - 0.5


def hertz(phase, dt=0.01):
    return (turn(phase.diff(dim=0)) / dt).mean(0)


def test_the_robot_reproduces_the_published_drive_table_to_three_digits():
    cell = PhaseCell(profile="robot")
    result = run(cell, 3.0, torch.tensor(list(TABLE)), record=("frequency", "amplitude"))
    body, limb = 3, 17
    for row, expected in enumerate(TABLE.values()):
        nu, R = result.trace["frequency"][-1, row], result.trace["amplitude"][-1, row]
        assert [nu[body].item(), R[body].item(), nu[limb].item(), R[limb].item()] == pytest.approx(expected, abs=5e-4)


def test_phases_advance_at_the_table_frequency_and_the_whole_animal_walks_at_the_limbs_frequency():
    cell = PhaseCell(profile="robot")
    phase = run(cell, 12.0, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), record=("phase",)).trace["phase"][-400:]
    expected = torch.tensor([0.2, 0.4, 0.6, 1.1, 1.3])
    assert torch.allclose(hertz(phase)[:, :16], expected[:, None].expand(-1, 16), atol=1e-3)


def test_limbs_switch_off_just_above_drive_3_and_frequency_jumps_up():
    cell = PhaseCell(profile="robot")
    state = run(cell, 10.0, torch.tensor([3.0, 3.001])).state
    later = run(cell, 2.0, torch.tensor([3.0, 3.001]), state=state, record=("phase", "amplitude"))
    assert torch.all(later.trace["amplitude"][-1, 0, 16:] > 0.5)
    assert torch.all(later.trace["amplitude"][-1, 1, 16:] < 1e-3)
    walk, swim = hertz(later.trace["phase"])[:, 0].tolist()
    assert walk == pytest.approx(0.6, abs=1e-3) and swim == pytest.approx(0.9, abs=2e-3)


def test_random_phases_converge_to_one_eighth_of_a_cycle_per_segment_with_sides_in_antiphase():
    cell = PhaseCell(profile="robot", random_phases=True, seed=3)
    phase = run(cell, 15.0, torch.full((16,), 4.0)).state.phase
    lags = turn(phase[:, :7] - phase[:, 1:8])
    settled = (lags - 0.125).abs().amax(1) < 1e-3
    assert settled.float().mean() > 0.8
    assert (turn(phase[:, :8] - phase[:, 8:16]).abs() - 0.5).abs()[settled].max() < 1e-3


def test_walking_is_a_standing_wave_with_diagonal_limbs_in_phase():
    phase = run(PhaseCell(random_phases=True, seed=1), 20.0, [2.0]).state.phase[0]
    assert turn(phase[16:] - phase[16]).abs().tolist() == pytest.approx([0, 0.5, 0.5, 0], abs=1e-3)
    body = phase[:8]
    trunk, tail = body[:4], body[4:]
    between = torch.angle(torch.polar(torch.ones(4), trunk).mean() / torch.polar(torch.ones(4), tail).mean())
    assert abs(between) / (2 * math.pi) > 0.4
    assert turn(trunk - trunk[0]).abs().max() < 0.13 and turn(tail - tail[0]).abs().max() < 0.13


def test_the_newt_swims_with_the_recorded_lags_at_the_recorded_frequencies():
    cell = PhaseCell(random_phases=True)
    result = run(cell, 8.0, torch.tensor([3.0, 4.0, 5.0]), limb=4.0, record=("phase",))
    lags = turn(result.state.phase[:, :7] - result.state.phase[:, 1:8])
    assert torch.allclose(lags, torch.tensor([0.193, 0.082, 0.082, 0.108, 0.149, 0.139, 0.117]), atol=2e-3)
    assert hertz(result.trace["phase"][-300:])[:, 0].tolist() == pytest.approx([2.57, 3.21, 3.85], abs=5e-3)


def test_amplitude_follows_the_critically_damped_solution_whatever_the_step():
    for dt in (0.002, 0.01, 0.05):
        cell = PhaseCell(profile="robot", dt=dt).double()
        result = run(cell, 0.2, torch.tensor([4.0], dtype=torch.float64))
        expected = 0.456 * (1 - (1 + 10 * 0.2) * math.exp(-10 * 0.2))
        assert result.state.amplitude[0, 0].item() == pytest.approx(expected, rel=1e-6)


def test_the_course_of_phases_agrees_with_an_independent_solution_of_the_equations():
    cell = PhaseCell(profile="robot", substeps=40).double()
    N, S = 20, 8
    weight, phi = np.zeros((N, N)), np.zeros((N, N))

    def connect(i, j, w, p):
        weight[i, j], phi[i, j] = w, p

    for side in (0, S):
        for i in range(S - 1):
            connect(side + i + 1, side + i, 10, 2 * np.pi / 8)
            connect(side + i, side + i + 1, 10, -2 * np.pi / 8)
    for i in range(S):
        connect(i, S + i, 10, np.pi)
        connect(S + i, i, 10, np.pi)
        connect(i, 16 if i < 4 else 18, 30, 0)
        connect(S + i, 17 if i < 4 else 19, 30, 0)
    for i, j in ((16, 17), (18, 19), (16, 18), (17, 19)):
        connect(i, j, 10, np.pi)
        connect(j, i, 10, np.pi)
    nu = np.array([0.7] * 16 + [0.4] * 4)
    R = np.array([0.326] * 16 + [0.393] * 4)

    def slope(_, z):
        theta, r, v = z.reshape(3, N)
        pull = (weight * r * np.sin(theta - theta[:, None] - phi)).sum(1)
        return np.concatenate([2 * np.pi * nu + pull, v, 20 * (5 * (R - r) - v)])

    start = cell.initial_state(1).phase[0].numpy()
    truth = solve_ivp(slope, (0, 1.5), np.concatenate([start, np.zeros(2 * N)]), rtol=1e-8, atol=1e-10).y[:N, -1]
    ours = run(cell, 1.5, torch.tensor([2.0], dtype=torch.float64)).state.phase[0]
    assert turn(ours - torch.tensor(truth)).abs().max() < 0.005


def test_a_batch_row_equals_the_same_run_alone():
    cell = PhaseCell()
    drives = torch.tensor([1.5, 2.5, 4.0])
    together = run(cell, 2.0, drives).outputs
    for row, drive in enumerate(drives):
        assert torch.allclose(together[:, row], run(cell, 2.0, drive[None]).outputs[:, 0], atol=1e-4)


def test_mirrored_drives_give_mirrored_activity():
    cell = PhaseCell()
    mirror = [*range(8, 16), *range(8), 17, 16, 19, 18]
    first = cell.initial_state(1)
    mirrored = first._replace(phase=first.phase[:, mirror])
    left = run(cell, 3.0, [1.7], [2.3], state=first, record=("activity",)).trace["activity"]
    right = run(cell, 3.0, [2.3], [1.7], state=mirrored, record=("activity",)).trace["activity"]
    assert torch.allclose(left, right[..., mirror], atol=1e-4)


def test_unequal_side_drives_set_amplitudes_but_not_the_newts_frequency():
    cell = PhaseCell()
    result = run(cell, 4.0, torch.full((3,), 4.0), torch.tensor([4.0, 3.4, 3.0]), record=("phase",))
    left, right = result.state.amplitude[:, 0], result.state.amplitude[:, 8]
    assert torch.all((left - right).diff() > 0.005)
    expected = [3.21, 3.21 - 0.64 * 0.3, 3.21 - 0.64 * 0.5]
    assert hertz(result.trace["phase"][-200:])[:, 0].tolist() == pytest.approx(expected, abs=5e-3)


def test_negated_body_biases_make_the_wave_run_from_tail_to_head():
    cell = PhaseCell(profile="robot")
    phase = run(cell, 10.0, [4.0], edits=[Scale("bias.body", -1)]).state.phase[0]
    assert turn(phase[:7] - phase[1:8]).tolist() == pytest.approx([-0.125] * 7, abs=1e-3)


def test_cutting_the_chain_at_mid_body_lets_the_halves_drift_and_not_cutting_holds_them():
    cell = PhaseCell(profile="robot")
    drive = dict(left=torch.tensor([[3.5, 4.5]]))

    def halves(*edits):
        x = drive_input(cell, **drive).expand(1000, -1, -1)
        with torch.no_grad():
            return hertz(unroll(cell, x, edits=edits, record=("phase",)).trace["phase"][-300:])[0, [0, 7]].tolist()

    assert halves(Lesion("coupling.midbody")) == pytest.approx([1.0, 1.2], abs=2e-3)
    whole = halves()
    assert whole[0] == pytest.approx(whole[1], abs=3e-3)


def test_a_lesioned_side_is_silent_and_the_other_side_swims_on():
    result = run(PhaseCell(), 3.0, [4.0], edits=[Lesion("body.left")], record=("activity",))
    activity = result.trace["activity"][-100:, 0]
    assert activity[:, :8].abs().max() == 0
    assert (activity[:, 8:16].amax(0) > 0.8).all()
    lags = turn(result.state.phase[0, 8:15] - result.state.phase[0, 9:16])
    assert lags.sum().item() == pytest.approx(0.87, abs=0.01)


def test_limbs_clamped_silent_no_longer_hold_the_body_in_a_standing_wave():
    result = run(PhaseCell(), 8.0, [2.0], edits=[Clamp("limb.*", 0.0)], record=("phase",))
    lags = turn(result.state.phase[0, :7] - result.state.phase[0, 1:8])
    assert lags.sum().item() == pytest.approx(0.87, abs=0.01)
    assert result.outputs[-1, 0, 16:].abs().max() == 0
    assert hertz(result.trace["phase"][-300:])[0, 0].item() == pytest.approx(1.93, abs=5e-3)


@pytest.mark.parametrize(
    "unit", ["body.left[2]", "body.right[7]", "limb.hind.right", "phase.body.left[1]", "drive.left"]
)
def test_every_named_unit_can_be_clamped_and_stays_put(unit):
    result = run(PhaseCell(), 1.0, [2.0], edits=[Clamp(unit, 0.3, steps=slice(50, None))], record=(unit,))
    course = result.trace[unit][:, 0]
    assert torch.all(course[50:] == 0.3) and not torch.any(course[:50] == 0.3)


def test_couplings_may_differ_by_row():
    cell = PhaseCell(profile="robot")
    sign = Scale("bias.body", torch.tensor([1.0, -1.0]))
    phase = run(cell, 10.0, torch.tensor([4.0, 4.0]), edits=[sign]).state.phase
    assert torch.allclose(turn(phase[:, :7] - phase[:, 1:8]), torch.tensor([[0.125], [-0.125]]), atol=1e-3)


def test_a_lowered_drive_to_zero_stops_everything():
    cell = PhaseCell()
    state = run(cell, 3.0, [4.0]).state
    result = run(cell, 1.0, [0.0], state=state)
    assert result.outputs[-1].abs().max() < 1e-3


def test_gradients_reach_drive_couplings_and_biases():
    cell = PhaseCell().double()
    drive = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x = torch.cat((drive.expand(1, 4), torch.zeros(1, cell.input_size - 4, dtype=torch.float64)), 1)
    first = cell.initial_state(1)

    def progress(x):
        return unroll(cell, x.expand(30, -1, -1), first._replace(amplitude=first.amplitude + 0.4)).state.phase.mean()

    progress(x).backward()
    assert drive.grad is not None and drive.grad.abs() > 0
    with torch.no_grad():
        step = 1e-5 * x.new_tensor([1.0] * 4 + [0.0] * 20)
        numeric = (progress(x + step) - progress(x - step)) / 2e-5
    assert drive.grad.item() == pytest.approx(numeric.item(), rel=1e-4)
    for parameter in (cell.coupling, cell.bias, cell.nu1, cell.r1):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


def test_stretch_of_a_side_draws_that_side_to_its_peak():
    cell = PhaseCell(profile="robot", limbs=(), feedback_gain=20.0)
    x = drive_input(cell, 0.5).expand(400, -1, -1).clone()
    x[..., list(cell.groups()["input"]["stretch.left"])] = 1.0
    start = cell.initial_state(1)
    phase = unroll(cell, x, start._replace(phase=start.phase + 0.1)).state.phase[0]
    assert phase[:8].abs().max() < 1e-2 and phase[8:].abs().max() > 1


def test_other_bodies_are_refused_or_wired_as_asked():
    with pytest.raises(ValueError, match="unknown profile"):
        PhaseCell(profile="frog")
    with pytest.raises(ValueError, match="fore.left"):
        PhaseCell(limbs=("arm",))
    with pytest.raises(ValueError, match="at least 1 segment"):
        Layout(0)
    eel = PhaseCell(segments=12, limbs=())
    phase = run(eel, 10.0, [4.0]).state.phase[0]
    assert turn(phase[:11] - phase[1:12]).sum().item() == pytest.approx(0.87, abs=0.01)
    assert ROBOT.lags == 1 / 8
