"""Remedies against vanishing and exploding gradients that act on weights, and the measure by which to judge them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn.cell import map_state
from rnn.model import Model

__all__ = ["recurrent_weights", "rescale_spectral_radius", "spectral_radius", "start_sensitivity"]


def spectral_radius(matrix: Tensor) -> float:
    """Largest modulus of the eigenvalues of [H, H].

    >>> round(spectral_radius(torch.tensor([[0.0, 2.0], [-2.0, 0.0]])), 6)
    2.0
    """
    return float(torch.linalg.eigvals(matrix.detach()).abs().max())


def recurrent_weights(cell: nn.Module) -> dict[str, nn.Parameter]:
    """Recurrent weight matrices by name: the parameters called `weight_hh`, or `matrix` of a linear cell."""
    return {
        name: p
        for name, p in cell.named_parameters()
        if name.split(".")[-1] in ("weight_hh", "matrix") and p.dim() == 2
    }


@torch.no_grad()
def rescale_spectral_radius(cell: nn.Module, radius: float = 0.99, *, only_above: bool = False) -> dict[str, float]:
    """Scale recurrent matrices to a spectral radius; gates' blocks [k H, H] each for themselves.

    Pass it to `fit` as `after_step` to hold the radius down while training (`only_above`). torch's `spectral_norm`
    bounds the largest singular value instead, which is more than is needed: it forbids transient growth too.

    Returns:
        The largest radius before, by name.

    Raises:
        ValueError: a radius that is not positive, or a cell without recurrent matrices.

    >>> from rnn.elman import ElmanCell
    >>> cell = ElmanCell(1, 20)
    >>> _ = rescale_spectral_radius(cell, 0.9)
    >>> round(spectral_radius(cell.weight_hh), 4)
    0.9
    """
    if not radius > 0:
        raise ValueError(f"a spectral radius is positive, received {radius}")
    found = recurrent_weights(cell)
    if not found:
        raise ValueError(f"{type(cell).__name__} has no recurrent weight matrix to rescale")
    before = {}
    for name, weight in found.items():
        blocks = weight.unflatten(0, (-1, weight.shape[1]))
        radii = torch.linalg.eigvals(blocks).abs().amax(-1)
        before[name] = float(radii.max())
        factor = radius / radii.clamp_min(1e-12)
        if only_above:
            factor = factor.clamp_max(1.0)
        weight.copy_((blocks * factor[:, None, None]).flatten(0, 1))
    return before


def start_sensitivity(model: Model, us: Tensor) -> Tensor:
    """`||dy_t / dh_0||`, how much each output still depends on the initial state, for every step [T].

    The Frobenius norm, root mean square over rows, estimated with one random direction of the outputs per row and
    step. Noise on hidden states and random initial states while training lower it: the model forgets where it started.

    Args:
        model: without an encoder. us: inputs [T, B, I].
    """
    leaves: list[Tensor] = []

    def watch(leaf: Tensor) -> Tensor:
        leaves.append(leaf.detach().clone().requires_grad_())
        return leaves[-1]

    state = map_state(watch, model.initial(us))
    outputs = model(us, state, path="loop").outputs
    generator = torch.Generator(device=us.device).manual_seed(0)
    norms = []
    for y in outputs:
        direction = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
        slopes = torch.autograd.grad((y * direction).sum(), leaves, retain_graph=True, allow_unused=True)
        squares = [s.flatten(1).square().sum(1) for s in slopes if s is not None]
        norms.append(torch.stack(squares).sum(0).mean().sqrt() if squares else y.new_zeros(()))
    return torch.stack(norms).detach()
