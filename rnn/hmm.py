"""Hidden Markov models in log space, batched: forward and backward, Viterbi, Baum-Welch; and the filter as a cell."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.cell import Cell, Tap, no_tap

__all__ = ["CategoricalHMM", "GaussianHMM", "HMM", "HMMFilter", "Posterior", "fit_hmm"]


class Posterior(NamedTuple):
    """What observations say about hidden states.

    Attributes:
        log_likelihood: ln p(x) per row, [B].
        states: p(z_t = k | x), [T, B, K].
        transitions: expected number of transitions from i to j, [B, K, K].
    """

    log_likelihood: Tensor
    states: Tensor
    transitions: Tensor


class HMM(nn.Module):
    r"""Hidden states that follow each other by chance, seen through noisy observations; there is no input.

    .. math::
        p(z_1 = k) = \pi_k, \quad p(z_t = j \mid z_{t-1} = i) = A_{ij}, \quad p(x_t \mid z_t = k) = b_k(x_t)

    All sums are taken in log space. Like a recurrent network it carries a state through time, a distribution over K
    symbols (see `HMMFilter`); unlike one, its state is normalised, its dynamics are linear but for that, and it
    learns by counting.

    References:
        A tutorial on hidden Markov models and selected applications in speech recognition (Rabiner, 1989).

    Args:
        states: K.
    """

    log_pi: Tensor
    log_A: Tensor

    def __init__(self, states: int):
        super().__init__()
        if states < 1:
            raise ValueError(f"an HMM has at least one state, received {states}")
        self.num_states = states
        self.register_buffer("log_pi", torch.full((states,), -math.log(states)))
        rows = torch.softmax(torch.randn(states, states) + 2 * torch.eye(states), 1)
        self.register_buffer("log_A", rows.log())

    def emission(self, xs: Tensor) -> Tensor:
        """ln b_k(x_t), [T, B, K]."""
        raise NotImplementedError

    def maximise(self, xs: Tensor, weights: Tensor) -> None:
        """Set the emissions to the most likely ones, given how much each state is responsible, [T, B, K]."""
        raise NotImplementedError

    def forward(self, xs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ln p(x_1 ... x_T) per row, [B], by the forward recursion.

        Args:
            xs: observations, time first, [T, B] symbols or [T, B, D] vectors.
            lengths: true length per row [B]; None for T.
        """
        return torch.logsumexp(self._forward(*self._masked(xs, lengths))[-1], -1)

    def posterior(self, xs: Tensor, lengths: Tensor | None = None) -> Posterior:
        """Forward and backward recursion; arguments as in `forward`."""
        b, live = self._masked(xs, lengths)
        alpha, beta = self._forward(b, live), torch.zeros_like(b)
        for t in range(len(b) - 2, -1, -1):
            back = torch.logsumexp(self.log_A + (b[t + 1] + beta[t + 1])[:, None, :], -1)
            beta[t] = torch.where(live[t + 1], back, 0.0)
        evidence = torch.logsumexp(alpha[-1], -1)
        states = torch.exp(alpha + beta - evidence[:, None]) * live
        pairs = alpha[:-1, :, :, None] + self.log_A + (b[1:] + beta[1:])[:, :, None, :] - evidence[:, None, None]
        transitions = (torch.exp(pairs) * live[1:, :, :, None]).sum(0)
        return Posterior(evidence, states, transitions)

    def viterbi(self, xs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The most likely course of states [T, B], -1 in the padding, and the log probability of both, [B]."""
        b, live = self._masked(xs, lengths)
        live = live[..., 0]
        best, pointers = self.log_pi + b[0], []
        stay = torch.arange(self.num_states, device=b.device).expand_as(best)
        for t in range(1, len(b)):
            score, source = (best[:, :, None] + self.log_A).max(1)
            best = torch.where(live[t, :, None], score + b[t], best)
            pointers.append(torch.where(live[t, :, None], source, stay))
        value, last = best.max(-1)
        course = [last]
        for source in reversed(pointers):
            course.append(source.gather(1, course[-1][:, None])[:, 0])
        return torch.where(live, torch.stack(course[::-1]), -1), value

    @torch.no_grad()
    def sample(self, steps: int, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Observations and hidden states [T, B], drawn from the model."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.multinomial(self.log_pi.exp().expand(batch, -1), 1, generator=generator)[:, 0]
        course = [z]
        for _ in range(steps - 1):
            z = torch.multinomial(self.log_A.exp()[z], 1, generator=generator)[:, 0]
            course.append(z)
        zs = torch.stack(course)
        return self.draw(zs, generator), zs

    def draw(self, zs: Tensor, generator: torch.Generator) -> Tensor:
        """Observations for hidden states [T, B]."""
        raise NotImplementedError

    def _forward(self, b: Tensor, live: Tensor) -> Tensor:
        """ln p(x_1 ... x_t, z_t), [T, B, K]; in the padding the last value is kept."""
        alpha = [self.log_pi + b[0]]
        for row, alive in zip(b[1:].unbind(0), live[1:].unbind(0), strict=True):
            step = torch.logsumexp(alpha[-1][:, :, None] + self.log_A, 1) + row
            alpha.append(torch.where(alive, step, alpha[-1]))
        return torch.stack(alpha)

    def _masked(self, xs: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Emissions [T, B, K], 0 in the padding, and where there is none, [T, B, 1]."""
        b = self.emission(xs)
        if lengths is None:
            return b, torch.ones_like(b[..., :1], dtype=torch.bool)
        live = torch.arange(len(b), device=b.device)[:, None, None] < lengths[None, :, None]
        return torch.where(live, b, 0.0), live


class CategoricalHMM(HMM):
    """Observations are one of S symbols, as integers [T, B].

    Args:
        states: K.
        symbols: S.

    >>> _ = torch.manual_seed(0)
    >>> model = CategoricalHMM(2, 3)
    >>> total = sum(model(torch.tensor([[a], [b]])).exp().item() for a in range(3) for b in range(3))
    >>> round(total, 5)
    1.0
    """

    log_B: Tensor

    def __init__(self, states: int, symbols: int):
        super().__init__(states)
        self.register_buffer("log_B", torch.log_softmax(torch.randn(states, symbols), 1))

    def emission(self, xs: Tensor) -> Tensor:
        return self.log_B.T[xs]

    def maximise(self, xs: Tensor, weights: Tensor) -> None:
        one_hot = torch.nn.functional.one_hot(xs, self.log_B.shape[1]).to(weights)
        counts = torch.einsum("tbk,tbs->ks", weights, one_hot)
        self.log_B = (counts / counts.sum(1, keepdim=True).clamp(min=1e-300)).log()

    def draw(self, zs: Tensor, generator: torch.Generator) -> Tensor:
        flat = torch.multinomial(self.log_B.exp()[zs.flatten()], 1, generator=generator)
        return flat.view_as(zs)


class GaussianHMM(HMM):
    """Observations are vectors [T, B, D], normal with a mean and a diagonal variance per state.

    Args:
        states: K.
        size: D.
        floor: least variance, which keeps a state from closing in on one sample.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, states: int, size: int, *, floor: float = 1e-3):
        super().__init__(states)
        self.register_buffer("mean", torch.randn(states, size))
        self.register_buffer("var", torch.ones(states, size))
        self.floor = floor

    def emission(self, xs: Tensor) -> Tensor:
        distance = (xs[..., None, :] - self.mean) ** 2 / self.var
        return -0.5 * (distance + torch.log(2 * math.pi * self.var)).sum(-1)

    def maximise(self, xs: Tensor, weights: Tensor) -> None:
        total = weights.sum((0, 1))[:, None].clamp(min=1e-300)
        self.mean = torch.einsum("tbk,tbd->kd", weights, xs) / total
        square = torch.einsum("tbk,tbkd->kd", weights, (xs[..., None, :] - self.mean) ** 2)
        self.var = (square / total).clamp(min=self.floor)

    def draw(self, zs: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(*zs.shape, self.mean.shape[1], generator=generator, dtype=torch.float64).to(self.mean)
        return self.mean[zs] + self.var[zs].sqrt() * noise


@torch.no_grad()
def fit_hmm(
    model: HMM, xs: Tensor, lengths: Tensor | None = None, *, iterations: int = 100, tolerance: float = 1e-6
) -> list[float]:
    """Baum-Welch: expectation and maximisation in turn, in place; the log likelihood before each, which never falls.

    Args:
        model: where to begin; the result depends on it.
        xs: observations [T, B] or [T, B, D].
        lengths: true length per row.
        iterations: at most.
        tolerance: stop when an iteration gains less, in nats.

    Raises:
        ValueError: observations that are not finite.
    """
    if not bool(torch.isfinite(xs).all()):
        raise ValueError("observations contain NaN or infinity; remove those rows or shorten them by `lengths`")
    course: list[float] = []
    for _ in range(iterations):
        seen = model.posterior(xs, lengths)
        course.append(float(seen.log_likelihood.sum()))
        model.log_pi = (seen.states[0].sum(0) / seen.states[0].sum()).log()
        counts = seen.transitions.sum(0)
        total = counts.sum(1, keepdim=True)
        model.log_A = torch.where(total > 0, counts / total.clamp(min=1e-300), model.log_A.exp()).log()
        model.maximise(xs, seen.states)
        if len(course) > 1 and course[-1] - course[-2] < tolerance:
            break
    return course


class FilterState(NamedTuple):
    h: Tensor


class HMMFilter(Cell):
    r"""An HMM set beside the recurrent networks: its belief about the hidden state as the state of a cell.

    .. math:: h_t \propto b(x_t) \odot (A^\top h_{t-1}), \qquad y_t = h_t

    Before the first observation the belief is such that `A^T h` stands for the start distribution. Quantities: `input`
    (symbols as one-hot vectors for a categorical model), `predicted`, `h`.

    Args:
        model: the HMM.
    """

    model: CategoricalHMM | GaussianHMM

    def __init__(self, model: CategoricalHMM | GaussianHMM):
        super().__init__()
        self.model = model
        self.input_size = model.log_B.shape[1] if isinstance(model, CategoricalHMM) else model.mean.shape[1]
        self.output_size = model.num_states

    def initial_state(self, batch: int) -> FilterState:
        return FilterState(self.zeros(batch, self.output_size))  # all zero: nothing has been seen

    def forward(self, x: Tensor, state: FilterState, tap: Tap = no_tap) -> tuple[Tensor, FilterState]:
        x = tap("input", x)
        begun = state.h.sum(-1, keepdim=True) > 0
        predicted = tap("predicted", torch.where(begun, state.h @ self.model.log_A.exp(), self.model.log_pi.exp()))
        if isinstance(self.model, CategoricalHMM):
            seen = x @ self.model.log_B.exp().T
        else:
            seen = self.model.emission(x[None])[0].softmax(-1)
        h = predicted * seen
        h = tap("h", h / h.sum(-1, keepdim=True))
        return h, FilterState(h)
