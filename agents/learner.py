"""The shell of all learners: learn, predict, callbacks, exact save and resume, guards against lost memory."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections import deque
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from agents.evaluation import Greedy, MemoryTest, evaluate, memory_self_test
from agents.persistence import CHECKPOINT, Persistent, configure
from agents.rollout import Transition, Worlds, rollout
from agents.spaces import add_axis, flatten, is_batched, leaves, make_worlds, rebuild, space_to_plain

__all__ = ["CHECKPOINT", "Greedy", "Learner", "MemoryTest", "evaluate", "make_worlds", "memory_self_test"]


class Learner(Persistent):
    """What a learner is to the outside; a subclass adds the network, the loss and two verbs.

    A subclass sets `Config` (a frozen dataclass), builds its networks in `build`, and defines `initial_state`,
    `choose` (the verb behind `act` and `predict`), `scores`, `observe`, `next_batch` and `update`. The recurrent state
    is a tree of tensors, each [B, ...]; a learner without memory returns an empty tuple.

    Args:
        env: id, single environment, Gymnasium vector environment (SAME_STEP) or SB3 `VecEnv`; None with `space_pair`.
        config: all settings; or give them as keywords.
        seed: of weights, exploration, replay and of the first reset.
        num_envs: how many worlds an id makes.
        space_pair: (observation space, action space) of one world, where there is no environment.

    Raises:
        ValueError: an unknown setting, or spaces that the learner cannot act in.
    """

    Config: ClassVar[type]
    action_kinds: ClassVar[tuple[type, ...]] = (spaces.Discrete,)

    def __init__(
        self,
        env: Any,
        config: Any = None,
        *,
        seed: int = 0,
        num_envs: int = 1,
        space_pair: tuple[spaces.Space, spaces.Space] | None = None,
        device: str = "cpu",
        verbose: int = 0,
        tensorboard_log: str | None = None,
        **settings: Any,
    ):
        if seed < 0:
            raise ValueError(f"a seed is at least 0, received {seed}")
        super().__init__(None, None, 0.0, verbose=verbose, device=device, seed=seed, tensorboard_log=tensorboard_log)  # type: ignore[arg-type]
        self.config = configure(type(self).Config, config, settings)
        self.worlds: Worlds | None = None
        if env is not None:
            self._adopt(make_worlds(env, num_envs))
        elif space_pair is not None:
            self.observation_space, self.action_space = space_pair
            self.n_envs = num_envs
        else:
            raise ValueError("a learner needs an environment, or `space_pair=(observation, action)` of one world")
        if not isinstance(self.action_space, self.action_kinds):
            names = ", ".join(kind.__name__ for kind in self.action_kinds)
            remedy = (
                "for continuous actions take agents.recurrent_ppo.RecurrentPPO, or make the actions discrete with a "
                "wrapper (see agents.q_tasks.DiscreteActions)"
                if isinstance(self.action_space, spaces.Box)
                else "turn the actions into one of those with a wrapper"
            )
            raise ValueError(f"{type(self).__name__} acts in {names} spaces, received {self.action_space}; {remedy}")
        space_to_plain(self.observation_space)  # refuses now what could be neither heard nor stored
        self.obs_size = int(spaces.flatdim(self.observation_space))
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.state: Any = None  # of the running worlds, before the next step
        self._steps = 0
        self._returns = np.zeros(self.n_envs)
        self._lengths = np.zeros(self.n_envs, dtype=np.int64)
        self._predicting = False
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.build()

    # -- what a subclass defines -------------------------------------------------------------------------------------

    def build(self) -> None:
        """Make the networks, optimisers and buffers."""
        raise NotImplementedError

    def choose(self, obs: Tensor, state: Any, first: Tensor, *, explore: bool) -> tuple[np.ndarray, Any]:
        """Actions for flat observations [B, D]; rows with `first` [B] true start an episode in a fresh state."""
        raise NotImplementedError

    def scores(self, obs: Tensor, state: Any, first: Tensor) -> Tensor:
        """What actions are chosen by (action values, policy outputs), [B, K]."""
        raise NotImplementedError

    def observe(self, transition: Transition, state: Any) -> None:
        """Take in one step of all worlds; `state` is the recurrent state before it."""
        raise NotImplementedError

    def next_batch(self) -> Any:
        """What to learn from now, or None to go on acting."""
        raise NotImplementedError

    def update(self, batch: Any) -> dict[str, float]:
        """One update; returns metrics."""
        raise NotImplementedError

    # -- acting ------------------------------------------------------------------------------------------------------

    def flat(self, obs: Any) -> Tensor:
        """Observations of a batch as float32 [B, D].

        Raises:
            ValueError: they do not belong to the observation space the learner was built for.
        """
        array = flatten(self.observation_space, obs)
        if array.shape[1] != self.obs_size:
            raise ValueError(
                f"the learner was built for {self.observation_space} ({self.obs_size} numbers), received observations "
                f"of shape {np.shape(obs)}; an environment must keep its spaces, build a new learner for this one"
            )
        if not np.isfinite(array).all():
            raise FloatingPointError("an observation is NaN or infinite; nothing was learned from it")
        return torch.from_numpy(array).to(self.device)

    @torch.no_grad()
    def act(self, obs: Any, state: Any, *, step: int, first: np.ndarray) -> tuple[np.ndarray, Any]:
        """Act with exploration: what `agents.rollout` calls while learning."""
        return self.choose(self.flat(obs), state, torch.as_tensor(first), explore=True)

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """SB3's protocol: action and next state for one observation or a batch of them.

        Warns when a state is dropped in the middle of an episode, which silently makes a recurrent agent memoryless.
        """
        single = not is_batched(self.observation_space, observation)
        obs = self.flat(add_axis(observation) if single else observation)
        batch = len(obs)
        if episode_start is not None and np.size(episode_start) != batch:
            raise ValueError(
                f"`episode_start` has {np.size(episode_start)} flags for {batch} worlds; pass one for each"
            )
        starts = None if episode_start is None else np.atleast_1d(np.asarray(episode_start, dtype=bool))
        fresh = self.initial_state(batch)
        if state is None:
            if self._predicting and leaves(fresh) and (starts is None or not starts.all()):
                warnings.warn(
                    "predict was called without the state that it returned, although no episode has ended: the agent "
                    "has lost its memory. Pass `state` back, and `episode_start=True` where an episode begins",
                    stacklevel=2,
                )
            inner = fresh
        else:
            if rows := {len(part) for part in state} - {batch}:
                raise ValueError(
                    f"the state is of {rows.pop()} worlds, the observations of {batch}; pass back the state that the "
                    "last call for these worlds returned, or None where all of them start an episode"
                )
            inner = rebuild(fresh, [torch.as_tensor(np.asarray(part), device=self.device) for part in state])
        first = torch.as_tensor(np.zeros(batch, dtype=bool) if starts is None else starts)
        action, after = self.choose(obs, inner, first, explore=not deterministic)
        self._predicting = True
        parts = tuple(part.cpu().numpy() for part in leaves(after))
        return (action[0] if single else action), parts or None

    # -- learning ----------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 20_000,
    ) -> Self:
        """Act and update for a number of environment steps.

        Args:
            total_timesteps: steps of all worlds together; with `reset_num_timesteps=False`, so many more.
            callback: SB3's.
            log_interval: finished episodes between two lines of the log.
            checkpoint: folder to which the exact state is saved every `checkpoint_every` steps and at the end.
        """
        if self.worlds is None:
            raise ValueError("this learner has no environment to learn in; load it with `env=...` or call `set_env`")
        if total_timesteps < 0:
            raise ValueError(f"a learner learns for a number of steps, received {total_timesteps}")
        if reset_num_timesteps:
            self._total_timesteps, self.num_timesteps, self._steps, self._episode_num = total_timesteps, 0, 0, 0
            self._returns[:], self._lengths[:], self.state, self.worlds.obs = 0.0, 0, None, None
        else:
            self._total_timesteps = self.num_timesteps + total_timesteps
        return self._run(callback, log_interval, tb_log_name, progress_bar, checkpoint, checkpoint_every)

    def resume(self, callback: Any = None, *, log_interval: int = 100, checkpoint: Any = None,
               checkpoint_every: int = 20_000) -> Self:  # fmt: skip
        """Go on to the end that the interrupted `learn` was called with."""
        return self._run(callback, log_interval, "run", False, checkpoint, checkpoint_every)

    def _run(
        self, callback: Any, log_interval: int, name: str, bar: bool, checkpoint: Any, checkpoint_every: int
    ) -> Self:
        worlds = self.worlds
        assert worlds is not None
        self.start_time = time.time_ns()
        self._num_timesteps_at_start = self.num_timesteps
        if self.ep_info_buffer is None:
            self.ep_info_buffer, self.ep_success_buffer = deque(maxlen=100), deque(maxlen=100)
        if not self._custom_logger:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, name, self._steps == 0)
        callback = self._init_callback(callback, bar)
        callback.on_training_start(locals(), globals())
        if self._steps > 0 and worlds.obs is None:
            self.state = None
        self.state = self.initial_state(self.n_envs) if self.state is None else self.state
        steps = math.ceil((self._total_timesteps - self.num_timesteps) / self.n_envs)
        callback.on_rollout_start()
        for transition in rollout(worlds, self, steps, seed=self.seed, state=self.state, start=self._steps):
            if not np.isfinite(transition.reward).all():
                raise FloatingPointError(
                    f"the environment gave the reward {transition.reward.tolist()} at step {self.num_timesteps}; "
                    "nothing was learned from it, and checkpoints written before stand as they are"
                )
            self.observe(transition, self.state)
            self.state = transition.state
            self.num_timesteps += self.n_envs
            self._steps += 1
            self._count(transition, log_interval)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            while (batch := self.next_batch()) is not None:
                for key, value in self.update(batch).items():
                    self.logger.record(f"train/{key}", value)
                self._n_updates += 1
            callback.update_locals(locals())
            if not callback.on_step():
                break
            if checkpoint is not None and self.num_timesteps % checkpoint_every < self.n_envs:
                self.save(checkpoint)
        callback.on_rollout_end()
        callback.on_training_end()
        if checkpoint is not None:
            self.save(checkpoint)
        return self

    def _count(self, transition: Transition, log_interval: int) -> None:
        """Returns and lengths of the episodes that end, as they came (a `Monitor`'s own figures where there is one)."""
        self._returns += transition.reward
        self._lengths += 1
        infos = transition.info.get("infos")
        for row in np.flatnonzero(transition.terminated | transition.truncated):
            own = {"r": float(self._returns[row]), "l": int(self._lengths[row]), "t": 0.0}
            assert self.ep_info_buffer is not None
            self.ep_info_buffer.append(infos[row].get("episode", own) if infos else own)
            self._returns[row], self._lengths[row] = 0.0, 0
            self._episode_num += 1
            if self._episode_num % log_interval == 0:
                self.logger.record("rollout/ep_rew_mean", float(np.mean([e["r"] for e in self.ep_info_buffer])))
                self.logger.record("rollout/ep_len_mean", float(np.mean([e["l"] for e in self.ep_info_buffer])))
                self.logger.record("time/episodes", self._episode_num)
                self.logger.record("time/total_timesteps", self.num_timesteps)
                self.logger.dump(step=self.num_timesteps)

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor, max_norm: float | None = None) -> float:
        """One step down a loss, refused if the loss or its gradient is not finite; returns the gradient's norm.

        Raises:
            FloatingPointError: before any weight has changed.
        """
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, math.inf if max_norm is None else max_norm))
        if not (math.isfinite(norm) and bool(torch.isfinite(loss))):
            raise FloatingPointError(
                f"loss {float(loss.detach())} with gradient norm {norm} at step {self.num_timesteps}: the weights were "
                "left as they were, and checkpoints written before stand as they are; a smaller learning rate may help"
            )
        optimiser.step()
        return norm

    # -- environments ------------------------------------------------------------------------------------------------

    def _adopt(self, env: Any) -> None:
        self.worlds = Worlds(env)
        self.env = env
        self.n_envs = self.worlds.num_envs
        gym = isinstance(env, VectorEnv)
        self.observation_space = env.single_observation_space if gym else env.observation_space
        self.action_space = env.single_action_space if gym else env.action_space
        self._vec_normalize_env = unwrap_vec_normalize(env) if isinstance(env, VecEnv) else None

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment with the same spaces and the same number of worlds."""
        kinds = ("observation space", "action space", "number of worlds")
        before = (self.observation_space, self.action_space, self.n_envs)
        made = make_worlds(env, self.n_envs)
        Worlds(made)  # refuses what is no vector environment
        gym = isinstance(made, VectorEnv)
        after = (
            made.single_observation_space if gym else made.observation_space,
            made.single_action_space if gym else made.action_space,
            made.num_envs,
        )
        for kind, own, other in zip(kinds, before, after, strict=True):
            if own != other:  # nothing is taken over: the learner goes on in the worlds that it had
                raise ValueError(
                    f"the learner was built for another {kind}: {own}, the environment has {other}; "
                    "make the environment as before, or build a new learner"
                )
        self._adopt(made)

    def _setup_model(self) -> None:
        """SB3's hook; networks are made in `build`."""
