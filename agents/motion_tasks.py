"""Sequences and labels on the motion of the newt: joint angles under random scores of drive, 25 samples a second.

Each task is a function of the number of sequences and a generator that gives `rnn.data.Sections`: `on_ground` (one
label per sequence), `in_phase` (one per step), `in_order` (only the order is told), `to_score` (sequence to sequence),
`onward` (its own continuation).

>>> sections = in_phase(2, torch.Generator().manual_seed(0), seconds=1.0)
>>> sections.us.shape, sections.ys.shape
(torch.Size([25, 2, 24]), torch.Size([25, 2]))
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.motion import DT, Motion, gait_of
from rnn.data import Sections
from rnn.objectives import last_step

__all__ = ["GROUNDS", "PERIOD", "Recording", "in_order", "in_phase", "on_ground", "onward", "record", "to_score"]

EVERY = 4  # samples of 10 ms per step
PERIOD = DT * EVERY
"""Time from step to step, s."""
GROUNDS = ("flat", "soft", "rough", "water")


class Recording(NamedTuple):
    """Drives [T, B, 2], clean angles [T, B, 24], phase in cycles [T, B] and gait 0, 1, 2 [T, B]."""

    drives: Tensor
    angles: Tensor
    phase: Tensor
    gait: Tensor


def record(rows: int, seconds: float, generator: torch.Generator, gaits: tuple[str, ...] | None = None) -> Recording:
    """The newt under random scores: one to three spans of rest, walking or swimming, straight or turning.

    Args:
        rows: sequences, B.
        seconds: length.
        generator: of everything random.
        gaits: None for random scores; else each row keeps one of these throughout.
    """
    motion = Motion.load("both")
    T = round(seconds / DT)
    draw = lambda low, high, *shape: low + (high - low) * torch.rand(*shape, generator=generator)
    spans = 1 if gaits else 3
    kinds = torch.randint(3, (spans, rows), generator=generator)
    if gaits:
        names = torch.tensor([{"rest": 0, "walk": 1, "swim": 2}[g] for g in gaits])
        kinds = names[torch.randint(len(gaits), (1, rows), generator=generator)]
    mean = torch.where(
        kinds == 0, 0.5, torch.where(kinds == 1, draw(1.4, 2.6, spans, rows), draw(3.2, 4.6, spans, rows))
    )
    half = draw(-0.4, 0.4, spans, rows) * (kinds > 0)
    ends = (
        torch.sort(torch.rand(spans - 1, rows, generator=generator), 0).values * T
        if spans > 1
        else torch.zeros(0, rows)
    )
    span = (torch.arange(T)[:, None, None] >= ends).sum(1)  # [T, B]
    mean, half = mean.gather(0, span), half.gather(0, span)
    left, right, limb = mean + half, mean - half, torch.zeros_like(mean)
    state = motion.start(draw(0.0, 1.0, rows), left[0], right[0], limb[0])
    course, _ = motion.follow(left, right, limb, state)
    thin = lambda x: x[EVERY - 1 :: EVERY]
    gait = gait_of(left, right, limb)
    drives = torch.stack([left, right], -1)
    return Recording(thin(drives), thin(motion.angles(course)), thin(course.phase), thin(gait))


def on_ground(rows: int, generator: torch.Generator, *, seconds: float = 4.0, noise: float = 0.05) -> Sections:
    """Walking on flat, soft and rough ground, and swimming: soft ground yields, rough ground shifts every half step."""
    label = torch.randint(4, (rows,), generator=generator)
    walk, swim = (record(rows, seconds, generator, (g,)) for g in ("walk", "swim"))
    angles = torch.where((label == 3)[None, :, None], swim.angles, walk.angles)
    mean = angles.mean(0, keepdim=True)
    soft = torch.cat([torch.full((8,), 0.9), torch.full((16,), 0.75)])
    angles = torch.where((label == 1)[None, :, None], mean + soft * (angles - mean), angles)
    steps = (2 * walk.phase).floor().long()
    steps = steps - steps.min()
    bumps = 0.12 * torch.randn(int(steps.max()) + 1, rows, 16, generator=generator)
    moved = bumps.gather(0, steps[..., None].expand(-1, -1, 16)) * (label == 2)[None, :, None]
    angles = torch.cat([angles[..., :8], angles[..., 8:] + moved], -1)
    return Sections(sensed(angles, noise, generator), label.expand(len(angles), -1).clone(), last(angles))


def in_phase(rows: int, generator: torch.Generator, *, seconds: float = 4.0, noise: float = 0.05) -> Sections:
    """Walking and swimming; the label of a step is its quarter of the cycle."""
    run = record(rows, seconds, generator, ("walk", "swim"))
    quarters = (4 * (run.phase - run.phase.floor())).long().clamp(0, 3)
    return Sections(sensed(run.angles, noise, generator), quarters, everywhere(run.angles))


def in_order(rows: int, generator: torch.Generator, *, seconds: float = 4.0, noise: float = 0.05) -> Sections:
    """Random scores; targets are the gaits of every step, from which only their order is used."""
    run = record(rows, seconds, generator)
    return Sections(sensed(run.angles, noise, generator), run.gait, everywhere(run.angles))


def to_score(rows: int, generator: torch.Generator, *, seconds: float = 4.0, noise: float = 0.05) -> Sections:
    """Drives in, joint angles out; the first angles are given at the first step, since the phase begins anywhere."""
    run = record(rows, seconds, generator)
    start = torch.zeros_like(run.angles)
    start[0] = run.angles[0]
    return Sections(torch.cat([run.drives - 2.0, start], -1), run.angles, everywhere(run.angles))


def onward(rows: int, generator: torch.Generator, *, seconds: float = 4.0, noise: float = 0.05) -> Sections:
    """Drives and the spine's angles just now in, the spine's next angles out."""
    run = record(rows, seconds, generator, ("walk", "swim"))
    spine = run.angles[..., :8] + 0.3 * noise * torch.randn(run.angles[..., :8].shape, generator=generator)
    return Sections(torch.cat([run.drives[1:] - 2.0, spine[:-1]], -1), spine[1:], everywhere(spine[1:]))


def sensed(angles: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Angles with sensor noise."""
    return angles + noise * torch.randn(angles.shape, generator=generator)


def last(angles: Tensor) -> Tensor:
    """Only the last step counts."""
    return last_step(everywhere(angles))


def everywhere(angles: Tensor) -> Tensor:
    """Every step counts."""
    return torch.ones(angles.shape[:2], dtype=torch.bool)
