"""A drive schedule is linear between its points and jumps where a time stands twice."""

import numpy as np
import pytest

from agents.schedule import Schedule


def test_it_interpolates_jumps_and_holds_its_ends():
    schedule = Schedule.parse("1=2 3=4, 3=5,4=5")
    times = np.array([0.0, 1.0, 2.0, 2.999, 3.0, 3.5, 9.0])
    assert np.allclose(schedule(times)[:, 0], [2, 2, 3, 3.999, 5, 5, 5])
    assert Schedule.constant(4)(7.0).tolist() == [4.0, 4.0]


def test_sides_may_differ():
    schedule = Schedule.parse("0=4 2=4 2=4.9/3.1 4=4")
    assert np.allclose(schedule(np.array([1.0, 2.0, 3.0, 9.0])), [[4, 4], [4.9, 3.1], [4.45, 3.55], [4, 4]])


@pytest.mark.parametrize("text", ["", "4", "0=1;2=3", "0=1, x=2", "2=1, 1=2", "0=1/"])
def test_a_malformed_schedule_is_refused(text):
    with pytest.raises(ValueError, match="schedule"):
        Schedule.parse(text)
