"""Sequences come back as they were lived, across the seam of the ring and the ends of episodes."""

import numpy as np
import pytest
import torch

from agents.replay import SequenceReplay


def lived(steps, capacity=24, envs=2, **options):
    """A course whose rows name their own time: observation t, action t mod 5, state t."""
    replay = SequenceReplay(capacity, envs, 1, length=4, state_sizes=[(1,)], **options)
    for t in range(steps):
        time = np.full(envs, t)
        done = np.array([t % 7 == 6] * envs)
        obs = torch.full((envs, 1), float(t))
        replay.add(obs, np.array([t % 7 == 0] * envs), time % 5, time * 0.5, done, ~done & (t % 11 == 10), [obs])
    return replay


@pytest.mark.parametrize("steps", [9, 24, 25, 61])
def test_a_sequence_is_a_stretch_of_life_with_the_state_before_its_first_step(steps):
    replay = lived(steps)
    batch = replay.sample(200, np.random.default_rng(0))
    t = batch.obs[..., 0]
    assert (t[1:] - t[:-1] == 1).all() and t.min() >= max(steps - 24, 0) and t.max() == steps - 1
    assert torch.equal(batch.action, t.long() % 5) and torch.equal(batch.reward, t * 0.5)
    assert torch.equal(batch.state[0], t[0][:, None])
    assert torch.equal(batch.first, t % 7 == 0) and torch.equal(batch.terminated, t % 7 == 6)


def test_the_step_before_is_the_last_action_and_reward_of_the_same_episode():
    batch = lived(20).sample(100, np.random.default_rng(1))
    inside = ~batch.first
    assert torch.equal(batch.before[inside], (batch.obs[..., 0][inside].long() - 1) % 5)
    assert torch.equal(batch.earned[inside], (batch.obs[..., 0][inside] - 1) * 0.5)
    assert (batch.earned[batch.first] == 0).all()


def test_priorities_draw_in_proportion_and_importance_weights_undo_it():
    replay = lived(20, envs=1, priority=1.0, importance=1.0)
    starts = replay._starts()
    replay.prioritise((starts, np.zeros(len(starts), dtype=int)), np.arange(1.0, len(starts) + 1))
    batch = replay.sample(20_000, np.random.default_rng(0))
    share = np.bincount(batch.place[0], minlength=16)[starts] / 20_000
    expected = np.arange(1, len(starts) + 1) / np.arange(1, len(starts) + 1).sum()
    assert np.abs(share - expected).max() < 0.01
    drawn = np.bincount(batch.place[0], weights=batch.weight.numpy(), minlength=16)[starts]
    assert np.ptp(drawn) / drawn.mean() < 0.4  # weighted, every start counts the same up to chance


def test_the_tape_is_everything_in_order():
    assert lived(61).tape().obs[:, 1, 0].tolist() == list(range(37, 61))


def test_a_restored_replay_draws_the_same():
    replay, copy = lived(40), lived(0)
    copy.restore(replay.snapshot())
    one, two = (r.sample(8, np.random.default_rng(3)) for r in (replay, copy))
    assert torch.equal(one.obs, two.obs) and torch.equal(one.state[0], two.state[0])


def test_starts_keep_the_period_so_that_neighbours_overlap():
    assert set(np.diff(np.unique(lived(20, period=2).sample(300, np.random.default_rng(0)).place[0]))) == {2}


def test_too_small_a_replay_and_an_empty_one_are_refused():
    with pytest.raises(ValueError, match="raise `replay`"):
        SequenceReplay(4, 1, 1, length=4, state_sizes=[])
    with pytest.raises(ValueError, match="act first"):
        lived(3).sample(1, np.random.default_rng(0))
