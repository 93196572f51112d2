"""Tables that hold several runs, which a column such as "fold" or "trial" numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...records import Recording
from ..axis_label import find_axis
from ..rows import Cells, Table
from ..table_recording import record_table

_LABEL: Final = re.compile(
    r"[#\s]*(k_?|cv_?)?(fold|trial|run|seed|repeat|repetition|replicate|replica)(_?(idx|index|id|no|num|number|nr))?\s*",
    re.IGNORECASE,
)
_MOST: Final = 10_000
"""Runs in one table."""


def record_runs(name: str, title: str, table: Table, notes: Sequence[str], index: str | None = None) -> list[Recording]:
    """Return the runs in a table: one for each value of the columns that number runs, if each of these begins anew.

    The value is a setting of the run, and not a metric.

    Args:
        name: The name of the run, or the part of it that several have in common.
        title: The format to display.
        table: The rows of the file.
        notes: The notes so far.
        index: The label of a column of row numbers that is not called an epoch.

    >>> table = Table()
    >>> for fold, epoch, loss in ((0, 0, 3.0), (0, 1, 2.0), (1, 0, 3.1), (1, 1, 2.2)):
    ...     table.add({"fold": fold, "epoch": epoch, "loss": loss}.items())
    >>> found = record_runs("log.csv", "CSV", table, [])
    >>> [(each.name, each.settings, each.metrics["loss"].values.tolist()) for each in found]
    [('log.csv#fold 0', {'fold': 0}, [3.0, 2.0]), ('log.csv#fold 1', {'fold': 1}, [3.1, 2.2])]
    """
    if not any(map(_LABEL.fullmatch, table.labels)):
        return [record_table(name, title, table, notes, index)]
    columns = table.cells()
    numbering = {
        label: cells.column(table.count)
        for label, cells in columns.items()
        if _LABEL.fullmatch(label) and len(cells.rows) == table.count and _are_whole(cells.values)
    }
    if not numbering or len(numbering) == len(columns):
        return [record_table(name, title, table, notes, index)]
    values, run_of = np.unique(np.stack([*numbering.values()], axis=1), axis=0, return_inverse=True)
    varying = [label for label, column in numbering.items() if np.ptp(column) > 0]
    parts = [] if len(values) > _MOST else [np.flatnonzero(run_of.ravel() == each) for each in range(len(values))]
    if len(parts) > 1 and _begin_anew(parts, _places(columns, table.count)):
        found: list[Recording] = []
        for rows, value in zip(parts, values.astype(np.int64).tolist(), strict=True):
            numbers = dict(zip(numbering, value, strict=True))
            own = f"{name}#{', '.join(f'{label} {numbers[label]}' for label in varying)}"
            part = table.part(rows).without({*numbers, index or ""})  # the numbers of rows go on from run to run
            found.append(_with_settings(record_table(own, title, part, notes), numbers))
        return found
    if varying:
        listed = ", ".join(map(repr, varying))
        notes = [*notes, f"{listed}: no metric, but numbers runs, of which each goes on after the one before it."]
    constant = {label: int(column[0]) for label, column in numbering.items() if label not in varying}
    return [_with_settings(record_table(name, title, table.without(numbering), notes, index), constant)]


def _with_settings(found: Recording, settings: Mapping[str, object]) -> Recording:
    return replace(found, settings={**settings, **found.settings})


def _are_whole(values: NDArray[np.float64]) -> bool:
    return bool((np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)).all())


def _places(columns: Mapping[str, Cells], count: int) -> NDArray[np.float64] | None:
    """Return the epoch of each row, or its step; None if no column tells it."""
    axis = find_axis(columns)
    label = axis.epoch or next((label for label, _ in axis.counters), None)
    return None if label is None else columns[label].column(count)


def _begin_anew(parts: Sequence[NDArray[np.int64]], places: NDArray[np.float64] | None) -> bool:
    """Return whether parts of a table are runs: each has several rows, and begins where the others do."""
    if min(map(len, parts)) < 2:
        return False
    if places is None:
        return True
    known = np.unique(places[np.isfinite(places)])
    firsts = [first for first in _firsts(parts, places) if np.isfinite(first)]
    return len(firsts) == len(parts) and max(firsts) <= known[min(1, len(known) - 1)]


def _firsts(parts: Sequence[NDArray[np.int64]], places: NDArray[np.float64]) -> Iterator[float]:
    for rows in parts:
        found = places[rows]
        yield float(found[np.isfinite(found)].min(initial=np.inf))
