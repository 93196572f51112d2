"""What a report tells: each run once, the worst first, and each recommended policy once."""

from __future__ import annotations

from math import isfinite
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping
from trainbus.replay import replay, sweep
from trainbus.replay.report.report import Report

from ..recorded import finite, histories, recording

FEW: dict[str, Any] = {"patience": [1, 3], "min_delta": [0], "start_from_epoch": [0], "smoothing": [None]}


@given(st.lists(histories.map(lambda history: [*history, 1.0]), min_size=1, max_size=5))
def test_each_run_is_told_once_first_those_that_lose_most(table: list[list[float | None]]) -> None:
    """The curves are in the same order."""
    runs = [recording({"val_loss": history}, str(number)) for number, history in enumerate(table)]
    result = replay(runs, EarlyStopping(patience=2))
    report = Report(runs, result, None)
    gained = {}
    for number, history in enumerate(table):
        known = [each for each in history if each is not None and isfinite(each)]
        gained[str(number)] = known[0] - min(known)
    lost = [min(each.quality_lost / gained[each.name], 1) if each.quality_lost else 0.0 for each in report.outcomes]

    assert sorted(each.name for each in report.outcomes) == sorted(each.name for each in result.outcomes)
    assert lost == sorted(lost, reverse=True)
    assert list(report.curves.names) == [each.name for each in report.outcomes]


@given(st.lists(st.lists(finite, min_size=8, max_size=12), min_size=1, max_size=4))
def test_each_recommended_policy_is_told_once_with_all_its_advice(table: list[list[float]]) -> None:
    """No advice is lost; the headline is the balanced one, and what it would have decided is its replay."""
    runs = [recording(history, str(number)) for number, history in enumerate(table)]
    found = sweep(runs, **FEW)
    report = Report(runs, None, found)
    advice = [each for words, _ in report.policies for each in words.split(" and ")]

    assert sorted(advice) == sorted(each.advice for each in found.recommendations)
    assert len({each.number for _, each in report.policies}) == len(report.policies)
    if not found.recommendations:
        assert report.result is None
        assert report.answer == [f"Nothing is recommended: {found.nothing_to_learn}."]
        return
    assert report.advised is not None
    assert report.advised.advice == "balanced"
    stops = [found.stopped[report.advised.number, row] for row in range(len(runs))]
    assert report.result is not None
    assert [-1 if each.stop is None else each.stop.epoch for each in report.result.outcomes] == stops
