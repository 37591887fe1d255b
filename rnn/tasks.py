"""Sequence tasks that ask for memory: adding, copying, temporal order, a cue long before its answer, digits by row."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rnn.data import Sections

__all__ = ["SYMBOLS", "adding", "copying", "copying_baseline", "digits", "late_answer", "temporal_order"]

SYMBOLS = 8  # to be remembered
LENGTH = 10  # symbols per sequence


def adding(T: int, batch: int, generator: torch.Generator) -> Sections:
    """Two numbers out of T are marked; the answer after the last step is their sum.

    Inputs are a value in [0, 1] and a mark; one mark lies in each half. Always answering 1 gives an error of 1/6.
    "Long short-term memory" (Hochreiter, Schmidhuber, 1997).

    Raises:
        ValueError: fewer than two steps.
    """
    _long_enough(T, 2)
    values = torch.rand(T, batch, generator=generator)
    half = T // 2
    first, second = (torch.randint(n, (batch,), generator=generator) for n in (half, T - half))
    marks = (F.one_hot(first, T) + F.one_hot(second + half, T)).T.float()
    ys = torch.zeros(T, batch, 1)
    ys[-1, :, 0] = (values * marks).sum(0)
    return Sections(torch.stack([values, marks], -1), ys, _last(T, batch))


def copying(delay: int, batch: int, generator: torch.Generator) -> Sections:
    """Ten symbols out of eight, a delay of blanks, a signal, and then the same ten symbols are to be said.

    Inputs are one-hot [T, B, 10] (eight symbols, blank, signal), targets labels [T, B] (8: blank), T = delay + 20.
    As posed in "Unitary evolution recurrent neural networks" (Arjovsky et al., 2016).

    Raises:
        ValueError: a delay of less than one step.
    """
    _long_enough(delay, 1)
    T = delay + 2 * LENGTH
    symbols = torch.randint(SYMBOLS, (LENGTH, batch), generator=generator)
    seen = torch.full((T, batch), SYMBOLS)
    seen[:LENGTH] = symbols
    seen[LENGTH + delay - 1] = SYMBOLS + 1
    said = torch.full((T, batch), SYMBOLS)
    said[-LENGTH:] = symbols
    return Sections(F.one_hot(seen, SYMBOLS + 2).float(), said, torch.ones(T, batch, dtype=torch.bool))


def copying_baseline(delay: int) -> float:
    """Cross-entropy per step of the best answer without memory: blanks, then guesses.

    >>> round(copying_baseline(1000), 4)
    0.0204
    """
    return LENGTH * math.log(SYMBOLS) / (delay + 2 * LENGTH)


def temporal_order(T: int, batch: int, generator: torch.Generator) -> Sections:
    """Two symbols, X or Y, among distractors; the answer after the last step is their order, one of four.

    The symbols lie in [T/10, 2 T/10] and [5 T/10, 6 T/10]. Inputs one-hot [T, B, 6], labels [T, B]. "Long short-term
    memory" (1997); as posed in "On the difficulty of training recurrent neural networks" (Pascanu et al., 2013).

    Raises:
        ValueError: fewer than ten steps.
    """
    _long_enough(T, 10)
    seen = torch.randint(4, (T, batch), generator=generator)
    columns = torch.arange(batch)
    which = torch.randint(2, (2, batch), generator=generator)
    for k, (a, b) in enumerate(((T // 10, 2 * T // 10), (5 * T // 10, 6 * T // 10))):
        place = torch.randint(a, max(b, a + 1), (batch,), generator=generator)
        seen[place, columns] = 4 + which[k]
    labels = (2 * which[0] + which[1]).expand(T, batch).clone()
    return Sections(F.one_hot(seen, 6).float(), labels, _last(T, batch))


def late_answer(lag: int, batch: int, generator: torch.Generator, *, noise: float = 0.2) -> Sections:
    """A cue of -1 or 1 at the first step, noise, and a question at the last: which cue was it? T = lag + 1.

    Raises:
        ValueError: a lag of less than one step.
    """
    _long_enough(lag, 1)
    T = lag + 1
    labels = torch.randint(2, (batch,), generator=generator)
    us = torch.zeros(T, batch, 2)
    us[1:-1, :, 0] = noise * torch.randn(T - 2, batch, generator=generator)
    us[0, :, 0] = 2.0 * labels - 1.0
    us[-1, :, 1] = 1.0
    return Sections(us, labels.expand(T, batch).clone(), _last(T, batch))


def digits(*, held_out: float = 0.25, by: str = "row") -> tuple[Sections, Sections]:
    """Scikit-learn's 1,797 bundled handwritten digits, 8 x 8 pixels, shown row by row (T = 8) or pixel by pixel (64).

    Returns:
        Training and test sections; labels count after the last step.
    """
    from sklearn.datasets import load_digits

    if by not in ("row", "pixel"):
        raise ValueError(f"digits are shown by 'row' or by 'pixel', received {by!r}")
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    pixels = torch.as_tensor(images, dtype=torch.float32)[order] / 16.0
    steps = pixels.unflatten(1, (8, 8) if by == "row" else (64, 1)).transpose(0, 1)
    truth = torch.as_tensor(labels)[order].expand(len(steps), -1)
    cut = round(len(images) * (1 - held_out))
    part = lambda rows: Sections(steps[:, rows], truth[:, rows].clone(), _last(len(steps), truth[:, rows].shape[1]))
    return part(slice(0, cut)), part(slice(cut, None))


def _last(T: int, batch: int) -> Tensor:
    mask = torch.zeros(T, batch, dtype=torch.bool)
    mask[-1] = True
    return mask


def _long_enough(steps: int, least: int) -> None:
    if steps < least:
        raise ValueError(f"this task needs a delay or length of at least {least} steps, received {steps}")
