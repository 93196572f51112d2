"""The learning rates that were recorded, as far as they tell whether a reduction took place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics.names import canonical
from .curves import Curves
from .records import Recording

__all__ = ["Rates", "rates_of"]

_NEAR = 1e-4
"""Relative difference within which two rates are the same: event files and Keras hold them in single precision."""


class Rates(NamedTuple):
    """The highest learning rate of each run, [run, column]; NaN where nothing tells.

    A rate may be noted before its epoch or after it, so that a reduction shows between one epoch and its neighbour on
    either side.
    """

    at: NDArray[np.float64]
    """In the epoch of the column."""
    before: NDArray[np.float64]
    """In the epoch before."""
    after: NDArray[np.float64]
    """In the epoch after."""

    def shows(self, column: int, factor: float, floor: float) -> NDArray[np.bool_]:
        """Which runs show a reduction by this factor at this column."""

        def follows(rate: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.bool_]:
            lowered = np.maximum(earlier * factor, floor)
            return np.isclose(rate, lowered, rtol=_NEAR, atol=0) & (rate < earlier)

        at, before, after = (each[:, column] for each in self)
        return follows(after, at) | follows(at, before)


def rates_of(recordings: Sequence[Recording], curves: Curves) -> Rates:
    """The recorded rates at the columns of these curves of the same recordings."""
    at, before, after = np.full((3, *curves.scores.shape), np.nan)
    for row, recording in enumerate(recordings):
        found = [series for name, series in recording.metrics.items() if _is_rate(name)]
        if not found:
            continue
        highest = np.fmax.reduce([np.where(series.logged, series.values, np.nan) for series in found])
        there = np.flatnonzero(~np.isnan(highest))
        if not there.size:
            continue
        epochs, rates = recording.epochs[there], highest[there]
        wanted = curves.epochs[row, : curves.lengths[row]]
        place = np.searchsorted(epochs, wanted, side="right") - 1
        for values, step in ((at, 0), (before, -1), (after, 1)):
            chosen = place + step
            inside = (chosen >= 0) & (chosen < len(rates))
            values[row, : len(wanted)] = np.where(inside, rates[np.clip(chosen, 0, len(rates) - 1)], np.nan)
    return Rates(at, before, after)


def _is_rate(name: str) -> bool:
    return canonical(name).startswith("learning_rate")
