"""A length of time is text with units, or a timedelta; anything else is refused with what to write."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.limits import DURATION
from trainbus.settings.durations import duration_in_words, duration_text, seconds_in

MICROSECONDS = st.integers(1, DURATION * 1_000_000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 seconds", 30),
        ("1 second", 1),
        ("10 minutes", 600),
        ("2 hours", 7200),
        ("23 hours 45 minutes", 85_500),
        ("1 day 12 hours", 129_600),
        ("2 weeks", 1_209_600),
        ("1.5 hours", 5400),
        ("0.25 seconds", 0.25),
        ("0.000001 seconds", 1e-6),
        ("1 hour, 30 minutes and 5 seconds", 5405),
        ("  10   Minutes ", 600),
        ("10minutes", 600),
        ("45 minutes 23 hours", 85_500),
        ("0 hours 5 minutes", 300),
        ("100000000000 seconds", None),
    ],
)
def test_a_text_is_a_number_of_seconds(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="at most 36500 days"):
            seconds_in(text)
    else:
        assert seconds_in(text) == seconds


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (600, 'give the number with its unit, as in "600 seconds"'),
        (0.5, 'give the number with its unit, as in "0.5 seconds"'),
        (True, 'give text such as "30 seconds"'),
        (None, 'give text such as "30 seconds"'),
        ("", 'give text such as "30 seconds"'),
        ("soon", 'give text such as "30 seconds"'),
        ("minutes 10", 'give text such as "30 seconds"'),
        ("-10 minutes", 'give text such as "30 seconds"'),
        ("1e3 seconds", "unknown unit 'e'"),
        ("10 minuts", "did you mean 'minutes'"),
        ("10 min", "write 'minutes'"),
        ("10 mins", "write 'minutes'"),
        ("2h", "write 'hours'"),
        ("90 s", "write 'seconds'"),
        ("3 month", "unknown unit 'month'"),
        ("10 epochs", "unknown unit 'epochs'"),
        ("00:12:00:00", 'as in "12 hours"'),
        ("23:45:00", 'as in "23 hours 45 minutes"'),
        ("1-06:00:30", 'as in "1 day 6 hours 30 seconds"'),
        ("5 minutes 5 minutes", "minutes are given twice"),
        ("0 seconds", "give a time above 0"),
        (timedelta(0), "give a time above 0"),
        (timedelta(days=-1), "give a time above 0"),
        (timedelta.max, "at most 36500 days"),
        ("9" * 5000 + " days", 'give text such as "30 seconds"'),
    ],
)
def test_anything_else_is_refused_with_what_to_write(value: object, advice: str) -> None:
    with pytest.raises(ValueError, match=advice) as refused:
        seconds_in(value)
    assert "\n" not in str(refused.value)


@given(MICROSECONDS)
def test_a_duration_in_words_is_read_back_exactly(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert seconds_in(duration_in_words(seconds)) == seconds
    assert seconds_in(timedelta(microseconds=microseconds)) == seconds


@given(MICROSECONDS)
def test_a_timedelta_becomes_its_text_and_a_text_stays(microseconds: int) -> None:
    text = duration_text(timedelta(microseconds=microseconds))
    assert isinstance(text, str)
    assert duration_text(text) == text


@given(st.text(max_size=30) | st.from_regex(r"\d{1,4} ?[a-z]{1,8}( \d{1,4} [a-z]{1,8})?", fullmatch=True))
def test_any_text_is_a_duration_or_refused_in_one_line(text: str) -> None:
    refused, seconds = "", 1.0
    try:
        seconds = seconds_in(text)
    except ValueError as error:
        refused = str(error)

    assert "\n" not in refused
    assert 0 < seconds <= DURATION
