import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch.nn.functional import one_hot

from agents.forecast import Forecast
from agents.pqn import PQN
from agents.q_tasks import make_task
from agents.replay import Sequences


def sequences(obs, action, first):
    blank = torch.zeros(obs.shape[:2])
    return Sequences(
        obs, first, action, blank, action, blank, blank.bool(), blank.bool(), [], torch.ones(obs.shape[1]), (None, None)
    )


def test_what_follows_from_state_and_action_is_learned_and_ends_of_episodes_do_not_count():
    torch.manual_seed(0)
    T, B, K = 20, 16, 3
    action = torch.randint(K, (T, B))
    push = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.1]])
    obs = torch.cat([torch.zeros(1, B, 2), push[action].cumsum(0)[:-1]])
    first = torch.zeros(T, B, dtype=torch.bool)
    first[10] = True
    obs[10:] += 1000.0  # the step to another episode is no change
    head, h = Forecast(4, 2, K), torch.zeros(T, B, 4)
    optimiser = torch.optim.Adam(head.parameters(), 0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss = head.loss(h, sequences(obs, action, first))
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-2 and float(head.spread.max()) < 3
    told = head.spread * head.dense(torch.cat([torch.zeros(K, 4), one_hot(torch.arange(K), K).float()], 1))
    torch.testing.assert_close(told.detach(), push, atol=0.1, rtol=0.0)


class Drift(gym.Env):
    """A place that drifts by a step of +-1, drawn anew in every episode of 8 steps; nothing can be done about it."""

    observation_space = gym.spaces.Box(-20.0, 20.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_, self.place, self.count = self.np_random.choice([-1.0, 1.0]), self.np_random.uniform(-8, 8), 0
        return np.array([self.place], np.float32), {}

    def step(self, action):
        self.place, self.count = self.place + self.step_, self.count + 1
        return np.array([self.place], np.float32), 0.0, False, self.count >= 8, {}


def test_what_is_not_seen_is_foretold_with_memory_and_not_without():
    errors = {}
    for cell in ("gru", None):
        worlds = SyncVectorEnv([Drift] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
        how = {
            "previous_action": False,
            "encoder": 0,
            "hidden_size": 16,
            "lr": 0.01,
            "minibatches": 1,
            "epochs": 8,
            "scale": 0.3,
        }
        agent = PQN(worlds, seed=3, cell=cell, forecast=1.0, rollout=16, **how).learn(8 * 17 * 24)
        data = agent.replay.tape()
        with torch.no_grad():
            errors[cell] = float(agent.online.forecast.loss(agent.online.outputs(data), data))
    assert errors["gru"] < 0.7 * errors[None], errors


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="forecast"):
        PQN(make_task("CartPole-v1", 4), forecast=-1.0)
