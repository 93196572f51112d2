"""The reader of trainbus journals."""

import math
from contextlib import suppress
from pathlib import Path

import pytest

from trainbus import Run, SettingsError, journal
from trainbus.plugins import Journal, ModelCheckpoint
from trainbus.replay import read
from trainbus.testing import LineSubject

from ...recorded import table_of


def test_the_hyperparameters_of_a_run_are_its_settings(tmp_path: Path):
    with Run(LineSubject(), callbacks=[Journal("journal.jsonl")], hparams={"lr": 0.1, "model": {"depth": 3}}) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    assert read(tmp_path).settings == {"lr": 0.1, "model/depth": 3}


def test_every_run_of_a_journal_is_read_exactly(tmp_path: Path):
    """Each run of a journal is a recording, with its numbers to the bit and the times at which its epochs ended."""
    values = [0.1, math.nan, -math.inf]
    events: list[journal.Event] = []
    for run in ("a", "b"):
        events.append(journal.RunStarted(time=0.0, run=run, subject=None))
        events += [
            journal.EpochEnded(time=10.0 * epoch, epoch=epoch, step=epoch, seconds=1.0, metrics={"val_loss": value})
            for epoch, value in enumerate(values)
        ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(event.model_dump_json() + "\n" for event in events[:4]))
    found = read(tmp_path)

    assert found.name == tmp_path.name
    assert table_of(found) == {"val_loss": ["0.1", "nan", "-inf"]}
    assert found.duration == 20.0
    path.write_text("".join(event.model_dump_json() + "\n" for event in events))
    with pytest.raises(SettingsError, match="2 runs"):
        read(path)


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (6, 3), (7, 3), (2, 5), (9, 2), (10, 10)])
def test_a_loop_by_steps_is_read_with_its_steps(steps: int, every: int) -> None:
    """The rows are its validations, of which the last may be before its multiple."""
    with Run(None, Journal("journal.jsonl"), verbose=0) as run:
        for _ in run.steps(range(4), steps, validate_every=every):
            run.log(loss=1.0)
    found = read("journal.jsonl")

    assert found.unit == "validation"
    assert found.steps is not None
    assert found.steps.tolist() == run.history["step"] == [*range(every, steps, every), steps]
    assert found.epochs.tolist() == [*range(len(found.steps))]


@pytest.mark.parametrize("batches", [[1], [2, 2], [3, 0, 1], [0, 0, 4], [5, 4, 3, 2]])
def test_a_loop_over_epochs_is_read_with_its_steps(batches: list[int]) -> None:
    """The weight updates until the end of each epoch; an epoch without any metric has no row."""
    with Run(None, Journal("journal.jsonl"), verbose=0) as run:
        for epoch in run.epochs(len(batches)):
            for _ in run.batches(range(batches[epoch])):
                run.log(loss=1.0)
    rows = [epoch for epoch, count in enumerate(batches) if count]
    found = read("journal.jsonl")

    assert found.unit == "epoch"
    assert found.steps is not None
    assert found.epochs.tolist() == rows
    assert found.steps.tolist() == [sum(batches[: epoch + 1]) for epoch in rows]


def test_a_resumed_loop_by_steps_is_read_as_the_unbroken_one() -> None:
    """Also with another interval between validations."""
    saver = ModelCheckpoint("run/m-{step}", background=False)
    for steps, every in ((6, 3), (11, 5)):
        with Run(LineSubject(), saver, verbose=0, resume="auto") as run:
            for _ in run.steps(range(4), steps, validate_every=every):
                run.log(loss=float(run.step))
    found = read("run/journal.jsonl")
    assert found.steps is not None
    assert (found.unit, found.steps.tolist()) == ("validation", [3, 6, 10, 11])


@pytest.mark.parametrize(
    ("plans", "planned"),
    [([10], 10), ([None], None), ([10, 10], 10), ([10, 12], None), ([4, 4, 4], 4), ([4, 4, 5], None)],
)
def test_the_plan_is_read_unless_a_resume_has_changed_it(plans: list[int | None], planned: int | None) -> None:
    """Of a loop over epochs, in which each run has an error after one epoch more."""
    for number, plan in enumerate(plans):
        saver = ModelCheckpoint("run/m-{epoch}", background=False)
        with suppress(OSError), Run(LineSubject(), saver, verbose=0, resume="auto") as run:
            for epoch in run.epochs(plan):
                if epoch > number:
                    raise OSError
                run.log(val_loss=1.0)
    found = read("run/journal.jsonl")
    assert (found.planned, len(found.epochs)) == (planned, len(plans))


def test_the_plan_of_a_loop_by_steps_is_read() -> None:
    """It is a number of steps."""
    with Run(None, Journal("journal.jsonl"), verbose=0) as run:
        for _ in run.steps(range(4), 10, validate_every=5):
            run.log(loss=1.0)
    assert read("journal.jsonl").planned == 10


@pytest.mark.parametrize("pause", [0.0, 5.0, 1e6, -1e6])
@pytest.mark.parametrize("resumes", [[], [1], [2], [1, 2], [1, 1, 3]])
def test_the_time_between_a_run_and_its_resume_does_not_count(tmp_path: Path, resumes: list[int], pause: float) -> None:
    """Whatever the clock of the other machine says, each epoch takes the seconds that it has recorded."""
    time, events = 1e6, list[journal.Event]()
    events.append(journal.RunStarted(time=time, run="a", subject=None))
    for epoch in range(4):
        for _ in range(resumes.count(epoch)):
            time += pause
            events.append(
                journal.RunResumed(
                    time=time, run="a", subject=None, checkpoint="m", epochs=epoch, step=epoch, length=10**6
                )
            )
        time += 10.0
        events.append(
            journal.EpochEnded(time=time, epoch=epoch, step=epoch, seconds=10.0, metrics={"val_loss": float(epoch)})
        )
    (tmp_path / "journal.jsonl").write_text("".join(event.model_dump_json() + "\n" for event in events))

    assert read(tmp_path).duration == 30.0
