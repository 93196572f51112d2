"""Rows of labelled numbers, as in tables and lists."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SettingsError
from ...limits import METRICS, ROWS
from .metric_names import check_metrics

MISSING = {"", "na", "n/a", "none", "null", "-"}
"""The lower-case contents of a cell without a value; "nan" is a logged number."""
STAGE_KEYS = ("mode", "split", "phase", "stage", "subset", "dataset", "set")
"""Labels of the text that may say of which data the numbers of a row are: "train", "val"."""


class Cells(NamedTuple):
    """The cells of one column that hold numbers."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]

    def column(self, count: int) -> NDArray[np.float64]:
        """Return a value for each of so many rows, NaN for those without one."""
        found = np.full(count, np.nan)
        found[self.rows] = self.values
        return found


_NO_CELLS = Cells(np.array([], np.int64), np.array([]))


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
        self._complete: dict[tuple[str, ...], tuple[array[int], array[float]]] = {}

    def add(self, row: Iterable[tuple[str, float | None]]) -> None:
        """Add a row of labels and their numbers; None is not a number."""
        for label, number in row:
            if number is not None:
                rows, values = self._columns[label]
                rows.append(self.count)
                values.append(number)
        self.count += 1

    def add_numbers(self, labels: tuple[str, ...], numbers: list[float]) -> None:
        """Add a row with a number for each of these labels, which costs least if all rows have the same."""
        found = self._complete.get(labels)
        if found is None:
            found = self._complete[labels] = array("q"), array("d")
        found[0].append(self.count)
        found[1].fromlist(numbers)
        self.count += 1

    def check_size(self, run: str, path: Path, fix: str) -> None:
        """Check after each row that the table stays within the bounds of a run.

        Args:
            run: The name of the run.
            path: The file.
            fix: What the file has too many of, and what to do.

        Raises:
            SettingsError: There are too many metrics or rows.
        """
        if len(self._columns) > METRICS:
            check_metrics(run, self._columns)
        if self.count > ROWS:
            raise SettingsError(f"{str(path)!r} has more than {ROWS:,} {fix}")

    def cells(self) -> dict[str, Cells]:
        """Return the numbers by label, without labels that have none."""
        found: defaultdict[str, list[Cells]] = defaultdict(list)
        for labels, (rows, values) in self._complete.items():
            numbers = np.array(values).reshape(len(rows), len(labels))
            for column, label in enumerate(labels):
                found[label].append(Cells(np.array(rows), numbers[:, column]))
        for label, (rows, values) in self._columns.items():
            found[label].append(Cells(np.array(rows), np.array(values)))
        return {label: parts[0] if len(parts) == 1 else _joined(parts) for label, parts in found.items()}

    def column(self, label: str) -> NDArray[np.float64]:
        """Return one value for each row, NaN if it has no number with this label."""
        return self.cells().get(label, _NO_CELLS).column(self.count)

    @property
    def labels(self) -> set[str]:
        """The labels of all columns."""
        return {*self._columns, *(label for labels in self._complete for label in labels)}

    def part(self, rows: NDArray[np.int64]) -> Table:
        """Return the table of these rows, whose numbers rise.

        >>> table = Table()
        >>> for loss in (3.0, 2.0, 1.0):
        ...     table.add({"loss": loss}.items())
        >>> table.part(np.array([1, 2])).column("loss").tolist()
        [2.0, 1.0]
        """
        found = Table()
        found.count = len(rows)
        for label, cells in self.cells().items():
            inside = np.isin(cells.rows, rows)
            if inside.any():
                places = np.searchsorted(rows, cells.rows[inside])
                found._columns[label] = array("q", places.tolist()), array("d", cells.values[inside].tolist())
        return found

    def without(self, labels: Collection[str]) -> Table:
        """Return the table without some of its columns.

        >>> table = Table()
        >>> table.add({"fold": 0.0, "loss": 3.0}.items())
        >>> [*table.without({"fold"}).cells()]
        ['loss']
        """
        found = Table()
        found.count = self.count
        for label, (rows, values) in self.cells().items():
            if label not in labels:
                found._columns[label] = array("q", rows.tolist()), array("d", values.tolist())
        return found


def _joined(parts: Sequence[Cells]) -> Cells:
    """Return the cells of several parts of a column, in the order of rows."""
    rows, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return Cells(rows[order], values[order])
