"""A run with many records: the stops are those of plain numbers, one after the other, and no record is stepped."""

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.curves import build_curves
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.recommend import Grid
from trainbus.replay.search.grid_search import find_stops
from trainbus.replay.search.long_runs import LongRun
from trainbus.rules import Patience, stopping_rule

from ..recorded import deltas, finite, recording

PATIENCE = [0, 1, 2, 3, 5, 8, 40]


def stops_one_by_one(scores: list[float], first: int, delta: float, baseline: float) -> list[int]:
    found: list[int] = []
    for patience in PATIENCE:
        state, column = Patience(), -1
        for number, score in enumerate(scores):
            state, verdict = stopping_rule(
                state, score, first + number, patience=patience, min_delta=delta, baseline=baseline
            )
            if verdict.stop:
                column = number
                break
        found.append(column)
    return found


def long_run(scores: list[float], first: int) -> LongRun:
    best, records = -math.inf, list[int]()
    for column, score in enumerate(scores):
        if math.isfinite(score) and score > best:
            best = score
            records.append(column)
    chosen = np.array([scores[each] for each in records], dtype=np.float64)
    return LongRun(np.array(records, dtype=np.int32), chosen, 0, 0 if first == 0 else -1, len(scores))


RISING = [float(number) for number in range(60)]
SHAPES: dict[str, list[float]] = {
    "rising": RISING,
    "falling": RISING[::-1],
    "by steps": [float(number // 7) for number in range(60)],
    "by tiny steps": [1 + number * 1e-5 for number in range(60)],
    "to a limit": [1 - 1 / (1 + number) for number in range(60)],
    "up and down": [math.sin(number / 3) + number / 30 for number in range(60)],
    "with gaps": [math.nan if number % 3 else float(number) for number in range(60)],
    "never finite": [math.inf, math.nan, -math.inf] * 20,
    "huge": [-1.7e308, -1e308, 0.0, 1e308, 1.7e308, *[1.7e308] * 20],
}


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_stops_where_plain_numbers_do(shape: str, first: int) -> None:
    """For every patience, with and without a baseline, for small and large differences."""
    scores = SHAPES[shape]
    pairs = [(delta, base) for delta in (0.0, 1e-5, 0.5, 3.0, 1e308) for base in (-math.inf, 0.5, 20.0, math.inf)]
    with np.errstate(over="ignore"):
        found = long_run(scores, first).stops(pairs, np.array(PATIENCE, dtype=np.int32))
    assert found.tolist() == [stops_one_by_one(scores, first, *pair) for pair in pairs]


values = st.lists(st.one_of(finite, finite, st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=40)


@given(values, st.booleans(), st.integers(0, 2), deltas, st.one_of(finite, st.just(-math.inf)))
def test_any_run_stops_where_plain_numbers_do(
    scores: list[float], rises: bool, first: int, delta: float, baseline: float
) -> None:
    """Also if its scores rise."""
    scores = sorted(scores, key=lambda score: -math.inf if score != score else score) if rises else scores
    found = long_run(scores, first).stops([(delta, baseline)], np.array(PATIENCE, dtype=np.int32))
    assert found[0].tolist() == stops_one_by_one(scores, first, delta, baseline)


def calls_of_a_search(rows: int) -> int:
    """How many Python functions a search among policies calls for a run whose values all improve."""
    curves = build_curves([recording([1 / (1 + each) for each in range(rows)])], MetricChoice("val_loss", "min", ""))
    grid, calls = Grid(patience=(2, 5), min_delta=(0.0, 1e-3), start_from_epoch=(0, 5)), 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        find_stops(curves, grid)
    finally:
        sys.setprofile(None)
    return calls


def test_the_number_of_records_does_not_matter() -> None:
    """A run of ten times the rows calls the same functions as often."""
    assert calls_of_a_search(5000) == calls_of_a_search(500)
