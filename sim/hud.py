"""The head-up display of a film: the time strip with its moving cursor, and what the animal is doing right now."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.footage import Footage
from sim.ink import BRIGHT, EDIT, FAINT, LAND, PANEL, WATER, Colour, Frame, blend, rounded, text, text_width
from sim.strip import Strip

__all__ = ["Hud", "MiniMap"]

Array = NDArray[Any]

GAIT_COLOURS: dict[str, Colour] = {"rest": FAINT, "slither": FAINT, "walk": LAND, "swim": WATER}


class Hud:
    """Draws on frames `[height, width, 3]` whose upper `view_height` rows hold the picture of the animal.

    The strip shows `window` seconds. The cursor moves through a short run; in a longer one the strip slides under it.
    Nothing is drawn per frame that could be drawn once: a frame costs a few array copies and small labels.

    Args:
        footage: the run.
        width, height: of the frame, pixels.
        view_height: rows left to the picture.
        window: seconds of the run shown at a time.

    Raises:
        ValueError: the frame is too small to be legible.
    """

    GUTTER, MARGIN, PAD = 92, 14, 8

    def __init__(
        self, footage: Footage, width: int = 960, height: int = 540, view_height: int = 296, window: float = 8.0
    ):
        if width < 480 or height - view_height < 150:
            raise ValueError(
                f"a film of {width} x {height} with a view of {view_height} rows leaves no room for the neurons; "
                "use at least 480 x 300"
            )
        self.footage, self.width, self.height, self.view_height = footage, width, height, view_height
        self.span = width - self.GUTTER - self.MARGIN
        self.window = min(window, footage.duration + footage.dt)
        self.strip = Strip(footage, height - view_height - self.PAD, self.span / self.window)
        self.panel = self._gutter()
        self.map = MiniMap(footage)
        self.names = [word for word in (footage.world, footage.controller) if word]
        self._brackets: dict[bytes, Any] = {}

    def _gutter(self) -> Frame:
        """The panel behind the strip with the captions of its bands."""
        panel = np.empty((self.height - self.view_height, self.width, 3), np.uint8)
        panel[:] = PANEL
        right = self.GUTTER - 12
        for y, label, colour in self.strip.raster.captions:
            text(panel, right, y + self.PAD - 7, label, 11, colour, align="right")
        for band in self.strip.bands:
            text(panel, right - 26, band.top + band.height // 2 + self.PAD - 8, band.title, 11, BRIGHT, align="right")
            for y, label, colour in band.captions:
                text(panel, self.GUTTER - 9, y + self.PAD - 6, label, 9, colour, align="right")
        if self.strip.lane_height:
            text(panel, right, self.PAD + 1, "edits", 11, EDIT, align="right")
        return panel

    def draw(self, frame: Frame, time: float) -> None:
        """Draw everything for one moment of the run onto the frame."""
        row = self.footage.row(time)
        self._draw_strip(frame, time, row)
        self._draw_status(frame, time, row)
        self._draw_active(frame, time)
        self.map.draw(frame, self.width - self.map.width - 12, 12, time, row)

    def _draw_strip(self, frame: Frame, time: float, row: int) -> None:
        strip, top = self.strip, self.view_height + self.PAD
        frame[self.view_height :] = self.panel
        cursor = min(strip.column(time), strip.width - 1)
        first = int(np.clip(cursor - 0.62 * self.span, 0, max(strip.width - self.span, 0)))
        last = min(first + self.span, strip.width)
        x = self.GUTTER + cursor - first
        height = strip.image.shape[0]
        frame[top : top + height, self.GUTTER : x] = strip.image[:, first:cursor]
        frame[top : top + height, x : self.GUTTER + last - first] = strip.dim[:, cursor:last]
        axis = top + height - strip.AXIS
        frame[top + strip.lane_height : axis, x : x + 2] = BRIGHT
        for column, label in strip.ticks:
            half = text_width(label, strip.TEXT) // 2
            if half <= column - first <= self.span - half + self.MARGIN:
                text(frame, self.GUTTER + column - first, axis + 3, label, strip.TEXT, FAINT, align="centre")
        self._draw_bracket(frame, top, row)

    def _draw_bracket(self, frame: Frame, top: int, row: int) -> None:
        """Brackets in the gutter beside the units that are under an edit now, and beside the drive if that is."""
        clamped = self.footage.clamped[row]
        if not clamped.any():
            return
        key = clamped.tobytes()
        if key not in self._brackets:
            rows = np.array([r >= 0 and clamped[self.strip.row_units[r]].any() for r in self.strip.rows])
            edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(int), [0]])))
            brackets = [
                (self.strip.raster.top + int(a), self.strip.raster.top + int(b)) for a, b in edges.reshape(-1, 2)
            ]
            if any(name.startswith("drive") for name, c in zip(self.footage.neuron_names, clamped, strict=True) if c):
                brackets += [(band.top, band.top + band.height) for band in self.strip.bands if band.title == "drive"]
            self._brackets[key] = brackets
        x = self.GUTTER - 5
        for a, b in self._brackets[key]:
            frame[top + a : top + b, x : x + 2] = EDIT
            frame[[top + a, top + a + 1, top + b - 2, top + b - 1], x : x + 5] = EDIT

    def _draw_status(self, frame: Frame, time: float, row: int) -> None:
        """Clock, gait, speed and world at the upper left."""
        gait = str(self.footage.gait[row])
        box = rounded(204, 74, 8)
        blend(frame, 12, 12, box, PANEL, 0.72)
        text(frame, 24, 15, f"{time:.2f} s", 24, BRIGHT, bold=True)
        chip = text_width(gait.upper(), 12, True) + 14
        blend(frame, 204 - chip + 2, 20, rounded(chip, 20, 5), GAIT_COLOURS[gait])
        text(frame, 204 - chip + 9, 22, gait.upper(), 12, PANEL, bold=True)
        speed = f"{self.footage.speed[row]:.2f} BL/s".replace("-0.00", "0.00").replace("-", "\u2212")
        text(frame, 24, 45, speed, 14, BRIGHT)
        text(frame, 24, 65, " \u00b7 ".join(self.names)[:30], 11, FAINT)

    def _draw_active(self, frame: Frame, time: float) -> None:
        """What is being done to the network now, at the lower left of the picture."""
        labels = [edit.label for edit in self.footage.active(time)]
        if len(labels) > 3:
            labels = [*labels[:2], f"and {len(labels) - 2} more"]
        y = self.view_height - 14
        for label in reversed(labels):
            width = text_width(label, 15, True) + 24
            y -= 30
            blend(frame, 12, y, rounded(width, 26, 6), PANEL, 0.78)
            blend(frame, 12, y, rounded(6, 26, 3), EDIT)
            text(frame, 26, y + 4, label, 15, EDIT, bold=True)


class MiniMap:
    """The path from above: all of it faint, what has been travelled bright, in water blue and on land green.

    The smallest map shows three body lengths; the animal is drawn on it to scale.
    """

    def __init__(self, footage: Footage, width: int = 176, height: int = 112):
        self.footage, self.width, self.height = footage, width, height
        path = footage.smooth(footage.centre[:, :2], 0.3)
        low, high = path.min(0), path.max(0)
        room = np.array([width - 36, height - 50])
        self.scale = float((room / np.maximum(high - low, 3 * footage.length)).min())
        self.offset = np.array([width / 2, (height - 16) / 2 + 2]) - (low + high) / 2 * self.scale * [1, -1]
        steps = np.abs(np.diff(self._pixels(path), axis=0)).max(1, initial=0)
        moments = np.interp(np.arange(0, steps.sum() + 1), np.concatenate([[0], np.cumsum(steps)]), footage.time)
        rows = np.clip(np.searchsorted(footage.time, moments), 0, len(path) - 1)
        self.moments = moments
        self.path = self._pixels(np.stack([np.interp(moments, footage.time, path[:, k]) for k in (0, 1)], 1)).astype(
            int
        )
        wet = np.full(len(path), footage.world not in ("land", "rough"))
        if footage.submerged is not None:
            wet = footage.submerged.mean(1) > 0.5
        self.colours = np.where(wet[rows, None], WATER, LAND).astype(np.uint8)
        self.base: Frame = np.empty((height, width, 3), np.uint8)
        self.base[:] = PANEL
        self._dots(self.base, self.path, (self.colours * 0.4 + np.asarray(PANEL) * 0.6).astype(np.uint8))
        self._scale_bar()
        self.mask = rounded(width, height, 8) * 0.82

    def _pixels(self, points: Array) -> Array:
        """Metres `[n, 2]` to columns and rows of the map."""
        return self.offset + points * self.scale * [1, -1]

    def _dots(self, image: Frame, pixels: Array, colours: Any) -> None:
        """Two by two pixels at each point that lies on the map."""
        x = np.clip(pixels[:, 0], 0, self.width - 2)
        y = np.clip(pixels[:, 1], 0, self.height - 2)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            image[y + dy, x + dx] = colours

    def _scale_bar(self) -> None:
        unit = self.scale * self.footage.length
        length = max((n for n in (1, 2, 5, 10, 20, 50, 100) if n * unit <= self.width / 2), default=1)
        pixels, y = int(length * unit), self.height - 13
        self.base[y : y + 2, 12 : 12 + pixels] = FAINT
        text(self.base, 12 + pixels + 6, y - 6, f"{length} BL", 10, FAINT)

    def draw(self, frame: Frame, x: int, y: int, time: float, row: int) -> None:
        """Draw the map with its upper left corner at column `x`, row `y`."""
        image = self.base.copy()
        count = int(np.searchsorted(self.moments, time, side="right"))
        self._dots(image, self.path[:count], self.colours[:count])
        links = self._pixels(self.footage.link_positions[row, :, :2])
        body = np.concatenate([links[:-1] + s * np.diff(links, axis=0) for s in (0, 0.25, 0.5, 0.75)])
        self._dots(image, body.astype(int), BRIGHT)
        region = frame[y : y + self.height, x : x + self.width]
        region[:] = region + self.mask * (image.astype(np.float32) - region)
