"""Film of animals that steer towards targets, from above: body, path, target, and whether it is in sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from agents.drive_task import DriveTask
from agents.evaluation import Greedy
from agents.rollout import rollout
from sim.drawn import midline
from sim.encode import Mp4Writer
from sim.ink import BRIGHT, EDIT, FAINT, FIELD, LEFT, LINE, PANEL, RIGHT, Frame, font

__all__ = ["ending", "panel", "steer_film", "watch"]

SIDE = 320  # pixels of a panel, even
ZOOM = 2  # drawn larger and reduced, for smooth lines


def watch(actor: Any, env: DriveTask, *, seed: int) -> list[dict[str, np.ndarray]]:
    """One episode of every world under a learner without exploration (or any actor), control step by control step."""
    env.trace = []
    player = Greedy(actor) if hasattr(actor, "choose") else actor
    done = np.zeros(env.num_envs, dtype=bool)
    for transition in rollout(env, player, env.limit, seed=seed):
        for moment in env.trace[-env.hold :]:
            moment["done"] = done | moment["over"]
        done = done | transition.terminated | transition.truncated
        if done.all():
            break
    moments, env.trace = env.trace, None
    return moments


def ending(moments: list[dict[str, np.ndarray]], world: int) -> int:
    """Number of the last moment of a world's first episode: where the target is reached, or before it starts anew."""
    for k, moment in enumerate(moments):
        if moment["done"][world]:
            return k if moment["over"][world] else max(k - 1, 0)
    return len(moments) - 1


def steer_film(
    moments: list[dict[str, np.ndarray]], out: Path, *, length: float, title: str, fps: float = 25.0
) -> Path:
    """Write the film of what `watch` saw, one panel per world, each held still once its episode has ended.

    Args:
        moments: control steps of 10 ms.
        out: name of the film.
        length: of the animal, m.
        title: line above the panels.
        fps: frames per second.
    """
    worlds = len(moments[0]["links"])
    across = min(worlds, 3)
    rows = -(-worlds // across)
    every = round(100 / fps)
    last = [ending(moments, k) for k in range(worlds)]
    held: list[tuple[int, np.ndarray]] = [(-1, np.zeros(0))] * worlds
    with Mp4Writer(out, SIDE * across, SIDE * rows + 32, fps) as writer:
        for now in range(0, len(moments), every):
            frame = np.full((SIDE * rows + 32, SIDE * across, 3), PANEL, np.uint8)
            frame[:32] = _line(title, SIDE * across)
            for k in range(worlds):
                shown = min(now, last[k])
                if held[k][0] != shown:
                    held[k] = shown, panel(moments[: shown + 1], k, length)
                y, x = 32 + SIDE * (k // across), SIDE * (k % across)
                frame[y : y + SIDE, x : x + SIDE] = held[k][1]
            writer.write(frame)
    return out


def panel(moments: list[dict[str, np.ndarray]], world: int, length: float) -> Frame:
    """One world at the last of some moments, centred between its start and its target."""
    now = moments[-1]
    start, target = moments[0]["links"][world].mean(0), moments[0]["target"][world]
    side = SIDE * ZOOM
    scale = side / (7.0 * length)
    place = lambda p: tuple((np.array([0.5, 0.5]) * side + (p - (start + target) / 2) * scale * [1, -1]).tolist())
    image = Image.new("RGB", (side, side), FIELD)
    pen = ImageDraw.Draw(image)
    path = np.stack([m["links"][world].mean(0) for m in moments[::10]] + [now["links"][world].mean(0)])
    pen.line([place(p) for p in path], fill=FAINT, width=3)
    (x, y), r = place(target), 0.5 * length * scale
    pen.ellipse([x - r, y - r, x + r, y + r], outline=EDIT, width=4, fill=EDIT if now["visible"][world] else None)
    left, right = now["drive"][world]
    pen.line(
        [place(p) for p in midline(now["links"][world])],
        fill=LEFT if left > right + 0.1 else RIGHT if right > left + 0.1 else BRIGHT,
        width=10,
        joint="curve",
    )
    said = "reached" if now["over"][world] else "turning left" if left > right + 0.1 else (
        "turning right" if right > left + 0.1 else "straight" if left > 0 else "stopped"
    )  # fmt: skip
    pen.text((16, 12), f"{len(moments) / 100:.1f} s  {said}", fill=BRIGHT, font=font(24))
    pen.rectangle([0, 0, side - 1, side - 1], outline=LINE, width=2)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _line(title: str, width: int) -> np.ndarray:
    image = Image.new("RGB", (width, 32), PANEL)
    ImageDraw.Draw(image).text((10, 6), title, fill=BRIGHT, font=font(16))
    return np.asarray(image)
