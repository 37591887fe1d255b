"""Find the rate network's numbers: segment, chain, limbs, projection of the limbs on the body.

    python scripts/tune_rate.py --out rnn/cpg/rate.json

Question: do half-centres with adaptation walk and swim under one drive? Neuron, adaptation and muscle cell keep the
form of the published zebrafish exercise (rho 0.5, muscle time constants 5 and 20 ms); the search starts from a segment
that alternates at 3 Hz, found by a small grid over adaptation and reciprocal inhibition; drive gains, adaptation and
weights are searched by CMA-ES against the newt's frequencies and lags, stage by stage as for the leaky network. What
was set by hand afterwards is said in the stored file's `note`. About 15 minutes on one core; prints each stage's loss
(0: every target met).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from rnn.cpg.rate import RateCell
from rnn.cpg.search import (
    Knob,
    Parameters,
    Stage,
    Trial,
    chain_loss,
    evolve_stages,
    limbs_loss,
    polish_loss,
    projection_loss,
    segment_loss,
)


@dataclass
class Args:
    """Options of the search."""

    out: Path = Path("rnn/cpg/rate.json")
    """where the numbers are stored"""
    start: Path | None = None
    """numbers to start from instead of the plain guesses"""
    stages: tuple[str, ...] = ("segment", "chain", "limbs", "projection")
    """which stages to run"""
    generations: int = 50
    """generations per stage, at most"""
    population: int = 16
    """candidates per generation"""
    seed: int = 1
    """seed of the search"""


LINKS = (
    ("R", "R", "ipsilateral", 0.2), ("R", "R", "ipsilateral", -0.1), ("R", "R", "contralateral", -4.0),
    ("R", "M", "ipsilateral", 3.0), ("R", "M", "contralateral", -3.0), ("R", "D", "ipsilateral", 2.0),
    ("D", "R", "ipsilateral", 2.0),
)  # fmt: skip
ROLES = ("protractor", "depressor", "retractor", "elevator")


def guess() -> Parameters:
    """Where the search starts: the published adaptation, inhibition across with the longer reach towards the tail."""
    return {
        "classes": ["R", "D", "M"],
        "tau": {"R": 0.01, "D": 0.05, "M": 0.01},
        "rho": 0.5,
        "gain": {"R": 1.0, "D": 0.0, "M": 1.0},
        "bias": {"R": 6.0, "D": 0.0, "M": -2.0},
        "tau_a": {"R": 1.1, "D": 0.3, "M": 0.3},
        "fatigue": {"R": 20.0, "D": 0.0, "M": 1.0},
        "haste": {"R": 0.667, "D": 0.0, "M": 0.0},
        "muscle": {"gain": 0.1, "tau_up": 0.005, "tau_down": 0.02},
        "links": [[a, b, across, weight, 0.0, float(a == "D"), float(a != "D")] for a, b, across, weight in LINKS],
        "extent": [1, 2],
        "ring": {
            "tau": 0.01, "gain": 1.0, "bias": 6.0, "tau_a": 2.0, "haste": 1.5, "fatigue": 20.0, "opposite": 4.0,
            "next": 2.0, "gate": 40.0, "contralateral": 0.5, "ipsilateral": 0.5,
        },
        "gate": {"tau": 0.01, "gain": 40.0, "bias": -124.0, "tau_a": 0.1},
        "relay": {"threshold": 0.9, "slope": 60.0, "silence": 50.0, "saturation": 4.7},
        "to_body": [[role, "R", across, 0.0] for role in ROLES for across in ("ipsilateral", "contralateral")],
        "output": {"body": 1.0, "limb": 1.0, "limb_tau": 0.1},
    }  # fmt: skip


def segment_knobs(p: Parameters) -> list[Knob]:
    knobs = [Knob(("gain", "R"), 0.8, 8.0, log=True), Knob(("bias", "R"), -5.0, 8.0)]
    knobs += [
        Knob(("tau_a", "R"), 0.3, 3.0, log=True),
        Knob(("fatigue", "R"), 5.0, 50.0, log=True),
        Knob(("haste", "R"), 0, 3),
    ]
    knobs += [Knob(("links", 0, 3), 0.0, 1.5), Knob(("links", 2, 3), 2.0, 12.0, log=True, sign=-1.0)]
    knobs += [Knob(("gain", "M"), 0.1, 5.0, log=True), Knob(("bias", "M"), -15.0, 3.0)]
    knobs += [Knob(("links", 3, 3), 0.5, 12.0, log=True), Knob(("links", 4, 3), 0.2, 12.0, log=True, sign=-1.0)]
    return [*knobs, Knob(("muscle", "gain"), 0.01, 0.5, log=True)]


def chain_knobs(p: Parameters) -> list[Knob]:
    """Reach of the inhibition across and of D, the strength and slowness of D, and the segment's numbers again."""
    reach = [Knob(("links", i, k), 0.0, 1.5) for i in (2, 6) for k in (4, 5)]
    reach += [Knob(("links", i, 3), 0.3, 8.0, log=True) for i in (5, 6)] + [Knob(("tau", "D"), 0.02, 0.15, log=True)]
    return [*reach, Knob(("gain", "D"), 0.0, 1.0), Knob(("bias", "D"), -3.0, 1.0), *segment_knobs(p)]


def limb_knobs(p: Parameters) -> list[Knob]:
    knobs = [Knob(("ring", "gain"), 0.5, 8.0, log=True), Knob(("ring", "bias"), -5.0, 10.0)]
    knobs += [
        Knob(("ring", "tau_a"), 0.3, 6.0, log=True),
        Knob(("ring", "fatigue"), 5.0, 50.0, log=True),
        Knob(("ring", "haste"), 0, 3),
    ]
    knobs += [Knob(("ring", name), 1.0, 12.0, log=True) for name in ("opposite", "next")]
    return knobs + [Knob(("ring", name), 0.05, 5.0, log=True) for name in ("contralateral", "ipsilateral")]


def projection_knobs(p: Parameters) -> list[Knob]:
    return [Knob(("to_body", i, 3), -15.0, 15.0) for i in range(len(p["to_body"]))]


def polish_knobs(p: Parameters) -> list[Knob]:
    return [*chain_knobs(p), *limb_knobs(p), *projection_knobs(p)]


STAGES: dict[str, Stage] = {
    "segment": (segment_knobs, segment_loss),
    "chain": (chain_knobs, chain_loss),
    "limbs": (limb_knobs, limbs_loss),
    "projection": (projection_knobs, projection_loss),
    "polish": (polish_knobs, polish_loss),
}
TRIAL = Trial(RateCell, ("weight", "gain", "bias", "tau_a", "fatigue", "haste", "muscle_gain", "tau"))


def main(args: Args) -> Parameters:
    """Run the stages in turn and store the numbers after each."""
    torch.set_num_threads(1)
    numbers = {"generations": args.generations, "population": args.population, "seed": args.seed}
    options = " ".join(f"--{name} {value}" for name, value in reversed(numbers.items()))

    def store(parameters: Parameters) -> None:
        parameters["command"] = f"python scripts/tune_rate.py {options}"
        args.out.write_text(json.dumps(parameters, indent=1) + "\n")

    start = json.loads(args.start.read_text()) if args.start else guess()
    return evolve_stages(start, {name: STAGES[name] for name in args.stages}, TRIAL, store=store, **numbers)


if __name__ == "__main__":
    main(tyro.cli(Args))
