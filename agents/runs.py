"""A run is a folder: its settings, what it measured, its traces, and how it ended."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

__all__ = ["Run", "continued", "load_traces", "write_atomically"]


class Run:
    """A run folder, `config.yaml`, `meta.json`, `metrics.csv`, `metrics.json`, `traces.npz`, `checkpoints/`, `videos/`.

    Files are written aside and renamed, so that a run killed at any moment leaves either the old file or the new.
    As a context manager it writes how the run ended: "done", "interrupted" (Ctrl-C) or "failed".

    Args:
        folder: where; made if missing.
        config: the complete settings, a dataclass or a mapping of plain values.
        again: the folder holds the beginning of this run, whose table goes on; otherwise the first row that is logged
            replaces the table of whatever ran there before.

    Raises:
        ValueError: the folder cannot be written; nothing has been computed yet when this is raised.

    >>> import tempfile
    >>> with Run(tempfile.mkdtemp(), {"seed": 3}) as run:
    ...     run.log(step=1, loss=0.5)
    >>> run.config()["seed"], run.meta()["status"]
    (3, 'done')
    """

    def __init__(self, folder: str | os.PathLike[str], config: Any = None, *, again: bool = False):
        self.folder, self._again = Path(folder), again
        _check_writable(self.folder)
        self._csv: IO[str] | None = None
        is_record = dataclasses.is_dataclass(config) and not isinstance(config, type)
        settings = dataclasses.asdict(config) if is_record else dict(config or {})
        text = yaml.safe_dump(_plain(settings), sort_keys=False)
        write_atomically(self.folder / "config.yaml", text.encode())
        self._meta: dict[str, Any] = {
            "status": "running",
            "command": " ".join(sys.argv),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "ended": None,
            "commit": _commit(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "mujoco", "gymnasium", "numpy")},
        }
        self._write_meta()

    @classmethod
    def new(cls, experiment: str, config: Any, *, seed: int = 0, root: str | os.PathLike[str] = "runs") -> Run:
        """A fresh folder `runs/<experiment>/<UTC stamp>_seed<k>/`."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        return cls(Path(root) / experiment / f"{stamp}_seed{seed}", config)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.finish("done" if kind is None else "interrupted" if interrupted else "failed")

    def finish(self, status: str) -> None:
        """Write how the run ended; a status set before (such as "interrupted") is not overwritten by "done"."""
        if self._csv:
            self._csv.close()
            self._csv = None
        if self._meta["status"] == "running":
            self._meta.update(status=status, ended=datetime.now(UTC).isoformat(timespec="seconds"))
            self._write_meta()

    def config(self) -> dict[str, Any]:
        """The settings as stored."""
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    def meta(self) -> dict[str, Any]:
        """Commit, command, versions and status as stored."""
        return json.loads((self.folder / "meta.json").read_text())

    def log(self, **row: float | int | str) -> None:
        """Append one row to `metrics.csv`, flushed; the first row of a new file fixes the columns."""
        path = self.folder / "metrics.csv"
        if self._csv is None:
            if not self._again:
                path.unlink(missing_ok=True)
                self._again = True
            exists = path.exists() and path.stat().st_size > 0
            self._columns = path.read_text().splitlines()[0].split(",") if exists else list(row)
            self._csv = path.open("a", newline="")
            if not exists:
                csv.writer(self._csv).writerow(self._columns)
        unknown = set(row) - set(self._columns)
        if unknown:
            raise ValueError(f"metrics.csv has columns {self._columns}, received {sorted(unknown)} too; log them first")
        csv.writer(self._csv).writerow([row.get(name, "") for name in self._columns])
        self._csv.flush()

    def rows(self, column: str, upto: float) -> list[dict[str, str]]:
        """Rows of `metrics.csv` with at most this value in a column; others are dropped, since they will come again.

        What a killed run logged after its last checkpoint it logs once more when it goes on.
        """
        path = self.folder / "metrics.csv"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [row for row in csv.DictReader(lines) if float(row[column] or "nan") <= upto]
        write_atomically(path, "".join(f"{line}\n" for line in lines[: 1 + len(kept)]).encode())
        return kept

    def save_json(self, name: str, data: Any) -> Path:
        """Write a JSON file into the run."""
        return write_atomically(self.folder / name, (json.dumps(_plain(data), indent=2) + "\n").encode())

    def save_traces(self, arrays: Mapping[str, Any], name: str = "traces.npz") -> Path:
        """Write arrays and strings as a compressed npz that `load_traces` reads without pickles."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            np.savez_compressed(file, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})
        os.replace(file.name, self.folder / name)
        return self.folder / name

    def _write_meta(self) -> None:
        write_atomically(self.folder / "meta.json", (json.dumps(self._meta, indent=2) + "\n").encode())


def write_atomically(path: Path, data: bytes) -> Path:
    """Write a file aside and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
        file.write(data)
    os.replace(file.name, path)
    return path


def continued(args: Any, free: Collection[str] = ()) -> Any:
    """The settings of the interrupted run in the folder `args.out`, to go on with.

    Args:
        args: a dataclass with `out` and `resume`; what differs from its defaults was asked for.
        free: names of settings that may be others than the run's.

    Raises:
        ValueError: there is no run in the folder, or others of its settings were asked for.
    """
    file, kind = Path(args.out) / "config.yaml", type(args)
    if not file.is_file():
        raise ValueError(f"there is no run in {args.out} to go on with; leave --resume out to begin one")
    names = {field.name for field in dataclasses.fields(kind)} - {"resume", "out", *free}
    stored = {name: value for name, value in yaml.safe_load(file.read_text()).items() if name in names}
    own = kind()
    for name, value in stored.items():
        if (asked := getattr(args, name)) not in (value, getattr(own, name)):
            raise ValueError(
                f"the run in {args.out} has {name}={value!r}, received {asked!r}; --resume goes on with the settings "
                "of the run: leave others out, or begin a new run in another folder"
            )
    return dataclasses.replace(args, **stored)


def load_traces(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the traces of a run: a folder, or the npz itself.

    Raises:
        ValueError: there is no such file, or it is not a readable npz.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "traces.npz"
    if not file.is_file():
        raise ValueError(f"no traces at {file}; pass a run folder that holds traces.npz, or the npz itself")
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file} is not a readable trace file ({error}); run the simulation again") from error


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"the output folder {folder} cannot be written ({error.strerror}); choose another") from error


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + (" with changes" if dirty.stdout.strip() else "")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
