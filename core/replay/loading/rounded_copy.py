"""Whether one of two files has the numbers of the other one, printed with fewer digits."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axis import AXES
from ..records import Recording

_MANY: Final = 8
"""Different values that two files must have in common."""
_UNITS: Final = 100
"""How many units of its last digit a metric must span, so that it is no chance that numbers are equal."""
_SHARE: Final = 0.9
"""The part of the places and values in the shorter file that the other one must have."""
_SAMPLE: Final = 1000
"""Of longer columns, so many values show with how many digits they are printed."""


class _Column(NamedTuple):
    """The finite values of a metric."""

    places: NDArray[np.int64]
    values: NDArray[np.float64]


class Printed:
    """A recording whose numbers may be those of another one, printed with fewer digits.

    Args:
        recording: The recording.

    >>> from ..records import Series
    >>> exact = np.geomspace(3, 0.2, 20)
    >>> first, rounded, other = [
    ...     Printed(Recording("a", np.arange(20), {"loss": Series(values, np.ones(20, np.bool_))}))
    ...     for values in (exact, exact.round(4), (exact * 1.01).round(4))
    ... ]
    >>> first.tells_the_run_of(rounded), first.tells_the_run_of(other)
    (True, False)
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def tells_the_run_of(self, other: Printed) -> bool:
        """Return whether the metrics of both have the same values at the same places, to the digits of the coarser one.

        Args:
            other: Another recording.
        """
        if self._recording.unit != other._recording.unit:
            return False
        proven = False
        for name in self._columns.keys() & other._columns.keys():
            mine, others = self._columns[name], other._columns[name]
            _, left, right = np.intersect1d(mine.places, others.places, assume_unique=True, return_indices=True)
            fewer = min(len(mine.places), len(others.places))
            if not fewer or len(left) < _SHARE * fewer:
                return False
            one, two = mine.values[left], others.values[right]
            units = [*_last_digits(mine.values, one), *_last_digits(others.values, two)]
            equal = [unit for unit in units if (np.abs(one - two) <= _tolerances(one, unit)).mean() >= _SHARE]
            if not equal:
                return False
            different = min(np.unique(one).size, np.unique(two).size)
            proven = proven or (different >= _MANY and any(np.ptp(one) >= _UNITS * unit.max() for unit in equal))
        return proven

    @cached_property
    def _columns(self) -> dict[str, _Column]:
        found: dict[str, _Column] = {}
        by_record = AXES[self._recording.unit].by_steps
        places = self._recording.steps if by_record else None
        places = self._recording.epochs if places is None else places
        for name, series in self._recording.metrics.items():
            known = series.logged & np.isfinite(series.values)
            if known.any() and not name.startswith("learning_rate"):
                rows = np.unique(places[known], return_index=True)
                found[name] = _Column(rows[0], series.values[known][rows[1]])
        return found


def _last_digits(column: NDArray[np.float64], values: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the unit of the last digit of each value: with the decimals, and with the digits, that the column has."""
    printed = [Decimal(repr(value)).normalize().as_tuple() for value in column[:_SAMPLE].tolist()]
    exponents = [each.exponent for each in printed if isinstance(each.exponent, int)]
    yield np.full(len(values), 10.0 ** min(exponents))
    digits = max(len(each.digits) for each in printed)
    with np.errstate(divide="ignore"):
        magnitudes = np.floor(np.log10(np.abs(values)))
    yield np.where(values == 0, 0.0, 10.0 ** (np.where(values == 0, 0, magnitudes) - digits + 1))


def _tolerances(values: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much values may differ: half a unit, and the precision of event files."""
    return np.asarray(0.5 * unit * (1 + 1e-6) + np.abs(values) * np.finfo(np.float32).eps)
