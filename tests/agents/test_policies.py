"""Heads, policies and pattern generators as policies: densities by hand, any space, any cell, gaits as in Gymnasium."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.cpg_policy import CpgActor, GaitSpace, OscillatorGait, Range, gait_returns
from agents.evolution import evolve
from agents.export import PolicyStep, export_numpy
from agents.heads import CategoricalHead, GaussianHead, MultiCategorical, StateNoiseHead, make_head
from agents.mujoco_batch import ForwardBatch
from agents.numpy_runner import NumpyRunner
from agents.policies import RecurrentPolicy
from agents.running_scale import RunningScale
from agents.salamander_gait import SalamanderGait
from rnn.cpg import PhaseCell
from rnn.gru import GRUCell


def test_several_categorical_variables_are_independent_and_sampled_by_their_probabilities():
    logits = torch.tensor([0.0, math.log(3.0), 1.0, 1.0, 1.0])
    dist = MultiCategorical(logits, [2, 3])
    assert dist.log_prob(torch.tensor([1, 2])).exp().item() == pytest.approx(0.75 / 3)
    assert dist.entropy().item() == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) + math.log(3))
    many = MultiCategorical(logits.expand(20_000, 5), [2, 3]).sample(torch.Generator().manual_seed(0))
    assert many[:, 0].float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert torch.bincount(many[:, 1]).tolist() == pytest.approx([20_000 / 3] * 3, rel=0.05)


def test_state_noise_has_the_density_it_is_drawn_from_and_is_kept_between_steps():
    torch.manual_seed(0)
    head = StateNoiseHead(4, spaces.Box(-1, 1, (2,)), log_std=-0.3)
    z = torch.randn(4).expand(50_000, 4)
    dist = head(z)
    draws = head.draw(dist, z, torch.randn(50_000, 4, 2))
    torch.testing.assert_close(draws.std(0), dist.std[0], rtol=0.02, atol=0.0)
    policy = RecurrentPolicy(3, spaces.Box(-1, 1, (2,)), hidden=4, noise="state", noise_steps=3)
    state, first, seen = policy.initial_state(2), torch.ones(2, dtype=torch.bool), []
    for _ in range(6):
        state = policy.act(torch.zeros(2, 3), state, first)
        first = torch.zeros(2, dtype=torch.bool)
        seen.append(state.noise)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[3], seen[5]) and not torch.equal(seen[2], seen[3])


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([2, 4]),
        spaces.MultiBinary(3),
        spaces.Box(np.array([[-2.0, 0.0]], np.float32), np.array([[2.0, 5.0]], np.float32)),
    ],
)
def test_actions_belong_to_their_space_and_survive_the_way_there_and_back(space):
    torch.manual_seed(0)
    head = make_head(6, space)
    z = torch.randn(10, 6)
    action = head(z).sample()
    given = head.to_env(action)
    assert all(space.contains(a if np.ndim(a) else space.dtype.type(a)) for a in given)
    back = head.from_env(given)
    torch.testing.assert_close(back.float(), head.code(action) if isinstance(head, GaussianHead) else action.float())
    assert isinstance(head, CategoricalHead | GaussianHead) and head.code(action).shape == (10, head.code_size)


def test_a_space_that_no_head_serves_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="flatten the actions"):
        make_head(3, spaces.Tuple([spaces.Discrete(2)]))


def test_running_scales_equal_those_of_all_data_together():
    x = torch.randn(500, 3) * torch.tensor([1.0, 20.0, 0.0]) + torch.tensor([0.0, 100.0, 7.0])
    scale = RunningScale(3)
    for part in x.split([3, 97, 400]):
        scale.update(part)
    torch.testing.assert_close(scale.mean, x.mean(0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(scale.var[:2], x.var(0, correction=0)[:2], rtol=1e-3, atol=1e-3)
    assert scale(x)[:, 2].abs().max() < 1e-3  # a reading that never varies stays at zero


@pytest.mark.parametrize("shared", [True, False])
def test_oscillators_inside_the_actor_get_gradients_in_all_their_numbers(shared):
    torch.manual_seed(0)
    actor = CpgActor(8, PhaseCell(segments=2, limbs=(), dt=0.04), feedback=0.1)
    policy = RecurrentPolicy(8, spaces.Box(-1, 1, (2,)), cell=actor, shared=shared, layers=())
    dist, value = policy.evaluate(torch.randn(20, 3, 8), policy.initial_state(3))
    (dist.mean.square().sum() + value.square().sum()).backward()
    for name in ("nu1", "r1", "bias", "coupling"):
        grad = getattr(actor.cpg, name).grad
        assert grad is not None and torch.isfinite(grad).all() and grad.abs().max() > 0
    assert actor.sense.weight.grad.abs().max() > 0
    swing = dist.mean.detach() - policy.head.linear.bias
    assert swing[5:].std(0).min() > 0  # it beats by itself


def test_numbers_of_a_gait_are_coded_and_angles_wrap():
    space = GaitSpace({"f": (Range(0.5, 2.0, "log"), 1), "phi": (Range(-math.pi, math.pi, "angle"), 2)})
    unit = space.encode({"f": 1.0, "phi": [0.0, 3.0]})
    assert space.decode(unit[None])["f"].item() == pytest.approx(1.0)
    shifted = unit + np.array([0.0, 1.0, -2.0])
    np.testing.assert_allclose(space.decode(shifted[None])["phi"], [[0.0, 3.0]], atol=1e-12)


@pytest.mark.parametrize("env_id", ["Swimmer-v5", "HalfCheetah-v5"])
def test_the_batch_gives_the_rewards_and_observations_of_gymnasium(env_id):
    batch, single = ForwardBatch(env_id, 2), gymnasium.make(env_id)
    batch.reset(seed=0)
    single.reset(seed=0)
    single.unwrapped.set_state(batch.qpos[1].copy(), batch.qvel[1].copy())
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (2, *single.action_space.shape))
        obs, reward, *_ = batch.step(actions)
        expected, r, *_ = single.step(actions[1])
        np.testing.assert_allclose(obs[1], expected, atol=1e-9)
        assert reward[1] == pytest.approx(r, abs=1e-9)


def test_late_sensors_show_what_was_there_before():
    plain, late = ForwardBatch("Swimmer-v5", 1), ForwardBatch("Swimmer-v5", 1, delay=2)
    seen = [plain.reset(seed=0)[0]] + [plain.step(np.full((1, 2), 0.3))[0] for _ in range(5)]
    shown = [late.reset(seed=0)[0]] + [late.step(np.full((1, 2), 0.3))[0] for _ in range(5)]
    np.testing.assert_array_equal(shown[5], seen[3])
    np.testing.assert_array_equal(shown[1], seen[0])


def test_coarse_worlds_return_nearly_the_same_and_alike_ones_exactly():
    gait = OscillatorGait(2, 0.04, angles=(1, 2), velocities=(6, 7), feedback=False)
    wave = gait.space.encode(dict(frequency=0.7, amplitude=1.4, lag=1.0, stiffness=4.0, damping=0.2))
    fine, coarse, alike = (ForwardBatch("Swimmer-v5", 2, **how) for how in ({}, {"coarse": True}, {"alike": True}))
    a, b, c = (gait_returns(gait, env, wave, 300, seed=4) for env in (fine, coarse, alike))
    np.testing.assert_allclose(a, b, atol=0.5)
    assert a.min() > 40 and a[0] != a[1] and c[0] == c[1]
    with pytest.raises(ValueError, match="only Swimmer-v5 bears coarse steps"):
        ForwardBatch("HalfCheetah-v5", 1, coarse=True)


def test_gaits_side_by_side_swim_as_they_do_alone_and_a_wave_to_the_tail_swims_forward():
    gait = OscillatorGait(2, 0.04, angles=(1, 2), velocities=(6, 7), heading=0)
    wave = dict(frequency=1.0, amplitude=0.8, stiffness=2.0, damping=0.1, feedback=0.0, steer=0.0)
    pair = np.stack([gait.space.encode({**wave, "lag": lag}) for lag in (1.5, -1.5)])
    both = gait_returns(gait, ForwardBatch("Swimmer-v5", 2), pair, 150, seed=3)
    assert both[0] > 15 > -15 > both[1]  # the wave runs back or forth
    env = ForwardBatch("Swimmer-v5", 2)
    same = gait_returns(gait, env, pair[0], 150, seed=3)
    assert same[0] == pytest.approx(both[0], abs=1e-3)


def test_oscillators_that_hear_nothing_beat_as_those_that_listen_to_nothing_said():
    """In closed form or stepped, the same torques, whatever the gait."""
    rng = np.random.default_rng(0)
    deaf = OscillatorGait(3, 0.04, angles=(1, 2, 3), velocities=(4, 5, 6), heading=0, feedback=False, phase=True)
    keen = OscillatorGait(3, 0.04, angles=(1, 2, 3), velocities=(4, 5, 6), heading=0, phase=True)
    numbers = [dict(zip(deaf.space.ranges, parts, strict=True)) for parts in _draws(rng, deaf.space, 4)]
    controllers = [
        gait.controller(np.stack([gait.space.encode({**n, **more}) for n in numbers]))
        for gait, more in ((deaf, {}), (keen, {"feedback": 0.0}))
    ]
    states = [controller.initial_state(4) for controller in controllers]
    for t in range(200):
        obs, torques = 0.3 * rng.normal(size=(4, 7)), []
        for k, controller in enumerate(controllers):
            torque, states[k] = controller.act(obs, states[k], step=t, first=np.full(4, t == 0))
            torques.append(torque)
        np.testing.assert_allclose(*torques, atol=2e-3)


def _draws(rng, space, count):
    for unit in rng.random((count, space.size)):
        yield [value[0] for value in space.decode(unit[None]).values()]


def test_evolution_ranks_nan_last():
    found = evolve(lambda x: np.where(x[:, 0] > 0.5, np.nan, x[:, 0]), np.zeros(2), generations=15, population=8)
    assert 0 < found.best_score <= 0.5


def test_a_salamander_gait_keeps_activations_in_range_and_left_and_right_in_antiphase():
    gait = SalamanderGait("walk")
    rng = np.random.default_rng(0)
    controller = gait.controller(rng.random((3, gait.space.size)))
    state, courses = controller.initial_state(3), []
    for t in range(300):
        action, state = controller.act(None, state, step=t, first=np.zeros(3, bool))
        courses.append(action)
    course = np.array(courses)
    assert course.shape == (300, 3, 48) and course.min() >= 0 and course.max() <= 1
    left, right = course[150:, :, 0], course[150:, :, 1]
    np.testing.assert_allclose(left + right, np.broadcast_to(controller.gain[:, 0], left.shape), atol=2e-3)


def test_an_interrupted_evolution_keeps_what_it_found():
    calls = iter(range(100))

    def score(x):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return -(x**2).sum(1)

    found = evolve(score, np.full(2, 0.5), generations=50, population=8)
    assert len(found.scores) == 3 and found.best_score > -0.5


SIDES = {
    "box": (spaces.Box(-2.0, 2.0, (2,), np.float32), (-1, 1), lambda a: a * np.array([-1.0, 1.0])),
    "discrete": (spaces.Discrete(3), (0, 2, 1), lambda a: np.array([0, 2, 1])[a]),
}


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_policy_with_two_sides_does_in_the_mirror_what_its_image_does(kind, shared):
    torch.manual_seed(0)
    space, actions, image = SIDES[kind]
    signs = torch.tensor([1.0, -1.0, -1.0])
    policy = RecurrentPolicy(
        3, space, hidden=8, shared=shared, previous_action=True, mirror_signs=signs.tolist(), mirror_actions=actions
    )
    nn.init.orthogonal_(policy.head.linear.linear.weight)
    policy.scale.update(torch.randn(50, 3) + 1.0)
    xs, first = torch.randn(9, 4, 3), torch.zeros(4, dtype=torch.bool)
    here, there = policy.initial_state(4), policy.initial_state(4)
    seen, values, tried, start = [], [], set(), here
    for x in xs:
        seen.append(policy.features(x, here.previous))
        here = policy.act(x, here, first, explore=False)
        there = policy.act(x * signs, there, first, explore=False)
        np.testing.assert_allclose(image(policy.to_env(here)), policy.to_env(there), atol=1e-5)
        torch.testing.assert_close(here.value, there.value)
        values.append(here.value)
        tried |= set(policy.to_env(here).round(4).ravel().tolist())
    assert len(tried) > 1  # it does not do the same whatever it sees
    torch.testing.assert_close(policy.evaluate(torch.stack(seen), start)[1], torch.stack(values))


@pytest.mark.parametrize(
    "change, match",
    [
        ({"mirror_actions": None}, "together"),
        ({"mirror_signs": (1.0,)}, "3 observations"),
        ({"mirror_actions": (1, 1)}, "a Box"),
        ({"noise": "state"}, "noise 'step'"),
        ({"cell": GRUCell(5, 4)}, "as many"),
    ],
)
def test_a_mirror_that_does_not_fit_is_refused(change, match):
    settings = {"mirror_signs": (1.0, -1.0, 1.0), "mirror_actions": (-1,), **change}
    with pytest.raises(ValueError, match=match):
        RecurrentPolicy(3, spaces.Box(-1.0, 1.0, (1,), np.float32), **settings)


@pytest.mark.parametrize("kind", SIDES)
def test_a_policy_with_two_sides_acts_the_same_outside_torch(kind, tmp_path):
    torch.manual_seed(0)
    space, actions, _ = SIDES[kind]
    mirror = {"mirror_signs": (1.0, -1.0, -1.0), "mirror_actions": actions}
    policy = RecurrentPolicy(3, space, hidden=8, previous_action=True, **mirror)
    nn.init.orthogonal_(policy.head.linear.linear.weight)
    runner = NumpyRunner(export_numpy(PolicyStep(policy), tmp_path))
    state, first = policy.initial_state(1), torch.zeros(1, dtype=torch.bool)
    for x in torch.randn(20, 3):
        state = policy.act(x[None], state, first, explore=False)
        np.testing.assert_allclose(np.ravel(runner(x.numpy())), np.ravel(policy.to_env(state)), atol=1e-5)
