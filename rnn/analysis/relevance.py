"""Which inputs, when, an answer rests on: layer-wise relevance for LSTM and GRU, and three other attributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import linear

from rnn.analysis.result import Result
from rnn.analysis.step_map import frozen_copy
from rnn.cell import Cell
from rnn.gru import GRUCell
from rnn.lstm import LSTMCell
from rnn.unroll import unroll

__all__ = [
    "Relevance", "gradient_times_input", "integrated_gradients", "layerwise_relevance", "occlusion", "outputs_of",
]  # fmt: skip

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Relevance(Result):
    """Shares of a score that inputs are given.

    Attributes:
        inputs: by step, row and input [T, B, I].
        initial: share of the state before the first step [B].
        score: what is explained [B].
        method: name of the method.
    """

    inputs: Tensor
    initial: Tensor
    score: Tensor
    method: str

    @property
    def missing(self) -> Tensor:
        """Score that is given to nothing: score - inputs - initial [B]."""
        return self.score - self.inputs.sum((0, 2)) - self.initial

    @property
    def by_step(self) -> Tensor:
        """Sum over the inputs [T, B]."""
        return self.inputs.sum(2)

    def draw(self, axes: Axes) -> None:
        values = self.inputs[:, 0].T
        span = float(values.abs().max()) or 1.0
        image = axes.imshow(values.numpy(), aspect="auto", cmap="RdBu_r", vmin=-span, vmax=span, interpolation="none")
        axes.figure.colorbar(image, ax=axes)
        axes.set(xlabel="step", ylabel="input", title=f"{self.method} (score {float(self.score[0]):.3g})")


def outputs_of(weight: Tensor, index: int) -> Score:
    """A score: entry `index` of a linear readout `weight` [K, O] without bias, at the last step."""
    return lambda ys: ys[-1] @ weight[index].to(ys)


def layerwise_relevance(
    cell: LSTMCell | GRUCell, xs: Tensor, readout: Tensor, *, epsilon: float = 1e-9, spread: bool = True
) -> Relevance:
    r"""Layer-wise relevance propagation through an LSTM or GRU; gates only pass on ("the signal takes all").

    A sum `z_j = \sum_i z_ij + b_j` hands its relevance back by the share of each term,

    .. math:: R_i = \sum_j \frac{z_{ij} + (b_j + \epsilon\, \mathrm{sign}\, z_j) / N}
                               {z_j + \epsilon\, \mathrm{sign}\, z_j} R_j,

    with the N terms sharing bias and stabiliser equally, so that nothing is lost: relevances of the inputs and of the
    first state sum to the score. Of a product of gate and signal the signal receives all; squashings pass it on. The
    memory `c_t = f c_{t-1} + i g` and the GRU's `h_t = (1 - u) n + u h_{t-1}` are sums of two terms.

    Source: "Explaining recurrent neural network predictions in sentiment analysis" (Arras, Montavon, Müller & Samek,
    2017).

    Args:
        cell: an LSTM (any gates) or GRU.
        xs: inputs [T, B, I].
        readout: weights [O] of the score `readout . h_T`.
        epsilon: stabiliser.
        spread: give the shares of biases and stabiliser to the inputs (True), or leave them in `missing`.

    Raises:
        ValueError: another kind of cell; use one of the other attributions.
    """
    twin, xs = frozen_copy(cell), xs.detach().double()
    weights = readout.detach().double()
    if isinstance(cell, LSTMCell):
        return _through_lstm(twin, xs, weights, epsilon, spread)
    if isinstance(cell, GRUCell):
        return _through_gru(twin, xs, weights, epsilon, spread)
    raise ValueError(
        f"layer-wise relevance is defined here for LSTM and GRU, received {type(cell).__name__}; "
        "use gradient_times_input, integrated_gradients or occlusion"
    )


def _back(terms: Tensor, total: Tensor, R: Tensor, epsilon: float, spread: bool) -> Tensor:
    """Relevance of terms [B, N, J] of sums `total` [B, J] with relevance R [B, J]: summed over J, [B, N]."""
    sign = torch.where(total >= 0, 1.0, -1.0)
    stable = total + epsilon * sign
    extra = (stable - terms.sum(1)) / terms.shape[1] if spread else torch.zeros_like(total)
    return ((terms + extra[:, None]) / stable[:, None] * R[:, None]).sum(2)


def _pair(a: Tensor, b: Tensor, R: Tensor, epsilon: float, spread: bool) -> tuple[Tensor, Tensor]:
    """Relevance of the two terms of `a + b`, unit by unit, each [B, H]."""
    total = a + b
    stable = total + epsilon * torch.where(total >= 0, 1.0, -1.0)
    extra = (stable - total) / 2 if spread else torch.zeros_like(total)
    return (a + extra) / stable * R, (b + extra) / stable * R


def _start(h: Tensor, readout: Tensor, epsilon: float, spread: bool) -> tuple[Tensor, Tensor]:
    terms = h * readout
    score = terms.sum(1)
    return score, _back(terms[:, :, None], score[:, None], score[:, None], epsilon, spread)


def _through_lstm(cell: LSTMCell, xs: Tensor, readout: Tensor, epsilon: float, spread: bool) -> Relevance:
    (steps, batch), H = xs.shape[:2], cell.hidden_size
    record = ("candidate", "c", "h", *cell.gates)
    trace = unroll(cell, xs, record=record, path="loop").trace
    first = cell.initial_state(batch)
    W, U = (matrix[2 * H : 3 * H] for matrix in cell.weights())
    b = cell.bias[2 * H : 3 * H]
    score, R_h = _start(trace["h"][-1], readout, epsilon, spread)
    R_c, R_x = torch.zeros_like(R_h), torch.zeros_like(xs)
    for t in range(steps - 1, -1, -1):
        h, c = (trace["h"][t - 1], trace["c"][t - 1]) if t else (first.h, first.c)
        kept = c * trace["forget"][t] if "forget" in trace else c
        new = trace["candidate"][t] * trace["input_gate"][t] if "input_gate" in trace else trace["candidate"][t]
        R_c, R_g = _pair(kept, new, R_c + R_h, epsilon, spread)
        terms = torch.cat([xs[t][:, :, None] * W.T, h[:, :, None] * U.T], 1)
        R = _back(terms, terms.sum(1) + b, R_g, epsilon, spread)
        R_x[t], R_h = R[:, : xs.shape[2]], R[:, xs.shape[2] :]
    return Relevance(R_x, R_h.sum(1) + R_c.sum(1), score, "layer-wise relevance")


def _through_gru(cell: GRUCell, xs: Tensor, readout: Tensor, epsilon: float, spread: bool) -> Relevance:
    (steps, batch), H = xs.shape[:2], cell.hidden_size
    trace = unroll(cell, xs, record=("reset", "update", "candidate", "h"), path="loop").trace
    first = cell.initial_state(batch)
    W, U, b, b_h = cell.weight_ih[2 * H :], cell.weight_hh[2 * H :], cell.bias[2 * H :], cell.bias_candidate
    score, R_h = _start(trace["h"][-1], readout, epsilon, spread)
    R_x = torch.zeros_like(xs)
    for t in range(steps - 1, -1, -1):
        h = trace["h"][t - 1] if t else first.h
        u, r, n = trace["update"][t], trace["reset"][t], trace["candidate"][t]
        R_kept, R_n = _pair(u * h, (1 - u) * n, R_h, epsilon, spread)
        terms = torch.cat([xs[t][:, :, None] * W.T, r[:, None, :] * (h[:, :, None] * U.T)], 1)
        total = linear(xs[t], W, b) + r * (linear(h, U) + b_h)
        R = _back(terms, total, R_n, epsilon, spread)
        R_x[t], R_h = R[:, : xs.shape[2]], R_kept + R[:, xs.shape[2] :]
    return Relevance(R_x, R_h.sum(1), score, "layer-wise relevance")


def gradient_times_input(cell: Cell, xs: Tensor, score: Score) -> Relevance:
    """`x dS/dx`: exact for a linear network without bias.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        score: from the outputs [T, B, O] to one number per row [B].
    """
    value, slope = _slope(frozen_copy(cell), xs.detach().double(), score)
    return Relevance(slope * xs.detach().double(), torch.zeros_like(value), value, "gradient x input")


def integrated_gradients(
    cell: Cell, xs: Tensor, score: Score, *, baseline: Tensor | None = None, points: int = 64
) -> Relevance:
    r"""`(x - x_0) \int_0^1 dS/dx(x_0 + a (x - x_0)) da`, which sums to `S(x) - S(x_0)`.

    `initial` holds `S(x_0)`, the score that is there without the input. Gauss-Legendre points.

    Source: "Axiomatic Attribution for Deep Networks" (Sundararajan, Taly & Yan, 2017).

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        score: from the outputs [T, B, O] to one number per row [B].
        baseline: x_0, broadcast to xs; None for zero.
        points: of the quadrature.
    """
    import numpy as np

    twin, xs = frozen_copy(cell), xs.detach().double()
    x0 = torch.zeros_like(xs) if baseline is None else baseline.double().expand_as(xs)
    places, weights = np.polynomial.legendre.leggauss(points)
    total = torch.zeros_like(xs)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += weight * _slope(twin, x0 + place * (xs - x0), score)[1]
    with torch.no_grad():
        value, start = score(unroll(twin, xs, path="loop").outputs), score(unroll(twin, x0, path="loop").outputs)
    return Relevance(total * (xs - x0), start, value, "integrated gradients")


def occlusion(cell: Cell, xs: Tensor, score: Score, *, by_step: bool = False, rows: int = 4096) -> Relevance:
    """How much of the score goes when one input at one step (or all inputs of a step) is set to zero.

    All occluded copies run side by side.

    Args:
        cell: any cell.
        xs: inputs [T, B, I].
        score: from the outputs [T, B, O] to one number per row [B].
        by_step: occlude whole steps; every input of a step then has an equal share.
        rows: of one batch.
    """
    twin, xs = frozen_copy(cell), xs.detach().double()
    steps, batch, inputs = xs.shape
    with torch.no_grad():
        value = score(unroll(twin, xs).outputs)
        lost = torch.zeros(steps, batch, inputs, dtype=torch.float64)
        everything = slice(None)
        which = [everything] if by_step else [slice(i, i + 1) for i in range(inputs)]
        places = [(t, i) for t in range(steps) for i in which]
        chunk = max(1, rows // batch)
        for first in range(0, len(places), chunk):
            part = places[first : first + chunk]
            copies = xs.unsqueeze(1).repeat(1, len(part), 1, 1)
            for k, (t, i) in enumerate(part):
                copies[t, k, :, i] = 0.0
            scores = score(unroll(twin, copies.flatten(1, 2)).outputs).reshape(len(part), batch)
            for k, (t, i) in enumerate(part):
                drop = value - scores[k]
                lost[t, :, i] = drop[:, None] / (inputs if by_step else 1)
    return Relevance(lost, torch.zeros_like(value), value, "occlusion")


def _slope(twin: Cell, xs: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    xs = xs.clone().requires_grad_(True)
    value = score(unroll(twin, xs, path="loop").outputs)
    (gradient,) = torch.autograd.grad(value.sum(), xs)
    return value.detach(), gradient
