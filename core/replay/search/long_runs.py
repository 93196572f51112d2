"""Where early stopping policies stop one run with many records; the method is that of ``grid_search``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.int32]


class LongRun(NamedTuple):
    """One run, from the first value that the rule does not ignore."""

    records: Columns
    """The columns of its records."""
    scores: NDArray[np.float64]
    """The score of each record; they rise."""
    begin: int
    """The column of its first value."""
    improved_at: int
    """The column before the first one at which the run may stop."""
    length: int
    """The number of its values."""

    def stops(self, pairs: Sequence[tuple[float, float]], patience: Columns) -> Columns:
        """Return the column at which each policy stops the run, -1 if it does not: [pair, patience].

        Args:
            pairs: ``min_delta`` and baseline score of each pair.
            patience: The values of patience, in rising order.
        """
        found = np.full((len(pairs), len(patience)), -1, dtype=np.int32)
        improved: dict[float, NDArray[np.intp]] = {}
        for number, (delta, baseline) in enumerate(pairs):
            if delta not in improved:
                improved[delta] = self._improvements(delta)
            found[number] = self._stops(improved[delta], delta, baseline, patience)
        return found

    def _improvements(self, delta: float) -> NDArray[np.intp]:
        """Return the numbers of the records that improve on the best value by more than ``delta``."""
        shifted = self.scores - delta
        # an improvement on a record is the first later one whose shifted score is above it
        after = np.maximum(np.searchsorted(shifted, self.scores, side="right"), np.arange(len(shifted)) + 1).tolist()
        found: list[int] = []
        number = int(np.searchsorted(shifted, -np.inf, side="right"))
        while number < len(after):
            found.append(number)
            number = after[number]
        return np.array(found, dtype=np.intp)

    def _stops(self, improved: NDArray[np.intp], delta: float, baseline: float, patience: Columns) -> Columns:
        """Return the stop for each patience: the first stretch without improvement whose wait reaches it holds it."""
        columns = self.records[improved]
        resets = np.where(self.scores[improved] - delta > baseline, columns, -1)
        # each stretch is after one improvement, or the beginning, and before the next one, or the end
        improved_at = np.concatenate([[self.improved_at], columns])
        reset_at = np.maximum.accumulate(np.concatenate([[self.begin - 1], resets]))
        ends = np.concatenate([columns, [self.length]])
        last_wait = np.where(improved_at < ends - 1, ends - 1 - reset_at, -1)
        stretch = np.searchsorted(np.maximum.accumulate(last_wait), patience, side="left")
        inside = stretch < len(ends)
        stretch = np.minimum(stretch, len(ends) - 1)
        return np.where(inside, np.maximum(improved_at[stretch] + 1, reset_at[stretch] + patience), -1)
