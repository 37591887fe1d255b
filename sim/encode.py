"""Frames to files: MP4 by ffmpeg, small animated WebP by Pillow. Both are written aside and renamed when complete."""

import io
import os
import subprocess
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from sim.ink import Frame

__all__ = ["Mp4Writer", "WebpWriter", "find_ffmpeg"]


def find_ffmpeg() -> str:
    """The ffmpeg program: `IMAGEIO_FFMPEG_EXE`, the one bundled with imageio-ffmpeg, or the system's.

    Raises:
        RuntimeError: there is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise RuntimeError(
            "no ffmpeg was found; pip install --force-reinstall imageio-ffmpeg brings one, or on Debian: "
            "apt-get install ffmpeg"
        ) from error


class Mp4Writer:
    """H.264 in MP4, for every player and browser; a context manager. Frames are `[height, width, 3]`, both even.

    Leaving it by an exception removes what was written and leaves an older film as it was.

    Raises:
        RuntimeError: there is no ffmpeg, or it fails; its message is passed on.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float, crf: int = 20):
        if width % 2 or height % 2:
            raise ValueError(f"H.264 needs an even width and height, received {width} x {height}")
        self.path, self.part = path, path.with_name(f".{path.stem}.part.mp4")
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps}", "-i", "-"]
        coder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", f"{crf}", "-pix_fmt", "yuv420p"]
        command = [
            find_ffmpeg(),
            "-y",
            "-loglevel",
            "error",
            *source,
            *coder,
            "-movflags",
            "+faststart",
            str(self.part),
        ]
        # Its own session, so that Ctrl-C in the terminal reaches only this program, which then cleans up.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0
        )

    def write(self, frame: Frame) -> None:
        """Append one frame."""
        assert self._process.stdin is not None
        data = memoryview(np.ascontiguousarray(frame).tobytes())
        try:
            while data:
                data = data[self._process.stdin.write(data) :]
        except BrokenPipeError:
            raise RuntimeError(f"ffmpeg stopped: {self._finish()}") from None

    def _finish(self) -> str:
        _, message = self._process.communicate()
        return message.decode(errors="replace").strip() or f"status {self._process.returncode}"

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        message = self._finish() if self._process.returncode is None else ""
        if kind is None and self._process.returncode == 0:
            os.replace(self.part, self.path)
            return
        self.part.unlink(missing_ok=True)
        if kind is None:
            raise RuntimeError(f"ffmpeg could not write {self.path.name}: {message}")


class WebpWriter:
    """Animated WebP, for a web page, or where there is no ffmpeg; a context manager.

    Keeps every `every`-th frame, shrunk to `width` if wider. Quality, then frames give way until the file has no more
    than `max_bytes`: ten seconds fit well, long films suffer, so show a part of them.
    Leaving it by an exception writes nothing.
    """

    def __init__(self, path: Path, fps: float, *, every: int = 1, width: int = 480, max_bytes: int = 1_500_000):
        self.path, self.every, self.width, self.max_bytes = path, every, width, max_bytes
        self.milliseconds = round(1000 * every / fps)
        self.frames: list[Image.Image] = []
        self._count = 0

    def write(self, frame: Frame) -> None:
        """Append one frame."""
        if self._count % self.every == 0:
            image = Image.fromarray(frame)
            shape = (self.width, round(image.height * self.width / image.width))
            self.frames.append(image.resize(shape, Image.Resampling.BOX) if image.width > self.width else image.copy())
        self._count += 1

    def __enter__(self) -> "WebpWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None and self.frames:
            part = self.path.with_name(f".{self.path.stem}.part.webp")
            part.write_bytes(self._encode())
            os.replace(part, self.path)
        self.frames.clear()

    def _encode(self) -> bytes:
        """The best quality that fits, judged by a sample from the middle; at last frames are left out."""
        content = b""
        for step in (1, 2, 4):
            frames = self.frames[::step]
            sample = frames[len(frames) // 2 :][:24]
            for quality in (75, 55, 35, 20, 10):
                expected = len(self._webp(sample, quality, step)) * len(frames) / len(sample)
                if expected <= self.max_bytes or (step, quality) == (4, 10):
                    content = self._webp(frames, quality, step)
                    if len(content) <= self.max_bytes:
                        return content
        return content

    def _webp(self, frames: list[Image.Image], quality: int, step: int) -> bytes:
        buffer = io.BytesIO()
        first, *rest = frames
        options = {"duration": self.milliseconds * step, "loop": 0, "quality": quality, "method": 3}
        first.save(buffer, "WEBP", save_all=True, append_images=rest, **options)
        return buffer.getvalue()
