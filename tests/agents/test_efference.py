"""A copy of the generator says what the generator will do, and a model that hears it knows the phase of the gait."""

import numpy as np
import pytest
import torch

from agents.drive_world import READINGS, DriveWorlds, RandomDrives, mirrored
from agents.efference import EfferenceCopy, EfferentDynamics
from rnn.dynamics import RecurrentDynamics, spread
from rnn.scheduled import ScheduledDynamics


def logged(worlds, steps):
    """Readings and actions."""
    drives, readings, actions = RandomDrives(worlds.num_worlds, np.random.default_rng(2)), [worlds.start()], []
    for _ in range(steps):
        actions.append(drives())
        readings.append(worlds.step(actions[-1]))
    return tuple(torch.as_tensor(np.array(rows), dtype=torch.float32) for rows in (readings, actions))


def test_the_copy_keeps_step_with_the_generator_of_the_animal():
    worlds, copy = DriveWorlds(3, world="land"), EfferenceCopy()
    _, actions = logged(worlds, 25)
    state, seen = copy.initial_state(3), []
    for action in actions:
        angles, state = copy(action, state)
        seen.append(angles)
    assert (state.phase - worlds.state.phase).cos().min() > 0.99  # within 8 degrees after some changes of drive
    torch.testing.assert_close(state.amplitude, worlds.state.amplitude, atol=1e-5, rtol=0)
    told = copy.log(actions)
    assert torch.equal(told[..., :2], actions) and torch.equal(told[..., 2:], torch.stack(seen))


def test_asked_angles_foretell_the_joints_one_reading_ahead():
    obs, actions = logged(DriveWorlds(2, world="pool"), 50)
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
