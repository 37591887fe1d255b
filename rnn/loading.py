"""Reading records from files: npz, MATLAB and text."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnn.data import Record, columns

__all__ = ["load_records"]

LARGEST_GAP = 3  # samples in a row that are filled in
FORMATS = (".npz", ".csv", ".txt", ".dat", ".mat")


def load_records(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    dt: float | None = None,
    time: str | None = None,
    trial: str | None = None,
    skip_rows: int = 0,
) -> list[Record]:
    """Read the records in a file.

    - npz: `u [T, I]`, `y [T, O]` and `dt`, or sections `u_0, y_0, u_1, y_1, ...`; without u an unforced system.
    - mat (MATLAB up to version 7): variables by name, [T], [1, T] or [T, channels]; by default `u`, `y`, `dt`.
    - csv, txt, dat: columns by name (of the header line, a leading % or # is ignored) or by number from 0,
      separated by commas, semicolons, tabs or blanks. By default the columns called u, u0, u1 ... and y, y0, y1 ...

    Args:
        path: the file.
        inputs: names of variables or columns.
        outputs: names of variables or columns.
        dt: sampling time in seconds; None to take the file's, or the median step of the `time` column.
        time: column or variable with the time in seconds. Where up to three samples in a row are missing they are
            filled in by a cubic spline; where more are, the record is cut in two.
        trial: column that numbers the trials of a text file; each becomes a record.
        skip_rows: lines to leave out before the header of a text file.

    Raises:
        FileNotFoundError: no such file. ValueError: an unknown format, missing names, or data that `Record` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path.name}: the format {suffix!r} is not known; the formats are {', '.join(FORMATS)}")
    if suffix == ".npz":
        return _from_npz(path, inputs, outputs, dt, time)
    if suffix == ".mat":
        return _from_mat(path, inputs, outputs, dt, time)
    return _from_text(path, inputs, outputs, dt, time, trial, skip_rows)


def _from_npz(path: Path, inputs: Sequence[str], outputs: Sequence[str], dt: float | None, time: str | None):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path.name} is damaged or no npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            table = {name: file[name] for name in file.files}
    except ValueError as error:
        raise ValueError(f"{path.name}: cannot be read as plain arrays ({error}); save numbers, not objects") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    step = _step(table, dt, time, path.name)
    if outputs or "y" in table:
        y = _pick(table, outputs or ["y"], path)
        return [Record(_inputs(table, inputs or ["u"] * ("u" in table), path, len(y)), y, step, path.stem)]
    numbers = sorted(int(name[2:]) for name in table if name.startswith("y_") and name[2:].isdigit())
    if not numbers:
        raise ValueError(f"{path.name} has neither y nor y_0, y_1, ...; it has {', '.join(table) or 'nothing'}")
    missing = [f"u_{k}" for k in numbers if f"u_{k}" not in table]
    if missing and len(missing) < len(numbers):
        raise ValueError(f"{path.name}: {', '.join(missing)} missing; every section needs its u_k and y_k")
    return [Record(table.get(f"u_{k}"), table[f"y_{k}"], step, f"{path.stem}_{k}") for k in numbers]


def _from_mat(path: Path, inputs: Sequence[str], outputs: Sequence[str], dt: float | None, time: str | None):
    from scipy.io import loadmat

    try:
        raw = loadmat(path)
    except NotImplementedError as error:
        raise ValueError(f"{path.name} is a MATLAB 7.3 file; save it with `save -v7`") from error
    except Exception as error:
        raise ValueError(f"{path.name} is damaged or no MATLAB file: {error}") from error
    table = {}
    for name, value in raw.items():
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            table[name] = value.T if value.ndim == 2 and value.shape[0] == 1 else value
    step = _step(table, dt, time, path.name)
    y = _pick(table, outputs or ["y"], path)
    u = _inputs(table, inputs or ["u"] * ("u" in table), path, len(y))
    return [Record(u, y, step, path.stem)]


def _from_text(
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dt: float | None,
    time: str | None,
    trial: str | None,
    skip_rows: int,
) -> list[Record]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()[skip_rows:]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{path.name} is empty")
    names, body = _header(lines, path.name)
    rows = [_fields(line) for line in body]
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        odd = next(i for i, row in enumerate(rows) if len(row) != len(rows[0]))
        raise ValueError(f"{path.name}: row {odd} has {len(rows[odd])} columns, the first has {len(rows[0])}")
    try:
        values = np.array([[float(cell) if cell else math.nan for cell in row] for row in rows])
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}; leave header lines out with skip_rows") from error
    width = values.shape[1]
    table: dict[str, np.ndarray] = {str(i): values[:, i] for i in range(width)}
    if names and len(names) <= width:  # names of the last columns, where the first ones have none
        table |= {name: values[:, width - len(names) + i] for i, name in enumerate(names)}
    else:
        names = []
    by_letter = lambda letter: [n for n in names if n == letter or (n[0] == letter and n[1:].lstrip("_").isdigit())]
    inputs, outputs = inputs or by_letter("u"), outputs or by_letter("y")
    if not outputs:
        raise ValueError(
            f"{path.name}: which columns are outputs? name them with `outputs`; the columns are "
            f"{', '.join(names) if names else f'0 to {width - 1}'}"
        )
    y = _pick(table, outputs, path)
    u = _inputs(table, inputs, path, len(y))
    marks = np.zeros(len(y)) if trial is None else _pick(table, [trial], path)[:, 0]
    times = None if time is None else _pick(table, [time], path)[:, 0]
    step = _step(table, dt, time, path.name)
    records = []
    for mark in dict.fromkeys(marks.tolist()):
        name = path.stem if trial is None else f"{path.stem} trial {mark:g}"
        rows = marks == mark
        record = Record(u[rows], y[rows], step, name)
        records += [record] if times is None else without_gaps(record, times[rows])
    return records


def without_gaps(record: Record, times: np.ndarray) -> list[Record]:
    """The record on an even grid: missing samples filled in where few are missing in a row, cut where many are.

    Sampling times that are even but for rounding give the record back, with their mean step.

    >>> t = np.array([0.0, 0.1, 0.2, 0.4, 0.5, 0.6])
    >>> [r.y[:, 0].round(6).tolist() for r in without_gaps(Record(None, t, 0.1), t)]
    [[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]

    Raises:
        ValueError: times that do not increase.
    """
    from scipy.interpolate import CubicSpline

    if len(times) < 4:
        return [record]
    steps = np.diff(times)
    if not (steps > 0).all():
        bad = int(np.flatnonzero(~(steps > 0))[0])
        raise ValueError(f"{record.name}: time does not increase from row {bad} ({times[bad]:g}) to the next")
    middle = float(np.median(steps))
    cuts = np.flatnonzero(steps > (LARGEST_GAP + 1.5) * middle) + 1
    pieces = []
    for k, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(times)], strict=True)):
        t, piece = times[begin:end], record[int(begin) : int(end)]
        number = 1 + np.concatenate([[-1], np.cumsum(np.maximum(np.rint(np.diff(t) / middle), 1)) - 1]).astype(int)
        if len(piece) < 4:
            continue
        dt = float((t[-1] - t[0]) / number[-1])
        u, y = piece.u, piece.y
        if number[-1] + 1 > len(piece):
            grid = np.arange(number[-1] + 1)
            u, y = CubicSpline(number, u)(grid) if u.size else np.zeros((len(grid), 0)), CubicSpline(number, y)(grid)
            u[number], y[number] = piece.u, piece.y
        name = record.name if len(cuts) == 0 else f"{record.name} part {k}"
        pieces.append(Record(u, y, dt, name, record.unit))
    return pieces


def _fields(line: str) -> list[str]:
    for separator in (";", ",", "\t"):
        if separator in line:
            return [cell.strip() for cell in line.strip().rstrip(separator).split(separator)]
    return line.split()


def _header(lines: list[str], name: str) -> tuple[list[str], list[str]]:
    cells = [cell.strip("\"' ") for cell in _fields(lines[0].lstrip("%# "))]
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return cells, lines[1:]
    return [], [line for line in lines if line.lstrip()[0] not in "%#"]


def _inputs(table: dict[str, np.ndarray], names: Sequence[str], path: Path, length: int) -> np.ndarray:
    return _pick(table, names, path) if names else np.zeros((length, 0))


def _pick(table: dict[str, np.ndarray], names: Sequence[str], path: Path) -> np.ndarray:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{path.name} has no {', '.join(map(repr, missing))}; it has {', '.join(table)}")
    channels = [columns(table[name], f"{name} in {path.name}") for name in names]
    if len({len(channel) for channel in channels}) > 1:
        lengths = ", ".join(f"{name}: {len(channel)}" for name, channel in zip(names, channels, strict=True))
        raise ValueError(f"{path.name}: channels of different length ({lengths})")
    return np.concatenate(channels, 1)


def _step(table: dict[str, np.ndarray], dt: float | None, time: str | None, name: str) -> float:
    if dt is not None:
        return float(dt)
    if time is not None:
        if time not in table:
            raise ValueError(f"{name} has no time column {time!r}; it has {', '.join(table)}")
        steps = np.diff(np.asarray(table[time], dtype=float).ravel())
        return float(np.median(steps))
    if "dt" in table and np.size(table["dt"]) == 1:
        return float(np.ravel(table["dt"])[0])
    raise ValueError(f"{name} does not say its sampling time; give `dt` in seconds or a `time` column")
