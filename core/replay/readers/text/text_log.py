"""Reader of plain text in which a script prints numbers, found by patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ....errors import SettingsError
from ....limits import CSV_LINE, METRICS, ROWS
from ...records import Recording
from ..log_file import LogFile
from ..metric_names import check_metrics
from ..reader import GENERAL, Reader, Source
from ..rows import Table
from ..table_recording import record_table
from .known_patterns import KNOWN
from .pattern import Pattern

_LINE = 10_000
"""Characters of a line that are searched."""
_DIGIT = re.compile(r"\d")
_SEARCHED = 20_000
"""Lines at the beginning of a file that are searched to recognize it."""


def text_reader(patterns: Sequence[str]) -> Reader:
    """Return the reader of any text in which a user's patterns find numbers.

    Args:
        patterns: Regular expressions with named groups; a line has the numbers of the first that is found in it.

    Raises:
        SettingsError: A pattern is wrong.
    """
    parsed = tuple(map(Pattern.parse, patterns))

    def recognizes(file: LogFile) -> bool:
        if not file.text:
            return False
        return file.named or any(True for _ in _rows(islice(_lines(file.path), _SEARCHED), parsed))

    def read(source: Source) -> list[Recording]:
        recording = _read(source, parsed)
        if not recording.epochs.size:
            shown = " or ".join(map(repr, patterns))
            raise SettingsError(f"{str(source.path)!r} has no line in which the pattern {shown} finds numbers")
        return [recording]

    return Reader("text by a pattern", recognizes, read, order=-1)


def recognizes(file: LogFile) -> bool:
    """Return whether a known pattern finds metrics in two of the first lines, or in one if the file is named."""
    if not file.text.strip() or file.text.lstrip()[0] in "{[<":
        return False
    if file.named:
        return _patterns_of(lambda: islice(_lines(file.path), _SEARCHED), 1) is not None
    lines = [each[:_LINE] for each in file.lines if _DIGIT.search(each)]  # a folder may have many other texts
    return len(lines) > 1 and _patterns_of(lambda: lines, 2) is not None


def read(source: Source) -> list[Recording]:
    """Return the run in a text.

    Raises:
        SettingsError: No known pattern finds numbers in it.
        OSError: The file cannot be read.
    """
    found = _patterns_of(lambda: _lines(source.path), 1)
    if found is None:
        raise SettingsError(f"{str(source.path)!r} has no line in which a known pattern finds numbers; give --pattern")
    return [_read(source, found)]


def _patterns_of(lines: Callable[[], Iterable[str]], enough: int) -> tuple[Pattern, ...] | None:
    """Return the first known patterns that find enough rows in the lines; None if none do."""
    return next((each for each in KNOWN if len([*islice(_rows(lines(), each), enough)]) == enough), None)


def _read(source: Source, patterns: Sequence[Pattern]) -> Recording:
    table, labels = Table(), set[str]()
    for row in _rows(_lines(source.path), patterns):
        table.add(row.items())
        labels |= row.keys()
        if len(labels) > METRICS:
            check_metrics(source.name, labels)
        if table.count > ROWS:
            raise SettingsError(
                f"{str(source.path)!r} has more than {ROWS:,} lines with numbers; make the pattern stricter"
            )
    return record_table(source.name, "text", table, [])


def _rows(lines: Iterable[str], patterns: Sequence[Pattern]) -> Iterator[dict[str, float]]:
    """Yield the numbers of the lines, each by the first pattern that finds some."""
    if len(patterns) == 1:
        return patterns[0].rows(lines)
    return (row for line in lines if (row := next(filter(None, (each.row(line) for each in patterns)), None)))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text, of a very long one the beginning; a carriage return of a progress bar ends one too."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        while line := file.readline(CSV_LINE):
            yield line[:_LINE].rstrip("\n")


READER = Reader("text", recognizes, read, order=GENERAL + 1)
