"""Reports as text for a terminal."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import Recording, replay, sweep
from trainbus.replay.report.text import overview_text, replay_text, sweep_text

from ..recorded import by_steps, histories, recording

LOSSES = [3.0, 2.0, 2.5, 2.6, 1.0, *[1.1] * 15]
FEW: dict[str, Any] = {"patience": [1, 3], "min_delta": [0], "start_from_epoch": [0], "smoothing": [None]}


def runs(count: int, losses: list[float] = LOSSES) -> list[Recording]:
    return [recording(losses, f"run {number}") for number in range(count)]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.sampled_from(["\x1b[2J", "a\nb"])


@given(
    st.lists(
        st.tuples(histories.map(lambda history: [*history, 1.0]), names, st.none() | st.just(9.0)),
        min_size=1,
        max_size=4,
    )
)
def test_reports_of_any_runs_are_printable(table: list[Any]) -> None:
    """For any values and names, a report has printable lines, and a row for each run."""
    recordings = [recording(history, name, 0, seconds) for history, name, seconds in table]
    found = sweep(recordings, **FEW)
    replayed = replay_text(recordings, replay(recordings, [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)]))
    for text in (overview_text(recordings, found, ["\x1b[2J"]), replayed, sweep_text(recordings, found)):
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.startswith(f"{len(table)} run")


@given(
    st.lists(histories.map(lambda history: [*history, 1.0]), min_size=1, max_size=3),
    st.integers(1, 300),
    st.none() | st.just(9.0),
)
def test_no_report_of_loops_by_steps_speaks_of_epochs(table: list[Any], every: int, seconds: float | None) -> None:
    """It counts validations, and names moments by steps."""
    recordings = [by_steps(recording(history, str(number), 0, seconds), every) for number, history in enumerate(table)]
    few = {name: values for name, values in FEW.items() if name != "start_from_epoch"}
    found = sweep(recordings, **few)
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1), ModelCheckpoint("m-{step}", keep=2)]
    for by in ("trainbus", "keras", "lightning"):
        listed = callbacks if by != "keras" else callbacks[:2]  # Keras's ModelCheckpoint has no option keep
        replayed = replay_text(recordings, replay(recordings, listed, by=by))
        assert "epoch" not in replayed
        assert f"{sum(map(len, table)):,} validation" in replayed
    for text in (overview_text(recordings, found, ["logs"]), sweep_text(recordings, found)):
        assert "epoch" not in text
        assert f"{sum(map(len, table)):,} validation" in text


def test_the_best_value_of_a_loop_by_steps_is_at_its_step() -> None:
    """In a mixed set, each row says what its number is."""
    run = by_steps(recording(LOSSES, "run 9"), 250)
    (row,) = [line for line in overview_text([run], sweep([run], **FEW), ["x"]).splitlines() if "run 9" in line]
    assert row.split()[2:] == ["20", "1", "1,250", "15"]
    both = [*runs(1), run]
    text = overview_text(both, sweep(both, **FEW), ["x"])
    rows = [line.split()[2:] for line in text.splitlines() if line.startswith("run ") and line[4].isdigit()]
    assert rows == [["20", "1", "epoch", "5", "15"], ["20", "1", "step", "1,250", "15"]]
    assert "note: run 9: a loop by steps, of which each validation counts as much as an epoch of the others." in text


@pytest.mark.parametrize(
    ("count", "every", "more"), [(40, False, ""), (41, False, "and 2 more (--all)"), (41, True, "")]
)
def test_long_tables_are_shortened_unless_all_rows_are_requested(count: int, every: bool, more: str) -> None:
    """A table has at most 40 lines below its header."""
    recordings = runs(count)
    overview = overview_text(recordings, sweep(recordings, **FEW), ["logs"], every=every)
    for text in (overview, replay_text(recordings, replay(recordings, EarlyStopping(patience=2)), every=every)):
        assert (more in text) if more else "more (--all)" not in text
        rows = sum(line.startswith("run ") and line[4].isdigit() for line in text.split("\n"))
        assert rows == (39 if more else count)


def test_an_overview_has_runs_recommendations_and_next_commands() -> None:
    """Settings to paste follow once for equal policies, and the next commands have the given paths."""
    text = overview_text(runs(2), sweep(runs(2), **FEW), ["logs", "other"])

    assert "2 runs, 40 epochs: in memory" in text
    assert "decided by val_loss, lower is better (the loss on held-out data)" in text
    assert "run 0      20     1         5            15" in text
    assert "trainbus replay logs other --early-stopping" in text
    assert text.count("[[callbacks]]") == text.count("# in Python:") == text.count(", in trainbus.toml:")
    assert "expect these numbers for a new run" in text


def test_times_have_a_column_only_if_they_are_known() -> None:
    """A run without times has an empty cell."""
    timed = recording(LOSSES, "timed", 0, 60.0)

    assert "time" not in overview_text(runs(1), sweep(runs(1), **FEW), ["."]).split("recommended")[0]
    text = overview_text([timed, *runs(1)], sweep([timed, *runs(1)], **FEW), ["."])
    lines = {line.split("  ")[0]: line for line in text.split("\n")}
    assert lines["timed"].endswith("19 min")
    assert lines["run 0"].endswith("15")


def test_a_run_without_a_finite_value_has_dashes() -> None:
    """Its best value does not exist."""
    text = overview_text(runs(1, [math.nan] * 4), sweep(runs(1, [math.nan] * 4), **FEW), ["."])

    assert "run 0       4     -         -             -" in text
    assert "nothing is recommended: val_loss has no finite value" in text


def test_a_replay_has_totals_and_explains_its_marks() -> None:
    """Censored runs and hypothetical decisions are explained only if there are any."""
    stopped = replay_text(runs(2), replay(runs(2), EarlyStopping(patience=2)))
    assert "in total 32 of 40 epochs saved (80 %);" in stopped
    assert "quality lost: 1 on average, 1 at worst" in stopped
    assert "censored" not in stopped
    assert "?" not in stopped

    reducer = ReduceLROnPlateau(patience=2)
    unsure = replay_text(runs(1), replay(runs(1), [EarlyStopping(patience=19), reducer]))
    assert "censored (1): not stopped up to the last recorded epoch" in unsure
    assert "?: after a learning rate cut that the record does not show" in unsure


@pytest.mark.parametrize("by", ["trainbus", "keras"])
def test_a_sweep_has_its_frontier_and_code_of_its_library(by: str) -> None:
    """Settings for trainbus.toml are printed only for trainbus itself."""
    text = sweep_text(runs(2), sweep(runs(2), patience=[1, 2, 3], min_delta=[0], start_from_epoch=[0, 1], by=by))

    assert "start_from_epoch, 3 patience); of these" in text
    assert ("[[callbacks]]" in text) is (by == "trainbus")
    assert ("keras.callbacks.EarlyStopping(" in text) is (by == "keras")
    one = sweep_text(runs(1), sweep(runs(1), patience=[2], min_delta=[0], start_from_epoch=[0], smoothing=[None]))
    assert "1 policy (one of each); of these" in one


@pytest.mark.parametrize("path", ["my runs", "it's", "a" * 200, "$HOME;ls", "*", "-x/y"])
def test_the_next_commands_can_be_copied_to_a_shell(path: str) -> None:
    """A path is complete, and quoted where a shell would read it as something else."""
    text = overview_text(runs(2), sweep(runs(2), **FEW), [path, "logs"])
    commands = [line.partition(":   ")[2] for line in text.splitlines()[-2:]]
    assert [shlex.split(command)[2:4] for command in commands] == [[path, "logs"]] * 2


@pytest.mark.parametrize("notes", [(), ("a note",)])
def test_parts_are_an_empty_line_apart(notes: tuple[str, ...]) -> None:
    """Whatever parts a report has, it has no two empty lines in a row, and none at its ends."""
    recordings = [replace(each, notes=notes) for each in runs(2)]
    found = sweep(recordings, **FEW)
    replayed = replay_text(recordings, replay(recordings, EarlyStopping(patience=2)))
    for text in (overview_text(recordings, found, ["logs"]), replayed, sweep_text(recordings, found)):
        assert "\n\n\n" not in text
        assert text == text.strip("\n")


def test_a_long_frontier_is_thinned() -> None:
    """At most twelve lines are printed, with both ends of the frontier."""
    losses = [1 / (epoch + 1) + (epoch % 5 == 4) * 0.3 / (epoch + 1) for epoch in range(60)]
    found = sweep(runs(1, losses))
    text = sweep_text(runs(1), found)
    lines = text.split("at worst  policy\n")[1].split("\n\n")[0].split("\n")

    assert len(lines) == min(len(found.frontier), 12)
    assert lines[0].endswith(str(found.grid[int(found.frontier[0])]))
    assert lines[-1].endswith(str(found.grid[int(found.frontier[-1])]))


def test_notes_are_listed_up_to_a_limit() -> None:
    """Notes on the result come first; of those on recordings, twelve are printed and the rest is counted."""
    recordings = [replace(each, notes=(f"note {number}",)) for number, each in enumerate(runs(15))]
    text = replay_text(recordings, replay(recordings, EarlyStopping(patience=2), by="torch"))
    notes = [line for line in text.split("\n") if line.startswith("note: ")]

    assert notes[0].startswith("note: PyTorch has no EarlyStopping")
    assert notes[1:13] == [f"note: run {number}: note {number}" for number in range(12)]
    assert notes[13:] == ["note: and 3 more notes on what was left out or guessed (--html lists all)"]
