"""How far must the recorded limb cycle be adjusted so that this body walks as the animal does?

The recorded angles were taken from an animal with its own leg lengths and compliant feet; played on this body they
slip. This script adjusts the walking pattern of the motor layer (amplitude, offset and phase of every limb joint, the
spine's walking profile, and the phase between limb centres and spine) by CMA-ES until the gait of the simulated
animal meets the figures of the recorded one. The network, its couplings and its drive stay as they are.

    python scripts/fit_motor.py --no-resume --generations 80 --population 18     # about 10 minutes on 2 cores

Writes the best settings to agents/motor.json (`--dry-run`: only prints them) and its course to <out>/fit.csv.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import cma
import numpy as np
import torch
import tyro
from tqdm import tqdm

from agents.motor import SpinalMotor, motor_settings
from rnn import Clamp, EditPlan, resolve, unroll
from rnn.cpg import PhaseCell, drive_input
from rnn.cpg.phase import PROFILES
from sim.gait import GaitMetrics, gait_metrics
from sim.salamander import Salamander
from sim.trajectory import Trajectory

DRIVES = (1.3, 2.0, 2.8)
WALK_SPINE = np.array([5.2, 22.9, 17.5, 2.1, 18.8, 19.0, 2.3, 6.4])
"""Half ranges of the spine joints while walking, degrees (Karakasiliotis et al., 2016)."""


@dataclass(frozen=True)
class Args:
    """Fit the walking pattern; see the top of this file."""

    generations: int = 60
    """Generations of CMA-ES."""
    population: int = 14
    """Candidates in each; every candidate walks at three drives."""
    seconds: float = 5.5
    """Simulated time of each trial; the first 2 s are settling."""
    sigma: float = 0.3
    """First step size, in units of the scales below."""
    seed: int = 1
    timestep: float = 0.002
    resume: bool = True
    """Start from the stored settings instead of the bare recording."""
    dry_run: bool = False
    """Do not write agents/motor.json."""
    out: Path = Path("runs/fit_motor")


@dataclass(frozen=True)
class Pattern:
    """What is adjusted, as arrays with candidates first."""

    amplitude: np.ndarray
    offset: np.ndarray
    phase: np.ndarray
    spine: np.ndarray
    coupling: np.ndarray

    @staticmethod
    def size() -> int:
        return 8 + 8 + 8 + 8 + 2

    @classmethod
    def from_vector(cls, z: np.ndarray) -> Pattern:
        """Candidates [P, 34] in units of: amplitude 0.3, offset 12 degrees, phase 0.08 cycle, spine 30 %, 0.5 rad."""
        a, o, p, s, c = np.split(z, [8, 16, 24, 32], axis=-1)
        return cls(
            np.clip(1 + 0.3 * a, 0.1, 2.5).reshape(-1, 2, 4),
            12 * o.reshape(-1, 2, 4),
            0.08 * p.reshape(-1, 2, 4),
            np.clip(WALK_SPINE * np.exp(0.3 * s), 0.3, 40),
            0.5 * c,
        )

    @staticmethod
    def to_vector(settings: dict) -> np.ndarray:
        """The inverse of `from_vector` for stored settings."""
        return np.concatenate(
            [
                (np.ravel(settings["limb_amplitude"]) - 1) / 0.3,
                np.ravel(settings["limb_offset"]) / 12,
                np.ravel(settings["limb_phase"]) / 0.08,
                np.log(np.array(settings["spine_walk"]) / WALK_SPINE) / 0.3,
                np.array(settings["limb_to_body"]) / 0.5,
            ]
        )

    def settings(self, i: int) -> dict:
        """Settings of one candidate, rounded as stored."""
        return {
            "spine_walk": self.spine[i].round(2).tolist(),
            "limb_amplitude": self.amplitude[i].round(3).tolist(),
            "limb_offset": self.offset[i].round(2).tolist(),
            "limb_phase": self.phase[i].round(4).tolist(),
            "limb_to_body": self.coupling[i].round(4).tolist(),
        }


def batched_motor(pattern: Pattern, copies: int) -> SpinalMotor:
    """One motor layer whose settings differ from row to row."""
    motors = [SpinalMotor("phase", overrides=pattern.settings(i)) for i in range(len(pattern.spine))]
    motor = motors[0]
    motor.series = torch.stack([m.series for m in motors]).repeat_interleave(copies, 0)
    motor.walk_gain = torch.stack([m.walk_gain for m in motors]).repeat_interleave(copies, 0)
    return motor


def walk(pattern: Pattern, seconds: float, timestep: float = 0.002) -> tuple[list[GaitMetrics], np.ndarray]:
    """Let every candidate walk at every drive; gait [P x D] and least uprightness [P x D]."""
    worlds = len(pattern.spine) * len(DRIVES)
    body = Salamander(worlds, world="land", timestep=timestep)
    body.reset(pose="walk")
    cell, motor = PhaseCell(), batched_motor(pattern, len(DRIVES))
    edges = len(resolve(cell, "bias.limb_to_body")[0].units or ())  # those of the fore limbs come first
    fore = np.arange(edges) < edges // 2
    bias = np.where(fore, pattern.coupling[:, :1], pattern.coupling[:, 1:]).repeat(len(DRIVES), 0)
    plan = EditPlan(cell, (Clamp("bias.limb_to_body", bias),))
    state = cell.initial_state(worlds)
    x = drive_input(cell, torch.tensor(DRIVES).repeat(len(pattern.spine)), batch=worlds)[None]
    names = ("joint_angles", "link_positions", "foot_contact", "foot_positions", "heading", "uprightness")
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with torch.inference_mode():
        for step in range(round(seconds / body.dt)):
            run = unroll(cell, x, state, start=step, edits=plan)
            state = run.state
            body.step(motor(run.outputs[0]).numpy())
            for name in names:
                rows[name].append(getattr(body, name)())
            if body.diverged.any():
                body.reset(body.diverged.copy(), pose="walk")
    data = {name: np.stack(values) for name, values in rows.items()}
    time = body.dt * np.arange(1, len(data["heading"]) + 1)
    gaits = []
    for w in range(worlds):
        t = Trajectory(
            time, data["joint_angles"][:, w], data["link_positions"][:, w], data["foot_contact"][:, w],
            np.unwrap(data["heading"][:, w]), length=body.length, foot_positions=data["foot_positions"][:, w],
        )  # fmt: skip
        gaits.append(gait_metrics(t, start=2.0))
    return gaits, data["uprightness"].min(0)


def cost(slow: GaitMetrics, middle: GaitMetrics, fast: GaitMetrics, upright: float) -> float:
    """Distance of a candidate from the animal: 0 inside every band with a margin."""
    m = middle
    if not all(math.isfinite(v) for v in (m.trunk_tail_phase, m.slip, m.forward_speed)):
        return 50.0
    beyond = lambda value, margin, unit: max(0.0, abs(value) - margin) / unit
    amplitude = np.array(m.joint_amplitudes[:8])
    speeds = (slow.forward_speed, m.forward_speed, fast.forward_speed)
    total = 3 * max(0.0, 0.28 - m.forward_speed) / 0.1
    total += sum(beyond(d - 0.75, 0.03, 0.06) for d in m.duty)
    total += sum(0.5 * beyond(d - 0.75, 0.10, 0.06) for g in (slow, fast) for d in g.duty)
    total += beyond(m.trunk_tail_phase - 0.5, 0.015, 0.04)
    total += sum(0.5 * beyond(g.trunk_tail_phase - 0.5, 0.04, 0.04) for g in (slow, fast))
    total += sum(0.3 * max(0.0, amplitude[3] + 1.0 - amplitude[j]) for j in (0, 1, 2, 4, 5, 6, 7))
    total += 0.02 * float(np.abs(amplitude - WALK_SPINE).sum())
    total += sum(2 * max(0.0, 0.05 - (b - a)) / 0.05 for a, b in zip(speeds, speeds[1:], strict=False))
    total += 2 * m.slip + beyond(m.yaw_rate, 1.0, 5.0) + 5 * max(0.0, 0.93 - upright) / 0.1
    return total


def main(args: Args) -> dict:
    """Search, then store."""
    size = Pattern.size()
    stored = {**motor_settings("phase"), "limb_to_body": PROFILES["newt"].limb_to_body}
    origin = Pattern.to_vector(stored) if args.resume else np.zeros(size)
    search = cma.CMAEvolutionStrategy(
        origin, args.sigma, {"popsize": args.population, "seed": args.seed, "verbose": -9}
    )
    best, best_cost = origin, math.inf
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "fit.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["generation", "best_cost", "speed", "slip", "trunk_tail", "duty_min", "duty_max"])
        for generation in tqdm(range(args.generations), desc="fitting"):
            z = np.array(search.ask())
            if generation == 0:
                z[0] = origin
            gaits, upright = walk(Pattern.from_vector(z), args.seconds, args.timestep)
            costs = [
                cost(*gaits[3 * i : 3 * i + 3], float(upright[3 * i : 3 * i + 3].min()))
                + 0.02 * float((np.maximum(np.abs(z[i]) - 1.0, 0) ** 2).sum())
                for i in range(len(z))
            ]
            search.tell(list(z), costs)
            i = int(np.argmin(costs))
            if costs[i] < best_cost:
                best, best_cost = z[i].copy(), costs[i]
                m = gaits[3 * i + 1]
                duty = m.duty
                row = [generation, best_cost, m.forward_speed, m.slip, m.trunk_tail_phase, min(duty), max(duty)]
                table.writerow([round(float(v), 4) for v in row])
                file.flush()
                settings = Pattern.from_vector(best[None]).settings(0)
                (args.out / "best.json").write_text(json.dumps(settings, indent=2))
    settings = Pattern.from_vector(best[None]).settings(0)
    print(json.dumps(settings, indent=2), f"\ncost {best_cost:.3f}")
    if not args.dry_run:
        path = Path(__file__).resolve().parents[1] / "agents" / "motor.json"
        table_ = json.loads(path.read_text())
        table_["common"].update({key: value for key, value in settings.items() if key != "limb_to_body"})
        path.write_text(json.dumps(table_, indent=2) + "\n")
        print(f"written to {path}; set limb_to_body={tuple(settings['limb_to_body'])} in the newt profile of PhaseCell")
    return settings


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
