"""The readout is solved for the network's own rhythm, and the trials see what they should: checked on known motions."""

import math

import numpy as np
import pytest
import torch

from agents.imitation import build_cell, free_run
from agents.learned import GENERATORS, INPUTS, LearnedCell, make_core
from agents.motion import WALK_LAG, Course, Motion
from agents.policy_zoo import load_policy, save_policy
from agents.readout import settle_readout, settled_grid, track_phase
from agents.reproduction import bands_held, reproduce
from agents.trials import (
    SENSES,
    _senses,
    follows,
    play_motion,
    pushes_forgotten,
    shore_crossing,
    switches_gait,
    weight_trials,
)
from rnn.cell import Cell, no_tap
from rnn.unroll import unroll


class Clockwork(Cell):
    """Knows the motion at heart: a phase that turns as the drive asks, and all joints of the settled motion.

    `gain` scales what it gives out, so that a readout has something to mend; `forget` is how much of a push on its
    second state is left after a step.
    """

    def __init__(self, motion, gain=1.0, forget=0.5):
        super().__init__()
        self.motion, self.gain, self.forget = motion, gain, forget
        self.input_size, self.output_size = INPUTS, 24
        self.heard = None
        self.anchor = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def initial_state(self, batch):
        return (torch.zeros(batch, 1), torch.zeros(batch, 1))

    def forward(self, x, state, tap=no_tap):
        x = tap("input", x)
        phase, pushed = state
        if self.heard is None or self.heard.shape != x.shape or not torch.equal(self.heard, x):
            left, right, limb = x[:, 0], x[:, 2], x[:, 4]
            at = self.motion.start(phase[:, 0], left, right, limb)
            course = Course(phase.T, at.weight[None], at.smooth[None, :, 1], at.smooth[None, :, 2])
            self.heard, self.rate, self.series = x.clone(), 0.01 * at.smooth[:, :1], self.motion.series(course)[0]
        phase = phase + self.rate
        turn = 2 * math.pi * phase * torch.arange(1, 6)
        basis = torch.cat([torch.ones_like(phase), turn.cos(), turn.sin()], 1)
        h = tap("h", self.gain * torch.bmm(basis[:, None], self.series)[:, 0] + pushed)
        return h, (phase - phase.floor(), self.forget * pushed)


def clockwork(**options):
    motion = Motion.load("both")
    cell = LearnedCell(Clockwork(motion, **options), centre=torch.zeros(24), scale=torch.ones(24))
    with torch.no_grad():
        cell.readout.weight.copy_(torch.eye(24))
        cell.readout.bias.zero_()
    return cell, motion


def test_the_phase_of_a_run_is_the_line_through_its_nearest_phases():
    motion = Motion.load("both")
    cycle = motion.cycle("swim", 4.0, samples=512)
    turns = 0.2 + 0.0317 * torch.arange(300)
    ys = cycle[(turns % 1 * 512).long()]
    line, left = track_phase(ys, cycle, torch.ones(24))
    assert torch.allclose(line - line[0] + 0.2, turns.double(), atol=0.01) and left < 0.003
    noisy, lost = track_phase(torch.randn(300, 24, generator=torch.Generator().manual_seed(0)), cycle, torch.ones(24))
    assert lost > 0.06 and len(noisy) == 300


def test_solving_the_readout_anew_mends_amplitudes_that_are_a_quarter_too_small():
    cell, motion = clockwork(gain=0.75)
    before = reproduce(cell, motion, "walk", cycles=5)
    assert before.amplitude_error == pytest.approx(0.25, abs=0.02)
    kept = settle_readout(cell, motion)
    after = reproduce(cell, motion, "walk", cycles=5)
    assert kept > 0.9 * len(settled_grid()[0])
    assert after.amplitude_error < 0.02 and after.phase_error < 0.01


def test_a_network_without_a_rhythm_keeps_its_readout():
    torch.manual_seed(0)
    motion = Motion.load("both")
    cell = build_cell("gru", 4, motion)
    weight = cell.readout.weight.clone()
    assert settle_readout(cell, motion) < len(settled_grid()[0]) / 2
    assert torch.equal(cell.readout.weight, weight)


def test_the_motion_itself_keeps_every_band_and_the_walking_trunk_bends_as_recorded():
    motion = Motion.load("both")
    for gait, world, drive in (("walk", "land", 2.0), ("swim", "pool", 4.0)):
        (run,) = play_motion(motion, world, [(drive, drive)])
        assert bands_held(run, gait)[2] == []
        if gait == "walk":
            assert run.trunk_tail_phase == pytest.approx(0.472, abs=0.01)  # of the recorded joint angles
    lag, _ = follows(motion, "walk")
    assert np.allclose(lag[[0, 1, 2, 4, 5]], np.array(WALK_LAG)[[0, 1, 2, 4, 5]], atol=0.005)


def test_senses_are_disturbed_in_the_rows_that_say_so():
    steps = iter(np.arange(10))
    felt = _senses(lambda: np.full((len(SENSES), 24), 0.1 * (1 + next(steps))), seed=0)
    angles = [felt() for _ in range(6)][-1]
    named = dict(zip(SENSES, angles, strict=True))
    assert np.all(named["intact"] == pytest.approx(0.6)) and np.all(named["all lost"][:8] == 0)
    assert np.all(named["30 ms later"][:8] == pytest.approx(0.3))
    assert np.std(named["noise of 3 degrees"][:8]) < math.radians(8) < np.std(named["noise of 10 degrees"][:8])
    assert np.all(named["every second joint lost"][0:8:2] == 0) and np.all(angles[:, 8:] == pytest.approx(0.6))


def test_a_push_counts_as_forgotten_only_if_it_fades():
    for forget, share in ((0.5, 1.0), (1.0, 0.0)):
        cell, motion = clockwork(forget=forget)
        assert pushes_forgotten(cell, motion, "swim", size=8.0, pushes=8) == pytest.approx(share, abs=0.15)


def test_gaits_are_switched_on_command_and_the_shore_is_crossed_by_the_motion_itself():
    cell, motion = clockwork()
    found = switches_gait(cell, motion, seconds=5.0)
    assert found["error"] < 0.01 and found["rest"] == 0.0
    crossing = shore_crossing(cell)
    assert crossing["walked"] == crossing["swam"] == 1.0 and crossing["beyond"] > 0


def test_noisy_weights_give_other_gaits_and_leave_the_network_alone():
    cell, _ = clockwork()
    weight = cell.readout.weight.clone()
    runs = weight_trials(cell, "swim", noise=0.1, draws=3, seconds=3.0)
    assert len({run.stride for run in runs}) == 3
    assert torch.equal(cell.readout.weight, weight)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_pattern_generator_can_be_a_core_and_only_its_readout_learns(name, tmp_path):
    motion = Motion.load("both")
    torch.manual_seed(0)
    cell = build_cell(name, 0, motion)
    x = torch.full((1, INPUTS), 4.0)
    x[:, 4:] = 0.0
    alone = unroll(make_core(name, 0), x.expand(50, 1, -1))
    assert torch.equal(unroll(cell.core, cell.encode(x.expand(50, 1, -1))).outputs, alone.outputs)
    trained = {key for key, p in cell.named_parameters() if p.requires_grad}
    assert trained == {"readout.weight", "readout.bias", "start"}
    folder = save_policy(tmp_path / name, cell, {"cell": name, "hidden": 0, "data": "both", "dt": 0.01})
    again, _ = load_policy(folder)
    drives = torch.tensor([[4.0, 4.0, 0.0]])
    assert torch.equal(free_run(again, drives, 30).outputs, free_run(cell, drives, 30).outputs)
