"""What was recorded of one run, whatever wrote it down: a value an epoch of each metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Recording", "Series"]


class Series(NamedTuple):
    """One metric of one run, an element for each epoch of its `Recording`."""

    values: NDArray[np.float64]
    """What was logged; NaN where nothing was, and where NaN was."""
    logged: NDArray[np.bool_]
    """Which epochs logged it: a rule is stepped by a NaN, and not by an epoch that has nothing."""


@dataclass(frozen=True)
class Recording:
    """What was recorded of one run.

    >>> values = np.array([0.5, 0.25])
    >>> Recording("a", np.arange(2), {"loss": Series(values, np.isfinite(values))}).duration is None
    True
    """

    name: str
    """What tells the run from the others that were read: its path below the one that was asked for."""
    epochs: NDArray[np.int64]
    """The epochs that were recorded, counted from 0, each once and rising."""
    metrics: Mapping[str, Series]
    """Name, as trainbus would log it ("val_loss"), to its values."""
    times: NDArray[np.float64] | None = None
    """When each epoch ended, in seconds of any clock; None where nothing tells."""
    format: str = ""
    """What wrote it, in words fit to be shown: "Keras event files", "Lightning CSV"."""
    notes: tuple[str, ...] = field(default=())
    """What the reader had to leave out or to guess, a sentence each."""

    @property
    def duration(self) -> float | None:
        """Seconds from the first epoch's end to the last's, None where nothing tells."""
        return None if self.times is None or not self.times.size else float(self.times[-1] - self.times[0])
