"""One figure of the lectures: computed, printed, stored as a table, and drawn from the table.

    python scripts/lecture.py --list
    python scripts/lecture.py H2                    # writes lectures/H2.csv and lectures/H2.png, prints the numbers
    python scripts/lecture.py H2 --redraw           # draws again from lectures/H2.csv, computing nothing
    python scripts/lecture.py all --out lectures    # all of them; a few minutes on one core

Each figure takes from a second to a minute on a laptop's processor.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import lecture_figures  # noqa: E402 (it lies in the folder that was just added)
from lecture_figures.page import Figure, Table  # noqa: E402 (the same)


@dataclass(frozen=True)
class Args:
    """Which figure, and where to."""

    id: Annotated[str, tyro.conf.Positional] = ""
    """The figure, for example H2; `all` for all of them."""
    list: bool = False
    """List the figures and end."""
    redraw: bool = False
    """Draw from the stored table."""
    out: Path = Path("lectures")
    """Folder for tables and drawings."""
    seed: int = 0
    """Seed of whatever is random."""


def figures() -> dict[str, Figure]:
    """All figures by their id, in order."""
    found: dict[str, Figure] = {}
    for module in pkgutil.iter_modules(lecture_figures.__path__):
        listed = getattr(importlib.import_module(f"lecture_figures.{module.name}"), "FIGURES", ())
        found |= {figure.id: figure for figure in listed}
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))


def make(figure: Figure, args: Args) -> Table:
    """Compute or load the table, store and print it, and draw it."""
    args.out.mkdir(parents=True, exist_ok=True)
    table_path = args.out / f"{figure.id}.csv"
    if args.redraw:
        if not table_path.exists():
            raise FileNotFoundError(f"there is no {table_path} to draw from; run once without --redraw")
        table = Table.load(table_path)
    else:
        torch.manual_seed(args.seed)
        begin = time.perf_counter()
        table = figure.compute()
        print(f"{figure.id} ({figure.deck}): {figure.title}  [{time.perf_counter() - begin:.1f} s]")
        table.save(table_path)
    for name, value in table.numbers.items():
        print(f"  {name} = {value:.6g}")
    drawing = figure.draw(table)
    drawing.savefig(args.out / f"{figure.id}.png", dpi=150)
    return table


def main(args: Args) -> dict[str, Table]:
    known = figures()
    if args.list or not args.id:
        for figure in known.values():
            print(f"{figure.id:4} {figure.deck:12} {figure.title}")
        return {}
    if args.id != "all" and args.id not in known:
        raise SystemExit(f"there is no figure {args.id!r}; --list shows them: {', '.join(known)}")
    chosen = list(known.values()) if args.id == "all" else [known[args.id]]
    return {figure.id: make(figure, args) for figure in chosen}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
