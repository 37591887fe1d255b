"""Spaces as plain values and back, and observations as flat rows."""

import numpy as np
import pytest
from gymnasium import spaces

from agents.snapshot import pack, unpack
from agents.spaces import flatten, space_from_plain, space_to_plain

SPACES = [
    spaces.Box(np.float32([-1, 0]), np.float32([1, 5])),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 5], start=[0, 1]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(-1.0, 1.0, (2,), np.float64)}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_a_checkpoint(space):
    again = space_from_plain(unpack(*pack(space_to_plain(space))))
    assert again == space and again.dtype == space.dtype
    for seed in range(5):
        space.seed(seed), again.seed(seed)
        assert again.contains(space.sample())


def test_a_space_of_another_kind_is_refused_by_name():
    with pytest.raises(ValueError, match="Text are not served; use Box"):
        space_to_plain(spaces.Text(4))


def test_a_dictionary_of_observations_becomes_one_row_in_the_order_of_its_keys():
    space = SPACES[-1]
    row = flatten(space, {"a": np.array([[0.25, 0.5]]), "b": np.array([1])})
    parts = {"a": [0.25, 0.5], "b": [0.0, 1.0]}
    assert row[0].tolist() == [x for key in space.spaces for x in parts[key]]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_row_has_as_many_numbers_as_its_space_says_and_tells_observations_apart(space):
    space.seed(0)
    seen = [space.sample() for _ in range(20)]
    batch = {k: np.stack([s[k] for s in seen]) for k in seen[0]} if isinstance(seen[0], dict) else np.stack(seen)
    rows = flatten(space, batch)
    assert rows.shape == (20, spaces.flatdim(space)) and rows.dtype == np.float32
    if isinstance(space, spaces.MultiDiscrete):
        np.testing.assert_array_equal(rows, [spaces.flatten(space, s) for s in seen])
