"""Which came after which: sequences of labels of which only the order is told, and not the times."""

from __future__ import annotations

import torch
from torch import Tensor

from rnn.objectives import connectionist

__all__ = ["collapse", "edit_distance", "order_loss"]


def collapse(labels: Tensor) -> list[int]:
    """A course of labels without repetitions.

    >>> collapse(torch.tensor([0, 0, 2, 2, 1]))
    [0, 2, 1]
    """
    return [int(v) for v in torch.unique_consecutive(labels)]


def order_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Connectionist loss against the order of the labels, spread over all steps and rows so that means agree.

    Args:
        outputs: [T, B, 1 + number of labels], the blank first.
        targets: labels at all steps [T, B], of which the order alone is used.

    Returns:
        The mean negative log-likelihood per label, at every step and row [T, B].
    """
    orders = [collapse(row) for row in targets.T]
    lengths = torch.tensor([len(order) for order in orders])
    labels = torch.zeros(len(orders), int(lengths.max()), dtype=torch.long)
    for row, order in enumerate(orders):
        labels[row, : len(order)] = torch.tensor(order) + 1
    steps = torch.full((len(orders),), len(outputs))
    return connectionist(outputs, labels.to(outputs.device), steps, lengths).expand(outputs.shape[:2])


def edit_distance(a: list[int], b: list[int]) -> int:
    """Insertions, deletions and replacements that turn one order into the other.

    >>> edit_distance([0, 1, 2], [0, 2])
    1
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
