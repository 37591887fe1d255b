"""Training of any model on sections of records: through time, truncated, online, or by least squares."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rnn.data import Sections
from rnn.evaluate import evaluate
from rnn.least_squares import fit_least_squares, load_theta
from rnn.model import Model, state_width
from rnn.objectives import Objective, squared_error
from rnn.optimise import LeastSquares
from rnn.training import Diverged, Fitted, Training
from rnn.training_run import TrainingRun

__all__ = ["Diverged", "Fitted", "Training", "evaluate", "fit", "fit_least_squares", "load_theta"]


def fit(
    model: Model,
    sections: Sections,
    valid: Sections | None = None,
    settings: Training | None = None,
    *,
    objective: Objective = squared_error,
    stream: Callable[[torch.Generator], Sections] | None = None,
    slow: Collection[str] = (),
    penalty: Callable[[Model], Tensor] | None = None,
    after_step: Callable[[Model], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = 30.0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Fitted:
    """Train a model; its weights are the best ones afterwards.

    Args:
        model: a cell with readout, see `rnn.model.Model`.
        sections: what to learn, scaled, see `rnn.data.cut`. Targets may be labels for another objective.
        valid: held-out sections: the best weights are those with the lowest loss on them (else on the first training
            sections).
        settings: how.
        objective: loss per step and row.
        stream: draws a new batch for every iteration; `sections` then only says what batches look like.
        slow: names of parameters that learn at a tenth of the rate (orthogonal matrices like that).
        penalty: added to the loss, a function of the model.
        after_step: called after every change of weights (to project them, for example).
        checkpoint: file to which everything is saved while training, and from which an interrupted training with the
            same settings goes on, to the same numbers as one that was not interrupted.
        save_seconds: time between saves.
        device: where to train, "cpu" or "cuda"; None to stay where the model is.
        progress: show a progress bar (on a terminal).

    Warns:
        Diverged: the loss was not finite, or a million times the first; the best weights so far were kept.

    Raises:
        ValueError: settings that contradict each other, the model or the data. CheckpointError: the checkpoint is of
            another training.

    >>> from rnn.linear import MovingAverage
    >>> model = Model(MovingAverage(1, decay=0.5), 1)
    >>> us = torch.randn(20, 8, 1, generator=torch.Generator().manual_seed(0))
    >>> target = 2 * torch.cat([torch.zeros(1, 8, 1), us[:-1]]) + us
    >>> data = Sections(us, target, torch.ones(20, 8, dtype=torch.bool))
    >>> fit(model, data, settings=Training(iterations=50, lr=0.1)).best_loss < evaluate(Model(model.cell, 1), data)
    True
    """
    settings = settings or Training()
    settings.check(model, sections)
    if device is not None:
        model.to(device)
    home = next(model.parameters())
    sections = sections.to(home.device, home.dtype)
    valid = valid.to(home.device, home.dtype) if valid is not None else None
    if settings.optimiser == "lm":
        return _fit_by_least_squares(model, sections, valid, settings, progress)
    run = TrainingRun(model, sections, valid, settings, objective, stream, slow, penalty, after_step)
    path = Path(checkpoint) if checkpoint is not None else None
    if path is not None and path.exists():
        run.load(path)
    bar = tqdm(total=settings.iterations, initial=run.iteration, disable=None if progress else True, leave=False)
    last_save, begun = time.perf_counter(), time.perf_counter() - run.seconds
    while not run.stopped:
        run.iterate()
        run.seconds = time.perf_counter() - begun
        if settings.seconds is not None and run.seconds > settings.seconds:
            run.stop(f"{settings.seconds:g} s used up")
        if bar.update() or run.stopped:
            bar.set_postfix_str(f"loss {run.loss:.3g}, best {run.best:.3g}")
        if path is not None and time.perf_counter() - last_save > save_seconds:
            run.save(path)
            last_save = time.perf_counter()
    bar.close()
    if path is not None:
        run.save(path)
    run.finish()
    return Fitted(model, run.best, run.iteration, run.seconds, run.stopped, run.history)


def _fit_by_least_squares(
    model: Model, sections: Sections, valid: Sections | None, settings: Training, progress: bool
) -> Fitted:
    begun, history = time.perf_counter(), []
    best, best_theta = math.inf, torch.empty(0)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    bar = tqdm(total=settings.iterations, disable=None if progress else True, leave=False)

    def look(iteration: int, found: LeastSquares) -> bool:
        nonlocal best, best_theta
        row = {"iteration": iteration + 1.0, "loss": found.cost}
        watched = found.cost
        if valid is not None:
            load_theta(model, names, found.theta)
            watched = row["valid_loss"] = evaluate(model, valid, washout=settings.washout, window=model.window)
        if watched < best:
            best, best_theta = watched, found.theta
        history.append(row)
        bar.update()
        return settings.seconds is not None and time.perf_counter() - begun > settings.seconds

    free = settings.start == "free" and state_width(model.cell) > 0
    found = fit_least_squares(
        model, sections, free_states=free, washout=settings.washout, iterations=settings.iterations, callback=look
    )
    bar.close()
    if best_theta.numel():
        load_theta(model, names, best_theta)
    loss = best if math.isfinite(best) else found.cost
    return Fitted(model, loss, len(history), time.perf_counter() - begun, found.stopped, history)
