"""The values of a metric are combined without waiting, in double precision, and with NaN as NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.metrics.reductions import COMBINED, like, mean_of, number_of_samples, summable

numbers = st.floats(allow_infinity=True, allow_nan=True)


@given(st.lists(numbers, min_size=1, max_size=6))
def test_extremes_are_those_of_numpy_in_any_order(values: list[float]) -> None:
    """Of Python numbers, arrays and tensors alike; a NaN stays a NaN."""
    for how, expected in (("max", np.max(values)), ("min", np.min(values))):
        for kind in (float, np.float64, lambda value: torch.tensor(value, dtype=torch.float64)):
            found: Any = kind(values[0])
            for each in values[1:]:
                found = COMBINED[how](found, kind(each))
            assert float(found) == expected or (math.isnan(found) and np.isnan(expected))


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array([2.0]), torch.tensor(2), torch.tensor([2.0])])
def test_a_single_value_on_the_host_is_a_float(value: Any) -> None:
    """Whatever its type."""
    assert type(summable("loss", value)) is float
    assert summable("loss", value) == 2.0


@pytest.mark.parametrize("value", [None, np.ma.masked])
def test_a_missing_value_is_none(value: Any) -> None:
    """As if nothing had been logged."""
    assert summable("loss", value) is None


@pytest.mark.parametrize("value", ["1", b"1", True, object(), [1.0, 2.0], 1j])
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    """The message names the metric."""
    with pytest.raises(SettingsError, match=r"^loss: "):
        summable("loss", value)


def test_a_sum_that_was_saved_as_an_array_goes_on_on_the_device_of_the_next_value() -> None:
    """A mean divides on the device, too."""
    moved = like(np.float64(3.0), torch.tensor(1.0))

    assert isinstance(moved, torch.Tensor)
    assert mean_of(moved, 2).item() == mean_of(3.0, 2) == 1.5


@pytest.mark.parametrize("count", [np.int64(3), np.float32(3), torch.tensor(3), 3.0])
def test_a_number_of_samples_is_copied(count: Any) -> None:
    """Any number is one; text is none."""
    assert number_of_samples("loss", count) == 3.0
    with pytest.raises(SettingsError, match=r"count of 'loss': .*give the number of samples"):
        number_of_samples("loss", "3")
