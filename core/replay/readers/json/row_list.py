"""Reader of a JSON list with an object for each epoch or step, as scripts and pandas's ``orient="records"`` make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....metrics.direction import known_direction
from ...records import Recording
from ..axis_label import find_axis
from ..log_file import LogFile
from ..reader import GENERAL, Reader, Source
from ..rows import Table
from ..shared.log_signs import records_a_run
from ..table_recording import record_runs
from .document import is_list, is_object, read_json
from .json_lines import numbers_of


def recognizes(file: LogFile) -> bool:
    """Return whether it is a list of objects, one of which has a number with a label of an axis or a metric."""
    rows = [*_rows(file.document)][:50]
    for each in rows:
        labels = [label for label, _ in numbers_of(each)]
        axis = find_axis(labels).all
        others = set(labels) - axis
        known = any(map(known_direction, others)) and (axis or records_a_run(file.path, others))
        if known or (others and file.named):
            return True
    return False


def read(source: Source) -> list[Recording]:
    """Return the run in a list.

    Raises:
        SettingsError: The file is not such a list, or it has too many rows or metrics.
        OSError: The file cannot be read.
    """
    table = Table()
    for each in _rows(read_json(source.path)):
        row = dict(numbers_of(each))
        table.add(row.items())
        table.check_size(source.name, source.path, "rows; give a file with a row an epoch")
    return record_runs(source.name, "JSON list of epochs", table, [])


def _rows(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, of the one list in an object, or of an object by row number."""
    if is_object(content):
        lists = [value for value in content.values() if is_list(value) and value and is_object(value[0])]
        if len(lists) == 1:
            content = lists[0]
        elif all(key.isdecimal() for key in content):  # pandas's orient="index"
            content = list(content.values())
    if is_list(content):
        yield from (each for each in content if is_object(each))


READER = Reader("JSON lists of epochs", recognizes, read, order=GENERAL - 1)
