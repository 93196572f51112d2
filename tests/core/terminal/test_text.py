"""Names, counts and durations for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.terminal import format_duration, plural, printable, shortened


@given(st.text())
def test_printable_characters_are_unchanged(text: str) -> None:
    """Each character is unchanged, or a question mark if it is not printable."""
    assert all(
        new == old or (new == "?" and not old.isprintable()) for new, old in zip(printable(text), text, strict=True)
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.25, "250 ms"), (1, "1 s"), (59, "59 s"), (60, "1 min"), (90, "1.5 min"), (3599, "60 min"),
     (3600, "1 h"), (86400, "1 d"), (8640000, "100 d")],
)  # fmt: skip
def test_a_duration_is_in_its_largest_unit(seconds: float, text: str) -> None:
    """From milliseconds to days, without a digit of zero."""
    assert format_duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_duration_is_in_the_largest_unit_of_which_there_is_one(seconds: float) -> None:
    """The number is rounded to its last digit."""
    number, unit = format_duration(seconds).split()
    length, digit = {"ms": (0.001, 1), "s": (1, 1), "min": (60, 0.1), "h": (3600, 0.1), "d": (86400, 0.1)}[unit]
    assert abs(float(number) * length - seconds) <= digit * length * 0.5000001
    assert seconds == 0 or (seconds < 1) == (unit == "ms")
    assert unit in ("ms", "s") or seconds >= length


@given(st.integers(0, 10**9), st.sampled_from(["run", "epoch"]))
def test_a_count_has_its_noun(count: int, noun: str) -> None:
    """The noun is in the singular for 1 only."""
    number, word = plural(count, noun).split()
    assert int(number.replace(",", "")) == count
    assert word == (noun if count == 1 else f"{noun}s")


@given(st.lists(st.text(), max_size=20), st.integers(3, 9))
def test_shortened_texts_keep_both_ends_and_count_the_rest(texts: list[str], most: int) -> None:
    """No text is left out of a list that fits, and what is left out is counted."""
    shown = shortened(texts, most)
    assert len(shown) == min(len(texts), most)
    if len(texts) > most:
        assert (shown[: most - 2], shown[-1]) == (texts[: most - 2], texts[-1])
        assert shown[most - 2] == f"({len(texts) - most + 1} more)"
    else:
        assert shown == texts
