"""The shell: exact resume, SB3's protocol, guards."""

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

from agents.learner import Learner, evaluate, make_worlds, memory_self_test
from agents.recurrent_ppo import RecurrentPPO
from agents.world_state import NotCapturable, capture


class Sum(NamedTuple):
    h: Tensor


class Counting(Learner):
    """A learner small enough to follow: random actions, one weight step per environment step."""

    @dataclass(frozen=True)
    class Config:
        rate: float = 0.01
        poison: int = -1

    def build(self) -> None:
        self.net = nn.Linear(self.obs_size, int(self.action_space.n))
        self.optimiser = torch.optim.Adam(self.net.parameters(), self.config.rate)
        self.batch: Any = None

    def networks(self):
        return {"net": self.net}

    def optimisers(self):
        return {"net": self.optimiser}

    def initial_state(self, batch):
        return Sum(torch.zeros(batch, self.obs_size))

    def scores(self, obs, state, first):
        return self.net(torch.where(first[:, None], 0, state.h) + obs)

    def choose(self, obs, state, first, *, explore):
        h = torch.where(first[:, None], 0, state.h) + obs
        values = self.net(h)
        if explore:
            values = values + torch.from_numpy(self.rng.gumbel(size=values.shape)).float()
        return values.argmax(1).numpy(), Sum(h)

    def observe(self, transition, state):
        self.batch = (self.flat(transition.obs), torch.as_tensor(transition.reward).float())

    def next_batch(self):
        batch, self.batch = self.batch, None
        return batch

    def update(self, batch):
        obs, reward = batch
        loss = (self.net(obs).mean(1) - reward).square().mean()
        if self.num_timesteps == self.config.poison:
            loss = loss * float("nan")
        return {"norm": self.descend(self.optimiser, loss)}


def cartpoles(n=3, kind="gymnasium"):
    if kind == "gymnasium":
        same = {"autoreset_mode": AutoresetMode.SAME_STEP}
        return gymnasium.make_vec("CartPole-v1", n, vectorization_mode="sync", vector_kwargs=same)
    return VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1") for _ in range(n)]))


@pytest.mark.parametrize("kind", ["gymnasium", "normalised"])
def test_a_stopped_and_resumed_run_gives_the_numbers_of_an_uninterrupted_one(tmp_path, kind):
    whole = Counting(cartpoles(kind=kind), seed=4).learn(300)
    half = Counting(cartpoles(kind=kind), seed=4)
    half._total_timesteps = 300

    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 150

    half.learn(300, callback=Stop()).save(tmp_path)
    resumed = Counting.load(tmp_path, cartpoles(kind=kind)).resume()
    assert resumed.num_timesteps == whole.num_timesteps == 300
    for key, value in whole.snapshot()["networks"]["net"].items():
        assert torch.equal(value, resumed.net.state_dict()[key])
    assert np.array_equal(whole.worlds.obs, resumed.worlds.obs)
    assert torch.equal(whole.state.h, resumed.state.h)
    assert list(whole.ep_info_buffer)[-1]["r"] == list(resumed.ep_info_buffer)[-1]["r"]


def test_an_interrupted_write_leaves_the_old_checkpoint_and_a_truncated_one_is_refused(tmp_path):
    learner = Counting(cartpoles()).learn(30)
    learner.save(tmp_path)
    file = tmp_path / "learner.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="truncated"):
        Counting.load(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint"):
        Counting.load(tmp_path / "nowhere")


def test_a_nan_stops_with_the_weights_and_the_last_good_checkpoint_kept(tmp_path):
    learner = Counting(cartpoles(n=1), poison=60)
    with pytest.raises(FloatingPointError, match="weights were left"):
        learner.learn(100, checkpoint=tmp_path, checkpoint_every=20)
    assert all(torch.isfinite(p).all() for p in learner.net.parameters())
    assert Counting.load(tmp_path).num_timesteps == 40

    class BadReward(gymnasium.RewardWrapper):
        def reward(self, reward):
            return float("nan")

    with pytest.raises(FloatingPointError, match="reward"):
        Counting(BadReward(gymnasium.make("CartPole-v1"))).learn(10)


def test_sb3_evaluates_a_learner_and_agrees_with_ours_on_what_an_episode_returns():
    learner = Counting("CartPole-v1", seed=1)
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("CartPole-v1"))
    mean, _ = evaluate_policy(learner, env, n_eval_episodes=5, warn=False)
    ours = evaluate(learner, cartpoles(5), 5, seed=0)
    assert 8 <= mean <= 60 and ((ours >= 8) & (ours <= 60)).all()


def test_predicting_without_the_state_in_the_middle_of_an_episode_warns():
    learner = Counting("CartPole-v1")
    obs = np.zeros(4, dtype=np.float32)
    _, state = learner.predict(obs)
    _, state = learner.predict(obs, state)
    learner.predict(obs, None, episode_start=np.array([True]))
    with pytest.warns(UserWarning, match="lost its memory"):
        learner.predict(obs)


def test_the_memory_test_tells_a_learner_that_remembers_from_one_that_forgets():
    frames = np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)

    class Forgetful(Counting):
        def scores(self, obs, state, first):
            return self.net(obs)

    assert memory_self_test(Counting("CartPole-v1"), frames).remembers
    assert not memory_self_test(Forgetful("CartPole-v1"), frames).remembers


def test_wrong_spaces_and_settings_are_named():
    with pytest.raises(ValueError, match="continuous actions"):
        Counting("Pendulum-v1")
    with pytest.raises(ValueError, match="did you mean rate"):
        Counting("CartPole-v1", rat=0.1)
    with pytest.raises(ValueError, match="keep its spaces"):
        Counting("CartPole-v1").predict(np.zeros(7))
    with pytest.raises(ValueError, match="another observation space.*build a new learner"):
        Counting("CartPole-v1").set_env("Acrobot-v1")
    with pytest.raises(ValueError, match="another number of worlds: 1, the environment has 2"):
        Counting("CartPole-v1").set_env(make_worlds("CartPole-v1", 2))
    with pytest.raises(ValueError, match="Tuple are not served"):
        Counting("Blackjack-v1")
    with pytest.raises(ValueError, match="seed is at least 0, received -1"):
        Counting("CartPole-v1", seed=-1)


def test_worlds_that_hold_foreign_objects_say_that_they_cannot_be_captured():
    env = gymnasium.make("CartPole-v1")
    assert capture(env)["objects"]["env"]
    env.unwrapped.engine = memoryview(b"physics")
    with pytest.raises(NotCapturable, match="memoryview"):
        capture(env)


def test_observation_spaces_flatten_as_named_rows():
    space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,))})
    learner = Counting(None, space_pair=(space, spaces.Discrete(2)))
    assert learner.flat({"a": np.array([1]), "b": np.array([[0.5, -0.5]])}).tolist() == [[0, 1, 0.5, -0.5]]


def test_a_checkpoint_does_not_decide_what_is_imported(monkeypatch, tmp_path):
    agent = RecurrentPPO("CartPole-v1", num_envs=2, horizon=4, epochs=1, hidden=4).learn(16, checkpoint=tmp_path)
    monkeypatch.setattr(type(agent), "__module__", "this")  # a module that prints when it is imported
    agent.save(tmp_path / "foreign")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"written by this\.RecurrentPPO; import this before"):
        RecurrentPPO.load(tmp_path / "foreign")
    assert "this" not in sys.modules
    assert RecurrentPPO.load(tmp_path).num_timesteps == 16
