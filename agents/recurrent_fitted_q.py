"""Fitted Q iteration with memory: targets over whole episodes, then refits of any cell over the tape of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot, smooth_l1_loss

from agents.mirror import with_image
from agents.q_network import QNetwork
from agents.recurrent_dqn import RecurrentDQN, RecurrentDQNConfig
from agents.replay import Sequences
from agents.returns import lambda_returns, shortfalls, td_errors
from agents.spaces import leaves, rebuild
from rnn.cell import map_state

__all__ = ["RecurrentFittedQ", "RecurrentFittedQConfig", "chunked"]


@dataclass(frozen=True)
class RecurrentFittedQConfig(RecurrentDQNConfig):
    """Settings beside those of the recurrent DQN, whose network, replay and exploration it shares."""

    refit_every: int = 800
    """Environment steps between two rounds of fitted iterations."""
    iterations: int = 4
    """Fitted iterations per round: new targets for the whole tape, then a fit."""
    epochs: int = 2
    """Passes over the tape per fit."""
    lambda_: float = 0.8
    """Mixing of horizons in the targets."""
    greedy_traces: bool = False
    """Lean on later steps only as far as their actions are what the network would do now (Watkins, 1989)."""
    length: int = 32
    """Steps of the pieces through which the gradient runs."""
    burn_in: int = 0
    """Unused: pieces start from states that are computed anew at every iteration."""
    target_rate: float = 0.3
    """How much of the online weights the target weights take on in one pass over the tape, however many steps of the
    optimiser it has: the longer the tape, the more of their noise is averaged away."""
    batch: int = 64
    """Pieces per step of the optimiser; 0 for full batches."""
    stored_state: bool = False
    """Unused."""
    warmup: int = 800
    epsilon_steps: int = 5_000


def chunked(x: Tensor, length: int) -> Tensor:
    """Cut [T, N, ...] into pieces [length, T // length * N, ...]; the rest at the end is left out.

    >>> chunked(torch.arange(6)[:, None], 3).T.tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    pieces = len(x) // length
    parts = x[: pieces * length].reshape(pieces, length, *x.shape[1:])
    return parts.transpose(0, 1).reshape(length, pieces * x.shape[1], *x.shape[2:])


class RecurrentFittedQ(RecurrentDQN):
    r"""Fitted Q iteration over a recurrent network.

    One iteration runs the network over the tape of all episodes, with resets where they begin, and takes for every
    step the lambda-return of the whole rest of its episode,

    .. math:: G_t = r_{t+1} + \gamma \big((1 - \lambda) \bar v_{t+1} + \lambda G_{t+1}\big), \qquad
        \bar v = \bar Q(h, \arg\max_a Q_k(h, a))

    as the target; then Q_{k+1} is fitted to it by passes over the tape, cut into pieces that start in the states of
    Q_k. The network that values, and that is judged, is an average of the weights over the fits.

    >>> agent = RecurrentFittedQ("CartPole-v1", hidden_size=8, warmup=70, refit_every=70, length=16).learn(150)
    >>> agent._n_updates
    2
    """

    Config = RecurrentFittedQConfig
    config: RecurrentFittedQConfig

    def build(self) -> None:
        super().build()
        self.since = 0

    def next_batch(self) -> Any:
        if self.num_timesteps < self.config.warmup or len(self.replay) <= self.config.length:
            return None
        if self.since and self.num_timesteps - self.since < self.config.refit_every:
            return None
        self.since = self.num_timesteps
        tape = self.replay.tape()
        return tape if self.mirror is None else with_image(tape, self.mirror)

    @torch.no_grad()
    def targets(self, tape: Sequences) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Targets and their mask [T - 1, N], and the cell's states before every piece."""
        c = self.config
        q, starts = self.over_tape(self.online, tape)
        judged, _ = self.over_tape(self.target, tape)
        best = (q if c.double else judged)[1:].argmax(2, keepdim=True)
        v_t = judged[1:].gather(2, best).squeeze(2)
        discount_t = c.gamma * (~tape.terminated[:-1]).float()
        share: Tensor = torch.full_like(v_t, c.lambda_)
        if c.greedy_traces:
            share = share * (tape.action[1:] == best.squeeze(2))
        target, valid = lambda_returns(tape.reward[:-1], discount_t, v_t, share, tape.truncated[:-1])
        target = target - c.gap * shortfalls(judged[:-1], tape.action[:-1])
        return target, valid.float(), starts

    def over_tape(self, network: QNetwork, tape: Sequences) -> tuple[Tensor, list[Tensor]]:
        """Values [T, N, K] over the tape, and the cell's states before every piece."""
        length = self.config.length
        action = one_hot(tape.before, self.num_actions).to(tape.obs.dtype)
        u = network.inputs(tape.obs, action, tape.earned, tape.first)
        if network.cell is None:
            return network.values(network.dense(u)), []
        state: Any = network.cell.initial_state(u.shape[1])
        pieces = (len(u) - 1) // length
        parts, kept = [], []
        for begin in range(0, len(u), length):
            kept.append(leaves(state))
            part, state = network.course(u[begin : begin + length], state, tape.first[begin : begin + length])
            parts.append(part)
        starts = [torch.cat(same) for same in zip(*kept[:pieces], strict=True)]
        return network.values(torch.cat(parts)), starts

    def update(self, batch: Sequences) -> dict[str, float]:
        c = self.config
        share = c.lr_end + (1 - c.lr_end) * max(self._current_progress_remaining, 0.0)
        for group in self.optimiser.param_groups:
            group["lr"] = c.lr * share * group["factor"]
        loss = 0.0
        for _ in range(c.iterations):
            loss = self.fit(batch)
        return {
            "loss": loss,
            "transitions": float(len(self.replay) * self.n_envs),
            "epsilon": float(self.epsilon().mean()),
        }

    def fit(self, tape: Sequences) -> float:
        """One fitted iteration over the tape; returns the mean loss of its last pass."""
        c = self.config
        target, valid, starts = self.targets(tape)
        names = ("obs", "first", "before", "earned", "action")
        rows = {name: chunked(getattr(tape, name)[:-1], c.length) for name in names}
        target, valid = chunked(target, c.length), chunked(valid, c.length)
        total, steps = 0.0, -(-target.shape[1] // (c.batch or target.shape[1]))
        rate = 1 - (1 - c.target_rate) ** (1 / steps)
        for _ in range(c.epochs):
            order = torch.randperm(target.shape[1], generator=self.generator)
            losses = []
            for pick in order.split(c.batch or len(order)):
                part = {name: value[:, pick] for name, value in rows.items()}
                data = tape._replace(**part)  # type: ignore[arg-type]
                memory: Any = None
                if starts and self.online.cell is not None:
                    memory = rebuild(self.online.cell.initial_state(len(pick)), [s[pick] for s in starts])
                    memory = map_state(lambda s: s.detach(), memory)
                td = td_errors(self.online.sequence(data, memory), data.action, target[:, pick])
                mask = valid[:, pick]
                each = smooth_l1_loss(td, torch.zeros_like(td), reduction="none") * mask
                loss = each.sum() / mask.sum().clamp_min(1)
                self.descend(self.optimiser, loss, c.max_norm)
                losses.append(float(loss.detach()))
                with torch.no_grad():
                    torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), rate)
            total = sum(losses) / len(losses)
        return total

    def memory(self) -> dict[str, Any]:
        return {**super().memory(), "since": self.since}

    def remember(self, memory: dict[str, Any]) -> None:
        super().remember(memory)
        self.since = memory["since"]
