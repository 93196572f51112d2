"""Numbers, names and columns in reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import BestValue
from trainbus.replay.recommend import Estimate
from trainbus.replay.report.formatting import (
    align_columns,
    estimate_cells,
    format_best,
    format_number,
    format_percent,
    shorten,
)


@given(st.floats(0, 1))
def test_a_percentage_is_near_and_is_0_only_for_0(fraction: float) -> None:
    """A percentage has one digit after the point, and a fraction that saves something never looks like nothing."""
    text = format_percent(fraction)

    assert text.endswith(" %")
    assert (text == "0 %") is (fraction == 0)
    if text != "<0.1 %":
        assert float(text.removesuffix(" %")) == pytest.approx(100 * fraction, abs=0.0501)


@given(st.floats(-1e300, 1e300), st.integers(0, 10**6))
def test_a_best_value_has_its_epoch_counted_from_1(value: float, epoch: int) -> None:
    """Five digits of a value are shown; without a value, a dash."""
    text, number = format_best(BestValue(value, epoch)).split(" @ ")

    assert float(text) == pytest.approx(value, rel=1e-4)
    assert text == format_number(value)
    assert number == f"{epoch + 1:,}"
    assert format_best(None) == "-"


def test_an_estimate_has_three_cells() -> None:
    """A single run has no estimate for others: dashes."""
    assert estimate_cells(Estimate(0.5, 0.0, 0.123)) == ["50 %", "0 %", "12.3 %"]
    assert estimate_cells(None) == ["-", "-", "-"]


@given(st.text(), st.integers(3, 60))
def test_a_shortened_name_fits_and_has_both_ends(name: str, width: int) -> None:
    """A name that fits is only made printable."""
    short = shorten(name, width)

    assert len(short) <= width
    assert all(map(str.isprintable, short))
    if len(name) <= width:
        assert len(short) == len(name)
    else:
        half = (width - 1) // 2
        assert short == f"{shorten(name, len(name))[: width - 1 - half]}…{shorten(name, len(name))[-half:]}"


cells = st.text(st.sampled_from("abc1"), max_size=12)


@given(st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1)))
def test_columns_are_aligned(table: list[list[str]]) -> None:
    """The first and the last column begin at one place in all lines; the others end at one place."""
    header, *rows = table
    lines = align_columns(header, rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    assert len(lines) == len(table)
    for line, row in zip(lines, table, strict=True):
        place = 0
        for column, (text, width) in enumerate(zip(row, widths, strict=True)):
            cell = line.ljust(place + width)[place : place + width]
            assert cell == (text.ljust(width) if column in (0, len(row) - 1) else text.rjust(width))
            place += width + 2
        assert line == line.rstrip()


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=300), st.integers(0, 90))
def test_long_names_are_shortened_to_the_terminal(name: str, width: int) -> None:
    """A line has at most 110 characters as long as the other columns leave room for a name."""
    (_, line) = align_columns(["run", "x", ""], [[name, "x" * width, ""]])

    assert len(line) <= 110
    assert line.split()[0] == name or "…" in line
