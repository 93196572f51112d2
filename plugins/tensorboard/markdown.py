"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""A table; what is no plain text in a cell is shown as it is, in one line.

    >>> print(table(["name", "value"], [["a|b", 1]]))
    | name | value |
    | --- | --- |
    | a\|b | 1 |
    """
    cells = [[_cell(each) for each in row] for row in rows]
    lines = [list(header), ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    plain = " ".join(str(value).split())
    return "".join(f"\\{each}" if each in "|*_`<[\\" else each for each in plain)
