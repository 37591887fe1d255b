"""Trained networks on disk: weights as safetensors, settings as JSON, and a card that says what was measured."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.learned import LearnedCell, make_core
from rnn.checkpoint import load_checkpoint, load_weights, save_checkpoint, write_atomically
from sim.anatomy import JOINT_NAMES

__all__ = ["ZOO", "find_policy", "load_policy", "policies", "save_policy"]

ZOO = Path(__file__).resolve().parents[1] / "zoo"
"""Where the networks that come with the library are."""
WEIGHTS, CONFIG, CARD = "network.safetensors", "config.json", "README.md"
KIND = "learned motion"


def save_policy(folder: str | os.PathLike[str], cell: LearnedCell, config: Mapping[str, Any]) -> Path:
    """Write a trained network: `network.safetensors`, `config.json` and the card `README.md`.

    Args:
        folder: where; its name is the network's name.
        cell: the network.
        config: "cell" and "hidden" (how to build the core), "data", "dt", and what else the card shall say: "measured"
            (name to number), "training" (settings), "seconds".
    """
    folder = Path(folder)
    full = {"kind": KIND, "name": folder.name, "joints": list(JOINT_NAMES), **config}
    full["parameters"] = sum(p.numel() for p in cell.parameters())
    save_checkpoint(folder / WEIGHTS, cell.state_dict(), full)
    write_atomically(folder / CONFIG, (json.dumps(full, indent=1) + "\n").encode())
    write_atomically(folder / CARD, card_text(full).encode())
    return folder


def policies() -> list[str]:
    """Names in the zoo."""
    return sorted(path.parent.name for path in ZOO.glob(f"*/{WEIGHTS}"))


def find_policy(policy: str | os.PathLike[str]) -> Path:
    """The folder of a trained network: a path, or `zoo/NAME`, or NAME.

    Raises:
        ValueError: there is none; near matches are listed.
    """
    name = Path(policy).name
    for folder in (Path(policy), ZOO / name):
        if (folder / WEIGHTS).is_file():
            return folder
    known = policies()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join('zoo/' + n for n in near)}? " if near else ""
    raise ValueError(
        f"there is no trained network {str(policy)!r}; {hint}"
        f"the zoo has {', '.join(known) or 'none'}; scripts/learn_motion.py trains one into a folder"
    )


def load_policy(policy: str | os.PathLike[str]) -> tuple[LearnedCell, dict[str, Any]]:
    """A trained network, ready to run, and its configuration.

    Raises:
        ValueError: no such policy, a damaged one, or one for another body.
    """
    folder = find_policy(policy)
    tensors, config = load_checkpoint(folder / WEIGHTS, KIND)
    joints = config.get("joints", [])
    if joints != list(JOINT_NAMES):
        odd = sorted(set(joints) ^ set(JOINT_NAMES))[:4]
        raise ValueError(
            f"{folder.name} was trained for another body: it moves {len(joints)} joints, this one has "
            f"{len(JOINT_NAMES)}{' (not shared: ' + ', '.join(odd) + ')' if odd else ', in another order'}; "
            "train one for this body with scripts/learn_motion.py"
        )
    core = make_core(config["cell"], config["hidden"], **config.get("settings", {}))
    cell = LearnedCell(core)
    load_weights(cell, tensors, folder.name)
    return cell.eval().requires_grad_(False), {**config, "name": folder.name}


def card_text(config: Mapping[str, Any]) -> str:
    """The card of a network, in Markdown.

    >>> print(card_text({"name": "a", "cell": "gru", "hidden": 8, "parameters": 9, "data": "both", "dt": 0.01})[:3])
    # a
    """
    sources = {
        "both": "the recorded newt's spine in both gaits; the limbs of the simulated animal under its phase network",
        "recorded": "the recorded newt's joint cycles in both gaits",
        "simulated": "the joint targets that the phase network commands the simulated animal with",
    }
    name = config["name"]
    lines = [
        f"# {name}",
        "",
        f"A {config['cell']} network of {config['hidden']} units ({config['parameters']} parameters) that learned the "
        "motion of the newt, swimming and walking, and runs free.",
        "",
        "```",
        f"python scripts/locomotion.py --policy zoo/{name} --world pool --drive 4",
        f"python scripts/locomotion.py --policy zoo/{name} --world land --drive 2",
        f"python scripts/clamp_atlas.py --policy zoo/{name}",
        "```",
        "",
        f"- Learned from: {sources.get(config['data'], config['data'])}. Frequency, amplitude over drive and "
        "turning are those of the simulated animal; on land it is taught to turn more sharply (`agents/motion.py`).",
        "- Recording: Pleurodeles waltl (Karakasiliotis et al., 2016); Fourier table in `sim/reference_cycles.json`.",
        "- Inputs: drive of both sides (1 to 3 walks, 3 to 5 swims), offset of the limbs' drive, stretch of the spine "
        f"(zero in open loop). Outputs: 24 joint targets every {config['dt']} s.",
    ]
    if "training" in config:
        settings = ", ".join(f"{key} {value}" for key, value in config["training"].items())
        lines.append(f"- Training: {settings}; {config.get('seconds', float('nan')):.0f} CPU seconds.")
    if config.get("measured"):
        lines += ["", "| measured | |", "|---|---|"]
        lines += [f"| {key} | {_told(value)} |" for key, value in config["measured"].items()]
    if config.get("limits"):
        lines += ["", *[f"- {limit}" for limit in config["limits"]]]
    return "\n".join(lines) + "\n"


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
