"""Colours, fonts and quick text on image arrays: what every panel of a film is drawn with."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Colour", "Frame", "blend", "font", "heat", "rounded", "text", "text_mask", "text_width"]

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Blue, orange and reddish purple of "Color Universal Design" (Okabe and Ito, 2008), which every kind of colour
# vision tells apart; the purple is brightened to stay readable on the dark panels.
LEFT: Colour = (86, 180, 233)
RIGHT: Colour = (238, 160, 32)
EDIT: Colour = (255, 110, 180)
WATER: Colour = (86, 180, 233)
LAND: Colour = (178, 196, 120)
PANEL: Colour = (15, 18, 24)
FIELD: Colour = (24, 29, 38)
LINE: Colour = (58, 66, 80)
FAINT: Colour = (139, 149, 163)
BRIGHT: Colour = (235, 239, 244)


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans (`size` in pixels) from matplotlib's own files, so that films look alike on every machine."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


@lru_cache(maxsize=4096)
def text_width(string: str, size: int, bold: bool = False) -> int:
    """Width of a string in pixels.

    >>> text_width("walk", 12) < text_width("walking", 12)
    True
    """
    return int(np.ceil(font(size, bold).getlength(string)))


@lru_cache(maxsize=2048)
def text_mask(string: str, size: int, bold: bool = False) -> NDArray[np.float32]:
    """Coverage of a string in [0, 1], `[rows, columns, 1]`; rows span ascent to descent, so baselines agree."""
    face = font(size, bold)
    ascent, descent = face.getmetrics()
    image = Image.new("L", (max(1, text_width(string, size, bold)), ascent + descent))
    ImageDraw.Draw(image).text((0, 0), string, fill=255, font=face)
    return np.asarray(image, np.float32)[..., None] / np.float32(255)


def blend(frame: Frame, x: int, y: int, mask: NDArray[Any], colour: Colour, opacity: float = 1.0) -> None:
    """Lay `colour` on `frame` from column `x`, row `y` on, where `mask [rows, columns, 1]` covers it; clipped."""
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], frame.shape[0]), min(x + mask.shape[1], frame.shape[1])
    if top >= bottom or left >= right:
        return
    cover = mask[top - y : bottom - y, left - x : right - x] * opacity
    region = frame[top:bottom, left:right]
    region[:] = region + cover * (np.asarray(colour, np.float32) - region)


def text(
    frame: Frame, x: int, y: int, string: str, size: int, colour: Colour, *, bold: bool = False, align: str = "left"
) -> int:
    """Write a string with its box's top at row `y`; `align` says which edge column `x` is. Returns the width."""
    mask = text_mask(string, size, bold)
    width = mask.shape[1]
    blend(frame, x - {"left": 0, "centre": width // 2, "right": width}[align], y, mask, colour)
    return width


@lru_cache(maxsize=64)
def rounded(width: int, height: int, radius: int) -> NDArray[np.float32]:
    """Coverage of a filled rounded rectangle `[height, width, 1]`, smoothed by drawing it four times as large."""
    image = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(image).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, fill=255)
    image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, np.float32)[..., None] / np.float32(255)


@lru_cache(maxsize=4)
def _table(name: str) -> Frame:
    import matplotlib

    return (np.asarray(matplotlib.colormaps[name](np.arange(256)))[:, :3] * 255).astype(np.uint8)


def heat(values: NDArray[Any], name: str = "cividis") -> Frame:
    """Colours `[..., 3]` of values in [0, 1], by a map that is even in lightness for every kind of colour vision.

    >>> heat(np.array([0.0, 1.0])).sum(-1).argmax()
    np.int64(1)
    """
    return _table(name)[(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)]
