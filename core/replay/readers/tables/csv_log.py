"""Reader of tables with a row for each epoch or step: of Keras's and Lightning's CSVLogger, pandas and others."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ....errors import SettingsError
from ....limits import CSV_LINE
from ....metrics.direction import known_direction
from ...records import Recording
from ..axis_label import find_axis
from ..log_file import LogFile
from ..metric_names import STAGES, check_metrics
from ..numbers import parse_number
from ..reader import GENERAL, Reader, Source
from ..rows import MISSING, STAGE_KEYS, Table
from ..shared.log_signs import records_a_run
from ..table_recording import record_runs
from .invalid_cells import InvalidCells

_LIGHTNING_NAME = "metrics.csv"
_DELIMITERS = (",", ";", "\t")
_SPACES = " "
"""Stands for any number of spaces, as in tables that a script prints."""


class _Header(NamedTuple):
    """The first line of a table."""

    labels: list[str]
    """The unique labels of the columns."""
    delimiter: str

    @property
    def row_numbers(self) -> str | None:
        """The label of pandas's index, which has none; None if there is no such column."""
        first = self.labels[0] if self.labels else "-"
        return first if not first or first.startswith("Unnamed") else None

    @property
    def metrics(self) -> list[str]:
        """The labels that may be those of metrics."""
        others = find_axis(self.labels).all | {"", self.row_numbers}
        return [each for each in self.labels if each not in others and not each.startswith("Unnamed")]


def recognizes(file: LogFile) -> bool:
    """Return whether the first line has labels of epochs, or of steps and metrics, or those of metrics above numbers.

    Without epochs and steps, other signs must tell a log from data. If the file is named, any labels above
    numbers are enough.
    """
    if not file.text:
        return False
    second: list[str] = []
    try:
        with _open(file.path) as text:
            header = _read_header(file.path, text)
            with suppress(SettingsError, UnicodeError, csv.Error):  # the reader of the whole table says what is wrong
                second = next(_rows(text, file.path, header.delimiter), second)
    except (SettingsError, UnicodeError, csv.Error):
        return False
    metrics = header.metrics
    axis = find_axis(header.labels)
    if not metrics:
        return False
    if header.delimiter == _SPACES:  # or it is a sentence
        return bool(axis.all) and len(second) == len(header.labels) and all(map(_is_number, second))
    if axis.epoch is not None:
        return True
    filled = [each for each in second if each.strip().lower() not in MISSING]
    numbers = [each for each in filled if parse_number(each) is not None]
    known = any(map(known_direction, metrics))
    if axis.counters:
        return known or (file.named and bool(numbers))
    below = len(second) == len(header.labels) and bool(numbers)
    if not below or any(map(_is_number, header.labels)):
        return False
    return file.named or (known and len(numbers) == len(filled) and records_a_run(file.path, metrics))


def read(source: Source) -> list[Recording]:
    """Return the runs in a table.

    Raises:
        SettingsError: The file is not a table.
        OSError: The file cannot be read.
    """
    path = source.path
    try:
        with _open(path) as file:
            return _read_table(path, file, source.name)
    except (UnicodeError, csv.Error) as error:
        raise SettingsError(f"{str(path)!r} is not a text table: {error}") from None


def _read_table(path: Path, file: TextIOWrapper, name: str) -> list[Recording]:
    header = _read_header(path, file)
    labels = header.labels
    check_metrics(name, labels)
    axis = find_axis(labels)
    metrics = set(header.metrics)
    known = {*metrics, *axis.all, header.row_numbers}
    key = labels.index(axis.epoch or next((label for label, _ in axis.counters), header.metrics[0]))
    stage = next((column for column, label in enumerate(labels) if label.lower() in STAGE_KEYS), None)
    kept = [column for column, label in enumerate(labels) if label in known]
    names = {"": tuple(labels[column] for column in kept)}  # those of the columns that are kept, by stage
    everything = len(kept) == len(labels)
    table, invalid, uneven = Table(), InvalidCells(), 0
    complete = _ends_with_newline(path)
    rows = _rows(file, path, header.delimiter)
    for cells in rows if complete else (row for row, _ in pairwise(rows)):
        if len(cells) != len(labels):
            uneven += bool(cells)
        elif cells[key].strip() != labels[key]:  # a script that appends to the file may write the header again
            of = cells[stage].strip().lower() if stage is not None else ""
            of = of if of in STAGES else ""
            if of not in names:
                names[of] = tuple(f"{of}/{label}" if label in metrics else label for label in names[""])
            chosen = cells if everything else [cells[column] for column in kept]
            try:
                table.add_numbers(names[of], [*map(float, chosen)])
            except ValueError:
                table.add(_numbers(names[of], chosen, invalid))
            table.check_size(name, path, "rows; give a table with a row for each epoch")
    notes = [] if complete else ["The last line has no line end, as after a killed run, and is left out."]
    if uneven:
        notes.append(f"{uneven:,} lines do not have the {len(labels)} cells of the first line and are left out.")
    notes += invalid.notes(label for column, label in enumerate(labels) if column not in (key, stage))
    return record_runs(name, _format(path, labels), table, notes, header.row_numbers)


def _numbers(labels: Sequence[str], cells: Sequence[str], invalid: InvalidCells) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row, and count its cells that have a value but no number."""
    for label, cell in zip(labels, cells, strict=True):
        try:
            yield label, float(cell)
        except ValueError:
            if cell.strip().lower() not in MISSING:
                invalid.add(label, cell)


def _is_number(text: str) -> bool:
    return parse_number(text) is not None


def _open(path: Path) -> TextIOWrapper:
    return path.open(encoding="utf-8-sig", newline="")


def _read_header(path: Path, file: TextIOWrapper) -> _Header:
    line = _read_line(path, file)
    delimiter = max(_DELIMITERS, key=line.count)
    cells = next(csv.reader([line], delimiter=delimiter), list[str]()) if delimiter in line else line.split()
    header = [cell.strip() for cell in cells]
    taken: set[str] = set()
    for column, cell in enumerate(header):
        header[column] = cell if cell not in taken else f"{cell}.{column}"
        taken.add(header[column])
    return _Header(header, delimiter if delimiter in line else _SPACES)


def _rows(file: TextIOWrapper, path: Path, delimiter: str) -> Iterator[list[str]]:
    """Return the cells of all further lines."""
    lines = iter(lambda: _read_line(path, file), "")
    return map(str.split, lines) if delimiter == _SPACES else csv.reader(lines, delimiter=delimiter)


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
