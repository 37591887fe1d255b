"""The motor layer asks of the joints what the recorded animal does, and holds no rhythm of its own."""

import math

import numpy as np
import pytest
import torch

from agents.motor import SpinalMotor, motor_settings
from sim.anatomy import LIMB_MUSCLE, MUSCLE_GAMMA, SWIM_REST, WALK_REST
from sim.reference import recorded_cycle

BARE = {
    "limb_amplitude": [[1.0] * 4] * 2,
    "limb_offset": [[0.0] * 4] * 2,
    "limb_phase": [[0.0] * 4] * 2,
    "spine_walk": [5.2, 22.9, 17.5, 2.1, 18.8, 19.0, 2.3, 6.4],
    "turn_gain": [0.0, 0.0],
}


def output(phase: torch.Tensor, r_body: float, r_limb: float) -> torch.Tensor:
    """What a network gives whose sides are in antiphase and whose limbs trot, [B, 24]."""
    left, right = r_body * (1 + phase.cos()), r_body * (1 - phase.cos())
    limbs = phase[:, None] + torch.tensor([0.0, math.pi, math.pi, 0.0])
    body = [left[:, None].expand(-1, 8), right[:, None].expand(-1, 8)]
    return torch.cat([*body, r_limb * limbs.cos(), r_limb * limbs.sin()], 1)


PHASE = torch.arange(64) * (2 * math.pi / 64)


def test_swimming_joints_swing_by_the_recorded_amplitudes_with_the_limbs_folded():
    motor = SpinalMotor("phase", control="joint")
    angles = motor(output(PHASE, motor_settings()["swim_reference"], 0.0)).numpy()
    assert np.allclose(np.degrees(np.ptp(angles[:, :8], axis=0) / 2), motor_settings()["spine_swim"], rtol=0.01)
    assert np.allclose(angles[:, 8:], SWIM_REST[8:], atol=1e-4)


def test_walking_limbs_follow_the_recorded_cycle():
    motor = SpinalMotor("phase", control="joint", overrides=BARE)
    r = motor.limb_reference
    angles = motor(output(PHASE, motor_settings()["walk_reference"], r)).numpy()
    recorded = recorded_cycle("walk")(PHASE.numpy() / (2 * math.pi))
    # The layer averages left and right, so compare with that average, to within what four harmonics leave out.
    for girdle in range(2):
        left, right = (recorded[:, 8 + 8 * girdle + 4 * side : 12 + 8 * girdle + 4 * side] for side in (0, 1))
        mean = 0.5 * (left + np.roll(right, 32, axis=0))
        error = np.degrees(np.abs(angles[:, 8 + 8 * girdle : 12 + 8 * girdle] - mean))
        assert error.mean() < 2.2 and error.max() < 9.0
    assert np.allclose(np.roll(angles[:, 12:16], 32, axis=0), angles[:, 8:12], atol=1e-5), (
        "right is left, half a cycle on"
    )


def test_muscles_hold_the_set_point_that_joint_control_asks_for():
    y = output(PHASE, 0.3, 0.3)
    muscle = SpinalMotor("phase", overrides=BARE)
    target = SpinalMotor("phase", control="joint", overrides=BARE)(y)[:, 8:].double()
    pairs = muscle(y)[:, 16:].reshape(64, 16, 2).double()
    alpha, beta, _ = LIMB_MUSCLE
    total, difference = pairs.sum(2), pairs[..., 0] - pairs[..., 1]
    balance = torch.tensor(WALK_REST[8:]) + alpha * difference / (beta * (total + MUSCLE_GAMMA))
    free = difference.abs() < muscle.cocontraction - 1e-3
    assert free.double().mean() > 0.9
    assert torch.allclose(balance[free], target[free], atol=1e-5)
    assert (pairs >= -1e-6).all()


def test_a_silent_network_stands_still():
    action = SpinalMotor("phase")(torch.zeros(3, 24))
    assert torch.equal(action[0], action[2]) and torch.all(action[:, :16] == 0)


def test_exchanging_left_and_right_mirrors_the_action():
    motor = SpinalMotor("phase", control="joint")
    y = torch.rand(5, 24, generator=torch.Generator().manual_seed(0))
    swap = [*range(8, 16), *range(8), 17, 16, 19, 18, 21, 20, 23, 22]
    one, other = motor(y), motor(y[:, swap])
    limbs = one[:, 8:].reshape(5, 4, 4)[:, [1, 0, 3, 2]].flatten(1)
    assert torch.allclose(other, torch.cat([-one[:, :8], limbs], 1), atol=1e-6)


def test_gradients_reach_the_network():
    y = torch.rand(4, 24, requires_grad=True)
    SpinalMotor("phase")(y).sum().backward()
    assert y.grad is not None and torch.isfinite(y.grad).all()


def test_a_network_for_another_body_is_refused():
    with pytest.raises(ValueError, match="8 spine joints"):
        SpinalMotor("phase", segments=40)
