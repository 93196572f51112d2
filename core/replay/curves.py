"""One metric of many runs as arrays, a row for each run and a column for each value that was logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..rules import Smoothing
from .metric_choice import Choice
from .records import Recording

__all__ = ["Curves", "curves_of"]


@dataclass(frozen=True)
class Curves:
    """One metric of many runs, as rules step it.

    An epoch that did not log the metric has no column in its row, since no rule looks at it. Rows that are shorter
    than the longest end in epochs of -1 and scores of NaN, which no rule looks at either.
    """

    names: tuple[str, ...]
    mode: Literal["min", "max"]
    scores: NDArray[np.float64]
    """The values turned so that higher is better, [run, column]."""
    epochs: NDArray[np.int64]
    """The epoch, counted from 0, of each value."""
    lengths: NDArray[np.int64]
    """How many values each run has."""
    first: NDArray[np.int64]
    """The first epoch that was recorded of each run, with or without the metric."""
    last: NDArray[np.int64]
    """The last epoch that was recorded of each run."""
    times: NDArray[np.float64]
    """When the epoch of each value ended, in seconds; NaN where nothing tells."""
    end: NDArray[np.float64]
    """When the last recorded epoch of each run ended, in seconds; NaN where nothing tells."""
    begin: NDArray[np.float64]
    """When the first recorded epoch of each run ended."""

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.mode == "max" else -1

    @property
    def best(self) -> NDArray[np.float64]:
        """The best score so far at each column; -inf while there is none that is finite."""
        finite = np.where(np.isfinite(self.scores), self.scores, -np.inf)
        return np.asarray(np.maximum.accumulate(finite, axis=1))

    def smoothed(self, smoothing: Smoothing | None) -> Curves:
        """The same with every score made smooth, by the rule that the live callback steps."""
        if smoothing is None:
            return self
        state: tuple[Any, ...] = smoothing.begin()
        smooth: NDArray[np.float64] = np.empty(self.scores.shape)
        for column in range(self.scores.shape[1]):
            state, smooth[:, column] = smoothing.step(state, self.scores[:, column])
        return replace(self, scores=smooth)


def curves_of(recordings: Sequence[Recording], choice: Choice) -> Curves:
    """The chosen metric of the recordings, each of which logs it at least once.

    >>> from .recording import Series
    >>> loss = Series(np.array([2.0, np.nan, 1.0]), np.array([True, False, True]))
    >>> curves = curves_of([Recording("a", np.arange(3), {"loss": loss})], Choice("loss", "min", ""))
    >>> curves.scores.tolist(), curves.epochs.tolist(), curves.last.tolist()
    ([[-2.0, -1.0]], [[0, 2]], [2])
    """
    series = [recording.metrics[choice.name_in(recording) or choice.monitor] for recording in recordings]
    lengths = np.array([int(each.logged.sum()) for each in series], dtype=np.int64)
    shape = len(series), int(lengths.max(initial=0))
    scores, times = np.full(shape, np.nan), np.full(shape, np.nan)
    epochs = np.full(shape, -1, dtype=np.int64)
    begin, end = np.full(len(series), np.nan), np.full(len(series), np.nan)
    for row, (recording, (values, logged)) in enumerate(zip(recordings, series, strict=True)):
        columns = slice(0, lengths[row])
        scores[row, columns] = choice.sign * values[logged]
        epochs[row, columns] = recording.epochs[logged]
        if recording.times is not None and recording.times.size:
            times[row, columns] = recording.times[logged]
            begin[row], end[row] = recording.times[0], recording.times[-1]
    first = np.array([recording.epochs[0] for recording in recordings], dtype=np.int64)
    last = np.array([recording.epochs[-1] for recording in recordings], dtype=np.int64)
    names = tuple(recording.name for recording in recordings)
    return Curves(names, choice.mode, scores, epochs, lengths, first, last, times, end, begin)
