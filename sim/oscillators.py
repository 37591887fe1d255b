r"""Damped, forced, Duffing, van der Pol and coupled oscillators, and ways to step them; batched array code.

A state is `[..., 2]`: position and velocity (coupled: `[..., 2 n]`, all positions, then all velocities). Every function
broadcasts over the leading axes, so each world of a batch can have its own parameters.

Three kinds of step: exact (`exact_flow`, `exact_hold`: the matrix exponential, linear systems), structure-preserving
(`symplectic_step`, `leapfrog_step`: amplitude neither grows nor decays by itself), and general (`runge_kutta_step`,
`euler_step`). `backward_matrix`, `forward_matrix`, `symplectic_matrix` and `forced_matrix` are the same oscillator as a
linear recurrence on its own past, i.e. as the smallest recurrent network.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

__all__ = [
    "backward_matrix",
    "coupled_matrix",
    "damped_hold",
    "damped_matrix",
    "damped_solution",
    "duffing",
    "duffing_energy",
    "euler_flow_error",
    "euler_matrix",
    "euler_stability_limit",
    "euler_step",
    "exact_flow",
    "exact_hold",
    "forced_gain",
    "forced_matrix",
    "forward_matrix",
    "leapfrog_step",
    "linear",
    "run",
    "runge_kutta_step",
    "symplectic_matrix",
    "symplectic_step",
    "van_der_pol",
]

Array = NDArray[np.float64]
Parameter = float | Array
Field = Callable[[Array], Array]


# --- Right-hand sides ---------------------------------------------------------------------------------------------


def damped_matrix(omega: ArrayLike, zeta: ArrayLike = 0.0) -> Array:
    r"""\(A\) of \(x'' = -\omega^2 x - 2 \zeta \omega x'\) as \(s' = A s\), `[..., 2, 2]`.

    Args:
        omega: Natural frequency, rad/s, `[...]`.
        zeta: Damping ratio, 1 critical, `[...]`.
    """
    w, z = np.broadcast_arrays(np.asarray(omega, dtype=np.float64), np.asarray(zeta, dtype=np.float64))
    rows = [np.stack([np.zeros_like(w), np.ones_like(w)], axis=-1), np.stack([-(w**2), -2 * z * w], axis=-1)]
    return np.stack(rows, axis=-2)


def coupled_matrix(omega: ArrayLike, coupling: ArrayLike, zeta: ArrayLike = 0.0) -> Array:
    r"""\(A\) of n oscillators joined by springs, `[2 n, 2 n]`.

    \(x_i'' = -\omega_i^2 x_i - 2 \zeta_i \omega_i x_i' + \sum_j k_{ij} (x_j - x_i)\).

    Args:
        omega: Natural frequencies, rad/s, `[n]`.
        coupling: Springs per mass, 1/s^2, `[n, n]`; the diagonal does not matter.
        zeta: Damping ratios, `[n]` or one for all.

    Raises:
        ValueError: The coupling is not `[n, n]`.

    Two equal oscillators move in phase at omega and in antiphase at sqrt(omega^2 + 2 k):

    >>> A = coupled_matrix([1.0, 1.0], [[0, 1.5], [1.5, 0]])
    >>> np.sort(np.abs(np.linalg.eigvals(A).imag)).round(6).tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    w = np.asarray(omega, dtype=np.float64)
    k = np.array(coupling, dtype=np.float64)
    n = len(w)
    if k.shape != (n, n):
        raise ValueError(f"coupling must be [{n}, {n}] for {n} oscillators; received {k.shape}")
    np.fill_diagonal(k, 0.0)
    stiffness = np.diag(w**2 + k.sum(axis=1)) - k
    damping = np.diag(np.broadcast_to(2 * np.asarray(zeta) * w, (n,)))
    return np.block([[np.zeros((n, n)), np.eye(n)], [-stiffness, -damping]])


def linear(A: ArrayLike) -> Field:
    """The field \\(s' = A s\\) of a matrix `[..., d, d]`."""
    matrix = np.asarray(A, dtype=np.float64)
    return lambda s: np.einsum("...ij,...j->...i", matrix, s)


def duffing(
    state: Array,
    *,
    alpha: Parameter = -1.0,
    beta: Parameter = 1.0,
    delta: Parameter = 0.0,
    force: Parameter = 0.0,
) -> Array:
    r"""Duffing oscillator, \(x'' = -\delta x' - \alpha x - \beta x^3 + F\).

    With \(\alpha < 0\) there are two wells, at \(\pm\sqrt{-\alpha/\beta}\).
    "Erzwungene Schwingungen bei veränderlicher Eigenfrequenz" (Duffing, 1918).
    """
    x, v = state[..., 0], state[..., 1]
    return np.stack([v, -delta * v - alpha * x - beta * x**3 + force], axis=-1)


def duffing_energy(state: Array, alpha: Parameter = -1.0, beta: Parameter = 1.0) -> Array:
    r"""\(v^2/2 + \alpha x^2/2 + \beta x^4/4\) per mass, `[...]`: constant without damping and force."""
    x, v = state[..., 0], state[..., 1]
    return np.asarray(v**2 / 2 + alpha * x**2 / 2 + beta * x**4 / 4)


def van_der_pol(state: Array, *, mu: Parameter = 1.0, omega: Parameter = 1.0, force: Parameter = 0.0) -> Array:
    r"""Van der Pol oscillator, \(x'' = \mu \omega (1 - x^2) x' - \omega^2 x + F\): a limit cycle of amplitude near 2.

    "On relaxation-oscillations" (van der Pol, 1926).
    """
    x, v = state[..., 0], state[..., 1]
    return np.stack([v, mu * omega * (1 - x**2) * v - omega**2 * x + force], axis=-1)


# --- Closed form --------------------------------------------------------------------------------------------------


def damped_solution(time: ArrayLike, state: Array, omega: float, zeta: float) -> Array:
    r"""Under-damped motion in closed form, `[T, 2]`.

    \(x(t) = e^{-\zeta \omega t} (x_0 \cos \omega_d t + \frac{v_0 + \zeta \omega x_0}{\omega_d} \sin \omega_d t)\),
    \(\omega_d = \omega \sqrt{1 - \zeta^2}\).

    Raises:
        ValueError: Damping ratio outside [0, 1).
    """
    if not 0 <= zeta < 1:
        raise ValueError(f"the closed form is that of the under-damped oscillator, zeta in [0, 1); received {zeta}")
    t = np.asarray(time, dtype=np.float64)
    x0, v0 = state
    w = omega * np.sqrt(1 - zeta**2)
    b = (v0 + zeta * omega * x0) / w
    decay, c, s = np.exp(-zeta * omega * t), np.cos(w * t), np.sin(w * t)
    x = decay * (x0 * c + b * s)
    return np.stack([x, -zeta * omega * x + decay * w * (b * c - x0 * s)], axis=-1)


# --- Exact steps of linear systems --------------------------------------------------------------------------------


def exact_flow(A: ArrayLike, dt: float) -> Array:
    r"""\(e^{A \Delta t}\), `[..., d, d]`: the step that makes no error."""
    return np.asarray(expm(np.asarray(A, dtype=np.float64) * dt))


def exact_hold(A: ArrayLike, B: ArrayLike, dt: float) -> tuple[Array, Array]:
    r"""Exact step of \(s' = A s + B u\) under an input held over the step (zero-order hold).

    \(s_{t+1} = \Phi s_t + \Gamma u_t\) with \(\exp\begin{pmatrix} A & B \\ 0 & 0 \end{pmatrix} \Delta t =
    \begin{pmatrix} \Phi & \Gamma \\ 0 & 1 \end{pmatrix}\).

    Args:
        A: `[..., d, d]`.
        B: `[..., d, m]`.
        dt: Step, s.

    Returns:
        \(\Phi\) `[..., d, d]` and \(\Gamma\) `[..., d, m]`.
    """
    a, b = np.asarray(A, dtype=np.float64), np.asarray(B, dtype=np.float64)
    d, m = a.shape[-1], b.shape[-1]
    if a.shape[-2] != d or b.shape[-2] != d:
        raise ValueError(f"A must be [..., d, d] and B [..., d, m]; received {a.shape} and {b.shape}")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    block = np.zeros((*lead, d + m, d + m))
    block[..., :d, :d], block[..., :d, d:] = a, b
    step = np.asarray(expm(block * dt))
    return step[..., :d, :d], step[..., :d, d:]


def damped_hold(omega: ArrayLike, zeta: ArrayLike, dt: float) -> tuple[Array, Array]:
    r"""`exact_hold` of many damped oscillators at once, in closed form, pushed by an acceleration.

    Args:
        omega: Natural frequencies, rad/s, `[...]`, positive.
        zeta: Damping ratios, `[...]`, in [0, 1).
        dt: Step, s.

    Returns:
        \(\Phi\) `[..., 2, 2]` and \(\Gamma\) `[..., 2]` of \(s_{t+1} = \Phi s_t + \Gamma u_t\).
    """
    w, z = np.broadcast_arrays(np.asarray(omega, dtype=np.float64), np.asarray(zeta, dtype=np.float64))
    if not (np.all(w > 0) and np.all((z >= 0) & (z < 1))):
        raise ValueError(f"needs omega > 0 and zeta in [0, 1); received omega {omega!r} and zeta {zeta!r}")
    ringing = w * np.sqrt(1 - z**2)
    c, s = np.cos(ringing * dt), np.sin(ringing * dt) / ringing
    decay = np.exp(-z * w * dt)
    stay, back = decay * (c + z * w * s), decay * s
    phi = np.stack(
        [np.stack([stay, back], axis=-1), np.stack([-(w**2) * back, decay * (c - z * w * s)], axis=-1)], axis=-2
    )
    return phi, np.stack([(1 - stay) / w**2, back], axis=-1)


# --- Numerical steps ----------------------------------------------------------------------------------------------


def euler_step(field: Field, state: Array, dt: float) -> Array:
    r"""\(s + \Delta t\, f(s)\): order 1; an undamped oscillator gains amplitude at every step, whatever its size."""
    return state + dt * field(state)


def runge_kutta_step(field: Field, state: Array, dt: float) -> Array:
    """Classical Runge-Kutta step, order 4."""
    k1 = field(state)
    k2 = field(state + dt / 2 * k1)
    k3 = field(state + dt / 2 * k2)
    k4 = field(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def symplectic_step(acceleration: Field, state: Array, dt: float) -> Array:
    r"""Semi-implicit Euler, \(v \leftarrow v + \Delta t\, a(x),\ x \leftarrow x + \Delta t\, v\): order 1, keeps areas.

    Args:
        acceleration: Position `[...]` to acceleration `[...]`; must not depend on the velocity.
        state: `[..., 2]`.
        dt: Step, s.
    """
    v = state[..., 1] + dt * acceleration(state[..., 0])
    return np.stack([state[..., 0] + dt * v, v], axis=-1)


def leapfrog_step(acceleration: Field, state: Array, dt: float, damping: Parameter = 0.0) -> Array:
    r"""Half kick, drift, half kick: order 2, time-reversible, conserves areas.

    With `damping` \(\delta\) (force \(-\delta v\)) each half kick is followed or preceded by the exact decay
    \(e^{-\delta \Delta t/2}\), so areas shrink at exactly the rate of the continuous system.
    """
    decay = np.exp(-np.asarray(damping, dtype=np.float64) * dt / 2)
    v = state[..., 1] * decay + dt / 2 * acceleration(state[..., 0])
    x = state[..., 0] + dt * v
    return np.stack([x, (v + dt / 2 * acceleration(x)) * decay], axis=-1)


def run(step: Callable[[Array], Array], state: ArrayLike, steps: int) -> Array:
    """Apply a step repeatedly: `[steps + 1, ...]`, the first being the given state.

    >>> run(linear(backward_matrix(0.05)), [1.1, 1.0], 3)[:, 0].round(4).tolist()
    [1.1, 1.1429, 1.1293, 1.0625]
    """
    states = [np.asarray(state, dtype=np.float64)]
    for _ in range(steps):
        states.append(step(states[-1]))
    return np.stack(states)


# --- The oscillator as a recurrence on its own past ---------------------------------------------------------------


def backward_matrix(gamma: float) -> Array:
    r"""\(r'' = -\gamma r\) by backward differences: \(h_t = [[2\beta, -\beta], [1, 0]]\, h_{t-1}\).

    \(\beta = 1/(1+\gamma)\). The state is \(h_t = [r_t, r_{t-1}]\), the step 1. Eigenvalues have modulus
    \(\beta^{1/2}\) and angle \(\arctan \gamma^{1/2}\): the difference scheme damps what the equation does not.
    """
    beta = 1.0 / (1.0 + _positive(gamma))
    return np.array([[2 * beta, -beta], [1.0, 0.0]])


def forward_matrix(gamma: float) -> Array:
    r"""By forward differences: \(r_t = 2 r_{t-1} - (1 + \gamma) r_{t-2}\); modulus \((1+\gamma)^{1/2}\): grows."""
    return np.array([[2.0, -(1.0 + _positive(gamma))], [1.0, 0.0]])


def symplectic_matrix(gamma: float) -> Array:
    r"""By central differences: \(r_t = (2 - \gamma) r_{t-1} - r_{t-2}\); modulus 1 for \(0 < \gamma < 4\)."""
    return np.array([[2.0 - _positive(gamma), -1.0], [1.0, 0.0]])


def forced_matrix(gamma: float) -> Array:
    r"""\(r'' = -\gamma (r - x)\) by backward differences, `[2, 3]` acting on \([x_t, r_{t-1}, r_{t-2}]\).

    \(h_t = [[\alpha, 2\beta, -\beta], [0, 1, 0]]\,[x_t; h_{t-1}]\) with \(\alpha = \gamma/(1+\gamma)\), so that a
    constant input is followed exactly.
    """
    beta = 1.0 / (1.0 + _positive(gamma))
    return np.array([[gamma * beta, 2 * beta, -beta], [0.0, 1.0, 0.0]])


def forced_gain(gamma: float, angle: ArrayLike) -> Array:
    r"""\(|r/x|\) of `forced_matrix` at an angle in rad per step: \(|\alpha / (1 - 2\beta z^{-1} + \beta z^{-2})|\).

    >>> forced_gain(0.05, [0.0, 0.2187]).round(2).tolist()
    [1.0, 4.58]
    """
    alpha, two_beta, _ = forced_matrix(gamma)[0]
    back = np.exp(-1j * np.asarray(angle, dtype=np.float64))
    return np.abs(alpha / (1 - two_beta * back + two_beta / 2 * back**2))


def _positive(gamma: float) -> float:
    if not gamma > 0:
        raise ValueError(f"gamma is a squared frequency and must be positive; received {gamma}")
    return gamma


# --- A recurrent network from a dynamical system, and when it fails ------------------------------------------------


def euler_matrix(A: ArrayLike, dt: float) -> Array:
    r"""\(W = I + \Delta t\, A\), the recurrent weights that Euler's method makes of \(s' = A s\)."""
    a = np.asarray(A, dtype=np.float64)
    return np.eye(a.shape[-1]) + dt * a


def euler_flow_error(A: ArrayLike, dt: float) -> float:
    r"""Greatest relative change that one Euler step gets wrong: \(\| I + \Delta t A - e^{A \Delta t} \|_2\)."""
    return float(np.linalg.norm(euler_matrix(A, dt) - exact_flow(A, dt), 2))


def euler_stability_limit(A: ArrayLike) -> float:
    r"""Step size below which the Euler network is stable: \(\min_\lambda -2\,\mathrm{Re}\,\lambda / |\lambda|^2\).

    0 for an undamped oscillator (never stable) and for a system that grows by itself.

    >>> round(euler_stability_limit(damped_matrix(2.0, 0.1)), 6)
    0.1
    """
    values = np.linalg.eigvals(np.asarray(A, dtype=np.float64))
    if np.any(values == 0):
        return 0.0
    return float(max(np.min(-2 * values.real / np.abs(values) ** 2), 0.0))
