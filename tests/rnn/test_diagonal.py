"""Diagonal, oscillatory and orthogonal recurrences: modes, stability, and memory that lasts."""

import math

import pytest
import torch

from rnn.diagonal import LinOSSCell, LinOSSState, LRUCell
from rnn.edits import Clamp
from rnn.orthogonal import OrthogonalCell
from rnn.scan import METHODS, linear_recurrence
from rnn.unroll import unroll


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stepped(M, b, h, resets, fresh):
    """The recurrence written out."""
    out = []
    for t in range(len(b)):
        h = torch.where(resets[t][:, None, None], fresh, h)
        h = torch.einsum("ijn,bjn->bin", M, h) + b[t]
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("steps", [1, 31, 70])
def test_every_scan_equals_the_recurrence_written_out_with_all_gradients(method, k, steps):
    M, b = (0.3 * normal(k, k, 4)).requires_grad_(), normal(steps, 3, k, 4, seed=1).requires_grad_()
    h0, fresh = (normal(3, k, 4, seed=s).requires_grad_() for s in (2, 3))
    resets = torch.rand(steps, 3, generator=torch.Generator().manual_seed(4)) < 0.1
    weight = normal(steps, 3, k, 4, seed=5)
    truth = stepped(M, b, h0, resets, fresh)
    found = linear_recurrence(M, b, h0, resets=resets, fresh=fresh, method=method)
    assert torch.allclose(found, truth, atol=1e-12)
    wanted = (M, b, h0) + ((fresh,) if resets.any() else ())
    for a, c in zip(torch.autograd.grad((found * weight).sum(), wanted),
                    torch.autograd.grad((truth * weight).sum(), wanted), strict=True):  # fmt: skip
        assert torch.allclose(a, c, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_scans_have_second_derivatives(method):
    M, b, h0 = (
        (0.3 * normal(2, 2, 2)).requires_grad_(),
        normal(5, 2, 2, 2).requires_grad_(),
        normal(2, 2, 2).requires_grad_(),
    )
    assert torch.autograd.gradgradcheck(lambda *p: linear_recurrence(*p, method=method), (M, b, h0))


def test_an_lru_is_the_complex_recurrence_of_the_paper():
    torch.manual_seed(0)
    cell = LRUCell(3, 4, output_size=2).double()
    xs = normal(25, 2, 3)
    lam = torch.exp(-torch.exp(cell.nu) + 1j * torch.exp(cell.theta))
    B = torch.complex(cell.B[0], cell.B[1]) * torch.exp(cell.gamma)[:, None]
    C = torch.complex(*cell.C.chunk(2, -1))
    h = torch.zeros(2, 4, dtype=torch.complex128)
    run = unroll(cell, xs)
    for t, x in enumerate(xs):
        h = lam * h + x.to(B) @ B.T
        assert torch.allclose(run.outputs[t], (h @ C.T).real + x @ cell.D.T, atol=1e-12)


def test_modes_start_on_the_ring_with_unit_variance_under_white_input():
    torch.manual_seed(0)
    cell = LRUCell(1, 400, r_min=0.8, r_max=0.95, max_phase=1.0).double()
    z = cell.eigenvalues().detach()
    assert z.abs().min() >= 0.8 - 1e-6 and z.abs().max() <= 0.95 + 1e-6
    assert z.angle().min() >= 0 and z.angle().max() <= 1
    assert float((z.abs() ** 2).mean()) == pytest.approx((0.8**2 + 0.95**2) / 2, abs=0.01), "uniform in area"
    h = unroll(cell, normal(400, 20, 1), record=("h",)).trace["h"][100:].detach()
    modulus = h[..., :400].square() + h[..., 400:].square()  # |B|^2 has mean 1
    assert float(modulus.mean()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("scheme", ["symplectic", "implicit"])
def test_linoss_is_stable_for_any_parameters_and_starts_with_the_modes_asked_for(scheme):
    torch.manual_seed(0)
    cell = LinOSSCell(1, 50, scheme=scheme, r_min=0.9, r_max=0.99, max_phase=0.3).double()
    z = cell.eigenvalues().detach()
    if scheme == "symplectic":
        assert z.abs().min() > 0.9 - 1e-4 and z.abs().max() < 0.99 + 1e-4 and z.angle().max() < 0.31
    with torch.no_grad():
        cell.stiffness.copy_(20 * torch.randn(50, dtype=torch.float64))
        cell.damping.copy_(20 * torch.randn(50, dtype=torch.float64))
    M = cell.transition().detach().permute(2, 0, 1)
    assert torch.linalg.eigvals(M).abs().max() <= 1 + 1e-6  # equal eigenvalues are found to half the digits


def test_linoss_follows_the_damped_oscillator_and_can_change_its_time_step():
    cell = LinOSSCell(1, 1, dt=0.001).double()
    omega, zeta = 2 * math.pi, 0.05
    softplus_inverse = lambda v: math.log(math.expm1(v)) if v < 30 else v
    with torch.no_grad():
        cell.stiffness.fill_(softplus_inverse(omega**2))
        cell.damping.fill_(softplus_inverse(2 * zeta * omega))
        cell.B.fill_(0.0)

    def end(dt: float) -> float:
        cell.dt = dt
        start = LinOSSState(torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
        return unroll(cell, torch.zeros(round(1.7 / dt), 1, 1, dtype=torch.float64), start).state.position.item()

    damped = omega * math.sqrt(1 - zeta**2)
    truth = math.exp(-zeta * omega * 1.7) * (math.cos(damped * 1.7) + zeta * omega / damped * math.sin(damped * 1.7))
    assert end(0.001) == pytest.approx(truth, abs=5e-3)
    assert abs(end(0.002) - truth) == pytest.approx(2 * abs(end(0.001) - truth), rel=0.1), "first order in dt"


def test_a_clamp_of_a_position_moves_the_velocity_it_pulls_at():
    torch.manual_seed(0)
    cell = LinOSSCell(1, 3).double()
    xs = torch.zeros(10, 1, 1, dtype=torch.float64)
    run = unroll(cell, xs, edits=(Clamp("position[1]", 1.0, steps=slice(0, 5)),), record=("velocity", "position"))
    assert torch.all(run.trace["position"][:5, 0, 1] == 1) and run.trace["velocity"][1:, 0, 1].abs().min() > 0
    assert torch.all(run.trace["velocity"][..., [0, 2]] == 0)


@pytest.mark.parametrize(("unitary", "kind"), [(False, "matrix_exp"), (True, "matrix_exp"), (False, "cayley"),
                                               (False, "householder")])  # fmt: skip
def test_the_recurrent_matrix_stays_orthogonal_while_it_is_learned(unitary, kind):
    torch.manual_seed(0)
    cell = OrthogonalCell(2, 8, unitary=unitary, parametrization=kind)
    before = cell.Q.detach().clone()
    optimiser = torch.optim.SGD(cell.parameters(), lr=0.05)
    for _ in range(5):
        optimiser.zero_grad()
        unroll(cell, normal(20, 4, 2).float()).outputs.square().mean().backward()
        optimiser.step()
    assert (cell.Q - before).abs().max() > 1e-3, "it was learned"
    assert torch.allclose(cell.Q.T @ cell.Q, torch.eye(8), atol=1e-5)


@pytest.mark.parametrize("unitary", [False, True])
def test_gradients_keep_their_norm_over_five_hundred_steps(unitary):
    torch.manual_seed(0)
    cell = OrthogonalCell(1, 6, unitary=unitary)
    h0 = normal(1, 6).float().requires_grad_()
    run = unroll(cell, torch.zeros(500, 1, 1), cell.initial_state(1)._replace(h=h0))
    assert run.state.h.norm().item() == pytest.approx(h0.norm().item(), rel=1e-3)
    jacobian = torch.stack([torch.autograd.grad(run.state.h[0, i], h0, retain_graph=True)[0][0] for i in range(6)])
    assert torch.allclose(torch.linalg.svdvals(jacobian), torch.ones(6), atol=1e-3)


def test_the_orthogonal_matrix_is_computed_once_per_sequence(monkeypatch):
    cell = OrthogonalCell(1, 6)
    calls = []
    transform = type(cell.parametrizations["weight_hh"][0]).forward
    monkeypatch.setattr(
        type(cell.parametrizations["weight_hh"][0]), "forward", lambda self, X: calls.append(1) or transform(self, X)
    )
    unroll(cell, torch.zeros(50, 2, 1))
    assert len(calls) == 1


def test_rings_and_cells_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="r_min"):
        LRUCell(1, 4, r_min=0.9, r_max=0.5)
    with pytest.raises(ValueError, match="implicit"):
        LinOSSCell(1, 4, scheme="explicit")
    with pytest.raises(ValueError, match="even H"):
        OrthogonalCell(1, 5, unitary=True)
    with pytest.raises(ValueError, match="doubling"):
        linear_recurrence(torch.ones(1, 1, 1), torch.ones(2, 1, 1, 1), torch.ones(1, 1, 1), method="tree")
