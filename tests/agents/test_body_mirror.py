"""The mirrored animal: physics, senses, muscles and oscillators agree about what the other side is."""

import gymnasium
import numpy as np
import pytest
import torch

from agents.body_mirror import generator_mirror, muscle_mirror, sense_mirror
from agents.drive_world import READINGS, mirrored
from agents.muscle_ppo import MusclePPO, muscle_settings, muscle_worlds
from rnn.cpg import PhaseCell


@pytest.mark.parametrize(("task", "steps"), [("Swim", 15), ("Walk", 4)])  # friction is solved foot after foot
def test_an_animal_that_does_the_mirrored_thing_feels_the_mirrored_thing(task, steps):
    env = gymnasium.make_vec(f"sim:salamander/{task}-v0", 2, threads=1, normalise_actions=True)
    senses, muscles = sense_mirror(env.unwrapped.observation_names), muscle_mirror()
    env.reset(seed=0)
    rng = np.random.default_rng(1)
    action = torch.zeros(48)
    for _ in range(steps):
        action = 0.8 * action + 0.3 * torch.as_tensor(rng.normal(size=48), dtype=torch.float32)
        obs = env.step(torch.stack([action, muscles.of(action)]).numpy())[0]
    assert np.abs(obs[0, :8]).max() > 0.05 and abs(obs[0, 51]) > 0.001  # it bends and turns
    image = senses.of(torch.as_tensor(obs[0])).numpy()
    np.testing.assert_allclose(image, obs[1], atol=0.03, rtol=0.05)
    assert np.abs(obs[0] - obs[1]).max() > 0.2


def test_mirrored_input_gives_mirrored_output_of_the_oscillators():
    cell = PhaseCell()
    parts = generator_mirror(cell)
    torch.manual_seed(0)
    x = 3 + torch.rand(1, cell.input_size)
    state = cell.initial_state(1)
    state = state._replace(phase=6 * torch.rand(1, 20), amplitude=torch.rand(1, 20))
    other = type(state)(*(parts["unit"].of(part) for part in state))
    with torch.no_grad():
        for _ in range(30):
            y, state = cell(x, state)
            image, other = cell(parts["input"].of(x), other)
    torch.testing.assert_close(parts["output"].of(y), image, atol=1e-4, rtol=1e-4)
    for parameter in (cell.bias, cell.coupling):
        torch.testing.assert_close(parts["edge"].of(parameter.detach()), parameter.detach())


@pytest.mark.parametrize("noise", ["state", "step"])
def test_what_is_learned_is_the_same_on_both_sides(noise):
    env = muscle_worlds("swim", 4)
    settings = {"horizon": 32, "minibatch": 2, "epochs": 2, "learning_rate": 1e-2, "target_kl": 1e9, "noise": noise}
    tied = muscle_settings("swim", "oscillators", env.unwrapped.observation_names)
    agent = MusclePPO(env, **settings, **tied)
    plain = MusclePPO(muscle_worlds("swim", 4), **settings, **muscle_settings("swim", "oscillators"))
    senses, muscles = sense_mirror(env.unwrapped.observation_names), muscle_mirror()
    odd = []
    for learner in (agent, plain):
        before = learner.network.head.linear.weight.detach().clone()
        learner.learn(2 * 32 * 4)
        assert (learner.network.head.linear.weight - before).abs().max() > 0.01
        cell = learner.network.actor_cell
        latent = generator_mirror(cell.cpg)["output"] + senses
        with torch.no_grad():
            weight = learner.network.head.linear.weight
            odd.append((weight - latent.of(muscles.of(weight, 0), 1)).abs().max().item())
            odd.append((cell.cpg.bias - generator_mirror(cell.cpg)["edge"].of(cell.cpg.bias)).abs().max().item())
    assert max(odd[:2]) < 1e-4 < 1e-3 < min(odd[2:])


def test_a_model_of_the_newt_sees_the_same_mirror():
    readings = torch.randn(5, len(READINGS))
    torch.testing.assert_close(sense_mirror(READINGS).of(readings), mirrored(readings, torch.zeros(5, 2))[0])
