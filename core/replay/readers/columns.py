"""Columns of values in the order in which they were written, and their alignment by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...limits import LARGEST
from ..records import Recording, Series


class Column(NamedTuple):
    """The values of one metric, in the order in which they were written."""

    epochs: NDArray[np.int64]
    values: NDArray[np.float64]


def align_by_epoch(columns: Mapping[str, Column]) -> tuple[NDArray[np.int64], dict[str, Series]]:
    """Return all epochs in ascending order, and the last written value of each metric in each epoch.

    >>> epochs, metrics = align_by_epoch({"loss": Column(np.array([0, 1, 1]), np.array([3.0, 2.0, 1.0]))})
    >>> epochs.tolist(), metrics["loss"].values.tolist()
    ([0, 1], [3.0, 1.0])
    """
    epochs = np.unique(np.concatenate([np.array([], np.int64), *(column.epochs for column in columns.values())]))
    metrics: dict[str, Series] = {}
    for name, column in columns.items():
        values = np.full(len(epochs), np.nan)
        logged = np.zeros(len(epochs), np.bool_)
        rows = np.searchsorted(epochs, column.epochs)
        values[rows] = column.values  # if a row has several values, NumPy keeps the last
        logged[rows] = True
        metrics[name] = Series(values, logged)
    return epochs, metrics


def limit_values(recording: Recording) -> Recording:
    """Replace values beyond the largest supported value by infinities, and add a note to the recording."""
    count, metrics = 0, dict(recording.metrics)
    if recording.validations is not None:
        recording = replace(recording, validations=limit_values(recording.validations))
    for name, (values, logged) in metrics.items():
        beyond = np.isfinite(values) & (np.abs(values) > LARGEST)
        if beyond.any():
            count += int(beyond.sum())
            metrics[name] = Series(np.where(beyond, np.copysign(np.inf, values), values), logged)
    if not count:
        return recording
    note = f"{count:,} values beyond {LARGEST:g} are read as infinities."
    return replace(recording, metrics=metrics, notes=(*recording.notes, note))


def still_valid(steps: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of the written steps are valid: a step is void if a later entry has the same or a lower step.

    A run that is resumed or restarted goes back to an earlier step and overwrites all steps from there on.

    >>> still_valid(np.array([0, 1, 2, 3, 2, 3])).tolist()
    [True, True, False, False, True, True]
    """
    target = np.full(len(steps), np.inf)
    jumps = np.diff(steps) < 0
    target[:-1][jumps] = steps[1:][jumps]
    return np.asarray(steps < np.minimum.accumulate(target[::-1])[::-1])
