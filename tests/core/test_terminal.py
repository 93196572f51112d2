"""Text for a terminal."""

from io import BytesIO, StringIO, TextIOWrapper
from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.terminal import encodable, format_duration, plot, plural, printable, shortened


@given(
    st.dictionaries(st.integers(0, 400), st.sampled_from([nan, inf, -inf]) | st.floats(-1e300, 1e300), max_size=60),
    st.integers(20, 120),
    st.integers(2, 12),
)
def test_a_plot_shows_every_epoch_in_its_room(values: dict[int, float], width: int, height: int) -> None:
    """It is at most as wide as requested, has the requested height, and shows the lowest and highest value."""
    lines = plot(values, dict.fromkeys(list(values)[:1], "S"), width=width, height=height)
    finite = [value for value in values.values() if isfinite(value)]

    if not finite:
        assert lines == []
        return
    assert max(map(len, lines)) <= width
    assert len(lines) == height + 3
    assert f"{max(finite):.5g} ┤" in lines[0]
    assert f"{min(finite):.5g} ┤" in lines[height - 1]
    assert sum(line.count("•") for line in lines) >= 1
    assert lines[-1].strip() == "S"
    assert ("x" in lines[height - 1]) <= (len(finite) < len(values))


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


@given(st.text(st.characters()), st.sampled_from(["ascii", "cp1252", "latin-1", "shift_jis", "utf-8", "utf-16", None]))
def test_whatever_a_stream_cannot_encode_is_escaped(text: str, encoding: str | None) -> None:
    """What it can encode is unchanged; a stream without an encoding takes any text."""
    stream = TextIOWrapper(BytesIO(), encoding, "strict") if encoding else StringIO()
    shown = encodable(text, stream)
    stream.write(shown)
    stream.flush()
    try:
        text.encode(encoding or "utf-32", "surrogatepass" if encoding is None else "strict")
    except UnicodeEncodeError:
        assert shown != text
    else:
        assert shown == text


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
