"""How does a run look from another camera?

Films a finished run again from its stored traces; nothing is simulated. Ten seconds of run take about ten seconds.

    python scripts/film.py runs/demo/latest --camera top --out top.mp4
    python scripts/film.py runs/demo/latest --camera side --start 4 --stop 8 --speed 0.25 --out slow.mp4
    python scripts/film.py runs/demo/latest/traces.npz --camera drawn --webp --out drawn.mp4

Look for: the stripes of the raster, one band per unit, slanted while a wave travels from head to tail (swimming) and
upright while trunk and tail bend in turn (walking); the beads on the back, lit by the units of their side (blue left,
orange right); and in pink what was done to the network, when, and to which units (the bracket).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from sim.video import film


@dataclass(frozen=True)
class Args:
    """Film a finished run; see the top of this file for examples."""

    run: tyro.conf.Positional[Path]
    """Run folder that holds traces.npz, or a traces.npz itself."""
    camera: Literal["follow", "top", "side", "drawn"] = "follow"
    """follow: along with the animal, from behind and above. top: straight down. side: level, from its right.
    drawn: a drawing from above, which needs no OpenGL."""
    out: Path = Path("film.mp4")
    """The film; .webp instead of .mp4 gives a small animation."""
    width: int = 960
    """Pixels, even."""
    height: int = 540
    """Pixels, even; the upper 55 percent show the animal."""
    fps: float = 30.0
    """Frames per second."""
    start: float | None = None
    """First moment shown, seconds of the run."""
    stop: float | None = None
    """Last moment shown, seconds of the run."""
    speed: float = 1.0
    """1 plays in real time, 0.25 four times slower."""
    window: float = 8.0
    """Seconds of neural activity in sight at a time."""
    shadows: bool = False
    """Cast shadows and reflections; slower without a graphics card."""
    smooth: bool | None = None
    """True: four samples per pixel, for smooth edges. By default only with a graphics card: without one it takes
    twice the time."""
    activity: bool = True
    """Light the beads on the back by the activity of the axial units."""
    webp: bool = False
    """Also write a small animated WebP beside the film, for a web page."""


def main(args: Args) -> Path:
    """Film the run and say where the film is."""
    path = film(
        args.run,
        args.out,
        camera=args.camera,
        width=args.width,
        height=args.height,
        fps=args.fps,
        start=args.start,
        stop=args.stop,
        speed=args.speed,
        window=args.window,
        shadows=args.shadows,
        smooth=args.smooth,
        activity=args.activity,
        webp=args.webp,
    )
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: no film was written, and an older one of that name is untouched")
