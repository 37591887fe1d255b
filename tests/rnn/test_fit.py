"""Training: what is minimised, how gradients are treated, and that interruption and divergence lose nothing."""

import math

import numpy as np
import pytest
import torch

from rnn.checkpoint import CheckpointError
from rnn.data import Record, Sections, cut
from rnn.fit import Diverged, Training, evaluate, fit, fit_least_squares
from rnn.model import Model, Readout, pack, run_copies, unpack
from rnn.models import make_cell
from rnn.objectives import cross_entropy, last_step, mixture_density, mixture_sample, reduce_steps, squared_error
from rnn.optimise import clip, gradient_norm, levenberg_marquardt


def data(T=40, B=6, seed=0, dtype=torch.float64):
    """A stable nonlinear filter driven by noise."""
    g = torch.Generator().manual_seed(seed)
    us = torch.randn(T, B, 1, generator=g, dtype=dtype)
    h, ys = torch.zeros(B, 1, dtype=dtype), []
    for u in us:
        h = 0.8 * h + 0.5 * torch.tanh(u)
        ys.append(h)
    return Sections(us, torch.stack(ys), torch.ones(T, B, dtype=torch.bool))


def model(name="gru", H=5, seed=0, **settings):
    torch.manual_seed(seed)
    inputs = 2 if settings.get("feedback") else 1
    return Model(make_cell(name, inputs, H), 1, **settings).double()


@pytest.mark.parametrize("optimiser", ["adam", "momentum", "sgd", "rprop", "lbfgs", "lm"])
def test_every_optimiser_lowers_the_loss(optimiser):
    net, sections = model(), data()
    before = evaluate(net, sections)
    iterations = {"lbfgs": 4, "lm": 8}.get(optimiser, 60)
    lr = {"rprop": 1e-2, "sgd": 0.3, "momentum": 0.1}.get(optimiser, 1e-2)
    done = fit(net, sections, settings=Training(optimiser=optimiser, iterations=iterations, lr=lr, check_every=5))
    after = evaluate(net, sections)
    assert after < 0.3 * before and after == pytest.approx(done.best_loss)


def test_levenberg_marquardt_finds_what_gradient_descent_does_not():
    sections = data()
    adam, lm = model("elman"), model("elman")
    fit(adam, sections, settings=Training(iterations=150, lr=1e-2))
    fit_least_squares(lm, sections, free_states=False, iterations=25, tolerance=1e-4)
    assert evaluate(lm, sections) < 0.01 * evaluate(adam, sections)


def test_least_squares_reach_the_linear_solution_in_one_step_and_free_states_are_eliminated_exactly():
    g = torch.Generator().manual_seed(0)
    X, C = (
        torch.randn(4, 30, 3, generator=g, dtype=torch.float64),
        torch.randn(4, 30, 2, generator=g, dtype=torch.float64),
    )
    y = torch.randn(4, 30, generator=g, dtype=torch.float64)

    def residuals(theta, states, rows):
        return torch.einsum("bmk,pk->pbm", X[rows], theta) + torch.einsum("bms,pbs->pbm", C[rows], states) - y[rows]

    zero = lambda *shape: torch.zeros(*shape, dtype=torch.float64)
    found = levenberg_marquardt(residuals, zero(3), zero(4, 2), iterations=20, damping=1e-6, tolerance=1e-14)
    whole = torch.cat([X.flatten(0, 1), torch.block_diag(*C)], 1)
    truth = torch.linalg.lstsq(whole, y.flatten()).solution
    assert torch.allclose(found.theta, truth[:3], atol=1e-6)
    assert torch.allclose(found.states.flatten(), truth[3:], atol=1e-6)
    in_turns = levenberg_marquardt(
        residuals, zero(3), zero(4, 2), iterations=20, damping=1e-6, tolerance=1e-14, numbers=1
    )
    assert torch.allclose(in_turns.theta, found.theta, atol=1e-9)


@pytest.mark.parametrize("settings", [{"name": "oscillator", "H": 2}, {"name": "gru"}, {"name": "lru"}])
def test_copies_in_one_batch_give_the_numbers_of_single_models(settings):
    net, sections = model(**settings), data(T=12)
    names = [name for name, _ in net.named_parameters()]
    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    thetas = theta + 0.05 * torch.randn(3, len(theta), dtype=torch.float64)
    states = torch.randn(3, 6, pack(net.cell.initial_state(1)).shape[-1], dtype=torch.float64)
    with torch.no_grad():
        together = run_copies(net, names, thetas, sections.us, states)
        for i in range(3):
            torch.nn.utils.vector_to_parameters(thetas[i], net.parameters())
            alone = net(sections.us, unpack(net.cell, states[i])).outputs
            assert torch.allclose(together[:, i], alone, atol=1e-10)


def test_truncation_cuts_the_gradient_at_its_length_and_the_state_goes_on():
    """One step of plain gradient descent with pieces as long as the section equals the whole; shorter ones differ."""
    sections = data(T=30)
    weights = {}
    for truncation in (None, 30, 10):
        net = model("elman")
        fit(
            net,
            sections,
            settings=Training(
                optimiser="sgd", lr=0.1, iterations=1, truncation=truncation, clip_norm=None, decay="none"
            ),
        )
        weights[truncation] = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert torch.equal(weights[None], weights[30])
    assert not torch.allclose(weights[None], weights[10], atol=1e-4)
    net = model("elman")
    state = net.initial(sections.us)
    whole = net(sections.us).outputs
    halves = []
    for part in sections.us.split(10):
        run = net(part, state)
        state = run.state
        halves.append(run.outputs)
    assert torch.allclose(torch.cat(halves), whole)


@pytest.mark.parametrize("method", ["exact", "snap1"])
def test_online_learning_trains_and_exact_equals_backpropagation(method):
    sections = data(T=12, B=3)
    step = Training(optimiser="sgd", lr=0.1, iterations=3, clip_norm=None, decay="none", check_every=1)
    online, through = model("elman", 4), model("elman", 4)
    before = evaluate(online, sections)
    from dataclasses import replace

    fit(online, sections, settings=replace(step, method=method))
    fit(through, sections, settings=step)
    assert evaluate(online, sections) < before
    if method == "exact":
        for a, b in zip(online.parameters(), through.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def test_losses_summed_over_time_have_the_sum_of_every_steps_gradient():
    sections, steps = data(), {}
    for reduction in ("sum", "mean"):
        net = model()
        before = net.readout.C.detach().clone()
        settings = Training(optimiser="sgd", lr=1e-4, decay="none", iterations=1, clip_norm=None, reduction=reduction)
        fit(net, sections, settings=settings)
        steps[reduction] = net.readout.C.detach() - before
    net = model()
    every = (net(sections.us).outputs - sections.ys).square()  # [T, B, 1]
    whole = torch.zeros_like(steps["sum"])
    for t in range(len(every)):
        whole += torch.autograd.grad(every[t].mean(), net.readout.C, retain_graph=True)[0]
    assert torch.allclose(steps["sum"], -1e-4 * whole, rtol=1e-9)
    assert torch.allclose(steps["sum"], len(every) * steps["mean"], rtol=1e-9)


def test_masked_steps_and_the_washout_do_not_count():
    net, sections = model(), data()
    spoiled = Sections(sections.us.clone(), sections.ys.clone(), sections.mask.clone())
    spoiled.ys[:5] += 100.0
    spoiled.ys[30:, 2] += 100.0
    spoiled.us[30:, 2] = 7.0
    spoiled.mask[30:, 2] = False
    clean_mask = sections.mask.clone()
    clean_mask[:5] = False
    clean_mask[30:, 2] = False
    truth = float(reduce_steps(squared_error(net(sections.us).outputs, sections.ys).detach(), clean_mask))
    assert evaluate(net, spoiled, washout=5) == pytest.approx(truth)


def test_an_interrupted_training_goes_on_to_the_same_numbers(tmp_path):
    sections, valid = data(), data(seed=1)
    settings = Training(iterations=40, batch=3, noise=0.05, start="free", random_start=0.1, check_every=5)
    whole = model()
    fit(whole, sections, valid, settings)
    from dataclasses import replace

    path = tmp_path / "run.safetensors"
    first = model()
    fit(first, sections, valid, replace(settings, seconds=0.0), checkpoint=path)  # stops after one iteration
    resumed = model(seed=99)
    done = fit(resumed, sections, valid, settings, checkpoint=path)
    assert done.iterations == 40
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="other settings .*lr was 0.003, is 0.1"):
        fit(model(), sections, valid, replace(settings, lr=0.1), checkpoint=path)


def test_a_diverging_training_stops_keeps_the_best_weights_and_says_so():
    sections = data()
    net = model("linear")
    before = evaluate(net, sections)
    settings = Training(optimiser="sgd", lr=30.0, clip_norm=None, iterations=500, check_every=1, decay="none")
    with pytest.warns(Diverged, match="diverged at iteration .*best weights so far were kept"):
        done = fit(net, sections, settings=settings)
    assert done.stopped.startswith("diverged") and done.iterations < 500
    assert math.isfinite(evaluate(net, sections)) and evaluate(net, sections) <= max(before, done.best_loss) * 1.0001


def test_training_stops_early_and_keeps_the_weights_that_were_best_on_held_out_sections():
    sections, valid = data(T=15, B=2), data(T=60, B=8, seed=3)
    noisy = Sections(sections.us, sections.ys + 0.5 * torch.randn_like(sections.ys), sections.mask)
    net = model(H=20)
    done = fit(net, noisy, valid, Training(iterations=3000, lr=2e-2, check_every=5, patience=8))
    assert done.stopped == "no better loss in 8 checks" and done.iterations < 3000
    assert evaluate(net, valid) == pytest.approx(min(row["valid_loss"] for row in done.history))
    assert evaluate(net, valid) < done.history[-1]["valid_loss"]


def test_teacher_forcing_feeds_measured_outputs_and_a_free_run_its_own():
    net = model(feedback=True)
    sections = data(T=10)
    forced = net(sections.us, ys=sections.ys).outputs
    free = net(sections.us, ys=sections.ys[:4]).outputs
    assert torch.allclose(forced[:5], free[:5]) and not torch.allclose(forced[6:], free[6:])
    by_hand, state, last = [], net.initial(sections.us), torch.zeros(6, 1, dtype=torch.float64)
    for t in range(10):
        x = torch.cat([sections.us[t], last], -1)
        z, state = net.cell(x, state)
        by_hand.append(net.readout(z, x))
        last = sections.ys[t] if t < 4 else by_hand[-1]
    assert torch.allclose(torch.stack(by_hand), free)
    before = evaluate(net, sections, loss="teacher")
    fit(net, sections, settings=Training(iterations=60, loss="teacher", lr=1e-2, truncation=5))
    assert evaluate(net, sections, loss="teacher") < 0.3 * before


@pytest.mark.parametrize("start", ["zero", "learned", "encoder"])
def test_initial_states_of_every_kind_learn_and_better_ones_help(start):
    """A decay from an unknown value: only a state read from the first samples can know it."""
    values = torch.linspace(0.5, 1.5, 12, dtype=torch.float64)
    ys = (values * 0.97 ** torch.arange(30, dtype=torch.float64)[:, None]).unsqueeze(-1)
    sections = Sections(torch.zeros(30, 12, 1, dtype=torch.float64), ys, torch.ones(30, 12, dtype=torch.bool))
    net = model("elman", 6, start=start, window=3 if start == "encoder" else 0)
    fit(net, sections, settings=Training(iterations=150, lr=2e-2))
    error = evaluate(net, sections, window=3)
    spread = float((ys - ys.mean(1, keepdim=True)).square().mean())  # what one state for all cannot explain
    assert error < 0.1 * spread if start == "encoder" else error > 0.9 * spread


def test_free_states_per_section_explain_what_one_state_cannot():
    values = torch.linspace(0.5, 1.5, 8, dtype=torch.float64)
    ys = (values * 0.97 ** torch.arange(30, dtype=torch.float64)[:, None]).unsqueeze(-1)
    sections = Sections(torch.zeros(30, 8, 1, dtype=torch.float64), ys, torch.ones(30, 8, dtype=torch.bool))
    done = fit(model("linear", 2), sections, settings=Training(optimiser="lm", start="free", iterations=40))
    assert done.best_loss < 1e-6


def test_clipping_bounds_the_norm_keeps_the_direction_and_values_are_cut_one_by_one():
    make = lambda: [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    for kind, expected in [
        ({"norm": 1.0}, [0.6 * 0.8, 0.8 * 0.8, 0.6]),
        ({"norm": 100.0}, [2.4, 3.2, 3.0]),
        ({"value": 3.0}, [2.4, 3.0, 3.0]),
        ({"normalise": True}, [0.48, 0.64, 0.6]),
    ]:
        a, b = make()
        a.grad, b.grad = torch.tensor([2.4, 3.2]), torch.tensor([3.0])
        assert clip([a, b], **kind) == pytest.approx(5.0)
        assert [*a.grad.tolist(), *b.grad.tolist()] == pytest.approx(expected)
    a, b = make()
    a.grad, b.grad = torch.tensor([2.4e-9, 3.2e-9]), torch.tensor([3.0e-9])
    clip([a, b], normalise=True)
    assert gradient_norm([a, b]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimiser": "adamant"}, "optimisers are"),
        ({"loss": "teacher"}, "feedback=True"),
        ({"method": "uoro"}, "methods are"),
        ({"washout": 40}, "nothing is left to learn"),
        ({"truncation": 0}, "at least one step"),
        ({"decay": "linear"}, "unknown decay"),
        ({"start": "random"}, "unknown start"),
        ({"reduction": "max"}, "unknown reduction"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        fit(model(), data(), settings=Training(iterations=2, **settings))


def test_damped_oscillator_eigenvalues_are_learned_from_noisy_data_to_a_thousandth():
    omega, zeta, dt = 2 * math.pi * 0.4, 0.06, 0.1
    truth = np.exp((-zeta + 1j * math.sqrt(1 - zeta**2)) * omega * dt)
    rng = np.random.default_rng(0)
    y = np.zeros(1500)
    u = rng.standard_normal(1500)
    a1, a2 = 2 * truth.real, -(abs(truth) ** 2)
    for t in range(2, 1500):
        y[t] = a1 * y[t - 1] + a2 * y[t - 2] + 0.1 * u[t - 1]
    noisy = (y + 0.05 * y.std() * rng.standard_normal(1500)) / y.std()
    sections = cut([Record(u, noisy, dt)], 500, dtype=torch.float64)
    from rnn.oscillator import OscillatorCell

    cell = OscillatorCell(1, 1, dt=dt, frequency=0.3, damping=0.1, spring="linear", friction=False)
    net = Model(cell, 1).double()
    fit_least_squares(net, sections, iterations=30)
    assert abs(cell.eigenvalues()[0, 0].item() - truth) < 1e-3 or abs(cell.eigenvalues()[0, 1].item() - truth) < 1e-3
    linear = Model(make_cell("linear", 1, 2, output_size=1), 1).double()
    with torch.no_grad():
        linear.cell.matrix.copy_(torch.tensor([[0.9, 0.3], [-0.3, 0.9]]))
    fit_least_squares(linear, sections, iterations=60, tolerance=1e-5)
    assert (linear.cell.eigenvalues().detach().numpy() - truth).__abs__().min() < 1e-3


def test_a_cubic_readout_counts_every_product_once():
    readout = Readout(3, 1, degree=3).double()
    assert len(readout.monomials) == 6 + 10
    with torch.no_grad():
        readout.C.zero_(), readout.N.zero_()
        readout.N[0, readout.monomials.index((0, 1, 1))] = 2.0
    z = torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64)
    assert readout(z, z[:, :0]).item() == 2.0 * 3.0 * 4.0


def test_labels_last_steps_and_densities_have_the_losses_of_their_definitions():
    logits, labels = torch.tensor([[[0.0, math.log(3.0)]]]), torch.tensor([[1]])
    assert cross_entropy(logits, labels).item() == pytest.approx(-math.log(0.75))
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    assert last_step(mask).tolist() == [[False, True], [False, False], [True, False]]
    generator = torch.Generator().manual_seed(0)
    outputs = torch.zeros(20_000, 1, 10)
    outputs[..., 0] = math.log(3.0)  # weights 3/4 and 1/4
    outputs[..., 2:4], outputs[..., 4:6] = 2.0, -6.0
    outputs[..., 6:] = math.log(0.5)
    draws = mixture_sample(outputs, 2, generator=generator)
    assert draws.mean().item() == pytest.approx(0.75 * 2 - 0.25 * 6, abs=0.1)
    grid = torch.linspace(-12, 8, 801)
    density = torch.exp(
        -mixture_density(outputs[:801, :, :].roll(0), torch.stack([grid, torch.full_like(grid, 2.0)], -1)[:, None])
    )
    at_two = torch.exp(-mixture_density(outputs[:1], torch.tensor([[[2.0, 2.0]]])))
    assert at_two.item() == pytest.approx(0.75 / (2 * math.pi * 0.25), rel=1e-4) and density.max() <= at_two * 1.0001
