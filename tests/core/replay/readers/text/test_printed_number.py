"""Numbers in text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.text.printed_number import NUMBER, printed_number


@given(st.floats(allow_infinity=False), st.sampled_from(["{}", "{:.4f}", "{:.3e}", "{:,.2f}"]))
def test_a_number_in_any_format_is_found(number: float, form: str) -> None:
    """As ``print`` writes it."""
    text = form.format(number)
    assert re.fullmatch(NUMBER, text)
    assert repr(printed_number(f" {text}.")) == repr(float(text.replace(",", "")))


@pytest.mark.parametrize("text", ["", "x", "1,2", "0x", "(", "1-2"])
def test_other_texts_are_none(text: str) -> None:
    """Commas are between thousands only."""
    assert printed_number(text) is None
