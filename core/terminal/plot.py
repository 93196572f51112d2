"""A plot of one number per epoch, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite


def plot(
    values: Mapping[int, float], marks: Mapping[int, str] | None = None, *, width: int = 72, height: int = 10
) -> list[str]:
    r"""Plot one number per epoch as lines of text, with a character below each marked epoch.

    If there are more epochs than columns, a column shows the mean of its epochs and the last of their marks. An "x" at
    the bottom shows a value that is not finite.

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
            share = (mean / 2 - low / 2) / (high / 2 - low / 2 or 1)  # the difference of the halves is finite
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
