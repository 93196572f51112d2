"""One metric of many runs as arrays: a row for each run, a column for each logged value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainbus.plugins.frequency import EVERY_EPOCH, Frequency

from ..metrics.smoothing import Smoothing
from .axis import Unit
from .metric_choice import MetricChoice
from .records import UNKNOWN, Recording

_ARRAYS = 15
"""From this many runs on, a step of all runs at once is faster than a step of each run."""


@dataclass(frozen=True)
class Curves:
    """One metric of many runs, in the array layout that the rules take.

    Of a run that counts something else, each "epoch" is a row of its ``Recording``.

    An epoch that did not log the metric has no column in the row of its run, since rules ignore it, unless each row is
    asked for. Shorter rows are padded with epochs of -1 and scores of NaN, which rules also ignore.
    """

    names: tuple[str, ...]
    mode: Literal["min", "max"]
    scores: NDArray[np.float64]
    """The values, negated if lower is better, so that a higher score is always better; [run, column]."""
    epochs: NDArray[np.int64]
    """The epoch, counted from 0, of each value."""
    lengths: NDArray[np.int64]
    """The number of values of each run."""
    first: NDArray[np.int64]
    """The first recorded epoch of each run, with or without the metric."""
    last: NDArray[np.int64]
    """The last recorded epoch of each run, with or without the metric."""
    times: NDArray[np.float64]
    """The end of each value's epoch in seconds; NaN if unknown."""
    end: NDArray[np.float64]
    """The end of each run's last recorded epoch in seconds; NaN if unknown."""
    begin: NDArray[np.float64]
    """The end of each run's first recorded epoch in seconds; NaN if unknown."""
    units: tuple[Unit, ...]
    """What each run counts."""
    steps: NDArray[np.int64]
    """The weight updates until each value; ``UNKNOWN`` where they are not recorded."""
    rows: NDArray[np.int64]
    """The row of its recording in which each value is looked at; -1 in the padding."""

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    @property
    def best(self) -> NDArray[np.float64]:
        """The best finite score up to each column; -inf before the first one."""
        finite = np.where(np.isfinite(self.scores), self.scores, -np.inf)
        return np.asarray(np.maximum.accumulate(finite, axis=1))

    def in_order(self, rows: Sequence[int]) -> Curves:
        """Return the same curves in another order.

        Args:
            rows: The present row of each run.
        """
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays: dict[str, Any] = {
            name: value[list(rows)] for name, value in given.items() if isinstance(value, np.ndarray)
        }
        names, units = tuple(self.names[row] for row in rows), tuple(self.units[row] for row in rows)
        return replace(self, names=names, units=units, **arrays)

    def at(self, recordings: Sequence[Recording], due: Sequence[NDArray[np.bool_]]) -> Curves:
        """Return the curves of what a callback sees that looks in some rows: each time the last value not seen before.

        Args:
            recordings: The runs of the curves.
            due: In which rows of each run it looks.
        """
        places = [
            last_unseen(own[:length], np.flatnonzero(some))
            for own, length, some in zip(self.rows, self.lengths.tolist(), due, strict=True)
        ]
        lengths = np.array([len(columns) for columns, _ in places], dtype=np.int64)
        shape = len(self.names), int(lengths.max(initial=0))
        scores, times, epochs = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, -1, dtype=np.int64)
        steps, looks = np.full(shape, UNKNOWN), np.full(shape, -1, dtype=np.int64)
        for row, (recording, (columns, seen)) in enumerate(zip(recordings, places, strict=True)):
            filled = slice(0, len(columns))
            scores[row, filled], looks[row, filled] = self.scores[row, columns], seen
            epochs[row, filled] = recording.epochs[seen]
            if recording.times is not None:
                times[row, filled] = recording.times[seen]
            if recording.steps is not None:
                steps[row, filled] = recording.steps[seen]
        return replace(self, scores=scores, times=times, epochs=epochs, lengths=lengths, steps=steps, rows=looks)

    def scores_of(
        self, recordings: Sequence[Recording], choice: MetricChoice, *, last: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores of another metric in the rows of these curves, [run, column]; -inf where it is missing.

        Args:
            recordings: The runs of the curves.
            choice: The other metric.
            last: Whether a row that does not log the metric has its last value from before.
        """
        found = np.full(self.scores.shape, -np.inf)
        for row, recording in enumerate(recordings):
            name = choice.name_in(recording)
            if name is None:
                continue
            values, logged = recording.metrics[name]
            if last:
                values, logged = filled_forward(values, logged)
            scores = np.where(logged & ~np.isnan(values), choice.sign * values, -np.inf)
            columns = slice(0, self.lengths[row])
            found[row, columns] = scores[self.rows[row, columns]]
        return found

    def smoothed(self, setting: str | None) -> Curves:
        """Return the curves with smoothed scores, computed with the same rule as in a live callback.

        Args:
            setting: A ``smoothing`` option, such as "ema 0.9"; None returns the curves unchanged.
        """
        if not setting:
            return self
        smoothing = Smoothing.parse(setting)
        smooth: NDArray[np.float64] = np.full(self.scores.shape, np.nan)
        if self.lengths.sum() < _ARRAYS * self.scores.shape[1]:
            for row, length in enumerate(self.lengths.tolist()):
                smooth[row, :length] = list(smoothing.over(self.scores[row, :length].tolist()))
            return replace(self, scores=smooth)
        state: tuple[Any, ...] = smoothing.begin()
        for column in range(self.scores.shape[1]):
            state, smooth[:, column] = smoothing.step(state, self.scores[:, column])
        return replace(self, scores=smooth)


def first_best(scores: NDArray[np.float64]) -> int | None:
    """Return the place of the best score, as ``best_rule`` keeps it: the first of the highest finite ones.

    >>> first_best(np.array([np.nan, 1.0, 2.0, np.inf, 2.0])), first_best(np.array([np.nan]))
    (2, None)
    """
    finite = np.isfinite(scores)
    return int(np.where(finite, scores, -np.inf).argmax()) if finite.any() else None


def last_unseen(logged: NDArray[np.int64], looks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which values looks see that see the last value each, and the looks that see one; each value counts once.

    Args:
        logged: The rows that log a value.
        looks: The rows with a look.

    >>> [each.tolist() for each in last_unseen(np.array([0, 1, 2, 6]), np.array([1, 3, 5, 7]))]
    [[1, 2, 3], [1, 3, 7]]
    """
    last = np.searchsorted(logged, looks, side="right") - 1
    new = np.diff(last, prepend=-1) > 0
    return last[new], looks[new]


def filled_forward(
    values: NDArray[np.float64], logged: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the last logged value up to each row, and whether there is one.

    >>> [each.tolist() for each in filled_forward(np.array([0.0, 3.0, 0.0]), np.array([False, True, False]))]
    [[0.0, 3.0, 3.0], [False, True, True]]
    """
    last = np.maximum.accumulate(np.where(logged, np.arange(len(logged)), -1))
    return values[np.maximum(last, 0)], last >= 0


def build_curves(
    recordings: Sequence[Recording],
    choice: MetricChoice,
    frequency: Frequency = EVERY_EPOCH,
    *,
    each_row: bool = False,
) -> Curves:
    """Return the chosen metric of recordings.

    Args:
        recordings: The runs.
        choice: The metric.
        frequency: When a callback looks; the curves have the rows of ``Recording.at``.
        each_row: Whether a row without the metric has a column, too, with a score of NaN.

    >>> from .records import Series
    >>> loss = Series(np.array([2.0, np.nan, 1.0]), np.array([True, False, True]))
    >>> curves = build_curves([Recording("a", np.arange(3), {"loss": loss})], MetricChoice("loss", "min", ""))
    >>> curves.scores.tolist(), curves.epochs.tolist(), curves.last.tolist()
    ([[-2.0, -1.0]], [[0, 2]], [2])
    """
    looked = [recording.at(frequency) for recording in recordings]
    series = [choice.series_in(each) for each in looked]
    columns = [np.arange(len(logged)) if each_row else np.flatnonzero(logged) for _, logged in series]
    lengths = np.array([len(each) for each in columns], dtype=np.int64)
    shape = len(series), int(lengths.max(initial=0))
    scores, times = np.full(shape, np.nan), np.full(shape, np.nan)
    epochs, rows = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    known = any(each.steps is not None for each in looked)
    steps = np.full(shape, UNKNOWN) if known else np.broadcast_to(UNKNOWN, shape)
    for row, (each, (values, logged), chosen) in enumerate(zip(looked, series, columns, strict=True)):
        filled = slice(0, lengths[row])
        scores[row, filled] = np.where(logged, choice.sign * values, np.nan)[chosen]
        epochs[row, filled], rows[row, filled] = each.epochs[chosen], chosen
        if each.steps is not None:
            steps[row, filled] = each.steps[chosen]
        if each.times is not None:
            times[row, filled] = each.times[chosen]
    begin, end = np.full(len(series), np.nan), np.full(len(series), np.nan)
    for row, recording in enumerate(recordings):
        if recording.times is not None and recording.times.size:
            begin[row], end[row] = recording.times[[0, -1]]
    first = np.array([recording.epochs[:1].sum() for recording in recordings], dtype=np.int64)
    last = np.array([recording.epochs[-1:].sum() for recording in recordings], dtype=np.int64)
    names = tuple(recording.name for recording in recordings)
    units: tuple[Unit, ...] = tuple(recording.unit for recording in recordings)
    return Curves(names, choice.mode, scores, epochs, lengths, first, last, times, end, begin, units, steps, rows)
