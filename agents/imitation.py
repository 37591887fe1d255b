"""Training a recurrent network on a motion in free run, so that the motion becomes its attractor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.learned import GENERATORS, SEGMENTS, LearnedCell, make_core
from agents.motion import DT, Course, Motion, MotionState
from agents.readout import settle_readout
from agents.sharpen import sharpen
from rnn.model import pack, unpack
from rnn.unroll import Unrolled, unroll

__all__ = ["SETTINGS", "Imitation", "Imitator", "build_cell", "drive_courses", "free_run", "imitate"]


QUIET = 0.2
"""An error of this size, rad, in a joint that should be still counts as one joint that does not move at all."""


BODY_LAG = 0.02
"""By how much the spine follows its targets in the pool, s: 15 to 25 ms over joints and drives of 3 to 5."""
QUICK_FROM = 64
"""Steps from which a free run takes the core's kernels; shorter ones are the plain loop, bit for bit."""


@dataclass(frozen=True)
class Imitation:
    """How to train.

    Attributes:
        iterations: sections of all rows.
        rows: animals in a batch.
        steps: length of a section, control steps: three cycles swimming, one walking.
        lr: learning rate of Adam, falling to a hundredth along a half cosine.
        kick: greatest standard deviation of the push that each unit of a row gets before a section; half of the rows
            get one.
        renew: share of rows that start anew at a known phase, instead of going on from where they are.
        rest: share of the new rows that start at rest in the cell's own first state.
        feel: share of rows that feel the spine's angles, `BODY_LAG` late, 0.8 to 1.2 times as large as the target (in
            the pool measured: 0.8 to 1.2 but for the last joint), with noise of 3 degrees.
        astray: standard deviation of the phase by which a row feels the spine ahead or behind, cycles. Without it a
            network follows the body's phase so closely that it runs at the frequency at which its lead fits the
            body's lag, not at that of the drive (2.67 for 2.58 Hz at a drive of 3.01, 3.78 for 3.82 Hz at 4.95).
        hold: share of its lag or lead that a row must make up by itself when it was not pushed (all, when it feels the
            spine): without it a wrong frequency costs nothing, since rows are compared in their own phase.
        settle: after which parts of the iterations the readout is solved anew (see `agents.readout`).
        jump: share of rows whose drive jumps within the section.
        seed: of weights and draws.
    """

    iterations: int = 3000
    rows: int = 48
    steps: int = 100
    lr: float = 3e-3
    kick: float = 0.4
    renew: float = 0.25
    rest: float = 0.2
    feel: float = 0.3
    jump: float = 0.3
    hold: float = 0.7
    astray: float = 0.1
    settle: tuple[float, ...] = (0.6, 1.0)
    seed: int = 0


def build_cell(name: str, hidden: int, motion: Motion, **settings: Any) -> LearnedCell:
    """An untrained network for a motion; its outputs are centred and scaled to the motion's range."""
    cycles = torch.stack([motion.cycle("walk", 2.0), motion.cycle("swim", 4.0)])
    low, high = cycles.amin((0, 1)), cycles.amax((0, 1))
    core = make_core(name, hidden, **settings).requires_grad_(name not in GENERATORS)
    if isinstance(weight := getattr(core, "weight_ih", None), Tensor):
        sharpen(weight.data, hidden)
    return LearnedCell(core, centre=0.5 * (low + high), scale=0.5 * (high - low) + 0.05)


def drive_courses(rows: int, steps: int, jump: float, held: Tensor | None, rng: torch.Generator) -> Tensor:
    """Drives of both sides and the limb offset [T, B, 3], as they may come: constant, or with one jump.

    A tenth of the draws are rest (mean below 0.9), the others half walking and half swimming, a quarter of these with
    silenced limbs at any drive; in half of the draws both sides are driven alike. Close to the change of gait at 3, on
    either side, and to the end of swimming at 5 drives are drawn more often.

    Args:
        held: drives before the section [B, 3], which go on until a jump; None draws all anew.
    """
    draw = lambda: torch.rand(rows, generator=rng)
    kind = draw()
    walk, swim = 1.0 + 2.0 * draw(), 3.0 + 2.0 * draw() ** 1.5
    which, near = draw(), draw()
    walk = torch.where(which < 0.18, 3.0 - 0.1 * near.square(), walk)
    swim = torch.where(which < 0.3, 3.0 + 0.1 * near.square(), torch.where(which > 0.9, 5.0 - 0.2 * near, swim))
    silent = draw() < 0.25
    mean = torch.where(kind < 0.1, 0.9 * draw(), torch.where(kind < 0.55, walk, swim))
    limb = torch.where((kind >= 0.55) & silent, 4.0, 0.0)
    mean = torch.where(limb > 0, 1.0 + 4.0 * draw(), mean)
    half = torch.where(draw() < 0.5, 0.0, 1.8 * draw() - 0.9)
    fresh = torch.stack([mean + half, mean - half, limb], 1)
    if held is None:
        return fresh.expand(steps, -1, -1)
    when = torch.where(draw() < jump, (draw() * steps).long(), steps)
    later = (torch.arange(steps)[:, None] >= when)[..., None]
    return torch.where(later, fresh, held)


SETTINGS: dict[str, dict[str, Any]] = {
    "lstm": {"iterations": 1500},
    "gru": {"iterations": 1600, "lr": 4e-3},
    "elman": {"iterations": 1500, "lr": 1e-3},
    "leaky": {"iterations": 1500},
    "lru": {"iterations": 800},
    "oscillator": {"iterations": 400, "lr": 1e-2},
    "esn": {"iterations": 300},
    "phase": {"iterations": 400, "lr": 1e-2},
    "rate": {"iterations": 150, "lr": 1e-2},
}
"""What differs from `Imitation`'s defaults. Of a reservoir and the pattern generators only the readout is learned."""


class Imitator:
    """One network under training: its rows, where they are in the motion, and the loss of a section.

    A row starts anew in a state that a small map draws from phase and drive (trained along, then thrown away), or goes
    on from where the last section left it, pushed or not. Rows that go on are compared with the motion in their own
    phase, read out of the section itself, so that a push costs what it does to the pattern and not to the phase; rows
    that feel the body and were not pushed are compared in the motion's.
    """

    def __init__(self, cell: LearnedCell, motion: Motion, settings: Imitation):
        self.cell, self.motion, self.settings = cell, motion, settings
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.width = pack(cell.initial_state(1)).shape[-1]
        self.map = nn.Sequential(nn.Linear(4 + 3, 48), nn.Tanh(), nn.Linear(48, self.width), nn.Tanh())
        self.drives = drive_courses(settings.rows, 1, 0.0, None, self.rng)[-1]
        self.state = pack(cell.initial_state(settings.rows)).detach()
        self.where = motion.start(torch.zeros(settings.rows), *self.drives.unbind(-1), resting=True)
        self.fresh = True
        spread = {gait: motion.cycle(gait, drive).std(0) for gait, drive in (("walk", 2.0), ("swim", 4.0))}
        self.weight = torch.stack([_weights(spread[gait]) for gait in ("walk", "walk", "swim")])
        self.weight[0] = 1 / QUIET**2

    def parameters(self) -> list[nn.Parameter]:
        """Those of the network and of the map."""
        return [p for p in (*self.cell.parameters(), *self.map.parameters()) if p.requires_grad]

    def section(self, push: float = 1.0) -> Tensor:
        """Loss of the next section; the rows move on.

        Args:
            push: factor on the pushes and on how many rows go on, for a gentle beginning.
        """
        s, motion, rng = self.settings, self.motion, self.rng
        draw = lambda: torch.rand(s.rows, generator=rng)
        anew = draw() < (1.0 if self.fresh else max(s.renew, 1 - 2 * push))
        self.fresh = False
        asleep = anew & (draw() < s.rest)
        held = torch.where(anew[:, None], drive_courses(s.rows, 1, 0.0, None, rng)[-1], self.drives)
        courses = drive_courses(s.rows, s.steps, s.jump, held, rng)
        left, right, limb = courses.unbind(-1)
        phase = torch.where(asleep, 0.0, draw())
        new = motion.start(phase, *held.unbind(-1))
        rest = motion.start(phase, *held.unbind(-1), resting=True)
        where = MotionState(*(_three(asleep, anew, a, b, c) for a, b, c in zip(rest, new, self.where, strict=True)))
        state, pushed = self._states(anew, asleep, phase, held, push)
        course, self.where = motion.follow(left, right, limb, where)
        series = motion.series(course)
        target = motion.angles(course, 0.0, series)
        feels = draw() < s.feel
        xs = self._inputs(courses, self._felt(course, series), feels)
        zs, last, _ = unroll(self.cell.core, self.cell.encode(xs), unpack(self.cell.core, state), path=self.cell.quick)
        ys = self.cell.decode(zs)
        kept = torch.where(pushed, 1.0, torch.where(feels, 0.0, 1.0 - s.hold))
        shift = torch.where(anew, 0.0, kept * self._shift(ys.detach(), target, course, series))
        if bool((shift != 0).any()):
            target = motion.angles(course, shift, series)
            self.where = self.where._replace(phase=self.where.phase + shift)
        self.state, self.drives = pack(last).detach(), courses[-1]
        weight = course.weight @ self.weight
        return ((ys - target).square() * weight).mean()

    def _states(self, anew: Tensor, asleep: Tensor, phase: Tensor, held: Tensor, push: float) -> tuple[Tensor, Tensor]:
        """States before a section, packed, and which rows were pushed [B]."""
        turn = 2 * math.pi * phase
        told = torch.stack([turn.cos(), turn.sin(), (2 * turn).cos(), (2 * turn).sin()], 1)
        mapped = self.map(torch.cat([told, (held - torch.tensor([3.0, 3.0, 2.0])) / 2], 1))
        first = pack(self.cell.initial_state(self.settings.rows))
        state = _three(asleep, anew, first, mapped, self.state)
        size = push * self.settings.kick * torch.rand(len(anew), 1, generator=self.rng)
        pushed = torch.rand(len(anew), 1, generator=self.rng) < 0.5
        return state + pushed * size * torch.randn(state.shape, generator=self.rng), pushed[:, 0]

    def _felt(self, course: Course, series: Tensor) -> Tensor:
        """The spine's angles [T, B, 8] as the body might have them, rad."""
        draw = lambda *shape: torch.randn(*shape, generator=self.rng)
        rows, rate = course.phase.shape[1], (course.phase[-1] - course.phase[0]) / (len(course.phase) - 1) / DT
        spine = self.motion.angles(course, self.settings.astray * draw(rows) - BODY_LAG * rate, series)[..., :SEGMENTS]
        spine = spine * (0.8 + 0.4 * torch.rand(spine.shape[1:], generator=self.rng))
        return (spine + 0.05 * draw(*spine.shape)).detach()

    def _inputs(self, courses: Tensor, felt: Tensor, feels: Tensor) -> Tensor:
        left, right, limb = (part[..., None] for part in courses.unbind(-1))
        felt = felt * feels[:, None]
        return torch.cat([left, left, right, right, *[limb] * 4, -felt, felt], -1)

    def _shift(self, ys: Tensor, target: Tensor, course: Course, series: Tensor) -> Tensor:
        """Cycles by which each row is ahead of its course: the phase of its projection on the motion."""
        quarter = self.motion.angles(course, 0.25, series)
        weight = course.weight @ self.weight
        centred = [part - part.mean(0) for part in (ys, target, quarter)]
        cosine = (weight * centred[0] * centred[1]).sum((0, 2))
        sine = (weight * centred[0] * centred[2]).sum((0, 2))
        moving = course.weight[..., 0].amax(0) < 0.5
        return torch.where(moving, torch.atan2(sine, cosine) / (2 * math.pi), 0.0)


def _weights(spread: Tensor) -> Tensor:
    """Weights of the joints' squared errors in a gait: by their variance where they move, 1 in all for each gait."""
    moving = spread > math.radians(1.0)
    return torch.where(moving, 1 / (spread**2 + 0.02**2) * len(spread) / moving.sum(), 1 / QUIET**2)


def _three(first: Tensor, second: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Row by row: a where `first`, else b where `second`, else c."""
    shape = (-1, *[1] * (a.dim() - 1))
    return torch.where(first.reshape(shape), a, torch.where(second.reshape(shape), b, c))


def imitate(
    cell: LearnedCell,
    motion: Motion,
    settings: Imitation,
    *,
    report: Callable[[int, float], None] | None = None,
) -> float:
    """Train a network on a motion; returns CPU seconds.

    Args:
        cell: the network, changed in place.
        motion: what it learns.
        settings: how.
        report: called every hundred iterations with the iteration and the mean loss of the last hundred.

    Raises:
        ValueError: the loss became infinite or NaN; lower the learning rate.
    """
    began = time.process_time()
    imitator = Imitator(cell, motion, settings)
    parameters = imitator.parameters()
    optimiser = torch.optim.Adam(parameters, lr=settings.lr)
    recent: list[float] = []
    cell.train()
    for i in range(settings.iterations):
        part = i / settings.iterations
        rate = settings.lr * max(0.01, 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (i + 1) / 50)
        optimiser.zero_grad()
        loss = imitator.section(push=min(1.0, max(0.0, 2.5 * (part - 0.1))))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent.append(float(loss.detach()))
        if not math.isfinite(recent[-1]):
            raise ValueError(f"the loss became {recent[-1]} at iteration {i}; lower the learning rate of {settings.lr}")
        if report and (i + 1) % 100 == 0:
            report(i + 1, sum(recent[-100:]) / 100)
        if any(i + 1 == round(part * settings.iterations) for part in settings.settle):
            settle_readout(cell, motion)
            if i + 1 == settings.iterations:
                settle_readout(cell, motion, within=0.05)
    cell.eval()
    cell.requires_grad_(False)
    return time.process_time() - began


def free_run(cell: LearnedCell, drives: Tensor, steps: int, state: Any = None, **options: Any) -> Unrolled:
    """Run a network under constant drives [B, 3] (left, right, limb offset) from its first state, or from `state`.

    Args:
        options: of `rnn.unroll` (edits, record ...); without any, the core's quickest path is taken.
    """
    left, right, limb = (part[:, None] for part in drives.unbind(-1))
    x = torch.cat([left, left, right, right, limb.expand(-1, 4), torch.zeros(len(drives), cell.input_size - 8)], 1)
    with torch.no_grad():
        if options or not isinstance(cell, LearnedCell):
            return unroll(cell, x.expand(steps, -1, -1), state, **options)
        xs, first = cell.encode(x).expand(steps, -1, -1), cell.initial_state(len(x)) if state is None else state
        run = unroll(cell.core, xs, first, path=cell.quick if steps >= QUICK_FROM else "auto")
        return run._replace(outputs=cell.decode(run.outputs))
