"""What a learner is on disk: its exact state in a folder, written without pickles and read back."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys
import warnings
from collections import deque
from pathlib import Path
from typing import Any, Self

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents.snapshot import read_snapshot, write_snapshot
from agents.spaces import leaves, rebuild, space_from_plain, space_to_plain
from agents.world_state import NotCapturable, capture, restore

__all__ = ["CHECKPOINT", "Persistent", "configure"]

CHECKPOINT = "learner.safetensors"


class Persistent(BaseAlgorithm):
    """The part of `agents.learner.Learner` that saves, loads and resumes; it is no learner by itself."""

    config: Any
    worlds: Any
    state: Any
    rng: Any
    generator: torch.Generator
    _steps: int
    _returns: Any
    _lengths: Any

    def networks(self) -> dict[str, nn.Module]:
        """The networks by name, for saving and for checks."""
        raise NotImplementedError

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name."""
        return {}

    def initial_state(self, batch: int) -> Any:
        """The recurrent state of fresh episodes, a tree of tensors [B, ...]; () without memory."""
        return ()

    def memory(self) -> dict[str, Any]:
        """Further parts of the exact state: replay, normalisation, counters."""
        return {}

    def remember(self, memory: dict[str, Any]) -> None:
        """Take back what `memory` gave."""

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str], *, light: bool = False) -> None:  # type: ignore[override]
        """Write the exact state to a folder: weights, optimisers, memory, random generators, worlds.

        Args:
            light: leave out replay and worlds: enough to act, not to resume.

        Raises:
            FloatingPointError: a weight is not finite; the last good checkpoint is kept.
        """
        for name, network in self.networks().items():
            if bad := [key for key, value in network.state_dict().items() if not torch.isfinite(value).all()]:
                raise FloatingPointError(f"{name} has weights that are not finite ({bad[0]}); the file was not written")
        write_snapshot(Path(path) / CHECKPOINT, self.snapshot(light=light))

    def snapshot(self, *, light: bool = False) -> dict[str, Any]:
        """The exact state as a tree (see `agents.snapshot`)."""
        worlds: Any = None
        if self.worlds is not None and self.worlds.obs is not None and not light:
            try:
                worlds = capture(self.worlds.env)
            except NotCapturable:
                worlds = None
        running = worlds is not None
        return {
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            "config": {f.name: _storable(getattr(self.config, f.name)) for f in dataclasses.fields(self.config)},
            "spaces": [space_to_plain(self.observation_space), space_to_plain(self.action_space)],
            "seed": self.seed,
            "n_envs": self.n_envs,
            "light": light,
            "networks": {name: dict(net.state_dict()) for name, net in self.networks().items()},
            "optimisers": {} if light else {name: opt.state_dict() for name, opt in self.optimisers().items()},
            "memory": {} if light else self.memory(),
            "rng": self.rng,
            "generator": self.generator,
            "progress": [self.num_timesteps, self._total_timesteps, self._steps, self._episode_num, self._n_updates],
            "remaining": self._current_progress_remaining,
            "episodes": [self._returns, self._lengths, self.ep_info_buffer],
            "worlds": worlds,
            "obs": self.worlds.obs if running and self.worlds else None,
            "first": self.worlds.first if running and self.worlds else None,
            "state": leaves(self.state) if running and self.state is not None else None,
        }

    @classmethod
    def load(  # type: ignore[override]
        cls, path: str | os.PathLike[str], env: Any = None, *, device: str = "cpu", **changes: Any
    ) -> Self:
        """Read a learner that `save` wrote.

        Args:
            path: the folder.
            env: the environment to go on in, made in the same way as before; None to predict only. An environment that
                cannot give its state (Box2D, MuJoCo without `get_state`) starts with fresh episodes, and this warns.
            changes: settings to replace, such as `cell=` where a cell was given as an instance.

        Raises:
            ValueError: the file is truncated, or belongs to another class or environment.
        """
        tree = read_snapshot(Path(path) / CHECKPOINT)
        kind = _class_named(tree["class"])
        if not issubclass(kind, cls):
            raise ValueError(
                f"{path} holds a {tree['class']}, not a {cls.__name__}; load it with that class or Learner"
            )
        config = {**tree["config"], **changes}
        if missing := [name for name, value in config.items() if isinstance(value, dict) and "instance of" in value]:
            raise ValueError(
                f"{missing} was an {config[missing[0]]}; pass one of the same class: load(..., {missing[0]}=)"
            )
        pair = tuple(space_from_plain(plain) for plain in tree["spaces"])
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        learner = kind(
            None, kind.Config(**config), seed=tree["seed"], num_envs=tree["n_envs"], space_pair=pair, device=device
        )
        learner._take(tree)
        if env is not None:
            learner.set_env(env)
            learner._take_worlds(tree)
        return learner

    def _take(self, tree: dict[str, Any]) -> None:
        for name, network in self.networks().items():
            network.load_state_dict(tree["networks"][name])
        for name, optimiser in self.optimisers().items():
            if name in tree["optimisers"]:
                optimiser.load_state_dict(tree["optimisers"][name])
        if tree["memory"]:
            self.remember(tree["memory"])
        self.rng, self.generator = tree["rng"], tree["generator"]
        self.num_timesteps, self._total_timesteps, self._steps, self._episode_num, self._n_updates = tree["progress"]
        self._current_progress_remaining = tree["remaining"]
        self._returns, self._lengths, self.ep_info_buffer = tree["episodes"]
        self.ep_success_buffer = deque(maxlen=100)

    def _take_worlds(self, tree: dict[str, Any]) -> None:
        assert self.worlds is not None
        if tree["worlds"] is None:
            if not tree["light"]:
                warnings.warn("the worlds could not give their state when saved: fresh episodes start", stacklevel=3)
            return
        self.worlds.reset(0)
        restore(self.worlds.env, tree["worlds"])
        self.worlds.obs, self.worlds.first = tree["obs"], tree["first"]
        self.state = rebuild(self.initial_state(self.n_envs), tree["state"])


def configure(kind: type, config: Any, settings: dict[str, Any]) -> Any:
    names = [field.name for field in dataclasses.fields(kind)]
    if unknown := [name for name in settings if name not in names]:
        near = difflib.get_close_matches(unknown[0], names, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown setting {unknown[0]!r}; {hint}the settings are {', '.join(names)}")
    return dataclasses.replace(config, **settings) if config is not None else kind(**settings)


def _storable(value: Any) -> Any:
    plain = value is None or isinstance(value, bool | int | float | str)
    if plain or (isinstance(value, list | tuple) and all(_storable(v) is v for v in value)):
        return value
    return {"instance of": f"{type(value).__module__}.{type(value).__qualname__}"}


def _class_named(name: str) -> Any:
    """The learner's class; a file does not decide what is imported, so a module of a person's own is already there."""
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] != __package__ and module not in sys.modules:
        raise ValueError(f"the checkpoint was written by {name}; import {module} before loading it")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the checkpoint was written by {name}, which cannot be imported: {error}") from error
