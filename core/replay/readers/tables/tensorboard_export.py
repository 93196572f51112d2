"""Reader of the CSV files that TensorBoard exports, each with the numbers of one tag of one run."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Groups, Reader, Source
from ..rows import Table
from ..table_recording import record_table

_HEADER = ["Wall time", "Step", "Value"]
_NAME = re.compile(r"run-(?P<run>.*)-tag-(?P<tag>.+)\.csv$")


def recognizes(file: LogFile) -> bool:
    """Return whether the first line is that of an export."""
    return bool(file.lines) and file.lines[0].strip().split(",") == _HEADER


def group(files: Sequence[Path]) -> Groups:
    """Group the tags of a run, whose name is in those of the files.

    >>> [len(each) for each in group([*map(Path, ["run-a-tag-loss.csv", "run-a-tag-acc.csv", "run-b-tag-acc.csv"])])]
    [2, 1]
    """
    found: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        name = _NAME.match(file.name)
        found.setdefault((file.parent, name["run"] if name else file.name), []).append(file)
    return found.values()


def read(source: Source) -> list[Recording]:
    """Return the run in the exports of its tags.

    Raises:
        SettingsError: A file is not a table, or has too many rows.
        OSError: A file cannot be read.
    """
    table = Table()
    for path in source.files:
        name = _NAME.match(path.name)
        tag = name["tag"].replace("_", "/", 1) if name else path.stem
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for cells in csv.reader(file):
                    if len(cells) == len(_HEADER) and cells != _HEADER:
                        table.add([("Step", parse_number(cells[1])), (tag, parse_number(cells[2]))])
                    table.check_size(source.name, path, "rows; export fewer steps")
        except (UnicodeError, csv.Error) as error:
            raise SettingsError(f"{str(path)!r} is not a text table: {error}") from None
    first = _NAME.match(source.path.name)
    run = source.name_of(source.path.with_name(first["run"])) if first and first["run"].strip(".") else source.name
    return [record_table(run, "TensorBoard's CSV export", table, [])]


READER = Reader("TensorBoard's CSV exports", recognizes, read, group)
