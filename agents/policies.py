"""Recurrent policies: any cell between features and heads, with the state passed in and returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.dense import through_layers
from agents.heads import make_head, tanh_layers
from agents.running_scale import RunningScale
from rnn.cell import Cell, map_state
from rnn.mirrored import MirroredCell, MirroredLayers, MirroredReadout
from rnn.models import make_cell
from rnn.sequence import run_sequence, run_side_by_side

__all__ = ["PolicyState", "RecurrentPolicy", "select_rows"]


class PolicyState(NamedTuple):
    """What a policy carries from step to step, batch first.

    `previous` is the code of the last action, `noise` what exploration keeps for a few steps and `age` for how many it
    has; `action`, `log_prob` and `value` belong to the step just taken and are read by the learner, not by the policy.
    """

    actor: Any
    critic: Any
    previous: Tensor
    noise: Tensor
    age: Tensor
    action: Tensor
    log_prob: Tensor
    value: Tensor


class RecurrentPolicy(nn.Module):
    """Actor and critic around recurrent cells.

        features -> scale -> encoder -> cell -> tanh layers -> head (actor), value (critic)

    Args:
        observation_size: numbers in a flat observation, D (see `agents.spaces.flatten`).
        action_space: of a single world.
        cell: a name of `rnn.models`, a function from the number of inputs to a cell, or a cell; a given cell whose
            input size differs from the features gets a linear encoder before it.
        hidden: H of a cell given by name.
        shared: one cell for actor and critic, or one each.
        critic_cell: cell of a separate critic; None for another of the actor's kind (a GRU, if a cell was given).
        layers: tanh layers of actor and critic behind the cell.
        previous_action: feed the last action back as a feature.
        normalise: scale features by their running mean and deviation.
        noise: exploration of continuous actions, "step" or "state".
        noise_steps: steps for which the noise of "state" is kept.
        log_std: initial scale of continuous exploration.
        settings: further settings of a cell given by name.
        mirror_signs: 1, or -1 for every observation that points to a side; with `mirror_actions`, the policy is the
            same on both sides whatever its weights (see `rnn.mirrored`).
        mirror_actions: for a Box the sign of each action in the mirror, for Discrete the action that takes the place of
            each.

    Raises:
        ValueError: a space that cannot be served, an unknown cell, or a mirror that does not fit.

    >>> policy = RecurrentPolicy(3, spaces.Discrete(2), cell="gru", hidden=8)
    >>> state = policy.act(torch.zeros(4, 3), policy.initial_state(4), torch.ones(4, dtype=torch.bool))
    >>> policy.to_env(state).shape, state.value.shape
    ((4,), torch.Size([4]))
    """

    def __init__(
        self,
        observation_size: int,
        action_space: spaces.Space[Any],
        *,
        cell: str | Cell | Callable[[int], Cell] = "gru",
        hidden: int = 64,
        shared: bool = True,
        critic_cell: str | Callable[[int], Cell] | None = None,
        layers: Sequence[int] = (64,),
        previous_action: bool = False,
        normalise: bool = True,
        noise: str = "step",
        noise_steps: int = 4,
        log_std: float = -0.5,
        settings: Mapping[str, Any] | None = None,
        mirror_signs: Sequence[float] | None = None,
        mirror_actions: Sequence[int] | None = None,
    ):
        super().__init__()
        self.observation_size = observation_size
        self.previous_action, self.noise_steps, self.shared = previous_action, noise_steps, shared
        probe = make_head(1, action_space, noise=noise)
        self.code_size = int(probe.code_size)  # type: ignore[arg-type]
        self.input_size = self.observation_size + (self.code_size if previous_action else 0)
        self.scale = RunningScale(self.observation_size, mirror_signs) if normalise else None
        self.actor_cell = _make(cell, self.input_size, hidden, settings)
        self.encoder: nn.Module = nn.Identity()
        mirror = None
        if mirror_signs is not None or mirror_actions is not None:
            mirror = self._mirror(action_space, mirror_signs, mirror_actions, noise)
        if self.actor_cell.input_size != self.input_size:
            self.encoder = nn.Linear(self.input_size, self.actor_cell.input_size)
        if not shared:
            kind = critic_cell or ("gru" if isinstance(cell, Cell) else cell)
            self.critic_cell = _make(kind, self.input_size, hidden, settings if kind == cell else None)
        sizes = [self.actor_cell.output_size, *layers]
        self.actor: nn.Module = tanh_layers(sizes)
        self.head: Any = make_head(sizes[-1], action_space, noise=noise, log_std=log_std)
        sizes = [self.actor_cell.output_size if shared else self.critic_cell.output_size, *layers]
        out = nn.Linear(sizes[-1], 1)
        nn.init.orthogonal_(out.weight)
        nn.init.zeros_(out.bias)
        self.critic = nn.Sequential(tanh_layers(sizes), out)
        if mirror is not None:
            self._both_sides(*mirror)

    def _mirror(
        self, space: spaces.Space[Any], signs: Sequence[float] | None, actions: Sequence[int] | None, noise: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Signs and order of the features, and of what the head gives out."""
        if signs is None or actions is None:
            raise ValueError("`mirror_signs` and `mirror_actions` are given together, or neither")
        if len(signs) != self.observation_size:
            raise ValueError(
                f"`mirror_signs` takes one for each of {self.observation_size} observations, received {len(signs)}"
            )
        if len(actions) != self.code_size or not isinstance(space, spaces.Discrete | spaces.Box):
            raise ValueError(
                f"`mirror_actions` takes a sign for each action of a Box, or the image of each of Discrete's; received "
                f"{tuple(actions)} for {space}"
            )
        if noise != "step":
            raise ValueError(f"a policy with two sides explores by noise 'step', received {noise!r}")
        if self.actor_cell.input_size != self.input_size:
            raise ValueError(
                f"a mirror exchanges {self.input_size} features, the cell has {self.actor_cell.input_size} inputs; "
                "give a cell with as many"
            )
        D, discrete = self.observation_size, isinstance(space, spaces.Discrete)
        code = {"order": tuple(actions)} if discrete else {"signs": tuple(map(float, actions))}
        if not self.previous_action:
            return {"signs": tuple(signs)}, code
        order = (*range(D), *(D + k for k in (actions if discrete else range(self.code_size))))
        return {"signs": (*signs, *code.get("signs", (1.0,) * self.code_size)), "order": order}, code

    def _both_sides(self, features: dict[str, Any], actions: dict[str, Any]) -> None:
        """Let cells, layers and heads hear the image as well."""
        self.actor_cell, self.actor = MirroredCell(self.actor_cell, **features), MirroredLayers(self.actor)
        self.head.linear = MirroredReadout(self.head.linear, **actions)
        layers, out = self.critic
        assert isinstance(out, nn.Linear)
        self.critic = nn.Sequential(MirroredLayers(layers), MirroredReadout(out))
        if not self.shared:
            self.critic_cell = MirroredCell(self.critic_cell, **features)

    def initial_state(self, batch: int) -> PolicyState:
        """The state of a batch of fresh episodes."""
        zero = next(self.critic.parameters()).new_zeros(batch)
        return PolicyState(
            self.actor_cell.initial_state(batch),
            () if self.shared else self.critic_cell.initial_state(batch),
            zero.new_zeros(batch, self.code_size),
            zero.new_zeros(batch, *self.head.noise_shape),
            zero,
            self.head.from_env(np.zeros((batch, self.head.width))).to(zero.device),
            zero,
            zero,
        )

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: PolicyState,
        first: Tensor,
        *,
        explore: bool = True,
        generator: torch.Generator | None = None,
    ) -> PolicyState:
        """Act on observations [B, D]; the action taken stands in the state that is returned (see `to_env`)."""
        state = self.begin(state, first)
        noise, age = state.noise, state.age
        if explore and noise.numel():
            fresh = age == 0
            draw = torch.empty_like(noise).normal_(generator=generator)
            noise = torch.where(fresh[:, None, None], draw, noise)
            age = (age + 1) % self.noise_steps
        encoded = self._encode(self.features(obs, state.previous))
        y, actor = self.actor_cell(self.encoder(encoded), state.actor)
        value, critic = self._value(encoded, y, state)
        z = self.actor(y)
        dist = self.head(z)
        action = self.head.draw(dist, z, noise, generator) if explore else dist.mode()
        return PolicyState(actor, critic, self.head.code(action), noise, age, action, dist.log_prob(action), value)

    def to_env(self, state: PolicyState) -> np.ndarray:
        """The actions of a step, as the environment takes them."""
        return self.head.to_env(state.action)

    @torch.no_grad()
    def value(self, obs: Tensor, state: PolicyState) -> Tensor:
        """Value [B] of the observations that follow a state; the state is not changed."""
        encoded = self._encode(self.features(obs, state.previous))
        y = self.actor_cell(self.encoder(encoded), state.actor)[0] if self.shared else encoded
        return self._value(encoded, y, state)[0]

    def features(self, obs: Tensor, previous: Tensor) -> Tensor:
        """Features [B, I] of observations [B, D] and the code of the last action."""
        return torch.cat([obs, previous], -1) if self.previous_action else obs

    def evaluate(self, xs: Tensor, state: PolicyState, resets: Tensor | None = None) -> tuple[Any, Tensor]:
        """Distributions and values [T, B] over features [T, B, I], from the state before them; gradients flow."""
        encoded = self._encode(xs)
        ys, zs, _ = self._through(encoded, state, resets)
        return self.head(through_layers(self.actor, ys)), through_layers(self.critic, zs).squeeze(-1)

    @torch.no_grad()
    def states(self, xs: Tensor, state: PolicyState, resets: Tensor, every: int) -> list[PolicyState]:
        """The states before steps 0, `every`, 2 `every` ... under the present weights, for features [T, B, I]."""
        states = []
        encoded = self._encode(xs)
        for t in range(0, len(xs), every):
            states.append(state)
            *_, state = self._through(encoded[t : t + every], state, resets[t : t + every])
        states.append(state)
        return states

    def begin(self, state: PolicyState, first: Tensor) -> PolicyState:
        """The state with the rows `first` [B] set to the start of an episode; noise is drawn anew there (see `act`)."""
        if not bool(first.any()):
            return state
        begun = state._replace(
            actor=select_rows(first, self.actor_cell.initial_state(len(first)), state.actor),
            previous=state.previous.masked_fill(first[:, None], 0.0),
            age=state.age.masked_fill(first, 0.0),
        )
        if not self.shared:
            begun = begun._replace(critic=select_rows(first, self.critic_cell.initial_state(len(first)), state.critic))
        return begun

    def _through(
        self, encoded: Tensor, state: PolicyState, resets: Tensor | None
    ) -> tuple[Tensor, Tensor, PolicyState]:
        """What actor and critic read of their cells [T, B, O], and the state after features [T, B, I]."""
        if self.shared:
            ys, actor = run_sequence(self.actor_cell, self.encoder(encoded), state.actor, resets)
            return ys, ys, state._replace(actor=actor)
        cells, before = [self.actor_cell, self.critic_cell], [state.actor, state.critic]
        if isinstance(self.encoder, nn.Identity):  # both hear the same and may go through time together
            (ys, zs), (actor, critic) = run_side_by_side(cells, encoded, before, resets)
        else:
            ys, actor = run_sequence(cells[0], self.encoder(encoded), before[0], resets)
            zs, critic = run_sequence(cells[1], encoded, before[1], resets)
        return ys, zs, state._replace(actor=actor, critic=critic)

    def _encode(self, x: Tensor) -> Tensor:
        if self.scale is None:
            return x
        size = self.observation_size
        scaled = self.scale(x[..., :size])
        return torch.cat([scaled, x[..., size:]], -1) if self.previous_action else scaled

    def _value(self, encoded: Tensor, y: Tensor, state: PolicyState) -> tuple[Tensor, Any]:
        if self.shared:
            return self.critic(y).squeeze(-1), ()
        z, critic = self.critic_cell(encoded, state.critic)
        return self.critic(z).squeeze(-1), critic


def select_rows(mask: Tensor, new: Any, old: Any) -> Any:
    """A state whose rows are taken from `new` where the mask [B] is true, else from `old`."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (a.dim() - 1)), a, b)

    return map_state(pick, new, old)


def _make(
    cell: str | Cell | Callable[[int], Cell], inputs: int, hidden: int, settings: Mapping[str, Any] | None
) -> Cell:
    if isinstance(cell, Cell):
        return cell
    if not isinstance(cell, str):
        built = None if isinstance(cell, nn.Module) else cell(inputs)
        if not isinstance(built, Cell):
            raise TypeError(
                f"`cell` is a name, a cell or a function from the number of inputs to a cell, received "
                f"{type(cell if built is None else built).__name__}; a module of torch becomes one by `from_torch` "
                "(see rnn.gru, rnn.lstm)"
            )
        return built
    built = make_cell(cell, inputs, hidden, **(settings or {}))
    for name, weight in built.named_parameters():
        if weight.dim() == 2 and "weight" in name and cell in ("gru", "lstm", "elman", "minimal"):
            for block in weight.detach().split(hidden):
                nn.init.orthogonal_(block)
    return built
