"""What was measured of networks that learned the newt's motion, as cards and as a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agents.reproduction import LEVELS
from agents.trials import SENSES

__all__ = ["DRIVES", "TURN", "missed_bands", "number", "table", "told"]

DRIVES = {"walk": (2.0, 1.6, 2.8), "swim": (4.0, 3.01, 3.5, 4.5, 5.0)}
"""Drives in the body; the first is where `LEVELS` judges the gait. Swimming over its whole range, 3 to 5."""
TURN = 0.6


def missed_bands(row: dict[str, Any]) -> float:
    """Bands missed by a row in its sweeps, and shares of drives at which one is missed, over both gaits and loops."""
    missed = 0.0
    for loop in ("open", "closed"):
        held, of = map(int, row[f"swim_{loop}_sweep"].split("/"))
        missed += of - held + sum(1 - number(row, f"{gait}_{loop}_in_bands_over_drives") for gait in LEVELS)
    return missed


def told(row: dict[str, Any]) -> dict[str, str]:
    """A row as the lines of a card."""
    lines = {}
    percent = lambda key: f"{100 * number(row, key):.1f} %"
    for gait in LEVELS:
        lines[f"{gait}: greatest phase error of a joint after 1,000 cycles"] = percent(f"{gait}_phase_error")
        lines[f"{gait}: greatest amplitude error of a joint"] = percent(f"{gait}_amplitude_error")
        lines[f"{gait}: angle error, rms"] = f"{number(row, f'{gait}_angle_error_deg'):.2f} degrees"
        lines[f"{gait}: frequency against the motion's"] = f"{100 * number(row, f'{gait}_hz_error'):+.1f} %"
        lines[f"{gait}: largest Floquet multiplier"] = f"{number(row, f'{gait}_multiplier'):.3f}"
        for loop in ("open", "closed"):
            part = lambda key, start=f"{gait}_{loop}_": row[start + key]
            lines[f"{gait}: in the body, {loop} loop"] = (
                f"{part('bands')} bands, {float(part('speed')):.2f} BL/s; at +-{TURN} of drive turning by "
                f"{float(part('turn')):.1f} degrees/s"
            )
        lines[f"{gait}: trials with 5 % weight noise inside all bands"] = percent(f"{gait}_weight_noise")
        lines[f"{gait}: pushes forgotten within five cycles"] = percent(f"{gait}_pushes")
    return lines


def number(row: dict[str, Any], key: str) -> float:
    """A column as a number; NaN where it is missing."""
    value = row.get(key)
    return float(value) if value not in (None, "") else math.nan


def spread(rows: list[dict[str, Any]], keys: list[str], form: str = "{:.1f}", factor: float = 1.0) -> str:
    """Median over rows and keys, with the least and the greatest."""
    values = [factor * number(row, key) for row in rows for key in keys]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "-"
    low, middle, high = (form.format(f(values)) for f in (min, np.median, max))
    return middle if low == high else f"{middle} ({low} to {high})"


def together(rows: list[dict[str, Any]], key: str) -> str:
    """Bands held, one entry if all rows agree, else how many rows hold all."""
    values = [row.get(key) or "-" for row in rows]
    if len(set(values)) == 1:
        return values[0]
    whole = sum(value.split("/")[0] == value.split("/")[-1] for value in values)
    return f"all in {whole} of {len(values)} seeds"


def table(rows: list[dict[str, Any]], hidden: int) -> str:
    """The results in Markdown: free run, body, trials."""
    cells = [name for name in dict.fromkeys(row["cell"] for row in rows) if name != "motion"]
    group = {name: [row for row in rows if row["cell"] == name] for name in cells}
    lines = [
        "# Cells that learned the newt's motion",
        "",
        f"`python benchmarks/learn_motion.py`; {hidden} units, CPU, one thread. Median over seeds (least to greatest). "
        'The motion is the recorded newt\'s spine with the limbs of the simulated animal (`Motion.load("both")`). '
        "Settings were chosen on other seeds.",
        "",
        "## Free run, 1,000 cycles: greatest error of any joint against the motion",
        "",
        "| cell | seeds | parameters | training, CPU-s | rhythm | "
        + " | ".join(f"{gait}: phase, % of a cycle | amplitude, % | rms, degrees | Hz, % | Floquet" for gait in LEVELS)
        + " |",
        "|" + "---|" * 15,
    ]
    for name, found in group.items():
        alive = [row for row in found if row["rhythm"] == "1"]
        parts = [name, str(len(found)), found[0]["parameters"], spread(found, ["train_seconds"], "{:.0f}")]
        parts.append("yes" if len(alive) == len(found) else f"{len(alive)} of {len(found)}" if alive else "none")
        for gait in LEVELS:
            parts += [
                spread(alive, [f"{gait}_phase_error"], "{:.1f}", 100),
                spread(alive, [f"{gait}_amplitude_error"], "{:.1f}", 100),
                spread(alive, [f"{gait}_angle_error_deg"], "{:.2f}"),
                spread(alive, [f"{gait}_hz_error"], "{:+.1f}", 100),
                spread(alive, [f"{gait}_multiplier"], "{:.3f}"),
            ]
        lines.append("| " + " | ".join(parts) + " |")
    lines += [
        "",
        "Floquet: largest multiplier across the cycle; below 1 a push fades in each turn by this factor.",
        "",
        "## In the body",
        "",
        "Bands of the living animal at drive 2 (land) and 4 (pool); share of the drives "
        f"{DRIVES['walk']} and {DRIVES['swim']} with all bands held; measures of the swimming sweep; turning, "
        f"degrees/s, half the difference between drives {TURN} higher on the left and on the right.",
        "",
        "| cell | loop | walk: bands | over drives | speed, BL/s | turning | swim: bands | over drives | sweep | "
        "stride, BL | turning |",
        "|" + "---|" * 11,
    ]
    reference = {"motion": [row for row in rows if row["cell"] == "motion"]}
    for name, found in {**reference, **group}.items():
        for loop in ("open",) if name == "motion" else ("open", "closed"):
            label = "the motion itself" if name == "motion" else name
            parts = [label, "played" if name == "motion" else loop, together(found, f"walk_{loop}_bands")]
            parts.append(spread(found, [f"walk_{loop}_in_bands_over_drives"], "{:.0f} %", 100))
            parts += [spread(found, [f"walk_{loop}_speed"], "{:.2f}"), spread(found, [f"walk_{loop}_turn"])]
            parts.append(together(found, f"swim_{loop}_bands"))
            parts.append(spread(found, [f"swim_{loop}_in_bands_over_drives"], "{:.0f} %", 100))
            parts += [together(found, f"swim_{loop}_sweep"), spread(found, [f"swim_{loop}_stride"], "{:.3f}")]
            lines.append("| " + " | ".join([*parts, spread(found, [f"swim_{loop}_turn"])]) + " |")
    lines += ["", *missed_lines(rows), "## What they stand", ""]
    lines += [
        "Share of trials in which every band is held, in %, walking / swimming. Senses: closed loop, one animal per "
        "trial and seed. Weights: open loop, every weight times 1 + 0.05 N(0, 1), five draws. Pushes: of all units by "
        "half their spread, 32 draws; back within five cycles. Switching: greatest error of frequency at drives 2, 4, "
        "2 in one run. Rough ground: three starting postures. Shore: walks in at drive 2, swims off at drive 4.",
        "",
        "| cell | "
        + " | ".join(SENSES)
        + " | weights 5 % | pushes | switching, % | rough ground: bands, speed | shore |",
        "|" + "---|" * (len(SENSES) + 6),
    ]
    for name, found in group.items():
        alive = [row for row in found if row["rhythm"] == "1"]
        if not alive:
            continue
        both = lambda key, alive=alive: " / ".join(
            f"{100 * np.mean([number(row, f'{gait}_{key}') for row in alive]):.0f}" for gait in LEVELS
        )
        crossed = sum(
            number(row, "shore_walked") * number(row, "shore_swam") > 0 and number(row, "shore_beyond") > 0
            for row in alive
        )
        parts = [name, *(both(sense) for sense in SENSES), both("weight_noise"), both("pushes")]
        parts.append(spread(alive, ["switch_error"], "{:.1f}", 100))
        rough = f"{100 * np.mean([number(row, 'rough_bands') for row in alive]):.0f} %"
        parts.append(f"{rough}, {spread(alive, ['rough_speed'], '{:.2f}')} BL/s")
        lines.append("| " + " | ".join([*parts, f"{crossed} of {len(alive)} cross"]) + " |")
    return "\n".join(lines) + "\n"


def missed_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Which bands were missed, by cell and seed, for the cells with a rhythm."""
    lines = []
    for row in rows:
        keys = [f"{gait}_{loop}_{kind}" for gait in LEVELS for loop in ("open", "closed") for kind in ("missed",)]
        keys += ["swim_open_sweep_missed", "swim_closed_sweep_missed"]
        told = [f"{key.replace('_missed', '').replace('_', ', ')}: {row[key]}" for key in keys if row.get(key)]
        if told and row.get("rhythm") != "0":
            lines.append(f"- {row['cell']} {row['seed']} missed: {'. '.join(told)}.")
    return [*lines, ""] if lines else []
