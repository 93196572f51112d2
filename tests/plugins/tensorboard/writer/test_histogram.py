"""Tests of histograms: nothing finite is lost, every number is in its bucket, statistics are those of NumPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainbus.plugins.tensorboard.writer.histogram import histogram

ml_dtypes = pytest.importorskip("ml_dtypes")

TYPES = [np.dtype(name) for name in ("f2", "f4", "f8", ">f4", "i1", "u8", "?")]

any_array = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))
)


def finite(array: Any) -> Any:
    """The finite numbers, in double precision."""
    flat = np.asarray(array).astype(np.float64).ravel()
    return flat[np.isfinite(flat)]


@given(any_array)
def test_statistics_are_exact(array: Any):
    """Minimum, maximum, number, sum and sum of squares are NumPy's of the finite values, for every type of number."""
    made, values = histogram(array), finite(array)
    if made is None:
        assert not values.size
        return
    assert (made.minimum, made.maximum, made.size) == (values.min(), values.max(), values.size)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(made.total, values.sum(), rtol=1e-12, atol=1e-12 * np.abs(values).sum())
        np.testing.assert_allclose(made.squares, (values**2).sum(), rtol=1e-12)


@given(any_array)
def test_every_finite_value_is_in_its_bucket(array: Any):
    """Counts sum to the number of finite values, limits rise, and cumulative counts match the values below a limit."""
    made, values = histogram(array), np.sort(finite(array))
    if made is None:
        return
    assert made.counts.sum() == values.size
    assert (np.diff(made.limits[:-1]) > 0).all()
    assert made.limits[0] >= made.minimum
    assert made.limits[-1] == made.maximum
    counted = np.cumsum(made.counts)
    below, upto = (np.searchsorted(values, made.limits, side=side) for side in ("left", "right"))
    assert (below <= counted).all()
    assert (counted <= upto).all()


@given(st.floats(1e-30, 1e30), st.sampled_from(["f4", "f8"]))
def test_buckets_are_narrow(value: float, dtype: str):
    """A bucket is at most a 16th of its lower end wide."""
    made = histogram(np.array([value, value * 8, -value], dtype))
    assert made is not None
    low = np.array([made.minimum, *made.limits[:-1]])
    filled = made.counts > 0
    width = (made.limits - low)[filled]
    assert (width <= np.maximum(abs(low), abs(made.limits))[filled] / 16 * (1 + 1e-6)).all()


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn"])
def test_float_types_of_machine_learning_are_counted(kind: str):
    """Float types from outside NumPy are counted exactly."""
    array = np.array([-1.5, 0.25, np.nan, 3.0], getattr(ml_dtypes, kind))
    made = histogram(array)
    assert made is not None
    assert made[:5] == (-1.5, 3.0, 3, 1.75, 11.3125)


@pytest.mark.parametrize("array", [[], [np.nan, np.inf], ["text"], [None], np.zeros(3, "M8[s]"), np.zeros(2, "V4")])
def test_an_array_without_finite_numbers_has_no_histogram(array: Any):
    """Empty arrays, arrays without a finite number and arrays without numbers have no histogram."""
    assert histogram(array) is None


def test_arrays_larger_than_a_block_are_counted_completely():
    """An array larger than one block, in any memory order, with some non-finite values, is counted completely."""
    array = np.random.default_rng(0).normal(size=(700, 301)).astype("f4")
    array[5::7, 3] = np.nan
    made, turned = histogram(array), histogram(array.T[::-1])
    values = finite(array)
    assert made is not None
    assert turned is not None
    assert made.size == turned.size == values.size == made.counts.sum()
    np.testing.assert_allclose([made.total, made.squares], [values.sum(), (values**2).sum()], rtol=1e-12)
    np.testing.assert_array_equal(made.counts, turned.counts)


def test_a_complex_number_counts_as_two():
    """A complex array is counted as its real and imaginary parts."""
    made = histogram(np.array([1 + 2j, -3j]))
    assert made is not None
    assert (made.minimum, made.maximum, made.size) == (-3.0, 2.0, 4)
