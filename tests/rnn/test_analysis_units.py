"""Roles of units, distances between dynamics, curvature and pictures, on cases whose answer is known."""

import copy
import math

import pytest
import torch

from rnn.analysis.curvature import hessian_spectrum, step_curvature
from rnn.analysis.plots import courses, phase_portrait, portrait, raster
from rnn.analysis.similarity import angular_distance, compare_dynamics, linear_operator, spectral_distance
from rnn.analysis.systems import van_der_pol
from rnn.analysis.units import dimensionality, mutual_information, unit_roles
from rnn.cpg import PhaseCell, drive_input
from rnn.edits import Clamp
from rnn.elman import ElmanCell
from rnn.models import make_cell
from rnn.unroll import unroll


def test_planted_roles_are_found():
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(400)[:, None] * 0.01
    drive, side = torch.tensor([1.0, 2, 3, 4, 5, 6]), torch.tensor([-1.0, 1, -1, 1, -1, 1])
    phase = (t * 2.5 + torch.rand(6, generator=generator)) % 1
    noise = 0.05 * torch.randn(400, 6, 4, generator=generator)
    units = torch.stack(
        [torch.cos(2 * math.pi * (phase - 0.3)), drive.expand(400, 6), side.expand(400, 6), torch.zeros(400, 6)], -1
    )
    found = unit_roles(units + noise, {"phase": phase, "drive": drive, "side": side}, "abcd")
    for k in range(3):
        assert found.explained[k, k] > 0.95 and found.information[k, k] > 0.9
        assert found.information[3, k] < 0.05 and found.explained[3, k] < 0.01
    assert found.preferred_phase[0].item() == pytest.approx(0.3, abs=0.01)
    assert [found.best(name, 1)[0][0] for name in ("phase", "drive", "side")] == ["a", "b", "c"]


def test_information_is_the_entropy_of_what_is_shared():
    x = torch.rand(20000, generator=torch.Generator().manual_seed(1))
    y = torch.rand(20000, generator=torch.Generator().manual_seed(2))
    assert mutual_information(x, x).item() == pytest.approx(3.0, abs=0.01)
    assert mutual_information(x, y).item() == pytest.approx(0.0, abs=0.005)
    assert mutual_information(x, (x > 0.5).double()).item() == pytest.approx(1.0, abs=0.01)


def test_dimensions_are_counted():
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(3, 20)
    found = dimensionality(x)
    assert found.needed(0.9999) == 3 and 1 < found.participation <= 3.001
    assert torch.allclose(found.project(x, 3).square().mean(0), found.variance[:3], rtol=1e-6)


def test_the_generator_carries_phase_in_its_body_and_amplitude_by_side():
    cell = PhaseCell(segments=4, limbs=())
    left = torch.tensor([3.2, 3.6, 4.0, 4.4, 4.8])
    xs = drive_input(cell, left, 8.0 - left, batch=5).expand(400, 5, -1)
    run = unroll(cell, xs, record=("activity", "phase"))
    activity, phase = run.trace["activity"][150:].detach(), run.trace["phase"][150:, :, 0].detach() / (2 * math.pi)
    roles = unit_roles(activity, {"phase": phase, "side": (2 * left - 8)})
    assert (roles.explained[:, 0] > 0.7).all()
    amplitude = unit_roles(run.trace["activity"].detach().amax(0)[None], {"side": 2 * left - 8})
    assert (amplitude.explained[:, 0] > 0.95).all()
    gaps = (roles.preferred_phase[4:] - roles.preferred_phase[:4]) % 1
    assert torch.allclose(gaps, torch.tensor(0.5).double(), atol=0.02)


def rotated(omega: float, seed: int, units: int = 6) -> torch.Tensor:
    """A damped, kicked rotation seen through random units."""
    generator = torch.Generator().manual_seed(seed)
    c, s = math.cos(omega), math.sin(omega)
    D = 0.99 * torch.tensor([[c, -s], [s, c]])
    h, rows = torch.zeros(16, 2), []
    for _ in range(300):
        h = h @ D.T + 0.1 * torch.randn(16, 2, generator=generator)
        rows.append(h)
    return torch.stack(rows) @ torch.randn(2, units, generator=generator)


def test_the_same_dynamics_through_other_units_are_near_and_another_rhythm_is_far():
    courses_ = [rotated(0.3, 0), rotated(0.3, 1, units=9), rotated(0.9, 2)]
    near_far = compare_dynamics(courses_, delays=3, rank=2)
    assert near_far.matrix[0, 1] < 0.02
    assert near_far.matrix[0, 2].item() == pytest.approx(0.6, abs=0.1)  # the angle between two rotations
    spectra = compare_dynamics(courses_, method="spectral", delays=3, rank=2).matrix
    assert spectra[0, 1] < 0.02 and spectra[0, 2].item() == pytest.approx(2 * 0.99 * math.sin(0.3), abs=0.05)


def test_the_angular_distance_ignores_the_basis():
    operator = linear_operator(rotated(0.4, 3), delays=4, rank=2)
    Q = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]
    turned = type(operator)(Q @ operator.matrix @ Q.T, operator.explained)
    assert angular_distance(operator, turned) < 1e-3 and spectral_distance(operator, turned) < 1e-9
    assert operator.eigenvalues[0].abs().item() == pytest.approx(0.99, abs=0.02)


def quadratic(ys: torch.Tensor) -> torch.Tensor:
    return (ys[-1] - 0.5).square().mean()


def test_the_hessian_by_steps_sums_to_the_hessian():
    torch.manual_seed(0)
    cell, xs = ElmanCell(1, 3), torch.randn(6, 4, 1)
    apart, whole = step_curvature(cell, xs, quadratic), hessian_spectrum(cell, xs, quadratic)
    assert torch.allclose(apart.total, whole.eigenvalues, atol=1e-10)
    assert torch.allclose(apart.blocks, apart.blocks.T, atol=1e-12) and 0 < apart.between_share < 1


def test_a_linear_readout_of_one_step_has_the_gram_matrix_as_hessian():
    cell, xs = ElmanCell(2, 1, squash="identity", bias=False), torch.randn(1, 50, 2)
    found = hessian_spectrum(cell, xs, quadratic, names=["weight_ih"])
    gram = 2 * (xs[0].double().T @ xs[0].double()) / 50
    assert torch.allclose(found.eigenvalues, torch.linalg.eigvalsh(gram).flip(0))


def test_lanczos_finds_the_ends_of_a_written_out_spectrum():
    torch.manual_seed(0)
    cell, xs = ElmanCell(2, 20), torch.randn(4, 6, 2)  # 460 parameters: too many to be written out
    found = hessian_spectrum(cell, xs, quadratic, count=4)
    few = hessian_spectrum(cell, xs, quadratic, count=60)
    assert not found.complete and found.eigenvalues[0].item() == pytest.approx(few.eigenvalues[0].item(), rel=1e-4)


def test_a_loss_that_ignores_the_parameters_is_refused():
    with pytest.raises(ValueError, match="does not depend"):
        hessian_spectrum(ElmanCell(1, 2), torch.randn(3, 2, 1), lambda ys: torch.zeros(()), names=["bias"])


def test_courses_show_every_gate_and_clamps_show_in_them():
    cell = make_cell("lstm", 2, 3)
    found = courses(cell, torch.randn(20, 2, 2), edits=[Clamp("forget[1]", 0.25)], names=("forget", "c", "h"))
    assert list(found.values) == ["forget", "c", "h"]
    assert torch.equal(found.values["forget"][:, 1], torch.full((20,), 0.25).double())
    assert set(courses(cell, torch.randn(5, 1, 2)).values) >= {"forget", "input_gate", "output_gate", "c", "h"}


def test_pictures_can_be_drawn_and_nothing_is_changed(tmp_path):
    cell = PhaseCell(segments=2)
    before = copy.deepcopy(cell.state_dict())
    xs = drive_input(cell, 4.0, batch=(60, 1))
    rows = raster(cell, xs, transient=10)
    assert rows.labels[0] == "body.left[0]" and rows.activity.shape == (50, 8)
    results = [
        rows,
        courses(make_cell("lstm", 2, 3), torch.randn(20, 1, 2)),
        portrait({"swim": rows.activity, "walk": rows.activity * 2}),
        phase_portrait(van_der_pol(), torch.tensor([[0.1, 0.0], [2.0, 2.0]]), steps=50),
        unit_roles(rows.activity, {"phase": torch.linspace(0, 5, 50) % 1}),
        dimensionality(rows.activity),
        linear_operator(rotated(0.3, 0), delays=3),
        compare_dynamics([rotated(0.3, 0), rotated(0.4, 0)], ["a", "b"], method="spectral"),
        step_curvature(ElmanCell(1, 2), torch.randn(3, 2, 1), quadratic),
        hessian_spectrum(ElmanCell(1, 2), torch.randn(3, 2, 1), quadratic),
    ]
    for i, result in enumerate(results):
        result.plot(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000
    assert all(torch.equal(before[key], value) for key, value in cell.state_dict().items())
    with pytest.raises(ValueError, match="two numbers"):
        phase_portrait(cell, torch.zeros(1, 2))
