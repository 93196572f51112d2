"""Plain values are hashable, and compare as the journal needs it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.decision import FrozenValues
from trainbus.decision.values import as_plain_value

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(st.dictionaries(st.text(max_size=3), plain))
def test_equal_values_have_equal_hashes_in_any_order(values: dict[str, Any]) -> None:
    """A NaN equals a NaN."""
    turned = dict(reversed(values.items()))

    assert FrozenValues(values) == FrozenValues(turned)
    assert hash(FrozenValues(values)) == hash(FrozenValues(turned))
    assert list(FrozenValues(values)) == list(values)


@pytest.mark.parametrize("value", [np.float32(0.5), np.array([0.5]), np.array(0.5), 0.5])
def test_scalars_of_frameworks_become_plain(value: Any) -> None:
    """NumPy scalars and arrays with one element."""
    assert type(as_plain_value(value)) is float
    assert FrozenValues({"value": value}) == {"value": 0.5}


def test_every_nan_is_the_same_object() -> None:
    """So containers, which compare by identity first, find it equal."""
    assert as_plain_value(float("nan")) is as_plain_value(np.float64("nan"))
