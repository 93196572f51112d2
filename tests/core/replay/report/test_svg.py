"""SVG: elements, scales, axes, lines and marks."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.report.svg import Axes, Label, Scale, drawing, element

numbers = st.floats(-1e9, 1e9)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="￾￿"), max_size=20)
axes = Axes(Scale(0.0, 10.0, 40, 300), Scale(0.0, 1.0, 180, 20))


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


@given(texts, texts)
def test_attributes_and_titles_are_only_text(title: str, description: str) -> None:
    """An SVG with any names is well-formed XML that holds these names."""
    svg = parsed(drawing([element("g", class_=title, data_name=description)], 10, 20, title, description))

    assert svg.attrib["viewBox"] == "0 0 10 20"
    assert svg.attrib["aria-label"] == f"{title}: {description}"
    assert [each.text or "" for each in svg[:2]] == [title, description]
    assert svg[2].attrib == {"class": title, "data-name": description}


@given(numbers, st.floats(1e-3, 1e6), numbers)
def test_a_scale_keeps_the_order_and_stays_inside(low: float, span: float, value: float) -> None:
    """Its ends are at the ends of the axis, in either direction; a value outside gets the nearest end."""
    for begin, end in ((0.0, 100.0), (100.0, 0.0)):
        scale = Scale(low, low + span, begin, end)
        assert scale(low) == begin
        assert scale(low + span) == pytest.approx(end)
        assert 0 <= scale(value) <= 100
        assert (scale(low + span) - scale(low)) * (end - begin) > 0
        if value <= low:
            assert scale(value) == begin


def test_a_scale_without_a_range_has_one_place() -> None:
    """It does not divide by zero."""
    scale = Scale(3.0, 3.0, 10, 20)

    assert (scale(3.0), scale(5.0), scale.ticks()) == (10, 10, [3.0])


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_inside(low: float, span: float, count: int) -> None:
    """There are about as many as requested, at equal distances of 1, 2 or 5 times a power of ten."""
    scale = Scale(low, low + span, 0, 1)
    ticks = scale.ticks(count)
    slack = 1e-6 * span + 1e-9 * abs(low)

    assert count / 2.5 - 1 <= len(ticks) <= 2 * count + 2
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    for one, other in pairwise(ticks):
        step = other - one
        factor = step / 10 ** math.floor(math.log10(step) + 1e-6)
        assert min(abs(factor - each) for each in (1, 2, 5, 10)) < 1e-2


def test_a_frame_has_a_number_at_each_tick() -> None:
    """The grid, the numbers and both labels, escaped."""
    root = parsed(f"<g>{axes.frame('epoch', '<loss>', percent=True)}</g>")
    words = [each.text for each in root.iter("text")]

    assert words[-2:] == ["epoch", "<loss>"]
    assert [f"{100 * tick:.4g} %" for tick in axes.y.ticks()] == words[: len(axes.y.ticks())]
    assert len([each for each in root.iter("line") if each.attrib["class"] == "grid"]) == len(axes.y.ticks())


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf])), max_size=12))
def test_a_line_has_a_gap_at_each_value_that_is_not_finite(points: list[tuple[float, float]]) -> None:
    """Each stretch of finite values begins with a move; nothing is drawn without any."""
    text = axes.line(points, "curve")
    finite = [math.isfinite(y) for _, y in points]
    begins = sum(here and not before for before, here in zip([False, *finite], finite, strict=False))
    if not any(finite):
        assert text == ""
        return
    path = parsed(text).attrib["d"]
    assert path.count("M") == begins
    assert path.count("M") + path.count("L") == sum(finite)


def test_a_line_of_steps_goes_sideways_first() -> None:
    """A frontier is a staircase."""
    path = parsed(axes.line([(0.0, 0.0), (10.0, 1.0)], "frontier", steps=True)).attrib["d"]

    assert path == "M40.0 180.0H300.0L300.0 20.0"


@given(st.lists(st.tuples(st.sampled_from(["stop 7", "careful", "<b>"]), st.floats(0, 10)), max_size=4))
def test_labels_stand_above_the_plot_beside_each_other(labels: list[tuple[str, float]]) -> None:
    """None covers another one or a line, each is on the picture, in the order of their places, and escaped."""
    drawn = ET.fromstring(f"<g>{axes.labels([Label(text, x, 'stop-words') for text, x in labels])}</g>")
    ordered = sorted(labels, key=lambda each: each[1])
    assert [each.text for each in drawn] == [text for text, _ in ordered]
    ends = axes.x.begin
    for each, (text, x) in zip(drawn, ordered, strict=True):
        width = Label(text, x, "").width
        assert float(each.attrib["x"]) >= ends - 0.1
        assert float(each.attrib["y"]) < axes.y.end
        ends = float(each.attrib["x"]) + width
    assert ends <= axes.x.end + 0.1


def test_marks_are_at_their_places() -> None:
    """A dot at its point, a line from top to bottom, a triangle at the top."""
    dot, line = parsed(axes.dot(5.0, 0.5, "kept")), parsed(axes.vertical_line(5.0, "stop"))

    assert (dot.attrib["cx"], dot.attrib["cy"]) == ("170", "100")
    assert (line.attrib["x1"], line.attrib["x2"]) == ("170", "170")
    assert {line.attrib["y1"], line.attrib["y2"]} == {"180", "20"}
    assert parsed(axes.triangle(5.0, "cut")).attrib["d"] == "M166.0 20h8l-4 8z"
