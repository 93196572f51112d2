"""Numbers and names of replays in words, and columns of them as lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from ...cli.terminal import printable
from ...metrics.monitor import BestValue

_WIDTH, _NARROWEST = 110, 12

__all__ = ["aligned", "at_epoch", "duration", "number", "percent", "plural", "short"]


def number(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"


def percent(part: float) -> str:
    """A part of the whole; what is not quite nothing is not called nothing.

    >>> percent(0.1234), percent(0.0), percent(0.0004)
    ('12.3 %', '0 %', '<0.1 %')
    """
    if 0 < part < 0.001:
        return "<0.1 %"
    return f"{100 * part:.1f} %".replace(".0 %", " %")


def duration(seconds: float) -> str:
    """In the largest unit that leaves something before the point.

    >>> duration(5400), duration(42), duration(200000)
    ('1.5 h', '42 s', '2.3 d')
    """
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if seconds >= length.total_seconds():
            return f"{seconds / length.total_seconds():.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else f"{1000 * seconds:.0f} ms"


def at_epoch(best: BestValue | None) -> str:
    """A value and its epoch, counted from 1 as people read them; a dash for none."""
    return f"{number(best.value)} @ {best.epoch + 1}" if best is not None else "-"


def plural(count: int, noun: str) -> str:
    """The count and what is counted.

    >>> plural(1, "run"), plural(1200, "epoch")
    ('1 run', '1,200 epochs')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def short(name: str, width: int = 40) -> str:
    """A name that cannot steer a terminal, its middle left out where it is longer than so many characters.

    >>> short("a" * 30 + "b" * 30, 11)
    'aaaaa…bbbbb'
    """
    text = printable(name)
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[: width - 1 - half]}…{text[-half:]}"


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns, the first and the last to the left and those between to the right.

    The first column holds names: those are shortened where a line would be too long for a terminal.
    """
    table = [list(header), *map(list, rows)]
    others = sum(max(map(len, column)) + 2 for column in list(zip(*table, strict=True))[1:])
    table = [[short(row[0], max(_WIDTH - others, _NARROWEST)), *row[1:]] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def cell(text: str, place: int) -> str:
        left = place in (0, len(widths) - 1)
        return text.ljust(widths[place]) if left else text.rjust(widths[place])

    return ["  ".join(cell(text, place) for place, text in enumerate(row)).rstrip() for row in table]
