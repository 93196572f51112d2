"""Reader of CSV tables with one row per epoch: Keras's and Lightning's CSVLogger, pandas, Ultralytics and others."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from ....errors import SettingsError
from ....limits import CSV_LINE, ROWS
from ...records import Recording
from ..log_file import LogFile
from ..metric_names import check_metrics, list_names
from ..reader import GENERAL, Reader, Source
from ..recording import build_recording
from ..rows import MISSING, Table

_LIGHTNING_NAME = "metrics.csv"
_EPOCH_LABELS = ("epoch", "epochs")
_STEP_LABELS = ("step", "global_step")
_DELIMITERS = (",", ";", "\t")


def recognizes(file: LogFile) -> bool:
    """Return whether the first line has a column of epochs."""
    try:
        with _open(file.path) as text:
            return bool(file.text) and _epoch_column(_read_header(file.path, text)[0]) is not None
    except (SettingsError, UnicodeError, csv.Error):
        return False


def read(source: Source) -> list[Recording]:
    """Return the run in a table.

    Raises:
        SettingsError: The file is not a table, or has no epochs.
        OSError: The file cannot be read.
    """
    path = source.path
    try:
        with _open(path) as file:
            return [_read_table(path, file, source.name)]
    except (UnicodeError, csv.Error) as error:
        raise SettingsError(f"{str(path)!r} is not a text table: {error}") from None


def _read_table(path: Path, file: TextIOWrapper, name: str) -> Recording:
    header, delimiter = _read_header(path, file)
    epoch = _epoch_column(header)
    if epoch is None:
        raise SettingsError(f"{str(path)!r} has no column 'epoch'; it has {list_names(header)}")
    check_metrics(name, header)
    table, invalid, uneven = Table(), Counter[str](), 0
    complete = _ends_with_newline(path)
    for cells in _rows(file, path, delimiter, complete=complete):
        if len(cells) != len(header):
            uneven += bool(cells)
        elif cells[epoch] != header[epoch]:  # a script that appends to the file may write the header again
            table.add(_numbers(zip(header, cells, strict=True), invalid))
            if table.count > ROWS:
                raise SettingsError(
                    f"{str(path)!r} has more than {ROWS:,} rows; give a table with a row for each epoch"
                )
    notes = [] if complete else ["The last line has no line end, as after a killed run, and is left out."]
    if uneven:
        notes.append(f"{uneven:,} lines do not have the {len(header)} cells of the first line and are left out.")
    notes += [
        f"{invalid[label]:,} cells of {label!r} are not numbers and are left out."
        for column, label in enumerate(header)
        if invalid[label] and column != epoch
    ]
    step = next((label for label in header if label.lower() in _STEP_LABELS), None)
    columns = table.cells()
    metrics = {
        label: columns[label]
        for label in header
        if label in columns and label not in ("", header[epoch], step) and not label.startswith("Unnamed")
    }
    steps = None if step is None else table.column(step)
    return build_recording(name, _format(path, header), table.column(header[epoch]), metrics, notes, steps)


def _numbers(row: Iterable[tuple[str, str]], invalid: Counter[str]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row, and count its cells that have a value but no number."""
    for label, cell in row:
        if cell.strip().lower() not in MISSING:
            try:
                yield label, float(cell)
            except ValueError:
                invalid[label] += 1


def _open(path: Path) -> TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def _read_header(path: Path, file: TextIOWrapper) -> tuple[list[str], str]:
    """Return the unique labels of the columns, and the delimiter."""
    line = _read_line(path, file)
    delimiter = max(_DELIMITERS, key=line.count)
    header = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), list[str]())]
    taken: set[str] = set()
    for column, cell in enumerate(header):
        header[column] = cell if cell not in taken else f"{cell}.{column}"
        taken.add(header[column])
    return header, delimiter


def _epoch_column(header: list[str]) -> int | None:
    """Return the index of the epoch column: a column with such a label, or pandas's index, which has no label."""
    if len(header) < 2:
        return None
    named = [column for column, label in enumerate(header) if label.lower() in _EPOCH_LABELS]
    if named:
        return named[0]
    return 0 if not header[0] and any("loss" in label.lower() for label in header) else None


def _rows(file: TextIOWrapper, path: Path, delimiter: str, *, complete: bool) -> Iterator[list[str]]:
    """Return all rows; omit the last one if the file is incomplete."""
    rows = csv.reader(iter(lambda: _read_line(path, file), ""), delimiter=delimiter)
    return rows if complete else (row for row, _ in pairwise(rows))


def _read_line(path: Path, file: TextIOWrapper) -> str:
    line = file.readline(CSV_LINE)
    if len(line) == CSV_LINE:
        raise SettingsError(f"{str(path)!r} is not a table: one line has more than {CSV_LINE:,} characters")
    return line


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-min(1, path.stat().st_size), 2)
        return file.read() in (b"\n", b"\r", b"")


def _format(path: Path, header: list[str]) -> str:
    if path.name == _LIGHTNING_NAME and {"epoch", "step"} <= set(header):
        return "Lightning CSV"
    return "Keras CSV" if header[0] == "epoch" and header[1:] == sorted(header[1:]) else "CSV"


READER = Reader("CSV", recognizes, read, order=GENERAL)
