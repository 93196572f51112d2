"""The outcomes of a replay as table cells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import replay
from trainbus.replay.report.outcome_table import legend, tabulate_outcomes

from ..recorded import by_steps, histories, recording


def columns(runs: list[Any], *callbacks: Any) -> dict[str, list[str]]:
    """Return the cells of each column."""
    result = replay(runs, list(callbacks), monitor="val_loss", mode="min")
    header, rows = tabulate_outcomes(result, result.outcomes)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


@given(
    st.lists(
        st.tuples(histories.map(lambda history: [*history, 1.0]), st.none() | st.just(2.0)), min_size=1, max_size=4
    ),
    st.booleans(),
    st.booleans(),
)
def test_a_column_exists_if_a_run_has_something_in_it(runs: list[Any], cut: bool, save: bool) -> None:
    """Times, cuts and files have a column only if there is one; every row has a cell for each column."""
    callbacks: list[Any] = [EarlyStopping(patience=2)]
    callbacks += [ReduceLROnPlateau(patience=1)] * cut + [ModelCheckpoint("{epoch}")] * save
    recordings = [recording(history, str(number), 0, seconds) for number, (history, seconds) in enumerate(runs)]
    result = replay(recordings, callbacks)
    header, rows = tabulate_outcomes(result, result.outcomes)

    assert all(len(row) == len(header) for row in rows)
    assert [row[0] for row in rows] == [each.name for each in recordings]
    assert ("time saved" in header) is any(seconds is not None for _, seconds in runs)
    assert ("first LR cut" in header) is any(each.cuts for each in result.outcomes)
    assert ("files" in header) is any(each.kept for each in result.outcomes)
    for row, outcome in zip(rows, result.outcomes, strict=True):
        assert (row[2] == "censored") is outcome.censored
        assert int(row[1]) == outcome.epochs
        assert int(row[6]) == outcome.epochs_saved


def test_epochs_count_from_1() -> None:
    """The stop, the best values, and the files."""
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 1.5]
    found = columns([recording(losses, "a", 0, 60.0)], EarlyStopping(patience=2), ModelCheckpoint("{epoch}", keep=2))

    assert {name: cells[0] for name, cells in found.items()} == {
        "run": "a",
        "epochs": "6",
        "stops in": "4",
        "best kept": "2 @ 2",
        "best seen": "1 @ 5",
        "loses": "1",
        "epochs saved": "2",
        "time saved": "2 min",
        "files": "2 3",
    }


def test_moments_of_a_loop_by_steps_are_steps() -> None:
    """The stop, the best values, the cuts and the files; nothing counts epochs."""
    callbacks = [EarlyStopping(patience=2), ModelCheckpoint("{step}", keep=2), ReduceLROnPlateau(patience=1)]
    run = by_steps(recording([3.0, 2.0, 2.5, 2.6, 1.0, 1.5], "a", 0, 60.0), 50)

    assert {name: cells[0] for name, cells in columns([run], *callbacks).items()} == {
        "run": "a",
        "validations": "6",
        "stops at": "step 200 ?",
        "best kept": "2 @ step 100",
        "best seen": "1 @ step 250",
        "loses": "1",
        "validations saved": "2",
        "time saved": "2 min",
        "first LR cut": "step 150 (+1)",
        "files": "step 100 150",
    }


def test_each_run_of_a_mixed_set_has_its_own_moments() -> None:
    """The headings say that both are counted."""
    run = recording([3.0, 2.0, 2.5, 2.6, 1.0, 1.5], "a")
    found = columns([run, replace(by_steps(run), name="b")], EarlyStopping(patience=2), ModelCheckpoint("{step}"))

    assert found["epochs and validations"] == ["6", "6"]
    assert found["stops"] == ["4", "step 1,000"]
    assert found["best kept"] == ["2 @ 2", "2 @ step 500"]
    assert found["files"] == ["1 2 3 4", "step 250 500 750 1,000"]


def test_what_follows_an_unrecorded_cut_has_a_question_mark() -> None:
    """The first cut is shown with the number of later ones."""
    found = columns(
        [recording([1.0] * 8, "a"), recording([3.0, 2.0, 1.0], "b")],
        ReduceLROnPlateau(patience=2),
        EarlyStopping(patience=5),
    )

    assert found["stops in"] == ["6 ?", "censored"]
    assert found["first LR cut"] == ["3 (+1)", "-"]


@pytest.mark.parametrize(("epochs", "files"), [(4, "1 2 3 4"), (5, "5 files")])
def test_many_files_are_counted(epochs: int, files: str) -> None:
    """Up to four files are listed by their epochs."""
    assert columns([recording([1.0] * epochs)], ModelCheckpoint("{epoch}"))["files"] == [files]


def test_a_run_without_a_finite_value_has_dashes() -> None:
    """It has no best value, and it is unknown what it loses."""
    found = columns([recording([math.nan] * 3)], EarlyStopping(patience=5))

    assert (found["best kept"], found["best seen"], found["loses"]) == (["-"], ["-"], ["-"])


def test_only_marks_of_the_table_are_explained() -> None:
    """Censored runs, hypothetical decisions, and those that the record may lack validations for."""
    stopped = replay([recording([1.0] * 8)], EarlyStopping(patience=2))
    assert legend(stopped) == []
    censored = replay([recording([1.0] * 8)], [EarlyStopping(patience=9), ReduceLROnPlateau(patience=2)])
    assert [each.split(":")[0] for each in legend(censored)] == ["censored", "?"]
    looks = replay([recording([1.0] * 8)], EarlyStopping(patience=2, every="validation"))
    assert [each.split(",")[0] for each in legend(looks)] == [
        "?: the record may lack validations at which a callback looks"
    ]
