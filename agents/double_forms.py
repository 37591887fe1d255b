"""Functions that onnxruntime has in single precision only, made of those that it has in double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

__all__ = ["DOUBLE_FORMS", "elu", "gelu", "normal_tail"]

MIDDLE = 3.0  # where the new variable is 0; with degree 20, any choice from 2.5 to 4 leaves rounding only
DEGREE = 20


def normal_tail(x: Tensor) -> Tensor:
    r"""Probability that a standard normal number exceeds x >= 0, to the rounding of double precision.

    .. math::
        Q(x) = \frac{e^{-z^2}}{2} \mathrm{erfcx}(z), \qquad
        (1 + 2 z)\, \mathrm{erfcx}(z) \approx \sum_{k=0}^{20} a_k u^k, \qquad
        z = \frac{x}{\sqrt 2}, \qquad u = \frac{z - 3}{z + 3}

    u runs from -1 to 1, over which the left side is smooth; the coefficients are fitted to torch's erfcx.

    Source: "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf" (Shepherd, Laframboise, 1981).

    >>> normal_tail(torch.tensor([0.0, 1.96], dtype=torch.float64)).round(decimals=4).tolist()
    [0.5, 0.025]
    """
    z = x * 0.5**0.5
    u = (z - MIDDLE) / (z + MIDDLE)
    series = torch.zeros_like(u)
    for coefficient in reversed(_coefficients()):
        series = series * u + coefficient
    return 0.5 * torch.exp(-z * z) * series / (1 + 2 * z)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """`x P(normal number < x) = max(x, 0) - |x| Q(|x|)`, torch's exact GELU.

    Raises:
        ValueError: `approximate`, which asks for another function, is not "none".

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)).round(decimals=4).tolist()
    [-0.1587, 0.0, 0.8413]
    """
    if approximate != "none":
        raise ValueError(f"only the exact GELU stands here, received approximate={approximate!r}; pass 'none'")
    size = x.abs()
    return torch.relu(x) - size * normal_tail(size)


def elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """`scale x` for x > 0, else `scale alpha (exp(input_scale x) - 1)`, torch's ELU.

    >>> elu(torch.tensor([-1.0, 2.0], dtype=torch.float64)).round(decimals=4).tolist()
    [-0.6321, 2.0]
    """
    return scale * torch.where(x > 0, x, alpha * (torch.exp(input_scale * x.clamp(max=0.0)) - 1))


DOUBLE_FORMS: Mapping[Any, Callable[..., Tensor]] = {torch.ops.aten.gelu.default: gelu, torch.ops.aten.elu.default: elu}
"""By torch's name of the operation."""


@cache
def _coefficients() -> list[float]:
    u = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    z = MIDDLE * (1 + u) / (1 - u)
    target = (1 + 2 * z) * torch.special.erfcx(torch.from_numpy(z)).numpy()
    return chebyshev.cheb2poly(chebyshev.chebfit(u, target, DEGREE)).tolist()
