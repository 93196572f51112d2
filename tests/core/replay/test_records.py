"""Recordings and outcomes: what they derive from their fields, and their form for machines."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import BestValue, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import RunOutcome, SimulatedAction, replay
from trainbus.replay.records import Action

from .recorded import by_steps, histories, recording


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

    at_the_end = ("look", "step")  # of the epoch
    assert data["decisions"] == [
        {name: each for name, each in made._asdict().items() if name not in at_the_end} for made in decisions
    ]
    assert data["stopped_epoch"] == (6 if stops else None)
    assert set(row) == (set(data) - {"decisions", "files"}) | {
        "best_seen_epoch",
        "best_at_stop_epoch",
        "first_cut",
        "cuts",
    }
    assert (row["best_seen"], row["best_seen_epoch"], row["best_at_stop_epoch"]) == (1.0, 5, 3)
    assert (row["checkpoints"], row["first_cut"], row["cuts"]) == ("3 5", 4 if cut else None, int(cut))
    file = io.StringIO()
    csv.DictWriter(file, list(row)).writerow(row)
    assert next(csv.reader([file.getvalue()])) == ["" if each is None else str(each) for each in row.values()]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"unit": "validation"}, "unit='validation': give steps, the step of each validation"),
        ({"unit": "validation", "steps": np.arange(2)}, "steps has 2 numbers for 3 rows; give one for each"),
        ({"unit": "validation", "steps": np.arange(4)}, "steps has 4 numbers for 3 rows"),
        ({"steps": np.arange(0)}, "steps has 0 numbers for 3 rows"),
        ({"steps": np.arange(1_200)}, "steps has 1,200 numbers for 3 rows"),
    ],
)
def test_steps_that_do_not_fit_the_rows_are_refused(fields: dict[str, Any], problem: str) -> None:
    """Validations without steps, and steps of other rows."""
    with pytest.raises(SettingsError, match=f"^Recording: {problem}"):
        replace(recording([3.0, 2.0, 1.0]), **fields)
    assert replace(recording([3.0, 2.0, 1.0]), steps=np.arange(3)).unit == "epoch"


def keys(data: Any) -> set[str]:
    """Return all keys in data."""
    if isinstance(data, dict):
        return {*data, *(key for each in data.values() for key in keys(each))}
    return {key for each in data for key in keys(each)} if isinstance(data, list) else set()


callbacks_by_steps: list[Any] = [
    EarlyStopping(patience=2, restore_best_weights=True),
    ReduceLROnPlateau(patience=1),
    ModelCheckpoint("m-{step}", keep=2),
]


@given(histories.filter(lambda history: any(each is not None for each in history)), st.integers(1, 300))
def test_no_key_of_a_loop_by_steps_speaks_of_epochs(history: Any, every: int) -> None:
    """Each moment has its validation, counted from 0, and its step; the numbers are those of a loop over epochs."""
    run = recording(history)
    (over_epochs,), (found,) = (replay([each], callbacks_by_steps).outcomes for each in (run, by_steps(run, every)))
    data, expected = found.as_data(), over_epochs.as_data()
    assert not any("epoch" in key for key in keys(data) | set(found.as_row()))
    assert not any("validation" in key or "step" in key for key in keys(expected) | set(over_epochs.as_row()))
    assert (data["unit"], expected["unit"]) == ("validation", "epoch")
    assert json.loads(json.dumps(data, allow_nan=False)) == data

    def moments(key: str, stem: str = "") -> None:
        stem = stem or key.removesuffix("epoch")
        epoch = expected[key]
        step = None if epoch is None else every * (epoch + 1)
        assert (data[f"{stem}validation"], data[f"{stem}step"]) == (epoch, step)

    moments("first_epoch"), moments("last_epoch"), moments("stopped_epoch")
    moments("hypothetical_from", "hypothetical_from_")
    assert data["validations_saved"] == expected["epochs_saved"]
    assert data["checkpoints"] == [every * (each + 1) for each in expected["checkpoints"]]
    named = ("validation", "step", "of_validation", "of_step")
    assert [tuple(each[name] for name in named) for each in data["decisions"]] == [
        (each["epoch"], every * (each["epoch"] + 1), each["of"], every * (each["of"] + 1))
        for each in expected["decisions"]
    ]
    for name in ("best_seen", "best_at_stop"):
        best = expected[name]
        step = None if best is None else every * (best["epoch"] + 1)
        assert data[name] == (
            None if best is None else {"value": best["value"], "validation": best["epoch"], "step": step}
        )
    row = found.as_row()
    assert row["first_cut_validation"] == over_epochs.as_row()["first_cut"]
    assert all(not isinstance(each, (dict, list)) for each in row.values())


def test_every_outcome_has_the_same_columns() -> None:
    """A run without any finite value has empty cells, not fewer."""
    runs = [recording([1.0, 2.0, 3.0], "a"), recording([float("nan")] * 3, "b")]
    first, second = replay(runs, EarlyStopping(patience=1)).as_rows()

    assert list(first) == list(second)
    assert (second["best_seen"], second["quality_lost"]) == (None, None)
