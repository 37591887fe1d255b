"""What a model promises of an action and what then comes of it: errors remembered while acting, for like actions."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Promises", "displacement"]


def displacement(position: Tensor, heading: Tensor, there: Tensor, after: Tensor) -> Tensor:
    """How far ahead, to the left and round [B, 3] a way leads, seen from its beginning: from position [B, 2] and
    heading [B] to `there` and `after`.

    >>> east, north = torch.zeros(1), torch.full((1,), torch.pi / 2)
    >>> found = displacement(torch.zeros(1, 2), north, torch.tensor([[0.0, 2.0]]), east)
    >>> [round(x, 2) for x in found[0].abs().tolist()], bool(found[0, 2] < 0)
    ([2.0, 0.0, 1.57], True)
    """
    step, cos, sin = there - position, heading.cos(), heading.sin()
    ahead, left = cos * step[:, 0] + sin * step[:, 1], cos * step[:, 1] - sin * step[:, 0]
    return torch.stack([ahead, left, after - heading], -1)


class Promises:
    r"""The error to expect of an action, from those of like actions that were taken before, per world.

    .. math::
        e(a) = \frac{\sum_i w_i e_i}{\kappa + \sum_i w_i}, \qquad
        w_i = \lambda^{n - i} \exp \left( -\frac{|a - a_i|^2}{2 \sigma^2} \right)

    A planner looks for the action of which its model promises most, and so finds those of which it promises too much,
    again and again. As predictive control without offset adds the disturbance it has observed to its predictions
    ("Disturbance modeling for offset-free linear model predictive control", Muske & Badgwell, 2002), this adds to each
    action's promise what its like have lacked; actions that were not tried keep theirs.

    Args:
        width: sigma, in units of half the range of actions.
        fade: lambda, as what holds here does not hold everywhere.
        prior: kappa, the weight of an error of 0.

    >>> promises = Promises()
    >>> promises.add(torch.zeros(1, 2), torch.tensor([[-0.5, 0.0, 0.0]]))
    >>> promises(torch.zeros(1, 1, 2)).tolist(), promises(torch.ones(1, 1, 2)).abs().max().item() < 1e-3
    ([[[-0.25, 0.0, 0.0]]], True)
    """

    def __init__(self, *, width: float = 0.25, fade: float = 0.8, prior: float = 1.0):
        self.width, self.fade, self.prior = width, fade, prior
        self.past: list[tuple[Tensor, Tensor]] = []

    def add(self, action: Tensor, error: Tensor) -> None:
        """Actions [B, A] that were taken, and their outcomes less what was promised [B, 3]."""
        self.past = [*self.past[-19:], (action, error)]

    def __call__(self, actions: Tensor) -> Tensor:
        """Errors to expect [B, P, 3] of actions [B, P, A]."""
        total, weight = actions.new_zeros(*actions.shape[:2], 3), actions.new_full((*actions.shape[:2], 1), self.prior)
        for age, (action, error) in enumerate(reversed(self.past)):
            distance = (actions - action[:, None]).square().sum(-1, keepdim=True)
            w = self.fade**age * torch.exp(-distance / (2 * self.width**2))
            total, weight = total + w * error[:, None], weight + w
        return total / weight
