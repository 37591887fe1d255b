"""A recurrent DQN put together from TorchRL's parts: one seed of CartPole-v1 with hidden velocities.

    python benchmarks/q_peer_torchrl.py --seed 200 --steps 50000

Run by `q_peers.py` in a Python that has TorchRL; the last line printed is the result as JSON. TorchRL ships parts and
a tutorial, no assembled agent: here are its collector, GRU, multi-step rewards, double-DQN loss and target averaging,
with the settings of our own learner wherever there is a counterpart (16 worlds, one update per 16 steps, 32 sequences
of 32 steps, 10-step targets, rates, the averaged network is judged). Sequences are the collected chunks, as in the
tutorial, with the state stored when acting; there is no burn-in and no dueling head.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from q_peer_task import Record, main, returns, world
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.postprocs import MultiStep
from torchrl.envs import Compose, GymWrapper, InitTracker, RewardScaling, SerialEnv, TransformedEnv
from torchrl.modules import MLP, EGreedyModule, GRUModule, QValueModule, set_recurrent_mode
from torchrl.objectives import DQNLoss, SoftUpdate

WORLDS, LENGTH, BATCH, UNITS = 16, 32, 32, 64
GAMMA, N_STEP, TARGET_RATE, LR, LR_END, MAX_NORM = 0.99, 10, 0.03, 1e-3, 0.05, 10.0
EPSILON, EPSILON_STEPS, REPLAY, WARMUP = 0.03, 10_000, 100_000, 1_000
REWARD_SCALE, FIRST_VALUE = 0.01, 1.0  # what every action is worth at first: 0.01 / (1 - gamma), going on for ever


class Player:
    """The averaged weights as a policy over a batch, without TorchRL's bookkeeping."""

    def __init__(self, gru: nn.GRU, head: nn.Module, weights: dict[str, Tensor]):
        self.gru, self.head = gru, head
        self.weights = [dict(_part(weights, f"module.{k}.module.")) for k in (0, 1)]

    @torch.no_grad()
    def __call__(self, obs: np.ndarray, state: Tensor | None) -> tuple[np.ndarray, Tensor]:
        x = torch.as_tensor(obs)[:, None]
        h = torch.zeros(1, len(obs), UNITS) if state is None else state
        names = {name.split(".")[-1]: value for name, value in self.weights[0].items()}
        y, h = torch.func.functional_call(self.gru, names, (x, h))
        q = torch.func.functional_call(self.head, self.weights[1], (y[:, 0],))
        return q.argmax(1).numpy(), h


def _part(weights: dict[str, Tensor], prefix: str) -> list[tuple[str, Tensor]]:
    return [(name[len(prefix) :], value) for name, value in weights.items() if name.startswith(prefix)]


def train(seed: int, steps: int, every: int, threshold: float) -> dict[str, Any]:
    """Learn and judge one seed."""
    torch.manual_seed(seed)
    one = lambda: GymWrapper(world(True), categorical_action_encoding=True)
    spec = one().action_spec
    gru = GRUModule(input_size=6, hidden_size=UNITS, in_key="observation", out_key="embed")
    head = MLP(in_features=UNITS, out_features=2, num_cells=[UNITS], activation_class=nn.ReLU)
    with torch.no_grad():
        list(head.parameters())[-1].add_(FIRST_VALUE)  # the bias of the last layer
    value = TensorDictModule(head, in_keys=["embed"], out_keys=["action_value"])
    policy = TensorDictSequential(gru, value, QValueModule(spec=spec))
    explore = EGreedyModule(spec=spec, eps_init=1.0, eps_end=EPSILON, annealing_num_steps=EPSILON_STEPS)

    env = TransformedEnv(SerialEnv(WORLDS, one), Compose(InitTracker(), RewardScaling(loc=0.0, scale=REWARD_SCALE)))
    env.append_transform(gru.make_tensordict_primer())
    env.set_seed(seed)
    frames = WORLDS * LENGTH
    whole = TensorDictSequential(policy, explore)
    collector = Collector(env, whole, frames_per_batch=frames, total_frames=steps, postproc=MultiStep(GAMMA, N_STEP))
    memory = TensorDictReplayBuffer(storage=LazyTensorStorage(REPLAY // LENGTH), batch_size=BATCH)
    loss = DQNLoss(policy, action_space=spec, double_dqn=True, delay_value=True, loss_function="smooth_l1")
    loss.make_value_estimator(gamma=GAMMA)
    average = SoftUpdate(loss, tau=TARGET_RATE)
    optimiser = torch.optim.Adam(policy.parameters(), LR)

    record, done = Record(every), 0

    def score(episodes: int, seed: int) -> np.ndarray:
        weights = loss.target_value_network_params.flatten_keys(".").to_dict()
        return returns(Player(gru.gru, head, weights), True, episodes, seed)

    for chunk in collector:
        memory.extend(chunk)
        done += frames
        explore.step(frames)
        for group in optimiser.param_groups:
            group["lr"] = LR * (1 + (LR_END - 1) * done / steps)
        for _ in range(LENGTH if done > WARMUP else 0):
            with set_recurrent_mode(True):
                error = loss(memory.sample())["loss"]
            optimiser.zero_grad()
            error.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), MAX_NORM)
            optimiser.step()
            average.step()
        record.watch(done, score)
    return record.result(seed, score, threshold)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # the peer's own
    torch.set_num_threads(1)
    main(train, __doc__)
