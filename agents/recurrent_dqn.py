"""Deep Q learning with memory: replayed sequences, stored state, burn-in, and the usual refinements as settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, smooth_l1_loss

from agents.exploration import HeldActions
from agents.learner import Learner
from agents.mirror import Mirror, mirrored
from agents.q_network import QNetwork, QState
from agents.replay import SequenceReplay, Sequences
from agents.returns import n_step_returns, rescale, shortfalls, td_errors, unrescale
from agents.rollout import Transition
from agents.spaces import leaves

__all__ = ["RecurrentDQN", "RecurrentDQNConfig", "sequence_priority"]


@dataclass(frozen=True)
class RecurrentDQNConfig:
    """Settings, in the order of use. Sequence length, burn-in and batch are three separate things."""

    cell: Any = "gru"
    """Name of a cell, "trace" (the control), a cell of one's own, or None for a plain DQN."""
    hidden_size: int = 64
    """Units of the cell."""
    encoder: int = 0
    """Dense units before the cell, 0 for none."""
    heads: int = 64
    """Dense units of each head, 0 for linear heads."""
    scale: float | tuple[float, ...] = 1.0
    """Factors of the observations."""
    previous_action: bool = True
    previous_reward: bool = False
    dueling: bool = True
    """Dueling heads (Wang et al., 2016)."""
    double: bool = True
    """The online network chooses, the target network judges (van Hasselt et al., 2016)."""
    gap: float = 0.0
    """Advantage learning (Baird, 1999; Bellemare et al., 2016): a target is lowered by this share, below 1, of what its
    action is worth less than the best. Gaps between actions grow by 1 / (1 - gap) and stand out from errors."""
    n_step: int = 5
    """Rewards per target."""
    gamma: float = 0.99
    """Discount."""
    reward_scale: float = 1.0
    """Factor of the rewards."""
    initial_value: float = 0.0
    """What every action is worth before anything is learned. Where all rewards are alike, the value of going on for
    ever (reward / (1 - gamma)) spares the network the climb, and only what ends an episode is left to be learned."""
    rescaling: bool = False
    """Value rescaling h (Pohlen et al., 2018)."""
    replay: int = 100_000
    """Steps kept, of all worlds together."""
    length: int = 24
    """Steps learned from per sequence."""
    burn_in: int = 8
    """Steps before them that only warm the state up."""
    period: int = 1
    """Steps between the starts of sequences; smaller than `length` means overlap."""
    batch: int = 32
    """Sequences per update."""
    priority: float = 0.0
    """Exponent of sequence priorities; R2D2 (Kapturowski et al., 2019) takes 0.9; 0 draws uniformly."""
    eta: float = 0.9
    """Weight of the greatest against the mean TD error of a sequence (R2D2)."""
    importance: float = 0.6
    """Exponent of the importance weights."""
    stored_state: bool = True
    """Start sequences from the state stored when acting; False starts from the initial state."""
    mirror_signs: tuple[float, ...] | None = None
    """Signs of the observations in a mirror; with `mirror_actions`, every second sequence is learned from as its image:
    for bodies that are the same on both sides (see `agents.mirror`)."""
    mirror_actions: tuple[int, ...] | None = None
    """The action that takes the place of each in the mirror."""
    updates_per_step: float = 0.0625
    """Updates per environment step (1/16)."""
    warmup: int = 1_000
    """Environment steps before the first update."""
    lr: float = 1e-3
    """Adam's rate at the start."""
    lr_end: float = 0.05
    """Its share at the end, reached linearly."""
    encoder_lr: float = 1.0
    """Factor of the rate of everything before the heads (RESeL; Luo et al., 2024, makes it small)."""
    max_norm: float = 10.0
    """Greatest norm of the gradient."""
    target_rate: float = 0.01
    """How much of the online weights the target weights take on at every update."""
    epsilon: float = 0.03
    """Share of random actions after `epsilon_steps`, from 1 at the start, linearly."""
    epsilon_spread: float = 0.0
    """World i of N ends at epsilon^(1 + spread i / (N - 1)): 7 in Ape-X (Horgan et al., 2018), with epsilon 0.4."""
    epsilon_steps: int = 10_000
    """Environment steps."""
    hold: int = 1
    """Steps for which a random action is kept up."""
    act_with_target: bool = True
    """Judge and predict with the averaged (target) network, which forgets less."""


def sequence_priority(td: Tensor, mask: Tensor, eta: float = 0.9) -> Tensor:
    """`eta max |delta| + (1 - eta) mean |delta|` over the valid steps of each sequence, [T, B] -> [B].

    >>> sequence_priority(torch.tensor([[1.0], [-3.0]]), torch.ones(2, 1), eta=0.5)
    tensor([2.5000])
    """
    size = td.abs() * mask
    return eta * size.amax(0) + (1 - eta) * size.sum(0) / mask.sum(0).clamp_min(1)


class RecurrentDQN(Learner):
    r"""Q learning over any cell from replayed sequences.

    .. math:: G_t = \sum_{k<n} \gamma^k r_{t+k+1} + \gamma^n \bar Q\big(h_{t+n}, \arg\max_a Q(h_{t+n}, a)\big), \qquad
        L = \overline{\mathrm{huber}(G_t - Q(h_t, a_t))}

    References:
        Human-level control through deep reinforcement learning (Mnih et al., 2015); Recurrent Experience Replay in
        Distributed Reinforcement Learning (Kapturowski et al., 2019).

    >>> agent = RecurrentDQN("CartPole-v1", cell="gru", hidden_size=8, warmup=50, batch=4).learn(80)
    >>> action, state = agent.predict([0.0, 0.0, 0.0, 0.0])
    """

    Config = RecurrentDQNConfig
    config: RecurrentDQNConfig

    def build(self) -> None:
        c = self.config
        if not 0 <= c.gap < 1:
            raise ValueError(f"`gap` is a share from 0 to below 1, received {c.gap}")
        self.num_actions = int(self.action_space.n)  # type: ignore[attr-defined]
        cell: Any = copy.deepcopy(c.cell) if isinstance(c.cell, nn.Module) else c.cell
        self.online = QNetwork(
            self.obs_size,
            self.num_actions,
            cell=cell,
            hidden_size=c.hidden_size,
            scale=c.scale,
            encoder=c.encoder,
            heads=c.heads,
            dueling=c.dueling,
            previous_action=c.previous_action,
            previous_reward=c.previous_reward,
            initial_value=c.initial_value,
        ).to(self.device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        heads = {id(p) for m in (self.online.advantage, self.online.value) if m is not None for p in m.parameters()}
        groups = [
            {"params": [p for p in self.online.parameters() if id(p) in heads], "factor": 1.0},
            {"params": [p for p in self.online.parameters() if id(p) not in heads], "factor": c.encoder_lr},
        ]
        self.optimiser = torch.optim.Adam([g for g in groups if g["params"]], c.lr, fused=True)
        per_world = c.replay // self.n_envs
        rows = c.burn_in + c.length
        self.replay = SequenceReplay(
            per_world,
            self.n_envs,
            self.obs_size,
            length=rows,
            state_sizes=self._state_sizes(),
            period=c.period,
            priority=c.priority,
            importance=c.importance,
        )
        self.first_update = max(c.warmup, self.n_envs * (rows + 1))
        self.mirror: Mirror | None = None
        if c.mirror_signs is not None or c.mirror_actions is not None:
            self.mirror = Mirror(c.mirror_signs, c.mirror_actions, self.obs_size, self.num_actions)
        self.held = HeldActions(self.n_envs, self.num_actions, c.hold)
        self.reward_before = np.zeros(self.n_envs, dtype=np.float32)
        self.owed = 0.0

    def _state_sizes(self) -> list[tuple[int, ...]]:
        if self.online.cell is None or not self.config.stored_state:
            return []
        return [tuple(part.shape[1:]) for part in leaves(self.online.cell.initial_state(1))]

    def networks(self) -> dict[str, nn.Module]:
        return {"online": self.online, "target": self.target}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"online": self.optimiser}

    @property
    def judge(self) -> QNetwork:
        """The network that is evaluated."""
        return self.target if self.config.act_with_target else self.online

    def initial_state(self, batch: int) -> Any:
        return () if self.memoryless else self.online.initial_state(batch)

    @property
    def memoryless(self) -> bool:
        """Whether nothing is carried from step to step."""
        return self.online.cell is None and not (self.config.previous_action or self.config.previous_reward)

    def epsilon(self) -> np.ndarray:
        """Share of random actions now, of every world, [N]."""
        c = self.config
        progress = min(self.num_timesteps / max(c.epsilon_steps, 1), 1.0)
        last = c.epsilon ** (1 + c.epsilon_spread * np.arange(self.n_envs) / max(self.n_envs - 1, 1))
        return np.asarray(1.0 + (last - 1.0) * progress)

    def choose(self, obs: Tensor, state: Any, first: Tensor, *, explore: bool) -> tuple[np.ndarray, Any]:
        network = self.online if explore else self.judge
        inner = self.online.initial_state(len(obs)) if self.memoryless else state
        learning = explore and len(obs) == self.n_envs
        reward = torch.from_numpy(self.reward_before) if learning else torch.zeros(len(obs))
        q, after = network.step(obs, inner, first, reward.to(obs))
        action = q.argmax(1).cpu().numpy()
        if explore:
            action = self.held(action, self.epsilon() if learning else self.epsilon().mean(), self.rng)
        if self.memoryless:
            return action, ()
        taken = one_hot(torch.as_tensor(action), self.num_actions).to(q)
        return action, QState(after.memory, taken)

    def scores(self, obs: Tensor, state: Any, first: Tensor) -> Tensor:
        inner = self.online.initial_state(len(obs)) if self.memoryless else state
        return self.judge.step(obs, inner, first, torch.zeros(len(obs)))[0]

    def observe(self, transition: Transition, state: Any) -> None:
        reward = np.asarray(transition.reward, dtype=np.float32) * self.config.reward_scale
        kept = leaves(state.memory) if self.replay.states else []
        self.replay.add(
            self.flat(transition.obs),
            transition.first,
            transition.action,
            reward,
            transition.terminated,
            transition.truncated,
            kept,
        )
        self.reward_before = reward
        self.owed += self.config.updates_per_step * self.n_envs

    def next_batch(self) -> Sequences | None:
        if self.owed < 1:
            return None
        if self.num_timesteps < self.first_update or not self.replay.can_sample():
            self.owed = 0.0
            return None
        self.owed -= 1
        data = self.replay.sample(self.config.batch, self.rng)
        if self.mirror is None:
            return data
        flip = torch.arange(self.config.batch) % 2 == 1
        fresh = leaves(self.initial_state(self.config.batch).memory) if data.state else []
        return mirrored(data, self.mirror, flip, fresh)

    def errors(self, data: Sequences) -> tuple[Tensor, Tensor]:
        """TD errors and their mask, [T, B], of the steps after the burn-in."""
        c = self.config
        warm = c.burn_in
        memory = self.online.burn_in(data, warm)
        late = data._replace(**{name: getattr(data, name)[warm:] for name in _ROWS})
        q = self.online.sequence(late, memory)
        with torch.no_grad():
            judged = self.target.sequence(late, self.target.burn_in(data, warm))
            best = (q if c.double else judged)[1:].argmax(2, keepdim=True)
            v_t = judged[1:].gather(2, best).squeeze(2)
            discount_t = c.gamma * (~late.terminated[:-1]).float()
            v_t = unrescale(v_t) if c.rescaling else v_t
            target, valid = n_step_returns(late.reward[:-1], discount_t, v_t, c.n_step, late.truncated[:-1])
            target = rescale(target) if c.rescaling else target
            target = target - c.gap * shortfalls(judged[:-1], late.action[:-1])
        return td_errors(q[:-1], late.action[:-1], target), valid.float()

    def update(self, batch: Sequences) -> dict[str, float]:
        c = self.config
        td, mask = self.errors(batch)
        loss = smooth_l1_loss(td, torch.zeros_like(td), reduction="none")
        loss = (loss * mask * batch.weight).sum() / mask.sum().clamp_min(1)
        share = c.lr_end + (1 - c.lr_end) * max(self._current_progress_remaining, 0.0)
        for group in self.optimiser.param_groups:
            group["lr"] = c.lr * share * group["factor"]
        norm = self.descend(self.optimiser, loss, c.max_norm)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), c.target_rate)
        if c.priority > 0:
            self.replay.prioritise(batch.place, sequence_priority(td.detach(), mask, c.eta).numpy())
        return {"loss": float(loss.detach()), "gradient_norm": norm, "epsilon": float(self.epsilon().mean())}

    def memory(self) -> dict[str, Any]:
        own = {"reward_before": self.reward_before, "owed": self.owed, "held": self.held.snapshot()}
        return {"replay": self.replay.snapshot(), **own}

    def remember(self, memory: dict[str, Any]) -> None:
        self.replay.restore(memory["replay"])
        self.held.restore(memory["held"])
        self.reward_before, self.owed = memory["reward_before"], memory["owed"]


_ROWS = ("obs", "first", "before", "earned", "action", "reward", "terminated", "truncated")
