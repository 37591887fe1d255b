"""A controller turns drive into muscle activity through a network whose every unit can be edited."""

import numpy as np
import pytest
import torch

from agents.controller import clamped_mask, make_controller
from agents.schedule import Schedule
from rnn import Clamp, ClampBoard, Lesion
from rnn.cpg import PhaseCell


def run(controller, steps=300, batch=1):
    state = controller.initial_state(batch)
    actions, neurons = [], []
    for step in range(steps):
        action, state = controller.act(None, state, step=step, first=np.full(batch, step == 0))
        actions.append(action)
        neurons.append(controller.neurons.numpy())
    return np.stack(actions), np.stack(neurons)


def test_drive_reaches_the_network_and_the_muscles():
    actions, neurons = run(make_controller("phase", Schedule.parse("0=0, 1=0, 1=4")))
    controller = make_controller("phase", Schedule.constant(4))
    column = controller.neuron_names.index("drive.left[0]")
    assert neurons[99, 0, column] == 0 and neurons[100, 0, column] == 4
    assert np.allclose(actions[:100, 0, :16], 0, atol=1e-5) and actions[200:, 0, :16].max() > 0.1


def test_each_world_may_have_its_own_drive():
    schedules = [Schedule.constant(d) for d in (0.5, 2.0, 4.0)]
    actions, neurons = run(make_controller("phase", schedules), batch=3)
    limbs = [i for i, n in enumerate(make_controller("phase", schedules[0]).neuron_names) if n.startswith("limb.")]
    active = neurons[200:][:, :, limbs].max((0, 2)) > 0.05
    assert active.tolist() == [False, True, False]


def test_clamps_by_schedule_and_by_board_give_the_same_run():
    edits = (Clamp("drive.left", 4.6, steps=slice(50, 120)),)
    scheduled, _ = run(make_controller("phase", Schedule.constant(4), edits=edits), 150)
    board = ClampBoard(PhaseCell())
    controller = make_controller("phase", Schedule.constant(4), edits=board)
    state, live = controller.initial_state(1), []
    for step in range(150):
        if step == 50:
            board.set("drive.left", 4.6)
        if step == 120:
            board.clear("drive.left")
        action, state = controller.act(None, state, step=step, first=np.array([step == 0]))
        live.append(action)
    assert np.array_equal(scheduled, np.stack(live))
    assert controller.edits()[0].describe() == edits[0].describe()


def test_an_episode_that_starts_anew_meets_a_fresh_network():
    controller = make_controller("phase", Schedule.constant(4))
    state = controller.initial_state(2)
    for step in range(50):
        _, state = controller.act(None, state, step=step, first=np.array([step == 0] * 2))
    fresh = controller.initial_state(1)
    _, after = controller.act(None, state, step=50, first=np.array([True, False]))
    _, one = controller.act(None, fresh, step=50, first=np.array([False]))
    assert torch.allclose(after.phase[0], one.phase[0], atol=1e-6)
    assert not torch.allclose(after.phase[1], one.phase[0], atol=1e-3)


def test_the_mask_marks_the_neurons_under_an_edit():
    cell = PhaseCell()
    names = make_controller("phase", Schedule.constant(4)).neuron_names
    mask = clamped_mask(cell, [Clamp("drive.right", 3.0, steps=slice(2, 4)), Lesion("body.left[0]")], 6)
    assert {names[i] for i in np.flatnonzero(mask[3])} == {"body.left[0]", "drive.right[0]", "drive.right[1]"}
    assert {names[i] for i in np.flatnonzero(mask[5])} == {"body.left[0]"}


def test_unknown_controllers_and_addresses_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="phase, leaky, rate"):
        make_controller("spiking", Schedule.constant(1))
    with pytest.raises(KeyError, match="body.left"):
        make_controller("phase", Schedule.constant(1), edits=[Clamp("body.lft[1]", 1.0)])
