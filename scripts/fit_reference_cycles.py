"""Which few numbers carry the recorded swimming and walking cycle of the newt?

Computes the Fourier coefficients of the two recorded joint cycles and writes them to `sim/reference_cycles.json`, the
table behind `sim.reference.recorded_cycle`; prints how far the series is from the recording. Needs the recordings
(`salamander/` of the data folder); the table itself is part of the repository. Takes a second.

    python scripts/fit_reference_cycles.py --data DATA

The recordings belong to "From cineradiography to biorobots" (Karakasiliotis et al., 2016) and are stored with the
code of "Balancing central control and sensory feedback ..." (Pazzaglia et al., 2025), AlexPazzaglia/SalamandraSNN, MIT.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from sim.kinematics import load_cycle

FILES = {"swim": "swimming_data_karakasiliotis.csv", "walk": "walking_data_karakasiliotis_processed.csv"}
HARMONICS = {"swim": 5, "walk": 8}  # the limbs need more: foot placement is quick


@dataclass(frozen=True)
class Args:
    """See the top of this file."""

    data: Path = Path(os.environ.get("SALAMANDER_LAB_DATA", "data"))
    """Folder that holds `salamander/` with the recordings."""
    out: Path = Path("sim/reference_cycles.json")
    """Where to write the table."""
    digits: int = 3
    """Decimals kept, degrees."""


def fit(path: Path, harmonics: int, digits: int) -> tuple[dict[str, object], np.ndarray]:
    """Coefficients in degrees, and the greatest and the root-mean-square error of each joint."""
    cycle = load_cycle(path, closing=0.0)
    degrees = np.degrees(cycle.angles)
    spectrum = np.fft.rfft(degrees, axis=0)[: harmonics + 1] / len(degrees)
    cosines, sines = 2 * spectrum[1:].real, -2 * spectrum[1:].imag
    phase = 2 * np.pi * np.arange(len(degrees))[:, None] / len(degrees) * np.arange(1, harmonics + 1)
    error = spectrum[0].real + np.cos(phase) @ cosines + np.sin(phase) @ sines - degrees
    table = {
        "joints": list(cycle.joint_names),
        "mean": np.round(spectrum[0].real, digits).tolist(),
        "cos": np.round(cosines, digits).tolist(),
        "sin": np.round(sines, digits).tolist(),
    }
    return table, np.stack([np.abs(error).max(axis=0), np.sqrt((error**2).mean(axis=0))])


def main(args: Args) -> dict[Literal["swim", "walk"], dict[str, object]]:
    """Fit both cycles, print the errors, write the table."""
    tables = {}
    for gait, file in FILES.items():
        tables[gait], error = fit(args.data / "salamander" / file, HARMONICS[gait], args.digits)
        print(f"{gait}: {HARMONICS[gait]} harmonics, error at most {error[0].max():.2f}, rms {error[1].max():.2f} deg")
    content = {
        "unit": "degrees",
        "form": "angle = mean + sum over k >= 1 of cos[k-1] cos(2 pi k phase) + sin[k-1] sin(2 pi k phase)",
        "source": "Karakasiliotis et al. 2016, as stored with Pazzaglia et al. 2025",
        **tables,
    }
    text = json.dumps(content, indent=1)
    lines = text.replace(",\n    ", ", ").replace("[\n    ", "[").replace("\n   ]", "]")  # one harmonic per line
    args.out.write_text(lines + "\n")
    print(f"written to {args.out}")
    return tables


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
