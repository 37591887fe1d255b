"""Neural fitted Q iteration as published in 2005, for one run or for many independent runs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.returns import shortfalls
from agents.rprop import SigmoidNets

__all__ = ["NFQ", "NFQConfig"]


@dataclass(frozen=True)
class NFQConfig:
    """Settings; the defaults are those of Neural Fitted Q Iteration (Riedmiller, 2005) where the paper prints them."""

    gamma: float = 0.95
    """Discount."""
    hidden: tuple[int, ...] = (5, 5)
    """Sigmoid units per hidden layer."""
    epochs: int = 300
    """RProp epochs per refit (the paper says "several hundred")."""
    refit: bool = True
    """Start every refit from new random weights; False goes on from the last ones."""
    hints: int = 0
    """Artificial goal patterns with target 0 in every refit (hint-to-goal)."""
    span: float = 0.5
    """Weights start uniform in [-span, span]."""
    average: int = 1
    """Iterates over which costs to go are averaged, in targets as in the policy: refits from new weights err apart
    (Averaged-DQN; Anschel, Baram & Shimkin, 2017). The paper has 1."""
    gap: float = 0.0
    """Share of what an action costs more than the cheapest that its target is raised by: the differences between
    actions grow by 1 / (1 - gap) and the best costs to go stay ("Increasing the Action Gap", Bellemare et al., 2016).
    A step more or less is else smaller than what a fit errs by. The paper has 0."""


class NFQ:
    r"""Fitted Q iteration with sigmoid networks: all transitions, full batches, RProp.

    .. math:: Q_{k+1} = \mathrm{fit}\big\{ (s, a) \mapsto c + d \min_b Q_k(s', b)
        + g (Q_k(s, a) - \min_b Q_k(s, b)) \big\}

    with costs c in [0, 1] to be minimised, d the discount, 0 where the episode terminated, and g the `gap`. Runs are
    independent: each member has its own network and its own transitions.

    Args:
        state_size: S.
        num_actions: A; the action is an input between -1 and 1.
        members: number of runs, R.

    >>> nfq = NFQ(1, 2, NFQConfig(gamma=0.5, epochs=200), seed=1)
    >>> states = np.linspace(-1, 1, 40)[:, None]  # action 0 costs 0.4 and ends; action 1 leads to costs of 0.1
    >>> for a in (0, 1):
    ...     nfq.add(0, states, np.full(40, a), np.full(40, 0.4 - 0.3 * a), states, np.full(40, float(a)))
    >>> for _ in range(8):
    ...     _ = nfq.iterate()
    >>> bool(np.abs(nfq.values(np.zeros((1, 1, 1)))[0, 0] - [0.4, 0.2]).max() < 0.03)
    True
    """

    def __init__(self, state_size: int, num_actions: int, config: NFQConfig, *, members: int = 1, seed: int = 0):
        self.state_size, self.num_actions, self.config, self.members = state_size, num_actions, config, members
        sizes = (state_size + 1, *config.hidden, 1)
        generator = torch.Generator().manual_seed(seed)
        self.nets = SigmoidNets(members, sizes, span=config.span, generator=generator)
        self.rows: list[list[np.ndarray]] = [[] for _ in range(members)]  # [n, S + 1 + 1 + S + 1]
        self.hint_states: np.ndarray | None = None  # [n, S], with target 0
        self.hint_actions: np.ndarray | None = None  # [n]; by default every action in turn
        self.mean = torch.zeros(members, state_size, 1)
        self.scale = torch.ones(members, state_size, 1)
        self.past: list[tuple[Tensor, Tensor, Tensor]] = []  # weights, mean, scale of earlier iterates
        self.iterations = 0

    def add(
        self,
        member: int,
        s_tm1: np.ndarray,
        a_tm1: np.ndarray,
        cost_t: np.ndarray,
        s_t: np.ndarray,
        discount_t: np.ndarray,
    ) -> None:
        """Keep transitions of one run; `discount_t` is 0 where the episode terminated, else 1."""
        if not (np.isfinite(cost_t).all() and (np.asarray(cost_t) >= 0).all() and (np.asarray(cost_t) <= 1).all()):
            raise ValueError(
                f"costs must lie in [0, 1], the range of the sigmoid; received {np.min(cost_t)} to {np.max(cost_t)}; "
                "scale them, or use the modern form of fitted Q"
            )
        self.rows[member].append(
            np.concatenate([s_tm1, a_tm1[:, None], cost_t[:, None], s_t, discount_t[:, None]], 1).astype(np.float32)
        )

    def sizes(self) -> list[int]:
        """Number of transitions per run."""
        return [sum(len(part) for part in parts) for parts in self.rows]

    def _padded(self) -> tuple[Tensor, Tensor]:
        parts = [np.concatenate(part) for part in self.rows]
        longest = max(len(part) for part in parts)
        table = np.zeros((self.members, longest, parts[0].shape[1]), dtype=np.float32)
        weight = np.zeros((self.members, longest), dtype=np.float32)
        for k, part in enumerate(parts):
            table[k, : len(part)] = part
            weight[k, : len(part)] = 1
        return torch.from_numpy(table).transpose(1, 2).contiguous(), torch.from_numpy(weight)

    def _inputs(self, states: Tensor, action: Tensor) -> Tensor:
        """Network inputs [R, S + 1, N] from states [R, S, N] and action numbers [R, N]."""
        encoded = 2 * action / max(self.num_actions - 1, 1) - 1
        return torch.cat([(states - self.mean) / self.scale, encoded[:, None]], 1)

    def _values(self, states: Tensor) -> Tensor:
        """Costs to go [R, A, N] of all actions in states [R, S, N]."""
        count, actions = states.shape[2], self.num_actions
        iterates = [*self.past, (self.nets.flat, self.mean, self.scale)]
        flat, mean, scale = (torch.cat(parts) for parts in zip(*iterates, strict=True))
        scaled = (states.repeat(len(iterates), 1, 1) - mean) / scale  # [K R, S, N], iterates first
        code = torch.linspace(-1, 1, actions).repeat_interleave(count).expand(len(scaled), 1, -1)
        every = self.nets(torch.cat([scaled.repeat(1, 1, actions), code], 1), flat)
        return every.view(len(iterates), -1, actions, count).mean(0)

    @torch.no_grad()
    def iterate(self) -> Tensor:
        """One iteration over all data: targets, then a fit; returns the mean squared error [R]."""
        table, weight = self._padded()
        size = self.state_size
        s_tm1, a_tm1, cost_t = table[:, :size], table[:, size], table[:, size + 1]
        s_t, discount_t = table[:, size + 2 : 2 * size + 2], self.config.gamma * table[:, -1]
        if self.iterations:
            target = cost_t + discount_t * self._values(s_t).amin(1)
            if self.config.gap:
                worth = -self._values(s_tm1).transpose(1, 2)
                target = target + self.config.gap * shortfalls(worth, a_tm1.long())
        else:
            target = cost_t.clone()
        if self.iterations and self.config.average > 1:
            kept = (self.nets.flat.clone(), self.mean, self.scale)
            self.past = [*self.past, kept][1 - self.config.average :]
        if self.config.refit or not self.iterations:
            count = weight.sum(1)[:, None, None]
            self.mean = (s_tm1 * weight[:, None]).sum(2, keepdim=True) / count
            variance = ((s_tm1 - self.mean).square() * weight[:, None]).sum(2, keepdim=True) / count
            self.scale = variance.sqrt().clamp_min(1e-6)
            self.nets.reset()
        x = self._inputs(s_tm1, a_tm1)
        if self.hint_states is not None:
            x, target, weight = self._with_hints(x, target, weight)
        self.iterations += 1
        return self.nets.fit(x, target.clamp(0, 1), weight, epochs=self.config.epochs)

    def _with_hints(self, x: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = torch.as_tensor(self.hint_states, dtype=torch.float32).T.expand(self.members, -1, -1)
        turns = np.arange(states.shape[2]) % self.num_actions if self.hint_actions is None else self.hint_actions
        action = torch.as_tensor(turns, dtype=torch.float32).expand(self.members, -1)
        zeros = torch.zeros_like(action)
        return (
            torch.cat([x, self._inputs(states, action)], 2),
            torch.cat([target, zeros], 1),
            torch.cat([weight, zeros + 1], 1),
        )

    @torch.no_grad()
    def values(self, states: np.ndarray) -> np.ndarray:
        """Costs to go [R, N, A] in states [R, N, S]."""
        return self._values(torch.as_tensor(states, dtype=torch.float32).transpose(1, 2)).transpose(1, 2).numpy()

    def act(self, states: np.ndarray) -> np.ndarray:
        """Cheapest actions [R, N] in states [R, N, S]."""
        return self.values(states).argmin(2)

    def members_of(self, rows: list[int]) -> NFQ:
        """The policies of some runs on their own (without their data)."""
        part = NFQ(self.state_size, self.num_actions, self.config, members=len(rows))
        part.nets.flat = self.nets.flat[rows].clone()
        part.mean, part.scale = self.mean[rows].clone(), self.scale[rows].clone()
        part.past = [(flat[rows], mean[rows], scale[rows]) for flat, mean, scale in self.past]
        part.iterations = self.iterations
        return part

    def take(self, rows: np.ndarray, other: NFQ) -> None:
        """Take over the policies of some runs [R] (true or false) of another with as many runs and iterates."""
        chosen = torch.as_tensor(rows)
        mine = [*self.past, (self.nets.flat, self.mean, self.scale)]
        theirs = [*other.past, (other.nets.flat, other.mean, other.scale)]
        for own, new in zip(mine, theirs, strict=True):
            for part, value in zip(own, new, strict=True):
                part[chosen] = value[chosen]
