"""Recurrent PPO over any cell, behind SB3's protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.learner import Learner
from agents.policies import PolicyState, RecurrentPolicy
from agents.ppo import Collector, PPOConfig, Rollout, update
from agents.rollout import Transition
from agents.spaces import leaves, rebuild
from rnn.cell import Cell

__all__ = ["RecurrentPPO", "RecurrentPPOConfig"]


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """Settings of the update (see `agents.ppo.PPOConfig`) and of the policy (see `agents.policies.RecurrentPolicy`)."""

    cell: str | Cell = "gru"
    """Name of a cell in `rnn.models`, or a cell."""
    hidden: int = 64
    """H of a cell given by name."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Further settings of a cell given by name, as pairs: (("forget_bias", 0.0),)."""
    shared: bool = True
    """One cell for actor and critic, or one each."""
    critic_cell: str | None = None
    """Cell of a critic of its own; None for one of the actor's kind (a GRU beside a cell that was given)."""
    layers: tuple[int, ...] = (64,)
    """Tanh layers of actor and critic behind the cell."""
    previous_action: bool = False
    """Feed the last action back as a feature."""
    normalise: bool = True
    """Scale features by their running mean and deviation."""
    normalise_until: float = 0.2
    """Part of the training after which that scale stands still: a solved task goes on to change the statistics, and a
    scale that follows them changes the policy when the falling learning rate can no longer make up for it."""
    noise: str = "step"
    """Exploration of continuous actions: "step" (independent) or "state" (smooth: `agents.heads.StateNoiseHead`)."""
    noise_steps: int = 4
    """Steps for which the noise of "state" is kept."""
    log_std: float = -0.5
    """Initial logarithm of its standard deviation, in units of half the action box."""
    mirror_signs: tuple[float, ...] | None = None
    """1, or -1 for every observation that points to a side; with `mirror_actions`, what is learned of one side is
    learned of the other (see `agents.policies.RecurrentPolicy`)."""
    mirror_actions: tuple[int, ...] | None = None
    """For a Box the sign of each action in the mirror, for Discrete the action that takes the place of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min((self.hidden, self.noise_steps, *self.layers)) < 1:
            raise ValueError(
                f"hidden, noise_steps and every one of layers are at least 1, received {self.hidden}, "
                f"{self.noise_steps} and {self.layers}; `layers=()` reads the cell directly"
            )
        if self.noise not in ("step", "state"):
            raise ValueError(f"noise is 'step' or 'state', received {self.noise!r}")
        if not 0 <= self.normalise_until <= 1:
            raise ValueError(f"normalise_until is a part of the training, 0 to 1, received {self.normalise_until}")
        if not math.isfinite(self.log_std):
            raise ValueError(f"log_std is a finite logarithm, received {self.log_std}")


class RecurrentPPO(Learner):
    """Proximal policy optimisation with memory.

    Gradients flow through sequences of `sequence_length` steps of every world; episodes end inside them and reset the
    state there, so nothing is padded. Sequence length, burn-in and minibatch are three separate settings.
    Source: "Proximal Policy Optimization Algorithms" (Schulman et al., 2017).

    >>> agent = RecurrentPPO("CartPole-v1", num_envs=2, horizon=4, epochs=1, hidden=8).learn(16)
    >>> action, state = agent.predict(np.zeros(4, np.float32), deterministic=True)
    >>> int(action) in (0, 1)
    True
    """

    Config: ClassVar[type] = RecurrentPPOConfig
    action_kinds: ClassVar[tuple[type, ...]] = (
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Box,
    )
    config: RecurrentPPOConfig

    def build(self) -> None:
        c = self.config
        self.network = self.make_policy().to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=c.learning_rate, eps=1e-5, fused=True)
        self.collector = Collector(self.network, c)
        self.batch: Rollout | None = None
        self.spread = 0.0

    def make_policy(self) -> RecurrentPolicy:
        """The policy; a subclass may build another."""
        return self.policy_around(self.config.cell)

    def policy_around(self, cell: Any) -> RecurrentPolicy:
        """A policy with the settings' critic and exploration, and this cell (see `agents.policies.RecurrentPolicy`)."""
        c = self.config
        names = (
            "hidden",
            "shared",
            "critic_cell",
            "layers",
            "previous_action",
            "normalise",
            "noise",
            "noise_steps",
            "log_std",
            "mirror_signs",
            "mirror_actions",
        )
        own = {name: getattr(c, name) for name in names}
        return RecurrentPolicy(self.obs_size, self.action_space, cell=cell, settings=dict(c.settings), **own)

    def networks(self) -> dict[str, nn.Module]:
        return {"policy": self.network}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam": self.optimiser}

    def initial_state(self, batch: int) -> PolicyState:
        return self.network.initial_state(batch)

    def choose(self, obs: Tensor, state: Any, first: Tensor, *, explore: bool) -> tuple[np.ndarray, Any]:
        state = self.network.act(obs, state, first, explore=explore, generator=self.generator)
        if not bool(torch.isfinite(state.log_prob + state.value).all()):
            rows = (~torch.isfinite(state.log_prob + state.value)).nonzero().flatten().tolist()
            raise FloatingPointError(
                f"the policy gave probabilities or values that are not finite in worlds {rows}: a weight or a state "
                "of its cell is; go back to an earlier checkpoint, or lower the learning rate"
            )
        return self.network.to_env(state), state

    @torch.no_grad()
    def scores(self, obs: Tensor, state: Any, first: Tensor) -> Tensor:
        """Logits, or means, of the policy [B, K]."""
        dist, _ = self.network.evaluate(
            self.network.features(obs, self.network.begin(state, first).previous)[None],
            self.network.begin(state, first),
        )
        return dist.mean[0] if hasattr(dist, "mean") else torch.cat(dist.log_p, -1)[0]

    def observe(self, transition: Transition, state: Any) -> None:
        obs, next_obs = self.flat(transition.obs), self.flat(transition.next_obs)
        if self.collector.add(obs, next_obs, state, transition):
            self.batch = self.collector.rollout()

    def next_batch(self) -> Rollout | None:
        batch, self.batch = self.batch, None
        return batch

    def update(self, batch: Rollout) -> dict[str, float]:
        c = self.config
        rate = c.final_learning_rate + (c.learning_rate - c.final_learning_rate) * self._current_progress_remaining
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.spread = max(float(batch.advantage.std(correction=0)), c.spread_decay * self.spread)
        metrics = update(self.network, self.optimiser, batch, c, self.generator, floor=self.spread)
        if self.network.scale is not None and 1 - self._current_progress_remaining <= c.normalise_until:
            self.network.scale.update(batch.x[-c.horizon :, :, : self.obs_size])
        return {**metrics, "learning_rate": rate}

    def memory(self) -> dict[str, Any]:
        past = [[x, first, leaves(state)] for x, first, state in self.collector.past]
        return {"past": past, "steps": [list(step) for step in self.collector.steps], "spread": self.spread}

    def remember(self, memory: dict[str, Any]) -> None:
        like = self.initial_state(self.n_envs)
        self.collector.past.extend((x, first, rebuild(like, parts)) for x, first, parts in memory["past"])
        self.spread = memory["spread"]
        self.collector.steps = [tuple(step) for step in memory["steps"]]
