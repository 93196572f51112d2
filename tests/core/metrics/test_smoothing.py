"""Smoothed metrics: medians and exponential averages of finite scores."""

import json
from math import inf, isfinite, isnan, nan
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.metrics.smoothing import Smoothing
from trainbus.plugins import EarlyStopping
from trainbus.resume.serialization import from_json_data, to_json_data
from trainbus.testing import scripted

scores = st.floats(-10, 10) | st.sampled_from([nan, inf, -inf, 0.0, 1.0])
histories = st.lists(scores, min_size=1, max_size=25)

ways = st.sampled_from(["ema 0.1", "ema 0.5", "ema 0.9", "median 2", "median 3", "median 5"])


def smooth(way: str, history: list[float]) -> list[float]:
    smoothing = Smoothing.parse(way)
    state, found = smoothing.begin(), []
    for score in history:
        state, value = smoothing.step(state, score)
        found.append(value)
    return found


@given(histories, st.integers(2, 6))
def test_a_median_is_that_of_the_last_finite_scores(history: list[float], count: int) -> None:
    """Of at most that many; a score that is not finite has no median and is not counted."""
    finite: list[float] = []
    for score, found in zip(history, smooth(f"median {count}", history), strict=True):
        if isfinite(score):
            finite.append(score)
            assert found == median(finite[-count:])
        else:
            assert isnan(found)


@given(histories, st.sampled_from([0.1, 0.5, 0.9]))
def test_an_average_is_between_the_scores(history: list[float], weight: float) -> None:
    """It begins at the first finite score, stays within all of them, and moves to a new one by 1 - weight."""
    finite: list[float] = []
    before = nan
    for score, found in zip(history, smooth(f"ema {weight}", history), strict=True):
        assert isfinite(found) == isfinite(score)
        if isfinite(score):
            finite.append(score)
            assert min(finite) - 1e-12 <= found <= max(finite) + 1e-12
            assert found == pytest.approx(score if isnan(before) else weight * before + (1 - weight) * score, abs=1e-12)
            before = found


@given(st.floats(-1e6, 1e6), ways)
def test_a_score_that_stays_the_same_does_not_move(score: float, way: str) -> None:
    """Rounding never turns a constant score into an improvement."""
    assert set(smooth(way, [score] * 10)) == {score}


@given(st.lists(histories, min_size=1, max_size=4), ways)
def test_arrays_are_smoothed_as_numbers_are(runs: list[list[float]], way: str) -> None:
    """Smoothing many runs at once gives the same as smoothing each alone."""
    length = max(map(len, runs))
    table = np.array([run + [nan] * (length - len(run)) for run in runs])
    smoothing = Smoothing.parse(way)
    state, found = smoothing.begin(), np.empty_like(table)
    for column in range(length):
        state, found[:, column] = smoothing.step(state, table[:, column])

    for row, run in enumerate(runs):
        np.testing.assert_array_equal(found[row, : len(run)], smooth(way, run))


def test_early_stopping_looks_at_the_smooth_metric() -> None:
    """A single lucky epoch resets the patience of the metric itself, but not that of its median."""
    losses = [{"val_loss": value} for value in (1.0, 1.1, 1.2, 0.9, 1.2, 1.3, 1.2, 1.2)]

    bare, _ = scripted(losses, EarlyStopping(patience=3))
    calm, _ = scripted(losses, EarlyStopping(patience=3, smoothing="median 3"))
    assert (bare.result.epochs, calm.result.epochs) == (7, 4)


@pytest.mark.parametrize("text", ["ema", "ema 1.5", "ema 0", "ema .0", "median 1", "median 2.5", "mean 3", ""])
def test_a_text_that_names_no_smoothing_is_refused_with_an_example(text: str) -> None:
    """The error shows what to write."""
    with pytest.raises(SettingsError, match=r'smoothing=.*write "ema 0.9".*or "median 5"'):
        EarlyStopping(smoothing=text)


def test_a_smoothing_is_kept_in_one_form() -> None:
    """Equal ones are equal, however they were written."""
    assert EarlyStopping(smoothing="ema .90") == EarlyStopping(smoothing="ema 0.9")
    assert not EarlyStopping(smoothing="ema 0.9").compatible_with(EarlyStopping().effective_settings())


def stop_of(callback: EarlyStopping, losses: list[float], cut: int) -> int | None:
    """The epoch that stops a run whose plugin is replaced at one epoch by a new one with its state dict."""
    plugin: Any = callback.plugin()
    for begin, end in ((0, cut), (cut, len(losses))):
        with Run(callbacks=[plugin], verbose=0) as run:
            for epoch in range(begin, end):
                run.begin_epoch(epoch)
                run.end_epoch({"val_loss": losses[epoch]})
                if run.stopped:
                    return epoch
        memory = from_json_data(json.loads(json.dumps(to_json_data(plugin.state_dict()))))
        plugin = callback.plugin()
        plugin.load_state_dict(memory)
    return None


@given(histories, ways, st.integers(1, 3), st.integers(0, 20))
def test_smoothing_continues_after_a_resume(losses: list[float], way: str, patience: int, cut: int) -> None:
    """A run that continues from the plugin's state dict of any epoch stops at the epoch of the uninterrupted one."""
    callback = EarlyStopping(patience=patience, smoothing=way)

    assert stop_of(callback, losses, min(cut, len(losses))) == stop_of(callback, losses, len(losses))
