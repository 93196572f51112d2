"""The charts of a report."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.replay import replay, sweep
from trainbus.replay.curves import build_curves
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.report.charts import draw_curve, draw_frontier, draw_together
from trainbus.replay.report.report import Report

from ..recorded import History, by_steps, finite, histories, recording


def drawn(history: History, *callbacks: Any, every: int | None = None) -> ET.Element:
    """Return the chart of a run under these callbacks; without any, that of the run alone.

    With ``every``, it is a loop by steps, with a validation every so many.
    """
    runs = [recording(history) if every is None else by_steps(recording(history), every)]
    curves = build_curves(runs, MetricChoice("val_loss", "min", ""))
    outcome = replay(runs, list(callbacks)).outcomes[0] if callbacks else None
    return ET.fromstring(draw_curve(curves, 0, outcome, "val_loss"))


def marks(svg: ET.Element) -> list[str]:
    """Return the classes of all marks but axes and numbers."""
    found = [each.attrib.get("class", "") for each in svg.iter()]
    return [each for each in found if each not in ("", "grid", "axis", "x", "y", "words", "words end")]


@given(
    histories.filter(lambda history: any(each is not None for each in history)),
    st.booleans(),
    st.none() | st.integers(1, 10**6),
)
def test_any_history_is_drawn_inside_its_picture(history: History, with_callbacks: bool, every: int | None) -> None:
    """A chart is well-formed for any values, and each position is within its box."""
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)] if with_callbacks else []
    svg = drawn(history, *callbacks, every=every)
    assert every is None or "epoch" not in ET.tostring(svg, "unicode")
    _, _, width, height = map(float, svg.attrib["viewBox"].split())

    for each in svg.iter("circle"):
        assert 0 <= float(each.attrib["cx"]) <= width
        assert 0 <= float(each.attrib["cy"]) <= height
    for each in svg.iter("path"):
        if each.attrib["class"].startswith("curve"):
            for x, y in re.findall(r"[ML](\S+) ([\d.-]+)", each.attrib["d"]):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height


def test_decisions_are_marked() -> None:
    """The stop, the best value up to it, the lost best value, and the part after the stop."""
    svg = drawn([3.0, 2.0, 2.5, 2.6, 1.0, 1.5], EarlyStopping(patience=2))

    assert sorted(marks(svg)) == [
        "curve",
        "curve after",
        "kept",
        "kept-words",
        "missed",
        "missed-words",
        "stop",
        "stop-words",
    ]
    assert [each.text for each in svg.iter("text") if "-words" in each.attrib["class"]] == [
        "kept 2",
        "stop 4",
        "best 5",
    ]
    assert svg.find("desc").text == "stops in epoch 4; best kept 2 @ 2, best seen 1 @ 5"  # type: ignore[union-attr]


def test_decisions_of_a_loop_by_steps_are_at_their_steps() -> None:
    """On an axis of steps; the rows after the last value of the metric belong to it."""
    svg = drawn([3.0, 2.0, 2.5, 2.6, 1.0, 1.5], EarlyStopping(patience=2), ReduceLROnPlateau(patience=1), every=500)

    texts = [each.text for each in svg.iter("text")]
    assert {"stop 2,000", "step"} <= set(texts)
    assert svg.find("desc").text == (  # type: ignore[union-attr]
        "stops at step 2,000, learning rate first reduced at step 1,500; "
        "best kept 2 @ step 1,000, best seen 1 @ step 2,500"
    )
    assert drawn([3.0, None], every=500).find("desc").text == "val_loss of 1 validation"  # type: ignore[union-attr]


def test_hypothetical_marks_are_hollow() -> None:
    """The first unrecorded cut is exact; what follows is unsure."""
    found = marks(drawn([1.0] * 8, ReduceLROnPlateau(patience=2), EarlyStopping(patience=5)))

    assert [each for each in found if each.startswith("cut")] == ["cut", "cut unsure"]
    assert "stop unsure" in found


def test_a_curve_alone_has_no_marks() -> None:
    """Without a replay, a chart shows the metric and its number of epochs."""
    svg = drawn([3.0, 2.0, None, 1.0])

    assert marks(svg) == ["curve"]
    assert svg.find("desc").text == "val_loss of 3 epochs"  # type: ignore[union-attr]


@pytest.mark.parametrize("outlier", [1e30, -1e30])
def test_an_outlier_does_not_flatten_the_curve(outlier: float) -> None:
    """The other values still use a third of the height or more."""
    svg = drawn([*(1 + 0.1 * math.sin(epoch) for epoch in range(40)), outlier])
    path = next(each.attrib["d"] for each in svg.iter("path"))
    places = [float(y) for _, y in re.findall(r"[ML](\S+) (\S+?)(?=[ML]|$)", path)][:-1]

    assert max(places) - min(places) > 40


def test_a_long_curve_is_thinned() -> None:
    """A chart of 100,000 epochs stays small, and has the first and the last epoch."""
    text = ET.tostring(drawn([float(epoch % 7) for epoch in range(100_000)]), encoding="unicode")

    assert len(text) < 40_000


@given(st.lists(st.lists(finite, min_size=8, max_size=12), min_size=1, max_size=4))
def test_the_frontier_shows_each_recommended_policy_once(table: list[Any]) -> None:
    """Each is a dot, and has a label above the plot with all advice that it follows."""
    found = sweep([recording(history, str(number)) for number, history in enumerate(table)], patience=[1, 2, 4])
    policies = Report([], None, found).policies
    svg = ET.fromstring(draw_frontier(found, policies))
    advice = [each for each in svg.iter("text") if each.attrib["class"].startswith("advice")]

    assert sorted(each.text or "" for each in advice) == sorted(words for words, _ in policies)
    assert marks(svg).count("recommended") == marks(svg).count("leader") == len(policies)
    assert len({each.attrib["y"] for each in advice}) <= 1
    assert svg.find("title").text == f"What {len(found.grid):,} policies save and lose"  # type: ignore[union-attr]
    assert marks(svg).count("policy") <= 600


@pytest.mark.parametrize("every", [None, 250])
def test_curves_of_many_runs_are_drawn_together(every: int | None) -> None:
    """The first one is emphasized, and drawn above the others; each has a title."""
    runs = [recording([3.0, 2.0, None, math.nan, float(number)], str(number)) for number in range(5)]
    runs = runs if every is None else [by_steps(each, every) for each in runs]
    curves = build_curves(runs, MetricChoice("val_loss", "min", ""))
    svg = ET.fromstring(draw_together(curves, [f"run {number}" for number in range(5)], "val_loss"))
    groups = [each for each in svg.iter("g") if each.attrib["class"] == "run"]
    assert [each.find("title").text for each in groups] == [f"run {number}" for number in (4, 3, 2, 1, 0)]  # type: ignore[union-attr]
    assert [each.find("path").attrib["class"] for each in groups] == [*["curve other"] * 4, "curve"]  # type: ignore[union-attr]
    assert ("epoch" if every is None else "step") in [each.text for each in svg.iter("text")]


def test_a_run_far_outside_of_the_others_is_not_drawn_as_a_flat_line() -> None:
    """Its values outside of the chart are gaps."""
    runs = [recording([1 + 0.1 * math.sin(epoch + number) for epoch in range(20)], str(number)) for number in range(30)]
    runs.append(recording([1e6 + epoch for epoch in range(20)], "far"))
    curves = build_curves(runs, MetricChoice("val_loss", "min", ""))
    svg = ET.fromstring(draw_together(curves, [each.name for each in runs], "val_loss"))
    far = next(each for each in svg.iter("g") if each.find("title").text == "far")  # type: ignore[union-attr]
    assert far.find("path") is None
