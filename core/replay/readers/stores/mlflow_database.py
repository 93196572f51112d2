"""Reader of MLflow's SQLite database, opened read-only, with any number of runs."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Final, NamedTuple

from ....errors import SettingsError
from ....limits import MB
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.points import Points
from .mlflow_runs import SYSTEM, run_name

_MAGIC = b"SQLite format 3\0"
_DAMAGES = (sqlite3.Error, UnicodeError)
_TABLES = ("metrics", "runs", "experiments", "params")
_MODE, _WRITE_AHEAD = 18, b"\x02"
"""The byte of the header that says how the database is written, and its value for a write-ahead log."""
_TEXT = MB  # bytes of a value
_OPERATIONS = MB  # of SQLite's virtual machine, between two looks at how many there were


class _Run(NamedTuple):
    id: str
    name: str | None
    experiment: str | None


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    """Open a database so that what is in it can neither run code nor keep SQLite busy for ever."""
    with closing(sqlite3.connect(_uri(path), uri=True)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _TEXT)
        connection.text_factory = _decoded
        most = 64 + path.stat().st_size // 50_000  # a table without damage needs a hundredth
        looks = iter(range(most))
        connection.set_progress_handler(lambda: next(looks, None) is None, _OPERATIONS)
        connection.execute("PRAGMA trusted_schema=OFF")
        yield connection


def _uri(path: Path) -> str:
    """Return the address that opens a database to read it, and leaves no file beside it.

    In the mode of a write-ahead log, SQLite would make one, unless the database is called immutable; so it is, if no
    program has it open.
    """
    with path.open("rb") as file:
        logged = file.read(_MODE + 1)[_MODE:] == _WRITE_AHEAD
    return f"{path.resolve().as_uri()}?{'immutable=1' if logged and not _beside(path, 'shm').exists() else 'mode=ro'}"


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}-{kind}")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _tables(connection: sqlite3.Connection) -> set[str]:
    """Return which of MLflow's tables are there; a view or a virtual table is none."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
    return {name for (name,) in found if name in _TABLES}


def _recognizes(file: LogFile) -> bool:
    if not file.head.startswith(_MAGIC):
        return False
    try:
        with _opened(file.path) as connection:
            return {"metrics", "runs"} <= _tables(connection)
    except _DAMAGES:
        return True  # reading it says what is wrong


def _read(source: Source) -> list[Recording]:
    try:
        with _opened(source.path) as connection:
            return _read_runs(source, connection)
    except _DAMAGES as error:
        words = "is not a complete SQLite database that MLflow wrote, or another program is writing to it"
        raise SettingsError(f"{str(source.path)!r} {words}: {str(error).splitlines()[0]}") from None


def _read_runs(source: Source, connection: sqlite3.Connection) -> list[Recording]:
    if missing := [name for name in _TABLES if name not in _tables(connection)]:
        raise SettingsError(f"{str(source.path)!r} is not a database of MLflow: it has no table {missing[0]!r}")
    named = (
        "SELECT run_uuid, runs.name, experiments.name FROM runs LEFT JOIN experiments "
        "ON runs.experiment_id = experiments.experiment_id WHERE runs.lifecycle_stage = 'active' ORDER BY start_time"
    )
    runs = [_Run(*map(_text, row)) for row in connection.execute(named)]
    points: defaultdict[str, Points] = defaultdict(Points)
    machine: set[str] = set()
    for run, label, step, value, time, is_nan in connection.execute(
        "SELECT run_uuid, key, step, value, timestamp, is_nan FROM metrics ORDER BY rowid"
    ):
        if str(label).startswith(SYSTEM):
            machine.add(run)
            continue
        try:
            points[run].add(str(label), float(step), nan if is_nan else float(value), float(time) / 1000)
        except (TypeError, ValueError):
            raise SettingsError(
                f"{str(source.path)!r} is damaged: the table 'metrics' has the value {value!r} at step {step!r}"
            ) from None
    log = _beside(source.path, "wal")
    lost = log.exists() and not _beside(source.path, "shm").exists()
    unread = f"The newest changes, which are in {log.name} after a killed program, are not read." if lost else ""
    settings: defaultdict[str, dict[str, object]] = defaultdict(dict)
    for run, key, value in connection.execute("SELECT run_uuid, key, value FROM params"):
        settings[run][str(key)] = value
    found: list[Recording] = []
    names = {run.id: run_name(run.experiment, run.name, otherwise=f"{source.name}#{run.id}") for run in runs}
    repeated = Counter(names[run.id] for run in runs if run.id in points)
    for run in runs:
        if run.id in points:
            steps, columns, notes = points[run.id].joined()
            if run.id in machine:
                notes.append("Metrics of the machine, such as its memory, are left out.")
            if unread:
                notes.append(unread)
            name = names[run.id] if repeated[names[run.id]] == 1 else f"{names[run.id]}#{run.id}"
            recording = build_recording(name, "MLflow database", steps, columns, notes, unit="step")
            found.append(replace(recording, settings=settings[run.id]))
    if not found:
        raise SettingsError(f"{str(source.path)!r} has {len(runs):,} runs of MLflow, but none of them logged a metric")
    return found


def _text(value: object) -> str:
    return "" if value is None else str(value)


READER: Final = Reader("MLflow", _recognizes, _read)
