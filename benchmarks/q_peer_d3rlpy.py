"""d3rlpy's NFQ, acting and learning: one seed of CartPole-v1 with everything seen.

    python benchmarks/q_peer_d3rlpy.py --seed 200 --steps 20000

Run by `q_peers.py` in a Python that has d3rlpy; the last line printed is the result as JSON. What d3rlpy names NFQ is
DQN whose targets come from the current network: Adam on minibatches, no full-batch RProp, no refitting, no hint to
goal (see its documentation). Rate and batch are its defaults, the discount is that of our fitted Q; rewards are
multiplied by 0.01. With a discount of 0.99 and a rate of 3e-4 its values grew without bound on seed 900.
"""

from __future__ import annotations

import warnings
from typing import Any

import d3rlpy
import gymnasium
import numpy as np
import torch
from d3rlpy.algos.qlearning.explorers import LinearDecayEpsilonGreedy
from d3rlpy.logging import NoopAdapterFactory
from d3rlpy.models import VectorEncoderFactory
from q_peer_task import Record, main, returns, world

LR, BATCH, UNITS, GAMMA, UPDATE_EVERY = 6.25e-5, 32, [64, 64], 0.95, 2
EPSILON, EPSILON_STEPS, REPLAY, WARMUP, REWARD_SCALE = 0.03, 10_000, 50_000, 1_000, 0.01


def train(seed: int, steps: int, every: int, threshold: float) -> dict[str, Any]:
    """Learn and judge one seed."""
    d3rlpy.seed(seed)
    env = gymnasium.wrappers.TransformReward(world(False), lambda reward: REWARD_SCALE * float(reward))
    d3rlpy.envs.seed_env(env, seed)
    nfq = d3rlpy.algos.NFQConfig(
        learning_rate=LR, batch_size=BATCH, gamma=GAMMA, encoder_factory=VectorEncoderFactory(UNITS)
    ).create(device=False)
    play = lambda obs, state: (nfq.predict(np.asarray(obs, dtype=np.float32)), None)
    score = lambda episodes, seed: returns(play, False, episodes, seed)
    record = Record(every)
    nfq.fit_online(
        env,
        d3rlpy.dataset.create_fifo_replay_buffer(limit=REPLAY, env=env),
        LinearDecayEpsilonGreedy(1.0, EPSILON, EPSILON_STEPS),
        n_steps=steps,
        n_steps_per_epoch=every,
        update_interval=UPDATE_EVERY,
        update_start_step=WARMUP,
        logger_adapter=NoopAdapterFactory(),
        show_progress=False,
        callback=lambda algorithm, epoch, done: record.watch(done, score),
    )
    return record.result(seed, score, threshold)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # the peer's own
    torch.set_num_threads(1)
    main(train, __doc__)
