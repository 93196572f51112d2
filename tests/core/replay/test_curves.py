"""Curves: one metric of many runs as arrays with a row for each run."""

from __future__ import annotations

import math
from dataclasses import fields
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.smoothing import Smoothing
from trainbus.replay.curves import Curves, build_curves
from trainbus.replay.metric_choice import MetricChoice

from .recorded import History, histories, recording

modes = st.sampled_from(["min", "max"])
tables = st.lists(
    st.tuples(
        histories.filter(lambda history: any(each is not None for each in history)),
        st.integers(0, 3),
        st.none() | st.floats(0.1, 100),
    ),
    min_size=1,
    max_size=5,
)
"""Runs, each with its first epoch and its seconds an epoch."""


def built(table: list[Any], mode: Any) -> Curves:
    runs = [recording(history, str(number), *rest) for number, (history, *rest) in enumerate(table)]
    return build_curves(runs, MetricChoice("val_loss", mode, ""))


def logged(history: History, first: int) -> list[tuple[int, float]]:
    """Return the logged values with their epochs."""
    return [(epoch, value) for epoch, value in enumerate(history, first) if value is not None]


@given(tables, modes)
def test_a_row_has_the_logged_values_of_its_run(table: list[Any], mode: Any) -> None:
    """Epochs without a value have no column; a short row ends in epochs of -1 and scores of NaN."""
    curves = built(table, mode)
    assert curves.sign == (1 if mode == "max" else -1)
    for row, (history, first, seconds) in enumerate(table):
        values, count = logged(history, first), int(curves.lengths[row])

        assert count == len(values)
        assert curves.epochs[row].tolist() == [epoch for epoch, _ in values] + [-1] * (curves.epochs.shape[1] - count)
        np.testing.assert_array_equal(curves.sign * curves.scores[row, :count], [value for _, value in values])
        assert np.isnan(curves.scores[row, count:]).all()
        assert (curves.first[row], curves.last[row]) == (first, first + len(history) - 1)
        known = seconds is not None
        assert (~np.isnan(curves.times[row])).sum() == (count if known else 0)
        assert math.isnan(curves.end[row]) is not known
        if seconds is not None:
            assert curves.end[row] - curves.begin[row] == pytest.approx(seconds * (len(history) - 1), abs=1e-6)


@given(tables, modes)
def test_the_best_is_the_best_finite_value_so_far(table: list[Any], mode: Any) -> None:
    """Before the first finite value the best is minus infinity, in both directions."""
    curves = built(table, mode)
    for row, count in enumerate(curves.lengths.tolist()):
        scores = curves.scores[row, :count].tolist()
        expected = [max([each for each in scores[: place + 1] if math.isfinite(each)], default=-math.inf)
                    for place in range(count)]  # fmt: skip

        assert curves.best[row, :count].tolist() == expected


@given(tables, modes, st.sampled_from(["ema 0.5", "median 3"]))
def test_smoothed_curves_are_those_of_each_run_alone(table: list[Any], mode: Any, setting: str) -> None:
    """Smoothing steps over the logged values of a run, and changes nothing else."""
    curves = built(table, mode)
    smooth = curves.smoothed(setting)
    smoothing = Smoothing.parse(setting)
    for row, count in enumerate(curves.lengths.tolist()):
        state, expected = smoothing.begin(), []
        for score in curves.scores[row, :count].tolist():
            state, value = smoothing.step(state, score)
            expected.append(value)

        np.testing.assert_array_equal(smooth.scores[row, :count], expected)
    assert smooth.epochs is curves.epochs
    assert curves.smoothed(None) is curves


def test_a_metric_is_found_under_another_spelling() -> None:
    """A run may log "val_acc" although the choice is "val_accuracy"."""
    curves = build_curves([recording({"val_acc": [0.5, 0.75]})], MetricChoice("val_accuracy", "max", ""))

    assert curves.scores.tolist() == [[0.5, 0.75]]


@pytest.mark.parametrize("setting", ["ema 0.5", "ema 0.9", "median 2", "median 3", "median 5"])
@pytest.mark.parametrize("runs", [1, 2, 14, 15, 40])
def test_many_runs_are_smoothed_as_each_alone(setting: str, runs: int) -> None:
    """Bit for bit, whether all are stepped at once or one after the other."""
    random = np.random.default_rng(0)
    table: list[Any] = []
    for number in range(runs):
        values: list[float | None] = random.normal(size=5 + number % 7).tolist()
        values[number % 5] = [math.nan, math.inf, None, -math.inf, 0.0][number % 5]
        table.append((values, 0, None))
    together = built(table, "min").smoothed(setting).scores
    for row, each in enumerate(table):
        alone = built([each], "min").smoothed(setting).scores[0]
        np.testing.assert_array_equal(together[row, : len(alone)], alone)
        assert np.isnan(together[row, len(alone) :]).all()


@given(st.lists(histories, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_curves_in_another_order_are_those_of_the_runs_in_that_order(table: list[History], random: Random) -> None:
    """Every array follows, and the padding is the same."""
    runs = [recording(history, str(number), number, 2.0 * number or None) for number, history in enumerate(table)]
    order = list(range(len(runs)))
    random.shuffle(order)
    choice = MetricChoice("val_loss", "min", "")
    moved, built = build_curves(runs, choice).in_order(order), build_curves([runs[row] for row in order], choice)

    for field in fields(moved):
        np.testing.assert_array_equal(getattr(moved, field.name), getattr(built, field.name))
