"""Numbers in single precision."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.libraries.precision import single


@given(st.floats(width=32))
def test_a_number_of_single_precision_stays_the_same(number: float) -> None:
    """Also NaN and the infinite ones."""
    assert np.array_equal(float(single(number)), number, equal_nan=True)
