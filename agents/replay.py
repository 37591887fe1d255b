"""What happened, kept as one long course per world, from which sequences are drawn that may run over episode ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Sequences", "SequenceReplay"]


class Sequences(NamedTuple):
    """Sequences [T, B, ...], time first. Row t is a step: what was seen, done, and what came of it."""

    obs: Tensor
    """[T, B, D]."""
    first: Tensor
    """Whether the episode started with this observation, [T, B]."""
    before: Tensor
    """Action before this step, [T, B]; meaningless where `first`."""
    earned: Tensor
    """Reward before this step, [T, B]; 0 where `first`."""
    action: Tensor
    """[T, B]."""
    reward: Tensor
    """Of this step, [T, B]."""
    terminated: Tensor
    """[T, B]."""
    truncated: Tensor
    """[T, B]."""
    state: list[Tensor]
    """Recurrent state stored before the first row, tensors [B, ...]."""
    weight: Tensor
    """Importance weights [B], 1 without priorities."""
    place: tuple[np.ndarray, np.ndarray]
    """Where they came from: start slot and world."""


class SequenceReplay:
    """A ring of steps [capacity, N] with the recurrent state before every step.

    A sequence starts at any multiple of `period` steps, so neighbours overlap when the period is shorter than the
    sequence. It may run over the end of an episode: `first` says where the state is to be reset, nothing is padded.

    Args:
        capacity: steps per world.
        num_envs: worlds, N.
        obs_size: D.
        length: steps of a sequence, T (one more row is drawn to bootstrap from).
        state_sizes: shapes of the tensors of the recurrent state, without batch.
        period: steps between possible starts.
        priority: exponent of the priorities; 0 draws uniformly.
        importance: exponent of the importance weights.

    Raises:
        ValueError: the ring is shorter than a sequence.

    >>> replay = SequenceReplay(8, 1, 1, length=2, state_sizes=[])
    >>> for k in range(5):
    ...     replay.add(torch.tensor([[float(k)]]), np.array([k == 0]), np.array([k]), np.array([1.0]),
    ...                np.array([False]), np.array([False]), [])
    >>> batch = replay.sample(4, np.random.default_rng(0))
    >>> bool((batch.obs[1:] - batch.obs[:-1] == 1).all()), batch.obs.shape
    (True, torch.Size([3, 4, 1]))
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        obs_size: int,
        *,
        length: int,
        state_sizes: list[tuple[int, ...]],
        period: int = 1,
        priority: float = 0.0,
        importance: float = 0.6,
    ):
        if capacity < length + 1:
            raise ValueError(
                f"the replay holds {capacity} steps per world, a sequence needs {length + 1}; "
                "raise `replay` (it counts the steps of all worlds) or shorten the sequence"
            )
        self.capacity = capacity - capacity % period
        self.num_envs, self.length, self.period = num_envs, length, period
        self.priority, self.importance = priority, importance
        shape = (self.capacity, num_envs)
        self.obs = torch.zeros(*shape, obs_size)
        self.first = torch.ones(shape, dtype=torch.bool)
        self.action = torch.zeros(shape, dtype=torch.int64)
        self.reward = torch.zeros(shape)
        self.terminated = torch.zeros(shape, dtype=torch.bool)
        self.truncated = torch.zeros(shape, dtype=torch.bool)
        self.states = [torch.zeros(*shape, *size) for size in state_sizes]
        self.priorities = np.zeros((self.capacity // period, num_envs))
        self.top = 1.0
        self.count = 0

    def __len__(self) -> int:
        """Steps per world that are held."""
        return min(self.count, self.capacity)

    def add(
        self,
        obs: Tensor,
        first: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        state: list[Tensor],
    ) -> None:
        """Keep one step of all worlds, with the state before it."""
        slot = self.count % self.capacity
        self.obs[slot] = obs
        self.first[slot] = torch.as_tensor(first)
        self.action[slot] = torch.as_tensor(action)
        self.reward[slot] = torch.as_tensor(reward, dtype=torch.float32)
        self.terminated[slot] = torch.as_tensor(terminated)
        self.truncated[slot] = torch.as_tensor(truncated)
        for kept, part in zip(self.states, state, strict=True):
            kept[slot] = part
        if slot % self.period == 0:
            self.priorities[slot // self.period] = self.top
        self.count += 1

    def _starts(self) -> np.ndarray:
        """Slots at which a whole sequence can start, oldest first; the oldest step itself has no step before it."""
        oldest = max(self.count - self.capacity, 0)
        begin = -(-oldest // self.period) * self.period
        return np.arange(begin, self.count - self.length, self.period) % self.capacity

    def can_sample(self) -> bool:
        """Whether a whole sequence is held."""
        return len(self._starts()) > 0

    def sample(self, batch: int, rng: np.random.Generator) -> Sequences:
        """Draw sequences with replacement.

        Raises:
            ValueError: less than one sequence is held.
        """
        starts = self._starts()
        if not len(starts):
            raise ValueError(
                f"the replay holds {len(self)} steps per world, a sequence needs {self.length + 1}; act first"
            )
        if self.priority > 0:
            p = self.priorities[starts // self.period].ravel() ** self.priority
            cumulative = np.cumsum(p)
            picked = np.searchsorted(cumulative, rng.random(batch) * cumulative[-1], side="right").clip(max=len(p) - 1)
            weight = (len(p) * p[picked] / cumulative[-1]) ** -self.importance
            weight = weight / weight.max()
        else:
            picked = rng.integers(len(starts) * self.num_envs, size=batch)
            weight = np.ones(batch)
        start, world = starts[picked // self.num_envs], picked % self.num_envs
        return self._read(start, world, self.length + 1, weight)

    def _read(self, start: np.ndarray, world: np.ndarray, rows: int, weight: np.ndarray) -> Sequences:
        slots = torch.as_tensor((start[None] + np.arange(rows)[:, None]) % self.capacity)
        before = (slots - 1) % self.capacity
        worlds = torch.as_tensor(world).expand(rows, -1)
        first = self.first[slots, worlds]
        return Sequences(
            self.obs[slots, worlds],
            first,
            self.action[before, worlds],
            self.reward[before, worlds] * ~first,
            self.action[slots, worlds],
            self.reward[slots, worlds],
            self.terminated[slots, worlds],
            self.truncated[slots, worlds],
            [part[slots[0], worlds[0]] for part in self.states],
            torch.as_tensor(weight, dtype=torch.float32),
            (start, world),
        )

    def tape(self) -> Sequences:
        """All steps that are held, oldest first, as one long sequence of every world."""
        oldest = max(self.count - self.capacity, 0)
        start = np.full(self.num_envs, oldest % self.capacity)
        return self._read(start, np.arange(self.num_envs), len(self), np.ones(self.num_envs))

    def prioritise(self, place: tuple[np.ndarray, np.ndarray], priority: np.ndarray) -> None:
        """Set the priorities of sequences after learning from them."""
        start, world = place
        self.priorities[start // self.period, world] = priority + 1e-6
        self.top = max(self.top, float(priority.max()))

    def snapshot(self) -> dict[str, Any]:
        """Contents as a tree; only what has been filled."""
        held = len(self)
        names = ("obs", "first", "action", "reward", "terminated", "truncated")
        return {
            **{name: getattr(self, name)[:held] for name in names},
            "states": [part[:held] for part in self.states],
            "priorities": self.priorities,
            "top": self.top,
            "count": self.count,
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Take back what `snapshot` gave."""
        for name in ("obs", "first", "action", "reward", "terminated", "truncated"):
            getattr(self, name)[: len(tree[name])] = tree[name]
        for kept, part in zip(self.states, tree["states"], strict=True):
            kept[: len(part)] = part
        self.priorities, self.top, self.count = tree["priorities"], tree["top"], tree["count"]
