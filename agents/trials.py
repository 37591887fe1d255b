"""What a learned network stands: disturbed senses and weights, pushes, a change of gait, rough ground, the shore.

Open-loop trials play back what the network says on its own, so that many networks or pushes share one batch of bodies.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.controller import NetworkController
from agents.experiment import live, make_worlds
from agents.imitation import free_run
from agents.learned import SEGMENTS, AngleMotor, LearnedCell
from agents.motion import Motion
from agents.reproduction import LEVELS, bands_held
from agents.schedule import Schedule
from rnn.model import pack, unpack
from sim import rhythm
from sim.arena import get_world
from sim.gait import GaitMetrics, gait_metrics
from sim.trajectory import Trajectory

__all__ = [
    "SENSES",
    "Played",
    "follows",
    "play_motion",
    "pushes_forgotten",
    "rough_ground",
    "sensor_trials",
    "share_in_bands",
    "shore_crossing",
    "switches_gait",
    "weight_trials",
]

DT = 0.01
SENSES = ("intact", "noise of 3 degrees", "noise of 10 degrees", "30 ms later", "every second joint lost", "all lost")
"""What may become of the spine's angles on their way to the network."""


class Played:
    """An actor that plays joint targets [T, B, 24] from memory, whatever the bodies do."""

    def __init__(self, targets: Tensor):
        self.actions = torch.stack([AngleMotor()(q) for q in targets]).numpy()

    def initial_state(self, batch: int) -> None:
        return None

    def act(self, obs: Any, state: None, *, step: int, first: np.ndarray) -> tuple[np.ndarray, None]:
        return self.actions[step], None


def played(targets: Tensor, world: str, **options: Any) -> list[GaitMetrics]:
    """Gaits of bodies that are played joint targets [T, B, 24]; the first quarter is left out."""
    recorder = live(make_worlds(world, targets.shape[1], **options), Played(targets), len(targets) * DT, progress=None)
    return [gait_metrics(Trajectory.from_arrays(recorder.traces(i))) for i in range(targets.shape[1])]


def _senses(read: Callable[[], np.ndarray], seed: int) -> Callable[[], np.ndarray]:
    """Joint angles as the rows of `SENSES` feel them."""
    rng, past = np.random.default_rng(seed), []

    def felt() -> np.ndarray:
        angles = read().copy()
        past.append(angles.copy())
        spine = angles[:, :SEGMENTS]
        spine[1] += math.radians(3.0) * rng.standard_normal(SEGMENTS)
        spine[2] += math.radians(10.0) * rng.standard_normal(SEGMENTS)
        spine[3] = past[-4 if len(past) > 3 else 0][3, :SEGMENTS]
        spine[4, ::2] = 0.0
        spine[5] = 0.0
        return angles

    return felt


def sensor_trials(cell: LearnedCell, gait: str, *, seconds: float = 8.0, seed: int = 0) -> dict[str, GaitMetrics]:
    """Closed loop with the spine's angles disturbed in the ways of `SENSES`, one animal each."""
    drive, world = LEVELS[gait]
    env = make_worlds(world, len(SENSES))
    feedback = _senses(env.unwrapped.salamander.joint_angles, seed)
    motor: Any = AngleMotor()
    controller = NetworkController(cell, motor, [Schedule.constant(drive)] * len(SENSES), feedback=feedback)
    recorder = live(env, controller, seconds, progress=None, neurons=False)
    runs = [gait_metrics(Trajectory.from_arrays(recorder.traces(i))) for i in range(len(SENSES))]
    return dict(zip(SENSES, runs, strict=True))


def weight_trials(
    cell: LearnedCell, gait: str, *, noise: float = 0.05, draws: int = 5, seconds: float = 8.0, seed: int = 0
) -> list[GaitMetrics]:
    """Open loop with every weight of core and readout multiplied by `1 + noise N(0, 1)`, one animal per draw."""
    rng, drive = torch.Generator().manual_seed(seed), LEVELS[gait][0]
    runs = []
    for _ in range(draws):
        hurt = copy.deepcopy(cell)
        with torch.no_grad():
            for weight in hurt.parameters():
                weight.mul_(1 + noise * torch.randn(weight.shape, generator=rng))
        runs.append(free_run(hurt, torch.tensor([[drive, drive, 0.0]]), round(seconds / DT)).outputs)
    return played(torch.cat(runs, 1), LEVELS[gait][1])


@torch.no_grad()
def pushes_forgotten(
    cell: LearnedCell, motion: Motion, gait: str, *, size: float = 0.5, pushes: int = 32, seed: int = 0
) -> float:
    """Share of pushes after which the motion is back within five cycles: its angles within 10 % of the cycle.

    Each push adds N(0, size) to every entry of the state, in units of its own spread along the cycle (or of 0.1, where
    that is less). The run is compared with the unpushed cycle in the phase that fits best.
    """
    drive = LEVELS[gait][0]
    period = 1 / motion.frequency(gait, drive) / DT
    one = torch.tensor([[drive, drive, 0.0]])
    settled = free_run(cell, one, 1500)
    cycle = free_run(cell, one, math.ceil(1.2 * period), state=settled.state)
    state, spread = settled.state, []
    for _ in range(math.ceil(period)):
        state = free_run(cell, one, 1, state=state).state
        spread.append(pack(state)[0])
    scale = torch.stack(spread).std(0).clamp(min=0.1)
    rng = torch.Generator().manual_seed(seed)
    start = pack(settled.state) + size * scale * torch.randn(pushes, len(scale), generator=rng)
    run = free_run(cell, one.expand(pushes, -1), math.ceil(6 * period), state=unpack(cell.core, start))
    tail, reference = run.outputs[math.ceil(5 * period) :], cycle.outputs[:, 0]
    errors = (tail[:, :, None] - reference).square().mean(-1).amin(-1).mean(0)
    spread_of_cycle = float((reference - reference.mean(0)).square().mean())
    return float((errors.sqrt() < 0.1 * spread_of_cycle**0.5).float().mean())


def switches_gait(cell: LearnedCell, motion: Motion, *, seconds: float = 6.0) -> dict[str, float]:
    """Frequency (Hz) at drives 2, 4, 2 and rest (0.5), one after the other in one free run, each after half its time.

    Returns:
        "walk", "swim", "walk again", "rest" (0 when still), and "error": the greatest departure of the first three from
        the motion, relative.
    """
    levels = {"walk": 2.0, "swim": 4.0, "walk again": 2.0, "rest": 0.5}
    state, found = None, {}
    for name, drive in levels.items():
        run = free_run(cell, torch.tensor([[drive, drive, 0.0]]), round(seconds / DT), state=state)
        state = run.state
        angles = run.outputs[len(run.outputs) // 2 :, 0].double().numpy()
        found[name] = rhythm.fundamental_frequency(angles, DT)
    wanted = {name: motion.frequency(name.split()[0], levels[name]) for name in ("walk", "swim", "walk again")}
    found["error"] = max(abs(found[name] / hertz - 1) for name, hertz in wanted.items())
    return found


def rough_ground(cell: LearnedCell, *, animals: int = 3, seconds: float = 8.0) -> list[GaitMetrics]:
    """Walking at drive 2 over rough ground, each animal from a heading and posture of its own (0.1 rad of noise)."""
    drive = LEVELS["walk"][0]
    run = free_run(cell, torch.tensor([[drive, drive, 0.0]]), round(seconds / DT))
    return played(run.outputs.expand(-1, animals, -1), "rough", reset_noise=0.1)


def shore_crossing(cell: LearnedCell, *, walk: float = 8.0, swim: float = 8.0) -> dict[str, float]:
    """Walk down the beach at drive 2, then swim at drive 4.

    Returns:
        "advance" (BL, from where it began), "beyond" (BL past the water's edge at the end), "walking" and "swimming"
        (speed forwards, BL/s, in the second half of each part), "walked" and "swam" (1 if the gait was that).
    """
    drives = torch.tensor([[2.0, 2.0, 0.0]]), torch.tensor([[4.0, 4.0, 0.0]])
    first = free_run(cell, drives[0], round(walk / DT))
    second = free_run(cell, drives[1], round(swim / DT), state=first.state)
    env = make_worlds("shore")
    body = env.unwrapped.salamander
    recorder = live(env, Played(torch.cat([first.outputs, second.outputs])), walk + swim, progress=None)
    trajectory = Trajectory.from_arrays(recorder.traces())
    ashore, afloat = (
        gait_metrics(trajectory, start=a, stop=b) for a, b in ((walk / 2, walk), (walk + swim / 2, walk + swim))
    )
    where = trajectory.centre()[:, 0] / body.length
    return {
        "advance": float(where[-1] - where[0]),
        "beyond": float(where[-1] - get_world("shore").waterline),
        "walking": ashore.forward_speed,
        "swimming": afloat.forward_speed,
        "walked": float(ashore.gait == "walk"),
        "swam": float(afloat.gait == "swim"),
    }


def share_in_bands(runs: Sequence[GaitMetrics], gait: str) -> float:
    """Share of runs inside every band of the living animal."""
    return float(np.mean([not bands_held(run, gait)[2] for run in runs]))


def play_motion(
    motion: Motion, world: str, drives: Sequence[tuple[float, float]], *, seconds: float = 8.0
) -> list[GaitMetrics]:
    """Gaits of bodies that are played the motion itself, one per pair of drives (left, right)."""
    return played(_asked(motion, drives, seconds), world)


def _asked(motion: Motion, drives: Sequence[tuple[float, float]], seconds: float) -> Tensor:
    left, right, limb = torch.tensor([(left, right, 0.0) for left, right in drives]).unbind(1)
    state = motion.start(torch.zeros(len(drives)), left, right, limb)
    long = (round(seconds / DT), len(drives))
    return motion.angles(motion.follow(left.expand(long), right.expand(long), limb.expand(long), state)[0])


def follows(motion: Motion, gait: str, *, seconds: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """How the body follows the motion itself: lag [24] (cycles) and gain [24] of each joint's fundamental.

    Joints that are told to move by less than a degree read NaN.
    """
    drive, world = LEVELS[gait]
    targets = _asked(motion, [(drive, drive)], seconds)
    recorder = live(make_worlds(world), Played(targets), seconds, progress=None)
    skip = len(targets) // 4
    moved = recorder.traces()["joint_angles"][skip:].astype(float)
    asked = targets[skip:, 0].double().numpy()
    turns = motion.frequency(gait, drive) * DT * np.arange(len(asked))
    wave = np.exp(-2j * math.pi * turns) * np.hanning(len(turns))
    ours, theirs = (wave @ (part - part.mean(0)) for part in (moved, asked))
    still = np.ptp(asked, axis=0) / 2 < math.radians(1.0)
    ratio = np.where(still, np.nan, ours / np.where(still, 1.0, theirs))
    return -np.angle(ratio) / (2 * math.pi), np.abs(ratio)
