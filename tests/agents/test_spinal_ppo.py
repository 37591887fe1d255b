"""PPO that begins as the fixed pattern generator: the same muscles at the start, and nothing learned but feedback."""

import numpy as np
import pytest
import torch

from agents.body_mirror import generator_mirror, muscle_mirror, sense_mirror, synergy_mirror
from agents.drive_level import SWIM, WALK, HeldDrive
from agents.evaluation import Greedy
from agents.muscle_actors import Activations, DrivenMuscles
from agents.muscle_ppo import muscle_worlds
from agents.spinal_actor import SpinalActor
from agents.spinal_ppo import SpinalPPO, muscle_learner
from agents.synergies import RotatedGaussian, moving, synergies


@pytest.mark.parametrize(("task", "drive"), [("swim", SWIM), ("walk", WALK), ("steer", SWIM)])
def test_before_learning_the_muscles_are_those_of_the_fixed_pattern_generator(task, drive):
    agent = muscle_learner(task, "generator", muscle_worlds(task, 1))
    start, fixed = Activations(Greedy(agent)), DrivenMuscles(HeldDrive(drive))
    a, b = start.initial_state(2), fixed.initial_state(2)
    rng, first = np.random.default_rng(0), np.ones(2, bool)
    for step in range(60):
        obs = rng.normal(size=(2, agent.obs_size)).astype(np.float32)  # it is deaf
        ours, a = start.act(obs, a, step=step, first=first)
        theirs, b = fixed.act(obs, b, step=step, first=first)
        first = np.zeros(2, bool)
        np.testing.assert_allclose(ours, np.clip(theirs, 0, [1.0] * 16 + [4.0] * 32), atol=1e-4)
    assert np.ptp(ours[0, :16]) > 0.05


def test_at_the_shore_the_drive_rises_from_walking_to_swimming_with_the_depth():
    agent = muscle_learner("shore", "generator", muscle_worlds("shore", 1))
    obs = torch.zeros(3, agent.obs_size)
    wet = [k for k, name in enumerate(agent.config.senses) if name.startswith("submerged")]
    obs[1, wet], obs[2, wet] = 0.5, 1.0
    drives = agent.network.actor_cell.drives(obs)[:, :4].detach()
    torch.testing.assert_close(drives, torch.tensor([2.0, 3.0, 4.0])[:, None].expand(3, 4))


def test_the_whole_sequence_is_what_its_steps_are():
    torch.manual_seed(0)
    actor = SpinalActor(5, (1, 3), drive=2.0)
    torch.nn.init.normal_(actor.sense.weight, std=0.02)
    xs, state = torch.randn(20, 3, 5), actor.initial_state(3)
    whole, last, _ = actor.sequence(xs, state, None, None)
    steps = []
    for x in xs:
        y, state = actor(x, state)
        steps.append(y)
    torch.testing.assert_close(whole, torch.stack(steps), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(last.cpg.phase, state.cpg.phase, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole[..., 48:50], xs[..., [1, 3]])


def test_a_synergy_in_the_mirror_is_itself_or_its_opposite():
    patterns = synergies()
    image = muscle_mirror().of(patterns, 0)
    torch.testing.assert_close(image, patterns * synergy_mirror().sign)
    assert synergy_mirror().sign[:3].tolist() == [-1.0] * 3  # bending
    assert patterns[16:, :16].abs().max() == 0  # of the spine alone


def test_noise_of_synergies_has_the_density_of_its_covariance():
    torch.manual_seed(1)
    axes = synergies().double()
    mean, std, action = torch.randn(4, 48).double(), 0.1 + torch.rand(4, 48).double(), torch.randn(4, 48).double()
    covariance = axes @ torch.diag_embed(std**2) @ axes.T
    truth = torch.distributions.MultivariateNormal(mean, covariance)
    ours = RotatedGaussian(mean, std, axes)
    torch.testing.assert_close(ours.log_prob(action), truth.log_prob(action))
    torch.testing.assert_close(ours.entropy(), truth.entropy())
    draws = RotatedGaussian(torch.zeros(20_000, 48), std[:1].float().expand(20_000, 48), axes.float()).sample()
    torch.testing.assert_close(draws.T.cov(), covariance[0].float(), atol=0.03, rtol=0)


def test_learning_reaches_what_is_heard_by_few_synergies_alike_on_both_sides():
    agent = muscle_learner("steer", "generator", muscle_worlds("steer", 4), horizon=32, minibatch=2, epochs=2)
    before = {name: p.detach().clone() for name, p in agent.network.named_parameters()}
    agent.learn(2 * 32 * 4)
    weight, few = agent.network.head.linear.weight, moving(limbs=False)
    change = (weight - before["head.linear.weight"]).detach()
    heard = [agent.config.senses[k] for k in agent.network.actor_cell.heard]
    assert heard == ["yaw_rate", "target.cos", "target.sin"]
    assert change[few][:, 48:51].abs().max() > 1e-3
    change[:3, 48:51] = 0.0
    assert change.abs().max() == 0.0
    rows, columns = synergy_mirror(), muscle_mirror() + sense_mirror(heard)
    C = weight.detach()[:, 48:51]
    torch.testing.assert_close(sense_mirror(heard).of(rows.of(C, 0), 1), C, atol=1e-5, rtol=0)
    assert len(columns.order) == 51
    sense = agent.network.actor_cell.sense.weight.detach()
    image = sense_mirror(heard).of(generator_mirror(agent.network.actor_cell.cpg)["input"].of(sense, 0), 1)
    assert sense.abs().max() > 1e-3
    torch.testing.assert_close(image, sense, atol=1e-5, rtol=0)


def test_a_saved_policy_acts_as_before(tmp_path):
    agent = muscle_learner("walk", "generator", muscle_worlds("walk", 2), horizon=32, minibatch=2, epochs=1).learn(64)
    agent.save(tmp_path)
    again = SpinalPPO.load(tmp_path)
    obs = np.random.default_rng(0).normal(size=(2, 70))
    np.testing.assert_array_equal(*(a.predict(obs, deterministic=True)[0] for a in (agent, again)))


def test_senses_that_there_are_none_of_are_refused():
    with pytest.raises(ValueError, match="no sense begins with one of"):
        muscle_learner("walk", "generator", muscle_worlds("walk", 1), hears=("smell",))
