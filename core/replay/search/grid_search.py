"""Grid search of early stopping policies: find where each policy stops each run.

The direct method steps the rule over all values for all policies (``simulate_stops``). Two properties of
``trainbus.rules.stopping_rule`` allow finding the same stops with about a hundredth of the work:

1. Only a record can be an improvement. A *record* is a value above all earlier values that the rule has seen. A value
   ``x`` improves if ``x - min_delta > best``, where ``min_delta >= 0``. Afterwards ``best >= x - min_delta``: either
   ``x`` became the best, or it failed the comparison. So a later ``y <= x`` has ``y - min_delta <= x - min_delta <=
   best`` and fails too (subtraction keeps the order even when it rounds, and ``best`` never decreases). So the rule
   is stepped only at the records. Between two records, ``wait`` grows by 1 at each value, and nothing else changes.
2. ``patience`` does not influence the state; the rule only compares it with ``wait``. So one pass serves all values of
   ``patience``: in a stretch without improvement, ``wait`` at a column is the distance to the column of its last reset,
   and each patience stops the run at the first column of a stretch at which ``wait`` reaches it.

With many records and few runs, a step over one record of each run is slow. So runs with many records are not stepped
(``long_runs``): their scores at the records rise, so the next improvement is found by a search among them.

A property test compares the results with the direct method, for each policy and run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbus.plugins import EarlyStopping

from ...rules import Patience, early_stopping_rule, stopping_rule
from ..curves import Curves
from ..libraries.library import Library
from ..libraries.settings import LIBRARIES, option_of
from ..metric_choice import MetricChoice
from ..recommend import Grid
from ..records import Recording
from ..simulation.stepped_stops import step_stops
from ..simulation.stops import simulate_stops
from .long_runs import LongRun

Columns = NDArray[np.int32]

_LONGEST = int(np.iinfo(np.int32).max)
"""No run has this many values, so a longer patience has the same effect."""
_BLOCK = 1 << 17
"""The number of (policy, run) pairs that are stepped together; small enough to fit into the processor's cache."""


def find_stops(
    curves: Curves, grid: Grid, library: Library = LIBRARIES["trainbus"], fixed: Mapping[str, Any] | None = None
) -> Columns:
    """Return the column of the value at which each policy stops each run, -1 if it does not: [policy, run].

    Args:
        curves: The runs.
        grid: The policies.
        library: Whose rule to step.
        fixed: Further options, which all policies share.
    """
    shape = (*(len(values) for values in grid.axes.values()), len(curves.names))
    stops = np.full(shape, -1, dtype=np.int32)
    for number, smoothing in enumerate(grid.smoothing):
        smooth = curves.smoothed(smoothing)
        if library.stopping.rule is early_stopping_rule and not fixed:
            for index, start in enumerate(grid.start_from_epoch):
                stops[number, index] = _step_records(smooth, grid, start)
        else:
            stops[number] = _step_all(smooth, grid, library, fixed or {}).reshape(shape[1:])
    return stops.reshape(len(grid), len(curves.names))


def step_policies(
    callbacks: Iterable[EarlyStopping],
    recordings: Sequence[Recording],
    choices: Sequence[MetricChoice],
    tie_breaker: MetricChoice | None,
) -> Columns:
    """Return the row in which each policy stops each run, -1 if it does not: [policy, run].

    For callbacks whose rule cannot step all runs at once.

    Args:
        callbacks: The policies.
        recordings: The runs, whose rows are those of ``Recording.at``.
        choices: The metrics that the callbacks monitor.
        tie_breaker: The metric that breaks ties.
    """
    found: list[list[int]] = []
    for callback in callbacks:
        stops = [step_stops(callback, each, choices, tie_breaker).stop for each in recordings]
        found.append([-1 if stop is None else stop.row for stop in stops])
    return np.array(found, dtype=np.int32).reshape(len(found), len(recordings))


def _step_all(curves: Curves, grid: Grid, library: Library, fixed: Mapping[str, Any]) -> Columns:
    """Step the rule over all values, a block of policies at a time."""
    kind = library.stopping.settings
    names = ("start_from_epoch", "min_delta", "baseline", "patience")
    policies = list(product(*(grid.axes[name] for name in names)))
    block = max(_BLOCK // max(len(curves.names), 1), 1)
    parts: list[Columns] = []
    for begin in range(0, len(policies), block):
        table = np.array(policies[begin : begin + block], dtype=np.float64)  # None becomes NaN
        columns = {option_of(kind, name): table[:, index, None] for index, name in enumerate(names)}
        options: dict[str, Any] = {**fixed, **columns}
        parts.append(simulate_stops(curves, library.stopping, options).column.astype(np.int32))
    return np.concatenate(parts)


def _step_records(curves: Curves, grid: Grid, start: int) -> Columns:
    """Step the rule over the records of each run: [min_delta, baseline, patience, run]."""
    axes = product(grid.min_delta, grid.baseline)
    pairs = [(delta, -np.inf if baseline is None else curves.sign * baseline) for delta, baseline in axes]
    deltas, baselines = (np.array([[each[place]] for each in pairs]) for place in (0, 1))
    patience = np.array([min(each, _LONGEST) for each in grid.patience], dtype=np.int32)
    # the column of the first value that the rule does not ignore
    begin = ((curves.epochs >= 0) & (curves.epochs < start)).sum(axis=1).astype(np.int32)
    records, counts = _records(curves, begin)
    # with runs sorted by decreasing number of records, the runs that have an n-th record come first
    order = np.argsort(-counts, kind="stable")
    records, counts, begin = records[:, order], counts[order], begin[order]
    lengths = curves.lengths[order].astype(np.int32)
    # The column before the first one that may stop a run, which is not that of epoch 0.
    first = np.maximum(begin, curves.epochs[order, 0] == 0).astype(np.int32) - 1
    # A step over one record of all runs takes as long as one pair of a single run.
    long = int(np.argmin(np.arange(len(order) + 1) * len(pairs) + np.append(counts, 0)))
    alone: list[Columns] = []
    for place, row in enumerate(order[:long]):
        columns = records[: counts[place], place]
        run = LongRun(columns, curves.scores[row, columns], int(begin[place]), int(first[place]), int(lengths[place]))
        alone.append(run.stops(pairs, patience))
    sorting, order = np.argsort(order), order[long:]
    counts, begin, first, lengths = counts[long:], begin[long:], first[long:], lengths[long:]
    records = records[: counts.max(initial=0), long:]
    scores, epochs = curves.scores[order, records], curves.epochs[order, records]
    shape = len(pairs), len(order)
    # The last column with an improvement. A stop must come after it.
    improved_at = np.full(shape, first, dtype=np.int32)
    # The last column at which wait was reset to 0. It may be before improved_at: a value that improves on the best
    # value but not on the baseline does not reset wait.
    reset_at = np.full(shape, begin - 1, dtype=np.int32)
    # the longest wait so far; the stop of every patience up to this number is already known
    longest_wait = np.full(shape, -1, dtype=np.int32)
    best = np.full(shape, -np.inf)
    stops = np.full((*shape, len(patience)), -1, dtype=np.int32)

    def end_stretch(active: int, column: Columns, ended: NDArray[np.bool_]) -> None:
        """Record the stops in the stretches without improvement that end before this column.

        Each stretch covers the columns from ``improved_at + 1`` to ``column - 1``, and its last wait is
        ``column - 1 - reset_at``. The stretch exhausts each patience above the longest wait so far and up to its last
        wait.
        """
        last_wait = column - 1 - reset_at[:, :active]
        longer = ended & (last_wait > longest_wait[:, :active]) & (improved_at[:, :active] < column - 1)
        pair, run = np.divmod(np.flatnonzero(longer), active)
        reached = last_wait[pair, run]
        # each (pair, run) exhausts `number` patiences, from index `first` of the sorted axis on
        first = np.searchsorted(patience, longest_wait[pair, run], side="right")
        number = np.searchsorted(patience, reached, side="right") - first
        # flat lists with one entry per exhausted patience: the index of its (pair, run), and the index of the patience
        owner = np.repeat(np.arange(len(number)), number)
        exhausted = np.arange(len(owner)) - (np.cumsum(number) - number - first)[owner]
        # wait reaches a patience of n at n columns after the reset, which may be before the stretch begins
        after_improvement = (improved_at[pair, run] + 1)[owner]
        stop = np.maximum(after_improvement, reset_at[pair, run][owner] + patience[exhausted])
        stops[pair[owner], run[owner], exhausted] = stop
        longest_wait[pair, run] = reached

    for number in range(len(records)):
        active = int(np.searchsorted(-counts, -number, side="left"))
        column = records[number, :active]
        # the input wait is 0, so the output wait is 0 only if the rule has reset it
        state, verdict = stopping_rule(
            Patience(best[:, :active], -1, 0),
            scores[number, :active],
            epochs[number, :active],
            min_delta=deltas,
            baseline=baselines,
            start_from_epoch=start,
        )
        end_stretch(active, column, verdict.improved)
        best[:, :active] = state.best
        np.copyto(improved_at[:, :active], column, where=verdict.improved)
        np.copyto(reset_at[:, :active], column, where=state.wait == 0)
    if len(order):
        end_stretch(len(order), lengths, np.ones(shape, dtype=np.bool_))
    if alone:
        stops = np.concatenate([np.stack(alone, axis=1), stops], axis=1)
    by_patience = stops[:, sorting].transpose(0, 2, 1)
    return by_patience.reshape(len(grid.min_delta), len(grid.baseline), len(patience), len(sorting))


def _records(curves: Curves, begin: Columns) -> tuple[Columns, Columns]:
    """Return the columns of each run's records from its column ``begin`` on, [number, run], and their counts."""
    columns = np.indices(curves.scores.shape, dtype=np.int32)[1]
    seen = np.isfinite(curves.scores) & (columns >= begin[:, None])
    scores = np.where(seen, curves.scores, -np.inf)
    best_before = np.full(scores.shape, -np.inf)
    np.maximum.accumulate(scores[:, :-1], axis=1, out=best_before[:, 1:])
    rows, places = np.divmod(np.flatnonzero(scores > best_before), scores.shape[1])
    counts = np.bincount(rows, minlength=len(scores)).astype(np.int32)
    records = np.zeros((int(counts.max(initial=0)), len(scores)), dtype=np.int32)
    records[np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts), rows] = places
    return records, counts
