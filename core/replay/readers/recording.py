"""Recordings built from rows of metrics, as in tables and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...limits import EPOCHS
from ..axis import AXES, Unit
from ..records import Recording
from .columns import Column, align_by_epoch, still_valid
from .metric_names import check_metrics, is_held_out, list_names, standard_names
from .rows import Cells

_TIME_LABELS = ("wall_time", "timestamp", "_timestamp", "time")
"""Labels of a column that may hold the time of each row."""


class _Placed(NamedTuple):
    """Where the rows of a file belong in its run."""

    rows: NDArray[np.int64]
    """The rows that belong to it."""
    numbers: NDArray[np.int64]
    """For each row of the file, the number of its row in the recording."""
    steps: NDArray[np.int64] | None = None
    """What the run counted at each row of the recording; None if it counts epochs, or if it is unknown."""


def build_recording(
    name: str,
    title: str,
    numbers: NDArray[np.float64],
    columns: Mapping[str, Cells],
    notes: Sequence[str],
    steps: NDArray[np.float64] | None = None,
    unit: Unit = "epoch",
    *,
    first_epoch: int | None = None,
) -> Recording:
    """Return the run that rows record, in the order of what it counts.

    Args:
        name: The name of the run.
        title: The format to display.
        numbers: The epoch of each row, NaN if it has none. If the run counts something else: the step, iteration or
            timestep, which is also the order of evaluations.
        columns: The metrics by the labels in the file.
        notes: The notes so far.
        steps: The step of each row. It determines the epochs of rows without one, and is recorded with evaluations.
        unit: What the run counts. With "evaluation", a row of the recording is one of the file with a held-out metric;
            other metrics have their last value before it. If there is no such metric, each row is one.
        first_epoch: The number of the first epoch of any run in the format, 0 or 1; by default, it is 1 if no row has a
            lower one.
    """
    check_metrics(name, columns)
    notes = list(notes)
    if first_epoch:
        numbers = numbers - first_epoch
    if unit == "epoch":
        placed = _place_epochs(numbers, columns, notes, steps, guess=first_epoch is None)
    elif unit == "evaluation":
        placed = _place_evaluations(numbers, columns, notes, steps)
    else:
        placed = _place_records(numbers, columns, notes, unit)
    selected = {label: _select(cells, placed) for label, cells in columns.items()}
    clock = next((label for label in selected if _is_clock(label, selected[label], len(placed.rows))), None)
    naming = standard_names(label for label in selected if label != clock and selected[label].epochs.size)
    notes += naming.notes
    found = {standard: selected[label] for label, standard in naming.names.items()}
    several = [standard for standard, column in found.items() if (np.diff(np.sort(column.epochs)) == 0).any()]
    if several:
        notes.append(f"{list_names(several)}: the last of several values in one {AXES[unit].row} is used.")
    times = None
    if clock is not None:
        notes.append(f"{clock!r} is read as the time in seconds at which each {AXES[unit].row} ended.")
        found[clock] = selected[clock]
    epochs, metrics = align_by_epoch(found)
    if clock is not None:
        times = metrics.pop(clock).values
    known = placed.steps
    if known is not None:
        known = known[epochs]
        epochs = np.arange(len(epochs))
        if AXES[unit].row == "record" and (np.diff(known) > 1).any():
            notes.append(f"{_strides(known)} {unit}s: patience counts records that have the metric.")
    return Recording(name, epochs, metrics, times, title, tuple(notes), unit, known, trained=naming.trained)


def _place_epochs(
    epochs: NDArray[np.float64],
    columns: Mapping[str, Cells],
    notes: list[str],
    steps: NDArray[np.float64] | None,
    *,
    guess: bool,
) -> _Placed:
    epochs, fractional = _fill_epochs(epochs, steps)
    if fractional:
        notes.append("Epochs have fractions: each row belongs to the epoch in which it was logged.")
    rows = _inside(epochs, columns, "epoch", notes)
    numbers = np.zeros(len(epochs), np.int64)
    numbers[rows] = np.maximum(np.ceil(epochs[rows]) - 1, 0) if fractional else epochs[rows]
    known = np.unique(numbers[rows])
    stride = int(np.median(np.diff(known))) if len(known) > 1 else 1
    from_1 = known.size and (known[0] == 1 or (known[0] == stride > 1 and not (known % stride).any()))
    if not fractional and guess and from_1:
        numbers -= 1
        notes.append("Epochs are counted from 1 in the file.")
    if stride > 1:
        notes.append(f"Records come every {stride:,} epochs: patience counts records that have the metric.")
    return _Placed(rows, numbers)


def _place_records(places: NDArray[np.float64], columns: Mapping[str, Cells], notes: list[str], unit: Unit) -> _Placed:
    rows = _inside(places, columns, unit, notes)
    known, inverse = np.unique(places[rows].astype(np.int64), return_inverse=True)
    numbers = np.zeros(len(places), np.int64)
    numbers[rows] = inverse
    return _Placed(rows, numbers, known)


def _place_evaluations(
    places: NDArray[np.float64],
    columns: Mapping[str, Cells],
    notes: list[str],
    steps: NDArray[np.float64] | None,
) -> _Placed:
    rows = _inside(places, columns, "step", notes)
    held_out = [cells.rows for label, cells in columns.items() if is_held_out(label)]
    ends = np.intersect1d(np.concatenate(held_out), rows) if held_out else rows
    known = np.unique(places[ends])
    at = np.searchsorted(known, places[rows])
    numbers = np.zeros(len(places), np.int64)
    numbers[rows] = at
    late = at == len(known)
    if late.any():
        notes.append(f"{late.sum():,} rows after the last evaluation are left out.")
    rows = rows[~late]
    if steps is None:
        return _Placed(rows, numbers)
    ended = np.zeros(len(known), np.int64)
    counted = rows[np.isfinite(steps[rows]) & (steps[rows] >= 0) & (steps[rows] < EPOCHS)]
    np.maximum.at(ended, numbers[counted], steps[counted].astype(np.int64))
    return _Placed(rows, numbers, np.maximum.accumulate(ended))


def _inside(
    numbers: NDArray[np.float64], columns: Mapping[str, Cells], what: str, notes: list[str]
) -> NDArray[np.int64]:
    """Return the rows that have a number, and which the run did not write again after going back to an earlier one."""
    rows = np.flatnonzero(np.isfinite(numbers) & (numbers >= 0) & (numbers < EPOCHS))
    if len(rows) < len(numbers):
        notes.append(f"{len(numbers) - len(rows):,} rows have no {what} and are left out.")
    if (np.diff(numbers[rows]) < 0).any() and any(_goes_back(numbers[cells.rows]) for cells in columns.values()):
        valid = still_valid(numbers[rows])
        notes.append(f"{(~valid).sum():,} rows are left out, since the run later went back to their {what}s.")
        rows = rows[valid]
    return rows


def _goes_back(numbers: NDArray[np.float64]) -> bool:
    """Return whether one metric was logged again after a later row; metrics that are logged in turns do not count."""
    known = numbers[np.isfinite(numbers)]
    return bool((np.diff(known) < 0).any()) and len(np.unique(known)) < len(known)


def _strides(known: NDArray[np.int64]) -> str:
    """Say how far the records are from each other."""
    strides = np.unique(np.diff(known))
    return f"Records come every {'' if len(strides) == 1 else f'{strides[0]:,} to '}{strides[-1]:,}"


def _select(cells: Cells, placed: _Placed) -> Column:
    inside = np.isin(cells.rows, placed.rows)
    return Column(placed.numbers[cells.rows[inside]], cells.values[inside])


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
