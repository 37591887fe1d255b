"""Optimisers and what is done to gradients: Levenberg-Marquardt with free initial states, torch's by name, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "OPTIMISERS", "LeastSquares", "clip", "gradient_norm", "learning_rate", "levenberg_marquardt", "make_optimiser",
]  # fmt: skip

Residuals = Callable[[Tensor, Tensor, slice], Tensor]
EVEN = 0.1  # share of the mean curvature in every parameter's damping: without it flat directions run away
OPTIMISERS = ("sgd", "momentum", "rprop", "adam", "lbfgs", "lm")


def make_optimiser(
    name: str, parameters: Iterable[Any], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """torch's optimiser of this name: "sgd", "momentum" (Nesterov), "rprop", "adam" or "lbfgs" (with line search).

    The parameters may be groups, as torch's optimisers take them.

    Raises:
        ValueError: an unknown name.
    """
    chosen = list(parameters)
    match name:
        case "sgd":
            return torch.optim.SGD(chosen, lr, weight_decay=weight_decay)
        case "momentum":
            return torch.optim.SGD(chosen, lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)
        case "rprop":
            return torch.optim.Rprop(chosen, lr)
        case "adam":
            return torch.optim.AdamW(chosen, lr, weight_decay=weight_decay)
        case "lbfgs":
            return torch.optim.LBFGS(chosen, lr=1.0, max_iter=20, history_size=20, line_search_fn="strong_wolfe")
    raise ValueError(f"unknown optimiser {name!r}; the optimisers are {', '.join(OPTIMISERS)}")


def learning_rate(lr: float, iteration: int, iterations: int, decay: str = "cosine", warm_up: int = 0) -> float:
    """Learning rate of an iteration: constant, or falling to a hundredth along half a cosine, after a linear rise.

    >>> [round(learning_rate(1.0, i, 100), 3) for i in (0, 50, 100)]
    [1.0, 0.505, 0.01]
    """
    if decay not in ("none", "cosine"):
        raise ValueError(f"unknown decay {decay!r}; choose 'none' or 'cosine'")
    rise = min(1.0, (iteration + 1) / warm_up) if warm_up else 1.0
    if decay == "none":
        return lr * rise
    share = min(iteration / max(iterations, 1), 1.0)
    return lr * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def gradient_norm(parameters: Iterable[Tensor]) -> float:
    """Euclidean norm of all gradients together."""
    squares = [p.grad.detach().abs().square().sum() for p in parameters if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def clip(
    parameters: Iterable[Tensor], *, norm: float | None = None, value: float | None = None, normalise: bool = False
) -> float:
    """Bound the gradients in place and return their norm before.

    Args:
        parameters: whose gradients.
        norm: scale all of them together to at most this norm (direction kept).
        value: cut each entry to [-value, value] (direction changes).
        normalise: scale them to norm 1, however small they are.

    Source of the norm's rule: "On the difficulty of training recurrent neural networks" (Pascanu et al., 2013).
    """
    chosen = [p for p in parameters if p.grad is not None]
    before = gradient_norm(chosen)
    if value is not None:
        for p in chosen:
            p.grad.clamp_(-value, value)  # type: ignore[union-attr]
    length = gradient_norm(chosen) if value is not None else before
    target = 1.0 if normalise else norm
    if target is not None and math.isfinite(length) and (normalise or length > target) and length > 0:
        for p in chosen:
            p.grad.mul_(target / length)  # type: ignore[union-attr]
    return before


@dataclass
class LeastSquares:
    """What Levenberg-Marquardt found: parameters [K], initial states [B, S], mean squared residual, its course."""

    theta: Tensor
    states: Tensor
    cost: float
    history: list[float] = field(default_factory=list)
    stopped: str = ""


@torch.no_grad()
def levenberg_marquardt(
    residuals: Residuals,
    theta: Tensor,
    states: Tensor,
    *,
    free_states: bool = True,
    iterations: int = 50,
    damping: float = 1e-2,
    tolerance: float = 1e-3,
    patience: int = 2,
    state_prior: float = 1e-8,
    prior: Tensor | None = None,
    numbers: int = 24_000_000,
    callback: Callable[[int, LeastSquares], bool | None] | None = None,
) -> LeastSquares:
    r"""Minimise the mean of squared residuals over parameters, and over one initial state per section.

    All perturbed copies of the parameters run in one batch: the base, K copies each with one parameter moved, S
    with one entry of every section's state moved. A section's residuals depend on its own state only, so that the
    normal equations are an arrow; the states are eliminated section by section (Schur complement):

        (H - sum_b C_b' A_b^-1 C_b) dtheta = g - sum_b C_b' A_b^-1 g_b,   A_b ds_b = g_b - C_b dtheta.

    Each parameter's damping is a factor times its own curvature and a tenth of the mean: scaled by its own alone
    (Marquardt), networks ran into saturation in half of the starts tried.

    Each iteration tries three dampings (a fifth, the same, five times) in one batch and keeps the best.

    Args:
        residuals: from P copies of parameters [P, K], states [P, b, S] and the rows b of the sections that they are
            for to residuals [P, b, M].
        theta: start [K].
        states: start [B, S].
        free_states: fit the states too; otherwise they stay.
        iterations: at most so many.
        damping: first factor on the diagonal.
        tolerance: stop when the cost has fallen by less than this fraction `patience` times in a row.
        patience: how often in a row.
        state_prior: added to the diagonal of A_b, relative to its mean, for states that the section does not show.
        prior: weight of each parameter's square [K], in units of the residuals' variance: 1 says that the parameter is
            expected to be of order one, before any data. The mean squared residual of the last iteration is taken for
            that variance; the cost that is reported is without it.
        numbers: so many residuals are held at a time; more are done in turns.
        callback: called with the iteration and what was found so far; a true answer ends the search.

    Source: "An algorithm for least-squares estimation of nonlinear parameters" (Marquardt, 1963); one free state
    per section: "Continuous-time system identification with neural networks" (Forgione, Piga, 2021).

    Raises:
        ValueError: the residuals at the start are not finite.
    """
    width = states.shape[1] if free_states else 0
    everything = slice(0, len(states))
    base = residuals(theta[None], states[None], everything)[0]
    turns = max(1, int(numbers / (base.shape[1] * (1 + theta.numel() + width))))
    rows = [slice(i, min(i + turns, len(states))) for i in range(0, len(states), turns)]
    if not torch.isfinite(base).all():
        raise ValueError("the residuals at the start are not finite; start from smaller parameters or check the data")
    cost = float(base.square().mean())
    found = LeastSquares(theta, states, cost, [cost], "iterations used up")
    calm = 0
    for iteration in range(iterations):
        H, g, A, C, gb = _normal_equations(residuals, found.theta, found.states, width, rows)
        pull = None if prior is None else found.cost * prior
        system = (H, g, A, C, gb) if pull is None else (H + torch.diag(pull), g - pull * found.theta, A, C, gb)
        trial = None
        for _ in range(4):
            factors = [damping / 5, damping, damping * 5]
            steps = [_solve(*system, factor, state_prior) for factor in factors]
            trial = _best_step(residuals, found, steps, None if pull is None else pull / base.numel())
            if trial is not None:
                break
            damping *= 125
        if trial is None:
            found.stopped = "no step lowers the cost"
            break
        best, theta, states, cost = trial
        fallen, damping = 1 - cost / found.cost, factors[best]
        found.theta, found.states, found.cost = theta, states, cost
        found.history.append(cost)
        calm = calm + 1 if fallen < tolerance else 0
        if calm >= patience or cost == 0:
            found.stopped = "converged"
            break
        if callback is not None and callback(iteration, found):
            found.stopped = "ended by the callback"
            break
    return found


def _best_step(
    residuals: Residuals, found: LeastSquares, steps: list[tuple[Tensor, Tensor]], pull: Tensor | None
) -> tuple[int, Tensor, Tensor, float] | None:
    """The trial step with the lowest cost, its pull towards zero included, if that is lower than now."""
    thetas = torch.stack([found.theta + step for step, _ in steps])
    states = torch.stack([found.states + move for _, move in steps])
    costs = residuals(thetas, states, slice(0, states.shape[1])).square().mean((1, 2))
    costs = torch.where(torch.isfinite(costs), costs, torch.inf)
    held = costs.new_zeros(len(costs)) if pull is None else (pull * (thetas**2 - found.theta**2)).sum(-1)
    best = int((costs + held).argmin())
    return (best, thetas[best], states[best], float(costs[best])) if float((costs + held)[best]) < found.cost else None


System = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _normal_equations(residuals: Residuals, theta: Tensor, states: Tensor, S: int, rows: list[slice]) -> System:
    """Blocks of the Gauss-Newton system: H [K, K], g [K], A [B, S, S], C [B, S, K], g_b [B, S]."""
    parts = [_normal_part(residuals, theta, states[span], S, span) for span in rows]
    if len(parts) == 1:
        return parts[0]
    H, g, A, C, gb = zip(*parts, strict=True)
    return sum(H[1:], H[0]), sum(g[1:], g[0]), torch.cat(A), torch.cat(C), torch.cat(gb)


def _normal_part(residuals: Residuals, theta: Tensor, states: Tensor, S: int, rows: slice) -> System:
    """The same for some of the sections."""
    K, B = theta.numel(), len(states)
    eps = torch.finfo(theta.dtype).eps ** 0.5
    move, shift = eps * (1 + theta.abs()), eps * (1 + states.abs())
    thetas = theta.repeat(1 + K + S, 1)
    thetas[1 : 1 + K] += torch.diag(move)
    packed = states.repeat(1 + K + S, 1, 1)
    for s in range(S):
        packed[1 + K + s, :, s] += shift[:, s]
    r = residuals(thetas, packed, rows)
    J = r[1 : 1 + K].sub_(r[0]).div_(move[:, None, None])  # [K, B, M]
    flat = J.reshape(K, r[0].numel())
    H, g = flat @ flat.mT, -flat @ r[0].reshape(-1)
    if S == 0:
        return H, g, r.new_zeros(B, 0, 0), r.new_zeros(B, 0, K), r.new_zeros(B, 0)
    L = ((r[1 + K :] - r[0]) / shift.mT[:, :, None]).transpose(0, 1)  # [B, S, M]
    return H, g, L @ L.mT, L @ J.permute(1, 2, 0), -(L @ r[0].unsqueeze(-1)).squeeze(-1)


def _solve(
    H: Tensor, g: Tensor, A: Tensor, C: Tensor, gb: Tensor, damping: float, prior: float
) -> tuple[Tensor, Tensor]:
    """Steps of the parameters [K] and of the states [B, S]."""
    tiny = torch.finfo(H.dtype).tiny ** 0.5
    diagonal = H.diagonal()
    mean = diagonal.mean() if diagonal.numel() else diagonal.sum()
    H = H + torch.diag(damping * (diagonal + EVEN * mean) + 1e-12 * mean + tiny)
    if A.shape[1] == 0:
        return torch.linalg.solve(H, g), g.new_zeros(len(gb), 1)
    own = A.diagonal(dim1=1, dim2=2)
    A = A + torch.diag_embed(damping * own + prior * own.mean(-1, keepdim=True) + tiny)
    inverse_C, inverse_g = torch.linalg.solve(A, C), torch.linalg.solve(A, gb.unsqueeze(-1))
    step = torch.linalg.solve(H - (C.mT @ inverse_C).sum(0), g - (C.mT @ inverse_g).sum(0).squeeze(-1))
    return step, (inverse_g - inverse_C @ step.unsqueeze(-1)).squeeze(-1)
