"""Fitted Q on trees that are kept while values go round: every sweep is a contraction, so it settles."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

__all__ = ["RandomTrees"]


class RandomTrees:
    r"""Costs to go as leaf means of totally randomised trees, one forest per action.

    The trees are grown towards noise, so their leaves are boxes that depend on where the states lie and on nothing
    else. With the leaves kept, one fitted iteration replaces the mean of every leaf,

    .. math:: Q_{k+1}(s, a) = \frac1M \sum_m \mathrm{mean} \{ c_i + d_i \min_b Q_k(s_i', b) : (s_i, a) \in
        \mathrm{leaf}_m(s, a) \}

    an average of targets: differences between two iterates shrink by the greatest discount each time (Ernst, Geurts &
    Wehenkel, 2005, section 4.3), and hundreds of iterations cost as much as one forest that is grown towards targets.

    Args:
        actions: A.
        trees: per action, M.
        leaf: states per leaf, at least.
        seed: of the trees.

    >>> states = np.linspace(0, 1, 40)[:, None]
    >>> forest = RandomTrees(1, 5, leaf=1)
    >>> forest.grow([states], states)
    >>> changes = [forest.sweep([np.ones(40)], [np.full(40, 0.5)]) for _ in range(12)]
    >>> all(b <= 0.5 * a + 1e-9 for a, b in zip(changes, changes[1:]))
    True
    >>> bool(abs(forest.values(states) - 2).max() < 1e-2)
    True
    """

    def __init__(self, actions: int, trees: int, *, leaf: int = 3, seed: int = 0):
        self.actions, self.trees, self.leaf, self.seed = actions, trees, leaf, seed
        self.forests: list[ExtraTreesRegressor] = []
        self.means: list[np.ndarray] = []  # of every leaf of an action's forest

    def grow(self, states: list[np.ndarray], after: np.ndarray, number: int = 0) -> None:
        """New boxes for the states [n_a, S] in which each action was taken; `after` [N, S] are all next states.

        Values survive: the new leaves begin at what the old ones say of their states.
        """
        old = (
            [self._of_action(a, part) for a, part in enumerate(states)]
            if self.forests
            else [np.zeros(len(part)) for part in states]
        )
        noise = np.random.default_rng([self.seed, number])
        self.forests, self._shift = [], []
        for part in states:
            forest = ExtraTreesRegressor(
                self.trees, min_samples_leaf=self.leaf, max_features=1, random_state=int(noise.integers(2**31))
            )
            self.forests.append(forest.fit(part, noise.random(len(part))))
            self._shift.append(np.cumsum([0, *(tree.tree_.node_count for tree in forest.estimators_[:-1])]))
        self._inside = [self._leaves(a, part) for a, part in enumerate(states)]
        self._next = [self._leaves(a, after) for a in range(self.actions)]
        sizes = [int(shift[-1]) + forest.estimators_[-1].tree_.node_count
                 for shift, forest in zip(self._shift, self.forests, strict=True)]  # fmt: skip
        self._count = [np.bincount(leaves.ravel(), minlength=n) for leaves, n in zip(self._inside, sizes, strict=True)]
        self.means = [np.zeros(n) for n in sizes]
        for a, value in enumerate(old):
            self._average(a, value)

    def _leaves(self, action: int, states: np.ndarray) -> np.ndarray:
        """Numbers of the leaves in which states lie, [N, M]."""
        inside = np.ascontiguousarray(states, dtype=np.float32)
        trees = self.forests[action].estimators_  # one by one: `forest.apply` starts a pool of threads at every call
        return np.stack([tree.tree_.apply(inside) for tree in trees], 1) + self._shift[action]

    def _average(self, action: int, target: np.ndarray) -> float:
        total = np.bincount(self._inside[action].ravel(), np.repeat(target, self.trees), len(self._count[action]))
        new = total / np.maximum(self._count[action], 1)
        change = float(np.abs(new - self.means[action]).max())
        self.means[action] = new
        return change

    def _of_action(self, action: int, states: np.ndarray) -> np.ndarray:
        return np.asarray(self.means[action][self._leaves(action, states)].mean(1))

    def sweep(self, costs: list[np.ndarray], discounts: list[np.ndarray]) -> float:
        """One fitted iteration over costs and discounts (0 at termination) [n_a] of every action, in the order of
        `grow`'s states, whose next states are `after` in the order of the actions; returns the greatest change."""
        best = np.min([self.means[a][self._next[a]].mean(1) for a in range(self.actions)], 0)
        places = np.cumsum([0, *(len(part) for part in costs)])
        changes = [
            self._average(a, costs[a] + discounts[a] * best[places[a] : places[a + 1]]) for a in range(self.actions)
        ]
        return max(changes)

    def values(self, states: np.ndarray) -> np.ndarray:
        """Costs to go [N, A]; zeros before anything was grown."""
        if not self.forests:
            return np.zeros((len(states), self.actions))
        return np.stack([self._of_action(a, states) for a in range(self.actions)], 1)
