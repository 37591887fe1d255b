"""Textures painted with arithmetic: newt skin, fin, sand, soil, gravel, pool floor, water. PNG in memory, always the
same."""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BODY_PATCH", "EYE_PATCH", "LIMB_PATCH", "TEXTURES", "paint"]

Array = NDArray[np.float64]

# Strips of the newt's picture, as fractions of its width.
BODY_PATCH, LIMB_PATCH, EYE_PATCH = (0.0, 0.8), (0.802, 0.899), (0.902, 0.999)


def _noise(rng: np.random.Generator, shape: tuple[int, int], scale: tuple[float, float]) -> Array:
    """Smooth periodic noise of unit variance; `scale` is the size of its blobs in pixels, down and across."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    keep = np.exp(-0.5 * ((2 * np.pi * fy * scale[0]) ** 2 + (2 * np.pi * fx * scale[1]) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * keep, shape)
    return (field - field.mean()) / field.std()


def _step(x: Array, edge: float, width: float) -> Array:
    """0 below the edge, 1 above, with a soft border."""
    t = np.clip((x - edge) / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _mix(base: Array, colour: tuple[float, float, float], amount: Array) -> Array:
    return base + (np.asarray(colour) - base) * amount[..., None]


def _newt() -> Array:
    """Olive-brown mottled back, a row of orange spots along the flank, warm belly with dark blotches; limbs; eyes."""
    rng = np.random.default_rng(7)
    height, width = 256, 1280
    v = np.abs(np.linspace(-1, 1, height))[:, None]  # 1 at the belly's middle, 0 at the back's
    x = np.linspace(0, 1 / 0.8, width)[None]
    coarse = _noise(rng, (height, width), (9, 12))
    fine = _noise(rng, (height, width), (2.2, 2.8))
    grain = _noise(rng, (height, width), (0.8, 0.8))
    back = np.broadcast_to(np.array([0.29, 0.27, 0.125]), (height, width, 3)).copy()
    back = _mix(back, (0.46, 0.42, 0.20), _step(coarse + 0.4 * fine, 0.35, 0.9) * 0.8)
    back = _mix(back, (0.10, 0.085, 0.05), _step(_noise(rng, (height, width), (6, 8)) + 0.5 * fine, 1.05, 0.35) * 0.85)
    back = _mix(back, (0.52, 0.36, 0.13), np.exp(-((v / 0.05) ** 2)) * 0.45 * np.ones((1, width)))
    belly = np.broadcast_to(np.array([0.93, 0.44, 0.10]), (height, width, 3)).copy()
    belly = _mix(belly, (0.98, 0.62, 0.20), _step(coarse, 0.0, 2.0) * 0.6)
    belly = _mix(belly, (0.16, 0.10, 0.06), _step(_noise(rng, (height, width), (5, 6)), 1.25, 0.25))
    low = _step(v + 0.035 * coarse + 0.02 * fine, 0.64, 0.08)
    picture = back * (1 - low[..., None]) + belly * low[..., None]
    wart = np.cos(2 * np.pi * (x * 34 + 0.15 * coarse)) - ((v - 0.53) / 0.05) ** 2
    picture = _mix(picture, (0.95, 0.55, 0.15), _step(wart, 0.15, 0.35) * ((x > 0.14) & (x < 0.75)) * 0.9)
    picture *= 1 + 0.10 * fine[..., None] + 0.07 * grain[..., None]
    limb = slice(int(0.8 * width), int(0.9 * width))
    picture[:, limb] = back[:, ::8][:, : limb.stop - limb.start] * (1 + 0.12 * fine[:, limb, None])
    toes = np.linspace(0, 1, limb.stop - limb.start)[None] * np.ones((height, 1))
    picture[:, limb] = _mix(picture[:, limb], (0.62, 0.38, 0.15), _step(toes, 0.78, 0.3) * 0.6)
    polar = np.linspace(0, 1, width - limb.stop) * np.ones((height, 1))
    eye = np.full((height, width - limb.stop, 3), 0.02)
    eye = _mix(eye, (0.86, 0.62, 0.14), _step(polar, 0.21, 0.03) * (1 - _step(polar, 0.36, 0.04)))
    eye = _mix(eye, (0.20, 0.17, 0.09), _step(polar, 0.40, 0.05))
    picture[:, limb.stop :] = eye
    return picture


def _fin() -> Array:
    rng = np.random.default_rng(11)
    v = np.linspace(1, 0, 64)[:, None]
    picture = np.broadcast_to(np.array([0.45, 0.36, 0.16]), (64, 256, 3)).copy()
    picture = _mix(picture, (0.90, 0.58, 0.20), np.broadcast_to(_step(v, 0.55, 0.7), (64, 256)))
    return _mix(picture, (0.15, 0.12, 0.06), _step(_noise(rng, (64, 256), (4, 6)), 1.0, 0.4) * 0.7)


def _sand() -> Array:
    rng = np.random.default_rng(3)
    shape = (512, 512)
    picture = np.broadcast_to(np.array([0.76, 0.66, 0.48]), (*shape, 3)).copy()
    picture = _mix(picture, (0.62, 0.52, 0.36), _step(_noise(rng, shape, (28, 40)), 0.0, 2.5) * 0.6)
    picture = _mix(picture, (0.88, 0.80, 0.64), _step(_noise(rng, shape, (1.0, 1.0)), 1.2, 0.6) * 0.6)
    picture = _mix(picture, (0.35, 0.29, 0.22), _step(_noise(rng, shape, (2.0, 2.0)), 2.2, 0.4) * 0.7)
    return picture * (1 + 0.07 * _noise(rng, shape, (0.7, 0.7))[..., None])


def _soil() -> Array:
    rng = np.random.default_rng(5)
    shape = (512, 512)
    patches = _noise(rng, shape, (36, 36))
    detail = _noise(rng, shape, (2.5, 2.5)) + 0.6 * _noise(rng, shape, (9, 9))
    picture = np.broadcast_to(np.array([0.36, 0.30, 0.20]), (*shape, 3)).copy()
    picture = _mix(picture, (0.33, 0.42, 0.18), _step(patches + 0.5 * detail, 0.2, 1.0) * 0.9)
    picture = _mix(picture, (0.46, 0.55, 0.24), _step(_noise(rng, shape, (1.2, 1.2)) + patches, 1.2, 0.7) * 0.7)
    picture = _mix(picture, (0.54, 0.47, 0.36), _step(_noise(rng, shape, (2.6, 3.4)), 2.0, 0.2) * (patches < 0.4) * 0.8)
    picture = _mix(picture, (0.20, 0.16, 0.11), _step(_noise(rng, shape, (1.4, 1.4)), 1.4, 0.6) * 0.6)
    return picture * (1 + 0.09 * _noise(rng, shape, (0.8, 0.8))[..., None])


def _gravel() -> Array:
    rng = np.random.default_rng(9)
    shape = (512, 512)
    picture = np.broadcast_to(np.array([0.42, 0.39, 0.33]), (*shape, 3)).copy()
    for colour, size in (
        ((0.56, 0.52, 0.45), 3.5),
        ((0.30, 0.28, 0.25), 3),
        ((0.50, 0.42, 0.32), 2.5),
        ((0.66, 0.63, 0.57), 2),
    ):
        picture = _mix(picture, colour, _step(_noise(rng, shape, (size, size)), 0.9, 0.25) * 0.85)
    picture = _mix(picture, (0.34, 0.42, 0.20), _step(_noise(rng, shape, (30, 30)), 0.9, 0.8) * 0.7)
    return picture * (1 + 0.10 * _noise(rng, shape, (1.0, 1.0))[..., None])


def _caustics(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Array:
    """A net of bright lines, as ripples focus light: the zero lines of smooth noise, sharpened."""
    net = sum(np.exp(-8 * np.abs(_noise(rng, shape, (size, size)))) for _ in range(3))
    return np.clip(np.asarray(net) / 1.6, 0, 1)


def _bottom() -> Array:
    """The floor of the pool: pale sand and pebbles under a net of light."""
    rng = np.random.default_rng(13)
    shape = (512, 512)
    picture = np.broadcast_to(np.array([0.42, 0.58, 0.56]), (*shape, 3)).copy()
    picture = _mix(picture, (0.30, 0.45, 0.46), _step(_noise(rng, shape, (40, 40)), 0.0, 2.5) * 0.7)
    picture = _mix(picture, (0.24, 0.34, 0.34), _step(_noise(rng, shape, (6, 6)), 1.5, 0.3) * 0.55)
    picture = _mix(picture, (0.93, 1.0, 0.95), _caustics(rng, shape, 17) ** 1.6 * 0.55)
    return picture * (1 + 0.05 * _noise(rng, shape, (0.9, 0.9))[..., None])


def _water() -> Array:
    """Ripples: darker and lighter blue-green with thin glints."""
    rng = np.random.default_rng(17)
    shape = (512, 512)
    ripple = _noise(rng, shape, (10, 22)) + 0.5 * _noise(rng, shape, (5, 8))
    picture = np.broadcast_to(np.array([0.28, 0.56, 0.64]), (*shape, 3)).copy()
    picture = _mix(picture, (0.50, 0.78, 0.82), _step(ripple, 0.4, 1.6) * 0.7)
    picture = _mix(picture, (0.16, 0.40, 0.50), _step(-ripple, 0.5, 1.4) * 0.6)
    return _mix(picture, (1.0, 1.0, 1.0), _caustics(rng, shape, 12) ** 3 * 0.45)


TEXTURES = {
    "newt": _newt,
    "fin": _fin,
    "sand": _sand,
    "soil": _soil,
    "gravel": _gravel,
    "bottom": _bottom,
    "water": _water,
}


@cache
def paint(name: str) -> bytes:
    """The picture as PNG.

    >>> paint("fin")[1:4]
    b'PNG'
    """
    picture = (255 * np.clip(TEXTURES[name](), 0, 1)).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
