"""Recordings from rows of metrics."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainbus.replay import Recording
from trainbus.replay.readers import Table, build_recording

from ..recorded import shown


def built(*written: dict[str, float], steps: bool = False) -> Recording:
    """Return the recording of rows, whose epochs are in "epoch" and whose steps are in "step"."""
    table = Table()
    for row in written:
        table.add(row.items())
    metrics = {label: cells for label, cells in table.cells().items() if label not in ("epoch", "step")}
    return build_recording("a", "rows", table.column("epoch"), metrics, [], table.column("step") if steps else None)


@given(st.lists(st.integers(0, 20), unique=True, min_size=1))
def test_rows_in_any_order_become_rising_epochs(epochs: list[int]):
    """Epochs count from 0; those of a file that counts from 1 are lowered by 1, and a note says so."""
    assume(min(epochs) < 2 or any(each % min(epochs) for each in epochs) or len(epochs) == 1)
    found = built(*({"epoch": float(epoch), "loss": float(epoch)} for epoch in epochs))
    first = int(min(epochs) == 1)

    assert found.epochs.tolist() == [epoch - first for epoch in sorted(epochs)]
    assert shown(found)["loss"] == sorted(map(float, epochs))
    assert ("Epochs are counted from 1 in the file." in found.notes) is bool(first)


@pytest.mark.parametrize(("epochs", "expected"), [([0.5, 1.0, 1.5, 2.0], [0, 0, 1, 1]), ([0.0, 0.25, 1.75], [0, 0, 1])])
def test_fractions_of_epochs_belong_to_the_epoch_in_progress(epochs: list[float], expected: list[int]):
    """A trainer that logs within epochs writes fractions; the last value of an epoch is used."""
    found = built(*({"epoch": epoch, "loss": epoch} for epoch in epochs))
    last = dict(zip(expected, epochs, strict=True))

    assert dict(zip(found.epochs.tolist(), found.metrics["loss"].values.tolist(), strict=True)) == last
    assert "Epochs have fractions" in found.notes[0]
    assert "'loss': the last of several values in one epoch is used." in found.notes


def test_a_row_without_an_epoch_gets_it_from_its_step():
    """The next row with an epoch ends that epoch; a row after the last one is left out."""
    lines = [{"step": 2.0, "lr": 0.1}, {"step": 5.0, "epoch": 0.0}, {"step": 7.0, "lr": 0.2}]
    lines += [{"step": 9.0, "epoch": 1.0, "loss": 1.0}, {"step": 12.0, "lr": 0.3}]
    found = built(*lines, steps=True)

    assert shown(found)["learning_rate"] == [0.1, 0.2]
    assert found.notes == ("1 rows have no epoch and are left out.",)
    assert built(*lines).notes == ("3 rows have no epoch and are left out.",)


def test_a_resumed_run_replaces_its_later_rows():
    """A row is void if a later one goes back to its epoch."""
    found = built(*({"epoch": epoch, "loss": value} for epoch, value in [(0.0, 3.0), (1, 2), (2, 1), (1, 2.5)]))

    assert shown(found)["loss"] == [3.0, 2.5]
    assert found.notes == ("2 rows are left out, since the run later went back to their epochs.",)


@pytest.mark.parametrize("epoch", [-1.0, np.nan, np.inf, 1e300])
def test_impossible_epochs_are_left_out(epoch: float):
    """A negative, infinite or huge epoch is not one."""
    found = built({"epoch": 0.0, "loss": 1.0}, {"epoch": epoch, "loss": 9.0})

    assert shown(found) == {"loss": [1.0]}
    assert found.notes == ("1 rows have no epoch and are left out.",)


@pytest.mark.parametrize(
    ("label", "times", "is_clock"),
    [("time", [1.0, 2.0, 4.0], True), ("Timestamp", [1.0, 2.0, 4.0], True), ("time", [1.0, 1.0, 4.0], False),
     ("time", [1.0, 3.0, 2.0], False), ("seconds", [1.0, 2.0, 4.0], False), ("time", [1.0, 2.0, np.inf], False)],
)  # fmt: skip
def test_a_rising_column_with_a_label_of_times_is_the_clock(label: str, times: list[float], is_clock: bool):
    """Any other column is a metric."""
    found = built(*({"epoch": float(epoch), "loss": 1.0, label: time} for epoch, time in enumerate(times)))

    assert (found.times is not None and found.times.tolist() == times) is is_clock
    assert ("loss" in found.metrics, len(found.metrics)) == (True, 1 if is_clock else 2)


def of_unit(unit, *written: dict[str, float], steps: bool = False) -> Recording:
    """Return the recording of rows of a run that counts something else, which is in "step"."""
    table = Table()
    for row in written:
        table.add(row.items())
    metrics = {label: cells for label, cells in table.cells().items() if label != "step"}
    places = table.column("step")
    return build_recording("a", "rows", places, metrics, [], places if steps else None, unit)


@pytest.mark.parametrize("unit", ["step", "iteration", "timestep"])
@given(places=st.lists(st.integers(0, 1000), unique=True, min_size=1))
def test_a_row_is_a_record_of_what_the_run_counted(unit, places: list[int]):
    """Rows in any order are sorted; their numbers, from 0, are in epochs, and what was counted is in steps."""
    found = of_unit(unit, *({"step": float(place), "loss": float(place)} for place in places))

    assert (found.unit, found.by_steps) == (unit, True)
    assert found.epochs.tolist() == list(range(len(places)))
    assert found.steps is not None
    assert found.steps.tolist() == sorted(places)
    assert shown(found)["loss"] == sorted(map(float, places))
    sparse = bool((np.diff(sorted(places)) > 1).any())
    assert any("patience counts records" in note for note in found.notes) is sparse


def test_records_at_one_step_are_one_row():
    """Lines of training and of validation at the same iteration complete each other."""
    lines = [{"step": 20.0, "loss": 3.0}, {"step": 40.0, "loss": 2.0}, {"step": 40.0, "AP": 0.5}]
    found = of_unit("iteration", *lines)

    assert shown(found) == {"loss": [3.0, 2.0], "AP": [0.5]}
    assert found.metrics["AP"].logged.tolist() == [False, True]
    assert found.notes == ("Records come every 20 iterations: patience counts records that have the metric.",)


def test_a_row_of_evaluations_has_the_last_value_of_training_before_it():
    """What comes after the last evaluation is left out; without held-out metrics, each row is an evaluation."""
    lines = [{"step": 0.0, "eval_loss": 9.0}, {"step": 2.0, "loss": 5.0}, {"step": 4.0, "loss": 4.0}]
    lines += [{"step": 4.0, "eval_loss": 8.0}, {"step": 6.0, "loss": 3.0}]
    found = of_unit("evaluation", *lines, steps=True)

    assert shown(found) == {"val_loss": [9.0, 8.0], "loss": [4.0]}
    assert found.steps is not None
    assert found.steps.tolist() == [0, 4]
    assert "1 rows after the last evaluation are left out." in found.notes
    assert of_unit("evaluation", *lines[1:3]).epochs.tolist() == [0, 1]


def test_records_of_every_25th_epoch_keep_their_epochs():
    """Patience then counts records, which a note says."""
    found = built(*({"epoch": epoch, "loss": epoch} for epoch in (0.0, 25.0, 50.0)))

    assert found.epochs.tolist() == [0, 25, 50]
    assert found.notes == ("Records come every 25 epochs: patience counts records that have the metric.",)


@pytest.mark.parametrize(
    ("epochs", "first"), [([25.0, 50, 75], 24), ([24.0, 49, 74], 24), ([0.0, 25, 50], 0), ([25.0, 51, 75], 25)]
)
def test_every_25th_epoch_counts_from_1_if_it_is_the_25th(epochs: list[float], first: int):
    """A loop that counts from 0 logs the epochs 0 or 24."""
    assert built(*({"epoch": epoch, "loss": epoch} for epoch in epochs)).epochs[0] == first
