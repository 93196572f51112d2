"""Rows of labelled numbers, as in tables and lists."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSING = {"", "na", "n/a", "none", "null", "-"}
"""The lower-case contents of a cell without a value; "nan" is a logged number."""
STAGE_KEYS = ("mode", "split", "phase", "stage", "subset", "dataset", "set")
"""Labels of the text that may say of which data the numbers of a row are: "train", "val"."""


class Cells(NamedTuple):
    """The cells of one column that hold numbers."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]


class Table:
    """Rows of labelled numbers, collected by label. It needs memory for the given numbers only.

    >>> table = Table()
    >>> for row in ({"epoch": 1.0}, {"epoch": 2.0, "loss": 0.5}):
    ...     table.add(row.items())
    >>> table.cells()["loss"].rows.tolist(), table.column("loss").tolist()
    ([1], [nan, 0.5])
    """

    def __init__(self) -> None:
        self.count = 0
        """The number of rows."""
        self._columns: defaultdict[str, tuple[array[int], array[float]]] = defaultdict(lambda: (array("q"), array("d")))

    def add(self, row: Iterable[tuple[str, float | None]]) -> None:
        """Add a row of labels and their numbers; None is not a number."""
        for label, number in row:
            if number is not None:
                rows, values = self._columns[label]
                rows.append(self.count)
                values.append(number)
        self.count += 1

    def cells(self) -> dict[str, Cells]:
        """Return the numbers by label, without labels that have none."""
        return {label: Cells(np.array(rows), np.array(values)) for label, (rows, values) in self._columns.items()}

    def column(self, label: str) -> NDArray[np.float64]:
        """Return one value for each row, NaN if it has no number with this label."""
        found = np.full(self.count, np.nan)
        if label in self._columns:
            rows, values = self._columns[label]
            found[np.array(rows)] = np.array(values)
        return found
