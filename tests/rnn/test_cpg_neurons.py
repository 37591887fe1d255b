"""What the leaky-integrator and the rate network must both do: rest, walk, swim, turn, and obey their neurons."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from rnn import Clamp, Lesion, Scale, unroll
from rnn.cell import map_state, quantities
from rnn.cpg import LeakyCell, RateCell, drive_input
from rnn.cpg.search import lag, rhythm

CELLS = {"leaky": LeakyCell, "rate": RateCell}
WALK, SWIM = (1.3, 2.0, 2.8), (3.3, 4.0, 4.6)
TURNS = (0.0, 0.3, 0.6, 0.9)
both = pytest.mark.parametrize("name", CELLS)


def run(cell, seconds, left, right=None, limb=0.0, **options):
    batch = torch.as_tensor(left).numel()
    x = drive_input(cell, left, right, limb, batch=batch).expand(round(seconds / cell.dt), -1, -1)
    with torch.no_grad():
        return unroll(cell, x, **options)


@cache
def course(name):
    """Body difference and limbs after 4 s, [row, T, .]: rest, walk, swim at equal drives, then turning at 4."""
    left = torch.tensor([0.0, 0.5, 0.9, *WALK, *SWIM, *(4 + t / 2 for t in TURNS)])
    right = torch.tensor([0.0, 0.5, 0.9, *WALK, *SWIM, *(4 - t / 2 for t in TURNS)])
    y = run(CELLS[name](), 8.0, left, right).outputs[400:].permute(1, 0, 2).double().numpy()
    return y, y[..., :8] - y[..., 8:16], y[..., 16:]


@both
def test_below_drive_1_the_animal_rests(name):
    y, body, limbs = (part[:3] for part in course(name))
    assert np.abs(body).max() < 0.02 and np.abs(limbs).max() < 0.02 and y.max() < 0.1


@both
def test_swimming_is_one_travelling_wave_with_silent_limbs(name):
    _, body, limbs = (part[6:9] for part in course(name))
    lags = lag(rhythm(body)[1])
    assert np.all(lags > 0.05)
    assert np.all((lags.sum(-1) > 0.68) & (lags.sum(-1) < 0.90))
    assert np.abs(limbs).max() < 0.02
    assert np.abs(rhythm(body)[1]).min() > 0.3


@both
def test_walking_is_a_standing_wave_and_limbs_step_in_trot_round_their_ring(name):
    _, body, limbs = (part[3:6] for part in course(name))
    hz, steps = rhythm(limbs)
    cosine, sine = steps[..., :4], steps[..., 4:]
    assert np.allclose(np.angle(cosine / sine), math.pi / 2, atol=0.35)
    diagonal = np.angle(cosine / cosine[..., :1] * np.array([1, -1, -1, 1]))
    assert np.abs(diagonal).max() < 0.2
    body_hz, wave = rhythm(body)
    assert np.allclose(body_hz, hz, rtol=0.03)
    in_step = np.angle(wave[..., :4] / wave[..., :1])
    assert np.abs(in_step).max() < 2 * math.pi * 0.06
    trunk, tail = (wave[..., part].sum(-1) for part in (slice(1, 3), slice(4, 6)))
    assert np.all(np.abs(np.angle(tail / trunk)) > 2 * math.pi * 0.42)


@both
def test_frequency_rises_with_drive_and_jumps_from_walk_to_swim(name):
    hz = rhythm(course(name)[1][3:9])[0]
    assert np.all(np.diff(hz) > 0)
    assert 0.45 < hz[0] and hz[2] < 1.3 and hz[3] > 1.8 * hz[2] and 2.4 < hz[3] and hz[5] < 4.0


@both
def test_body_bends_more_to_the_more_driven_side_the_greater_the_difference(name):
    bend = course(name)[1][9:].mean((1, 2))
    assert abs(bend[0]) < 0.01
    assert np.all(np.diff(bend) > 0.01)


@both
def test_mirrored_drives_give_mirrored_outputs(name):
    cell = CELLS[name]()
    n, S = cell.num_body, cell.segments
    units = [c * 2 * S + (1 - side) * S + i for c in range(n // (2 * S)) for side in (0, 1) for i in range(S)]
    units += [n + 5 * k + role for k in (1, 0, 3, 2) for role in range(5)]
    outputs = [*range(S, 2 * S), *range(S), *(2 * S + k for k in (1, 0, 3, 2, 5, 4, 7, 6))]
    swap = {cell.num_neurons: units, 2 * S: outputs[: 2 * S], 8: [1, 0, 3, 2, 5, 4, 7, 6]}
    first = cell.initial_state(1)
    mirrored = map_state(lambda t: t[:, swap[t.shape[1]]], first)
    one = run(cell, 2.0, [1.6], [2.2], state=first).outputs
    other = run(cell, 2.0, [2.2], [1.6], state=mirrored).outputs
    assert torch.allclose(one, other[..., outputs], atol=1e-3)


@both
def test_a_batch_row_equals_the_same_run_alone(name):
    cell = CELLS[name]().double()
    drives = torch.tensor([0.5, 2.0, 4.0])
    together = run(cell, 1.0, drives).outputs
    for row in range(3):
        assert torch.allclose(together[:, row], run(cell, 1.0, drives[row : row + 1]).outputs[:, 0], atol=1e-9)


@both
def test_the_rhythm_converges_as_substeps_shrink(name):
    default = CELLS[name]().substeps
    hz = []
    for substeps in (default, 2 * default, 16):
        y = run(CELLS[name](substeps=substeps), 6.0, [4.0]).outputs[250:, 0, :8].double().numpy()
        hz.append(float(rhythm(y)[0]))
    coarse, middle, fine = hz
    assert abs(coarse - fine) < 0.16 * fine
    assert abs(middle - fine) < 0.65 * abs(coarse - fine) + 0.05


@both
def test_a_lesioned_side_is_silent_and_does_not_reach_the_other(name):
    cell = CELLS[name]()
    first = cell.initial_state(1)
    left = [i for group, units in cell.groups()["activity"].items() if group.startswith("body.left") for i in units]
    first = first._replace(activity=first.activity.index_fill(1, torch.tensor(left), 0.0))
    options = dict(state=first, record=("body.left*", "body.right"))
    lesion = Lesion("body.left*")
    trace = run(cell, 2.0, [4.0], edits=[lesion], **options).trace
    apart = run(cell, 2.0, [4.0], edits=[lesion, Lesion("coupling.contralateral")], **options).trace
    assert trace["body.left*"].abs().max() == 0
    assert torch.allclose(trace["body.right"], apart["body.right"], atol=1e-5)
    assert trace["body.right"].abs().max() > 0.1


@both
def test_cutting_the_chain_frees_the_tail_from_the_trunk(name):
    cell = CELLS[name]()
    drive = torch.tensor([[3.3, 4.4]])
    x = drive_input(cell, drive).expand(900, -1, -1)

    def halves(*edits):
        with torch.no_grad():
            y = unroll(cell, x, edits=edits).outputs[450:, 0].double().numpy()
        body = y[:, :8] - y[:, 8:16]
        return [float(rhythm(part)[0]) for part in (body[:, :4], body[:, 4:])]

    cut = halves(Lesion("coupling.midbody"))
    assert cut[1] - cut[0] > 0.2
    whole = halves()
    assert abs(whole[1] - whole[0]) < abs(cut[1] - cut[0]) / 2


@both
@pytest.mark.parametrize("unit", ["body.left[3]", "limb.hind.right.elevator", "limb.*", "drive.right[1]"])
def test_every_named_unit_can_be_clamped_and_stays_put(name, unit):
    result = run(CELLS[name](), 0.6, [2.0], edits=[Clamp(unit, 0.7, steps=slice(20, 50))], record=(unit,))
    values = result.trace[unit][:, 0]
    assert torch.all(values[20:50] == values.new_tensor(0.7))
    assert not torch.any(torch.all(values[[5, 10, 55]] == 0.7, dim=-1))


@both
def test_a_clamped_limb_centre_no_longer_holds_the_body(name):
    result = run(CELLS[name](), 7.0, [2.0], edits=[Clamp("limb.*", 0.0)])
    y = result.outputs[350:, 0].double().numpy()
    hz, wave = rhythm(y[:, :8] - y[:, 8:16])
    assert np.abs(y[:, 16:]).max() < 1e-3
    assert hz > 1.5 and lag(wave).sum() > 0.5


@both
def test_weights_may_differ_by_row_and_named_groups_of_them_exist(name):
    cell = CELLS[name]()
    edit = Scale("coupling.limb_to_body", torch.tensor([1.0, 0.0]))
    outputs = run(cell, 1.0, torch.tensor([2.0, 2.0]), edits=[edit]).outputs
    plain = run(cell, 1.0, torch.tensor([2.0])).outputs
    assert torch.allclose(outputs[:, 0], plain[:, 0], atol=1e-4)
    assert (outputs[:, 1] - plain[:, 0]).abs().max() > 0.05
    groups = cell.groups()["weight"]
    assert quantities(cell)["weight"] == len(cell.couplings.weight)
    for group in ("body.descending", "midbody", "contralateral", "limb", "limb_to_body"):
        assert groups[f"coupling.{group}"] == groups[f"weight.{group}"]


@both
def test_gradients_reach_drive_and_every_weight_and_equal_the_numeric_ones(name):
    cell = CELLS[name]().double()
    x = drive_input(cell, 2.0).expand(25, -1, -1).clone().requires_grad_()

    def score(x):
        return unroll(cell, x).outputs[-1, 0, :16].sum()

    score(x).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    step = torch.zeros_like(x)
    step[..., :4] = 1e-6
    with torch.no_grad():
        numeric = (score(x + step) - score(x - step)) / 2e-6
    assert x.grad[..., :4].sum().item() == pytest.approx(numeric.item(), rel=1e-3, abs=1e-6)
    for parameter in (cell.weight, cell.gain, cell.bias):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0


@both
def test_stretch_excites_first_the_rhythm_neurons_of_its_own_side(name):
    cell = CELLS[name](feedback_gain=1.0, substeps=1)
    x = drive_input(cell, 4.0)
    pulled = x.clone()
    pulled[:, list(cell.groups()["input"]["stretch.left"])] = 0.5
    first = cell.initial_state(1)
    with torch.no_grad():
        change = (cell(pulled, first)[1].activity - cell(x, first)[1].activity)[0]
    rhythm_left = list(cell.groups()["activity"][f"body.left.{cell.classes[0]}"])
    assert torch.all(change[rhythm_left] >= 0) and (change[rhythm_left] > 1e-3).sum() >= 4
    others = [i for i in range(cell.num_neurons) if i not in rhythm_left]
    assert change[others].abs().max() == 0
