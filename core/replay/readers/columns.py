"""Values as they were written, one after the other, put in a row by epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records import Series

__all__ = ["Column", "by_epoch", "holding"]


class Column(NamedTuple):
    """What was written of one metric, in that order."""

    epochs: NDArray[np.int64]
    values: NDArray[np.float64]


def by_epoch(columns: Mapping[str, Column]) -> tuple[NDArray[np.int64], dict[str, Series]]:
    """All epochs, rising, and each metric's values at them: the last that was written of each epoch.

    >>> epochs, metrics = by_epoch({"loss": Column(np.array([0, 1, 1]), np.array([3.0, 2.0, 1.0]))})
    >>> epochs.tolist(), metrics["loss"].values.tolist()
    ([0, 1], [3.0, 1.0])
    """
    epochs = np.unique(np.concatenate([np.array([], np.int64), *(column.epochs for column in columns.values())]))
    metrics: dict[str, Series] = {}
    for name, column in columns.items():
        values = np.full(len(epochs), np.nan)
        logged = np.zeros(len(epochs), np.bool_)
        places = np.searchsorted(epochs, column.epochs)
        values[places] = column.values  # of several at one place, NumPy keeps the last
        logged[places] = True
        metrics[name] = Series(values, logged)
    return epochs, metrics


def holding(steps: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the steps that were written hold still: those behind which a later one goes back do not.

    A run that is resumed, or started anew, goes back; what had been written from there on is no part of its story.

    >>> holding(np.array([0, 1, 2, 3, 2, 3])).tolist()
    [True, True, False, False, True, True]
    """
    back = np.full(len(steps), np.inf)
    goes_back = np.diff(steps) < 0
    back[:-1][goes_back] = steps[1:][goes_back]
    return np.asarray(steps < np.minimum.accumulate(back[::-1])[::-1])
