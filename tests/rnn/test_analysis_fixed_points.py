"""Fixed points against solved ones, and the corners of a flip-flop's cube."""

import copy
import itertools
import math

import pytest
import torch

from rnn.analysis.fixed_points import fixed_points
from rnn.analysis.systems import lorenz, stuart_landau
from rnn.edits import Clamp
from rnn.elman import ElmanCell
from rnn.linear import LinearCell
from rnn.model import Readout
from rnn.models import make_cell
from rnn.unroll import unroll


def flip_flop() -> ElmanCell:
    """Three bits, each held by a unit that excites itself: h = tanh(2 h + 4 x), units mixed in no way."""
    cell = ElmanCell(3, 3, bias=False).double()
    with torch.no_grad():
        cell.weight_hh.copy_(2 * torch.eye(3))
        cell.weight_ih.copy_(4 * torch.eye(3))
    return cell


def test_a_linear_network_rests_at_the_solved_point():
    torch.manual_seed(0)
    D, C, x = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 5), (5, 2), (2,)))
    D = D / 3
    cell = LinearCell.from_matrices(C.new_zeros(1, 2), C.new_zeros(1, 5), C, D)
    found = fixed_points(cell, torch.randn(4, 5), x)
    assert len(found) == 1 and found.hits.item() == 4 and found.q.item() < 1e-24
    assert torch.allclose(found.states[0], torch.linalg.solve(torch.eye(5).double() - D, C @ x), atol=1e-10)
    expected = torch.linalg.eigvals(D).abs().sort(descending=True).values
    assert torch.allclose(found.eigenvalues[0].abs(), expected)


def test_a_three_bit_flip_flop_has_eight_stable_points_and_nineteen_saddles_between():
    cell = flip_flop()
    starts = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)).double() * 2.4 - 1.2
    found = fixed_points(cell, starts, adam_steps=0)
    assert len(found) == 27 and int(found.stable.sum()) == 8 and bool((found.q < 1e-20).all())
    top = 0.957504024  # solves h = tanh(2 h)
    for corner in itertools.product((-1.0, 1.0), repeat=3):
        assert (found.states[:8] - top * torch.tensor(corner)).norm(dim=1).min() < 1e-6
    counts = torch.bincount(found.unstable_directions)
    assert counts.tolist() == [8, 12, 6, 1]  # corners, edges, faces, centre of a cube
    slope = 2 * (1 - top**2)
    assert found.time_constants[0, 0].item() == pytest.approx(-1 / math.log(slope), rel=1e-6)


def test_frequencies_and_time_constants_are_those_of_the_flow():
    found = fixed_points(stuart_landau(mu=-0.5, omega=3.0, dt=0.01), torch.tensor([[0.3, 0.1]]))
    assert torch.allclose(found.frequencies, torch.full((1, 2), 3 / (2 * math.pi)).double(), rtol=1e-5)
    assert torch.allclose(found.time_constants, torch.full((1, 2), 2.0).double(), rtol=1e-5)
    three = fixed_points(lorenz(), torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) * 10)
    assert len(three) == 3
    assert torch.allclose(three.states[:, 0].abs().max(), torch.tensor(72.0).double().sqrt(), atol=1e-8)
    assert int(three.stable.sum()) == 0


@pytest.mark.parametrize("name", ["lstm", "gru", "leaky"])
def test_a_run_started_at_a_fixed_point_stays_there(name):
    torch.manual_seed(0)
    cell, x = make_cell(name, 2, 6).double(), torch.tensor([0.5, -1.0], dtype=torch.float64)
    before = copy.deepcopy(cell.state_dict())
    found = fixed_points(cell, cell.initial_state(3), x)
    assert len(found) == 1 and found.q.item() < 1e-20
    run = unroll(cell, x.expand(300, 1, 2))
    assert torch.allclose(run.outputs[-1, 0], found.states[0, :6], atol=1e-6)
    assert all(torch.equal(before[key], value) for key, value in cell.state_dict().items())


def test_a_clamp_moves_the_fixed_points():
    found = fixed_points(
        flip_flop(), torch.randn(60, 3, generator=torch.Generator().manual_seed(1)), edits=[Clamp("h[0]", 0.5)]
    )
    assert torch.allclose(found.states[:, 0], torch.tensor(0.5).double()) and int(found.stable.sum()) == 4


@pytest.mark.slow
def test_a_trained_flip_flop_has_its_eight_memories():
    torch.manual_seed(0)
    cell, steps = make_cell("gru", 3, 24), 60
    readout = Readout(24, 3)
    optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.01)
    for _ in range(600):
        pulses = (torch.rand(steps, 64, 3) < 0.05) * (torch.randint(0, 2, (steps, 64, 3)) * 2.0 - 1)
        pulses[0] = torch.randint(0, 2, (64, 3)) * 2.0 - 1
        target = pulses.clone()
        for t in range(1, steps):
            target[t] = torch.where(pulses[t] == 0, target[t - 1], pulses[t])
        loss = (readout(unroll(cell, pulses).outputs, pulses) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.02
    starts = torch.cat(list(unroll(cell, pulses, record=("h",)).trace["h"][10:].detach()))[::4]
    found = fixed_points(cell, starts)
    memories = readout(found.states[found.stable].float(), torch.zeros(1, 3)).detach()
    assert len({tuple(row.sign().tolist()) for row in memories}) == 8
    assert int(found.stable.sum()) == 8


def test_the_picture_can_be_drawn(tmp_path):
    fixed_points(flip_flop(), torch.zeros(1, 3)).plot(tmp_path / "points.png")
    assert (tmp_path / "points.png").stat().st_size > 2000
