"""Reader of plain text in which a script prints numbers, found by patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ....errors import SettingsError
from ....limits import CSV_LINE
from ...records import Recording
from ..axis_label import find_axis
from ..log_file import LogFile
from ..metric_names import STAGES, list_names
from ..reader import GENERAL, Reader, Source
from ..rows import Table
from ..shared.settings_names import is_no_log
from ..table_recording import record_table
from .known_patterns import KNOWN
from .pattern import Pattern
from .unread_lines import UnreadLines

_LINE = 10_000
"""Characters of a line that are searched."""
_MARKUP = re.compile(r"\s*<(?:!|\?|html|svg)", re.IGNORECASE)
"""The beginning of a page or of XML."""
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""What colours a line in a terminal."""
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
        return file.named or (not is_no_log(file.path) and any(map(bool, _rows(_first_lines(file.path), parsed))))

    def read(source: Source) -> list[Recording]:
        recording = _read(source, parsed)
        if not recording.epochs.size:
            shown = " or ".join(map(repr, patterns))
            raise SettingsError(f"{str(source.path)!r} has no line in which the pattern {shown} finds numbers")
        return [recording]

    return Reader("text by a pattern", recognizes, read, order=-1)


def recognizes(file: LogFile) -> bool:
    """Return whether a known pattern finds metrics in a file that is no file of settings or of words by its name.

    In a folder, which may have many other texts, a metric must have values at two epochs or steps.
    """
    if is_no_log(file.path) or not file.text.strip() or file.begins_like_json or _MARKUP.match(file.text):
        return False
    if file.named:
        return _patterns_of(lambda: _first_lines(file.path), any) is not None
    lines = [_COLOUR.sub("", each[:_LINE]) for each in file.lines if _DIGIT.search(each)]
    if _patterns_of(lambda: lines, any) is None:  # most texts end here, before more of them is read
        return False
    return _patterns_of(lambda: _first_lines(file.path), _goes_on) is not None


def read(source: Source) -> list[Recording]:
    """Return the run in a text.

    Raises:
        SettingsError: No known pattern finds numbers in it.
        OSError: The file cannot be read.
    """
    found = _patterns_of(lambda: _lines(source.path), any)
    if found is None:
        raise SettingsError(f"{str(source.path)!r} has no line in which a known pattern finds numbers; give --pattern")
    return [_read(source, found)]


def _patterns_of(
    lines: Callable[[], Iterable[str]], holds: Callable[[Iterable[dict[str, float]]], bool]
) -> tuple[Pattern, ...] | None:
    """Return the first known patterns for whose rows in the lines this holds; None if there are none."""
    return next((each for each in KNOWN if holds(_rows(lines(), each))), None)


def _goes_on(rows: Iterable[dict[str, float]]) -> bool:
    """Return whether a metric has values at two places of the axis, unlike in a list of settings or a remark."""
    first: dict[str, tuple[float, ...]] = {}
    for row in rows:
        axis = find_axis(row).all
        place = tuple(row[label] for label in sorted(axis))
        if any(first.setdefault(label, place) != place for label in row.keys() - axis):
            return True
    return False


def _read(source: Source, patterns: Sequence[Pattern]) -> Recording:
    table, unread = Table(), UnreadLines()
    for row in _without_echoes(_rows(_lines(source.path), patterns, unread), patterns):
        table.add(row.items())
        table.check_size(source.name, source.path, "lines with numbers; make the pattern stricter")
    bare = sorted(label.lower() for label in table.labels if STAGES.get(label.lower()))
    notes = [f"{list_names(bare)}: no metric is named; judge by one with --monitor and --mode."] if bare else []
    return record_table(source.name, "text", table, [*notes, *unread.notes()])


def _without_echoes(rows: Iterable[dict[str, float]], patterns: Sequence[Pattern]) -> Iterator[dict[str, float]]:
    """Yield the rows that are not printed again, as the best iteration at the end, which is no return to it."""
    axis = sorted(set[str]().union(*(each.axis for each in patterns)))
    seen, furthest = set[int](), list[float]()
    for row in rows:
        known = hash(frozenset(row.items()))
        place = [row[label] for label in axis if label in row]
        if known not in seen or place >= furthest:
            yield row
        seen.add(known)
        furthest = max(furthest, place)


def _rows(
    lines: Iterable[str], patterns: Sequence[Pattern], unread: UnreadLines | None = None
) -> Iterator[dict[str, float]]:
    """Yield the numbers of the lines, each by the first pattern that finds some."""
    if len(patterns) == 1:
        return patterns[0].rows(lines, unread)
    return (row for line in lines if (row := next(filter(None, (each.row(line) for each in patterns)), None)))


def _first_lines(path: Path) -> Iterator[str]:
    return islice(_lines(path), _SEARCHED)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text, of a very long one the beginning; a carriage return of a progress bar ends one too."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        while line := file.readline(CSV_LINE):
            yield _COLOUR.sub("", line[:_LINE]).rstrip("\n")


READER = Reader("text", recognizes, read, order=GENERAL + 1)
