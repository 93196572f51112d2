"""The values of a run that callbacks have seen at a moment, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainbus import BestValue
from trainbus.plugins.frequency import Frequency

from ..curves import Curves, first_best
from ..records import Recording

Moment: TypeAlias = tuple[int, float]
"""As in ``SimulatedAction.moment``."""


class KnownValues(NamedTuple):
    """Values of a run, and when they are known, in order."""

    epochs: NDArray[np.int64]
    looks: NDArray[np.float64]
    """After which validation of its epoch each is known; infinite at the end of the epoch."""
    scores: NDArray[np.float64]

    def until(self, moment: Moment) -> KnownValues:
        """Return the values that are known at a moment."""
        epoch, look = moment
        known = (self.epochs < epoch) | ((self.epochs == epoch) & (self.looks <= look))
        return KnownValues(self.epochs[known], self.looks[known], self.scores[known])

    def best(self, sign: int, steps: Mapping[int, int]) -> BestValue | None:
        """Return the best value, its epoch and its step: that of ``first_best``."""
        place = first_best(self.scores)
        if place is None:
            return None
        epoch = int(self.epochs[place])
        return BestValue(sign * float(self.scores[place]), epoch, steps.get(epoch))


def values_at(seen: Sequence[tuple[Frequency, Curves]], row: int, run: Recording) -> KnownValues:
    """Return the values of a run.

    Args:
        seen: The frequencies of looks, with the curves of the values in these rows.
        row: The number of the run.
        run: The run.
    """
    epochs, looks, scores = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]]()
    for frequency, curves in seen:
        filled = slice(0, curves.lengths[row])
        places = curves.rows[row, filled]
        at_validations = frequency.unit == "validation"
        looks.append(run.at(frequency).looks[places] if at_validations else np.full(len(places), inf))
        epochs.append(curves.epochs[row, filled])
        scores.append(curves.scores[row, filled])
    joined = [np.concatenate([np.array([]), *each]) for each in (epochs, looks, scores)]
    order = np.lexsort((joined[1], joined[0]))
    return KnownValues(*(each[order] for each in joined))
