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
from trainbus.replay import Recording, Sweep, replay, sweep
from trainbus.replay.report.report import Report
from trainbus.replay.report.text import overview_text, replay_text, sweep_text

from ..recorded import by_steps, histories, recording

LOSSES = [3.0, 2.0, 2.5, 2.6, 1.0, *[1.1] * 15]
FEW: dict[str, Any] = {"patience": [1, 3], "min_delta": [0], "start_from_epoch": [0], "smoothing": [None]}


def runs(count: int, losses: list[float] = LOSSES) -> list[Recording]:
    return [recording(losses, f"run {number}") for number in range(count)]


def overview(recordings: list[Recording], found: Sweep | None = None, paths: Any = ("logs",), **options: Any) -> str:
    """Return the report of a sweep of few policies."""
    return overview_text(Report(recordings, None, found or sweep(recordings, **FEW)), paths, **options)


def swept(recordings: list[Recording], **grid: Any) -> str:
    """Return the report of the command ``sweep``."""
    return sweep_text(Report(recordings, None, sweep(recordings, **grid)))


def replayed(recordings: list[Recording], *callbacks: Any, every: bool = False, **options: Any) -> str:
    """Return the report of a replay."""
    return replay_text(Report(recordings, replay(recordings, list(callbacks), **options), None), every=every)


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the rows of the runs, without their names."""
    return [line.split()[2:] for line in text.split("\n") if line.startswith("run ") and line[4].isdigit()]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.sampled_from(["\x1b[2J", "a\nb"])


@given(
    st.lists(
        st.tuples(histories.map(lambda history: [*history, 1.0]), names, st.none() | st.just(9.0)),
        min_size=1,
        max_size=4,
    )
)
def test_reports_of_any_runs_are_printable(table: list[Any]) -> None:
    """For any values and names, a report has printable lines."""
    recordings = [recording(history, name, 0, seconds) for history, name, seconds in table]
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)]
    for text in (
        overview(recordings, paths=["\x1b[2J"]),
        replayed(recordings, *callbacks),
        swept(recordings, **FEW),
    ):
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
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1), ModelCheckpoint("m-{step}")]
    texts = [replayed(recordings, *callbacks, by=by) for by in ("trainbus", "keras", "lightning")]
    for text in (*texts, overview(recordings, sweep(recordings, **few)), swept(recordings, **few)):
        assert "epoch" not in text
        assert f"{sum(map(len, table)):,} validation" in text


def test_moments_of_a_loop_by_steps_are_steps() -> None:
    """In a mixed set, each row says what its number is."""
    run = by_steps(recording(LOSSES, "run 9"), 250)
    assert rows_of(overview([run])) == [
        ["20", "step", "2,000", "1", "@", "step", "1,250", "1", "@", "step", "1,250", "0", "12"]
    ]
    text = overview([*runs(1), run])
    assert rows_of(text) == [
        ["20", "8", "1", "@", "5", "1", "@", "5", "0", "12"],
        ["20", "step", "2,000", "1", "@", "step", "1,250", "1", "@", "step", "1,250", "0", "12"],
    ]
    assert "note: run 9: a loop by steps, of which each validation counts as much as an epoch of the others." in text


@pytest.mark.parametrize(
    ("count", "every", "more"), [(30, False, ""), (31, False, "and 2 more (--all)"), (31, True, "")]
)
def test_long_tables_are_shortened_unless_all_rows_are_requested(count: int, every: bool, more: str) -> None:
    """A table has at most 30 lines below its header."""
    for text in (overview(runs(count), every=every), replayed(runs(count), EarlyStopping(patience=2), every=every)):
        assert (more in text) if more else "more (--all)" not in text
        assert len(rows_of(text)) == (29 if more else count)


def test_the_answer_comes_first_then_a_picture_then_the_runs() -> None:
    """Settings to paste follow once for equal policies, and the next commands have the given paths."""
    text = overview(runs(2), paths=["logs", "other"])

    assert text.startswith("2 runs, 40 epochs: in memory\ndecided by val_loss, lower is better (")
    places = [text.index(part) for part in ("Recommended: EarlyStopping(", "It saves 24 of 40 epochs (60 %).")]
    places += [text.index(part) for part in ("For a new run expect:", "┤•", "run    epochs", "policies to choose")]
    assert places == sorted(places)
    assert "val_loss of run 0, one run: B best 1 @ 5, S stop 8" in text
    assert "trainbus replay logs other --early-stopping" in text
    assert text.count("[[callbacks]]") == text.count("# in Python:") == text.count(", in trainbus.toml:") == 1
    assert "careful and balanced and eager   60 %" in text


def test_the_run_that_loses_most_is_drawn_and_is_the_first_row() -> None:
    """Then come the others, by what they lose; among equal ones, that which saves least."""
    lasts = enumerate([1.5, 0.5, 2])
    several = [recording([3.0, *[2.0] * 3, last, *[1.5] * number], f"run {number}") for number, last in lasts]
    text = replayed(several, EarlyStopping(patience=2))
    assert "val_loss of run 1, the run that loses most: B best 0.5 @ 5, K kept 2 @ 2, S stop 4" in text
    first = [line.split()[1] for line in text.split("\n") if line.startswith("run ") and line[4].isdigit()]
    assert first == ["1", "0", "2"]


def test_groups_of_runs_have_a_table_and_are_left_out_together() -> None:
    """What is saved and lost in each; a single group gives no estimate for a new one."""
    several = [replace(each, settings={"lr": number % 2}) for number, each in enumerate(runs(4))]
    text = overview(several, sweep(several, **FEW, runs="lr"))
    assert "lr  runs  saves  loses at worst\n0      2   60 %               0\n1      2   60 %               0\n" in text
    assert "left out: each group of runs with the same lr in turn is left out" in " ".join(text.split())
    one = [replace(each, settings={"lr": 1}) for each in several]
    assert "There is only one group of runs with the same lr: give more" in overview(one, sweep(one, **FEW, runs="lr"))


def test_runs_of_one_seed_are_left_out_together_unless_asked_otherwise() -> None:
    """If settings tell the seeds."""
    several = [replace(each, settings={"seed": number % 2}) for number, each in enumerate(runs(4))]
    assert "each group of runs with the same seed in turn" in " ".join(overview(several).split())
    assert "each run in turn" in " ".join(overview(runs(4)).split())


def test_times_have_a_column_only_if_they_are_known() -> None:
    """A run without times has an empty cell."""
    timed = recording(LOSSES, "run 8", 0, 60.0)
    assert "time" not in overview(runs(1))
    assert [row[-2:] for row in rows_of(overview([timed, *runs(1)]))] == [["12", "min"], ["0", "12"]]


def test_nothing_to_learn_is_said_and_the_runs_are_listed() -> None:
    """A run without a finite value has dashes; nothing is recommended or drawn."""
    text = overview(runs(1, [math.nan] * 9))
    assert "Nothing is recommended: " in text
    assert rows_of(text) == [["9", "-", "-", "-"]]
    assert "┤" not in text


def test_a_replay_has_totals_and_explains_its_marks() -> None:
    """Censored runs and hypothetical decisions are explained only if there are any."""
    stopped = replayed(runs(2), EarlyStopping(patience=2))
    assert "By trainbus's rules: EarlyStopping(patience=2).\nIt saves 32 of 40 epochs (80 %).\n" in stopped
    assert "Quality lost: 1 on average, 1 at worst." in stopped
    assert "censored" not in stopped
    assert "?" not in stopped

    unsure = replayed(runs(1), EarlyStopping(patience=19), ReduceLROnPlateau(patience=2))
    assert "Nothing stops 1 run of 1 up to the last recorded epoch (censored)." in unsure
    assert "It would have lost nothing in any run." in unsure
    assert "?: after a learning rate cut that the record does not show" in unsure


@pytest.mark.parametrize("by", ["trainbus", "keras"])
def test_a_sweep_has_its_frontier_and_code_of_its_library(by: str) -> None:
    """Settings for trainbus.toml are printed only for trainbus itself."""
    text = swept(runs(2), patience=[1, 2, 3], min_delta=[0], start_from_epoch=[0, 1], by=by)

    assert "start_from_epoch, 3 patience); of these" in text
    assert ("[[callbacks]]" in text) is (by == "trainbus")
    assert ("keras.callbacks.EarlyStopping(" in text) is (by == "keras")
    assert "1 policy (one of each); of these" in swept(runs(1), **{**FEW, "patience": [2]})


@pytest.mark.parametrize("path", ["my runs", "it's", "a" * 200, "$HOME;ls", "*", "-x/y"])
def test_the_next_commands_can_be_copied_to_a_shell(path: str) -> None:
    """A path is complete, and quoted where a shell would read it as something else."""
    lines = overview(runs(2), paths=[path, "logs"]).splitlines()
    commands = [line.partition(":   ")[2] for line in lines[-2:]]
    assert [shlex.split(command)[2:4] for command in commands] == [[path, "logs"]] * 2


@pytest.mark.parametrize("notes", [(), ("a note",)])
def test_parts_are_an_empty_line_apart(notes: tuple[str, ...]) -> None:
    """Whatever parts a report has, it has no two empty lines in a row, and none at its ends."""
    recordings = [replace(each, notes=notes) for each in runs(2)]
    for text in (overview(recordings), replayed(recordings, EarlyStopping(patience=2)), swept(recordings, **FEW)):
        assert "\n\n\n" not in text
        assert text == text.strip("\n")


def test_a_long_frontier_is_thinned() -> None:
    """At most twelve lines are printed, with both ends of the frontier."""
    losses = [1 / (epoch + 1) + (epoch % 5 == 4) * 0.3 / (epoch + 1) for epoch in range(60)]
    several = runs(1, [*losses, 0.5])
    found = sweep(several)
    text = sweep_text(Report(several, None, found))
    lines = text.split("loses less than:\n\n")[1].split("\n\n")[0].split("\n")[1:]

    assert len(lines) == min(len(found.frontier), 12)
    assert lines[0].endswith(str(found.grid[int(found.frontier[0])]))
    assert lines[-1].endswith(str(found.grid[int(found.frontier[-1])]))


def test_notes_are_listed_up_to_a_limit() -> None:
    """Notes on the result come first; of those on recordings, twelve are printed and the rest is counted."""
    recordings = [replace(each, notes=(f"note {number}", "of all")) for number, each in enumerate(runs(15))]
    text = replayed(recordings, EarlyStopping(patience=2), by="torch")
    notes = [line for line in text.split("\n") if line.startswith("note: ")]

    assert notes[0].startswith("note: PyTorch has no EarlyStopping")
    assert "note: run 0, run 1, run 2, run 3, run 4 and 10 more: of all" in notes
    assert f"note: run 11: note {10}" not in notes
    assert notes[-1] == "note: and 4 more notes on what was left out or guessed (--html lists all)"
