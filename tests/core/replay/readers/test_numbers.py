"""Numbers as logs write them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers import parse_number


@given(st.floats() | st.integers(-(10**300), 10**300))
def test_numbers_are_read_as_numbers_and_as_text(number: float):
    """A script that writes NumPy's numbers with ``default=str`` writes text."""
    for written in (number, str(number), np.float64(number)):
        assert repr(parse_number(written)) == repr(float(number))


@pytest.mark.parametrize("value", [None, True, False, "", "loss", "1,5", [1.0], {"a": 1}, 10**400])
def test_anything_else_is_not_a_number(value: object):
    """Booleans are flags, not numbers; an integer beyond the range of floats is not one either."""
    assert parse_number(value) is None


def test_nan_is_a_number():
    """A NaN that was logged is different from a value that was not."""
    number = parse_number("nan")

    assert number is not None
    assert math.isnan(number)
