"""Rhythms with known periods, multipliers and phase responses."""

import math

import pytest
import torch

from rnn.analysis.limit_cycles import NoRhythm, find_period, limit_cycle
from rnn.analysis.step_map import StepMap
from rnn.analysis.systems import stuart_landau, van_der_pol
from rnn.cpg import PhaseCell, drive_input
from rnn.edits import Clamp
from rnn.models import make_cell


def test_van_der_pol_has_its_known_period():
    cycle = limit_cycle(van_der_pol(1.0, dt=0.05))
    assert cycle.period == pytest.approx(6.6632868593, abs=2e-5)
    assert cycle.stable and cycle.residual < 1e-10


@pytest.mark.parametrize("mu", [0.05, 0.2])
def test_weak_van_der_pol_follows_the_averaged_theory(mu):
    cycle = limit_cycle(van_der_pol(mu, dt=0.05), transient=2500)
    assert cycle.period == pytest.approx(2 * math.pi * (1 + mu**2 / 16), abs=1e-3 * mu)
    assert cycle.states[:, 0].abs().max().item() == pytest.approx(2.0, abs=0.01)
    assert cycle.contraction == pytest.approx(math.exp(-2 * math.pi * mu), rel=0.02)


def test_the_product_of_the_multipliers_is_the_mean_divergence():
    cycle = limit_cycle(van_der_pol(0.5, dt=0.02))  # Liouville: div f = mu (1 - x^2)
    tail = 0.5 + 0.5 * (cycle.steps - int(cycle.steps))  # the last interval is a fraction of a step
    weight = torch.full((len(cycle.states),), cycle.dt)
    weight[0] = weight[-1] = cycle.dt * tail
    divergence = (weight * 0.5 * (1 - cycle.states[:, 0] ** 2)).sum()
    assert cycle.multipliers.prod().real.item() == pytest.approx(math.exp(divergence), rel=1e-3)


def test_the_normal_form_of_hopf_has_closed_answers():
    cycle = limit_cycle(stuart_landau(mu=1.0, omega=2.0, dt=0.05))
    assert cycle.period == pytest.approx(math.pi, abs=1e-5)
    assert cycle.contraction == pytest.approx(math.exp(-2 * math.pi), rel=2e-3)
    phi = torch.atan2(cycle.states[:, 1], cycle.states[:, 0])
    expected = torch.stack([-phi.sin(), phi.cos()], 1) / (2 * math.pi)
    assert torch.allclose(cycle.response, expected, atol=1e-6)


def test_the_phase_response_to_input_foretells_the_shift_after_a_real_push():
    cell, push, kick = van_der_pol(1.0, dt=0.05), 10, 1e-3
    cycle = limit_cycle(cell)
    system = StepMap(cell)
    xs = torch.zeros(push + 800, 1, 1, dtype=torch.float64)
    xs[push] = kick
    start = cycle.states[:1]
    plain = system.orbit(start, len(xs))[-1]
    pushed = system.orbit(start, len(xs), xs)[-1]
    flow = system(plain) - plain
    shift = ((pushed - plain) * flow).sum() / flow.square().sum() / cycle.steps
    assert shift.item() == pytest.approx(kick * cell.dt * cycle.input_response[push, 0].item(), rel=0.02)


@pytest.mark.parametrize("drive", [2.0, 4.0])
def test_the_pattern_generator_turns_at_its_drive_law_and_forgets_pushes(drive):
    cell = PhaseCell(segments=4)
    cycle = limit_cycle(cell, drive_input(cell, drive)[0], transient=300, watch=300)
    expected = 0.45 * drive if drive < 3 else 0.65 + 0.64 * drive
    assert cycle.frequency == pytest.approx(expected, rel=1e-4)
    assert cycle.stable and cycle.contraction < 0.9
    assert cycle.neutral == (0 if drive < 3 else 4)  # limbs that are silent keep any phase
    assert torch.allclose(cycle.response[:, cell.num_oscillators * 3 :], torch.zeros(1).double())


def test_networks_at_rest_say_that_they_have_no_rhythm():
    torch.manual_seed(0)
    with pytest.raises(NoRhythm):
        limit_cycle(make_cell("gru", 1, 5))
    with pytest.raises(NoRhythm):
        limit_cycle(van_der_pol(1.0), edits=[Clamp("h[0]", 0.1)])


def test_noise_has_no_period_and_a_sine_has_its_own():
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    assert find_period(noise) is None and find_period(torch.zeros(100, 1)) is None
    t = torch.arange(500)[:, None]
    assert find_period(torch.sin(t / 7)) == pytest.approx(14 * math.pi, abs=0.1)


def test_the_picture_can_be_drawn(tmp_path):
    limit_cycle(stuart_landau(dt=0.05)).plot(tmp_path / "cycle.png")
    assert (tmp_path / "cycle.png").stat().st_size > 2000
