import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sim import oscillators as osc

GAMMA = 0.05


@pytest.mark.parametrize(
    ("matrix", "modulus", "angle"),
    [
        (osc.backward_matrix, (1 + GAMMA) ** -0.5, np.arctan(GAMMA**0.5)),
        (osc.forward_matrix, (1 + GAMMA) ** 0.5, np.arctan(GAMMA**0.5)),
        (osc.symplectic_matrix, 1.0, np.arccos(1 - GAMMA / 2)),
    ],
)
def test_the_three_recurrences_damp_grow_and_conserve_as_their_eigenvalues_say(matrix, modulus, angle):
    values = np.linalg.eigvals(matrix(GAMMA))
    assert np.abs(values) == pytest.approx([modulus] * 2)
    assert np.abs(np.angle(values)) == pytest.approx([angle] * 2)
    r = osc.run(osc.linear(matrix(GAMMA)), [1.1, 1.0], 600)[:, 0]
    peak = lambda part: np.abs(part).max()
    assert peak(r[500:600]) / peak(r[:100]) == pytest.approx(modulus**500, rel=0.15)


def test_the_recurrence_gives_the_printed_numbers_and_periods():
    r = osc.run(osc.linear(osc.backward_matrix(GAMMA)), [1.1, 1.0], 60)[:, 0]
    assert r[:4] == pytest.approx([1.1, 1.1429, 1.1293, 1.0625], abs=5e-5)
    extrema = r[1:-1][np.diff(np.sign(np.diff(r))) != 0]
    assert extrema[:3] == pytest.approx([1.1429, -0.8037, 0.5698], abs=5e-5)
    period = lambda m: 2 * np.pi / np.abs(np.angle(np.linalg.eigvals(m(GAMMA))[0]))
    assert period(osc.backward_matrix) == pytest.approx(28.56, abs=0.005)
    assert period(osc.symplectic_matrix) == pytest.approx(28.04, abs=0.005)
    assert 2 * np.pi / GAMMA**0.5 == pytest.approx(28.10, abs=0.005)


def test_a_constant_input_settles_at_the_input_and_the_gain_is_that_of_the_recurrence():
    W = osc.forced_matrix(GAMMA)
    h = np.zeros(2)
    for _ in range(1500):
        h = W @ np.array([0.7, *h])
    assert h == pytest.approx([0.7, 0.7])
    angles = np.linspace(0.01, np.pi, 3001)
    gain = osc.forced_gain(GAMMA, angles)
    assert gain.max() == pytest.approx(4.58, abs=0.005) and angles[gain.argmax()] == pytest.approx(0.2187, abs=1e-3)
    x, h, out = np.sin(0.3 * np.arange(2000)), np.zeros(2), []
    for value in x:
        h = W @ np.array([value, *h])
        out.append(h[0])
    assert np.abs(out[1000:]).max() == pytest.approx(osc.forced_gain(GAMMA, 0.3), rel=2e-3)


@pytest.mark.parametrize("zeta", [0.0, 0.05, 0.7])
def test_the_exact_step_equals_the_closed_form_at_any_step_size(zeta):
    start = np.array([1.0, -0.5])
    for dt in (0.01, 0.3, 2.0):
        states = osc.run(osc.linear(osc.exact_flow(osc.damped_matrix(3.0, zeta), dt)), start, 20)
        assert states == pytest.approx(osc.damped_solution(dt * np.arange(21), start, 3.0, zeta), abs=1e-12)


def test_the_exact_hold_equals_an_ode_solver_under_a_stepwise_input():
    A, B = osc.damped_matrix(2.0, 0.1), np.array([[0.0], [1.5]])
    phi, gamma = osc.exact_hold(A, B, 0.4)
    u = np.random.default_rng(0).standard_normal(10)
    s = truth = np.array([0.3, 0.2])
    for value in u:
        s = phi @ s + gamma @ [value]
        truth = solve_ivp(lambda t, y, v=value: A @ y + B[:, 0] * v, (0, 0.4), truth, rtol=1e-10, atol=1e-12).y[:, -1]
    assert s == pytest.approx(truth, abs=1e-8)


def test_a_batch_of_systems_steps_like_each_alone():
    omega, zeta = np.array([1.0, 2.0, 5.0]), np.array([0.0, 0.1, 0.3])
    phi, gamma = osc.exact_hold(osc.damped_matrix(omega, zeta), np.array([[0.0], [1.0]]), 0.1)
    for i in range(3):
        single = osc.exact_hold(osc.damped_matrix(omega[i], zeta[i]), np.array([[0.0], [1.0]]), 0.1)
        assert phi[i] == pytest.approx(single[0]) and gamma[i] == pytest.approx(single[1])
    states = np.random.default_rng(1).standard_normal((3, 2))
    field = lambda s: osc.van_der_pol(s, mu=np.array([0.1, 1.0, 2.0]), omega=omega)
    batched = osc.runge_kutta_step(field, states, 0.05)
    for i, (m, w) in enumerate(zip((0.1, 1.0, 2.0), omega, strict=True)):
        alone = osc.runge_kutta_step(lambda s, m=m, w=w: osc.van_der_pol(s, mu=m, omega=w), states[i], 0.05)
        assert batched[i] == pytest.approx(alone)


def test_the_closed_form_of_the_held_step_equals_the_matrix_exponential():
    omega, zeta = np.array([1.0, 2.0, 6.3]), np.array([0.0, 0.1, 0.9])
    phi, gamma = osc.damped_hold(omega, zeta, 0.05)
    expected = osc.exact_hold(osc.damped_matrix(omega, zeta), np.array([[0.0], [1.0]]), 0.05)
    assert phi == pytest.approx(expected[0]) and gamma == pytest.approx(expected[1][..., 0])


DUFFING_FORCE = lambda x: x - x**3


@pytest.mark.parametrize(
    ("step", "order"),
    [
        (lambda s, dt: osc.euler_step(lambda y: osc.duffing(y), s, dt), 1),
        (lambda s, dt: osc.symplectic_step(DUFFING_FORCE, s, dt), 1),
        (lambda s, dt: osc.leapfrog_step(DUFFING_FORCE, s, dt), 2),
        (lambda s, dt: osc.runge_kutta_step(lambda y: osc.duffing(y), s, dt), 4),
    ],
)
def test_halving_the_step_cuts_the_error_by_the_order_of_the_method(step, order):
    start = np.array([0.4, 0.6])
    truth = solve_ivp(lambda t, y: osc.duffing(y), (0, 2), start, rtol=1e-12, atol=1e-13).y[:, -1]
    errors = []
    for n in (100, 200, 400):
        errors.append(np.linalg.norm(osc.run(lambda s, n=n: step(s, 2 / n), start, n)[-1] - truth))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates == pytest.approx([order] * 2, abs=0.15)


def test_symplectic_steps_keep_the_energy_for_a_thousand_cycles_and_euler_does_not():
    start = np.array([0.2, 0.6])
    energy = osc.duffing_energy(start)
    for step in (osc.symplectic_step, osc.leapfrog_step):
        states = osc.run(lambda s, step=step: step(DUFFING_FORCE, s, 0.05), start, 20_000)
        assert np.abs(osc.duffing_energy(states) - energy).max() < 0.03
        assert osc.duffing_energy(states[-2000:]).mean() == pytest.approx(
            osc.duffing_energy(states[:2000]).mean(), abs=2e-3
        )
    grown = osc.run(lambda s: osc.euler_step(lambda y: osc.duffing(y), s, 0.02), start, 2000)
    assert osc.duffing_energy(grown[-1]) > energy + 0.5


def test_the_leapfrog_runs_backwards_and_its_damping_shrinks_areas_at_the_exact_rate():
    forth = osc.run(lambda s: osc.leapfrog_step(DUFFING_FORCE, s, 0.1), [0.3, 0.5], 500)
    back = osc.run(lambda s: osc.leapfrog_step(DUFFING_FORCE, s, -0.1), forth[-1], 500)
    assert back[-1] == pytest.approx(forth[0], abs=1e-9)
    corner, eps = np.array([0.3, 0.5]), 1e-6
    move = lambda s: osc.leapfrog_step(DUFFING_FORCE, s, 0.1, damping=0.4)
    jacobian = np.stack([(move(corner + eps * e) - move(corner - eps * e)) / (2 * eps) for e in np.eye(2)], axis=1)
    assert np.linalg.det(jacobian) == pytest.approx(np.exp(-0.4 * 0.1), rel=1e-8)


@pytest.mark.parametrize("start", [[0.01, 0.0], [4.0, -3.0]])
def test_van_der_pol_settles_on_its_cycle_from_inside_and_outside(start):
    states = osc.run(
        lambda s: osc.runge_kutta_step(lambda y: osc.van_der_pol(y, mu=0.1, omega=2.0), s, 0.02), start, 12_000
    )
    x = states[8000:, 0]
    assert np.abs(x).max() == pytest.approx(2.0, rel=0.01)
    crossings = np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0)) * 0.02
    assert 2 * np.pi / np.diff(crossings).mean() == pytest.approx(2.0 * (1 - 0.1**2 / 16), rel=2e-3)


def test_a_damped_double_well_comes_to_rest_in_a_well():
    states = osc.run(lambda s: osc.leapfrog_step(DUFFING_FORCE, s, 0.05, damping=0.3), [0.01, 1.2], 2000)
    assert np.abs(states[-1]) == pytest.approx([1.0, 0.0], abs=1e-6)


def test_coupled_oscillators_conserve_energy_and_beat_at_the_difference_of_their_modes():
    A = osc.coupled_matrix([2.0, 2.0], [[0, 0.1], [0.1, 0]])
    modes = np.unique(np.abs(np.linalg.eigvals(A).imag).round(9))
    assert modes == pytest.approx([2.0, np.sqrt(4.2)])
    half_beat = np.pi / (modes[1] - modes[0])
    state = osc.exact_flow(A, half_beat) @ [1.0, 0, 0, 0]
    energy = lambda s: s[0] ** 2 + s[2] ** 2 / 4
    assert energy(state) < 0.01  # all of it has gone over to the other oscillator
    decaying = osc.exact_flow(osc.coupled_matrix([2.0, 2.0], [[0, 0.1], [0.1, 0]], 0.05), 100.0) @ [1.0, 0, 0, 0]
    assert np.abs(decaying).max() < 1e-3


@pytest.mark.parametrize("zeta", [0.02, 0.1, 0.5, 0.99])
def test_the_euler_network_turns_unstable_exactly_at_its_limit(zeta):
    A = osc.damped_matrix(3.0, zeta)
    limit = osc.euler_stability_limit(A)
    radius = lambda dt: np.abs(np.linalg.eigvals(osc.euler_matrix(A, dt))).max()
    assert radius(0.999 * limit) < 1 < radius(1.001 * limit)


def test_an_undamped_or_growing_system_is_never_stable_under_euler():
    assert osc.euler_stability_limit(osc.damped_matrix(3.0, 0.0)) == 0
    assert osc.euler_stability_limit(osc.damped_matrix(3.0, -0.1)) == 0
    assert osc.euler_stability_limit(np.zeros((2, 2))) == 0


def test_the_error_of_one_euler_step_falls_with_its_square():
    A = osc.damped_matrix(3.0, 0.1)
    assert osc.euler_flow_error(A, 0.02) / osc.euler_flow_error(A, 0.01) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: osc.backward_matrix(0.0),
        lambda: osc.forced_matrix(-1.0),
        lambda: osc.damped_solution(0.0, np.zeros(2), 1.0, 1.0),
        lambda: osc.coupled_matrix([1.0, 1.0], [1.0]),
        lambda: osc.damped_hold(-1.0, 0.1, 0.1),
        lambda: osc.exact_hold(np.eye(2), np.ones((3, 1)), 0.1),
    ],
)
def test_impossible_parameters_are_refused(call):
    with pytest.raises(ValueError, match="received"):
        call()
