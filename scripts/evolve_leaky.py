"""Find the leaky-integrator network's numbers: segment, chain, limbs, projection of the limbs on the body.

    python scripts/evolve_leaky.py --out rnn/cpg/leaky.json

Question: can a network of plain leaky integrators walk and swim under one drive? The weights of the network of 2001
were never published, so they are searched anew in the paper's order, each stage with the earlier ones fixed: (1) one
segment oscillates at the animal's frequencies, (2) the chain carries one wave, (3) the limb centres step, in trot,
below drive 3 only, (4) their projection turns the wave into a standing one. CMA-ES; candidates are rows of a batch.
`tune_on_body.py` goes on from there on the simulated animal; what was set by hand the file's `note` says. A further
stage, "polish", searches the whole animal's biases and gains together; the stored numbers do without. About 20 minutes
on one core; prints each stage's loss (0: every target met).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from rnn.cpg.leaky import LeakyCell
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

    out: Path = Path("rnn/cpg/leaky.json")
    """where the numbers are stored"""
    start: Path | None = None
    """numbers to start from instead of the plain guesses"""
    stages: tuple[str, ...] = ("segment", "chain", "limbs", "projection")
    """which stages to run"""
    generations: int = 200
    """generations per stage, at most"""
    population: int = 40
    """candidates per generation"""
    seed: int = 1
    """seed of the search"""


LINKS = (
    ("A", "A", "ipsilateral"), ("A", "B", "ipsilateral"), ("A", "C", "ipsilateral"), ("A", "M", "ipsilateral"),
    ("C", "A", "ipsilateral"), ("C", "B", "ipsilateral"), ("C", "M", "ipsilateral"),
    ("B", "A", "contralateral"), ("B", "B", "contralateral"), ("B", "C", "contralateral"), ("B", "M", "contralateral"),
)  # fmt: skip
ROLES = ("protractor", "depressor", "retractor", "elevator")


def guess() -> Parameters:
    """Where the search starts: a lamprey-like circuit, A exciting, B inhibiting across, C inhibiting its own side."""
    weight = {"A": 6.0, "B": -6.0, "C": -6.0}
    return {
        "classes": ["A", "B", "C", "M"],
        "slope": 1.0,
        "tau": {"A": 0.05, "B": 0.05, "C": 0.1, "M": 0.03},
        "bias": dict.fromkeys("ABCM", -3.0),
        "gain": dict.fromkeys("ABCM", 0.5),
        "links": [[*link, weight[link[0]], 0.0, 0.0] for link in LINKS],
        "extent": [1, 2],
        "ring": {
            "tau": 0.2, "bias": -2.0, "gain": 2.0, "opposite": 6.0, "previous": 6.0, "gate": 20.0,
            "contralateral": 1.0, "ipsilateral": 1.0,
        },
        "gate": {"tau": 0.05, "bias": -3.15, "gain": 1.0, "slope": 30.0},
        "relay": {"threshold": 0.9, "slope": 60.0, "silence": 25.0, "saturation": 4.7},
        "to_body": [[role, receiver, "ipsilateral", 0.0] for role in ROLES for receiver in "ABC"],
        "output": {"body": 1.0, "limb": 1.0},
    }  # fmt: skip


def segment_knobs(p: Parameters) -> list[Knob]:
    knobs = [Knob(("tau", c), 0.02, 0.3, log=True) for c in "ABCM"]
    knobs += [Knob(("bias", c), -8.0, 1.0) for c in "ABCM"] + [Knob(("gain", c), 0.0, 2.0) for c in "ABCM"]
    return knobs + [Knob(("links", i, 3), 0.3, 15.0, True, -1.0 if k[0] in "BC" else 1.0) for i, k in enumerate(LINKS)]


def chain_knobs(p: Parameters) -> list[Knob]:
    reach = [Knob(("links", i, k), 0.0, 1.5) for i in range(len(LINKS)) for k in (4, 5)]
    return reach + [Knob(("bias", c), -8.0, 1.0) for c in "ABCM"] + [Knob(("gain", c), 0.0, 2.0) for c in "ABCM"]


def limb_knobs(p: Parameters) -> list[Knob]:
    ring = [Knob(("ring", "tau"), 0.05, 0.5, log=True), Knob(("ring", "bias"), -6, 1), Knob(("ring", "gain"), 0.2, 6)]
    ring += [Knob(("ring", name), 1.0, 30.0, log=True) for name in ("opposite", "previous")]
    return ring + [Knob(("ring", name), 0.1, 10.0, log=True) for name in ("contralateral", "ipsilateral")]


def projection_knobs(p: Parameters) -> list[Knob]:
    return [Knob(("to_body", i, 3), -15.0, 15.0) for i in range(len(p["to_body"]))]


def polish_knobs(p: Parameters) -> list[Knob]:
    knobs = [Knob(("bias", c), -9.0, 2.0) for c in "ABCM"] + [Knob(("gain", c), 0.0, 2.5) for c in "ABCM"]
    knobs += [Knob(("links", i, 3), 0.1, 25.0, True, -1.0 if k[0] in "BC" else 1.0) for i, k in enumerate(LINKS)]
    return [*knobs, Knob(("ring", "bias"), -8.0, 1.0), *limb_knobs(p)[2:3], *projection_knobs(p)]


STAGES: dict[str, Stage] = {
    "segment": (segment_knobs, segment_loss),
    "chain": (chain_knobs, chain_loss),
    "limbs": (limb_knobs, limbs_loss),
    "projection": (projection_knobs, projection_loss),
    "polish": (polish_knobs, polish_loss),
}
TRIAL = Trial(LeakyCell, ("weight", "tau", "bias", "gain"))


def main(args: Args) -> Parameters:
    """Run the stages in turn and store the numbers after each."""
    torch.set_num_threads(1)
    numbers = {"generations": args.generations, "population": args.population, "seed": args.seed}
    options = " ".join(f"--{name} {value}" for name, value in reversed(numbers.items()))

    def store(parameters: Parameters) -> None:
        parameters["command"] = f"python scripts/evolve_leaky.py {options}"
        args.out.write_text(json.dumps(parameters, indent=1) + "\n")

    start = json.loads(args.start.read_text()) if args.start else guess()
    return evolve_stages(start, {name: STAGES[name] for name in args.stages}, TRIAL, store=store, **numbers)


if __name__ == "__main__":
    main(tyro.cli(Args))
