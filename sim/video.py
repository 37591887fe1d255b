"""Film of a run, made afterwards from its stored traces: the animal in its world above, its neurons below.

>>> film("runs/demo/latest", "film.mp4", camera="side")  # doctest: +SKIP
"""

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.drawn import DrawnView
from sim.encode import Mp4Writer, WebpWriter, find_ffmpeg
from sim.footage import Footage
from sim.hud import Hud
from sim.ink import Frame

__all__ = ["Shot", "film", "still"]

Array = NDArray[Any]
Shot = Literal["follow", "top", "side", "drawn"]
SHOTS: tuple[Shot, ...] = ("follow", "top", "side", "drawn")
VIEW_SHARE = 0.55
"""Part of the frame's height that the picture of the animal takes."""


class View(Protocol):
    """A picture of the animal: rendered or drawn."""

    def draw(self, frame: Frame, time: float) -> None:
        """Draw one moment into the upper left of the frame."""

    def close(self) -> None:
        """Release what it holds."""


def film(
    traces: Mapping[str, Any] | str | Path,
    out: str | Path = "film.mp4",
    *,
    camera: Shot = "follow",
    width: int = 960,
    height: int = 540,
    fps: float = 30.0,
    start: float | None = None,
    stop: float | None = None,
    speed: float = 1.0,
    window: float = 8.0,
    shadows: bool = False,
    smooth: bool | None = None,
    activity: bool = True,
    webp: bool = False,
    model: Any = None,
    progress: bool = True,
) -> Path:
    """Film stored traces.

    The body is rendered by MuJoCo where there is OpenGL and the traces hold `qpos`, else it is drawn from above, and
    one line on standard error says why. Where there is no ffmpeg the film is an animated WebP.

    Args:
        traces: a mapping, a `traces.npz`, or a run folder; the keys are those of `sim.footage.Footage`.
        out: the film's name; its folder is made if missing.
        camera: "follow", "top", "side", or "drawn" for the drawn view from above.
        width, height: pixels, even numbers.
        fps: frames per second of the film.
        start, stop: part of the run, seconds.
        speed: of the film, 1 for real time, 0.25 for slow motion.
        window: seconds that the time strip shows.
        shadows: cast shadows and reflections; slower without a graphics card.
        smooth: four samples per pixel; None: if there is a graphics card, since without one it takes twice the time.
        activity: light the beads on the animal's back by the activity of its axial units.
        webp: also write a small animation beside the film, for a web page.
        model: `mujoco.MjModel` of the body, if it is not the one of the run's world and length.
        progress: show a progress bar.

    Returns:
        The path of the film.

    Raises:
        FileNotFoundError: there are no such traces.
        ValueError: an argument or the traces make no film; the message says which.
    """
    footage = Footage.load(traces)
    if camera not in SHOTS:
        raise ValueError(f"unknown camera {camera!r}; the cameras are {', '.join(SHOTS)}")
    if width % 2 or height % 2:
        raise ValueError(f"a film needs an even width and height, received {width} x {height}")
    if not fps > 0 or not speed > 0 or not window > 0:
        raise ValueError(f"fps, speed and window must be positive, received {fps}, {speed}, {window}")
    moments = _moments(footage, start, stop, fps, speed)
    path = _writable(Path(out))
    options = {"shadows": shadows, "smooth": smooth, "activity": activity, "model": model}
    with ExitStack() as stack:
        screen = stack.enter_context(closing(_Screen(footage, camera, width, height, window, options)))
        path, writers = _writers(path, width, height, fps, webp)
        for writer in writers:
            stack.enter_context(writer)
        for time in _with_progress(moments, path.name, progress):
            frame = screen.paint(float(time))
            for writer in writers:
                writer.write(frame)
    return path


def still(
    traces: Mapping[str, Any] | str | Path,
    time: float,
    *,
    camera: Shot = "follow",
    width: int = 960,
    height: int = 540,
    **options: Any,
) -> Frame:
    """One frame of the film, `[height, width, 3]`; options as `shadows`, `smooth`, `activity` and `model` of `film`."""
    footage = Footage.load(traces)
    with closing(_Screen(footage, camera, width, height, 8.0, options)) as screen:
        return screen.paint(time).copy()


class _Screen:
    """The picture of the animal above and the neurons below, composed into one frame that is used again and again."""

    def __init__(
        self, footage: Footage, camera: Shot, width: int, height: int, window: float, options: Mapping[str, Any]
    ):
        view_height = round(VIEW_SHARE * height)
        self.frame: Frame = np.zeros((height, width, 3), np.uint8)
        self.hud = Hud(footage, width, height, view_height, window)
        self.view = _view(footage, camera, width, view_height, options)

    def paint(self, time: float) -> Frame:
        self.view.draw(self.frame, time)
        self.hud.draw(self.frame, time)
        return self.frame

    def close(self) -> None:
        self.view.close()


def _view(footage: Footage, camera: Shot, width: int, height: int, options: Mapping[str, Any]) -> View:
    """The rendered view, or the drawn one if that is wanted or nothing else can be had."""
    if camera == "drawn":
        return DrawnView(footage, width, height)
    if footage.qpos is None:
        print("film: the traces hold no `qpos`; drawing the animal from above instead", file=sys.stderr)
        return DrawnView(footage, width, height)
    from sim.render import NoGL, RenderedView

    try:
        return RenderedView(footage, width, height, camera, **options)
    except NoGL as error:
        print(f"film: {error}. Drawing the animal from above instead", file=sys.stderr)
        return DrawnView(footage, width, height)


def _moments(footage: Footage, start: float | None, stop: float | None, fps: float, speed: float) -> Array:
    """The moments of the frames, seconds of the run.

    Raises:
        ValueError: the part of the run that was asked for is empty.
    """
    first, last = float(footage.time[0]), float(footage.time[-1])
    begin = first if start is None else max(start, first)
    end = last if stop is None else min(stop, last)
    if not begin < end:
        raise ValueError(
            f"the run lasts from {first:g} to {last:g} s, nothing of it lies between start = {start} and stop = {stop}"
        )
    return np.arange(begin, end, speed / fps)


def _writable(path: Path) -> Path:
    """Make the film's folder, and see now, not after the work, that a file can be made in it.

    Raises:
        ValueError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise ValueError(f"cannot write {path} ({error}); choose another place for the film") from error


def _writers(path: Path, width: int, height: int, fps: float, webp: bool) -> tuple[Path, list[Mp4Writer | WebpWriter]]:
    """The files to write; without ffmpeg an animated WebP of full size stands in for the MP4."""
    every = max(1, round(fps / 15))
    try:
        if path.suffix.lower() == ".webp":
            return path, [WebpWriter(path, fps, every=every)]
        find_ffmpeg()
    except RuntimeError as error:
        path = path.with_suffix(".webp")
        print(f"film: {error}. Writing {path.name} instead", file=sys.stderr)
        return path, [WebpWriter(path, fps, every=every, width=width, max_bytes=20_000_000)]
    writers: list[Mp4Writer | WebpWriter] = [Mp4Writer(path, width, height, fps)]
    if webp:
        writers.append(WebpWriter(path.with_suffix(".webp"), fps, every=every))
    return path, writers


def _with_progress(moments: Array, name: str, show: bool) -> Iterable[Any]:
    """A progress bar, if wanted and if somebody sits at a terminal."""
    if not show:
        return moments
    from tqdm import tqdm

    return tqdm(moments, desc=name, unit="frame", mininterval=0.5, dynamic_ncols=True, disable=None)
