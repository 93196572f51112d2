"""One metric of many runs as arrays: a row for each run, a column for each logged value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.plan import Unit
from ..metrics.smoothing import Smoothing
from .metric_choice import MetricChoice
from .records import UNKNOWN, Recording

_ARRAYS = 15
"""From this many runs on, a step of all runs at once is faster than a step of each run."""


@dataclass(frozen=True)
class Curves:
    """One metric of many runs, in the array layout that the rules take.

    Of a loop by steps, each "epoch" is a validation.

    An epoch that did not log the metric has no column in the row of its run, since rules ignore it. Shorter rows are
    padded with epochs of -1 and scores of NaN, which rules also ignore.
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
    """What each run counts: epochs, or the validations of a loop by steps."""
    steps: NDArray[np.int64]
    """The weight updates until each value; ``UNKNOWN`` where they are not recorded."""

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    @property
    def best(self) -> NDArray[np.float64]:
        """The best finite score up to each column; -inf before the first one."""
        finite = np.where(np.isfinite(self.scores), self.scores, -np.inf)
        return np.asarray(np.maximum.accumulate(finite, axis=1))

    def at(self, epochs: Sequence[NDArray[np.int64]]) -> Curves:
        """Return the curves of some epochs of each run.

        Args:
            epochs: The epochs of each run.
        """
        pairs = zip(self.epochs, epochs, strict=True)
        wanted = (self.epochs >= 0) & np.array([np.isin(own, some) for own, some in pairs]).reshape(self.epochs.shape)
        lengths = wanted.sum(axis=1)
        shape = len(self.names), int(lengths.max(initial=0))
        scores, times, places = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, -1, dtype=np.int64)
        steps = np.full(shape, UNKNOWN)
        for row, length in enumerate(lengths.tolist()):
            scores[row, :length] = self.scores[row, wanted[row]]
            times[row, :length] = self.times[row, wanted[row]]
            places[row, :length] = self.epochs[row, wanted[row]]
            steps[row, :length] = self.steps[row, wanted[row]]
        return replace(self, scores=scores, times=times, epochs=places, lengths=lengths, steps=steps)

    def scores_of(self, recordings: Sequence[Recording], choice: MetricChoice) -> NDArray[np.float64]:
        """Return the scores of another metric in the epochs of these curves, [run, column]; -inf where it is missing.

        Args:
            recordings: The runs of the curves.
            choice: The other metric.
        """
        found = np.full(self.scores.shape, -np.inf)
        for row, recording in enumerate(recordings):
            name = choice.name_in(recording)
            if name is None:
                continue
            values, logged = recording.metrics[name]
            scores = np.where(logged & ~np.isnan(values), choice.sign * values, -np.inf)
            columns = slice(0, self.lengths[row])
            found[row, columns] = scores[np.searchsorted(recording.epochs, self.epochs[row, columns])]
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


def build_curves(recordings: Sequence[Recording], choice: MetricChoice) -> Curves:
    """Return the chosen metric of recordings that each log it at least once.

    >>> from .records import Series
    >>> loss = Series(np.array([2.0, np.nan, 1.0]), np.array([True, False, True]))
    >>> curves = build_curves([Recording("a", np.arange(3), {"loss": loss})], MetricChoice("loss", "min", ""))
    >>> curves.scores.tolist(), curves.epochs.tolist(), curves.last.tolist()
    ([[-2.0, -1.0]], [[0, 2]], [2])
    """
    series = [recording.metrics[choice.name_in(recording) or choice.monitor] for recording in recordings]
    lengths = np.array([int(each.logged.sum()) for each in series], dtype=np.int64)
    shape = len(series), int(lengths.max(initial=0))
    scores, times = np.full(shape, np.nan), np.full(shape, np.nan)
    epochs = np.full(shape, -1, dtype=np.int64)
    begin, end = np.full(len(series), np.nan), np.full(len(series), np.nan)
    known = any(recording.steps is not None for recording in recordings)
    steps = np.full(shape, UNKNOWN) if known else np.broadcast_to(UNKNOWN, shape)
    for row, (recording, (values, logged)) in enumerate(zip(recordings, series, strict=True)):
        columns = slice(0, lengths[row])
        scores[row, columns] = choice.sign * values[logged]
        epochs[row, columns] = recording.epochs[logged]
        if recording.steps is not None:
            steps[row, columns] = recording.steps[logged]
        if recording.times is not None:
            times[row, columns] = recording.times[logged]
            begin[row], end[row] = recording.times[0], recording.times[-1]
    first = np.array([recording.epochs[0] for recording in recordings], dtype=np.int64)
    last = np.array([recording.epochs[-1] for recording in recordings], dtype=np.int64)
    names = tuple(recording.name for recording in recordings)
    units: tuple[Unit, ...] = tuple(recording.unit for recording in recordings)
    return Curves(names, choice.mode, scores, epochs, lengths, first, last, times, end, begin, units, steps)
