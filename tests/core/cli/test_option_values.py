"""Values of options on the command line: every list and mapping of options is read as it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.cli.option_values import Axis, parse_options, parse_values

values = st.one_of(
    st.booleans().map(lambda value: (str(value).lower(), value)),
    st.integers(-(10**6), 10**6).map(lambda value: (str(value), value)),
    st.floats(-1e6, 1e6).map(lambda value: (repr(value), value)),
    st.sampled_from(["val_loss", "ema 0.9", "a/b", "max"]).map(lambda text: (text, text)),
    st.just(("none", None)),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), values, max_size=4))
def test_options_are_read_as_they_are_written(options: dict[str, tuple[str, Any]]) -> None:
    """Numbers, truth values, none and text."""
    text = ", ".join(f"{name}={written}" for name, (written, _) in options.items())
    assert parse_options("--x", text) == {name: value for name, (_, value) in options.items()}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(0, 20), st.integers(1, 5))
def test_lists_and_ranges_give_all_their_values(listed: list[int], first: int, step: int) -> None:
    """A range includes its last value."""
    axis = Axis(int, "", ranges=True)
    text = f"{','.join(map(str, listed))},{first}:{first + 3 * step}:{step}"
    assert parse_values(text, "--patience", axis) == [*listed, *range(first, first + 3 * step + 1, step)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "'x' is not a valid value; separate values with commas; 1:20 gives all whole numbers from 1 to 20"),
        ("1:20000", "'1:20000' has more than 10,000 values; give fewer"),
        ("1:5:0", "'1:5:0' is not a valid value"),
    ],
)
def test_a_value_that_is_none_is_refused(text: str, words: str) -> None:
    """With what would be one."""
    with pytest.raises(SettingsError, match=f"--patience: {words}"):
        parse_values(text, "--patience", Axis(int, "", ranges=True))


@pytest.mark.parametrize(("text", "words"), [("patience", "write name=value"), ("a=1,a=2", "a is given twice")])
def test_a_text_that_is_no_option_is_refused(text: str, words: str) -> None:
    """An option is a name and a value, once."""
    with pytest.raises(SettingsError, match=words):
        parse_options("--x", text)
