"""A second task for a recurrent network: foretell the next observation, so that its memory holds what is hidden."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from agents.replay import Sequences

__all__ = ["Forecast"]


class Forecast(nn.Module):
    r"""The change of the observation from the state of the network and the action taken.

    .. math:: \Delta o_{t+1} = \sigma \odot (W [h_t; a_t] + b), \qquad
        L = \operatorname{mean} \lVert (o_{t+1} - o_t - \Delta o_{t+1}) / \sigma \rVert^2

    sigma is the running root mean square of the changes. Rewards say little about what is hidden, and late; the next
    observation says it at every step. Steps that end an episode are left out.

    See also: Reinforcement Learning with Unsupervised Auxiliary Tasks (Jaderberg et al., 2017),
    https://arxiv.org/abs/1611.05397.

    Args:
        size: H. obs_size: D. num_actions: K.

    >>> Forecast(8, 4, 2)(torch.zeros(5, 3, 8), torch.zeros(5, 3, dtype=torch.int64)).shape
    torch.Size([5, 3, 4])
    """

    spread: Tensor

    def __init__(self, size: int, obs_size: int, num_actions: int, *, rate: float = 0.01):
        super().__init__()
        self.num_actions, self.rate = num_actions, rate
        self.dense = nn.Linear(size + num_actions, obs_size)
        self.register_buffer("spread", torch.ones(obs_size))

    def forward(self, h: Tensor, action: Tensor) -> Tensor:
        """Changes in units of their spread, [..., D], from outputs [..., H] and actions [...]."""
        return self.dense(torch.cat([h, one_hot(action, self.num_actions).to(h.dtype)], -1))

    def loss(self, h: Tensor, data: Sequences) -> Tensor:
        """Mean squared error over the steps of sequences with outputs h [T, B, H]."""
        change = data.obs[1:] - data.obs[:-1]
        valid = ~data.first[1:]
        if self.training and valid.any():
            with torch.no_grad():
                now = change[valid].square().mean(0).sqrt()
                fresh = bool((self.spread == 1).all())
                self.spread.copy_(now if fresh else self.spread.lerp(now, self.rate))
        error = self(h[:-1], data.action[:-1]) - change / self.spread.clamp_min(1e-6)
        return (error.square() * valid[..., None]).sum() / (valid.sum() * error.shape[-1]).clamp_min(1)
