"""Recordings of tables and lines whose labels say what the run counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..axis import Unit
from ..records import Recording
from .axis_label import find_axis
from .columns import still_valid
from .metric_names import is_held_out
from .recording import build_recording
from .rows import Cells, Table
from .shared.several_runs import split_runs

_FEW = 3
"""Epochs below which a run that also counts steps is judged by its steps."""

_SELDOM = 0.05
"""The part of the rows from which on a number that changes in them counts something."""


def record_runs(name: str, title: str, table: Table, notes: Sequence[str], index: str | None = None) -> list[Recording]:
    """Return the runs in a table, which a column such as "fold" may number; the number is a setting of the run.

    Args:
        name: The name of the run, or the part of it that several have in common.
        title: The format to display.
        table: The rows of the file.
        notes: The notes so far.
        index: The label of a column of row numbers that is not called an epoch.
    """
    more = [*notes]
    found: list[Recording] = []
    for part in split_runs(table, index, more):
        run = record_table(f"{name}{part.suffix}", title, part.table, more, index)
        found.append(replace(run, settings={**part.numbers, **run.settings}))
    return found


def record_table(
    name: str,
    title: str,
    table: Table,
    notes: Sequence[str],
    index: str | None = None,
    *,
    completed: bool = False,
) -> Recording:
    """Return the run in a table; what it counted is found by the labels.

    A run with several evaluations in an epoch has a row for each of them. One with hardly any epochs has a row for each
    step that it logged, and a table without any such label one epoch a row.

    Args:
        name: The name of the run.
        title: The format to display.
        table: The rows of the file.
        notes: The notes so far.
        index: The label of a column of row numbers that is not called an epoch.
        completed: Whether epochs are counted when they end, so that 0 is before the training, and 0.5 in the first one.
    """
    columns = table.cells()
    axis = find_axis(columns)
    unit: Unit = "epoch"
    metrics = {label: cells for label, cells in columns.items() if label not in axis.all | {index}}
    longest = max((cells.rows for cells in metrics.values()), key=len, default=np.array([], np.int64))
    places = {label: columns[label].column(table.count) for label, _ in axis.counters}
    counters = [each for each in axis.counters if _counts(places[each[0]][longest])]
    counter, counted = max(counters, key=lambda each: len(columns[each[0]].rows), default=(None, unit))
    steps = None if counter is None else places[counter]
    if axis.epoch is not None:
        epochs = columns[axis.epoch].column(table.count)
        if steps is not None:
            epochs = _with_epochs_in_steps(epochs, steps)
        unit = _unit(epochs, steps, metrics, counted, completed=completed)
        if unit == "epoch":
            first = 1 if completed and not _fractional(epochs) else None
            return build_recording(name, title, epochs, metrics, notes, steps, first_epoch=first)
        if unit == "evaluation":
            steps = None if steps is None or not _rises(steps) or _changes(steps) < _changes(epochs) else steps
            rows = np.arange(table.count, dtype=np.float64)
            return build_recording(name, title, rows if steps is None else steps, metrics, notes, steps, unit)
    if steps is not None:
        return build_recording(name, title, _rising(steps), metrics, notes, unit=counted)
    if index in columns:
        return build_recording(name, title, columns[index].column(table.count), metrics, notes)
    rows = np.arange(table.count, dtype=np.float64)
    return build_recording(name, title, rows, metrics, [*notes, "No column counts epochs: each row is read as one."])


def _counts(places: NDArray[np.float64]) -> bool:
    """Return whether a number is where the rows are, and not the planned length of the run, in a row of each place."""
    known = places[np.isfinite(places)]
    return known.size < 2 or _changes(known) >= _SELDOM * known.size


def _changes(places: NDArray[np.float64]) -> int:
    """Return how often a number changes from row to row."""
    known = places[np.isfinite(places)]
    return int((np.diff(known) != 0).sum())


def _unit(
    epochs: NDArray[np.float64],
    steps: NDArray[np.float64] | None,
    metrics: Mapping[str, Cells],
    counter: Unit,
    *,
    completed: bool,
) -> Unit:
    """Return by what to judge a run that has epochs."""
    inside = completed or _fractional(epochs)
    held_out = [epochs[cells.rows] for label, cells in metrics.items() if is_held_out(label)]
    if held_out:
        several = any(_several_in_an_epoch(each[np.isfinite(each)], inside=inside) for each in held_out)
        return "evaluation" if several else "epoch"
    if steps is None or not _rises(steps):
        return "epoch"
    known = epochs[np.isfinite(epochs)]
    few = np.unique(np.floor(known)).size < _FEW and np.unique(steps).size > 2 * _FEW
    return counter if few or (completed and _fractional(epochs)) else "epoch"


def _several_in_an_epoch(evaluated: NDArray[np.float64], *, inside: bool) -> bool:
    """Return whether an epoch has several evaluations, or there is one before the training, and not after an epoch."""
    if (np.diff(evaluated) < 0).any():  # the run was resumed
        return False
    before = inside and evaluated.size > 1 and evaluated[0] == 0
    return bool(before or np.unique(np.ceil(evaluated)).size < evaluated.size)


def _fractional(epochs: NDArray[np.float64]) -> bool:
    known = epochs[np.isfinite(epochs)]
    return bool((known != np.floor(known)).any())


def _rises(steps: NDArray[np.float64]) -> bool:
    """Return whether steps count through the run, and do not begin again in each epoch."""
    known = steps[np.isfinite(steps)]
    return known.size == steps.size and float((np.diff(known) < 0).mean() if known.size > 1 else 0) < 0.1


def _rising(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the steps; those of lines that do not count them, such as 0 at each validation, are those before them."""
    known = np.isfinite(steps)
    given = steps[known]
    back = int((np.diff(given) < 0).sum())
    if back <= _FEW or np.unique(given).size == given.size or still_valid(given).mean() > 0.5:
        return steps
    found = steps.copy()
    found[known] = np.maximum.accumulate(steps[known])
    return found


def _with_epochs_in_steps(epochs: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the epochs, with those of rows that have their epoch in place of a step, as MMEngine's validations do."""
    given = np.isfinite(epochs)
    lacking = ~given & np.isfinite(steps)
    if not lacking.any() or not given.any():
        return epochs
    last, others = epochs[given].max(), steps[given & np.isfinite(steps)]
    if steps[lacking].max() > last or not others.size or others.max() / 2 <= last:
        return epochs
    found = epochs.copy()
    found[lacking] = steps[lacking]
    return found
