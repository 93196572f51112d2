"""Recordings built from rows of metrics and epochs, as in tables and lists."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...limits import EPOCHS
from ..records import Recording
from .columns import Column, align_by_epoch, still_valid
from .metric_names import check_metrics, list_names, standard_names

MISSING = {"", "na", "n/a", "none", "null", "-"}
"""The lower-case contents of a cell without a value; "nan" is a logged number."""

_TIME_LABELS = ("wall_time", "timestamp", "_timestamp", "time")
"""Labels of a column that may hold the time of each row."""


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


def build_recording(
    name: str,
    title: str,
    epochs: NDArray[np.float64],
    columns: Mapping[str, Cells],
    notes: Sequence[str],
    steps: NDArray[np.float64] | None = None,
) -> Recording:
    """Return the run that rows record.

    Args:
        name: The name of the run.
        title: The format to display.
        epochs: The epoch of each row, NaN if it has none.
        columns: The metrics by the labels in the file.
        notes: The notes so far.
        steps: The step of each row; it determines the epochs of rows without one.
    """
    check_metrics(name, columns)
    notes = list(notes)
    epochs, fractional = _fill_epochs(epochs, steps)
    if fractional:
        notes.append("Epochs have fractions: each row belongs to the epoch in which it was logged.")
    rows = np.flatnonzero(np.isfinite(epochs) & (epochs >= 0) & (epochs < EPOCHS))
    if len(rows) < len(epochs):
        notes.append(f"{len(epochs) - len(rows):,} rows have no epoch and are left out.")
    if (np.diff(epochs[rows]) < 0).any() and len(np.unique(epochs[rows])) < len(rows):
        valid = still_valid(epochs[rows])
        notes.append(f"{(~valid).sum():,} rows are left out, since the run later went back to their epochs.")
        rows = rows[valid]
    numbers = np.zeros(len(epochs), np.int64)
    numbers[rows] = np.maximum(np.ceil(epochs[rows]) - 1, 0) if fractional else epochs[rows]
    if not fractional and rows.size and numbers[rows].min() == 1:
        numbers -= 1
        notes.append("Epochs are counted from 1 in the file.")
    selected = {label: _select(cells, rows, numbers) for label, cells in columns.items()}
    clock = next((label for label in selected if _is_clock(label, selected[label], len(rows))), None)
    naming = standard_names(label for label in selected if label != clock and selected[label].epochs.size)
    notes += naming.notes
    found = {standard: selected[label] for label, standard in naming.names.items()}
    several = [standard for standard, column in found.items() if (np.diff(np.sort(column.epochs)) == 0).any()]
    if several:
        notes.append(f"{list_names(several)}: the last of several values in an epoch is used.")
    if clock is None:
        return Recording(name, *align_by_epoch(found), None, title, tuple(notes))
    notes.append(f"{clock!r} is read as the time in seconds at which an epoch ended.")
    all_epochs, metrics = align_by_epoch({**found, clock: selected[clock]})
    times = metrics.pop(clock).values
    return Recording(name, all_epochs, metrics, times, title, tuple(notes))


def _select(cells: Cells, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> Column:
    inside = np.isin(cells.rows, rows)
    return Column(numbers[cells.rows[inside]], cells.values[inside])


def _is_clock(label: str, column: Column, rows: int) -> bool:
    """Return whether a column has a label for times, and rises from row to row."""
    values = column.values
    complete = len(values) == rows > 1 and bool(np.isfinite(values).all())
    return label.lower() in _TIME_LABELS and complete and bool((np.diff(values) > 0).all())


def _fill_epochs(epochs: NDArray[np.float64], steps: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], bool]:
    """Return the epochs, filled in from the steps as far as possible, and whether they count fractions of epochs."""
    given = np.isfinite(epochs)
    fractional = bool((epochs[given] != np.floor(epochs[given])).any())
    if steps is None or given.all():
        return epochs, fractional
    known = given & np.isfinite(steps)
    if not known.any():
        return epochs, fractional
    lacking = np.flatnonzero(~given & np.isfinite(steps))
    order = np.argsort(steps[known], kind="stable")
    at = np.searchsorted(steps[known][order], steps[lacking])
    inside = at < len(order)  # a row after the last known epoch may belong to the next one
    filled = epochs.copy()
    filled[lacking[inside]] = epochs[known][order][at[inside]]
    return filled, fractional
