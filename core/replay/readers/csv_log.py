"""Tables as Keras's and Lightning's CSVLogger, pandas, Ultralytics and many loops write them: a row for each epoch."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from ...errors import SettingsError
from ..records import Recording
from .metric_names import listed
from .rows import MISSING, Cells, recording_of

__all__ = ["PATTERNS", "read", "recognizes"]

PATTERNS = ("*.csv", "*.tsv", "*.log", "*.txt")
"""What the names of such files are like; Keras's own example writes to training.log."""

LIGHTNING = "metrics.csv"
_EPOCHS = ("epoch", "epochs")
_STEPS = ("step", "global_step")
_DELIMITERS = (",", ";", "\t")
_LONGEST_LINE = 1 << 20


def recognizes(path: Path) -> bool:
    """Whether the first line names a column of epochs."""
    try:
        with _opened(path) as file:
            return _epoch(_header(path, file)[0]) is not None
    except (SettingsError, UnicodeError, csv.Error):
        return False


def read(files: Sequence[Path], name_of: Callable[[Path], str]) -> list[Recording]:
    """The run in a table.

    Raises:
        SettingsError: it is no table, or has no epochs.
        OSError: it cannot be read.
    """
    (path,) = files
    try:
        with _opened(path) as file:
            return [_recording(path, file, name_of(path))]
    except (UnicodeError, csv.Error) as error:
        raise SettingsError(f"{str(path)!r} is no table of text: {error}") from None


def _recording(path: Path, file: TextIOWrapper, name: str) -> Recording:
    header, delimiter = _header(path, file)
    epoch = _epoch(header)
    if epoch is None:
        raise SettingsError(f"{str(path)!r} has no column 'epoch'; it has {listed(header)}")
    numbers = [(array("q"), array("d")) for _ in header]
    strange = [0] * len(header)
    count = uneven = 0
    whole = _whole(path)
    for cells in _rows(file, path, delimiter, whole=whole):
        if len(cells) != len(header):
            uneven += bool(cells)
            continue
        if cells[epoch] == header[epoch]:  # a script that appends may write its header again
            continue
        for (rows, values), place, cell in zip(numbers, range(len(header)), cells, strict=True):
            if cell.strip().lower() in MISSING:
                continue
            try:
                values.append(float(cell))
            except ValueError:
                strange[place] += 1
            else:
                rows.append(count)
        count += 1
    notes = [] if whole else ["The last line has no end, as a killed run leaves it, and is left out."]
    if uneven:
        notes.append(f"{uneven:,} lines have not the {len(header)} cells of the first one, and are left out.")
    notes += [
        f"{number:,} cells of {header[place]!r} are no numbers, and left out."
        for place, number in enumerate(strange)
        if number and place != epoch
    ]
    columns = {
        label: Cells(np.array(rows, np.int64), np.array(values))
        for label, (rows, values) in zip(header, numbers, strict=True)
    }
    steps = next((place for place, label in enumerate(header) if label.lower() in _STEPS), None)
    by_row = [_by_row(columns[header[place]], count) for place in (epoch, steps) if place is not None]
    wanted = {
        label: cells
        for place, (label, cells) in enumerate(zip(header, columns.values(), strict=True))
        if place not in (epoch, steps) and not label.startswith("Unnamed") and label and cells.rows.size
    }
    return recording_of(name, _words(path, header), by_row[0], wanted, notes, by_row[1] if by_row[1:] else None)


def _opened(path: Path) -> TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def _header(path: Path, file: TextIOWrapper) -> tuple[list[str], str]:
    """The names of the columns, and what stands between cells."""
    line = _line(path, file)
    delimiter = max(_DELIMITERS, key=line.count)
    header = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), list[str]())]
    taken: set[str] = set()
    for place, cell in enumerate(header):
        header[place] = cell if cell not in taken else f"{cell}.{place}"
        taken.add(header[place])
    return header, delimiter


def _epoch(header: list[str]) -> int | None:
    """Which column has the epochs: the one that is called so, or the index that pandas writes without a name."""
    if len(header) < 2:
        return None
    named = [place for place, label in enumerate(header) if label.lower() in _EPOCHS]
    if named:
        return named[0]
    return 0 if not header[0] and any("loss" in label.lower() for label in header) else None


def _rows(file: TextIOWrapper, path: Path, delimiter: str, *, whole: bool) -> Iterator[list[str]]:
    """All rows but one that was cut."""
    rows = csv.reader(iter(lambda: _line(path, file), ""), delimiter=delimiter)
    if whole:
        yield from rows
        return
    before = next(rows, None)
    for row in rows:
        assert before is not None
        yield before
        before = row


def _line(path: Path, file: TextIOWrapper) -> str:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise SettingsError(f"{str(path)!r} is no table: a line of it has more than {_LONGEST_LINE:,} characters")
    return line


def _whole(path: Path) -> bool:
    """Whether the last line has an end."""
    with path.open("rb") as file:
        file.seek(-min(1, path.stat().st_size), 2)
        return file.read() in (b"\n", b"\r", b"")


def _by_row(cells: Cells, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.full(count, np.nan)
    values[cells.rows] = cells.values
    return values


def _words(path: Path, header: list[str]) -> str:
    if path.name == LIGHTNING and {"epoch", "step"} <= set(header):
        return "Lightning CSV"
    return "Keras CSV" if header[0] == "epoch" and header[1:] == sorted(header[1:]) else "CSV"
