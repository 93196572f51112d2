"""When a frequency is due: at which ends of batches and epochs callbacks act."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.frequency import Frequency, SavedSchedule, Schedule, schedule
from trainbus.resume.checks.plugin_values import parsed
from trainbus.testing import LineSubject


@given(st.integers(1, 12), st.integers(1, 7), st.sampled_from([1, 2.5, 10, 25, 33.333333, 50, 100]), st.booleans())
def test_percents_are_shares_of_the_planned_training(epochs: int, batches: int, share: float, known: bool) -> None:
    """A save is due at the first batch that reaches each multiple; at the end of epochs if batches are not counted."""
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{step}", save_freq=f"{share}%"), verbose=0) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(batches) if known else iter(range(batches))):
                run.log(loss=1)

    places = [(epoch, batch) for epoch in range(epochs) for batch in range(batches)]
    done = [Fraction(100 * (epoch * batches + batch + 1), epochs * batches) for epoch, batch in places]
    if not known:
        done = [Fraction(100 * (epoch + (batch + 1 == batches)), epochs) for epoch, batch in places]
    reached = [int(each / Fraction(str(share))) for each in done]
    due = [now for now, before, after in zip(places, [0, *reached], reached, strict=False) if after > before]
    assert [(each.epoch, each.step) for each in run.state.checkpoints] == [
        (epoch, epoch * batches + batch + 1) for epoch, batch in due
    ]


def test_percents_of_a_training_without_an_end_are_refused() -> None:
    """At the first batch, with the way out."""
    with (
        pytest.raises(
            SettingsError, match=r"^ModelCheckpoint: save_freq='10%' needs the number of epochs: write run.epochs\(n\)"
        ),
        Run(LineSubject(), ModelCheckpoint("m", save_freq="10%")) as run,
    ):
        for _ in run.epochs():
            for _ in run.batches(range(3)):
                run.log(loss=1)

    assert run.step == 1


def test_saving_every_other_epoch_uses_the_number_of_the_epoch() -> None:
    """Every "2 epochs" saves epochs 2 and 4, and also in a run that begins at epoch 2."""
    for initial_epoch in (0, 1):
        with Run(LineSubject(), ModelCheckpoint("{epoch}", save_freq="2 epochs")) as run:
            for _ in run.epochs(5, initial_epoch=initial_epoch):
                run.log(loss=1)
        assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["2", "4"]


@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_epochs_may_be_counted_from_0(every: int, first: int) -> None:
    """As in a loop with ``if epoch % every == 0``, also in a run that begins at another epoch."""
    with Run(LineSubject(), ModelCheckpoint("{epoch0}", save_freq=f"{every} epochs from 0")) as run:
        for _ in run.epochs(8, initial_epoch=first):
            run.log(loss=1)
    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == [
        str(epoch) for epoch in range(first, 8) if epoch % every == 0
    ]


@pytest.mark.parametrize(("accumulate", "expected"), [(1, ["3", "6", "9"]), (2, ["3"]), (None, [])])
def test_steps_are_weight_updates(accumulate: int | None, expected: list[str]) -> None:
    """Every "3 steps" saves where the updates reach a multiple of 3, once, however many batches an update takes."""
    with Run(LineSubject(), ModelCheckpoint("{step}", save_freq="3 steps")) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(5), accumulate=accumulate):
                run.log(loss=1)

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == expected


def test_steps_that_jump_over_a_multiple_still_save() -> None:
    """If several updates are reported at once, the first end of a batch past a multiple saves."""
    with Run(LineSubject(), ModelCheckpoint("{step}", save_freq="10 steps")) as run:
        run.begin_epoch(0)
        for batch in range(5, 40, 6):
            run.end_batch(batch, {"loss": 1}, steps=6)

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["12", "24", "30"]


def test_minutes_are_measured_by_a_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every "2 minutes" saves at the first batch end at least 120 seconds after the start or the save before."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{batch}", save_freq="2 minutes")) as run:
        for epoch in run.epochs(2):
            for seconds in run.batches([[50, 69, 1, 119], [1, 500, 0, 120]][epoch]):
                clock.now += seconds

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["1-3", "2-1", "2-2", "2-4"]


@pytest.mark.parametrize("words", ["1 batch", "1 batches", 1])
def test_batches_in_words_are_batches(words: str | int) -> None:
    """A number of batches means the same in words."""
    with Run(LineSubject(), ModelCheckpoint("{batch}", save_freq=words)) as run:
        for _ in run.epochs(1):
            for _ in run.batches("ab"):
                pass

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["1", "2"]


@given(
    st.lists(st.integers(0, 4), max_size=30), st.integers(1, 7), st.integers(0, 30), st.sampled_from(["step", "batch"])
)
def test_a_resumed_schedule_is_due_as_the_unbroken_one(
    increments: list[int], every: int, broken: int, unit: str
) -> None:
    """Steps at multiples over the whole run, batches by their count, wherever the run is resumed."""
    with Run(LineSubject(), verbose=0) as run:
        run.begin_epoch(0)
        frequency = Frequency(every, unit)  # type: ignore[arg-type] - one of its units
        due = Schedule(frequency, run.step, "every", "EarlyStopping")
        for number, increment in enumerate(increments):
            before = run.step
            run.begin_batch(number)
            run.end_batch(number, {}, steps=increment)
            if number == broken:
                saved, due = due.state_dict(), Schedule(due.frequency, before, "every", "EarlyStopping")
                due.load_state_dict(saved)
            multiples = range(before + 1, run.step + 1) if unit == "step" else [number + 1]
            assert due.is_due(run, number) == any(each % every == 0 for each in multiples)
        run.end_epoch()


@given(st.sampled_from([0.5, 60, 90.25, 3600]), st.integers(0, 4000))
def test_time_passes_in_a_resumed_run(every: float, passed: int) -> None:
    """The clock goes on from where the checkpoint was saved; what passes between is not counted."""
    with Run(LineSubject(), verbose=0) as run:
        before = Schedule(Frequency(every, "second"), 0, "every", "EarlyStopping")
        before.since -= passed
        saved = before.state_dict()
        resumed = Schedule(Frequency(every, "second"), 9, "every", "EarlyStopping")
        resumed.load_state_dict(saved)

        assert saved["passed"] >= passed
        assert resumed.is_due(run, 0) == (passed >= every)
        assert not resumed.is_due(run, 1)


@pytest.mark.parametrize("missing", [["interval", "share"], ["share"], []])
def test_a_state_of_an_earlier_version_is_continued(missing: list[str]) -> None:
    """Looks stored no interval and no share, and saves no share at first."""
    with Run(LineSubject(), verbose=0) as run:
        saved = {"interval": [2, 4], "step": 499, "passed": 1.5, "share": 0}
        state = {name: value for name, value in saved.items() if name not in missing}
        schedule = Schedule(Frequency(500, "step"), 0, "every", "EarlyStopping")
        schedule.load_state_dict(parsed(SavedSchedule, state))
        run.begin_epoch(0)
        run.end_batch(4, {}, steps=500)

        assert schedule.is_due(run, 4)
        assert parsed(SavedSchedule, schedule.state_dict())["step"] == 500
        assert list(schedule.interval) == ([0, -1] if "interval" in missing else [2, 4])
