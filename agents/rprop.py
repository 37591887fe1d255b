"""Small sigmoid networks fitted in batch by resilient propagation, many at once."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

__all__ = ["SigmoidNets"]

ROWS = 2048  # examples that are worked on at a time, so that their activities stay in the processor's cache
INCREASE, DECREASE, STEP_MIN, STEP_MAX = 1.2, 0.5, 1e-6, 50.0  # without unit; Riedmiller & Braun (1993)


class SigmoidNets:
    r"""A row of independent multilayer perceptrons, logistic in every layer, with one output each.

    RProp moves each weight by its own step, whatever the size of the gradient:

    .. math::
        \Delta_t = \begin{cases} 1.2\,\Delta_{t-1} & g_t g_{t-1} > 0 \\ 0.5\,\Delta_{t-1} & g_t g_{t-1} < 0 \\
        \Delta_{t-1} & \text{else} \end{cases} \qquad w_{t+1} = w_t - \mathrm{sign}(g_t)\,\Delta_t

    and after a change of sign the gradient is forgotten for one epoch.

    References:
        A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm (Riedmiller & Braun, 1993).

    Args:
        members: number of networks, R.
        sizes: units per layer from input to output, such as (3, 5, 5, 1).
        span: weights start uniform in [-span, span]; Neural Fitted Q Iteration (Riedmiller, 2005) takes 0.5.
        step: Delta at the start of a fit.

    >>> nets = SigmoidNets(2, (1, 3, 1), generator=torch.Generator().manual_seed(0))
    >>> x = torch.linspace(-1, 1, 32).expand(2, 1, 32)
    >>> error = nets.fit(x, (x[:, 0] > 0) * 0.5 + 0.2, epochs=200)
    >>> bool((error < 1e-3).all())
    True
    """

    def __init__(
        self,
        members: int,
        sizes: tuple[int, ...],
        *,
        span: float = 0.5,
        step: float = 0.1,
        generator: torch.Generator | None = None,
    ):
        self.members, self.sizes, self.span, self.step = members, tuple(sizes), span, step
        self.generator = torch.Generator() if generator is None else generator
        shapes = [(out, inside + 1) for inside, out in itertools.pairwise(self.sizes)]
        self.flat = torch.empty(members, sum(out * inside for out, inside in shapes))
        starts = [0, *itertools.accumulate(out * inside for out, inside in shapes)]
        self._views = [(slice(starts[k], starts[k + 1]), shape) for k, shape in enumerate(shapes)]
        self.reset()

    def reset(self) -> None:
        """New random weights and biases."""
        self.flat.uniform_(-self.span, self.span, generator=self.generator)

    def _layers(self, flat: Tensor) -> list[Tensor]:
        return [flat[:, part].view(-1, *shape) for part, shape in self._views]

    def _forward(self, x: Tensor, flat: Tensor) -> list[Tensor]:
        """Activities of all layers, features first: [R, units, N]."""
        activities = [x]
        for weights in self._layers(flat):
            z = torch.baddbmm(weights[:, :, -1:], weights[:, :, :-1], activities[-1])
            activities.append(z.sigmoid_())
        return activities

    def __call__(self, x: Tensor, flat: Tensor | None = None) -> Tensor:
        """Outputs [R, N] for inputs [R, I, N]; of other weights `flat` [R, P] (any R) where given."""
        return self._forward(x, self.flat if flat is None else flat)[-1][:, 0]

    def gradient(self, x: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Half the summed squared error [R], and its gradient with respect to `flat`."""
        loss, gradient = torch.zeros(self.members), torch.zeros_like(self.flat)
        for begin in range(0, x.shape[2], ROWS):
            span = slice(begin, begin + ROWS)
            part = None if weight is None else weight[:, span]
            more, slope = self._gradient(x[:, :, span], target[:, span], part)
            loss += more
            gradient += slope
        return loss, gradient

    def _gradient(self, x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        activities = self._forward(x, self.flat)
        layers = self._layers(self.flat)
        error = activities[-1][:, 0] - target
        weighted = error if weight is None else error * weight
        gradient = torch.empty_like(self.flat)
        slots = self._layers(gradient)
        delta = weighted[:, None]
        for k in reversed(range(len(layers))):
            delta = torch.ops.aten.sigmoid_backward(delta, activities[k + 1])  # delta y (1 - y)
            torch.bmm(delta, activities[k].transpose(1, 2), out=slots[k][:, :, :-1])
            slots[k][:, :, -1] = delta.sum(2)
            if k:
                delta = torch.bmm(layers[k][:, :, :-1].transpose(1, 2), delta)
        return 0.5 * (error * weighted).sum(1), gradient

    @torch.no_grad()
    def fit(self, x: Tensor, target: Tensor, weight: Tensor | None = None, *, epochs: int = 300) -> Tensor:
        """Fit targets [R, N] from inputs [R, I, N] with full batches; `weight` [R, N] is 0 where a row is padded.

        Returns the mean squared error [R] before the last epoch.
        """
        delta = torch.full_like(self.flat, self.step)
        before = torch.zeros_like(self.flat)
        loss = torch.zeros(self.members)
        for _ in range(epochs):
            loss, gradient = self.gradient(x, target, weight)
            agreement = gradient * before
            turned = agreement < 0
            delta = torch.where(agreement > 0, delta * INCREASE, torch.where(turned, delta * DECREASE, delta))
            delta.clamp_(STEP_MIN, STEP_MAX)
            gradient.masked_fill_(turned, 0.0)
            self.flat -= gradient.sign() * delta
            before = gradient
        count = target.shape[1] if weight is None else weight.sum(1)
        return 2 * loss / count
