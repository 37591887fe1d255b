"""What a film needs from a run's traces: checked, put in order, and readable at any moment."""

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

__all__ = ["Footage", "Intervention", "UnitGroup", "describe_edit", "group_units"]

Array = NDArray[Any]
OPTIONAL = ("foot_contact", "foot_positions", "heading", "neurons", "drive", "clamped", "qpos", "submerged")


@dataclass(frozen=True)
class Intervention:
    """One edit of the network: what it says on screen, and from when to when it acts, in seconds."""

    label: str
    start: float
    stop: float


@dataclass(frozen=True)
class UnitGroup:
    """Units drawn together: a label, the side it belongs to ("left", "right" or ""), and columns of `neurons`."""

    label: str
    side: str
    units: tuple[int, ...]


def describe_edit(edit: Mapping[str, Any]) -> str:
    """What an edit does, short enough for a caption.

    >>> describe_edit({"kind": "clamp", "address": "drive.left", "value": 4.6})
    'clamp drive.left = 4.6'
    >>> describe_edit({"kind": "Lesion", "address": "limb.*"})
    'lesion limb.*'
    """
    kind, address = str(edit.get("kind", "edit")).lower(), str(edit.get("address", ""))
    value = next((edit[key] for key in ("value", "factor", "scale", "std") if edit.get(key) is not None), None)
    if kind == "lesion" or value is None:
        return f"{kind} {address}".strip()
    sign = {"scale": "\u00d7", "noise": "\u00b1", "add": "+"}.get(kind, "=")
    numbers = np.asarray(value, dtype=object).ravel()
    amount = f"{float(numbers[0]):.4g}" if len(numbers) == 1 else f"[{len(numbers)} values]"
    return f"{kind} {address} {sign} {amount}"


def group_units(names: list[str]) -> list[UnitGroup]:
    """Group units by the stem of their name: axial units by side, all limb units together, all drives together.

    >>> [(g.label, g.units) for g in group_units(["body.left[0]", "body.right[0]", "body.left[1]", "limb.fore.left"])]
    [('body left', (0, 2)), ('body right', (1,)), ('limbs', (3,))]
    """
    stems = [re.sub(r"\[.*?\]|\.\d+\b", "", name) for name in names]
    whole = {"limb": "limbs", "drive": "drive"}
    keys = [whole.get(stem.split(".")[0], stem) for stem in stems]
    for shorten in (lambda key: ".".join(key.split(".")[:2]), lambda key: key.split(".")[0]):
        if len(set(keys)) > 6:
            keys = [shorten(key) for key in keys]
    groups = []
    for key in dict.fromkeys(keys):
        words = key.split(".")
        side = next((word for word in words if word in ("left", "right")), "")
        groups.append(UnitGroup(" ".join(words), side, tuple(i for i, k in enumerate(keys) if k == key)))
    return groups


@dataclass(frozen=True)
class Footage:
    """A run, ready to be filmed: T samples `dt` seconds apart; lengths in metres, angles in radians.

    `link_positions [T, 9, 3]` head first; `foot_contact [T, 4]`, `foot_positions [T, 4, 3]` in the order fore left,
    fore right, hind left, hind right; `drive [T, 4]` left fore, left hind, right fore, right hind; `neurons [T, U]`;
    `clamped [T, U]`; `submerged [T, 9]` fractions; `qpos [T, nq]`. What a run did not record is None.
    """

    time: Array
    link_positions: Array
    heading: Array
    foot_contact: Array | None
    foot_positions: Array | None
    neurons: Array
    neuron_names: tuple[str, ...]
    drive: Array | None
    clamped: Array
    qpos: Array | None
    submerged: Array | None
    interventions: tuple[Intervention, ...]
    world: str
    controller: str
    length: float
    dt: float

    @classmethod
    def load(cls, traces: Mapping[str, Any] | str | Path) -> "Footage":
        """Read traces from a mapping, an .npz file, or a run folder that holds `traces.npz`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no such archive, `time` or `link_positions` is missing, or an array does not have
                one row per time.
        """
        if not isinstance(traces, Mapping):
            path = Path(traces)
            path = path / "traces.npz" if path.is_dir() else path
            if not path.is_file():
                raise FileNotFoundError(f"no traces at {path}; pass a traces.npz, or a run folder that holds one")
            traces = _read(path)
        return cls._from_mapping(traces)

    @classmethod
    def _from_mapping(cls, traces: Mapping[str, Any]) -> "Footage":
        for key in ("time", "link_positions"):
            if key not in traces:
                raise ValueError(f"a film needs `{key}`, the traces hold {sorted(traces)}; record it in the rollout")
        time = np.asarray(traces["time"], float)
        T = len(time)
        if T < 2 or not np.isfinite(time).all() or not (np.diff(time) > 0).all():
            raise ValueError(f"`time` must hold two or more rising, finite moments, received {T} values {time[:3]}...")
        given = {key: _rows(traces[key], key, T) for key in ("link_positions", *OPTIONAL) if key in traces}
        links = _hold(given["link_positions"].astype(float))
        dt = float(np.median(np.diff(time)))
        names, neurons = _units(traces, given.get("neurons"), T)
        clamped = given.get("clamped")
        clamped = np.zeros(neurons.shape, bool) if clamped is None or clamped.shape != neurons.shape else clamped
        trunk = links[:, 0] - links[:, min(3, links.shape[1] - 1)]
        heading = given.get("heading")
        return cls(
            time=time,
            link_positions=links,
            heading=np.unwrap(np.arctan2(trunk[:, 1], trunk[:, 0])) if heading is None else np.unwrap(_hold(heading)),
            foot_contact=given.get("foot_contact"),
            foot_positions=given.get("foot_positions"),
            neurons=neurons,
            neuron_names=names,
            drive=given.get("drive"),
            clamped=clamped.astype(bool),
            qpos=_hold(given["qpos"]) if "qpos" in given and given["qpos"].shape[-1] else None,
            submerged=given.get("submerged"),
            interventions=_interventions(traces.get("edits"), clamped, time, dt),
            world=_string(traces, "world", "pool"),
            controller=_string(traces, "controller", ""),
            length=float(traces.get("length", 0.1)),
            dt=dt,
        )

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the last."""
        return float(self.time[-1] - self.time[0])

    @cached_property
    def groups(self) -> list[UnitGroup]:
        """The units in the order in which the raster shows them."""
        return group_units(list(self.neuron_names))

    @cached_property
    def centre(self) -> Array:
        """Centre of the nine links `[T, 3]`, metres."""
        return self.link_positions.mean(1)

    @cached_property
    def speed(self) -> Array:
        """Forward speed `[T]` in body lengths per second, averaged over about half a second."""
        velocity = np.gradient(self.smooth(self.centre, 0.2), self.time, axis=0)
        heading = self.smooth(self.heading, 0.2)
        return (velocity[:, 0] * np.cos(heading) + velocity[:, 1] * np.sin(heading)) / self.length

    @cached_property
    def gait(self) -> Array:
        """What the animal is doing, `[T]`: "rest" if it hardly moves; else "walk" if its feet bear it, "swim" if it
        is in water and they do not, "slither" if it is on land and they do not."""
        motion = np.abs(np.gradient(self.link_positions - self.centre[:, None], self.time, axis=0)).mean((1, 2))
        moving = self.smooth(motion, 0.25) / self.length > 0.06
        wet = np.zeros(len(self.time)) if self.submerged is None else self.submerged.mean(1)
        if self.foot_contact is None:
            bearing = wet < 0.5
        else:
            bearing = self.smooth(self.foot_contact.astype(float).mean(1), 0.25) > 0.25
        afloat = self.smooth((wet > 0.5).astype(float), 0.1) > 0.5 if self.submerged is not None else ~bearing
        return np.where(moving, np.where(bearing, "walk", np.where(afloat, "swim", "slither")), "rest")

    @cached_property
    def motor(self) -> Array | None:
        """Activity of the left and right axial units along the body `[T, 2, segments]` in [0, 1]; None if unnamed."""
        sides = [
            [i for i, name in enumerate(self.neuron_names) if name.startswith(f"body.{s}")] for s in ("left", "right")
        ]
        count = min(map(len, sides))
        if count < 2:
            return None
        values = np.stack([self.neurons[:, side[:count]] for side in sides], 1)
        low, high = np.percentile(values, [2, 98])
        return np.clip((values - low) / max(high - low, 1e-9), 0, 1)

    def smooth(self, values: Array, seconds: float) -> Array:
        """Average over time with a Gaussian window of that standard deviation, without delay."""
        return gaussian_filter1d(np.asarray(values, float), seconds / self.dt, axis=0, mode="nearest")

    def row(self, time: float) -> int:
        """Index of the sample nearest to a moment."""
        return int(np.clip(np.searchsorted(self.time, time + self.dt / 2) - 1, 0, len(self.time) - 1))

    def at(self, values: Array, time: float) -> Array:
        """`values [T, ...]` at a moment between two samples, by linear interpolation."""
        x = np.clip((time - self.time[0]) / self.dt, 0, len(self.time) - 1)
        i = min(int(x), len(self.time) - 2)
        return values[i] + (x - i) * (values[i + 1] - values[i])

    def active(self, time: float) -> list[Intervention]:
        """The interventions that act at a moment."""
        return [edit for edit in self.interventions if edit.start <= time + 1e-9 < edit.stop]


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no traces file ({error}); pass the traces.npz that a run has written") from error


def _string(traces: Mapping[str, Any], key: str, default: str) -> str:
    return str(np.asarray(traces.get(key, default)).item())


def _rows(value: Any, key: str, T: int) -> Array:
    array = np.asarray(value)
    if array.ndim == 0 or len(array) != T:
        raise ValueError(f"`{key}` has shape {array.shape}, `time` has {T} values; pass one row per time")
    return array


def _hold(values: Array) -> Array:
    """Keep the last finite row where a diverged world left NaN, so that the film shows where it stopped."""
    good = np.isfinite(values.reshape(len(values), -1)).all(1)
    if good.all():
        return values
    if not good.any():
        raise ValueError("the traces hold no finite row; the run diverged in its first step")
    last = np.maximum.accumulate(np.where(good, np.arange(len(values)), np.argmax(good)))
    return values[last]


def _units(traces: Mapping[str, Any], neurons: Array | None, T: int) -> tuple[tuple[str, ...], Array]:
    """The units and their names; a run without a network shows its joint angles instead."""
    if neurons is not None and neurons.ndim == 2 and neurons.shape[1]:
        default = [f"h[{i}]" for i in range(neurons.shape[1])]
        names = [str(name) for name in np.asarray(traces.get("neuron_names", default))]
        if len(names) != neurons.shape[1]:
            raise ValueError(f"{len(names)} neuron_names for {neurons.shape[1]} columns of neurons; pass one each")
        return tuple(names), neurons.astype(float)
    if "joint_angles" in traces:
        angles = _rows(traces["joint_angles"], "joint_angles", T).astype(float)
        spine = angles[:, : min(8, angles.shape[1])]
        return tuple(f"spine angle[{i}]" for i in range(spine.shape[1])), spine
    return (), np.zeros((T, 0))


def _interventions(edits: Any, clamped: Array, time: Array, dt: float) -> tuple[Intervention, ...]:
    """Edits as spans of time: steps count from the first sample, an open end lasts to the end of the run."""
    items = json.loads(str(np.asarray(edits).item()) or "[]") if edits is not None else []
    spans = []
    for item in items if isinstance(items, list) else [items]:
        first, last = item.get("steps") or (item.get("start"), item.get("stop"))
        start = time[0] + (first or 0) * dt
        stop = time[-1] + dt if last is None else min(time[0] + last * dt, time[-1] + dt)
        if stop > start:
            spans.append(Intervention(describe_edit(item), float(start), float(stop)))
    if not spans and clamped.any():
        rows = np.flatnonzero(np.diff(np.concatenate([[0], clamped.any(1).astype(int), [0]])))
        spans = [Intervention("clamped", time[0] + a * dt, time[0] + b * dt) for a, b in rows.reshape(-1, 2)]
    return tuple(spans)
