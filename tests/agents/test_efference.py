"""A copy of the generator says what the generator will do, and a model that hears it knows the phase of the gait."""

import pytest
import torch

from agents.drive_world import READINGS, DriveWorlds, RandomDrives, mirrored
from agents.efference import EfferenceCopy, EfferentDynamics
from agents.motor import SpinalMotor
from rnn.dynamics import RecurrentDynamics, spread
from rnn.scheduled import ScheduledDynamics


def logged(worlds, steps):
    """Readings, actions, and the angles that the animals' own generators ask for at the end of each."""
    import numpy as np

    drives, motor = RandomDrives(worlds.num_worlds, np.random.default_rng(2)), SpinalMotor(control="joint")
    readings, actions, asked, cell = [worlds.start()], [], [], worlds.cell

    def overheard(x, state):
        y, state = cell(x, state)
        asked.append(motor(y))
        return y, state

    worlds.cell = type("Ear", (), {"__call__": lambda self, x, state: overheard(x, state), "groups": cell.groups,
                                   "zeros": cell.zeros, "input_size": cell.input_size})()  # fmt: skip
    for _ in range(steps):
        actions.append(drives())
        readings.append(worlds.step(actions[-1]))
    worlds.cell = cell
    as_tensor = lambda rows: torch.as_tensor(np.array(rows), dtype=torch.float32)
    return as_tensor(readings), as_tensor(actions), torch.stack(asked)


def test_the_copy_asks_for_what_the_generator_of_the_animal_asks_for():
    obs, actions, asked = logged(DriveWorlds(3, world="land"), 30)
    copied = EfferenceCopy().log(actions)
    assert torch.equal(copied[..., :2], actions)
    angles = copied[..., 2:].unflatten(-1, (2, 24))
    error = angles - asked[[k for t in range(30) for k in (10 * t + 4, 10 * t + 9)]].unflatten(0, (30, 2)).movedim(1, 2)
    assert error.square().mean().sqrt() < 0.01 < 0.2 < asked.std()
    # It does say when: half a reading earlier is farther off.
    assert (angles[:, :, 1] - angles[:, :, 0]).square().mean().sqrt() > 0.05


def test_asked_angles_foretell_the_joints_one_reading_ahead():
    obs, actions, _ = logged(DriveWorlds(2, world="pool"), 50)
    errors = []
    for told in (actions, EfferenceCopy().log(actions)):
        inputs = range(2, told.shape[-1])
        model = ScheduledDynamics(len(READINGS), told.shape[-1], lags=1, degree=1, inputs=inputs, hidden=4, ridge=1e-3)
        model.fit_scales(obs[:41], told[:40])
        with torch.no_grad():
            ahead = model.simulate(obs[40:41], told[40:])
        errors.append(((ahead - obs[41:]) / obs.std((0, 1)).clamp(min=1e-6))[..., :24].square().mean().sqrt().item())
    assert errors[1] < 0.4 * errors[0]


def test_a_model_that_is_asked_about_drives_does_what_it_would_with_the_logged_copy():
    torch.manual_seed(0)
    model, drives = RecurrentDynamics(len(READINGS), 50, hidden=8), torch.rand(6, 2, 2) - 0.5
    torch.nn.init.normal_(model.readout.weight, std=0.1)
    efferent, obs = EfferentDynamics(model), torch.randn(2, len(READINGS))
    with torch.no_grad():
        expected = model.simulate(obs[None], EfferenceCopy().log(drives))
        state = spread(efferent.begin(obs), 3)
        for k, drive in enumerate(drives):
            state, found = efferent.step(state, drive.repeat_interleave(3, 0))
            torch.testing.assert_close(found, expected[k].repeat_interleave(3, 0))


def test_the_image_in_the_mirror_is_asked_for_the_image_of_the_angles():
    obs, actions = torch.zeros(4, 1, len(READINGS)), torch.zeros(3, 1, 2)
    told = EfferenceCopy().log(actions)
    _, image = mirrored(obs, told)
    place = {name: k for k, name in enumerate(READINGS)}
    left, right = place["joint_angle.limb.fore.left.yaw"], place["joint_angle.limb.fore.right.yaw"]
    assert torch.equal(image[..., 2 + left], told[..., 2 + right])
    assert torch.equal(image[..., 2], -told[..., 2])  # the spine bends to the other side


def test_a_model_of_other_actions_is_refused():
    with pytest.raises(ValueError, match="hears 2 actions, the copy tells 50"):
        EfferentDynamics(RecurrentDynamics(46, 2, hidden=2))
    with pytest.raises(ValueError, match="looks divide"):
        EfferenceCopy(looks=3)
