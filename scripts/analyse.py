"""How does this network work? One illustrated report of every analysis, for a learned network or a pattern generator.

    python scripts/analyse.py --policy phase --out runs/analyse/phase        # a built-in pattern generator
    python scripts/analyse.py --policy zoo/NAME --out runs/analyse/NAME      # a learned network
    python scripts/analyse.py --policy phase --clamp 'limb.*=0' --out ...    # with neurons held

Writes report.html (all figures inside it), numbers.json, and the figures as PNG. Takes one to five minutes on one
core. A network without a rhythm is analysed all the same; the report says which analyses do not apply, and why.

What to look at: whether every push fades (multipliers below 1), at which drive the rhythm begins, which units carry
phase, side and drive, and how far back the output looks.
"""

from __future__ import annotations

import copy
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from agents.controller import CONTROLLERS, make_controller
from agents.opened_dynamics import Subject, exponents, gaits, overview, rest, rhythm
from agents.opened_units import likeness, memory, relevance, stiffness, units
from agents.schedule import Schedule
from rnn import parse_edit
from rnn.analysis.limit_cycles import NoRhythm
from rnn.analysis.report import Section, draw, page
from rnn.cell import Cell


@dataclass(frozen=True)
class Args:
    """Open a network; see the top of this file."""

    policy: str = "phase"
    """A pattern generator (phase, leaky, rate), zoo/NAME, or the folder of a run."""
    out: Path = Path("runs/analyse")
    """Folder for the report."""
    drives: tuple[float, ...] = (2.0, 4.0)
    """Drives that are looked at closely; 1 to 3 walks, 3 to 5 swims."""
    clamp: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Units held throughout, ADDRESS=VALUE."""
    steps: int = 400
    """Steps of the runs that are looked at, after they have settled."""


def main(args: Args) -> dict[str, Any]:
    """Load, analyse, write."""
    network = load(args)
    args.out.mkdir(parents=True, exist_ok=True)
    sections, numbers = [], {}
    for analysis in ANALYSES:
        begin = time.perf_counter()
        for section in attempt(analysis, network):
            images = [draw(section, name, result, args.out) for name, result in section.figures.items()]
            sections.append((section, images))
            numbers[section.title] = section.numbers
        print(f"{analysis.__name__:14} {time.perf_counter() - begin:6.1f} s")
    (args.out / "numbers.json").write_text(json.dumps(numbers, indent=1, default=str))
    (args.out / "report.html").write_text(page(network.name, sections), encoding="utf-8")
    print(f"wrote {args.out / 'report.html'}")
    return numbers


def load(args: Args) -> Subject:
    """The network by name.

    Raises:
        ValueError: there is no such policy, or a drive or step count that cannot be used.
    """
    if not args.drives or args.steps < 100:
        raise ValueError(f"at least one drive and 100 steps are needed, received {args.drives} and {args.steps}")
    if args.policy in CONTROLLERS:
        cell: Cell = make_controller(args.policy, Schedule.constant(4.0)).cell
    else:
        from agents.policy_zoo import load_policy

        cell, card = load_policy(args.policy)
        cell = copy.deepcopy(cell)
        cell.dt = float(card["dt"])
    edits = tuple(parse_edit(text, float(getattr(cell, "dt", 1.0))) for text in args.clamp)
    return Subject(args.policy, cell.eval(), tuple(args.drives), edits, args.steps)


def attempt(analysis: Callable[[Subject], Iterator[Section]], network: Subject) -> Iterator[Section]:
    """Run one analysis; if it cannot be done, say why and go on with the others."""
    try:
        yield from analysis(network)
    except (NoRhythm, FloatingPointError, ValueError) as why:
        yield Section(analysis.__name__.replace("_", " "), f"Not done: {why}")
    except Exception as error:  # one broken analysis must not take the others with it
        traceback.print_exc()
        yield Section(analysis.__name__.replace("_", " "), f"Failed: {type(error).__name__}: {error}")


ANALYSES = (overview, gaits, rhythm, rest, exponents, units, memory, relevance, stiffness, likeness)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
