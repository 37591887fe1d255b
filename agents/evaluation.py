"""Judge a learner: returns of fresh episodes, and whether its memory reaches what it does."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.rollout import Worlds, rollout
from rnn.cell import map_state

__all__ = ["Greedy", "MemoryTest", "evaluate", "memory_self_test"]


class Greedy:
    """A learner that acts without exploration, as an actor for `agents.rollout`."""

    def __init__(self, learner: Any):
        self.learner = learner

    def initial_state(self, batch: int) -> Any:
        return self.learner.initial_state(batch)

    @torch.no_grad()
    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.learner.choose(self.learner.flat(obs), state, torch.as_tensor(first), explore=False)


def evaluate(actor: Any, env: Any, episodes: int, *, seed: int | None = None, max_steps: int = 100_000) -> np.ndarray:
    """Undiscounted returns of fresh episodes, the same number from every world, so that short ones do not crowd in.

    Args:
        actor: a learner (then it acts greedily) or any actor.
        env: a vector environment.
        episodes: at least so many.
    """
    worlds = Worlds(env)
    each = math.ceil(episodes / worlds.num_envs)
    done: list[list[float]] = [[] for _ in range(worlds.num_envs)]
    running = np.zeros(worlds.num_envs)
    player = Greedy(actor) if hasattr(actor, "choose") else actor
    for transition in rollout(worlds, player, max_steps, seed=seed):
        running += transition.reward
        for row in np.flatnonzero(transition.terminated | transition.truncated):
            done[row].append(float(running[row]))
            running[row] = 0.0
        if all(len(returns) >= each for returns in done):
            break
    return np.array([value for returns in done for value in returns[:each]])


class MemoryTest(NamedTuple):
    """Greatest change of the scores when the state is zeroed, and when it is exchanged between worlds."""

    zeroed: float
    shuffled: float

    @property
    def remembers(self) -> bool:
        return self.zeroed > 0 and self.shuffled > 0


@torch.no_grad()
def memory_self_test(learner: Any, obs: Any) -> MemoryTest:
    """Does the memory reach the output? Run over observations [T, B, ...], then drop or exchange the state.

    Raises:
        ValueError: fewer than two steps or two worlds.
    """
    if len(obs) < 2 or len(obs[0]) < 2:
        raise ValueError("the test needs observations [T, B, ...] of at least 2 steps and 2 worlds that differ")
    batch = len(obs[0])
    state, first = learner.initial_state(batch), torch.ones(batch, dtype=torch.bool)
    for frame in obs[:-1]:
        _, state = learner.choose(learner.flat(frame), state, first, explore=False)
        first = torch.zeros(batch, dtype=torch.bool)
    last = learner.flat(obs[-1])
    kept = learner.scores(last, state, first)
    zeroed = learner.scores(last, learner.initial_state(batch), first)
    shuffled = learner.scores(last, map_state(lambda part: part.roll(1, 0), state) if state != () else (), first)
    return MemoryTest(float((kept - zeroed).abs().max()), float((kept - shuffled).abs().max()))
