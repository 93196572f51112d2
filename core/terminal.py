"""Text for a terminal: printable names, counts, durations, and a small plot."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import isfinite


def printable(text: str) -> str:
    r"""Replace control characters, since names from files and directories could contain escape sequences.

    >>> printable("best\x1b[2J")
    'best?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def encodable(text: str, stream: object) -> str:
    r"""Escape the characters that the encoding of a stream lacks: writing them would raise an error.

    >>> from io import BytesIO, TextIOWrapper
    >>> encodable("val_é → 1", TextIOWrapper(BytesIO(), "cp1252"))
    'val_é \\u2192 1'
    """
    encoding = getattr(stream, "encoding", None)
    return text.encode(encoding, "backslashreplace").decode(encoding) if isinstance(encoding, str) else text


def escape_or_draw(error: UnicodeError) -> tuple[str, int]:
    r"""Escape what an encoding lacks, and draw plots with characters that every encoding has: a handler for ``codecs``.

    >>> "val_\u03c4 \u2022\u2500".encode("ascii", ESCAPE_OR_DRAW)
    b'val_\\u03c4 o-'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    drawn = error.object[error.start : error.end].translate(_DRAWN)
    return drawn.encode("ascii", "backslashreplace").decode(), error.end


ESCAPE_OR_DRAW = "trainbus.escape_or_draw"
"""The name of that handler, as streams take it."""
_DRAWN = str.maketrans("•─│└┤■★↓…", "o-|++#*v~")
codecs.register_error(ESCAPE_OR_DRAW, escape_or_draw)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "run"), plural(1200, "epoch")
    ('1 run', '1,200 epochs')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def shortened(texts: Sequence[str], most: int = 6) -> list[str]:
    """Return the first texts and the last, with the number of those between them if there are more than ``most``.

    >>> shortened(["1", "2", "3", "4", "5"], most=4)
    ['1', '2', '(2 more)', '5']
    """
    left_out = len(texts) - most + 1
    return [*texts[: most - 2], f"({left_out} more)", texts[-1]] if left_out > 1 else list(texts)


def format_duration(seconds: float) -> str:
    """Format in the largest unit of which there is at least one.

    >>> format_duration(5400), format_duration(42), format_duration(200000)
    ('1.5 h', '42 s', '2.3 d')
    """
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if seconds >= length.total_seconds():
            return f"{seconds / length.total_seconds():.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else f"{1000 * seconds:.0f} ms"


def plot(
    values: Mapping[int, float], marks: Mapping[int, str] | None = None, *, width: int = 72, height: int = 10
) -> list[str]:
    r"""Plot numbers by epoch as lines of text, with a character below each marked epoch.

    If there are more epochs than columns, a column shows the mean of its epochs and the last of their marks. A value
    that is not finite is an x at the bottom.

    Args:
        values: The numbers by epoch, counted from 0.
        marks: One character by epoch.
        width: The number of characters of a line.
        height: The number of lines of the curve.

    >>> print("\n".join(plot({0: 4.0, 1: 2.0, 2: 1.0, 3: 1.0}, {3: "S"}, height=4)))
      4 ┤•
        │
        │ •
      1 ┤  ••
        └────
         1  4
            S
    """
    finite = [value for value in values.values() if isfinite(value)]
    if not finite:
        return []
    low, high = min(finite), max(finite)
    top, bottom = f"{high:.5g}", f"{low:.5g}"
    margin = max(len(top), len(bottom), 3)
    first, last = min(values), max(values)
    count = last - first + 1
    columns = min(count, max(width - margin - 2, 1))

    def column(epoch: int) -> int:
        return min((epoch - first) * columns // count, columns - 1)

    by_column: dict[int, list[float]] = {}
    for epoch, value in values.items():
        by_column.setdefault(column(epoch), []).append(value)
    rows = [[" "] * columns for _ in range(height)]
    for place, several in by_column.items():
        numbers = [value for value in several if isfinite(value)]
        if len(numbers) < len(several):
            rows[-1][place] = "x"
        if numbers:
            mean = sum(number / len(numbers) for number in numbers)
            share = (mean / 2 - low / 2) / (high / 2 - low / 2 or 1)  # the difference of two halves is finite
            rows[min(max(round((1 - share) * (height - 1)), 0), height - 1)][place] = "•"
    labels = {0: top, height - 1: bottom}
    lines = [
        f"{labels.get(number, ''):>{margin}} {'┤' if number in labels else '│'}{''.join(row)}".rstrip()
        for number, row in enumerate(rows)
    ]
    below = [" "] * columns
    for epoch, mark in sorted((marks or {}).items()):
        if first <= epoch <= last:
            below[column(epoch)] = mark
    blank = " " * (margin + 2)
    lines += [f"{' ' * (margin + 1)}└{'─' * columns}", f"{blank}{_axis(first, last, columns)}".rstrip()]
    return [*lines, f"{blank}{''.join(below)}".rstrip()] if "".join(below).strip() else lines


def _axis(first: int, last: int, columns: int) -> str:
    """Return the numbers of the first and the last epoch, counted from 1, at the ends of the axis."""
    begin, end = str(first + 1), str(last + 1)
    return f"{begin}{end:>{columns - len(begin)}}" if len(begin) + len(end) < columns else begin
