"""The animal drawn from above with Pillow, from stored link positions: a film where no OpenGL is to be had."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.interpolate import CubicSpline

from sim.anatomy import GIRDLES, JOINT_X, LINK_CENTRES, LINK_EXTENTS, NOMINAL_LENGTH
from sim.footage import Footage
from sim.ink import LEFT, RIGHT, Colour, Frame

__all__ = ["DrawnView", "midline"]

Array = NDArray[Any]
SKIN: Colour = (74, 84, 58)
BACK: Colour = (112, 122, 78)
LIMB: Colour = (92, 98, 64)
SAND: Colour = (206, 192, 160)
DEEP: Colour = (46, 104, 140)
_ALONG = np.linspace(0, 1, 61)
_STATIONS = np.concatenate([[0.0, 0.02], LINK_CENTRES, [1.0]])
_WIDTHS = np.concatenate([[0.012, 0.045], LINK_EXTENTS[:, 1], [0.004]]) / 2


def midline(links: Array, along: Array = _ALONG) -> Array:
    """Points on the body's middle line at fractions `along` of its length, 0 the snout, from link centres `[9, 2]`.

    A cubic spline through the nine centres, carried on straight to the snout and to the tip of the tail.

    >>> straight = np.stack([-LINK_CENTRES, np.zeros(9)], 1)
    >>> np.abs(midline(straight, np.array([0.0, 0.5, 1.0]))[:, 0]).round(6).tolist()
    [0.0, 0.5, 1.0]
    """
    spline = CubicSpline(LINK_CENTRES, links, axis=0)
    inside = np.clip(along, LINK_CENTRES[0], LINK_CENTRES[-1])
    return spline(inside) + (along - inside)[:, None] * spline(inside, 1)


class DrawnView:
    """Top view that follows the animal; x points right, y up, as on the map.

    Args:
        footage: the run.
        width, height: of the picture, pixels.
        span: body lengths from the left edge of the picture to the right.
    """

    ZOOM = 2

    def __init__(self, footage: Footage, width: int, height: int, span: float = 3.0):
        self.footage, self.width, self.height = footage, width, height
        self.scale = width * self.ZOOM / (span * footage.length)
        self.centre = footage.smooth(footage.centre[:, :2], 0.25)
        self.wet = np.zeros(len(footage.time))
        if footage.submerged is not None:
            self.wet = footage.smooth(footage.submerged.mean(1), 0.15)
        elif footage.world not in ("land", "rough"):
            self.wet += 1

    def draw(self, frame: Frame, time: float) -> None:
        """Draw one moment into the upper left `height` x `width` pixels of the frame."""
        footage, row = self.footage, self.footage.row(time)
        self.origin = footage.at(self.centre, time)
        wet = float(np.clip(self.wet[row], 0, 1))
        ground = tuple(int(s + wet * (d - s)) for s, d in zip(SAND, DEEP, strict=True))
        canvas = Image.new("RGB", (self.width * self.ZOOM, self.height * self.ZOOM), ground)
        pen = ImageDraw.Draw(canvas)
        self._draw_grid(pen, ground)
        links = footage.at(footage.link_positions, time)[:, :2]
        line = midline(links)
        slope = np.gradient(line, axis=0)
        side = np.stack([-slope[:, 1], slope[:, 0]], 1) / np.linalg.norm(slope, axis=1, keepdims=True) * -1
        if footage.foot_positions is not None:
            self._draw_limbs(pen, line, side, footage.at(footage.foot_positions, time)[:, :2], row)
        self._draw_body(pen, line, side)
        if footage.motor is not None:
            self._draw_motor(pen, line, side, footage.at(footage.motor, time))
        picture = canvas.resize((self.width, self.height), Image.Resampling.BOX)
        frame[: self.height, : self.width] = np.asarray(picture)

    def close(self) -> None:
        """Nothing to release; here so that every view can be closed."""

    def _pixels(self, points: Array) -> list[tuple[float, float]]:
        middle = np.array([self.width, self.height]) * self.ZOOM / 2
        pixels = middle + (points - self.origin) * self.scale * [1, -1]
        return list(map(tuple, pixels.tolist()))

    def _draw_grid(self, pen: ImageDraw.ImageDraw, ground: Any) -> None:
        """Lines that stand still in the world, half a body length apart, so that progress can be seen."""
        pitch = 0.5 * self.footage.length
        colour = tuple(int(c * 0.93) for c in ground)
        reach = np.array([self.width, self.height]) * self.ZOOM / 2 / self.scale
        low, high = np.floor((self.origin - reach) / pitch), np.ceil((self.origin + reach) / pitch)
        for x in np.arange(low[0], high[0] + 1) * pitch:
            (column, _), *_ = self._pixels(np.array([[x, 0.0]]))
            pen.line([(column, 0), (column, self.height * self.ZOOM)], fill=colour, width=2)
        for y in np.arange(low[1], high[1] + 1) * pitch:
            (_, row), *_ = self._pixels(np.array([[0.0, y]]))
            pen.line([(0, row), (self.width * self.ZOOM, row)], fill=colour, width=2)

    def _draw_limbs(self, pen: ImageDraw.ImageDraw, line: Array, side: Array, feet: Array, row: int) -> None:
        length = self.footage.length
        for foot, (girdle, sign) in enumerate((("fore", 1), ("fore", -1), ("hind", 1), ("hind", -1))):
            _, x, y, _ = GIRDLES[girdle]
            k = int(round(x / NOMINAL_LENGTH * (len(line) - 1)))
            root = line[k] + sign * side[k] * y / NOMINAL_LENGTH * length
            reach = feet[foot] - root
            ahead = (line[k - 1] - line[k]) / max(float(np.linalg.norm(line[k - 1] - line[k])), 1e-12)
            elbow = root + 0.55 * reach + (-0.02 if girdle == "fore" else 0.02) * length * ahead
            width = int(0.026 * length * self.scale)
            pen.line(self._pixels(np.stack([root, elbow, feet[foot]])), fill=LIMB, width=width, joint="curve")
            bears = self.footage.foot_contact is not None and bool(self.footage.foot_contact[row, foot])
            self._disc(pen, feet[foot], 0.018 * length, (LEFT if sign > 0 else RIGHT) if bears else LIMB)

    def _draw_body(self, pen: ImageDraw.ImageDraw, line: Array, side: Array) -> None:
        width = np.interp(_ALONG, _STATIONS, _WIDTHS)[:, None] * self.footage.length
        outline = np.concatenate([line + side * width, (line - side * width)[::-1]])
        shadow = np.array([0.012, -0.016]) * self.footage.length
        pen.polygon(self._pixels(outline + shadow), fill=(40, 60, 60))
        pen.polygon(self._pixels(outline), fill=SKIN)
        inner = np.concatenate([line + side * width * 0.35, (line - side * width * 0.35)[::-1]])
        pen.polygon(self._pixels(inner), fill=BACK)
        for sign in (1, -1):
            self._disc(pen, line[3] + sign * side[3] * width[3] * 0.72, 0.009 * self.footage.length, (20, 20, 18))

    def _draw_motor(self, pen: ImageDraw.ImageDraw, line: Array, side: Array, motor: Array) -> None:
        """A light at each spine joint and side, as bright as the units that move it."""
        stations = np.interp(np.linspace(0, 1, motor.shape[1]), np.linspace(0, 1, len(JOINT_X)), JOINT_X)
        width = np.interp(stations, _STATIONS, _WIDTHS) * self.footage.length
        for s, (sign, colour) in enumerate(((1, LEFT), (-1, RIGHT))):
            for x, w, level in zip(stations, width, motor[s], strict=True):
                k = int(round(x * (len(line) - 1)))
                shade = tuple(int(a + level * (b - a)) for a, b in zip(SKIN, colour, strict=True))
                self._disc(
                    pen, line[k] + sign * side[k] * w * 0.6, (0.007 + 0.007 * level) * self.footage.length, shade
                )

    def _disc(self, pen: ImageDraw.ImageDraw, point: Array, radius: float, colour: Any) -> None:
        ((x, y),) = self._pixels(point[None])
        r = radius * self.scale
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
