"""Values of metrics that each have steps of their own, as tools write that keep a file or a list for each metric."""

from __future__ import annotations

from array import array
from collections import defaultdict
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....limits import EPOCHS
from ..columns import still_valid
from ..metric_names import list_names
from ..rows import Cells

TIME = "timestamp"
"""The label of the column of times."""


class Joined(NamedTuple):
    """The metrics of one run, in rows that they share."""

    steps: NDArray[np.float64]
    """The step of each row, rising."""
    columns: dict[str, Cells]
    """The metrics by the labels in the file; also the times in seconds, if each row has one and they rise."""
    notes: list[str]
    """What was left out or guessed, one sentence each."""


class Points:
    """The values of each metric with their steps, in the order in which they were written.

    >>> points = Points()
    >>> for label, step, value in (("loss", 0, 3.0), ("loss", 1, 2.0), ("val_loss", 1, 2.5)):
    ...     points.add(label, step, value)
    >>> steps, columns, notes = points.joined()
    >>> steps.tolist(), columns["val_loss"].rows.tolist()
    ([0.0, 1.0], [1])
    """

    def __init__(self) -> None:
        self._series: defaultdict[str, tuple[array[float], array[float]]] = defaultdict(
            lambda: (array("d"), array("d"))
        )
        self._misplaced = 0
        self._times: dict[float, float] = {}

    def add(self, label: str, step: float, value: float, time: float | None = None) -> None:
        """Add a value of a metric.

        Args:
            label: The metric.
            step: The step of the value.
            value: The value.
            time: When it was written, in seconds.
        """
        if not 0 <= step < EPOCHS:
            self._misplaced += 1
            return
        steps, values = self._series[label]
        steps.append(step)
        values.append(value)
        if time is not None and isfinite(time):
            self._times[step] = max(time, self._times.get(step, time))

    def joined(self) -> Joined:
        """Return the metrics in rows that they share, each for one step."""
        notes: list[str] = []
        if self._misplaced:
            notes.append(f"{self._misplaced:,} values have no step, or a negative one, and are left out.")
        series = {label: (np.array(steps), np.array(values)) for label, (steps, values) in self._series.items()}
        stepless = [label for label, (steps, _) in series.items() if len(steps) > 1 and (steps == steps[0]).all()]
        if stepless:
            notes.append(f"{list_names(stepless)}: all values have the same step, and are counted as written.")
        for label in stepless:
            series[label] = np.arange(float(len(series[label][0]))), series[label][1]
        void = 0
        for label, (steps, values) in series.items():
            if (np.diff(steps) < 0).any() and len(np.unique(steps)) < len(steps):
                valid = still_valid(steps)
                void += int((~valid).sum())
                series[label] = steps[valid], values[valid]
        if void:
            notes.append(f"{void:,} values are left out, since the run later went back to their steps.")
        rows = np.unique(np.concatenate([np.array([]), *(steps for steps, _ in series.values())]))
        columns = {label: Cells(np.searchsorted(rows, steps), values) for label, (steps, values) in series.items()}
        times = np.array([self._times.get(step, np.nan) for step in rows.tolist()])
        if not stepless and len(times) > 1 and (np.diff(times) > 0).all() and TIME not in columns:
            columns[TIME] = Cells(np.arange(len(rows)), times)
        return Joined(rows, columns, notes)
