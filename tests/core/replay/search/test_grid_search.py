"""The grid search: it finds the same stops as stepping each policy and run alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.smoothing import Smoothing
from trainbus.replay.curves import Curves, build_curves
from trainbus.replay.libraries.settings import LIBRARIES
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.recommend import Grid
from trainbus.replay.search.grid_search import find_stops
from trainbus.replay.simulation.stops import simulate_stops
from trainbus.rules import Patience, stopping_rule

from ..recorded import History, deltas, finite, histories, recording

modes = st.sampled_from(["min", "max"])
tables = st.lists(
    st.tuples(histories.filter(lambda history: any(each is not None for each in history)), st.integers(0, 3)),
    min_size=1,
    max_size=6,
)
"""Runs, each with the number of its first epoch."""
grids = st.fixed_dictionaries(
    {
        "patience": st.lists(st.integers(0, 8), min_size=1, max_size=4),
        "min_delta": st.lists(deltas, min_size=1, max_size=3),
        "baseline": st.lists(st.none() | finite, min_size=1, max_size=3),
        "start_from_epoch": st.lists(st.integers(0, 6), min_size=1, max_size=2),
        "smoothing": st.lists(st.sampled_from([None, "ema 0.5", "median 2", "median 3"]), min_size=1, max_size=2),
    }
)


def curves(table: list[tuple[History, int]], mode: Any) -> Curves:
    runs = [recording(history, str(number), first) for number, (history, first) in enumerate(table)]
    return build_curves(runs, MetricChoice("val_loss", mode, ""))


def stop_of(history: History, first: int, sign: int, options: dict[str, Any]) -> int:
    """The epoch in which one run stops, -1 for none: plain numbers, one after the other."""
    smoothing = Smoothing.parse(options["smoothing"]) if options["smoothing"] else None
    smooth, state = smoothing.begin() if smoothing else (), Patience()
    for epoch, value in enumerate(history, first):
        if value is None:
            continue
        score = sign * value
        if smoothing is not None:
            smooth, score = smoothing.step(smooth, score)
        state, verdict = stopping_rule(
            state,
            score,
            epoch,
            patience=options["patience"],
            min_delta=options["min_delta"],
            baseline=-math.inf if options["baseline"] is None else sign * options["baseline"],
            start_from_epoch=options["start_from_epoch"],
        )
        if verdict.stop:
            return epoch
    return -1


@given(tables, modes, grids)
def test_a_grid_stops_every_run_where_plain_numbers_do(table: list[Any], mode: Any, axes: dict[str, Any]) -> None:
    """Each policy stops each run in the same epoch, also with values that are NaN, infinite, missing or late."""
    grid, many = Grid(**axes), curves(table, mode)
    columns = find_stops(many, grid)

    found = np.where(columns < 0, -1, many.epochs[np.arange(len(table)), columns])
    for number, policy in enumerate(grid):
        expected = [stop_of(history, first, many.sign, policy._asdict()) for history, first in table]
        assert found[number].tolist() == expected, policy


@given(tables, modes, grids, st.sampled_from(["trainbus", "keras", "torch", "lightning", "ignite"]))
def test_a_grid_stops_every_run_where_its_library_s_rule_does(
    table: list[Any], mode: Any, axes: dict[str, Any], by: str
) -> None:
    """Each policy of a grid stops where stepping that policy alone stops, for every library."""
    library = LIBRARIES[by]
    axes["patience"] = [each + 1 for each in axes["patience"]]
    unknown = {"start_from_epoch", "baseline", "smoothing"} - set(library.stopping.settings.model_fields)
    grid, many = Grid(**{name: values for name, values in axes.items() if name not in unknown}), curves(table, mode)
    columns = find_stops(many, grid, library)

    for number, policy in enumerate(grid):
        callback = policy.callback("val_loss", mode, library)
        smooth = many.smoothed(policy.smoothing)
        assert (
            columns[number].tolist() == simulate_stops(smooth, library.stopping, callback.model_dump()).column.tolist()
        )


def test_order_and_repetition_of_a_grid_s_values_do_not_matter() -> None:
    """A grid has each value once, and counts numbers from the lowest."""
    grid = Grid(patience=(3, 1, 3), min_delta=(-0.1, 0.0), baseline=(0.5, None))

    assert (grid.patience, grid.min_delta, grid.baseline) == ((1, 3), (0.0, 0.1), (None, 0.5))
    assert [grid[number] for number in range(len(grid))] == list(grid)


@pytest.mark.parametrize("runs", [1, 3])
def test_runs_of_one_value_stop_nowhere(runs: int) -> None:
    """A single value, even NaN, stops no run: epoch 0 never stops."""
    many = curves([([math.nan], 0)] * runs, "min")

    assert (find_stops(many, Grid(patience=(0, 1))) == -1).all()
