"""Tables that hold several runs, which a column such as "fold" or "trial" numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axis_label import find_axis
from ..rows import Cells, Table

_LABEL: Final = re.compile(
    r"[#\s]*(k_?|cv_?)?(fold|trial|run|seed|repeat|repetition|replicate|replica)(_?(idx|index|id|no|num|number|nr))?\s*",
    re.IGNORECASE,
)
_MOST: Final = 10_000
"""Runs in one table."""


class Part(NamedTuple):
    """The rows of one run in a table."""

    suffix: str
    """What the name of the run has in addition to that of the table; empty if the table has one run."""
    numbers: dict[str, int]
    """The number of the run by the label of its column; a setting of the run."""
    table: Table


def split_runs(table: Table, index: str | None, notes: list[str]) -> list[Part]:
    """Return the parts of a table: one for each value of the columns that number runs, if each of these begins anew.

    Args:
        table: The rows of the file.
        index: The label of a column of row numbers, which go on from run to run.
        notes: The notes so far; one is added if a column numbers runs that go on.

    >>> table = Table()
    >>> for fold, epoch, loss in ((0, 0, 3.0), (0, 1, 2.0), (1, 0, 3.1), (1, 1, 2.2)):
    ...     table.add({"fold": fold, "epoch": epoch, "loss": loss}.items())
    >>> [(each.suffix, each.numbers, each.table.column("loss").tolist()) for each in split_runs(table, None, [])]
    [('#fold 0', {'fold': 0}, [3.0, 2.0]), ('#fold 1', {'fold': 1}, [3.1, 2.2])]
    """
    if not any(map(_LABEL.fullmatch, table.labels)):
        return [Part("", {}, table)]
    columns = table.cells()
    numbering = {
        label: cells.column(table.count)
        for label, cells in columns.items()
        if _LABEL.fullmatch(label) and len(cells.rows) == table.count and _are_whole(cells.values)
    }
    if not numbering or len(numbering) == len(columns):
        return [Part("", {}, table)]
    values, run_of = np.unique(np.stack([*numbering.values()], axis=1), axis=0, return_inverse=True)
    varying = [label for label, column in numbering.items() if np.ptp(column) > 0]
    parts = [] if len(values) > _MOST else [np.flatnonzero(run_of.ravel() == each) for each in range(len(values))]
    if len(parts) > 1 and _begin_anew(parts, _places(columns, table.count)):
        found: list[Part] = []
        for rows, value in zip(parts, values.tolist(), strict=True):
            numbers = dict(zip(numbering, map(int, value), strict=True))
            suffix = f"#{', '.join(f'{label} {numbers[label]}' for label in varying)}"
            found.append(Part(suffix, numbers, table.part(rows).without({*numbers, index or ""})))
        return found
    if varying:
        listed = ", ".join(map(repr, varying))
        notes.append(f"{listed}: no metric, but numbers runs, of which each goes on after the one before it.")
    constant = {label: int(column[0]) for label, column in numbering.items() if label not in varying}
    return [Part("", constant, table.without(numbering))]


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
