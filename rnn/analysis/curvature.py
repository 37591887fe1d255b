"""Curvature of a loss through time: the Hessian within steps and between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.func import functional_call

from rnn.analysis.result import Result
from rnn.analysis.step_map import frozen_copy
from rnn.cell import Cell

__all__ = ["Curvature", "StepCurvature", "hessian_spectrum", "step_curvature"]

LIMIT = 4000  # entries of the largest Hessian that is written out


@dataclass(frozen=True, eq=False)
class Curvature(Result):
    """Eigenvalues of the Hessian of a loss in the parameters.

    Attributes:
        eigenvalues: largest first; all of them, or both ends of the spectrum.
        complete: whether these are all.
    """

    eigenvalues: Tensor
    complete: bool

    @property
    def condition(self) -> float:
        """Largest over smallest modulus."""
        sizes = self.eigenvalues.abs()
        return float(sizes.max() / sizes.min().clamp(min=1e-300))

    def draw(self, axes: Axes) -> None:
        values = self.eigenvalues
        colours = ["tab:red" if v < 0 else "tab:blue" for v in values.tolist()]
        axes.scatter(range(len(values)), values.abs().clamp(min=1e-18), c=colours, s=10)
        axes.set(yscale="log", xlabel="number", ylabel="|eigenvalue|", title="Hessian (red: negative curvature)")


def hessian_spectrum(
    cell: Cell,
    xs: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    names: Sequence[str] | None = None,
    count: int = 20,
    seed: int = 0,
) -> Curvature:
    """Spectrum of the Hessian of a loss of the outputs, backpropagated through time twice.

    Up to a few thousand parameters the Hessian is written out; beyond that both ends of its spectrum come from
    Lanczos' method with Hessian-vector products.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        loss: from the outputs [T, B, O] to a number.
        names: parameters; None for all.
        count: eigenvalues per end, if it is not written out.
        seed: of the first Lanczos vector.
    """
    twin, theta, run = _loss_of(cell, xs, loss, names, copies=1)
    size = len(theta)
    theta = theta.requires_grad_(True)
    value = run(theta[None])
    if not value.requires_grad:
        raise ValueError(f"the loss does not depend on {names}; parameters of the initial state are held, name others")
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    if size <= 400:
        rows = [torch.autograd.grad(gradient[i], theta, retain_graph=True)[0] for i in range(size)]
        H = torch.stack(rows)
        return Curvature(torch.linalg.eigvalsh((H + H.T) / 2).flip(0), True)

    def product(v: Tensor) -> Tensor:
        return torch.autograd.grad(gradient @ v, theta, retain_graph=True)[0]

    steps = min(size, 3 * count)
    values = _lanczos(product, size, steps, seed)
    return Curvature(torch.cat([values[:count], values[-count:]]), False)


@dataclass(frozen=True, eq=False)
class StepCurvature(Result):
    """The Hessian taken apart by the steps at which the parameters act.

    Attributes:
        blocks: Frobenius norm of `d2L / dtheta_s dtheta_t` [T, T].
        within: eigenvalues of the sum of the diagonal blocks, largest first [P].
        total: eigenvalues of the sum of all blocks, the Hessian itself [P].
    """

    blocks: Tensor
    within: Tensor
    total: Tensor

    @property
    def between_share(self) -> float:
        """Share of the squared norm that lies between different steps."""
        squares = self.blocks.square()
        return float(1 - squares.diagonal().sum() / squares.sum().clamp(min=1e-300))

    def draw(self, axes: Axes) -> None:
        image = axes.imshow(self.blocks.clamp(min=1e-30).log10().numpy(), cmap="viridis")
        axes.figure.colorbar(image, ax=axes, label=r"$\log_{10}$ norm")
        axes.set(xlabel="t", ylabel="s", title=f"Hessian by step, {100 * self.between_share:.0f} % between steps")


def step_curvature(
    cell: Cell, xs: Tensor, loss: Callable[[Tensor], Tensor], *, names: Sequence[str] | None = None
) -> StepCurvature:
    r"""Give each step its own copy of the parameters, `\theta_t = \theta`, and take second derivatives.

    .. math:: H = \sum_{s,t} \frac{\partial^2 L}{\partial \theta_s \partial \theta_t}

    Args:
        cell: any cell, small.
        xs: inputs [T, B, I].
        loss: from the outputs [T, B, O] to a number.
        names: parameters; None for all.

    Raises:
        ValueError: T times the number of parameters is too large to write the Hessian out.
    """
    steps = xs.shape[0]
    twin, theta, run = _loss_of(cell, xs, loss, names, copies=steps)
    size = len(theta)
    if steps * size > LIMIT:
        raise ValueError(
            f"{steps} steps x {size} parameters make a Hessian of {steps * size} rows, more than {LIMIT}; "
            "take fewer steps, or name fewer parameters"
        )
    every = theta.expand(steps, size).clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(run(every), every, create_graph=True)
    flat = gradient.flatten()
    rows = [torch.autograd.grad(flat[i], every, retain_graph=True)[0].flatten() for i in range(len(flat))]
    H = torch.stack(rows).reshape(steps, size, steps, size)
    blocks = H.square().sum((1, 3)).sqrt()
    within = torch.stack([H[t, :, t] for t in range(steps)]).sum(0)
    total = H.sum((0, 2))
    spectra = [torch.linalg.eigvalsh((M + M.T) / 2).flip(0) for M in (within, total)]
    return StepCurvature(blocks, *spectra)


def _loss_of(
    cell: Cell, xs: Tensor, loss: Callable[[Tensor], Tensor], names: Sequence[str] | None, copies: int
) -> tuple[Cell, Tensor, Callable[[Tensor], Tensor]]:
    """A float64 copy, its chosen parameters in one row [P], and the loss as a function of rows [copies, P]."""
    twin, xs = frozen_copy(cell), xs.detach().double()
    own = dict(twin.named_parameters())
    chosen = list(own) if names is None else list(names)
    if missing := [name for name in chosen if name not in own]:
        raise ValueError(f"the cell has no parameters {missing}; it has {', '.join(own)}")
    sizes, shapes = [own[n].numel() for n in chosen], [own[n].shape for n in chosen]
    theta = torch.cat([own[n].detach().flatten() for n in chosen])

    def run(rows: Tensor) -> Tensor:
        state, outputs = twin.initial_state(xs.shape[1]), []
        for t, x in enumerate(xs.unbind(0)):
            parts = rows[min(t, len(rows) - 1)].split(sizes)
            values = {n: part.reshape(shape) for n, part, shape in zip(chosen, parts, shapes, strict=True)}
            y, state = functional_call(twin, values, (x, state))
            outputs.append(y)
        return loss(torch.stack(outputs))

    return twin, theta, run


def _lanczos(product: Callable[[Tensor], Tensor], size: int, steps: int, seed: int) -> Tensor:
    """Ritz values of a symmetric operator, with full re-orthogonalisation, largest first."""
    v = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = [v / v.norm()]
    alpha: list[Tensor] = []
    beta: list[Tensor] = []
    for _ in range(steps):
        w = product(basis[-1])
        alpha.append(w @ basis[-1])
        Q = torch.stack(basis)
        w = w - Q.T @ (Q @ w)
        w = w - Q.T @ (Q @ w)
        if float(w.norm()) < 1e-10 or len(alpha) == steps:
            break
        beta.append(w.norm())
        basis.append(w / w.norm())
    T = torch.diag(torch.stack(alpha))
    if beta:
        off = torch.stack(beta[: len(alpha) - 1])
        T = T + torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(T).flip(0)
