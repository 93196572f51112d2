"""Recordings of tables whose labels say what the run counted."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay import Recording
from trainbus.replay.readers import Table, record_table

from ..recorded import shown


def recorded(rows: Sequence[dict[str, float]], *, completed: bool = False) -> Recording:
    """Return the recording of these rows."""
    table = Table()
    for row in rows:
        table.add(row.items())
    return record_table("a", "rows", table, [], completed=completed)


@pytest.mark.parametrize(
    ("label", "unit"), [("step", "step"), ("iter", "iteration"), ("total_timesteps", "timestep"), ("epoch", "epoch")]
)
@given(places=st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20))
def test_the_axis_has_the_unit_of_its_label(label: str, unit: str, places: list[int]) -> None:
    """Each row is one of the recording, in rising order."""
    found = recorded([{label: float(each), "loss": float(each)} for each in places])
    assert found.unit == unit
    assert shown(found) == {"loss": sorted(map(float, places))}


def test_a_table_without_an_axis_has_an_epoch_a_row() -> None:
    """A note says so."""
    found = recorded([{"loss": 2.0}, {"loss": 1.0}])
    assert (found.unit, found.epochs.tolist()) == ("epoch", [0, 1])
    assert found.notes == ("No column counts epochs: each row is read as one.",)


def test_several_evaluations_in_an_epoch_are_rows() -> None:
    """Fractions of epochs or steps say when; training metrics have the last value before."""
    rows = [{"epoch": 0.0, "step": step, "val_loss": 1 / step} for step in (10.0, 20.0)]
    rows += [{"epoch": 1.0, "step": 25.0, "loss": 3.0}, {"epoch": 1.0, "step": 30.0, "val_loss": 0.01}]
    found = recorded(rows)
    assert (found.unit, found.epochs.tolist()) == ("evaluation", [0, 1, 2])
    assert found.steps is not None
    assert found.steps.tolist() == [10, 20, 30]
    assert found.metrics["loss"].logged.tolist() == [False, False, True]
    halves = recorded([{"epoch": each / 2, "val_loss": each} for each in range(1, 5)])
    assert (halves.unit, halves.steps, len(halves.epochs)) == ("evaluation", None, 4)


def test_steps_that_begin_again_in_each_epoch_are_not_those_of_the_run() -> None:
    """They are in no recording."""
    rows = [{"epoch": epoch, "step": step, "val_loss": step} for epoch in (0.0, 1.0, 2.0) for step in (5.0, 10.0)]
    found = recorded(rows)
    assert (found.unit, found.steps) == ("evaluation", None)
    assert shown(found)["val_loss"] == [5, 10] * 3


@pytest.mark.parametrize("completed", [False, True])
def test_an_evaluation_before_the_training_is_kept(*, completed: bool) -> None:
    """It may be the best one."""
    found = recorded([{"epoch": float(each), "eval_loss": float(each)} for each in range(4)], completed=completed)
    assert shown(found) == {"val_loss": [0, 1, 2, 3]}
    assert found.unit == ("evaluation" if completed else "epoch")


def test_completed_epochs_count_from_1() -> None:
    """The first one may be a later one."""
    found = recorded([{"epoch": each, "eval_loss": each} for each in (2.0, 4.0)], completed=True)
    assert found.epochs.tolist() == [1, 3]


def test_a_run_with_hardly_any_epochs_counts_steps() -> None:
    """As the pretraining of a language model, unless it was evaluated at the ends of epochs."""
    rows = [{"epoch": 0.0, "step": float(step), "loss": 100.0 - step} for step in range(0, 100, 10)]
    assert recorded(rows).unit == "step"
    assert recorded([*rows, {"epoch": 0.0, "step": 100.0, "val_loss": 1.0}]).unit == "epoch"
    assert recorded([{**row, "epoch": row["step"] / 200} for row in rows], completed=True).unit == "step"


def test_rows_that_have_an_epoch_in_place_of_their_step_are_in_it() -> None:
    """MMEngine writes so."""
    rows = [{"epoch": float(epoch), "step": 50.0 * epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    rows[1:1] = [{"step": 1.0, "mAP": 0.1}]
    found = recorded([*rows, {"step": 2.0, "mAP": 0.2}, {"step": 3.0, "mAP": 0.3}])
    assert (found.epochs.tolist(), shown(found)["mAP"]) == ([0, 1, 2], [0.1, 0.2, 0.3])


def test_lines_that_do_not_count_steps_are_at_those_before_them() -> None:
    """Not the start of another run."""
    rows: list[dict[str, float]] = []
    for step in range(10, 60, 10):
        rows += [{"step": float(step), "time": 1.0, "loss": 1 / step}, {"step": 0.0, "time": 1.0, "mIoU": step}]
    found = recorded(rows)
    assert found.steps is not None
    assert found.steps.tolist() == [10, 20, 30, 40, 50]
    assert shown(found)["mIoU"] == [10, 20, 30, 40, 50]


@given(
    label=st.sampled_from(["total_steps", "iterations", "updates", "global_step", "timesteps"]),
    parts=st.integers(2, 5),
    resumed=st.booleans(),
)
def test_a_number_that_stays_the_same_counts_nothing(label: str, parts: int, *, resumed: bool) -> None:
    """It is the planned length of the run, which may change when the run is resumed; each row is one."""
    rows = [{"val_loss": 1 / row, label: 900.0 if resumed and row > 20 else 600.0} for row in range(1, 41)]
    losses = [1 / row for row in range(1, 41)]
    found = recorded([{**row, "epoch": number / parts} for number, row in enumerate(rows, 1)])
    assert (found.unit, shown(found)) == ("evaluation", {"val_loss": losses})
    found = recorded([{**row, "current_steps": 10.0 * number} for number, row in enumerate(rows, 1)])
    assert (found.unit, shown(found)) == ("step", {"val_loss": losses})
    found = recorded([{**row, label: 600.0} for row in rows])
    assert (found.unit, shown(found)) == ("epoch", {"val_loss": losses})


def test_the_step_of_the_only_row_is_one() -> None:
    """Also if two metrics are in rows of their own."""
    found = recorded([{"step": 100.0, "loss": 1.0}, {"step": 100.0, "val_loss": 2.0}])
    assert (found.unit, shown(found)) == ("step", {"loss": [1.0], "val_loss": [2.0]})
