"""Fitted Q iteration as a learner: all data, refit again and again, with sigmoid networks, larger networks or trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from agents.exploration import HeldActions
from agents.learner import Learner
from agents.nfq import NFQ, NFQConfig
from agents.random_trees import RandomTrees
from agents.regressors import Perceptron, Regressor, Trees
from agents.rollout import Transition

__all__ = ["FittedQ", "FittedQConfig", "fitted_targets"]


@dataclass(frozen=True)
class FittedQConfig:
    """Settings. Costs are minimised: `cost = -cost_scale * reward`, plus `failure` where an episode terminates."""

    model: Literal["nfq", "modern", "trees", "random_trees"] = "modern"
    """NFQ of 2005; Adam and a larger network, as NFQ2.0 (Lange et al., 2025); extremely randomised trees, as
    Tree-Based Batch Mode Reinforcement Learning (Ernst et al., 2005); or, from the same paper, totally randomised trees
    that are kept while the values settle."""
    gamma: float = 0.99
    """Discount."""
    cost_scale: float = 0.01
    """Cost of a reward of -1."""
    failure: float = 0.0
    """Cost of a termination, where termination is bad."""
    hints: int = 0
    """Artificial goal patterns with target 0 (hint-to-goal; Riedmiller, 2005)."""
    hint_low: tuple[float, ...] = ()
    """Lower corner of the goal region, in units of the observation."""
    hint_high: tuple[float, ...] = ()
    """Upper corner."""
    hidden: tuple[int, ...] = (64, 64)
    """Units per layer (NFQ: 5, 5)."""
    epochs: int = 20
    """Passes over the data per refit (NFQ: 300, full batches of RProp)."""
    iterations: int = 4
    """Fitted iterations each time."""
    refit: bool = False
    """Start every fit from new weights."""
    lr: float = 2e-3
    """Of Adam (modern)."""
    batch: int = 512
    """Transitions per step (modern)."""
    trees: int = 30
    """Trees (trees; per action, random_trees)."""
    leaf: int = 3
    """States per leaf, at least (random_trees)."""
    sweeps: int = 300
    """Fitted iterations on the same trees, at most (random_trees)."""
    settled: float = 1e-4
    """Greatest change of a cost to go at which they end."""
    refit_every: int = 400
    """Environment steps between two refits."""
    epsilon: float = 0.05
    """Share of random actions."""
    hold: int = 1
    """Steps for which a random action is kept up; more than one carries a body further from where it rests."""
    random_steps: int = 400
    """Steps of random actions before the first fit."""
    max_steps: int = 200_000
    """Transitions that are kept, the oldest going first."""


def fitted_targets(cost_t: np.ndarray, discount_t: np.ndarray, values_t: np.ndarray) -> np.ndarray:
    """`c + d min_b Q(s', b)`: costs [N], discounts [N] (0 at termination), values [N, A] -> [N].

    >>> fitted_targets(np.array([1.0, 1.0]), np.array([0.5, 0.0]), np.array([[4.0, 2.0], [4.0, 2.0]])).tolist()
    [2.0, 1.0]
    """
    return cost_t + discount_t * values_t.min(1)


class FittedQ(Learner):
    """Fitted Q iteration with a growing batch: act, then fit everything again.

    >>> agent = FittedQ("MountainCar-v0", random_steps=60, refit_every=60, iterations=1, epochs=1).learn(130)
    >>> len(agent.cost), agent.predict([-0.5, 0.0])[1] is None
    (120, True)
    """

    Config = FittedQConfig
    config: FittedQConfig

    def build(self) -> None:
        c = self.config
        self.num_actions = int(self.action_space.n)  # type: ignore[attr-defined]
        self.nfq: NFQ | None = None
        self.regressor: Regressor | None = None
        self.forest: RandomTrees | None = None
        if c.hints and not len(c.hint_low) == len(c.hint_high) == self.obs_size:
            raise ValueError(f"hints need `hint_low` and `hint_high` of {self.obs_size} numbers each, the goal region")
        if c.model == "nfq":
            config = NFQConfig(gamma=c.gamma, hidden=c.hidden, epochs=c.epochs, refit=c.refit, hints=c.hints)
            self.nfq = NFQ(self.obs_size, self.num_actions, config, seed=int(self.seed or 0))
        elif c.model == "modern":
            self.regressor = Perceptron(
                self.obs_size,
                self.num_actions,
                c.hidden,
                lr=c.lr,
                batch=c.batch,
                epochs=c.epochs,
                generator=self.generator,
                refit=c.refit,
            )
        elif c.model == "trees":
            self.regressor = Trees(self.num_actions, c.trees, int(self.seed or 0))
        else:
            self.forest = RandomTrees(self.num_actions, c.trees, leaf=c.leaf, seed=int(self.seed or 0))
        self.obs = np.zeros((0, self.obs_size), np.float32)
        self.action, self.cost = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self.after, self.discount = np.zeros((0, self.obs_size), np.float32), np.zeros(0, np.float32)
        self.fresh: list[tuple[np.ndarray, ...]] = []
        self.held = HeldActions(self.n_envs, self.num_actions, c.hold)
        self.since = 0
        self.fits = 0
        self.fitted = 0  # transitions that took part in the last fit

    def networks(self) -> dict[str, nn.Module]:
        return {"q": self.regressor.net} if isinstance(self.regressor, Perceptron) else {}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"q": self.regressor.optimiser} if isinstance(self.regressor, Perceptron) else {}

    def values(self, obs: np.ndarray) -> np.ndarray:
        """Costs to go [N, A]."""
        if self.nfq is not None:
            return self.nfq.values(obs[None])[0]
        if self.forest is not None:
            return self.forest.values(obs)
        assert self.regressor is not None
        return self.regressor.values(obs)

    def choose(self, obs: Tensor, state: Any, first: Tensor, *, explore: bool) -> tuple[np.ndarray, Any]:
        action = self.values(obs.numpy()).argmin(1)
        if explore:
            action = self.held(action, 1.0 if self.fits == 0 else self.config.epsilon, self.rng)
        return action, ()

    def scores(self, obs: Tensor, state: Any, first: Tensor) -> Tensor:
        return torch.from_numpy(self.values(obs.numpy()))

    def observe(self, transition: Transition, state: Any) -> None:
        c = self.config
        cost = -c.cost_scale * np.asarray(transition.reward) + c.failure * transition.terminated
        before, after = self.flat(transition.obs).numpy(), self.flat(transition.next_obs).numpy()
        kept = (before, transition.action, cost.astype(np.float32), after, (~transition.terminated).astype(np.float32))
        self.fresh.append(kept)
        self.since += self.n_envs

    def next_batch(self) -> int | None:
        if self.since < (self.config.refit_every if self.fits else self.config.random_steps):
            return None
        self.since = 0
        return self._gather()

    def _gather(self) -> int:
        """Join what was seen since the last fit to the data; returns how many transitions there are."""
        if self.fresh:
            new = [np.concatenate(column) for column in zip(*self.fresh, strict=True)]
            for name, part in zip(("obs", "action", "cost", "after", "discount"), new, strict=True):
                setattr(self, name, np.concatenate([getattr(self, name), part])[-self.config.max_steps :])
            self.fresh = []
        return len(self.obs)

    def update(self, batch: int) -> dict[str, float]:
        if self.forest is not None:
            changes = self._settle(self.forest)
            self.fits += 1
            return {"sweeps": float(len(changes)), "change": changes[-1], "transitions": float(batch)}
        error = 0.0
        for _ in range(self.config.iterations):
            error = self._iterate()
            self.fits += 1
        if not np.isfinite(error):
            raise FloatingPointError(f"the fit's error is {error}; checkpoints written before stand as they are")
        return {"fit_error": error, "transitions": float(batch)}

    def _iterate(self) -> float:
        c = self.config
        hint = self.rng.uniform(c.hint_low, c.hint_high, (c.hints, self.obs_size)) if c.hints else None
        if self.nfq is not None:
            self.nfq.rows = [[]]
            self.nfq.add(0, self.obs, self.action, self.cost, self.after, self.discount)
            self.nfq.hint_states = hint
            return float(self.nfq.iterate()[0])
        assert self.regressor is not None
        target = self.cost
        if self.fits:
            target = fitted_targets(self.cost, c.gamma * self.discount, self.regressor.values(self.after))
        state, action = self.obs, self.action
        if hint is not None:
            state = np.concatenate([state, hint]).astype(np.float32)
            action = np.concatenate([action, self.rng.integers(self.num_actions, size=c.hints)])
            target = np.concatenate([target, np.zeros(c.hints)])
        return self.regressor.fit(state, action, target)

    def _settle(self, forest: RandomTrees) -> list[float]:
        """New trees, then fitted iterations until the costs to go stay; returns the greatest change of each."""
        c = self.config
        by_action = self._grow(forest)
        costs = [np.concatenate([self.cost[rows], np.zeros(c.hints)]) for rows in by_action]
        discounts = [np.concatenate([c.gamma * self.discount[rows], np.zeros(c.hints)]) for rows in by_action]
        changes: list[float] = []
        while len(changes) < c.sweeps and (not changes or changes[-1] > c.settled):
            changes.append(forest.sweep(costs, discounts))
        return changes

    def _grow(self, forest: RandomTrees) -> list[np.ndarray]:
        """Trees over the data and the hints; returns the rows of each action."""
        c = self.config
        by_action = [np.flatnonzero(self.action == a) for a in range(self.num_actions)]
        if not c.hints and min(len(rows) for rows in by_action) == 0:
            raise ValueError("an action was never taken before the first fit; raise `random_steps`")
        own = np.random.default_rng([int(self.seed or 0), self.fits])
        hint = own.uniform(c.hint_low, c.hint_high, (c.hints, self.obs_size)) if c.hints else self.obs[:0]
        states = [np.concatenate([self.obs[rows], hint]) for rows in by_action]
        after = np.concatenate([np.concatenate([self.after[rows], hint]) for rows in by_action])
        forest.grow(states, after, self.fits)
        return by_action

    def memory(self) -> dict[str, Any]:
        fresh = [list(part) for part in self.fresh]
        data = [self.obs, self.action, self.cost, self.after, self.discount]
        return {"data": data, "fresh": fresh, "held": self.held.snapshot(), "since": self.since, "fits": self.fits}

    def remember(self, memory: dict[str, Any]) -> None:
        self.obs, self.action, self.cost, self.after, self.discount = memory["data"]
        self.fresh = [tuple(part) for part in memory["fresh"]]
        self.held.restore(memory["held"])
        self.since, self.fits = memory["since"], memory["fits"]

    def snapshot(self, *, light: bool = False) -> dict[str, Any]:
        """As of every learner; the weights of NFQ always, and the data that a forest is grown from."""
        tree = super().snapshot(light=light)
        if self.nfq is not None:
            n = self.nfq
            net = {"flat": n.nets.flat, "mean": n.mean, "scale": n.scale, "iterations": n.iterations}
            tree["nfq"] = {**net, "generator": n.nets.generator}
        elif self.forest is not None or isinstance(self.regressor, Trees):
            tree["memory"] = self.memory()
        if self.forest is not None:
            tree["leaves"] = self.forest.means
        return tree

    def _take(self, tree: dict[str, Any]) -> None:
        super()._take(tree)
        if self.nfq is not None:
            net = tree["nfq"]
            self.nfq.nets.flat, self.nfq.mean, self.nfq.scale = net["flat"], net["mean"], net["scale"]
            self.nfq.iterations, self.nfq.nets.generator = net["iterations"], net["generator"]
        if isinstance(self.regressor, Perceptron):
            self.regressor.generator = self.generator
        if isinstance(self.regressor, Trees) and self.fits:
            self._regrow()
        if self.forest is not None and self.fits:
            self.fits -= 1  # the same boxes again, by the same seed from the same states
            self._grow(self.forest)
            self.fits += 1
            self.forest.means = tree["leaves"]

    def _regrow(self) -> None:
        """A forest is not stored: it is grown again, from the seed, towards the costs to go of its data."""
        fits, self.fits = self.fits, 0
        for _ in range(fits):
            self._iterate()
            self.fits += 1
