"""Cells of a table that have a value, but no number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 40
_FIXES: Final = {
    re.compile(r"[-+]?\d+,\d+"): "write decimal points, not commas",
    re.compile(r"tensor\(.*"): "log numbers, as of tensor.item()",
    re.compile(r"\[.*\]|\(.*\)"): "write each number into a column of its own",
    re.compile(r"[-+]?[\d.]+\s*%"): "write numbers without '%'",
}
"""How to write what cells are, if it is a number in another form."""


class InvalidCells:
    """Counts the cells of each column, and keeps the first.

    >>> cells = InvalidCells()
    >>> cells.add("loss", "0,5")
    >>> cells.notes(["loss"])
    ["1 cells of 'loss' are not numbers and are left out, such as '0,5': write decimal points, not commas."]
    """

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._first: dict[str, str] = {}

    def add(self, label: str, cell: str) -> None:
        """Count a cell of a column."""
        self._counts[label] += 1
        self._first.setdefault(label, cell.strip())

    def notes(self, labels: Iterable[str]) -> list[str]:
        """Return a sentence for each of these columns that has such cells."""
        return [
            f"{self._counts[label]:,} cells of {label!r} are not numbers and are left out, such as "
            f"{self._first[label][:_SHOWN]!r}{_fix(self._first[label])}."
            for label in labels
            if self._counts[label]
        ]


def _fix(cell: str) -> str:
    return next((f": {fix}" for form, fix in _FIXES.items() if form.fullmatch(cell)), "")
