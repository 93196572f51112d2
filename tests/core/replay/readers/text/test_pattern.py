"""Patterns for the lines of a log."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay.readers.text.pattern import Pattern

STEP = Pattern.parse(r"step (?P<step>\S+) loss (?P<loss>\S+)(?: acc (?P<acc>\S+))?")


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("step 4,000 loss 2.5", {"step": 4000.0, "loss": 2.5}),
        ("[12:00] step 5 loss 1e-3 acc 0.5.", {"step": 5.0, "loss": 0.001, "acc": 0.5}),
        ("step 5 loss -1,234.5", {"step": 5.0, "loss": -1234.5}),
        ("step x loss 2.5", {}),
        ("step 5 loss none", {"step": 5.0}),
        ("loss 2.5", {}),
    ],
)
def test_a_line_has_the_numbers_of_named_groups(line: str, row: dict[str, float]) -> None:
    """Where all of the axis is there; commas between thousands and a full stop at the end are no part of them."""
    assert STEP.row(line) == row


def test_rows_need_a_metric() -> None:
    """A line with the axis alone has none."""
    assert [*STEP.rows(["step 1 loss x", "step 2 loss 3", "", "step"])] == [{"step": 2.0, "loss": 3.0}]


@pytest.mark.parametrize(
    ("text", "words"),
    [("(", "is not a regular expression: missing"), ("loss .*", "names no metric; name its groups, as in 'step"),
     (r"(?P<epoch>\d+)", "names no metric, only 'epoch'"), ("a{99999999999999}", "is not a regular expression")],
)  # fmt: skip
def test_a_wrong_pattern_is_named(text: str, words: str) -> None:
    """With what is wrong, and an example."""
    with pytest.raises(SettingsError, match=re.escape(f"the pattern {text!r} ") + words):
        Pattern.parse(text)


@given(st.text())
def test_any_line_is_searched(line: str) -> None:
    """No text raises."""
    assert isinstance(STEP.row(line), dict)
