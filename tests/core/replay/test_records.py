"""Recordings and outcomes: what they derive from their fields, and their form for machines."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import BestValue
from trainbus.plugins import EarlyStopping
from trainbus.replay import RunOutcome, SimulatedAction, replay
from trainbus.replay.records import Action

from .recorded import recording


def outcome(*decisions: SimulatedAction, **fields: Any) -> RunOutcome:
    """Return the outcome of a run of the epochs 2 to 9."""
    best: dict[str, Any] = {"best_seen": BestValue(1.0, 5), "best_at_stop": BestValue(2.0, 3)}
    return RunOutcome("a", 2, 9, decisions, **(best | fields))


def action(epoch: int, kind: Action, *, exact: bool = True) -> SimulatedAction:
    return SimulatedAction(epoch, "x", kind, epoch, exact)


@given(st.lists(st.floats(0, 1e6), max_size=5))
def test_a_duration_is_the_time_between_first_and_last_epoch(gaps: list[float]) -> None:
    """One epoch has a duration of 0; without times or epochs there is none."""
    times = np.cumsum([7.0, *gaps])
    run = recording([1.0] * len(times))

    assert run.duration is None
    assert type(run)(run.name, run.epochs, run.metrics, times).duration == times[-1] - times[0]
    assert type(run)("empty", np.arange(0), {}, np.array([])).duration is None


@pytest.mark.parametrize("stop", [None, 2, 5, 9])
def test_epochs_after_the_stop_are_saved(stop: int | None) -> None:
    """A run that nothing stops is censored and saves nothing."""
    found = outcome(action(1, "save"), *([] if stop is None else [action(stop, "stop")]))

    assert found.censored is (stop is None)
    assert found.epochs == 8
    assert found.epochs_saved == (0 if stop is None else 9 - stop)


def test_the_quality_lost_is_known_only_with_both_values() -> None:
    """It is the distance of the best values, for either direction."""
    assert outcome().quality_lost == 1.0
    assert outcome(best_seen=BestValue(2.0, 3), best_at_stop=BestValue(1.5, 5)).quality_lost == 0.5
    assert outcome(best_at_stop=None).quality_lost is None
    assert outcome(best_seen=None, best_at_stop=None).quality_lost is None


@given(st.lists(st.integers(2, 9), unique=True, max_size=5).map(sorted), st.integers(0, 5))
def test_actions_are_hypothetical_from_the_last_exact_cut_on(cuts: list[int], exact: int) -> None:
    """The first cut that the record does not show is the last one before an action that is not exact."""
    found = outcome(*(action(epoch, "scale_learning_rate", exact=place < exact) for place, epoch in enumerate(cuts)))
    assert [each.epoch for each in found.cuts] == cuts
    if exact == 0 and cuts:
        return  # a replay never has an inexact cut without an exact one before it
    assert found.hypothetical_from == (cuts[exact - 1] if exact < len(cuts) else None)


@given(st.booleans(), st.booleans(), st.sampled_from([None, 12.5]))
def test_rows_have_the_data_as_single_values(stops: bool, cut: bool, seconds: float | None) -> None:
    """``as_data`` is strict JSON; ``as_row`` has the same fields, each a single value that CSV can hold."""
    decisions = [action(4, "scale_learning_rate")] * cut + [action(6, "stop")] * stops
    found = outcome(*decisions, kept=(3, 5), seconds=seconds)
    data, row = json.loads(json.dumps(found.as_data(), allow_nan=False)), found.as_row()

    assert data["decisions"] == [each._asdict() for each in decisions]
    assert data["stopped_epoch"] == (6 if stops else None)
    assert set(row) == (set(data) - {"decisions"}) | {"best_seen_epoch", "best_at_stop_epoch", "first_cut", "cuts"}
    assert (row["best_seen"], row["best_seen_epoch"], row["best_at_stop_epoch"]) == (1.0, 5, 3)
    assert (row["checkpoints"], row["first_cut"], row["cuts"]) == ("3 5", 4 if cut else None, int(cut))
    file = io.StringIO()
    csv.DictWriter(file, list(row)).writerow(row)
    assert next(csv.reader([file.getvalue()])) == ["" if each is None else str(each) for each in row.values()]


def test_every_outcome_has_the_same_columns() -> None:
    """A run without any finite value has empty cells, not fewer."""
    runs = [recording([1.0, 2.0, 3.0], "a"), recording([float("nan")] * 3, "b")]
    first, second = replay(runs, EarlyStopping(patience=1)).as_rows()

    assert list(first) == list(second)
    assert (second["best_seen"], second["quality_lost"]) == (None, None)
