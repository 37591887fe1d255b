"""Affine layers with tanh in numpy, forward and backward written out: the layers behind a cell while learning.

At a few hundred rows of 64 units torch's tanh takes longer than the product before it, numpy's a twelfth of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["through_layers"]


def through_layers(layers: nn.Module, x: Tensor) -> Tensor:
    """What layers give for x [..., I], as `layers(x)` does in value and gradient.

    A chain of `nn.Linear` and `nn.Tanh` on a CPU is run in numpy, anything else as it is.

    >>> layers, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 2, 3)
    >>> torch.allclose(through_layers(layers, x), layers(x), atol=1e-6)
    True
    """
    parameters: list[Tensor] = []
    squashed: list[bool] = []
    for part in _flat(layers):
        if type(part) is nn.Linear and part.bias is not None:
            parameters += [part.weight, part.bias]
            squashed.append(False)
        elif type(part) is nn.Tanh and squashed and not squashed[-1]:
            squashed[-1] = True
        else:
            return layers(x)
    return _Layers.apply(x, squashed, *parameters) if parameters and x.device.type == "cpu" else layers(x)


def _flat(layers: nn.Module) -> Iterator[nn.Module]:
    if type(layers) is nn.Sequential:
        for part in layers:
            yield from _flat(part)
    else:
        yield layers


class _Layers(torch.autograd.Function):
    """Rows [N, I] through weights [O, I] and biases [O] in turn, with tanh where `squashed`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, squashed: list[bool], *parameters: Tensor) -> Tensor:
        weights = [p.detach().numpy() for p in parameters]
        rows = [x.detach().numpy().reshape(-1, x.shape[-1])]
        for W, b, tanh in zip(weights[::2], weights[1::2], squashed, strict=True):
            y = rows[-1] @ W.T
            y += b
            rows.append(np.tanh(y, out=y) if tanh else y)
        ctx.kept = rows, weights[::2], squashed, x.shape
        return torch.from_numpy(rows[-1].reshape(*x.shape[:-1], -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        rows, weights, squashed, shape = ctx.kept
        d, found = grads[0].numpy().reshape(len(rows[0]), -1), []
        for k in range(len(weights) - 1, -1, -1):
            if squashed[k]:
                slope = rows[k + 1] * rows[k + 1]
                d = d * np.subtract(1, slope, out=slope)
            found += [d.sum(0), d.T @ rows[k]]
            if k or ctx.needs_input_grad[0]:
                d = d @ weights[k]
        dx = torch.from_numpy(d.reshape(shape)) if ctx.needs_input_grad[0] else None
        return dx, None, *map(torch.from_numpy, reversed(found))
