"""Where every policy of a grid stops every run.

The straightforward way steps the rule over all values under all policies (`stepping.stopped`). Two facts about
`stopping_rule` make that a hundred times less work, without a second rule:

1. Only a value above all that were looked at before it can improve. `best` never falls, and every value looked at has
   left `best` at or above itself less `min_delta`; subtracting keeps order, also when it rounds. So the rule is stepped
   at these records only. Between two of them nothing but `wait` changes, and that by one a value.
2. `patience` is read only where the rule compares `wait` with it. So one stepping serves all of them: a patience stops
   the run at the first value that is no improvement and whose `wait` has reached it, and within a stretch without
   improvement `wait` is the distance to the value that reset it last.

A property test holds the result equal to the straightforward way, policy by policy and run by run.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..rules import Patience, Smoothing, stopping_rule
from .curves import Curves
from .library_settings import LIBRARIES, Library
from .policy import Grid
from .simulation import stopped

__all__ = ["grid_stops"]

Columns = NDArray[np.int32]

_AT_ONCE = 1 << 17
"""Policies times runs that are stepped at a time, so that what is worked on stays in the processor's cache."""


def grid_stops(curves: Curves, grid: Grid, library: Library = LIBRARIES["trainbus"]) -> Columns:
    """The column of the value at which each policy stops each run, -1 where it does not: [policy, run]."""
    shape = (*(len(values) for values in grid.axes.values()), len(curves.names))
    found = np.full(shape, -1, dtype=np.int32)
    for number, text in enumerate(grid.smoothing):
        smooth = curves.smoothed(Smoothing.parse(text) if text else None)
        if library.stops.rule is not stopping_rule:
            found[number] = _stepped(smooth, grid, library).reshape(shape[1:])
            continue
        for place, start in enumerate(grid.start_from_epoch):
            found[number, place] = _records_stepped(smooth, grid, start)
    return found.reshape(len(grid), len(curves.names))


def _stepped(curves: Curves, grid: Grid, library: Library) -> Columns:
    """The straightforward way, a block of policies at a time."""
    names = ("start_from_epoch", "min_delta", "baseline", "patience")
    policies = list(product(*(grid.axes[name] for name in names)))
    block = max(_AT_ONCE // max(len(curves.names), 1), 1)
    parts: list[Columns] = []
    for begin in range(0, len(policies), block):
        table = np.array(policies[begin : begin + block], dtype=np.float64)  # None becomes NaN
        options = {name: table[:, place, None] for place, name in enumerate(names)}
        options["threshold"] = options["min_delta"]
        parts.append(stopped(curves, library.stops, options).column.astype(np.int32))
    return np.concatenate(parts)


def _records_stepped(curves: Curves, grid: Grid, start: int) -> Columns:
    """The rule stepped at records only, [min_delta, baseline, patience, run]."""
    pairs = list(product(grid.min_delta, grid.baseline))
    deltas = np.array([[delta] for delta, _ in pairs])
    baselines = np.array([[-np.inf if baseline is None else curves.sign * baseline] for _, baseline in pairs])
    patience = np.array(grid.patience, dtype=np.int32)
    begin = ((curves.epochs >= 0) & (curves.epochs < start)).sum(axis=1).astype(np.int32)
    columns, counts = _records(curves, begin)
    order = np.argsort(-counts, kind="stable")  # runs that still have records come first
    columns, counts, begin = columns[:, order], counts[order], begin[order]
    scores, epochs = curves.scores[order, columns], curves.epochs[order, columns]
    # epoch 0 never stops a run, whatever comes of its value
    first = np.maximum(begin, curves.epochs[order, 0] == 0)
    shape = len(pairs), len(order)
    improved_at, reset_at = np.empty((2, *shape), dtype=np.int32)
    improved_at[:], reset_at[:] = first - 1, begin - 1
    waited, best = np.full(shape, -1, dtype=np.int32), np.full(shape, -np.inf)
    stops = np.full((*shape, len(patience)), -1, dtype=np.int32)

    def close(active: int, column: Columns, ended: NDArray[np.bool_]) -> None:
        """Where a stretch without improvement ends before this column, note which patience it has worn out."""
        longest = column - 1 - reset_at[:, :active]
        longer = ended & (longest > waited[:, :active]) & (improved_at[:, :active] < column - 1)
        found = np.divmod(np.flatnonzero(longer), active)
        reached, before = longest[found], waited[found]
        low = np.searchsorted(patience, before, side="right")
        number = np.searchsorted(patience, reached, side="right") - low
        which = np.repeat(np.arange(len(number)), number)
        worn = np.arange(len(which)) - (np.cumsum(number) - number - low)[which]
        at = np.maximum((improved_at[found] + 1)[which], reset_at[found][which] + patience[worn])
        stops[found[0][which], found[1][which], worn] = at
        waited[found] = reached

    for place in range(len(columns)):
        active = int(np.searchsorted(-counts, -place, side="left"))
        column, before = columns[place, :active], Patience(best[:, :active], -1, 0)
        state, verdict = stopping_rule(
            before,
            scores[place, :active],
            epochs[place, :active],
            min_delta=deltas,
            baseline=baselines,
            start_from_epoch=start,
        )
        close(active, column, verdict.improved)
        best[:, :active] = state.best
        np.copyto(improved_at[:, :active], column, where=verdict.improved)
        np.copyto(reset_at[:, :active], column, where=state.wait == 0)
    close(len(order), curves.lengths[order].astype(np.int32), np.ones(shape, dtype=np.bool_))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    found = stops[:, back].transpose(0, 2, 1)
    return found.reshape(len(grid.min_delta), len(grid.baseline), len(patience), len(order))


def _records(curves: Curves, begin: Columns) -> tuple[Columns, Columns]:
    """The columns of each run's strict records from its column `begin` on, [number, run], and how many there are."""
    columns = np.indices(curves.scores.shape, dtype=np.int32)[1]
    looked_at = np.isfinite(curves.scores) & (columns >= begin[:, None])
    scores = np.where(looked_at, curves.scores, -np.inf)
    above = np.full(scores.shape, -np.inf)
    np.maximum.accumulate(scores[:, :-1], axis=1, out=above[:, 1:])
    rows, places = np.divmod(np.flatnonzero(scores > above), scores.shape[1])
    counts = np.bincount(rows, minlength=len(scores)).astype(np.int32)
    found = np.zeros((int(counts.max(initial=0)), len(scores)), dtype=np.int32)
    found[np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts), rows] = places
    return found, counts
