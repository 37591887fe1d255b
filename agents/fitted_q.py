"""Fitted Q iteration as a learner: all data, refit again and again, with sigmoid networks, larger networks or trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.exploration import HeldActions
from agents.fitted_q_config import FittedQConfig
from agents.growing_batch import GrowingBatch
from agents.held_windows import keep_actions
from agents.learner import Learner
from agents.mirror import Mirror
from agents.nfq import NFQ, NFQConfig
from agents.optimism import unknown_pairs
from agents.random_trees import RandomTrees
from agents.regressors import Perceptron, Regressor, Trees
from agents.returns import lambda_returns, shortfalls
from agents.rollout import Transition

__all__ = ["FittedQ", "FittedQConfig", "fitted_targets"]


def fitted_targets(
    cost_t: np.ndarray,
    discount_t: np.ndarray,
    values_t: np.ndarray,
    *,
    lambda_: float = 0.0,
    ended: np.ndarray | None = None,
    worlds: int = 1,
) -> np.ndarray:
    r"""`c + d min_b Q(s', b)`, or the lambda-return of what followed.

    .. math:: G_t = c_{t+1} + d_{t+1} \big((1 - \lambda) \min_b Q(s_{t+1}, b) + \lambda G_{t+1}\big)

    Args:
        cost_t, discount_t: costs and discounts (0 at termination) of the steps in the order in which they came, worlds
            in turn, [N].
        values_t: costs to go in the states after them, [N, A].
        lambda_: mixing of horizons.
        ended: where an episode ended after the step, by termination or by its time limit, [N]; the return of such a
            step leans on the value alone, and so does that of the last one.
        worlds: how many stood side by side.

    >>> fitted_targets(np.array([1.0, 1.0]), np.array([0.5, 0.0]), np.array([[4.0, 2.0], [4.0, 2.0]])).tolist()
    [2.0, 1.0]
    >>> two, free = np.ones(2), np.zeros(2, bool)
    >>> fitted_targets(two, 0.5 * two, np.array([[4.0], [2.0]]), lambda_=1.0, ended=free).tolist()
    [2.0, 2.0]
    """
    best_t = values_t.min(1)
    target = cost_t + discount_t * best_t
    if not lambda_:
        return target
    if ended is None:
        raise ValueError("lambda-returns need to know where episodes `ended`")
    rows = len(target) // worlds * worlds  # of a world whose first steps are no longer kept, those of the others wait
    course = lambda part: torch.from_numpy(np.ascontiguousarray(part[len(target) - rows :])).reshape(-1, worlds)
    share = lambda_ * (~course(np.asarray(ended, dtype=bool))).double()
    mixed, _ = lambda_returns(course(cost_t), course(discount_t), course(best_t), share)
    target[len(target) - rows :] = mixed.flatten().numpy()
    return target


class FittedQ(Learner):
    """Fitted Q iteration with a growing batch: act, then fit everything again.

    >>> agent = FittedQ("MountainCar-v0", random_steps=60, refit_every=60, iterations=1, epochs=1).learn(130)
    >>> len(agent.data), agent.predict([-0.5, 0.0])[1] is None
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
        box: Any = self.observation_space
        if c.unknown and not np.isfinite([box.low, box.high]).all():
            raise ValueError(f"`unknown` needs an observation space with finite sides, received {box}")
        if c.model == "nfq":
            config = NFQConfig(c.gamma, c.hidden, c.epochs, c.refit, c.hints, gap=c.gap)
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
                target_rate=c.target_rate,
            )
        elif c.model == "trees":
            self.regressor = Trees(self.num_actions, c.trees, int(self.seed or 0))
        else:
            self.forest = RandomTrees(self.num_actions, c.trees, leaf=c.leaf, seed=int(self.seed or 0))
        self.mirror: Mirror | None = None
        if c.mirror_signs is not None or c.mirror_actions is not None:
            self.mirror = Mirror(c.mirror_signs, c.mirror_actions, self.obs_size, self.num_actions)
        self.data = GrowingBatch(self.obs_size, self.n_envs, gamma=c.gamma, reach=c.reach, most=c.max_steps)
        self.held = HeldActions(self.n_envs, self.num_actions, c.hold)
        self.since = 0
        self.fits = 0

    def networks(self) -> dict[str, nn.Module]:
        return self.regressor.networks() if isinstance(self.regressor, Perceptron) else {}

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

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """The actions that are kept up, and for how many steps yet."""
        return () if self.config.reach == 1 else tuple(torch.zeros(2, batch, dtype=torch.int64))

    def choose(self, obs: Tensor, state: Any, first: Tensor, *, explore: bool) -> tuple[np.ndarray, Any]:
        action = self.values(obs.numpy()).argmin(1)
        if explore:
            action = self.held(action, 1.0 if self.fits == 0 else self.config.epsilon, self.rng)
        if not state:
            return action, ()
        kept, left = (part.numpy() for part in state)
        action, left = keep_actions(action, kept, left, first.numpy(), self.config.reach)
        return action, (torch.from_numpy(action), torch.from_numpy(left))

    def scores(self, obs: Tensor, state: Any, first: Tensor) -> Tensor:
        return torch.from_numpy(self.values(obs.numpy()))

    def observe(self, transition: Transition, state: Any) -> None:
        c = self.config
        cost = -c.cost_scale * np.asarray(transition.reward) + c.failure * transition.terminated
        before, after = self.flat(transition.obs).numpy(), self.flat(transition.next_obs).numpy()
        self.data.add(before, transition.action, cost, after, transition.terminated, transition.truncated)
        self.since += self.n_envs

    def next_batch(self) -> int | None:
        if self.since < (self.config.refit_every if self.fits else self.config.random_steps):
            return None
        self.since = 0
        return self.data.gather()

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

    def _patterns(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Artificial states [n, S] and actions [n] with cost to go 0: in the goal, and where nothing was tried."""
        c = self.config
        state = rng.uniform(c.hint_low, c.hint_high, (c.hints, self.obs_size)) if c.hints else self.data.obs[:0]
        action = np.arange(c.hints) % self.num_actions
        if c.unknown:
            box: Any = self.observation_space
            far, untried = unknown_pairs(
                box.low,
                box.high,
                self.data.obs,
                self.data.action,
                rng=rng,
                num_actions=self.num_actions,
                count=c.unknown,
                radius=c.known_within,
            )
            state, action = np.concatenate([state, far]), np.concatenate([action, untried])
        return state.astype(np.float32), action

    def _iterate(self) -> float:
        c, d = self.config, self.data
        hint, hint_action = self._patterns(self.rng)
        if self.nfq is not None:
            self.nfq.rows = [[]]
            self.nfq.add(0, d.obs, d.action, d.cost, d.after, d.discount)
            self.nfq.hint_states, self.nfq.hint_actions = (hint, hint_action) if len(hint) else (None, None)
            return float(self.nfq.iterate()[0])
        assert self.regressor is not None
        if isinstance(self.regressor, Perceptron):
            self.regressor.pace(c.lr_end + (1 - c.lr_end) * max(self._current_progress_remaining, 0.0))
        state, action, target = d.obs, d.action, self._targets(self.regressor)
        if self.mirror is not None:
            image = self.mirror.obs(torch.from_numpy(state)).numpy()
            state, target = np.concatenate([state, image]), np.concatenate([target, target])
            action = np.concatenate([action, self.mirror.action(torch.from_numpy(action)).numpy()])
        return self.regressor.fit(
            np.concatenate([state, hint]),
            np.concatenate([action, hint_action]),
            np.concatenate([target, np.zeros(len(hint))]),
        )

    def _targets(self, regressor: Regressor) -> np.ndarray:
        """What the costs to go of the data are fitted to, [N]."""
        c, d = self.config, self.data
        if not self.fits:
            return d.cost
        after, ended = regressor.values(d.after), d.steps[5]
        target = fitted_targets(d.cost, c.gamma * d.discount, after, lambda_=c.lambda_, ended=ended, worlds=self.n_envs)
        if c.gap:
            q = torch.from_numpy(-regressor.values(d.obs))
            target = target + c.gap * shortfalls(q, torch.from_numpy(d.action)).numpy()
        return target

    def _settle(self, forest: RandomTrees) -> list[float]:
        """New trees, then fitted iterations until the costs to go stay; returns the greatest change of each."""
        c, d = self.config, self.data
        by_action, extra = self._grow(forest)
        none = [np.zeros(count) for count in extra]
        costs = [np.concatenate([d.cost[rows], part]) for rows, part in zip(by_action, none, strict=True)]
        discounts = [
            np.concatenate([c.gamma * d.discount[rows], part]) for rows, part in zip(by_action, none, strict=True)
        ]
        changes: list[float] = []
        while len(changes) < c.sweeps and (not changes or changes[-1] > c.settled):
            changes.append(forest.sweep(costs, discounts))
        return changes

    def _grow(self, forest: RandomTrees) -> tuple[list[np.ndarray], list[int]]:
        """Trees over data and artificial patterns; returns the data's rows and the number of patterns by action."""
        d = self.data
        by_action = [np.flatnonzero(d.action == a) for a in range(self.num_actions)]
        hint, hint_action = self._patterns(np.random.default_rng([int(self.seed or 0), self.fits]))
        hints = [hint[hint_action == a] for a in range(self.num_actions)]
        if min(len(rows) + len(part) for rows, part in zip(by_action, hints, strict=True)) == 0:
            raise ValueError("an action was never taken before the first fit; raise `random_steps`")
        states = [np.concatenate([d.obs[rows], part]) for rows, part in zip(by_action, hints, strict=True)]
        after = [np.concatenate([d.after[rows], part]) for rows, part in zip(by_action, hints, strict=True)]
        forest.grow(states, np.concatenate(after), self.fits)
        return by_action, [len(part) for part in hints]

    def memory(self) -> dict[str, Any]:
        own = {"data": self.data.snapshot(), "held": self.held.snapshot()}
        return {**own, "since": self.since, "fits": self.fits}

    def remember(self, memory: dict[str, Any]) -> None:
        self.data.restore(memory["data"])
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
