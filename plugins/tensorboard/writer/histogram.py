"""Histograms of arrays, with exact statistics.

Buckets are computed from the bits of the numbers: each range between two powers of two is divided into
``BUCKETS_PER_OCTAVE`` equal parts. Counting is then a shift and a table lookup, several times cheaper than a search
among bucket edges.
"""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import numpy as np

BUCKETS_PER_OCTAVE = 16
"""Number of buckets between two neighbouring powers of two."""

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_BLOCK = 1 << 16  # numbers at a time, so that temporary arrays stay in the processor's cache


class Histogram(NamedTuple):
    """The number of finite values in each bucket, which reaches from the previous limit to its own."""

    minimum: float
    maximum: float
    size: int
    """Number of finite values."""
    total: float
    squares: float
    """Sum of the squares."""
    limits: Array
    """Upper ends of the buckets, ascending; the first bucket begins at ``minimum``."""
    counts: Array


def as_floats(array: Any) -> Array | None:
    """Return the array as float32 or float64, whichever is exact; None if it holds no numbers.

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


class HistogramAccumulator:
    """A histogram of several arrays, added one after the other; the arrays are not kept.

    Numbers are counted in the precision of the first array.

    >>> accumulator = HistogramAccumulator()
    >>> for part in ([0.5, 1.0], [1.0, float("nan")]):
    ...     accumulator.add(part)
    >>> accumulator.histogram()[:5]
    (0.5, 1.0, 3, 2.5, 2.25)
    """

    def __init__(self) -> None:
        self._sides: Array | None = None  # counts of positive and of negative values, outwards from zero
        self._dtype = np.dtype(np.float32)
        self._low, self._high, self._size, self._total, self._squares = np.inf, -np.inf, 0, 0.0, 0.0

    def add(self, array: Any) -> None:
        """Add all finite numbers of an array of any float, integer or bool type."""
        floats = as_floats(array)
        if floats is None:
            return
        if self._sides is None:
            self._dtype = floats.dtype.newbyteorder("=")
            self._sides = np.zeros((2, _bins(self._dtype)), np.int64)
        flat = floats.astype(self._dtype, copy=False).ravel(order="K")
        length = min(flat.size, _BLOCK)
        places = np.empty(length, np.intp)  # allocated once, since new memory is slow
        exact = np.empty(length, np.float64)
        for start in range(0, flat.size, _BLOCK):
            self._count(flat[start : start + _BLOCK], self._sides, places, exact)

    def _count(self, block: Array, sides: Array, places: Array, exact: Array) -> None:
        sides += _counted(block, places[: block.size])
        low, high = float(block.min()), float(block.max())
        if not isfinite(high - low):  # or finite, but their difference overflows
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
            self._squares += float(np.square(exact, out=exact).sum())  # a dot product would start BLAS's threads

    def histogram(self) -> Histogram | None:
        """Return the histogram of all added arrays; None if they have no finite number."""
        if self._sides is None or not self._size:
            return None
        edges = _edges(self._dtype)
        half = len(edges) // 2
        counts = np.concatenate([self._sides[1, :half][::-1], self._sides[0, :half]])
        kept = counts > 0
        kept[np.flatnonzero(kept)[1:] - 1] = True  # an empty bucket fills the gap before a filled one
        shown = np.flatnonzero(kept)
        limits = edges[shown + 1]
        limits[-1] = self._high
        return Histogram(self._low, self._high, self._size, self._total, self._squares, limits, counts[shown])


def histogram(array: Any) -> Histogram | None:
    """Return the histogram of an array of any float, integer or bool type; None if it has no finite number."""
    accumulator = HistogramAccumulator()
    accumulator.add(array)
    return accumulator.histogram()


def _layout(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], int]:
    """Return the unsigned integer type of the same size, and the number of low bits that do not affect the bucket."""
    return np.dtype(f"u{dtype.itemsize}"), np.finfo(dtype).nmant - BUCKETS_PER_OCTAVE.bit_length() + 1


def _bins(dtype: np.dtype[Any]) -> int:
    """Return the number of buckets on one side of zero, including those of infinity and NaN."""
    return int(1 << (8 * dtype.itemsize - 1 - _layout(dtype)[1]))


def _counted(block: Array, places: Array) -> Array:
    bits, shift = _layout(block.dtype)
    bins = _bins(block.dtype)
    np.right_shift(block.view(bits), shift, out=places, casting="unsafe")
    return np.bincount(places, minlength=2 * bins).reshape(2, bins)


@cache
def _edges(dtype: np.dtype[Any]) -> Array:
    """Return the ends of all buckets of finite values, from minus to plus infinity."""
    bits, shift = _layout(dtype)
    upwards = (np.arange(_bins(dtype) - BUCKETS_PER_OCTAVE + 1, dtype=bits) << shift).view(dtype).astype(np.float64)
    return np.concatenate([-upwards[:0:-1], upwards])
