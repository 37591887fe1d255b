"""Heads of a policy: from latents to distributions over any flat action space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

__all__ = [
    "CategoricalHead",
    "DiagonalGaussian",
    "GaussianHead",
    "MultiCategorical",
    "StateNoiseHead",
    "make_head",
    "tanh_layers",
]

_LOG_2PI = math.log(2 * math.pi)


class MultiCategorical:
    """Independent categorical variables; an action is [..., n] with one integer for each.

    Args:
        logits: all unnormalised log-probabilities, [..., sum of sizes].
        sizes: number of values of each variable.
    """

    def __init__(self, logits: Tensor, sizes: Sequence[int]):
        self.log_p = [part.log_softmax(-1) for part in logits.split(list(sizes), -1)]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, [..., n], by the Gumbel trick."""
        noise = [torch.empty_like(p).exponential_(generator=generator) for p in self.log_p]
        return torch.stack([(p - e.log()).argmax(-1) for p, e in zip(self.log_p, noise, strict=True)], -1)

    def mode(self) -> Tensor:
        """The most probable action."""
        return torch.stack([p.argmax(-1) for p in self.log_p], -1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability [...] of actions [..., n]."""
        parts = [p.gather(-1, action[..., k : k + 1]) for k, p in enumerate(self.log_p)]
        return parts[0].squeeze(-1) if len(parts) == 1 else torch.cat(parts, -1).sum(-1)

    def entropy(self) -> Tensor:
        """Entropy [...] in nats."""
        return torch.stack([-(p.exp() * p).sum(-1) for p in self.log_p]).sum(0)


class DiagonalGaussian:
    """Independent normal variables with mean and standard deviation [..., A].

    >>> round(DiagonalGaussian(torch.zeros(1), torch.ones(1)).log_prob(torch.zeros(1)).item(), 4)  # -ln(2 pi) / 2
    -0.9189
    """

    def __init__(self, mean: Tensor, std: Tensor):
        self.mean, self.std = mean, std

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, [..., A]."""
        return self.mean + self.std * torch.empty_like(self.mean).normal_(generator=generator)

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density [...] of actions [..., A]."""
        z = (action - self.mean) / self.std
        return -(0.5 * z * z + self.std.log()).sum(-1) - 0.5 * _LOG_2PI * action.shape[-1]

    def entropy(self) -> Tensor:
        """Entropy [...] in nats."""
        entropy = self.std.log().sum(-1) + 0.5 * (1 + _LOG_2PI) * self.mean.shape[-1]
        return entropy.expand(self.mean.shape[:-1])


class CategoricalHead(nn.Module):
    """Discrete, MultiDiscrete and MultiBinary actions.

    Attributes:
        width: entries of an action as stored, n.
        code_size: width of an action as a network input (one-hot).
        noise_shape: exploration noise that lives longer than a step: none.
    """

    noise_shape: tuple[int, ...] = (0,)

    def __init__(self, latent: int, space: spaces.Space[Any]):
        super().__init__()
        self.space = space
        self.sizes = _sizes(space)
        self.width, self.code_size = len(self.sizes), sum(self.sizes)
        self.linear = _linear(latent, sum(self.sizes), 0.01)

    def forward(self, z: Tensor) -> MultiCategorical:
        return MultiCategorical(self.linear(z), self.sizes)

    def draw(self, dist: Any, z: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An action to explore with."""
        return dist.sample(generator)

    def code(self, action: Tensor) -> Tensor:
        """Actions [..., n] as network inputs [..., code_size]."""
        values = [torch.arange(n, device=action.device) for n in self.sizes]
        return torch.cat([(action[..., k : k + 1] == v).float() for k, v in enumerate(values)], -1)

    def to_env(self, action: Tensor) -> np.ndarray:
        """What the environment takes, for a batch of actions [B, n]."""
        values = action.numpy(force=True)
        if isinstance(self.space, spaces.Discrete):
            return values[:, 0] + int(self.space.start)
        return values.reshape(-1, *self.space.shape).astype(self.space.dtype)  # type: ignore[misc]

    def from_env(self, action: np.ndarray) -> Tensor:
        """The stored form [B, n] of environment actions."""
        start = int(self.space.start) if isinstance(self.space, spaces.Discrete) else 0
        return torch.as_tensor(np.asarray(action).reshape(len(action), -1).astype(np.int64) - start)


class GaussianHead(nn.Module):
    """Box actions: a normal density around a mean, clipped to the box only where the environment takes it.

    Inside, the box is [-1, 1].

    Args:
        latent: width of the latent.
        space: a bounded box.
        log_std: logarithm of the initial standard deviation, in units of half the box.
    """

    noise_shape: tuple[int, ...] = (0,)
    log_std: Tensor
    middle: Tensor
    reach: Tensor

    def __init__(self, latent: int, space: spaces.Box, *, log_std: float = -0.5):
        super().__init__()
        if not space.is_bounded():
            raise ValueError(f"a continuous head needs a bounded Box, received {space}; give the actions bounds")
        if not np.issubdtype(space.dtype, np.floating):
            raise ValueError(
                f"a continuous head needs a Box of floats, received {space}; whole numbers are MultiDiscrete"
            )
        if space.low.size == 0 or not (space.low < space.high).all():
            raise ValueError(
                f"a continuous head needs low < high in every action, received {space}; leave out the others"
            )
        self.space = space
        self.width = self.code_size = int(np.prod(space.shape))
        self.linear = _linear(latent, self.width, 0.01)
        self.register_parameter("log_std", nn.Parameter(torch.full((self.width,), float(log_std))))
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        self.register_buffer("middle", torch.tensor((low + high) / 2, dtype=torch.float32))
        self.register_buffer("reach", torch.tensor((high - low) / 2, dtype=torch.float32))

    def forward(self, z: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.linear(z), self.log_std.exp())

    def draw(self, dist: Any, z: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An action to explore with."""
        return dist.sample(generator)

    def code(self, action: Tensor) -> Tensor:
        """Actions as network inputs: clipped to the box."""
        return action.clamp(-1, 1)

    def to_env(self, action: Tensor) -> np.ndarray:
        """What the environment takes, for a batch of actions [B, A]."""
        scaled = self.middle + self.reach * action.clamp(-1, 1)
        return scaled.numpy(force=True).reshape(-1, *self.space.shape).astype(self.space.dtype)

    def from_env(self, action: np.ndarray) -> Tensor:
        """The stored form [B, A] of environment actions."""
        flat = torch.as_tensor(np.asarray(action, dtype=np.float32).reshape(len(action), -1))
        return (flat - self.middle) / self.reach


class StateNoiseHead(GaussianHead):
    r"""Box actions explored by a random linear function of the latent that is drawn anew only every few steps.

    .. math::
        a = \mu(z) + E^\top z, \qquad E_{ij} \sim N(0, \sigma_{ij}^2), \qquad
        \log p(a) \text{ under } N(\mu, \textstyle\sum_i z_i^2 \sigma_{ij}^2)

    The noise is as smooth in time as the latent. Source: "Smooth Exploration for Robotic Reinforcement Learning"
    (Raffin, Kober & Stulp, 2021).
    """

    def __init__(self, latent: int, space: spaces.Box, *, log_std: float = -0.5):
        super().__init__(latent, space, log_std=log_std)
        self.register_parameter("log_std", nn.Parameter(torch.full((latent, self.width), float(log_std))))
        self.noise_shape = (latent, self.width)

    def forward(self, z: Tensor) -> DiagonalGaussian:
        variance = (z.detach() ** 2) @ (2 * self.log_std).exp() + 1e-6
        return DiagonalGaussian(self.linear(z), variance.sqrt())

    def draw(self, dist: Any, z: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return dist.mean + torch.einsum("bi,bij->bj", z, noise * self.log_std.exp())


def make_head(latent: int, space: spaces.Space[Any], *, noise: str = "step", log_std: float = -0.5) -> nn.Module:
    """The head for an action space.

    Args:
        latent: width of the latent.
        space: Discrete, MultiDiscrete, MultiBinary, or a bounded Box.
        noise: exploration of continuous actions: "step" (independent at every step) or "state" (`StateNoiseHead`).
        log_std: its initial scale.

    Raises:
        ValueError: a space that no head serves.
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return CategoricalHead(latent, space)
    if isinstance(space, spaces.Box):
        if noise not in ("step", "state"):
            raise ValueError(f"noise is 'step' or 'state', received {noise!r}")
        return (StateNoiseHead if noise == "state" else GaussianHead)(latent, space, log_std=log_std)
    raise ValueError(
        f"no head serves the action space {space}; the heads serve Discrete, MultiDiscrete, MultiBinary and bounded "
        "Box: flatten the actions with a wrapper"
    )


def tanh_layers(sizes: Sequence[int]) -> nn.Sequential:
    """Affine layers with tanh after each, orthogonal with gain sqrt 2; a single size gives the identity."""
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [_linear(a, b, math.sqrt(2)), nn.Tanh()]
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _sizes(space: spaces.Space[Any]) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        if np.any(space.start != 0):
            raise ValueError(f"MultiDiscrete actions must start at 0, received {space}; shift them in a wrapper")
        return [int(n) for n in space.nvec.reshape(-1)]
    return [2] * int(np.prod(space.shape or (1,)))
