"""Reader of tables that pandas's ``DataFrame.to_json`` writes by columns, and of those with ``orient="split"``."""

from __future__ import annotations

from typing import Any, NamedTuple

from ....errors import SettingsError
from ....metrics.direction import known_direction
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import GENERAL, Reader, Source
from ..rows import Table
from ..shared.log_signs import records_a_run
from ..table_recording import record_runs
from .document import is_list, is_object, read_json

_INDEX = ""


class _Columns(NamedTuple):
    numbers: list[Any]
    """The number of each row."""
    columns: dict[str, list[Any]]


def recognizes(file: LogFile) -> bool:
    """Return whether it has columns by row number, and unless it is named, one of them is called like a metric."""
    found = _columns(file.document)
    if found is None:
        return False
    return file.named or (any(map(known_direction, found.columns)) and records_a_run(file.path, found.columns))


def read(source: Source) -> list[Recording]:
    """Return the run in a table.

    Raises:
        SettingsError: The file is not such a table.
        OSError: The file cannot be read.
    """
    found = _columns(read_json(source.path))
    if found is None:
        raise SettingsError(f"{str(source.path)!r} has no columns of numbers by row")
    table = Table()
    for number, index in enumerate(found.numbers):
        row = {label: parse_number(column[number]) for label, column in found.columns.items()}
        table.add([(_INDEX, parse_number(index)), *row.items()])
    return record_runs(source.name, "pandas JSON", table, [], _INDEX)


def _columns(content: Any) -> _Columns | None:
    """Return the columns in a document; None if it is no table."""
    if not is_object(content) or not content:
        return None
    if {"columns", "index", "data"} <= content.keys():
        return _split(content["columns"], content["index"], content["data"])
    columns = {label: column for label, column in content.items() if is_object(column) and column}
    if len(columns) < len(content):
        return None
    index = list(next(iter(columns.values())))
    if not all(key.isdecimal() for key in index) or not all(list(each) == index for each in columns.values()):
        return None
    if all(key.isdecimal() for key in columns):
        return None
    return _Columns(index, {label: list(column.values()) for label, column in columns.items()})


def _split(labels: Any, index: Any, rows: Any) -> _Columns | None:
    """Return the columns of rows; None if they do not fit each other."""
    if not (is_list(labels) and is_list(index) and is_list(rows)) or len(index) != len(rows) or not rows:
        return None
    if not all(is_list(row) and len(row) == len(labels) for row in rows):
        return None
    return _Columns(index, {str(label): [row[place] for row in rows] for place, label in enumerate(labels)})


READER = Reader("pandas tables in JSON", recognizes, read, order=GENERAL - 1)
