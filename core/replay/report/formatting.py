"""Formatting of numbers, names and columns in reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainbus import BestValue

from ...terminal import printable
from ..axis import AXES, Unit
from ..metric_choice import shortened_list
from ..recommend import Estimate
from ..records import Recording

_WIDTH, _NARROWEST = 110, 12


def format_number(value: float) -> str:
    """Format with five significant digits."""
    return f"{value:.5g}"


def format_percent(fraction: float) -> str:
    """Format a fraction as a percentage; a small one above 0 is never shown as 0 %.

    >>> format_percent(0.1234), format_percent(0.0), format_percent(0.0004)
    ('12.3 %', '0 %', '<0.1 %')
    """
    if 0 < fraction < 0.001:
        return "<0.1 %"
    return f"{100 * fraction:.1f} %".replace(".0 %", " %")


def format_best(best: BestValue | None, unit: Unit = "epoch") -> str:
    """Format a value and its epoch, counted from 1, or its moment in a run that counts another unit; "-" for None.

    >>> format_best(BestValue(0.5, 3)), format_best(BestValue(0.5, 3, step=1000), "iteration"), format_best(None)
    ('0.5 @ 4', '0.5 @ iteration 1,000', '-')
    """
    if best is None:
        return "-"
    moment = AXES[unit].moment(best.epoch, best.step).removeprefix("epoch ")
    return f"{format_number(best.value)} @ {moment}"


def estimate_cells(estimate: Estimate | None) -> list[str]:
    """Return what a policy saves, loses on average and loses at worst, as cells of a table."""
    return ["-"] * 3 if estimate is None else [format_percent(each) for each in estimate]


def notes_of_runs(recordings: Sequence[Recording]) -> list[tuple[str, str]]:
    """Return each note once, after the names of the runs that have it; of many, the first ones."""
    runs_of: dict[str, list[str]] = {}
    for each in recordings:
        for note in each.notes:
            runs_of.setdefault(note, []).append(shorten(each.name))
    return [(shortened_list(names), note) for note, names in runs_of.items()]


def shorten(name: str, width: int = 40) -> str:
    """Return a printable name; the middle of one longer than ``width`` characters is left out.

    >>> shorten("a" * 30 + "b" * 30, 11)
    'aaaaa…bbbbb'
    """
    text = printable(name)
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[: width - 1 - half]}…{text[-half:]}"


def align_columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines of columns, the first and the last left-aligned and the others right-aligned.

    The first column holds names, which are shortened if a line would be too long for a terminal.
    """
    table = [list(header), *map(list, rows)]
    others = sum(max(map(len, column)) + 2 for column in list(zip(*table, strict=True))[1:])
    table = [[shorten(row[0], max(_WIDTH - others, _NARROWEST)), *row[1:]] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def cell(text: str, column: int) -> str:
        left = column in (0, len(widths) - 1)
        return text.ljust(widths[column]) if left else text.rjust(widths[column])

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in table]
