"""The time strip of a film: neurons, footfalls, drive and edits against one time axis, drawn once per film."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sim.footage import Footage
from sim.ink import BRIGHT, EDIT, FAINT, FIELD, LEFT, LINE, PANEL, RIGHT, Colour, Frame, heat, text, text_width

__all__ = ["Band", "Strip", "area_mean"]

Array = NDArray[Any]
FEET = (("LF", LEFT), ("RF", RIGHT), ("LH", LEFT), ("RH", RIGHT))


def area_mean(values: Array, count: int) -> Array:
    """Resample the first axis to `count` cells, each the mean of what it covers: exact for binning and for repeating.

    >>> area_mean(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist(), area_mean(np.array([1.0, 3.0]), 4).tolist()
    ([2.0, 6.0], [1.0, 1.0, 3.0, 3.0])
    """
    total = np.concatenate([np.zeros_like(values[:1], float), np.cumsum(values, 0, dtype=float)])
    edges = np.linspace(0, len(values), count + 1)
    i = np.minimum(edges.astype(int), len(values) - 1)
    part = (edges - i).reshape(-1, *[1] * (values.ndim - 1))
    return np.diff(total[i] + part * values[i], axis=0) * count / len(values)


@dataclass(frozen=True)
class Band:
    """One panel of the strip: its rows, its title if it has one, and captions of the gutter as (row, text, colour)."""

    top: int
    height: int
    captions: tuple[tuple[int, str, Colour], ...]
    title: str = ""


class Strip:
    """Everything with a time axis, for the whole run, at a fixed number of pixels per second.

    `image [height, columns, 3]` is drawn once; a frame of the film only copies the columns that it shows. `rows` tells
    for each row of the raster which units it shows, so that clamped ones can be bracketed.

    Args:
        footage: the run.
        height: pixels in all, time axis included.
        rate: pixels per second.
    """

    AXIS, GAP, LANE, FOOT, TEXT = 17, 8, 17, 11, 11

    def __init__(self, footage: Footage, height: int, rate: float):
        self.footage, self.rate = footage, rate
        self.width = max(2, round((footage.duration + footage.dt) * rate))
        self.image: Frame = np.empty((height, self.width, 3), np.uint8)
        self.image[:] = PANEL
        bottom = height - self.AXIS
        self.bands: list[Band] = []
        self.lane_height = self.LANE if footage.interventions else 0
        top = self.lane_height + (3 if self.lane_height else 0)
        drive_height = 0 if footage.drive is None else max(34, round(0.17 * height))
        steps = footage.foot_contact is not None and bool(footage.foot_contact.any())
        feet_height = 4 * self.FOOT if steps else 0
        used = sum(h + self.GAP for h in (drive_height, feet_height) if h)
        self.raster = self._draw_raster(top, bottom - top - used - 2)
        top = self.raster.top + self.raster.height + self.GAP
        if feet_height:
            self.bands.append(self._draw_feet(top, feet_height))
            top += feet_height + self.GAP
        if drive_height:
            self.bands.append(self._draw_drive(top, bottom - 2 - top))
        self._draw_axis(bottom)
        self._draw_edits(bottom)
        self.dim = (PANEL + 0.42 * (self.image.astype(np.float32) - PANEL)).astype(np.uint8)
        self.dim[bottom:] = self.image[bottom:]

    def column(self, time: float) -> int:
        """The column of a moment."""
        return int(round((time - self.footage.time[0]) * self.rate))

    def _draw_raster(self, top: int, height: int) -> Band:
        """Heat map of the units, each group scaled by its own range; many units share a row, few get many rows."""
        footage, gap = self.footage, 3
        groups = [g for g in footage.groups if footage.drive is None or g.label != "drive"]
        self.rows: Array = np.full(height, -1)
        self.row_units: list[Array] = []
        if not groups:
            return Band(top, 0, ())
        heights = _share(height - gap * (len(groups) - 1), [len(g.units) for g in groups], self.TEXT + 1)
        captions, y = [], top
        image = self.image[top : top + height]
        image[:] = PANEL
        for group, rows in zip(groups, heights, strict=True):
            values = np.nan_to_num(footage.neurons[:, list(group.units)])
            low, high = np.percentile(values, [1, 99])
            low = min(low, 0.0) if low > -1e-6 else low
            level = (values - low) / (high - low if high - low > 1e-6 else 1.0)
            cells = area_mean(area_mean(level, self.width).T, rows)
            image[y - top : y - top + rows] = heat(cells, "cividis")
            bounds = np.linspace(0, len(group.units), rows + 1)
            for r in range(rows):
                last = max(int(np.ceil(bounds[r + 1] - 1e-9)), int(bounds[r]) + 1)
                self.rows[y - top + r] = len(self.row_units)
                self.row_units.append(np.array(group.units[int(bounds[r] + 1e-9) : last]))
            colour = {"left": LEFT, "right": RIGHT}.get(group.side, BRIGHT)
            captions.append((y + rows // 2, group.label, colour))
            y += rows + gap
        self._outline_clamps(top)
        return Band(top, y - gap - top, tuple(captions))

    def _outline_clamps(self, top: int) -> None:
        """A line around every patch of raster whose units are under an edit."""
        if not self.footage.clamped.any():
            return
        held = np.zeros((len(self.rows) + 2, self.width + 2), bool)
        columns = np.minimum((np.arange(self.width) + 0.5) / self.rate / self.footage.dt, len(self.footage.time) - 1)
        clamped = self.footage.clamped[columns.astype(int)]
        for y, row in enumerate(self.rows):
            if row >= 0:
                held[y + 1, 1:-1] = clamped[:, self.row_units[row]].any(1)
        inner = held[1:-1, 1:-1] & held[:-2, 1:-1] & held[2:, 1:-1] & held[1:-1, :-2] & held[1:-1, 2:]
        self.image[top : top + len(self.rows)][held[1:-1, 1:-1] & ~inner] = EDIT

    def _draw_feet(self, top: int, height: int) -> Band:
        """Footfall diagram: a bar while the foot bears."""
        assert self.footage.foot_contact is not None
        contact = area_mean(self.footage.foot_contact.astype(float), self.width) > 0.5
        pitch = height // 4
        captions = []
        for foot, (name, colour) in enumerate(FEET):
            y = top + foot * pitch
            self.image[y : y + pitch - 2] = FIELD
            self.image[y : y + pitch - 2, contact[:, foot]] = colour
            captions.append((y + pitch // 2 - 1, name, colour))
        return Band(top, height, tuple(captions), "feet")

    def _draw_drive(self, top: int, height: int) -> Band:
        """Descending drive: fore girdle as a full line, hind as a thin one; equal drives lie side by side."""
        drive = self.footage.drive
        assert drive is not None
        drive = np.nan_to_num(drive)
        # The activity thresholds of the drive: "From swimming to walking with a salamander robot driven by a spinal
        # cord model" (Ijspeert et al., 2007): limbs 1 to 3, axis 1 to 5.
        marks = [1, 3, 5] if drive.min() >= 0 and drive.max() <= 8 else [0]
        low, high = min(0.0, float(drive.min())), max(float(drive.max()) * 1.08, 5.4 if len(marks) > 1 else 1e-6)
        level = lambda value: (high - value) / (high - low)
        self.image[top : top + height] = FIELD
        captions = []
        for mark in marks:
            self.image[top + int(level(mark) * (height - 1)), ::3] = LINE
            captions.append((top + int(level(mark) * (height - 1)), str(mark), FAINT))
        zoom = 2
        canvas = Image.fromarray(self.image[top : top + height]).resize((self.width * zoom, height * zoom))
        pen = ImageDraw.Draw(canvas)
        count = min(len(drive), self.width)
        x = (np.arange(count) + 0.5) * self.width * zoom / count
        for column, colour, width, shift in ((1, LEFT, 1, -2), (3, RIGHT, 1, 2), (0, LEFT, 4, -2), (2, RIGHT, 4, 2)):
            if column < drive.shape[1]:
                y = level(area_mean(drive[:, column], count)) * (height * zoom - 1) + shift
                pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=width, joint="curve")
        self.image[top : top + height] = np.asarray(canvas.resize((self.width, height), Image.Resampling.BOX))
        return Band(top, height, tuple(captions), "drive")

    def _draw_axis(self, top: int) -> None:
        """Ticks of the time axis; their labels are `ticks`, for each frame to write where they are wholly in sight."""
        step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60) if s * self.rate >= 70), 120)
        first = np.ceil(self.footage.time[0] / step - 1e-9) * step
        seconds = np.arange(first, self.footage.time[-1] + 1e-9, step)
        self.ticks = [(self.column(s), f"{s:.0f} s" if step >= 1 else f"{s:.1f} s") for s in seconds]
        self.image[top : top + 4, [min(x, self.width - 1) for x, _ in self.ticks]] = FAINT

    def _draw_edits(self, bottom: int) -> None:
        """Shade the span of each edit through all panels, and name it in the lane above them."""
        spans: dict[tuple[int, int], list[str]] = {}
        for edit in self.footage.interventions:
            first = min(self.column(edit.start), self.width - 2)
            last = max(min(self.column(edit.stop), self.width), first + 2)
            spans.setdefault((first, last), []).append(edit.label)
        free = 0
        for a, b in sorted(spans):
            for band in (self.raster, *self.bands):
                self.image[band.top : band.top + band.height, [a, b - 1]] = EDIT
            for band in self.bands:
                region = self.image[band.top : band.top + band.height, a:b]
                region[:] = region + 0.16 * (np.asarray(EDIT, np.float32) - region)
            lane = self.image[: self.lane_height, a:b]
            lane[:] = np.asarray(EDIT, np.float32) * 0.34 + np.asarray(PANEL, np.float32) * 0.66
            lane[:, :2] = lane[:, -1:] = EDIT
            if a >= free:
                room = min((start for start, _ in spans if start > a), default=self.width) - a - 10
                label = _fit(_join(spans[a, b]), room, self.TEXT)
                free = a + 6 + (text(self.image, a + 6, 1, label, self.TEXT, BRIGHT) if label else 0)


def _join(labels: list[str]) -> str:
    """One label for edits that act together.

    >>> _join(["clamp drive.left = 2", "clamp drive.right = 2", "lesion limb.*"])
    'clamp drive.left = 2, drive.right = 2, lesion limb.*'
    """
    kinds = ["", *(label.split(" ")[0] for label in labels)]
    words = (x.removeprefix(before + " ") if before else x for x, before in zip(labels, kinds, strict=False))
    return ", ".join(words)


def _fit(label: str, room: int, size: int) -> str:
    """The label, or as much of it as there is room for, pixels; nothing if that is too little to read."""
    if text_width(label, size) <= room:
        return label
    while len(label) > 4 and text_width(label + "\u2026", size) > room:
        label = label[:-1]
    return label.rstrip(" ,=") + "\u2026" if len(label) > 4 else ""


def _share(height: int, counts: list[int], least: int) -> list[int]:
    """Rows for each group: enough for its caption, then whole rows per unit, the same for equal groups.

    >>> _share(100, [8, 8, 4], least=12)
    [40, 40, 20]
    """
    rows = [-(-least // count) * count if count < least else least for count in counts]
    if sum(rows) > height:
        return [max(1, height // len(counts))] * len(counts)
    while True:
        steps = [count if have >= count else 1 for have, count in zip(rows, counts, strict=True)]
        equals = [[j for j in range(len(rows)) if counts[j] == count] for count in counts]
        spare = height - sum(rows)
        fits = [i for i in range(len(rows)) if steps[i] * len(equals[i]) <= spare and rows[i] < 8 * counts[i]]
        if not fits:
            return rows
        poorest = min(fits, key=lambda i: rows[i] / counts[i])
        for i in equals[poorest]:
            rows[i] += steps[i]
