"""Rows of metrics, each with its epoch, as tables and lists hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records import Recording
from .columns import Column, by_epoch, holding
from .metric_names import listed, metric_names

__all__ = ["MISSING", "Cells", "recording_of"]

MISSING = {"", "na", "n/a", "none", "null", "-"}
"""What stands, in lower case, where nothing was logged; "nan" is a number that was."""

_TIMES = ("wall_time", "timestamp", "_timestamp", "time")
"""What a column is called that may tell when a row was written."""


class Cells(NamedTuple):
    """The cells of one column that have numbers."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]


def recording_of(
    name: str,
    words: str,
    epochs: NDArray[np.float64],
    columns: Mapping[str, Cells],
    notes: Sequence[str],
    steps: NDArray[np.float64] | None = None,
) -> Recording:
    """What rows tell of a run.

    Args:
        name: of the run.
        words: what wrote it.
        epochs: of each row, NaN where it has none.
        columns: its metrics, by the names that were written.
        notes: what is to be said already.
        steps: of each row, which tell the epochs of rows without one.
    """
    told = list(notes)
    epochs, ended = _known(epochs, steps, told)
    rows = np.flatnonzero(np.isfinite(epochs) & (epochs >= 0) & (epochs < 1 << 53))
    if len(rows) < len(epochs):
        told.append(f"{len(epochs) - len(rows):,} rows have no epoch, and are left out.")
    if (np.diff(epochs[rows]) < 0).any() and len(np.unique(epochs[rows])) < len(rows):
        holds = holding(epochs[rows])
        told.append(f"{(~holds).sum():,} rows are left out, since the run went back behind their epochs later.")
        rows = rows[holds]
    numbers = np.zeros(len(epochs), np.int64)
    numbers[rows] = np.maximum(np.ceil(epochs[rows]) - 1, 0) if ended else epochs[rows]
    if not ended and rows.size and numbers[rows].min() == 1:
        numbers -= 1
        told.append("Epochs are counted from 1 there.")
    held = {label: _held(cells, rows, numbers) for label, cells in columns.items()}
    clock = next((label for label in held if _tells_time(label, held[label], len(rows))), None)
    naming = metric_names(label for label in held if label != clock and held[label].epochs.size)
    told += naming.notes
    found = {called: held[label] for label, called in naming.names.items()}
    several = [called for called, column in found.items() if (np.diff(np.sort(column.epochs)) == 0).any()]
    if several:
        told.append(f"{listed(several)}: several values an epoch, of which the last one is taken.")
    if clock is None:
        return Recording(name, *by_epoch(found), None, words, tuple(told))
    told.append(f"{clock!r} is taken for the time at which an epoch ended, in seconds.")
    all_epochs, metrics = by_epoch({**found, clock: held[clock]})
    times = metrics.pop(clock).values
    return Recording(name, all_epochs, metrics, times, words, tuple(told))


def _held(cells: Cells, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> Column:
    inside = np.isin(cells.rows, rows)
    return Column(numbers[cells.rows[inside]], cells.values[inside])


def _tells_time(label: str, column: Column, rows: int) -> bool:
    """Whether a column is called like a time, and rises from row to row."""
    values = column.values
    complete = len(values) == rows > 1 and bool(np.isfinite(values).all())
    return label.lower() in _TIMES and complete and bool((np.diff(values) > 0).all())


def _known(
    epochs: NDArray[np.float64], steps: NDArray[np.float64] | None, told: list[str]
) -> tuple[NDArray[np.float64], bool]:
    """The epochs of all rows for which they can be known, and whether they are fractions of all that are over."""
    have = np.isfinite(epochs)
    ended = bool((epochs[have] != np.floor(epochs[have])).any())
    if ended:
        told.append("Epochs have fractions there: each row is taken for the epoch in which it was logged.")
    if steps is None or have.all() or not (have & np.isfinite(steps)).any():
        return epochs, ended
    lacking = np.flatnonzero(~have & np.isfinite(steps))
    known = have & np.isfinite(steps)
    order = np.argsort(steps[known], kind="stable")
    at = np.searchsorted(steps[known][order], steps[lacking])
    inside = at < len(order)  # a row after the last one that has an epoch may be of the next
    filled = epochs.copy()
    filled[lacking[inside]] = epochs[known][order][at[inside]]
    return filled, ended
