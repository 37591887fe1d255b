"""Bifurcations with known places."""

import copy
import math

import pytest
import torch

from rnn.analysis.bifurcation import Family, continue_branch, other_branch
from rnn.analysis.cliff import error_surface
from rnn.analysis.step_map import StepMap
from rnn.analysis.sweep import sweep_input
from rnn.analysis.systems import logistic, stuart_landau
from rnn.cell import Cell, no_tap
from rnn.cpg import LeakyCell, PhaseCell, drive_input
from rnn.elman import ElmanCell, PreActivationCell


def logistic_unit(w: float, b: float = 0.0) -> PreActivationCell:
    """One unit, r = w s(r) + b with the logistic s."""
    cell = PreActivationCell(1, 1, squash="logistic").double()
    with torch.no_grad():
        cell.weight_hh.fill_(w)
        cell.bias.fill_(b)
    return cell


def test_the_logistic_unit_folds_where_calculus_says():
    family = Family(logistic_unit(5.0), "bias[0]")
    branch = continue_branch(family, torch.zeros(1, 2), -3.5, -1.5, step=0.1)
    folds = sorted(point.parameter for point in branch.special if point.kind == "fold")
    expected = []
    for s in ((1 - math.sqrt(1 - 4 / 5)) / 2, (1 + math.sqrt(1 - 4 / 5)) / 2):  # w s (1 - s) = 1
        expected.append(math.log(s / (1 - s)) - 5 * s)
    assert folds == pytest.approx(sorted(expected), abs=1e-6)
    assert folds == pytest.approx([-2.656, -2.344], abs=1e-3)
    inside = (branch.parameters > folds[0]) & (branch.parameters < folds[1]) & ~branch.stable
    assert inside.any() and branch.stable[0] and branch.stable[-1]
    r = branch.states[:, 0]
    assert torch.allclose(r, 5 * torch.sigmoid(r) + branch.parameters, atol=1e-9)


def test_a_tanh_unit_splits_in_a_pitchfork_at_weight_one():
    cell = ElmanCell(1, 1, bias=False).double()
    family = Family(cell, "weight_hh[0,0]")
    trunk = continue_branch(family, torch.zeros(1, 1), 0.5, 2.0, step=0.05)
    assert [point.kind for point in trunk.special] == ["branching"]
    assert trunk.special[0].parameter == pytest.approx(1.0, abs=1e-6)
    assert bool(trunk.stable[trunk.parameters < 0.99].all()) and not bool(trunk.stable[trunk.parameters > 1.01].any())
    for side in (1, -1):
        arm = other_branch(family, trunk.special[0], 2.0, side=side, step=0.05)
        h = arm.states[-1, 0]
        assert arm.parameters[-1] > 1.9 and torch.sign(h) == side and arm.stable[-1]
        assert torch.allclose(h, torch.tanh(arm.parameters[-1] * h), atol=1e-9)


def test_the_normal_form_of_hopf_loses_its_rest_at_zero_and_turns_at_omega():
    family = Family(stuart_landau(mu=0.0, omega=3.0, dt=0.02), "input[0]")
    branch = continue_branch(family, torch.zeros(1, 2), -1.0, 1.0, step=0.07)
    (hopf,) = [point for point in branch.special if point.kind == "hopf"]
    assert hopf.parameter == pytest.approx(0.0, abs=1e-3)
    assert hopf.frequency == pytest.approx(3 / (2 * math.pi), rel=1e-3)


def test_the_logistic_map_doubles_its_period_at_three():
    class Growing(type(logistic())):
        def __init__(self):
            super().__init__(lambda x, h: x * h * (1 - h), 1, 1)

    family = Family(Growing(), "input[0]")
    branch = continue_branch(family, torch.tensor([[0.6]]), 2.5, 3.4, step=0.05)
    (point,) = branch.special
    assert point.kind == "doubling" and point.parameter == pytest.approx(3.0, abs=1e-6)
    assert torch.allclose(branch.states[:, 0], 1 - 1 / branch.parameters, atol=1e-9)


def test_a_sweep_finds_the_onset_and_the_drive_law_of_the_pattern_generator():
    cell = PhaseCell(segments=2, limbs=())
    drives = torch.tensor([0.5, 0.9, 1.1, 2.0, 3.0, 4.0, 4.9, 5.2])
    sweep = sweep_input(cell, drive_input(cell, drives, batch=8), drives, transient=200, watch=300, label="drive")
    assert sweep.onset() == pytest.approx(1.1)
    moving = (drives > 1) & (drives < 5)
    assert torch.allclose(sweep.frequency[moving], 0.64 * drives[moving] + 0.65, rtol=0.02)
    assert (sweep.amplitude[~moving] < 1e-3).all()


class Driven(Cell):
    """A pattern generator under one number: the drive of both sides."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell, self.input_size, self.output_size, self.dt = cell, 1, cell.output_size, cell.dt

    def initial_state(self, batch: int):
        return self.cell.initial_state(batch)

    def forward(self, x, state, tap=no_tap):
        drives = torch.cat([x.expand(-1, 4), x.new_zeros(len(x), self.cell.input_size - 4)], 1)
        return self.cell(drives, state, tap)


def test_the_rhythm_of_the_neuron_network_is_born_in_a_hopf_bifurcation_as_the_drive_rises():
    cell = Driven(LeakyCell(segments=1, limbs=()))

    def settled(drive: float, steps: int) -> torch.Tensor:
        system = StepMap(cell, torch.tensor([drive]))
        return system.orbit(system.initial(), steps)[:, 0]

    branch = continue_branch(Family(cell, "input[0]"), settled(0.93, 300)[-1:], 0.93, 0.945, step=0.3)
    hopf = branch.special[0]
    assert hopf.kind == "hopf" and 0.93 < hopf.parameter < 0.945 and 0.5 < hopf.frequency < 5
    assert bool(branch.stable[branch.parameters < hopf.parameter].all()) and not bool(branch.stable[-1])
    below, above = (settled(hopf.parameter + off, 600)[450:] for off in (-0.01, 0.005))
    assert (below.amax(0) - below.amin(0)).max() < 0.01 and (above.amax(0) - above.amin(0)).max() > 1


def test_the_amplitude_of_a_hopf_rhythm_grows_as_a_root():
    values = torch.linspace(-0.5, 1.0, 6)
    sweep = sweep_input(stuart_landau(mu=0.0, dt=0.05), values[:, None], values, transient=1000, watch=200)
    assert torch.allclose(sweep.amplitude, values.clamp(min=0).sqrt().double(), atol=0.02)


def final_loss(w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r = torch.zeros_like(w)
    for _ in range(40):
        r = w * torch.sigmoid(r) + b
    return (torch.sigmoid(r) - 0.2).square()


def test_clipping_bounds_every_step_down_the_cliff():
    cliff = error_surface(
        final_loss,
        torch.linspace(3, 7, 30),
        torch.linspace(-4, -1, 30),
        start=(5.5, -2.6),
        rate=0.5,
        clip=0.1,
        steps=60,
    )
    plain, clipped = cliff.paths["plain"], cliff.paths["clipped at 0.1"]
    assert clipped.diff(dim=0).norm(dim=1).max() <= 0.5 * 0.1 + 1e-9
    assert plain.diff(dim=0).norm(dim=1).max() > clipped.diff(dim=0).norm(dim=1).max()
    assert final_loss(*clipped[-1]) < final_loss(*clipped[0])
    jump = cliff.loss.diff(dim=1).abs().max() / cliff.loss.diff(dim=1).abs().median()
    assert jump > 20  # a cliff


def test_wrong_names_are_refused_and_the_cell_is_left_alone():
    cell = logistic_unit(5.0)
    before = copy.deepcopy(cell.state_dict())
    with pytest.raises(ValueError, match="weight_hh"):
        Family(cell, "weights[0]")
    continue_branch(Family(cell, "weight_hh[0,0]"), torch.zeros(1, 2), 0.0, 2.0, step=0.3)
    assert all(torch.equal(before[key], value) for key, value in cell.state_dict().items())


def test_pictures_can_be_drawn(tmp_path):
    branch = continue_branch(Family(logistic_unit(5.0), "bias[0]"), torch.zeros(1, 2), -3.0, -2.0, step=0.2)
    values = torch.linspace(-0.5, 1.0, 4)
    sweep = sweep_input(stuart_landau(mu=0.0, dt=0.1), values[:, None], values, transient=50, watch=50)
    cliff = error_surface(final_loss, torch.linspace(3, 7, 9), torch.linspace(-4, -1, 8), start=(5.5, -2.6), steps=3)
    for i, result in enumerate((branch, sweep, cliff)):
        result.plot(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000
