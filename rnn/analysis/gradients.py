"""How gradients travel through time: products of Jacobians, shares of the steps, closed forms for linear networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.func import functional_call

from rnn.analysis.result import Result
from rnn.analysis.step_map import StepMap
from rnn.cell import Cell
from rnn.lstm import LSTMCell
from rnn.model import pack, unpack
from rnn.unroll import unroll

__all__ = [
    "DirectPath", "JacobianProducts", "LinearGradient", "StepShares", "jacobian_products", "linear_gradient",
    "lstm_direct_path", "step_shares",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class JacobianProducts(Result):
    """Norms of `P_{s,t} = ds_t / ds_s`.

    Attributes:
        norms: largest singular value for s in the rows and t >= s in the columns, NaN elsewhere, [T + 1, T + 1],
            geometric mean over the batch.
        conditions: largest over smallest singular value, likewise.
    """

    norms: Tensor
    conditions: Tensor

    @property
    def by_lag(self) -> Tensor:
        """Geometric mean of the norm over all pairs of the same lag t - s, [T + 1]."""
        logs = self.norms.log()
        return torch.stack([logs.diagonal(k).mean() for k in range(len(logs))]).exp()

    def draw(self, axes: Axes) -> None:
        values = self.norms.clamp(min=1e-30).log10()
        span = float(values[values.isfinite()].abs().max().clamp(min=0.1))
        image = axes.imshow(values.numpy(), origin="upper", cmap="RdBu_r", vmin=-span, vmax=span)
        axes.set(xlabel="t, steps", ylabel="s, steps", title=r"$\log_{10}\,\|\partial s_t / \partial s_s\|$")
        axes.figure.colorbar(image, ax=axes)


def jacobian_products(cell: Cell, xs: Tensor, state: Any = None) -> JacobianProducts:
    r"""Norms of all products of Jacobians along a run, `P_{s,t} = J_{t-1} \cdots J_s`.

    Source: "On the difficulty of training recurrent neural networks" (Pascanu, Mikolov & Bengio, 2013).

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        state: state before the first step; None for the cell's own.

    >>> from rnn.linear import LinearCell
    >>> half = LinearCell.from_matrices(*(torch.tensor([[w]]) for w in (0.0, 1.0, 1.0, 0.5)))
    >>> jacobian_products(half, torch.zeros(3, 1, 1)).by_lag.tolist()  # doctest: +ELLIPSIS
    [1.0, 0.5, 0.25, 0.125...]
    """
    system, (steps, batch) = StepMap(cell), xs.shape[:2]
    xs = xs.detach().double()
    start = system.initial(batch) if state is None else system.packed(state)
    jacobians = system.jacobians(system.orbit(start, steps, xs)[:-1], xs)
    eye = torch.eye(system.size, dtype=torch.float64).expand(batch, -1, -1)
    norms = torch.full((steps + 1, steps + 1), torch.nan, dtype=torch.float64)
    conditions = norms.clone()
    products = eye[None]  # P_{s,t} for all s <= t, [t + 1, B, S, S]
    for t in range(steps + 1):
        singular = torch.linalg.svdvals(products)
        norms[: t + 1, t] = singular[..., 0].log().mean(-1).exp()
        conditions[: t + 1, t] = (singular[..., 0].log() - singular[..., -1].log()).mean(-1).exp()
        if t < steps:
            products = torch.cat([jacobians[t] @ products, eye[None]])
    return JacobianProducts(norms, conditions)


@dataclass(frozen=True, eq=False)
class LinearGradient(Result):
    """Powers of the recurrent matrix of a linear network, by lag k.

    Attributes:
        radius: largest |lambda|.
        norms: `||D^k||_2` from the eigendecomposition, [K + 1].
        powers: `radius^k`, what the norm follows in the end.
        conditions: largest over smallest singular value of D^k.
        ratios: `|lambda_1 / lambda_d|^k`, equal to the condition for normal matrices.
    """

    radius: float
    norms: Tensor
    powers: Tensor
    conditions: Tensor
    ratios: Tensor

    @property
    def peak(self) -> float:
        """The largest norm on the way: above 1 although radius < 1 for matrices that are far from normal."""
        return float(self.norms.max())

    def draw(self, axes: Axes) -> None:
        axes.semilogy(self.norms, label=r"$\|D^k\|$")
        axes.semilogy(self.powers, "--", label=r"$\rho^k$")
        axes.set(xlabel="lag k, steps", title=f"spectral radius {self.radius:.3g}, peak {self.peak:.3g}")
        axes.legend()


def linear_gradient(D: Tensor, lags: int) -> LinearGradient:
    r"""Gradient of a linear network in closed form, `D^k = V \Lambda^k V^{-1}`: |lambda| decides, not lambda.

    Args:
        D: recurrent matrix [H, H], diagonalisable.
        lags: K.

    >>> round(linear_gradient(torch.tensor([[0.9, 5.0], [0.0, 0.8]]), 40).peak, 1)  # grows before it fades
    13.5
    """
    D = D.detach().double()
    values, vectors = torch.linalg.eig(D)
    inverse = torch.linalg.inv(vectors)
    k = torch.arange(lags + 1)
    powers = values[None] ** k[:, None]
    matrices = (vectors * powers[:, None, :]) @ inverse
    singular = torch.linalg.svdvals(matrices)
    sizes = values.abs()
    radius = float(sizes.max())
    return LinearGradient(
        radius, singular[:, 0], radius ** k.double(), singular[:, 0] / singular[:, -1], (radius / sizes.min()) ** k
    )


@dataclass(frozen=True, eq=False)
class StepShares(Result):
    """What each step contributes to the gradient of a loss.

    Attributes:
        states: `||dL/ds_t||` of the state before every step, [T].
        parameters: by parameter, the norm of the share of step t in `dL/dtheta`, [T].
        shares: by parameter, the shares themselves [T, ...]; they sum to the gradient.
    """

    states: Tensor
    parameters: dict[str, Tensor]
    shares: dict[str, Tensor]

    def draw(self, axes: Axes) -> None:
        axes.semilogy(self.states.clamp(min=1e-30), color="black", label=r"$\|\partial L/\partial s_t\|$")
        for name, norms in self.parameters.items():
            axes.semilogy(norms.clamp(min=1e-30), lw=1, label=name)
        axes.set(xlabel="step t", title="gradient by step")
        axes.legend(fontsize="x-small", ncols=2)


def step_shares(cell: Cell, xs: Tensor, loss: Callable[[Tensor], Tensor], state: Any = None) -> StepShares:
    r"""Backpropagation through time taken apart, `dL/d\theta = \sum_t (dL/d\theta)_t`.

    Every step gets its own copy of the parameters; the gradient of the copy is the step's share.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        loss: from the outputs [T, B, O] to a number.
        state: state before the first step.
    """
    system, (steps, batch) = StepMap(cell), xs.shape[:2]
    xs = xs.detach().double()
    twin = system.cell
    own = {name: p.detach() for name, p in twin.named_parameters()}
    copies = {name: p.expand(steps, *p.shape).clone().requires_grad_(True) for name, p in own.items()}
    nudges = torch.zeros(steps, batch, system.size, dtype=torch.float64, requires_grad=True)
    s = system.initial(batch) if state is None else system.packed(state)
    outputs = []
    for t, x in enumerate(xs.unbind(0)):
        parameters = {name: p[t] for name, p in copies.items()}
        y, following = functional_call(twin, parameters, (x, unpack(twin, s + nudges[t])))
        s = pack(following)
        outputs.append(y)
    wanted = [nudges, *copies.values()]
    found = torch.autograd.grad(loss(torch.stack(outputs)), wanted, allow_unused=True)
    grads = [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]
    shares = dict(zip(copies, grads[1:], strict=True))
    norms = {name: share.flatten(1).norm(dim=1) if share.dim() > 1 else share.abs() for name, share in shares.items()}
    return StepShares(grads[0].flatten(1).norm(dim=1), norms, shares)


@dataclass(frozen=True, eq=False)
class DirectPath(Result):
    """The gradient along the memory of an LSTM, from step s to the end.

    Attributes:
        direct: largest entry of `prod f` over the steps after s, [T + 1].
        full: largest singular value of `dc_T / dc_s`, all ways together, [T + 1].
    """

    direct: Tensor
    full: Tensor

    def draw(self, axes: Axes) -> None:
        axes.semilogy(self.direct.clamp(min=1e-30), label=r"along c alone, $\prod f$")
        axes.semilogy(self.full.clamp(min=1e-30), "--", label=r"$\|\partial c_T/\partial c_s\|$, every way")
        axes.set(xlabel="s, steps", title="gradient that arrives from the last step")
        axes.legend()


def lstm_direct_path(cell: LSTMCell, xs: Tensor) -> DirectPath:
    r"""The direct path `\prod_{t>s} f_t` of an LSTM beside its full Jacobian `dc_T / dc_s`.

    Args:
        cell: an LSTM; without a forget gate the direct path is 1.
        xs: inputs [T, B, I]; results are geometric means over the batch.
    """
    if not isinstance(cell, LSTMCell):
        raise ValueError(f"the direct path runs along the memory of an LSTM, received a {type(cell).__name__}")
    system, (steps, batch), H = StepMap(cell), xs.shape[:2], cell.hidden_size
    xs = xs.detach().double()
    jacobians = system.jacobians(system.orbit(system.initial(batch), steps, xs)[:-1], xs)
    forget = torch.ones(steps, batch, H, dtype=torch.float64)
    if "forget" in cell.gates:
        forget = unroll(system.cell, xs, record=("forget",)).trace["forget"]
    product = torch.eye(2 * H, dtype=torch.float64).expand(batch, -1, -1)
    kept = torch.ones(batch, H, dtype=torch.float64)
    direct, full = [], []
    for t in range(steps, -1, -1):
        direct.append(kept.amax(1).log().mean().exp())
        full.append(torch.linalg.svdvals(product[:, H:, H:])[:, 0].log().mean().exp())
        if t:
            product, kept = product @ jacobians[t - 1], kept * forget[t - 1]
    return DirectPath(torch.stack(direct[::-1]), torch.stack(full[::-1]))
