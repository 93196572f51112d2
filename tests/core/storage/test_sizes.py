"""Sizes of files are short, and right to three digits."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.storage.sizes import format_bytes

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@given(st.integers(0, 10**15))
def test_a_size_has_three_digits_and_a_unit(size: int) -> None:
    """The number is below 1,000 except for the largest unit, and off by at most half of its last digit."""
    number, unit = format_bytes(size).split()

    value = float(number.replace(",", ""))
    assert abs(value * UNITS[unit] - size) <= size * 0.005
    assert value <= 1000 or unit == "TB"
    assert unit == "B" or value >= 1
