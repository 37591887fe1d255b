"""Public recordings of real oscillators with their standard splits, from a folder that the user gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rnn.data import Record
from rnn.loading import load_records

__all__ = ["BENCHMARKS", "OSCILLATORS", "Benchmark", "find_recording", "load_benchmark", "load_oscillator"]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Training records, named test records, and the samples of a test that may be used to find its initial state."""

    train: list[Record]
    tests: dict[str, Record]
    window: int
    unit: str
    source: str


def find_recording(folder: str | os.PathLike[str], name: str) -> Path:
    """The file of this name in a folder or in a folder inside it.

    Raises:
        FileNotFoundError: it is not there; the remedy is told.
    """
    folder = Path(folder)
    for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{name} is not in {folder} nor in a folder inside it; fetch it with "
        f"`python scripts/download_data.py --out {folder}` or name its folder with --data"
    )


def load_benchmark(name: str, folder: str | os.PathLike[str]) -> Benchmark:
    """A benchmark by name.

    "silverbox": an electronic Duffing oscillator, 610.35 Hz, output in mV. The multisine's first three quarters train,
    its last quarter tests; the "arrow" (amplitude rising beyond the training's) tests too, and its first 32,000
    samples, which do not exceed the training's amplitude, by themselves. 50 samples find the initial state.
    "Three free data sets for development and benchmarking in nonlinear system identification" (Wigren and Schoukens,
    2013).

    Raises:
        ValueError: an unknown name. FileNotFoundError: the file is not there.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; the benchmarks are {', '.join(BENCHMARKS)}")
    record = load_records(find_recording(folder, "SNLS80mV.mat"), inputs=["V1"], outputs=["V2"], dt=1 / 610.35)[0]
    record = replace(record, y=1e3 * record.y, unit="mV", name="silverbox")
    multisine, arrow = record[40_650:127_400], record[100:40_575]
    return Benchmark(
        train=[multisine[:65_062]],
        tests={"multisine": multisine[65_062:], "arrow": arrow, "arrow_no_extrapolation": arrow[:32_000]},
        window=50,
        unit="mV",
        source="Three free data sets for development and benchmarking in nonlinear system identification "
        "(Wigren, Schoukens, 2013)",
    )


BENCHMARKS = ("silverbox",)

# name: (file, columns observed, unit); motion tracking of real devices, unforced
OSCILLATORS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "single": ("real_linear_h_1.txt", ("x",), "mm"),
    "coupled": ("real_double_linear_h_1.txt", ("x1", "x2"), "mm"),
    "pendulum": ("real_pend_h_1.txt", ("o",), "rad"),
}


def load_oscillator(name: str, folder: str | os.PathLike[str], share: float = 0.7) -> tuple[list[Record], list[Record]]:
    """Training and test part (the first `share` in time, and the rest) of a tracked oscillator or pendulum.

    "single": a cart between springs on an air track; "coupled": two of them; "pendulum". Only positions are read: the
    files' velocities were computed from them. "Distilling free-form natural laws from experimental data" (Schmidt,
    Lipson, 2009).

    Raises:
        ValueError: an unknown name. FileNotFoundError: the file is not there.
    """
    if name not in OSCILLATORS:
        raise ValueError(f"unknown oscillator {name!r}; there are {', '.join(OSCILLATORS)}")
    file, outputs, unit = OSCILLATORS[name]
    records = load_records(find_recording(folder, file), outputs=outputs, time="1", trial="0")
    records = [replace(record, unit=unit, name=f"{name}, {record.name}") for record in records]
    cuts = [round(share * len(record)) for record in records]
    train = [record[:cut] for record, cut in zip(records, cuts, strict=True)]
    return train, [record[cut:] for record, cut in zip(records, cuts, strict=True)]
