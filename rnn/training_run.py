"""One training by gradients under way: batches, pieces, checks, and its checkpoint."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnn.cell import map_state
from rnn.checkpoint import CheckpointError, flatten, load_checkpoint, load_weights, restore, save_checkpoint
from rnn.data import Sections
from rnn.edits import Edit, Noise
from rnn.evaluate import evaluate
from rnn.least_squares import counted_steps
from rnn.model import pack, unpack
from rnn.objectives import reduce_steps
from rnn.optimise import clip, learning_rate, make_optimiser
from rnn.rtrl import OnlineGradient
from rnn.training import Diverged

__all__ = ["TrainingRun"]

WATCHED = 256  # training sections on which the best weights are chosen where nothing is held out
SCALARS = ("iteration", "seconds", "stale", "stopped", "loss", "first", "best")


class TrainingRun:
    """One training under way: everything that a checkpoint must hold."""

    def __init__(self, model, sections, valid, settings, objective, stream, slow, penalty, after_step):
        self.model, self.sections, self.valid, self.settings = model, sections, valid, settings
        self.objective, self.penalty, self.after_step, self.stream = objective, penalty, after_step, stream
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.states: Tensor | None = None
        if settings.start == "free":
            with torch.no_grad():
                packed = pack(model.initial(sections.us, sections.ys))
            self.states = packed.clone().requires_grad_()
        trained = [p for name, p in model.named_parameters() if p.requires_grad and name not in slow]
        trained += [self.states] if self.states is not None else []
        slower = [p for name, p in model.named_parameters() if p.requires_grad and name in slow]
        self.trained = [*trained, *slower]
        groups = [{"params": trained}, {"params": slower}] if slower else trained
        self.optimiser = make_optimiser(settings.optimiser, groups, settings.lr, weight_decay=settings.weight_decay)
        self.iteration, self.seconds, self.stale, self.stopped = 0, 0.0, 0, ""
        self.loss, self.first, self.best = math.nan, math.nan, math.inf
        self.best_weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.history: list[dict[str, float]] = []

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    def iterate(self) -> None:
        settings, model = self.settings, self.model
        model.train()
        if settings.optimiser not in ("lbfgs", "rprop"):
            rate = learning_rate(settings.lr, self.iteration, settings.iterations, settings.decay, settings.warm_up)
            for group, factor in zip(self.optimiser.param_groups, (1.0, 0.1), strict=False):
                group["lr"] = factor * rate
        rows = self._draw()
        if self.stream is not None:
            part = self.stream(self.generator).to(self.sections.us.device, self.sections.us.dtype)
        else:
            part = self.sections if rows is None else self.sections.pick(rows)
        if settings.method != "bptt":
            loss, norm = self._online(part)
        else:
            loss, norm = self._through_time(part, rows)
        self.loss = loss
        self.first = loss if self.iteration == 0 else self.first
        self.iteration += 1
        if not math.isfinite(loss) or loss > 1e6 * max(abs(self.first), 1e-12):
            self.stop(f"diverged at iteration {self.iteration} (loss {loss:.3g}); the best weights so far were kept")
            warnings.warn(f"training {self.stopped}; lower lr or clip_norm", Diverged, stacklevel=3)
            return
        over = self.iteration >= settings.iterations
        if self.iteration % settings.check_every == 0 or over:
            self._check(norm)
        if over:
            self.stop("iterations used up")

    def _draw(self) -> Tensor | None:
        B, batch = self.sections.us.shape[1], self.settings.batch
        if self.stream is not None or batch is None or batch >= B:
            return None
        return torch.randperm(B, generator=self.generator)[:batch].to(self.sections.us.device)

    def _begin(self, part: Sections, rows: Tensor | None) -> Any:
        if self.states is not None:
            packed = self.states if rows is None else self.states[rows]
            state = unpack(self.model.cell, packed)
        else:
            state = self.model.initial(part.us, part.ys)
        if self.settings.random_start:
            noise = lambda leaf: torch.randn(leaf.shape, generator=self.generator, dtype=leaf.dtype).to(leaf.device)
            state = map_state(lambda leaf: leaf + self.settings.random_start * noise(leaf), state)
        return state

    def _through_time(self, part: Sections, rows: Tensor | None) -> tuple[float, float]:
        """One pass over a batch, one step of the weights per truncated piece."""
        T = len(part.us)
        length = self.settings.truncation or T
        counted = counted_steps(part.mask, self.settings.washout)
        edits: list[Edit] = []
        if self.settings.noise:
            seed = int(torch.randint(2**30, (1,), generator=self.generator))
            edits.append(Noise(self.model.cell.activity, self.settings.noise, seed=seed))
        carried: dict[str, Any] = {"state": None, "last": None}
        total, weight, norm = 0.0, 0, 0.0
        for begin in range(0, T, length):
            span = slice(begin, min(begin + length, T))
            if not counted[span].any() and begin + length < T:
                with torch.no_grad():
                    self._piece(part, rows, span, carried, edits, counted)
                carried.update(carried.pop("next"))
                continue
            if not counted[span].any():
                break

            def closure(span: slice = span) -> Tensor:
                self.optimiser.zero_grad()
                loss = self._piece(part, rows, span, carried, edits, counted)
                loss.backward()
                carried["norm"] = self._clip()
                return loss.detach()

            loss = self.optimiser.step(closure)  # type: ignore[arg-type]
            count = int(counted[span].sum())
            total, weight, norm = total + float(loss) * count, weight + count, carried["norm"]
            carried.update(carried.pop("next"))
            if self.after_step is not None:
                self.after_step(self.model)
        return total / max(weight, 1), norm

    def _piece(self, part, rows, span, carried, edits, counted) -> Tensor:
        """Loss of one piece of the sections; leaves state and output to go on from in `carried["next"]`."""
        state = carried["state"] if carried["state"] is not None else self._begin(part, rows)
        targets = part.ys[span]
        ys = targets if self.settings.loss == "teacher" else None
        run = self.model(part.us[span], state, ys=ys, last=carried["last"], edits=edits)
        last = targets[-1] if ys is not None else run.outputs[-1].detach()
        carried["next"] = {"state": map_state(lambda leaf: leaf.detach(), run.state), "last": last}
        if not counted[span].any():
            return run.outputs.new_zeros(())
        loss = reduce_steps(self.objective(run.outputs, targets), counted[span], self.settings.reduction)
        return loss if self.penalty is None else loss + self.penalty(self.model)

    def _clip(self) -> float:
        s = self.settings
        return clip(self.trained, norm=s.clip_norm, value=s.clip_value, normalise=s.normalise)

    def _online(self, part: Sections) -> tuple[float, float]:
        s = self.settings
        counted = counted_steps(part.mask, s.washout)
        online = OnlineGradient(
            self.model, part.us.shape[1], method=s.method, objective=self.objective,
            leak=1 - float(getattr(self.model.cell, "leak", 1.0)),
        )  # fmt: skip
        total, norm, T = 0.0, 0.0, len(part.us)
        length = s.truncation or T
        for begin in range(0, T, length):
            span = range(begin, min(begin + length, T))
            for t in span:
                total += float(online.step(part.us[t], part.ys[t], counted[t]).sum())
            count = int(counted[span.start : span.stop].sum()) if s.reduction == "mean" else part.us.shape[1]
            for name, gradient in online.take().items():
                self.model.get_parameter(name).grad = gradient / max(count, 1)
            norm = self._clip()
            self.optimiser.step(lambda: 0.0)
            if self.after_step is not None:
                self.after_step(self.model)
        return total / max(int(counted.sum()) if s.reduction == "mean" else part.us.shape[1], 1), norm

    def _check(self, norm: float) -> None:
        s = self.settings
        row = {"iteration": float(self.iteration), "loss": self.loss, "gradient_norm": norm}
        state = None
        if self.valid is not None:
            watched_on = self.valid
        else:
            watched_on = self.sections.pick(slice(0, WATCHED))
            state = None if self.states is None else unpack(self.model.cell, self.states[:WATCHED].detach())
        watched = row["valid_loss" if self.valid is not None else "watched_loss"] = evaluate(
            self.model, watched_on, objective=self.objective, washout=s.washout, loss=s.loss,
            window=self.model.window, reduction=s.reduction, state=state,
        )  # fmt: skip
        self.history.append(row)
        if not math.isfinite(watched):
            self.stop(f"diverged at iteration {self.iteration} (loss {watched:.3g}); the best weights so far were kept")
            warnings.warn(f"training {self.stopped}; lower lr or clip_norm", Diverged, stacklevel=4)
        elif watched < self.best:
            self.best, self.stale = watched, 0
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            if s.target is not None and watched <= s.target:
                self.stop(f"target {s.target:g} reached")
        else:
            self.stale += 1
            if s.patience is not None and self.stale >= s.patience:
                self.stop(f"no better loss in {s.patience} checks")

    def finish(self) -> None:
        self.model.load_state_dict(self.best_weights)
        self.model.eval()

    def save(self, path: Path) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_weights.items()}
        state, skeleton = flatten(self.optimiser.state_dict(), "optimiser")
        tensors |= state | {"generator": self.generator.get_state()}
        if self.states is not None:
            tensors["states"] = self.states.detach()
        config = {
            "kind": "training", "settings": asdict(self.settings), "optimiser": skeleton, "history": self.history,
            "scalars": {name: getattr(self, name) for name in SCALARS},
        }  # fmt: skip
        save_checkpoint(path, tensors, config)

    def load(self, path: Path) -> None:
        tensors, config = load_checkpoint(path, "training")
        theirs, ours = dict(config["settings"]), asdict(self.settings)
        for free in ("iterations", "seconds", "patience", "check_every"):
            theirs.pop(free), ours.pop(free)
        if theirs != ours:
            differing = ", ".join(
                f"{k} was {theirs.get(k)!r}, is {ours[k]!r}" for k in ours if theirs.get(k) != ours[k]
            )
            raise CheckpointError(f"{path.name} is of a training with other settings ({differing}); use another file")
        of = lambda prefix: {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        load_weights(self.model, of("model."), path.name)
        self.best_weights = {name: value.to(self.sections.us.device) for name, value in of("best.").items()}
        self.optimiser.load_state_dict(restore(config["optimiser"], tensors))
        self.generator.set_state(tensors["generator"])
        if self.states is not None:
            self.states.data.copy_(tensors["states"])
        for name, value in config["scalars"].items():
            setattr(self, name, value)
        self.history = config["history"]
        if self.stopped.endswith("used up") and self.iteration < self.settings.iterations:
            self.stopped = ""
