"""A whole array as a histogram, with exact statistics.

The buckets follow the bits of the numbers: each range between two powers of two is cut into `FINENESS` equal parts.
Counting is then a shift and a table, several times cheaper than a search among bucket edges.
"""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import numpy as np

FINENESS = 16
"""Buckets between two neighbouring powers of two."""

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_BLOCK = 1 << 16  # numbers at a time: what is made of them stays in the processor's cache


class Histogram(NamedTuple):
    """How often finite numbers fall into buckets, each of which reaches from the limit before to its own."""

    minimum: float
    maximum: float
    size: int
    """Number of finite values."""
    total: float
    squares: float
    """Sum of the squares."""
    limits: Array
    """Upper ends of the buckets, rising; the first bucket begins at `minimum`."""
    counts: Array


def as_floats(array: Any) -> Array | None:
    """The same numbers as float32 or float64, whichever holds them; None where they are no numbers.

    A complex number becomes two.
    """
    values: Any = np.asarray(array)
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
    dtype = values.dtype
    if not np.can_cast(dtype, np.float64, "same_kind"):
        return None
    floats: Array = values.astype(np.float32 if dtype == np.float32 or dtype.itemsize <= 2 else np.float64, copy=False)
    return floats


class Tally:
    """A histogram that grows by one array after the other; none of them is kept.

    Numbers are counted in the precision of the first array.

    >>> tally = Tally()
    >>> for part in ([0.5, 1.0], [1.0, float("nan")]):
    ...     tally.add(part)
    >>> tally.histogram()[:5]
    (0.5, 1.0, 3, 2.5, 2.25)
    """

    def __init__(self) -> None:
        self._sides: Array | None = None  # counts upwards from zero, and downwards from zero
        self._dtype = np.dtype(np.float32)
        self._low, self._high, self._size, self._total, self._squares = np.inf, -np.inf, 0, 0.0, 0.0

    def add(self, array: Any) -> None:
        """Count in all finite numbers of an array, of any float, integer or truth type."""
        floats = as_floats(array)
        if floats is None:
            return
        if self._sides is None:
            self._dtype = floats.dtype.newbyteorder("=")
            self._sides = np.zeros((2, _bins(self._dtype)), np.int64)
        flat = floats.astype(self._dtype, copy=False).ravel(order="K")
        length = min(flat.size, _BLOCK)
        places, exact = np.empty(length, np.intp), np.empty(length, np.float64)  # once: fresh memory costs more
        for start in range(0, flat.size, _BLOCK):
            self._count(flat[start : start + _BLOCK], self._sides, places, exact)

    def _count(self, block: Array, sides: Array, places: Array, exact: Array) -> None:
        sides += _counted(block, places[: block.size])
        low, high = float(block.min()), float(block.max())
        if not isfinite(high - low):  # or they lie further apart than a float reaches
            block = block[np.isfinite(block)]
            if not block.size:
                return
            low, high = float(block.min()), float(block.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._size += block.size
        exact = exact[: block.size]
        np.copyto(exact, block)
        with np.errstate(over="ignore"):
            self._total += float(exact.sum())
            self._squares += float(np.square(exact, out=exact).sum())  # a dot product would set BLAS's threads going

    def histogram(self) -> Histogram | None:
        """The histogram of all that was counted in; None where there was no finite number."""
        if self._sides is None or not self._size:
            return None
        edges = _edges(self._dtype)
        half = len(edges) // 2
        counts = np.concatenate([self._sides[1, :half][::-1], self._sides[0, :half]])
        filled = np.flatnonzero(counts)
        shown = np.union1d(filled, filled[1:] - 1)  # an empty bucket before a filled one closes the gap
        limits = edges[shown + 1]
        limits[-1] = self._high
        return Histogram(self._low, self._high, self._size, self._total, self._squares, limits, counts[shown])


def histogram(array: Any) -> Histogram | None:
    """The histogram of all finite numbers in `array`, of any float, integer or truth type; None where there is none."""
    tally = Tally()
    tally.add(array)
    return tally.histogram()


def _layout(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], int]:
    """The unsigned integers that the bits make, and how many of the lowest bits do not matter."""
    return np.dtype(f"u{dtype.itemsize}"), np.finfo(dtype).nmant - FINENESS.bit_length() + 1


def _bins(dtype: np.dtype[Any]) -> int:
    """Number of buckets on one side of zero, those of values that are not finite included."""
    return int(1 << (8 * dtype.itemsize - 1 - _layout(dtype)[1]))


def _counted(block: Array, places: Array) -> Array:
    bits, shift = _layout(block.dtype)
    bins = _bins(block.dtype)
    np.right_shift(block.view(bits), shift, out=places, casting="unsafe")
    return np.bincount(places, minlength=2 * bins).reshape(2, bins)


@cache
def _edges(dtype: np.dtype[Any]) -> Array:
    """Ends of all buckets of finite values, from minus to plus infinity."""
    bits, shift = _layout(dtype)
    upwards = (np.arange(_bins(dtype) - FINENESS + 1, dtype=bits) << shift).view(dtype).astype(np.float64)
    return np.concatenate([-upwards[:0:-1], upwards])
