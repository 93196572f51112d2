"""Whether one of two files has the numbers of the other one, printed with fewer digits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Final

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
_SPREAD: Final = 5
"""So many parts of a column have one value each that is compared first."""
_SAMPLE: Final = 1000
"""Of longer columns, so many values show with how many digits they are printed."""


class _Column:
    """The finite values of a metric."""

    def __init__(self, places: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self.places, self.values = places, values
        some = [*dict.fromkeys(len(places) * part // _SPREAD for part in range(_SPREAD))]
        self.some = [(int(places[row]), float(values[row])) for row in some]
        self.near = float(np.ptp(values)) / _UNITS

    def may_equal(self, other: _Column) -> bool:
        """Return whether most of a few values are near those of another column; comparing all of them costs more."""
        few, many = (self, other) if len(self.places) <= len(other.places) else (other, self)
        near, far = max(few.near, many.near), 0
        for place, value in few.some:
            row = bisect_left(many.places, place)
            found = row < len(many.places) and many.places[row] == place and abs(many.values[row] - value) <= near
            far += not found
            if 2 * far > len(few.some):
                return False
        return True


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
        shared = self._columns.keys() & other._columns.keys()
        if not any(self._columns[name].may_equal(other._columns[name]) for name in shared):
            return False
        proven = False
        for name in shared:
            mine, others = self._columns[name], other._columns[name]
            _, left, right = np.intersect1d(mine.places, others.places, assume_unique=True, return_indices=True)
            if len(left) < _SHARE * min(len(mine.places), len(others.places)):
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
