"""Orders of labels: compared by edits, and told without their times."""

import torch

from rnn.orders import collapse, edit_distance, order_loss


def test_orders_are_compared_by_edits():
    assert edit_distance([1, 2], [1, 2]) == 0 and edit_distance([], [1, 2]) == 2
    assert edit_distance([0, 1, 2], [1, 0, 2]) == 2
    assert collapse(torch.tensor([2, 2, 0, 0, 2])) == [2, 0, 2]


def test_the_times_of_labels_do_not_count_and_their_order_does():
    said = torch.full((6, 2, 3), -9.0)
    for t, k in enumerate((1, 1, 0, 2, 2, 0)):  # label 0, then 1, with blanks
        said[t, :, k] = 9.0
    early = torch.tensor([[0, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 1]])  # the same order at other times
    back = 1 - early
    assert order_loss(said, early).shape == (6, 2)
    assert order_loss(said, early).mean() < 1e-3 < 1 < order_loss(said, back).mean()
