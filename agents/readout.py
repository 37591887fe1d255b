"""The last step of learning a motion: the readout, fitted by least squares to the network's own settled rhythm.

Training in free run compares a network with the motion under pushes, noise and an error of phase, and what is averaged
over phases comes out too small: a few per cent in the first harmonic, a quarter at a sharp peak. The rhythm itself does
not depend on the readout. So the network is left to run free under many drives, the phase of each run is read off, and
the readout is solved anew for the motion at those phases.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.learned import SEGMENTS, LearnedCell
from agents.motion import Course, Motion, gait_of
from rnn.unroll import unroll

__all__ = ["settle_readout", "settled_grid", "track_phase"]

SETTLE, WATCH = 500, 600
"""Steps of 10 ms before a run counts as settled, and steps that are read: three cycles of the slowest walk."""
NOISE = 0.002
"""Noise that each core unit is taken to carry, in its own unit (of 1 for a tanh): keeps the readout's weights small."""
STRAIGHT, RECORDED = 4.0, 60.0
"""Weight of a run straight on against a turning one, and of the runs at the drives of `agents.reproduction.LEVELS`: the
recorded cycles; elsewhere amplitudes follow the laws of the simulated animal."""
LOST = 0.06
"""A run whose phase departs by more than this from a line, cycles rms, keeps no rhythm and is left out."""
FEEL_LATE = 2
"""Steps by which the body's spine follows its targets (measured: 17 to 25 ms in the pool, 16 to 35 ms on land)."""
QUIET = 0.2
"""Error, rad, that counts as one where a joint should be still, as in `agents.imitation`."""
_STILL = math.radians(1.0)


def settled_grid() -> tuple[Tensor, Tensor, Tensor]:
    """Runs to be fitted: drives [B, 3] (left, right, limb offset), whether the spine is felt [B], weight [B]."""
    rows: list[tuple[float, float, float, bool, float]] = [(d, d, 0.0, False, STRAIGHT) for d in (0.0, 0.4, 0.8)]
    walk, swim = torch.linspace(1.1, 2.9, 10).tolist(), torch.linspace(3.02, 4.97, 10).tolist()
    for mean in (*walk, 2.0, *swim, 4.0):
        worth = RECORDED if mean in (2.0, 4.0) else STRAIGHT
        rows += [(mean, mean, 0.0, felt, worth) for felt in (False, True)]
        rows += [(mean + h, mean - h, 0.0, False, 1.0) for h in (-0.6, -0.3, 0.3, 0.6)]
    rows += [(d, d, 4.0, False, 1.0) for d in (1.5, 2.0, 2.5, 3.0)]
    grid = torch.tensor([row[:3] for row in rows])
    return grid, torch.tensor([row[3] for row in rows]), torch.tensor([row[4] for row in rows])


def track_phase(ys: Tensor, cycle: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """Phase at every step, as the line through the phases at which the motion is nearest; and what it leaves.

    Args:
        ys: joint angles [T, J]. cycle: the motion over one cycle [P, J]. weight: of the joints' squared errors [J].

    Returns:
        Phase [T], cycles; root mean square departure from the line, cycles.
    """
    errors = (cycle.square() @ weight) - 2 * (ys * weight) @ cycle.T
    nearest = errors.argmin(1).double() / len(cycle)
    turns = nearest.diff()
    unwrapped = torch.cat([nearest[:1], nearest[0] + (turns - turns.round()).cumsum(0)])
    time = torch.arange(len(ys), dtype=torch.float64)
    basis = torch.stack([time, torch.ones_like(time)], 1)
    line = basis @ torch.linalg.lstsq(basis, unwrapped[:, None]).solution[:, 0]
    return line, float((unwrapped - line).square().mean().sqrt())


class _Run(NamedTuple):
    """A settled run: core outputs with a one [T, H + 1], wanted outputs [T, 24] in units of the readout, weight [24],
    and whether it is a recorded cycle."""

    z: Tensor
    wanted: Tensor
    weight: Tensor
    recorded: bool


@torch.no_grad()
def settle_readout(cell: LearnedCell, motion: Motion, *, noise: float = NOISE, within: float | None = None) -> int:
    r"""Solve the readout for the motion on the settled runs of `settled_grid`; returns how many of them were kept.

    For joint j, over runs b and steps t, with core outputs z and weights w from the run and the joint's variance in
    its gait: `min sum_bt w_bj (W_j z_bt + b_j - q_j(phase_bt))^2 + sum_b w_bj T noise^2 |W_j - W0_j|^2`, W0 the
    readout that was trained. If less than half of the runs have a rhythm, nothing is changed.

    Args:
        noise: see `NOISE`.
        within: for each joint, give the recorded cycles more weight (up to a thousand times) until its half range there
            is right within this part; None leaves the weights as they are.
    """
    grid = settled_grid()[0]
    runs = _settled_runs(cell, motion)
    if len(runs) < len(grid) / 2:
        return len(runs)
    before = torch.cat([cell.readout.weight, cell.readout.bias[:, None]], 1).double()
    grams = torch.stack([run.z.T @ run.z for run in runs])
    moments = torch.stack([run.z.T @ run.wanted for run in runs])
    weight = torch.stack([run.weight for run in runs])
    recorded = torch.tensor([run.recorded for run in runs])
    solved, open_ = before.clone(), torch.ones(len(before), dtype=torch.bool)
    for raised in (1.0,) if within is None else (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0):
        w = torch.where(recorded[:, None], raised, 1.0) * weight[:, open_]
        gram = torch.einsum("bj,bmn->jmn", w, grams)
        moment = torch.einsum("bj,bmj->jm", w, moments[..., open_])
        ridge = w.sum(0)[:, None] * WATCH * noise**2 * torch.ones(gram.shape[-1], dtype=torch.float64)
        ridge[:, -1] = 0.0
        solved[open_] = torch.linalg.solve(gram + torch.diag_embed(ridge), moment + ridge * before[open_])
        if within is not None:
            open_ = _range_errors(runs, solved, cell.scale) > within
        if not open_.any():
            break
    cell.readout.weight.copy_(solved[:, :-1])
    cell.readout.bias.copy_(solved[:, -1])
    return len(runs)


def _settled_runs(cell: LearnedCell, motion: Motion) -> list[_Run]:
    """The runs of `settled_grid` that keep a rhythm."""
    grid, felt, worth = settled_grid()
    xs, gaits = _inputs(cell, motion, grid, felt), gait_of(*grid.unbind(1))
    warm = unroll(cell.core, cell.encode(xs[:SETTLE]), cell.initial_state(len(grid)), path=cell.quick)
    zs = unroll(cell.core, cell.encode(xs[SETTLE:]), warm.state, path=cell.quick).outputs
    ys = cell.decode(zs)
    runs = []
    for b in range(len(grid)):
        found = _target(motion, ys[:, b], grid[b], int(gaits[b]))
        if found is not None:
            target, spread = found
            z = torch.cat([zs[:, b], torch.ones(len(zs), 1)], 1).double()
            wanted = ((target - cell.centre) / cell.scale).double()
            weight = worth[b] / torch.where(spread > _STILL, spread, QUIET).square()
            runs.append(_Run(z, wanted, weight.double(), bool(worth[b] == RECORDED)))
    return runs


def _range_errors(runs: list[_Run], solved: Tensor, scale: Tensor) -> Tensor:
    """Greatest relative error of each joint's half range in the recorded cycles [24]; 0 for joints that stand still."""
    errors = torch.zeros(len(solved), dtype=torch.float64)
    for run in runs:
        if run.recorded:
            ours, wanted = ((part.amax(0) - part.amin(0)) / 2 for part in (run.z @ solved.T, run.wanted))
            moving = wanted * scale > _STILL
            errors = torch.maximum(errors, torch.where(moving, (ours / wanted - 1).abs(), 0.0))
    return errors


def _inputs(cell: LearnedCell, motion: Motion, grid: Tensor, felt: Tensor) -> Tensor:
    """Inputs [SETTLE + WATCH, B, I]; where the spine is felt, it follows the motion as the body does."""
    steps = SETTLE + WATCH
    left, right, limb = (part.expand(steps, -1) for part in grid.unbind(1))
    course, _ = motion.follow(left, right, limb, motion.start(torch.zeros(len(grid)), *grid.unbind(1)))
    spine = motion.angles(course)[..., :SEGMENTS].roll(FEEL_LATE, 0) * felt[:, None]
    drives = (part[..., None] for part in (left, left, right, right, *[limb] * 4))
    return torch.cat([*drives, -spine, spine], -1)


def _target(motion: Motion, ys: Tensor, drives: Tensor, gait: int) -> tuple[Tensor, Tensor] | None:
    """The motion [T, 24] in the phase of a run, and the joints' spread in its gait [24]; None without a rhythm."""
    mean, half = float(drives[:2].mean()), float(drives[0] - drives[1]) / 2
    weight = torch.nn.functional.one_hot(torch.tensor(gait), 3).float()
    if gait == 0:
        return motion.stand.expand(len(ys), -1), torch.zeros(len(motion.stand))
    name = ("walk", "swim")[gait - 1]
    cycle = motion.cycle(name, mean, half=half, samples=512)
    spread = motion.cycle(name, {"walk": 2.0, "swim": 4.0}[name]).std(0)
    phase, left = track_phase(ys, cycle, torch.where(spread > _STILL, 1 / spread.clamp(min=_STILL) ** 2, 0.0))
    rate = float(phase[-1] - phase[0]) / (len(ys) - 1) / 0.01
    if left > LOST or abs(rate / motion.frequency(name, mean) - 1) > 0.25:
        return None
    full = torch.ones(len(ys), 1)
    course = Course((phase % 1)[:, None].float(), weight.expand(len(ys), 1, 3), full * mean, full * half)
    return motion.angles(course)[:, 0], spread
